/**
 * The term explorer: weights of loss terms in every cell, what they make of the loss, and where its gradient lands.
 *
 * @import { Act, Adjust, Data, State, View } from "./panel.js"
 * @typedef {Data & {terms: string[], layers: number[]}} Tables
 * @typedef {ReturnType<typeof view>} Shown
 */
import { h } from "./tree.js";
import { at, row } from "./tables.js";
import { figure, heatmap, sum, table } from "./plots.js";

/** A number in at most five characters, as in a table. @param {number} value */
function short(value) {
  if (Math.abs(value) < 0.001) return value ? "<.001" : "0";
  const size = Math.abs(value);
  return value.toFixed(size < 0.1 ? 3 : size < 1 ? 2 : size < 100 ? 1 : 0);
}

/** A number in at most four characters: ".067", "≈0" for less than a thousandth, "1.2k". @param {number} value */
function tiny(value) {
  if (value >= 9.95e5) return `${Number((value / 1e6).toPrecision(2))}M`;
  if (value >= 999.5) return `${Number((value / 1e3).toPrecision(2))}k`;
  return Math.abs(value) < 0.001 ? (value ? "≈0" : "0") : short(value).replace(/^0/, "");
}

/**
 * The weighted sums of the present state. The strengths have too many combinations to be looked up, so the browser
 * adds up here: what it adds is the reader's own weights times the loss and the gradients' inner products that Python
 * measured in every cell (`tests/helpers/anatomy.py` has the same sums). No quality is computed.
 *
 * @param {any} data @param {string} recipe @param {string} layers @param {number[]} strengths
 */
function weighed(data, recipe, layers, strengths) {
  const [rows, columns] = [data.layers.length, data.dims.length];
  const down = data.down[layers]?.values;
  const cells = rows * columns;
  const weights = Float64Array.from(data.patterns[recipe].values, (p, i) => strengths[Math.floor(i / cells)] * (down && p > 0 ? down[Math.floor((i % cells) / columns)] : p));
  const [weight, loss, gradient] = [new Float64Array(cells), new Float64Array(cells), new Float64Array(cells)];
  weights.forEach((w, i) => {
    weight[i % cells] += w;
    loss[i % cells] += w * data.values.values[i];
  });
  for (let r = 0; r < rows; r++) {
    const [size] = data.landing[r].shape;
    const w = Float64Array.from({ length: size }, (_, s) => {
      const [t, i, m] = row(data.landing[r], s);
      return weights[(t * rows + i) * columns + m];
    });
    const on = Array.from(w.keys()).filter((s) => w[s]);
    const gram = data.grams[r].values;
    for (let m = 0; m < columns; m++) {
      let square = 0;
      for (const s of on) for (const t of on) square += w[s] * w[t] * gram[(m * size + s) * size + t]; // w' G w
      gradient[r * columns + m] = Math.sqrt(Math.max(square, 0));
    }
  }
  return { weights, weight, loss, gradient };
}

/** @param {ArrayLike<number>} values */
const length = (values) => Math.hypot(...Array.from(values));

function view(/** @type {State} */ state, /** @type {Tables} */ data) {
  const { recipe, layer, dim } = state;
  const { terms, layers, dims } = data;
  const sums = weighed(data, recipe, state.layers, terms.map((_, i) => state[`s${i}`]));
  const cell = [layers.indexOf(layer), dims.indexOf(dim)];
  const rows = terms.map((term, t) => {
    const weight = sums.weights[(t * layers.length + cell[0]) * dims.length + cell[1]];
    const alone = at(data.alone, t, ...cell);
    return { term, weight, loss: at(data.values, t, ...cell), alone, pushes: weight * alone };
  });
  const pushed = layers.map((_, i) => length(sums.gradient.subarray(i * dims.length, (i + 1) * dims.length)));
  const start = data.start[recipe];
  const own = Object.keys(start).every((name) => start[name] === state[name]);
  return {
    headline: said(own ? recipe : `${recipe}, changed`, sum(sums.loss), length(sums.gradient), pushed, layers),
    layer, dim, layers, dims, rows, pushed, weight: sums.weight, loss: sums.loss, gradient: sums.gradient,
    sums: [sum(sums.weight), sum(sums.loss), length(sums.gradient)],
  };
}

/** @param {string} name @param {number} loss @param {number} gradient @param {number[]} pushed @param {any[]} layers */
function said(name, loss, gradient, pushed, layers) {
  if (!gradient) return `${name}: no term is on, so there is nothing to learn`;
  const most = pushed.indexOf(Math.max(...pushed));
  const rest = layers.filter((_, i) => !pushed[i]);
  const none = rest.length ? `; ${rest.length === 1 ? "layer" : "layers"} ${rest.join(", ")} not at all` : "";
  return `${name}: a loss of ${short(loss)} pushes layer ${layers[most]} hardest (gradient ${short(pushed[most])}, in all ${short(gradient)})${none}`;
}

/** A new recipe sets the strengths that it has. @type {Adjust} */
function adjust(state, changes, data) {
  return "recipe" in changes ? { ...state, ...data.start[changes.recipe], ...changes } : state;
}

function draw(/** @type {Shown} */ shown, /** @type {Act} */ act, /** @type {number} */ width) {
  const wide = width >= 960;
  const { layer, dim, layers, dims } = shown;
  const part = wide ? Math.floor((width - 72) / 3) : width - 32;
  const frame = [{ layer, dim }]; // recipes are for layers 1 … L, so a layer is its row
  const map = (/** @type {string} */ title, /** @type {Float64Array} */ values, /** @type {string} */ xLabel) => {
    const limits = [0, values.reduce((a, b) => Math.max(a, b), 1e-6)];
    const look = { name: title, values, dims, layers: layers.length, width: part, rowHeight: wide ? 40 : 30, xLabel, write: tiny };
    return figure(title, part, heatmap({ ...look, limits, frame, pick: act }));
  };
  const [weight, loss, gradient] = shown.sums.map(short);
  return [
    h("div", { class: "side tight" },
      map(`Weight: sum ${weight}`, shown.weight, "dimension"), map(`Weight × loss: sum ${loss}`, shown.loss, "dimension"),
      map(`Gradient: length ${gradient}`, shown.gradient, "coordinates up to")),
    h("p", { class: "note" }, "Click a cell to read it out. A gradient lands on the embeddings of a layer (row), in a block of coordinates (column)."),
    h("figcaption", {}, `The framed cell: layer ${layer}, ${dim} dimensions`), readCell(shown),
  ];
}

function readCell(/** @type {Shown} */ shown) {
  const heads = [
    { title: "term" }, { title: "weight", number: true }, { title: "loss", number: true },
    { title: "gradient, weight 1", number: true }, { title: "weight × gradient", number: true },
  ];
  const rows = shown.rows.map((one) => ({
    marked: one.weight > 0, cells: [one.term, ...[one.weight, one.loss, one.alone, one.pushes].map(short)],
  }));
  return table(heads, rows, "terms");
}

/** @type {View} */
export const terms = { view, draw, adjust };
