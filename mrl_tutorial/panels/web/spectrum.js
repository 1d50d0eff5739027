/**
 * The spectrum explorer: a layer's variance along its components, the share that a cut keeps, and what retrieval makes of it.
 *
 * @import { Act, State, View } from "./panel.js"
 * @import { Scale } from "./plots.js"
 */
import { h } from "./tree.js";
import { at, row } from "./tables.js";
import { DASHES, chart, colorsOf, curves, kept, label, legend, limitsOf, pathOf, placed, powers, rule, scale, table } from "./plots.js";
import { metricTitle, percent, quality } from "./words.js";

const HEIGHT = 330;

/** [low, high] of the variances as shares of the largest; the last components, which may be nothing, do not count. */
const spectrumEnds = kept((/** @type {any} */ variances) => {
  const [width, values] = [variances.shape[2], variances.values];
  const used = Math.max(1, Math.floor(0.95 * width));
  let [low, top] = [Infinity, 0];
  for (let i = 0; i < values.length; i++) {
    if (i % width < used) low = Math.min(low, values[i]);
    top = Math.max(top, values[i]);
  }
  return [Math.max(low / top, 1e-6), top];
});
const bestQuality = kept((/** @type {any} */ tables) => Math.max(...Object.values(tables).map((one) => limitsOf([one.values])[1])));

/** @param {State} state @param {any} data */
function view(state, data) {
  const { model, layer, dim } = state;
  const m = data.models.indexOf(model);
  const place = data.dims.indexOf(dim);
  const names = Object.keys(data.quality);
  const colors = colorsOf([...names, "MRL", "all-cells"]); // these keep their colors
  const full = at(data.quality.prefix, m, layer - 1, data.dims.length - 1);
  const ways = names.map((name, i) => ({
    name, color: colors[name], dash: DASHES[i], value: at(data.quality[name], m, layer - 1, place), values: row(data.quality[name], m, layer - 1),
    share: data.shares[name] ? at(data.shares[name], m, layer - 1, dim - 1) : null,
    shares: data.shares[name] ? row(data.shares[name], m, layer - 1) : null,
  }));
  const [pca, prefix] = [ways.find((way) => way.name === "PCA"), ways.find((way) => way.name === "prefix")];
  const variance = pca && prefix ? `PCA keeps ${percent(pca.share ?? 0)} of the variance, the prefix ${percent(prefix.share ?? 0)}` : "";
  const found = pca && prefix ? `${metricTitle(data.metric)} is ${quality(pca.value)} and ${quality(prefix.value)}` : "";
  const [low, top] = spectrumEnds(data.variances);
  return {
    headline: `Layer ${layer}, ${dim} of ${data.width} dimensions: ${variance}; ${found}`,
    model, layer, dim, ways, full, rank: at(data.rank, m, layer - 1), dims: data.dims, width: data.width, metric: data.metric, split: data.split,
    last: data.variances.shape[1], low, top, best: bestQuality(data.quality),
    spectrum: row(data.variances, m, layer - 1), deepest: row(data.variances, m, data.variances.shape[1] - 1),
  };
}

/** A layer's spectrum, as shares of the largest variance of all. */
const spectrumPath = kept((
  /** @type {any} */ values, /** @type {number} */ top, /** @type {number} */ low, /** @type {number} */ width, /** @type {string} */ color, /** @type {string} */ dash,
) => {
  const [x, y] = spectrumScales(values.length, low, width);
  const path = pathOf(ranks(values.length), values.map((/** @type {number} */ v) => (v / top >= low ? v / top : NaN)), x, y);
  return h("path", { d: path, stroke: color, "stroke-dasharray": dash, "stroke-width": 3, class: "line" });
});
const ranks = kept((/** @type {number} */ n) => Array.from({ length: n }, (_, i) => i + 1));

/** @param {number} n @param {number} low @param {number} width @returns {[Scale, Scale]} */
const spectrumScales = (n, low, width) => [scale("log", [1, n], [64, width - 16]), scale("log", [low, 1.3], [HEIGHT - 52, 34])];

/** @param {any} shown @param {Act} act @param {number} width */
function draw(shown, act, width) {
  const part = width >= 860 ? Math.floor((width - 72) / 3) : width - 32;
  const { dim, dims, ways, rank } = shown;
  const slide = (/** @type {number} */ value) => {
    const far = (/** @type {number} */ d) => Math.abs(Math.log(d / Math.max(1, value)));
    act({ dim: dims.reduce((/** @type {number} */ a, /** @type {number} */ b) => (far(b) < far(a) ? b : a)) });
  };
  const xTicks = powers(1, shown.width, (part - 80) / 46);
  const sized = { width: part, height: HEIGHT, at: dim, drag: slide };
  const named = ways.map((/** @type {any} */ way) => ({ ...way, name: "" })); // one legend for all three charts
  const kinds = ways.filter((/** @type {any} */ way) => way.shares).map((/** @type {any} */ way) => ({ ...way, name: "", values: way.shares }));
  const keep = curves({
    ...sized, name: "share of the variance that a cut keeps", xs: ranks(shown.width), lines: kinds, range: [0, 1.05], xTicks,
    write: (v) => percent(v), yLabel: "share of variance",
  });
  const find = curves({
    ...sized, name: "quality of retrieval after a cut", xs: dims, lines: named, range: [0, shown.best * 1.1],
    xTicks: powers(dims[0], shown.width, (part - 80) / 46), yLabel: `${metricTitle(shown.metric)} (${shown.split})`,
  });
  return [
    waysLegend(ways, width - 32),
    h("div", { class: "side" },
      h("figure", {}, h("figcaption", {}, `Layer ${shown.layer} uses ≈ ${rank.toFixed(0)} directions`), spectrumChart(shown, part, slide, xTicks)),
      h("figure", {}, h("figcaption", {}, `Variance kept: ${kinds.map((/** @type {any} */ way) => percent(way.share)).join(" and ")}`), keep),
      h("figure", {}, h("figcaption", {}, `${metricTitle(shown.metric)} kept: ${kinds.map((/** @type {any} */ way) => keptOf(way.value, shown.full)).join(" and ")}`), find)),
    h("p", { class: "note" }, "Drag along a chart. Directions are counted by the effective rank of the layer's variances."),
    readout(shown),
  ];
}

/** One legend for all charts. @param {any[]} ways @param {number} width */
function waysLegend(ways, width) {
  const height = 4 + 20 * placed(ways, 4, width).rows;
  return h("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, legend(ways, 4, 17, width));
}

/** @param {any} shown @param {number} width @param {(x: number) => void} slide @param {number[]} xTicks */
function spectrumChart(shown, width, slide, xTicks) {
  const [x, y] = spectrumScales(shown.width, shown.low, width);
  const tens = [1, 0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6].filter((v) => v >= shown.low);
  const line = spectrumPath(shown.spectrum, shown.top, shown.low, width, shown.ways[0].color, "");
  const last = spectrumPath(shown.deepest, shown.top, shown.low, width, "var(--mrl-soft)", "2 4");
  return chart(
    {
      name: `variance of layer ${shown.layer} along its components`, width, height: HEIGHT, x, y, drag: slide,
      xTicks: xTicks.map((d) => [d, `${d}`]), yTicks: tens.map((v) => [v, v < 0.01 ? v.toExponential(0) : `${v}`]), xLabel: "component (log scale)", yLabel: "variance (log scale)",
    },
    rule(x(shown.dim), HEIGHT - 52, x(shown.dim), 30, "here"),
    ...(shown.layer === shown.last ? [] : [last, label(72, HEIGHT - 62, `dotted: layer ${shown.last}`, { class: "axis" })]), line,
  );
}

/** @param {number} value @param {number} full */
const keptOf = (value, full) => (full > 0 ? percent(value / full) : "–");

/** @param {any} shown */
function readout(shown) {
  const rows = shown.ways.map((/** @type {any} */ way) => ({
    cells: [way.name, way.share === null ? "" : percent(way.share), quality(way.value), keptOf(way.value, shown.full)],
  }));
  const heads = [
    { title: `${shown.dim} dimensions by` }, { title: "share of variance", number: true },
    { title: metricTitle(shown.metric), number: true }, { title: `of all ${shown.width} (${quality(shown.full)})`, number: true },
  ];
  return table(heads, rows, "ways");
}

/** @type {View} */
export const spectrum = { view, draw };
