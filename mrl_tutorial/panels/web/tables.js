/**
 * The tables that Python packs (`mrl_tutorial/panels/packing.py`), as they are read here.
 *
 * @typedef {Float32Array | Float64Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array} Numbers
 * @typedef {{shape: number[], values: Numbers}} Table
 */

const KINDS = {
  f4: Float32Array, f8: Float64Array, i2: Int16Array, i4: Int32Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array,
};

/** What Python packed: JSON, in which every array is a Table. @param {DataView | ArrayBuffer | Uint8Array} packed @returns {Promise<any>} */
export async function unpack(packed) {
  if (typeof DecompressionStream === "undefined") throw new Error("This browser is too old for the panels. Chrome 93, Firefox 113 and Safari 16.4 or newer show them.");
  const bytes = packed instanceof ArrayBuffer ? new Uint8Array(packed)
    : new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength);
  const stream = new Blob([/** @type {any} */ (bytes)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const start = 8 * Math.ceil((4 + length) / 8);
  const words = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  return JSON.parse(words, (_, value) => {
    if (!value || !Array.isArray(value.$)) return value;
    const [kind, shape, offset] = /** @type {[keyof typeof KINDS, number[], number]} */ (value.$);
    const size = shape.reduce((a, b) => a * b, 1);
    return { shape, values: new KINDS[kind](buffer, start + offset, size) };
  });
}

/** One number of a table. @param {Table} table @param {...number} index as many as the table has dimensions */
export function at(table, ...index) {
  return table.values[index.reduce((place, i, n) => place * table.shape[n] + i, 0)];
}

/** The numbers below some leading indices, such as a layer's. @param {Table} table @param {...number} index @returns {Numbers} */
export function row(table, ...index) {
  const size = table.shape.slice(index.length).reduce((a, b) => a * b, 1);
  const start = size * index.reduce((place, i, n) => place * table.shape[n] + i, 0);
  return table.values.subarray(start, start + size);
}
