/**
 * The grid explorer: quality of every layer and dimension, one query's documents in a cell, and what the cell costs.
 *
 * @import { Numbers, Table } from "./tables.js"
 * @import { Act, Data, State, View } from "./panel.js"
 * @typedef {{ids: Table, full: Table, ranks: Table, relevant: number[]}} Answer
 * @typedef {ReturnType<typeof view>} Shown
 * @typedef {(dim: number) => void} Slide
 */
import { button, h } from "./tree.js";
import { at, row } from "./tables.js";
import { DASHES, box, chart, circle, clamp, colorsOf, curves, figure, halves, heatmap, label, limitsOf, lineOf, rule, scale, table, tens } from "./plots.js";
import { count, metricTitle, percent, quality, shorten, three, whole } from "./words.js";

const FIRST = 5; // documents shown
const NOW = "var(--mrl-mark)";

/** The heat map's columns of a table of all dimensions. @param {Table} all @param {number[]} dims */
const columns = (all, dims) => Array.from({ length: all.shape[0] }, (_, i) => dims.map((d) => at(all, i, d - 1))).flat();

/** What is known of a query; a query may be any word, as "constructor", which every object has.
 *  @param {Data} data @param {string} model @param {any} query */
function answerOf(data, model, query) {
  const known = data.answers?.[model] ?? {};
  return Object.hasOwn(known, query) ? known[query] : undefined;
}

/** The cell that is kept for comparison, or null. @param {string} pin "layer,dimension" @param {Data} data */
function pinOf(pin, data) {
  const [layer, dim] = `${pin || ""}`.split(",").map(Number);
  return data.every.includes(dim) && Number.isInteger(layer) && layer >= 1 && layer <= data.layers ? { layer, dim } : null;
}

/** One query in one cell: its documents, and where the relevant ones stand.
 *  @param {Answer} answer @param {number} layer @param {number} dim @param {Data} data */
function ranking({ ids, full, ranks, relevant }, layer, dim, data) {
  const hits = Array.from(row(ids, layer - 1, dim - 1)).map((document, i) => {
    const [name, text] = data.documents[document];
    return { rank: i + 1, full: at(full, document), name, text, relevant: relevant.length ? relevant.includes(document) : null };
  });
  const stand = relevant.map((document, i) => ({ here: at(ranks, i, layer - 1, dim - 1), full: at(full, document), i }));
  stand.sort((a, b) => a.here - b.here);
  return { hits, stand, falls: stand.slice(0, 3).map((one) => row(ranks, one.i, layer - 1)) };
}

/** What a cell costs, and the share of the full size. @param {any} price @param {number} layer @param {number} dim */
function priceOf(price, layer, dim) {
  const rows = [
    ["bytes for a vector", at(price.bytes, dim - 1), price.bytes.values.at(-1), whole],
    [`GB for ${count(price.documents)} vectors`, at(price.gb, dim - 1), price.gb.values.at(-1), three],
    ["multiply-adds to encode a text", at(price.encode, layer - 1), price.encode.values.at(-1), count],
    ["multiply-adds to search", at(price.search, dim - 1), price.search.values.at(-1), count],
  ];
  return rows.map(([what, amount, all, write]) => ({ what, words: write(amount), share: amount / all }));
}

function view(/** @type {State} */ state, /** @type {Data} */ data) {
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
    limits: limitsOf(Object.values(tables).map((one) => columns(one, data.dims))), top: limitsOf(Object.values(tables).map((one) => one.values))[1],
    cells: columns(tables[model], data.dims),
    lines: names.map((name, i) => ({ name, color: colors[name], dash: DASHES[i % 4], values: row(tables[name], layer - 1) })),
    trained: data.trained[model] ?? [], xs: data.every,
    query: state.query, waiting: data.n && !answer, n: data.n,
    ranking: answer && ranking(answer, layer, dim, data),
    beside: answer && pinned && ranking(answer, pinned.layer, pinned.dim, data),
    price: priceOf(data.price, layer, dim),
  };
}

function missing(/** @type {State} */ state, /** @type {Data} */ data) {
  const known = !data.n || !state.query?.trim() || answerOf(data, state.model, state.query);
  return known ? null : { ask: "query", model: state.model, text: state.query };
}

function draw(/** @type {Shown} */ shown, /** @type {Act} */ act, /** @type {number} */ width) {
  const [left, right] = halves(width, 0.53);
  const { layer, dim, layers, dims, metric, pinned } = shown;
  const frame = [{ layer, dim }, ...(pinned ? [{ ...pinned, look: "pinned" }] : [])];
  const height = Math.max(240, layers * 44 + 44);
  const heat = heatmap({
    name: `${metricTitle(metric)} of ${shown.model} at every layer and dimension`, values: shown.cells, dims, layers, width: left, limits: shown.limits, frame, pick: act,
  });
  const slide = (/** @type {number} */ x) => act({ dim: clamp(1, Math.round(x), shown.width) });
  const lines = curves({
    name: `${metricTitle(metric)} at layer ${layer}, at every dimension`, xs: shown.xs, lines: shown.lines, at: dim, range: [Math.min(0, shown.limits[0]), shown.top * 1.08],
    width: right, height, yLabel: metricTitle(metric), drag: slide,
  });
  const marks = shown.trained.length ? `Trained at ${shown.trained.join(", ")} dimensions.` : "";
  return [
    h("div", { class: "side" },
      figure(`${shown.model}: ${metricTitle(metric)}, ${shown.items}`, left, heat),
      figure(`Layer ${layer}: quality falls as you cut the vector`, right, lines)),
    h("p", { class: "note" }, marks, " Click a cell, or drag along the curve. ",
      button(pinned ? "Stop comparing" : "Compare with this cell", () => act({ pin: pinned ? "" : `${layer},${dim}` }))),
    ...(shown.n ? documents(shown, slide, width) : []),
    prices(shown.price),
  ];
}

function documents(/** @type {Shown} */ shown, /** @type {Slide} */ slide, /** @type {number} */ width) {
  const title = h("p", {}, "Query: ", h("b", {}, shorten(shown.query, 120)));
  if (!shown.ranking) return [title, h("p", { class: "note" }, shown.waiting && shown.query.trim() ? "Waiting for the kernel to encode this query …" : "Type a query.")];
  const { ranking: here, beside, pinned } = shown;
  const lists = [ranked(here, beside ? `Layer ${shown.layer}, ${shown.dim} dimensions` : "")];
  if (beside && pinned) lists.unshift(ranked(beside, `Layer ${pinned.layer}, ${pinned.dim} dimensions (kept)`));
  const columns = lists.map((list) => h("div", { style: `width:${beside && width > 820 ? width / 2 - 30 : width - 30}px` }, list));
  return [title, here.falls.length ? fall(shown, slide, width - 30) : null, h("div", { class: "side" }, columns)].filter((x) => x !== null);
}

/** Ranks of relevant documents at every dimension. @param {Shown} shown @param {Slide} slide @param {number} width */
function fall(shown, slide, width) {
  const [height, { dim, n, ranking: { falls, stand: [best] } }] = [150, shown];
  const x = scale("log", [1, shown.width], [64, width - 16]);
  const y = scale("log", [n, 1], [height - 28, 14]);
  const ten = y(Math.min(10, n));
  const title = `Where its relevant document stands: rank ${whole(best.here)} of ${whole(n)} here, rank ${whole(best.full)} with the full vector`;
  return figure(title, width, chart(
    {
      name: title, width, height, x, y, xTicks: shown.dims,
      yTicks: tens([1, n]), yWrite: whole, yLabel: "rank", drag: slide,
    },
    box(64, 14, width - 80, ten - 14, { fill: "var(--mrl-warm)" }), label(width - 22, ten - 5, "first ten", { class: "end axis" }),
    falls.map((/** @type {Numbers} */ ranks) => lineOf(shown.xs, ranks, x, y, { color: NOW })).reverse(), // best on top
    rule(x(dim), height - 28, x(dim), 12, "here"), circle(x(dim), y(falls[0][dim - 1]), 6, { fill: NOW, class: "dot" }),
  ));
}

function ranked(/** @type {ReturnType<typeof ranking>} */ list, /** @type {string} */ title) {
  const rows = list.hits.slice(0, FIRST).map((hit) => ({
    marked: hit.relevant, cells: [`${hit.rank}`, move(hit), hit.relevant === null ? "" : hit.relevant ? "✔ yes" : "no", [h("b", {}, hit.name), " ", h("span", { title: hit.text }, hit.text)]],
  }));
  const heads = [{ title: "rank", number: true, width: 48 }, { title: "full vector", width: 112 }, { title: "relevant", width: 72 }, { title: "document" }];
  return [title ? h("figcaption", {}, title) : null, table(heads, rows, "documents")];
}

function move(/** @type {{rank: number, full: number}} */ hit) {
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
