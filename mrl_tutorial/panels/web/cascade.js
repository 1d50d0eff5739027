/**
 * The cascade tuner: thresholds in, accuracy and expected size out, among the landmarks that Python found.
 *
 * No table holds every combination of thresholds, so the items are counted here: for each one, the first size whose
 * threshold its confidence reaches. Expected sizes are sums over these counts.
 *
 * @import { Tree } from "./tree.js"
 * @import { Numbers } from "./tables.js"
 * @import { Scale } from "./plots.js"
 * @import { Act, State, View } from "./panel.js"
 */
import { h } from "./tree.js";
import { row } from "./tables.js";
import { COLORS, MARK, chart, kept, label, pathOf, rule, scale, table, ticks } from "./plots.js";
import { percent, quality, signed, whole } from "./words.js";

const HEIGHT = 400;
const MINE = MARK;
const SYMBOLS = /** @type {Record<string, string>} */ ({ star: "M0,-11L3,-3.5L10.5,-3.4L4.6,1.3L6.5,8.9L0,4.5L-6.5,8.9L-4.6,1.3L-10.5,-3.4L-3,-3.5Z", diamond: "M0,-10L10,0L0,10L-10,0Z", square: "M-5,-5H5V5H-5Z" });

/** How many items each size answers, and how many of them rightly. @param {any} one @param {number[]} steps places of the thresholds in the grid */
export function counted(one, steps) {
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

/** @param {State} state @param {any} data */
function view(state, data) {
  const { dims, grid } = data;
  const one = data.cases[state.case ?? Object.keys(data.cases)[0]];
  const thresholds = dims.slice(0, -1).map((/** @type {number} */ d) => state[`t${d}`]);
  const { counts, hits, items } = counted(one, thresholds.map((/** @type {number} */ t) => grid.indexOf(t)));
  let [final, visited, sum] = [0, 0, 0];
  dims.forEach((/** @type {number} */ d, /** @type {number} */ j) => {
    sum += d;
    final += counts[j] * d;
    visited += counts[j] * sum;
  });
  [final, visited] = [final / items, visited / items];
  const width = dims[dims.length - 1];
  const [accuracy, single] = [hits / items, one.single.values[dims.length - 1]];
  const rule = Object.fromEntries(dims.slice(0, -1).map((/** @type {number} */ d, /** @type {number} */ j) => [`t${d}`, one.rule[j]]));
  return {
    headline: `Accuracy ${quality(accuracy)}, ${signed(accuracy - single)} against ${width} dimensions for every item, at an expected size of ${final.toFixed(1)} (${percent(final / width)})`,
    dims, width, sum, one, rule, accuracy, final, visited, shares: counts.map((n) => n / items), items,
    charges: [
      { what: "only the last size (tied, MRL-E)", size: final, work: one.classes * final },
      { what: "every size looked at (separate, MRL)", size: visited, work: one.classes * visited },
      { what: `${width} dimensions for every item`, size: width, work: one.classes * width },
    ],
    hopeless: one.hopeless,
  };
}

/** @param {State} state @param {State} changes @param {any} data */
function adjust(state, changes, data) {
  if (!("all" in changes)) return state;
  return { ...state, ...Object.fromEntries(data.dims.slice(0, -1).map((/** @type {number} */ d) => [`t${d}`, changes.all])) };
}

/** @param {any} shown @param {Act} act @param {number} width */
function draw(shown, act, width) {
  const { one } = shown;
  const wide = width >= 820;
  const [left, right] = wide ? [width * 0.6 - 30, width * 0.4 - 30] : [width - 30, width - 30];
  const slide = (/** @type {number} */ size) => {
    const far = (/** @type {number} */ i) => Math.abs(Math.log(one.curve.final.values[i] / size));
    const places = Array.from(one.shared.values, (_, i) => i);
    const all = one.shared.values[places.reduce((a, b) => (far(b) < far(a) ? b : a))];
    act({ ...Object.fromEntries(Object.keys(shown.rule).map((name) => [name, all])), all });
  };
  const rows = shown.charges.map((/** @type {any} */ c) => ({ cells: [c.what, c.size.toFixed(1), whole(c.work), percent(c.size / shown.width)] }));
  const heads = [
    { title: "what is charged" }, { title: "expected size", number: true, width: 130 }, { title: "multiply-adds of the classifier", number: true, width: 265 },
    { title: `of ${shown.width} for all`, number: true, width: 120 },
  ];
  return [
    h("p", { class: "note" }, h("button", { type: "button", onclick: () => act(shown.rule), title: "set the thresholds that the paper's rule finds on these items" }, "the paper's rule"),
      " or drag along the curve to move all sizes."),
    h("div", { class: "side" },
      h("figure", { style: `width:${left.toFixed(0)}px` }, h("figcaption", {}, "Accurate and small: the further up and left, the better"), plane(shown, left, slide)),
      h("figure", { style: `width:${right.toFixed(0)}px` }, h("figcaption", {}, `Of ${whole(shown.items)} items ${percent(shown.shares[0])} stop at ${shown.dims[0]}`), stopping(shown, right))),
    cascadeLegend,
    table(heads, rows, "price"),
    h("p", { class: "note" }, `No size is right for ${(100 * shown.hopeless).toFixed(1)} % of the items.`),
  ];
}

/** @param {string} kind @param {number} x @param {number} y @param {string} color */
const symbol = (kind, x, y, color) => h("path", { d: SYMBOLS[kind], transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`, fill: color, class: "dot" });

/** @param {any} one @param {number[]} dims @param {number} width @returns {{x: Scale, y: Scale}} */
function places(one, dims, width) {
  const low = Math.min(...one.single.values);
  const high = one.oracle.accuracy.values[0];
  const pad = 0.06 * (high - low) || 0.01;
  const sum = dims.reduce((a, b) => a + b);
  return {
    x: scale("log", [0.85 * dims[0], 1.15 * sum], [64, width - 16]),
    y: scale("linear", [low - pad, high + pad], [HEIGHT - 52, 16]),
  };
}

/** What no threshold moves. */
const marks = kept((/** @type {any} */ one, /** @type {number[]} */ dims, /** @type {number} */ width) => {
  const { x, y } = places(one, dims, width);
  const at = (/** @type {any} */ points) => /** @type {[number, number]} */ ([x(points.final.values[0]), y(points.accuracy.values[0])]);
  const [oracle, paper] = [at(one.oracle), at(one.paper)];
  return h(
    "g", {},
    h("path", { d: pathOf(dims, one.single.values, x, y), stroke: "var(--mrl-ink)", "stroke-width": 2, "stroke-dasharray": "2 4", class: "line" }),
    dims.map((d, j) => symbol("square", x(d), y(one.single.values[j]), "var(--mrl-ink)")),
    h("path", { d: pathOf(one.curve.final.values, one.curve.accuracy.values, x, y), stroke: COLORS[5], "stroke-width": 4, class: "line" }),
    symbol("star", ...oracle, COLORS[2]), label(oracle[0] + 15, oracle[1] + 5, "oracle"), symbol("diamond", ...paper, COLORS[0]),
  );
});

/** Accuracy against expected size. @param {any} shown @param {number} width @param {(size: number) => void} slide */
function plane(shown, width, slide) {
  const { one, dims, final, visited, accuracy } = shown;
  const { x, y } = places(one, dims, width);
  return chart(
    {
      name: "accuracy against expected size", width, height: HEIGHT, x, y, xTicks: dims.map((/** @type {number} */ d) => [d, `${d}`]),
      yTicks: ticks(y.domain).map((v) => [v, `${Number(v.toFixed(3))}`]), xLabel: "expected size in dimensions (log scale)", yLabel: "accuracy", drag: slide,
    },
    marks(one, dims, width),
    h("line", { x1: x(final).toFixed(1), x2: x(visited).toFixed(1), y1: y(accuracy).toFixed(1), y2: y(accuracy).toFixed(1), stroke: MINE, "stroke-width": 2, "stroke-dasharray": "2 4" }),
    h("circle", { cx: x(visited).toFixed(1), cy: y(accuracy).toFixed(1), r: 8, fill: "none", stroke: MINE, "stroke-width": 3 }),
    h("circle", { cx: x(final).toFixed(1), cy: y(accuracy).toFixed(1), r: 9, fill: MINE, class: "dot" }),
  );
}

/** The share of the items that every size answers. @param {any} shown @param {number} width */
function stopping(shown, width) {
  const { dims, shares } = shown;
  const y = scale("linear", [0, 1], [HEIGHT - 52, 24]);
  const x = scale("linear", [-0.5, dims.length - 0.5], [64, width - 16]);
  const step = x(1) - x(0);
  return chart(
    {
      name: "where items are answered", width, height: HEIGHT, x, y, xTicks: dims.map((/** @type {number} */ d, /** @type {number} */ j) => [j, `${d}`]),
      yTicks: [0, 0.25, 0.5, 0.75, 1].map((v) => [v, percent(v)]), xLabel: "size at which items are answered", yLabel: "share of the items",
    },
    shares.map((/** @type {number} */ share, /** @type {number} */ j) => [
      h("rect", { x: (x(j) - 0.38 * step).toFixed(1), y: y(share).toFixed(1), width: (0.76 * step).toFixed(1), height: (y(0) - y(share)).toFixed(1), fill: MINE }),
      label(x(j), y(share) - 6, `${(100 * share).toFixed(0)} %`, { class: "middle share" }),
    ]),
  );
}

/** @param {string} name @param {...any} sample */
const named = (name, ...sample) => h("span", { style: "display:inline-flex;align-items:center;gap:6px;margin-right:18px" },
  h("svg", { width: 36, height: 24, viewBox: "-18 -12 36 24", "aria-hidden": "true" }, ...sample), name);
const cascadeLegend = h(
  "div", {},
  named("your cascade", h("circle", { r: 9, fill: MINE, class: "dot" })),
  named("the same, every size charged", h("circle", { r: 8, fill: "none", stroke: MINE, "stroke-width": 3 })),
  named("one size for all", rule(-18, 0, 18, 0, "here"), symbol("square", 0, 0, "var(--mrl-ink)")),
  named("one threshold for all sizes", h("line", { x1: -16, x2: 16, y1: 0, y2: 0, stroke: COLORS[5], "stroke-width": 4 })),
  named("the paper's rule", symbol("diamond", 0, 0, COLORS[0])), named("oracle", symbol("star", 0, 0, COLORS[2])),
);

/** @type {View} */
export const cascade = { view, draw, adjust };
