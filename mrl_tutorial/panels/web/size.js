/**
 * The size calculator: memory, machines and arithmetic of a collection of vectors. All of it is closed-form, so it is
 * computed here, as `mrl_tutorial/retrieval/costs.py` does; types, bits and machines come from there.
 *
 * @import { Act, Adjust, Data, State, View } from "./panel.js"
 * @import { Scale } from "./plots.js"
 * @typedef {ReturnType<typeof view>} Shown
 */
import { h } from "./tree.js";
import { COLORS, box, chart, figure, halves, label, rule, scale, table, tens } from "./plots.js";
import { count, percent, whole } from "./words.js";

const HEIGHT = 380;
const HALO = "paint-order:stroke;stroke:var(--mrl-paper);stroke-width:5px;stroke-linejoin:round"; // words over rules
const [TOP, FOOT] = [58, HEIGHT - 52];

/** GB as a size to read. @param {number} gb */
function gbWords(gb) {
  const [size, unit] = gb >= 1 ? [1, "GB"] : gb >= 1e-3 ? [1e-3, "MB"] : [1e-6, "kB"];
  const number = gb / size;
  return `${number >= 1000 ? whole(number) : Number(number.toPrecision(4))} ${unit}`;
}

/** A number of vectors, in millions from there on. @param {number} n */
function many(n) {
  return n >= 1e6 ? `${(n / 1e6).toLocaleString("en-US", { maximumSignificantDigits: 6 })} M` : whole(n);
}

function view(/** @type {State} */ state, /** @type {Data} */ data) {
  const { n, width, dim, dtype, links, depth, queries, price } = state;
  const stored = (/** @type {number} */ d, /** @type {string} */ type) =>
    (n * Math.ceil((d * data.bits[type]) / 8)) / data.gb;
  const linksGb = links ? (n * (data.link_bytes * (2 * links + links / (links - 1)))) / data.gb : 0;
  const vectorsGb = stored(dim, dtype);
  const [totalGb, fullGb] = [vectorsGb + linksGb, stored(width, "float32")];
  const [exact, cut, shortlist] = [n * width, n * dim, n * dim + depth * width];
  const types = /** @type {string[]} */ (data.types);
  const machines = Object.entries(data.machines);
  const fits = machines.filter(([, room]) => totalGb <= room).map(([name]) => name);
  const enough = fits.length ? `a ${fits[0]} (${data.machines[fits[0]]}\u00a0GB) is enough` : `more than a ${machines[machines.length - 1][0]} holds`;
  const instead = totalGb === fullGb ? "" : ` instead of ${gbWords(fullGb)}`;
  return {
    headline: `${many(n)} vectors, ${dim === width ? `all ${whole(width)}` : `${whole(dim)} of ${whole(width)}`} dimensions in ${dtype}: ${gbWords(totalGb)}${instead}; ${enough}`,
    n, width, dim, dtype, links, depth, queries, vectorsGb, linksGb, totalGb, fullGb, share: totalGb / fullGb, exact, cut, shortlist,
    month: totalGb * price, priced: price > 0, machines, fits,
    memory: types.map((type) => ({ type, full: stored(width, type) + linksGb, cut: stored(dim, type) + linksGb })),
  };
}

/** No more dimensions are kept than there are, no shortlist is longer than the collection. @type {Adjust} */
function adjust(state, _, data) {
  const depth = data.depths.filter((/** @type {number} */ k) => k <= state.n).pop();
  const price = state.price > 0 ? Math.min(state.price, 1e6) : 0; // an emptied field gives NaN
  return { ...state, dim: Math.min(state.dim, state.width), depth: Math.min(state.depth, depth), price };
}

function draw(/** @type {Shown} */ shown, /** @type {Act} */ act, /** @type {number} */ width) {
  const [left, right] = halves(width, 0.6);
  const graph = shown.links ? `, with M = ${shown.links} links` : "";
  const caption = [
    `GB of ${many(shown.n)} vectors: `, h("span", { style: "color:var(--mrl-soft)" }, `all ${whole(shown.width)}`), " or ",
    h("span", { style: "color:var(--mrl-blue)" }, `the first ${whole(shown.dim)}`), ` dimensions${graph}`,
  ];
  return [
    h("div", { class: "side" },
      figure(caption, left, memory(shown, act, left)),
      figure(`A query: shortlist takes ${percent(shown.shortlist / shown.exact)} of exact`, right, work(shown, right))),
    inWords(shown),
  ];
}

/** At most six powers of ten. @param {Scale} x */
function sizeTicks(x) {
  const all = tens(x.domain);
  return all.filter((_, i) => all.length <= 6 || i % 2 === 0);
}

/** A bar with its amount behind it. @param {Scale} x @param {number} y @param {number} value @param {string} words
 *  @param {Record<string, any>} look @param {boolean} bold */
function sizeBar(x, y, value, words, look, bold = false) {
  const [x0, x1] = [x(x.domain[0]), x(value)];
  return [
    box(x0, y, Math.max(1, x1 - x0), 22, look),
    label(x1 + 6, y + 16, words, { class: "amount", "font-weight": bold ? 700 : 400, style: HALO }),
  ];
}

/** Every type, uncut and cut, and what holds it. @param {Shown} shown @param {Act} act @param {number} width */
function memory(shown, act, width) {
  const low = Math.min(-2, Math.floor(Math.log10(Math.min(...shown.memory.map((m) => m.cut))) - 0.01));
  const x = scale("log", [10 ** low, 10 ** 5.7], [72, width - 10]); // the same for most sizes: bars move, machines stay
  const y = scale("linear", [0, 1], [FOOT, TOP]);
  const height = (FOOT - TOP) / shown.memory.length;
  const fields = shown.memory.map(({ type }, i) => box(4, TOP + i * height, width - 8, height, {
    fill: type === shown.dtype ? "var(--mrl-press)" : "transparent", class: "pick", onclick: () => act({ dtype: type }),
  }));
  const rows = shown.memory.map(({ type, full, cut }, i) => {
    const top = TOP + i * height + (height - 50) / 2;
    const chosen = type === shown.dtype;
    return [
      label(64, top + 30, type, { class: "end", "font-weight": chosen ? 700 : 400 }),
      sizeBar(x, top, full, gbWords(full), { fill: "var(--mrl-soft)", opacity: 0.55 }),
      sizeBar(x, top + 26, cut, gbWords(cut), { fill: COLORS[0], opacity: chosen ? 1 : 0.45 }, chosen),
    ];
  });
  const anchors = ["end", "middle", ""]; // three names share little room
  const machines = shown.machines.map(([name, gb], i) => [
    rule(x(gb), FOOT, x(gb), i === 1 ? 24 : 44, "here"),
    label(x(gb) + [4, 0, -4][i], i === 1 ? 18 : 38, `${name} ${gb} GB`, { class: anchors[i] }),
  ]);
  const xWrite = (/** @type {number} */ gb) => (gb < 1000 ? gbWords(gb * (1 + 1e-12)) : `${whole(gb / 1000)} TB`);
  return chart(
    { name: "memory of every type", width, height: HEIGHT, x, y, xTicks: sizeTicks(x), xWrite, xLabel: "memory (log scale)" },
    ...fields, h("g", { style: "pointer-events:none" }, machines, rows));
}

/** Multiply-adds of one query in three ways. @param {Shown} shown @param {number} width */
function work(shown, width) {
  const { exact, cut, shortlist, depth, dim } = shown;
  const low = Math.floor(Math.log10(cut) - 0.01);
  const high = Math.ceil(Math.log10(Math.max(exact, shortlist)) + 0.01);
  const x = scale("log", [10 ** low, 10 ** (high + 0.9)], [30, width - 16]);
  const y = scale("linear", [0, 1], [FOOT, TOP]);
  const height = (FOOT - TOP) / 3;
  const rows = [
    { name: `exact, all ${whole(shown.width)}`, value: exact, look: { fill: "var(--mrl-soft)", opacity: 0.55 } },
    { name: `exact, the first ${whole(dim)}`, value: cut, look: { fill: COLORS[0] } },
    { name: `shortlist: ${whole(dim)}, then ${whole(depth)} × ${whole(shown.width)}`, value: shortlist, look: { fill: COLORS[2] } },
  ].map(({ name, value, look }, i) => {
    const top = TOP + i * height + (height - 48) / 2;
    return [label(30, top + 14, name), sizeBar(x, top + 22, value, count(value), look)];
  });
  return chart({ name: "multiply-adds of one query", width, height: HEIGHT, x, y, xTicks: sizeTicks(x), xWrite: count, xLabel: "multiply-adds of a query (log scale)" }, ...rows);
}

function inWords(/** @type {Shown} */ shown) {
  const { links, queries, exact, shortlist } = shown;
  const parts = links ? ` = ${gbWords(shown.vectorsGb)} of vectors + ${gbWords(shown.linksGb)} of links` : "";
  const places = shown.machines.filter(([name]) => shown.fits.includes(name)).map(([name, gb]) => `${name} (${gb}\u00a0GB)`);
  const cells = [
    ["memory", [h("b", {}, gbWords(shown.totalGb)), parts]],
    ["fits", places.join(", ") || "none of the three machines"],
    [`of all ${whole(shown.width)} in float32`, percent(shown.share)],
    ["a query, shortlist", `${percent(shortlist / exact)} of exact`],
    [`${whole(queries)} queries a second`, `${count(queries * exact)} exact, ${count(queries * shortlist)} shortlist`],
    ["a month", shown.priced ? shown.month.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 }) : "fill in a price"],
  ];
  const extra = shown.dim < shown.width
    ? ` A shortlist also reads its ${whole(shown.depth)} full vectors, which have to be stored too: ${gbWords(shown.fullGb)} on disk in float32.` : "";
  return h("div", {}, table(cells.map(([title]) => ({ title })), [{ cells: cells.map(([, cell]) => cell) }], "wrap"),
    h("p", { class: "note" }, `${links ? "Vectors and links" : "Vectors"} only: the system and the program need memory too.${extra} Click a type to store the vectors in it.`));
}

/** @type {View} */
export const size = { view, draw, adjust };
