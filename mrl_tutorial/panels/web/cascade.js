/**
 * The cascade tuner: thresholds in, accuracy and expected size out, among the landmarks that Python found.
 *
 * No table holds every combination of thresholds, so the items are counted here: for each one, the first size whose
 * threshold its confidence reaches. Expected sizes are sums over these counts.
 *
 * @import { Act, Data, State, View } from "./panel.js"
 * @typedef {ReturnType<typeof view>} Shown
 */
import { button, h } from "./tree.js";
import { COLORS, MARK, box, chart, circle, figure, halves, label, lineOf, nearest, rule, scale, sum, table, ticks } from "./plots.js";
import { percent, quality, signed, tenths, whole } from "./words.js";

const HEIGHT = 400;
const RING = { fill: "none", stroke: MARK, "stroke-width": 3 };
const DOT = { fill: MARK, class: "dot" };
const INK = "var(--mrl-ink)";
const SYMBOLS = /** @type {Record<string, string>} */ ({ star: "M0,-11L3,-3.5L10.5,-3.4L4.6,1.3L6.5,8.9L0,4.5L-6.5,8.9L-4.6,1.3L-10.5,-3.4L-3,-3.5Z", diamond: "M0,-10L10,0L0,10L-10,0Z", square: "M-5,-5H5V5H-5Z" });

/** How many items each size answers, and how many of them rightly. @param {any} one @param {number[]} steps places of the thresholds in the grid */
function counted(one, steps) {
  const [sizes, items] = one.reached.shape;
  const counts = new Array(sizes).fill(0);
  let hits = 0;
  for (let n = 0; n < items; n++) {
    let j = 0;
    while (j < sizes - 1 && one.reached.values[j * items + n] <= steps[j]) j++;
    counts[j]++;
    hits += one.right.values[j * items + n];
  }
  return { counts, hits, items };
}

function view(/** @type {State} */ state, /** @type {Data} */ data) {
  const { dims, grid } = data;
  const one = data.cases[state.case ?? Object.keys(data.cases)[0]];
  const names = dims.slice(0, -1).map((d) => `t${d}`);
  const { counts, hits, items } = counted(one, names.map((name) => grid.indexOf(state[name])));
  const sums = dims.map((_, j) => sum(dims.slice(0, j + 1))); // what has been looked at when a size answers
  const [final, visited] = [dims, sums].map((sizes) => sum(sizes.map((d, j) => counts[j] * d)) / items);
  const width = dims[dims.length - 1];
  const [accuracy, single] = [hits / items, one.single.values[dims.length - 1]];
  const rule = Object.fromEntries(names.map((name, j) => [name, one.rule[j]]));
  return {
    headline: `Accuracy ${quality(accuracy)}, ${signed(accuracy - single)} against ${width} dimensions for every item, at an expected size of ${final.toFixed(1)} (${percent(final / width)})`,
    dims, width, total: sum(dims), one, rule, accuracy, final, visited, shares: counts.map((n) => n / items), items,
    charges: [
      { what: "only the last size (tied, MRL-E)", size: final, work: one.classes * final },
      { what: "every size looked at (separate, MRL)", size: visited, work: one.classes * visited },
      { what: `${width} dimensions for every item`, size: width, work: one.classes * width },
    ],
    hopeless: one.hopeless,
  };
}

function adjust(/** @type {State} */ state, /** @type {State} */ changes, /** @type {Data} */ data) {
  if (!("all" in changes)) return state;
  return { ...state, ...Object.fromEntries(data.dims.slice(0, -1).map((d) => [`t${d}`, changes.all])) };
}

function draw(/** @type {Shown} */ shown, /** @type {Act} */ act, /** @type {number} */ width) {
  const { one } = shown;
  const [left, right] = halves(width, 0.6);
  const slide = (/** @type {number} */ size) => {
    const sizes = one.curve.final.values;
    const all = one.shared.values[sizes.indexOf(nearest(sizes, size))];
    act({ ...Object.fromEntries(Object.keys(shown.rule).map((name) => [name, all])), all });
  };
  const rows = shown.charges.map((c) => ({ cells: [c.what, c.size.toFixed(1), whole(c.work), percent(c.size / shown.width)] }));
  const heads = [
    { title: "what is charged" }, { title: "expected size", number: true, width: 130 }, { title: "multiply-adds of the classifier", number: true, width: 265 },
    { title: `of ${shown.width} for all`, number: true, width: 120 },
  ];
  return [
    h("p", { class: "note" }, button("the paper's rule", () => act(shown.rule), { title: "set the thresholds that the paper's rule finds on these items" }),
      " or drag along the curve to move all sizes."),
    h("div", { class: "side" },
      figure("Accurate and small: the further up and left, the better", left, plane(shown, left, slide)),
      figure(`Of ${whole(shown.items)} items ${percent(shown.shares[0])} stop at ${shown.dims[0]}`, right, stopping(shown, right))),
    cascadeLegend,
    table(heads, rows, "price"),
    h("p", { class: "note" }, `For ${tenths(shown.hopeless)} of the items no size is right.`),
  ];
}

/** @param {string} kind @param {number} x @param {number} y @param {string} color */
const symbol = (kind, x, y, color) => h("path", { d: SYMBOLS[kind], transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`, fill: color, class: "dot" });

/** Accuracy against expected size. @param {Shown} shown @param {number} width @param {(size: number) => void} slide */
function plane(shown, width, slide) {
  const { one, dims, final, visited, accuracy, total } = shown;
  const [low, high] = [Math.min(...one.single.values), one.oracle.accuracy.values[0]];
  const pad = 0.06 * (high - low) || 0.01;
  const x = scale("log", [0.85 * dims[0], 1.15 * total], [64, width - 16]);
  const y = scale("linear", [low - pad, high + pad], [HEIGHT - 52, 16]);
  const mark = (/** @type {string} */ kind, /** @type {any} */ points, /** @type {string} */ color) =>
    symbol(kind, x(points.final.values[0]), y(points.accuracy.values[0]), color);
  return chart(
    {
      name: "accuracy against expected size", width, height: HEIGHT, x, y, xTicks: dims, yTicks: ticks(y.domain),
      yWrite: (v) => Number(v.toFixed(3)), xLabel: "expected size in dimensions (log scale)", yLabel: "accuracy", drag: slide,
    },
    lineOf(dims, one.single.values, x, y, { color: INK, width: 2, dash: "2 4" }), dims.map((d, j) => symbol("square", x(d), y(one.single.values[j]), INK)),
    lineOf(one.curve.final.values, one.curve.accuracy.values, x, y, { color: COLORS[5], width: 4 }),
    mark("star", one.oracle, COLORS[2]), label(x(one.oracle.final.values[0]) + 15, y(high) + 5, "oracle"), mark("diamond", one.paper, COLORS[0]),
    lineOf([final, visited], [accuracy, accuracy], x, y, { color: MARK, width: 2, dash: "2 4" }),
    circle(x(visited), y(accuracy), 8, RING), circle(x(final), y(accuracy), 9, DOT),
  );
}

/** The share of the items that every size answers. @param {Shown} shown @param {number} width */
function stopping(shown, width) {
  const { dims, shares } = shown;
  const y = scale("linear", [0, 1], [HEIGHT - 52, 24]);
  const x = scale("linear", [-0.5, dims.length - 0.5], [64, width - 16]);
  const step = x(1) - x(0);
  return chart(
    {
      name: "where items are answered", width, height: HEIGHT, x, y, xTicks: [...dims.keys()], xWrite: (j) => dims[j],
      yTicks: [0, 0.25, 0.5, 0.75, 1], yWrite: percent, xLabel: "size at which items are answered", yLabel: "share of the items",
    },
    shares.map((share, j) => [
      box(x(j) - 0.38 * step, y(share), 0.76 * step, y(0) - y(share), { fill: MARK }),
      label(x(j), y(share) - 6, `${(100 * share).toFixed(0)} %`, { class: "middle share" }),
    ]),
  );
}

/** One line of the legend. @param {string} name @param {...any} sample */
const named = (name, ...sample) => h("span", { style: "display:inline-flex;align-items:center;gap:6px;margin-right:18px" },
  h("svg", { width: 36, height: 24, viewBox: "-18 -12 36 24", "aria-hidden": "true" }, ...sample), name);
const cascadeLegend = h(
  "div", {},
  named("your cascade", circle(0, 0, 9, DOT)),
  named("the same, every size charged", circle(0, 0, 8, RING)),
  named("one size for all", rule(-18, 0, 18, 0, "here"), symbol("square", 0, 0, INK)),
  named("one threshold for all sizes", h("line", { x1: -16, x2: 16, y1: 0, y2: 0, stroke: COLORS[5], "stroke-width": 4 })),
  named("the paper's rule", symbol("diamond", 0, 0, COLORS[0])), named("oracle", symbol("star", 0, 0, COLORS[2])),
);

/** @type {View} */
export const cascade = { view, draw, adjust };
