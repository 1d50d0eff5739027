/**
 * The grid explorer: quality of every layer and dimension, one query's documents in a cell, and what the cell costs.
 *
 * @import { Tree } from "./tree.js"
 * @import { Act, State, View } from "./panel.js"
 */
import { h } from "./tree.js";
import { at, row } from "./tables.js";
import { DASHES, chart, colorsOf, curves, heatmap, kept, label, limitsOf, pathOf, rule, scale, table } from "./plots.js";
import { count, metricTitle, percent, quality, shorten, three, whole } from "./words.js";

const FIRST = 5; // documents shown

/** The heat map's columns of a table of all dimensions. */
const columns = kept((/** @type {any} */ all, /** @type {number[]} */ dims) => {
  const [layers, width] = all.shape;
  return Float32Array.from({ length: layers * dims.length }, (_, i) => all.values[Math.floor(i / dims.length) * width + dims[i % dims.length] - 1]);
});
const shared = kept((/** @type {any} */ tables, /** @type {number[]} */ dims) => limitsOf(Object.values(tables).map((one) => columns(one, dims))));
const tops = kept((/** @type {any} */ tables) => limitsOf(Object.values(tables).map((/** @type {any} */ one) => one.values)));

/** What is known of a query; a query may be any word, as "constructor", which every object has. @param {any} data @param {string} model @param {string} query */
function answerOf(data, model, query) {
  const known = data.answers?.[model] ?? {};
  return Object.hasOwn(known, query) ? known[query] : undefined;
}

/** The cell that is kept for comparison, null where there is none. @param {string} pin "layer,dimension" @param {any} data */
function pinOf(pin, data) {
  const [layer, dim] = `${pin || ""}`.split(",").map(Number);
  return data.every.includes(dim) && Number.isInteger(layer) && layer >= 1 && layer <= data.layers ? { layer, dim } : null;
}

/** One query in one cell: its documents, and where the relevant ones stand. @param {any} answer @param {number} layer @param {number} dim @param {any} data */
export function ranking(answer, layer, dim, data) {
  const { ids, full, ranks, relevant } = answer;
  const hits = Array.from(row(ids, layer - 1, dim - 1)).map((document, i) => {
    const [name, text] = data.documents[document];
    return { rank: i + 1, full: at(full, document), name, text, relevant: relevant.length ? relevant.includes(document) : null };
  });
  const stand = relevant.map((/** @type {number} */ document, /** @type {number} */ i) => ({ here: at(ranks, i, layer - 1, dim - 1), full: at(full, document), i }));
  stand.sort((/** @type {any} */ a, /** @type {any} */ b) => a.here - b.here);
  return { hits, stand, falls: stand.slice(0, 3).map((/** @type {any} */ one) => row(ranks, one.i, layer - 1)) };
}

/** What a cell costs, and the share of the full size. @param {any} price @param {number} layer @param {number} dim */
export function priceOf(price, layer, dim) {
  const rows = [
    ["bytes for a vector", at(price.bytes, dim - 1), price.bytes.values.at(-1), whole],
    [`GB for ${count(price.documents)} vectors`, at(price.gb, dim - 1), price.gb.values.at(-1), three],
    ["multiply-adds to encode a text", at(price.encode, layer - 1), price.encode.values.at(-1), count],
    ["multiply-adds to search", at(price.search, dim - 1), price.search.values.at(-1), count],
  ];
  return rows.map(([what, amount, all, write]) => ({ what, words: write(amount), share: amount / all }));
}

/** @param {State} state @param {any} data */
function view(state, data) {
  const { model, metric, layer, dim } = state;
  const tables = data.quality[metric];
  const names = Object.keys(tables);
  const colors = colorsOf(names);
  const [last, width] = [data.layers, data.width];
  const value = at(tables[model], layer - 1, dim - 1);
  const full = at(tables[model], last - 1, width - 1);
  const share = Number.isFinite(value) && full > 0 ? `, ${percent(value / full)} of what the full vector reaches` : "";
  const answer = answerOf(data, model, state.query);
  const pinned = pinOf(state.pin, data);
  return {
    headline: `Layer ${layer}, ${dim} of ${width} dimensions: ${metricTitle(metric)} ${quality(value)}${share}`,
    model, metric, layer, dim, value, full, items: data.items, dims: data.dims, layers: last, width, pinned,
    limits: shared(tables, data.dims), top: tops(tables)[1], cells: columns(tables[model], data.dims),
    lines: names.map((name, i) => ({ name, color: colors[name], dash: DASHES[i % 4], values: row(tables[name], layer - 1) })),
    trained: data.trained[model] ?? [], xs: data.every,
    query: state.query, waiting: data.n && !answer, n: data.n,
    ranking: answer && ranking(answer, layer, dim, data),
    beside: answer && pinned && ranking(answer, pinned.layer, pinned.dim, data),
    price: priceOf(data.price, layer, dim),
  };
}

/** @param {State} state @param {any} data */
function missing(state, data) {
  const known = !data.n || !state.query?.trim() || answerOf(data, state.model, state.query);
  return known ? null : { ask: "query", model: state.model, text: state.query };
}

/** @param {any} shown @param {Act} act @param {number} width */
function draw(shown, act, width) {
  const wide = width >= 820;
  const [left, right] = wide ? [width * 0.53 - 30, width * 0.47 - 30] : [width - 30, width - 30];
  const { layer, dim, layers, dims, metric, pinned } = shown;
  const frame = [{ layer, dim }, ...(pinned ? [{ layer: pinned.layer, dim: pinned.dim, look: "pinned" }] : [])];
  const height = Math.max(240, layers * 44 + 44);
  const heat = heatmap({
    name: `${metricTitle(metric)} of ${shown.model} at every layer and dimension`, values: shown.cells, dims, layers, width: left, limits: shown.limits, frame, pick: act,
  });
  const slide = (/** @type {number} */ x) => act({ dim: Math.min(shown.width, Math.max(1, Math.round(x))) });
  const lines = curves({
    name: `${metricTitle(metric)} at layer ${layer}, at every dimension`, xs: shown.xs, lines: shown.lines, at: dim, range: [Math.min(0, shown.limits[0]), shown.top * 1.08],
    width: right, height, yLabel: metricTitle(metric), drag: slide,
  });
  const marks = shown.trained.length ? `Trained at ${shown.trained.join(", ")} dimensions.` : "";
  const cell = `${layer},${dim}`;
  return [
    h("div", { class: "side" },
      h("figure", {}, h("figcaption", {}, `${shown.model}: ${metricTitle(metric)}, ${shown.items}`), heat),
      h("figure", {}, h("figcaption", {}, `Layer ${layer}: cut the vector shorter, quality falls`), lines)),
    h("p", { class: "note" }, marks, " Click a cell, or drag along the curve. ",
      h("button", { type: "button", onclick: () => act({ pin: pinned ? "" : cell }) }, pinned ? "Stop comparing" : "Compare with this cell")),
    ...(shown.n ? documents(shown, slide, width) : []),
    prices(shown.price),
  ];
}

/** @param {any} shown @param {(x: number) => void} slide @param {number} width @returns {Tree[]} */
function documents(shown, slide, width) {
  const title = h("p", {}, "Query: ", h("b", {}, shorten(shown.query, 120)));
  if (!shown.ranking) return [title, h("p", { class: "note" }, shown.waiting && shown.query.trim() ? "Waiting for the kernel to encode this query …" : "Type a query.")];
  const { ranking: here, beside, pinned } = shown;
  const lists = [ranked(here, beside ? `Layer ${shown.layer}, ${shown.dim} dimensions` : "")];
  if (beside) lists.unshift(ranked(beside, `Layer ${pinned.layer}, ${pinned.dim} dimensions (kept)`));
  const columns = lists.map((list) => h("div", { style: `width:${beside && width > 820 ? width / 2 - 30 : width - 30}px` }, list));
  return [title, here.falls.length ? fall(shown, slide, width - 30) : null, h("div", { class: "side" }, columns)].filter((x) => x !== null);
}

/** The rank of the relevant documents at every dimension of the layer. @param {any} shown @param {(x: number) => void} slide @param {number} width */
function fall(shown, slide, width) {
  const height = 150;
  const x = scale("log", [1, shown.width], [64, width - 16]);
  const y = scale("log", [shown.n, 1], [height - 28, 14]);
  const rankTicks = [1, 10, 100, 1000, 10000, 100000].filter((r) => r <= shown.n);
  const best = shown.ranking.stand[0];
  const caption = `Where its relevant document stands: rank ${whole(best.here)} of ${whole(shown.n)} here, rank ${whole(best.full)} with the full vector`;
  const drawn = falls(shown.ranking.falls[0], shown.xs, width, shown.n, height);
  const more = shown.ranking.falls.slice(1).map((/** @type {any} */ f) => falls(f, shown.xs, width, shown.n, height));
  const dot = h("circle", { cx: x(shown.dim).toFixed(1), cy: y(shown.ranking.falls[0][shown.dim - 1]).toFixed(1), r: 6, fill: "var(--mrl-mark)", class: "dot" });
  return h("figure", {}, h("figcaption", {}, caption), chart(
    {
      name: caption, width, height, x, y, xTicks: shown.dims.map((/** @type {number} */ d) => [d, `${d}`]),
      yTicks: rankTicks.map((r) => [r, whole(r)]), yLabel: "rank", drag: slide,
    },
    h("rect", { x: 64, y: 14, width: width - 80, height: y(Math.min(10, shown.n)) - 14, fill: "var(--mrl-warm)" }),
    label(width - 22, y(Math.min(10, shown.n)) - 5, "first ten", { class: "end axis" }),
    ...more, drawn, rule(x(shown.dim), height - 28, x(shown.dim), 12, "here"), dot,
  ));
}

const falls = kept((/** @type {any} */ ranks, /** @type {number[]} */ xs, /** @type {number} */ width, /** @type {number} */ n, /** @type {number} */ height) => {
  const path = pathOf(xs, ranks, scale("log", [1, xs.length], [64, width - 16]), scale("log", [n, 1], [height - 28, 14]));
  return h("path", { d: path, stroke: "var(--mrl-mark)", "stroke-width": 3, class: "line" });
});

/** @param {any} list @param {string} title */
function ranked(list, title) {
  const rows = list.hits.slice(0, FIRST).map((/** @type {any} */ hit) => ({
    marked: hit.relevant, cells: [`${hit.rank}`, move(hit), hit.relevant === null ? "" : hit.relevant ? "✔ yes" : "no", [h("b", {}, hit.name), " ", h("span", { title: hit.text }, hit.text)]],
  }));
  const heads = [{ title: "rank", number: true, width: 48 }, { title: "full vector", width: 112 }, { title: "relevant", width: 72 }, { title: "document" }];
  return [title ? h("figcaption", {}, title) : null, table(heads, rows, "documents")];
}

/** @param {any} hit */
function move(hit) {
  if (hit.rank === hit.full) return `= ${hit.full}`;
  const up = hit.rank < hit.full;
  return [`${whole(hit.full)} `, h("span", { class: up ? "up" : "down" }, `${up ? "▲" : "▼"} ${whole(Math.abs(hit.full - hit.rank))}`)];
}

/** @param {{what: string, words: string, share: number}[]} price */
function prices(price) {
  const rows = price.map(({ what, words, share }) => ({
    cells: [what, words, [h("span", { class: "bar", style: `width:${(160 * share).toFixed(0)}px` }), percent(share)]],
  }));
  return table([{ title: "what the cell costs" }, { title: "amount", number: true, width: 150 }, { title: "of the full size", width: 260 }], rows, "price");
}

/** @type {View} */
export const explorer = { view, draw, missing };
