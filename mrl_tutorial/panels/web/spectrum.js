/**
 * The spectrum explorer: a layer's variance along its components, the share that a cut keeps, and what retrieval makes of it.
 *
 * @import { Act, Data, State, View } from "./panel.js"
 * @import { Numbers, Table } from "./tables.js"
 * @typedef {ReturnType<typeof view>} Shown
 */
import { h } from "./tree.js";
import { at, row } from "./tables.js";
import { DASHES, colorsOf, curves, figure, label, limitsOf, nearest, rule, sharedLegend, table, tens, upTo } from "./plots.js";
import { metricTitle, percent, quality } from "./words.js";

const HEIGHT = 330;

/** [low, high] of the variances as shares of the largest; the last components, which may be nothing, do not count. @param {Table} variances */
function spectrumEnds({ shape: [, , width], values }) {
  const used = Array.from(values).filter((_, i) => i % width < Math.max(1, Math.floor(0.95 * width)));
  const top = used.reduce((a, b) => Math.max(a, b));
  return [Math.max(used.reduce((a, b) => Math.min(a, b)) / top, 1e-6), top];
}

function view(/** @type {State} */ state, /** @type {Data} */ data) {
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
    last: data.variances.shape[1], low, top, best: limitsOf(Object.values(data.quality).map((one) => one.values))[1],
    spectrum: row(data.variances, m, layer - 1), deepest: row(data.variances, m, data.variances.shape[1] - 1),
  };
}

function draw(/** @type {Shown} */ shown, /** @type {Act} */ act, /** @type {number} */ width) {
  const part = width >= 860 ? Math.floor((width - 72) / 3) : width - 32;
  const { dim, dims, ways, rank } = shown;
  const slide = (/** @type {number} */ value) => act({ dim: nearest(dims, Math.max(1, value)) });
  const sized = { width: part, height: HEIGHT, at: dim, drag: slide };
  const named = ways.map((way) => ({ ...way, name: "" })); // one legend for all three charts
  const kinds = ways.flatMap((way) => (way.shares ? [{ ...way, name: "", values: way.shares }] : []));
  const { layer, last, low, top } = shown;
  const spectrumOf = (/** @type {Numbers} */ values, /** @type {string} */ color, dash = "") => ({
    name: "", color, dash, values: values.map((v) => (v / top >= low ? v / top : NaN)),
  });
  const variance = curves({
    name: `variance of layer ${layer} along its components`, xs: upTo(shown.width), yKind: "log", range: [low, 1.3], width: part, height: HEIGHT, drag: slide,
    lines: [...(layer === last ? [] : [spectrumOf(shown.deepest, "var(--mrl-soft)", "2 4")]), spectrumOf(shown.spectrum, ways[0].color)],
    yTicks: tens([low, 1]), write: (v) => (v < 0.01 ? v.toExponential(0) : `${v}`),
    xLabel: "component (log scale)", yLabel: "variance (log scale)",
    over: (x) => [rule(x(dim), HEIGHT - 52, x(dim), 30, "here"), ...(layer === last ? [] : [label(72, HEIGHT - 62, `dotted: layer ${last}`, { class: "axis" })])],
  });
  const keep = curves({
    ...sized, name: "share of the variance that a cut keeps", xs: upTo(shown.width), lines: kinds, range: [0, 1.05],
    write: percent, yLabel: "share of variance",
  });
  const find = curves({
    ...sized, name: "quality of retrieval after a cut", xs: dims, lines: named, range: [0, shown.best * 1.1],
    yLabel: `${metricTitle(shown.metric)} (${shown.split})`,
  });
  return [
    sharedLegend(ways, width - 32),
    h("div", { class: "side" },
      figure(`Layer ${shown.layer} uses ≈ ${rank.toFixed(0)} directions`, part, variance),
      figure(`Variance kept: ${kinds.map((way) => percent(way.share ?? 0)).join(" and ")}`, part, keep),
      figure(`${metricTitle(shown.metric)} kept: ${kinds.map((way) => keptOf(way.value, shown.full)).join(" and ")}`, part, find)),
    h("p", { class: "note" }, "Drag along a chart. Directions are counted by the effective rank of the layer's variances."),
    readout(shown),
  ];
}

const keptOf = (/** @type {number} */ value, /** @type {number} */ full) => (full > 0 ? percent(value / full) : "–");

function readout(/** @type {Shown} */ shown) {
  const rows = shown.ways.map((way) => ({
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
