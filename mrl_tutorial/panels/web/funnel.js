/**
 * The funnel designer: a path of search over the grid, what it finds, what it costs, and where it loses a document.
 *
 * @import { Tree } from "./tree.js"
 * @import { Act, Adjust, Data, State, View } from "./panel.js"
 * @typedef {Record<string, number>} Sums
 * @typedef {ReturnType<typeof view>} Shown
 */
import { h } from "./tree.js";
import { at, row } from "./tables.js";
import { MARK, chart, circle, closest, figure, halves, heatmap, kept, label, limitsOf, lineOf, scale, table, tens, ticks } from "./plots.js";
import { percent, quality, shorten, tenths, three, whole } from "./words.js";

const BLUE = "var(--mrl-blue)";
const NEAR = 16; // pixels between a click and the dot that it means

/** What a control may be set to. @param {Data} data @param {string} name */
const valuesOf = (data, name) => data.controls.flat().filter((c) => c.name === name)[0].values;

/** The last stage of a path, -1 where the path makes no sense. @param {Data} data @param {State} s */
function endOf(data, s) {
  const { ends, dims } = data;
  return at(ends, s.layer - 1, dims.indexOf(s.dim), valuesOf(data, "depth").indexOf(s.depth), dims.indexOf(s.rerank), s.between);
}

/** A plain search of one cell. @param {Data} data @param {number} layer @param {number} dim */
const plainOf = (data, layer, dim) => endOf(data, { layer, dim, depth: valuesOf(data, "depth")[0], rerank: dim, between: 0 });

/** Everything up to a stage, first to last. @param {any} data @param {any} model @param {number} end @param {number} query place among the followed */
function stopsOf(data, model, end, query) {
  const nodes = /** @type {number[]} */ ([]);
  for (let node = end; node >= 0; node = at(data.before, node)) nodes.unshift(node);
  return nodes.map((node, i) => ({
    layer: at(data.layer, node), dim: at(data.dim, node), from: i ? at(data.depth, nodes[i - 1]) : data.n, to: at(data.depth, node),
    kept: at(model.kept, node), place: at(model.place, node, query),
    best: Array.from(row(model.best, node, query)).filter((n) => n > 0).map((n) => ({ name: data.names[n - 1], relevant: data.relevant[query].includes(n) })),
  }));
}

/** All paths of two stages: what to set to get them, their MFLOPs and what they find. */
const cloudOf = kept((/** @type {Data} */ data, model, size) => {
  const { ends, dims } = data;
  const depths = valuesOf(data, "depth");
  const choices = [];
  for (let layer = 1; layer <= ends.shape[0]; layer++) {
    for (const dim of dims) for (const depth of depths) for (const rerank of dims) choices.push({ layer, dim, depth, rerank, between: 0 });
  }
  const found = choices.map((choice) => ({ choice, node: endOf(data, choice) })).filter(({ node }) => at(data.before, node) >= 0);
  const nodes = found.map(({ node }) => node);
  const plain = dims.map((dim) => plainOf(data, data.layers, dim));
  const xs = (/** @type {number[]} */ list) => Float32Array.from(list, (node) => at(data.mflops, node, size));
  const ys = (/** @type {number[]} */ list) => Float32Array.from(list, (node) => at(model.recall, node));
  return { choices: found.map(({ choice }) => choice), xs: xs(nodes), ys: ys(nodes), plain: [xs(plain), ys(plain)] };
});

function view(/** @type {State} */ state, /** @type {Data} */ data) {
  const model = data.models[state.model];
  const [size, query] = [valuesOf(data, "size").indexOf(state.size), data.follow.indexOf(state.query)];
  const sum = (/** @type {number} */ node) => ({
    recall: at(model.recall, node), ndcg: at(model.ndcg, node), mflops: at(data.mflops, node, size), ms: at(data.ms, node, size), gb: at(data.gb, node, size),
  });
  const end = endOf(data, state);
  const all = plainOf(data, data.layers, data.width);
  const [path, full] = [end < 0 ? null : sum(end), sum(all)];
  return {
    headline: !path ? refusal(state, data.layers) : end === all ? `The full search: nDCG@10 ${quality(full.ndcg)} for ${three(full.mflops)} MFLOPs a query` : finding(path, full),
    path, full, stages: end < 0 ? [] : stopsOf(data, model, end, query), encode: data.encode, n: state.size, held: data.n, text: data.texts[query],
    model: state.model, grid: model.grid.values, limits: limitsOf([model.grid.values]), dims: data.dims, layers: data.layers, cloud: cloudOf(data, model, size),
  };
}

function refusal(/** @type {State} */ s, /** @type {number} */ layers) {
  if (s.depth < 10) return `A shortlist of ${s.depth} cannot give 10 documents: keep 10 or more`;
  return `Reranking with ${s.rerank} dimensions of layer ${layers} adds nothing to a shortlist by ${s.dim} of layer ${s.layer}: rerank with more, or begin with fewer`;
}

function finding(/** @type {Sums} */ path, /** @type {Sums} */ full) {
  return `Finds ${tenths(path.recall)} of the full model's ten with ${times(full.mflops / path.mflops, "fewer", "more")} multiply-adds, in ${three(path.ms)} ms against ${three(full.ms)}; nDCG@10 ${quality(path.ndcg)} against ${quality(full.ndcg)}`;
}

/** @param {number} ratio @param {string} less @param {string} more */
const times = (ratio, less, more) => (ratio >= 1 ? `${ratio.toFixed(1)} times ${less}` : `${(1 / ratio).toFixed(1)} times ${more}`);

/** A click on a cell moves the path's start, or in the top row its end. @type {Adjust} */
function adjust(next, changes, data) {
  if (!("cell" in changes)) return next;
  const { cell, ...state } = next;
  const [layer, dim] = cell;
  const end = layer === data.layers && (state.layer < layer || dim > state.dim);
  return { ...state, ...(end ? { rerank: dim } : { layer, dim }) };
}

function draw(/** @type {Shown} */ shown, /** @type {Act} */ act, /** @type {number} */ width) {
  const [left, right] = halves(width, 0.52);
  const { dims, layers, limits, grid } = shown;
  const heat = heatmap({
    name: "nDCG@10 of a search of each cell alone, and the path", values: grid, dims, layers, width: left, limits, pick: ({ layer, dim }) => act({ cell: [layer, dim] }), over: stops(shown, (left - 50) / dims.length),
  });
  return [
    h("div", { class: "side" },
      figure("The path (nDCG@10 of each cell alone)", left, heat),
      figure(`What it finds and costs: ${whole(shown.n)} documents`, right, scatter(shown, act, right, Math.max(240, layers * 44 + 44)))),
    h("p", { class: "note" }, "Click a cell to begin the path there; in the top row, to end it there. Click a dot to take that path."),
    ...(shown.path ? [costs(shown.path, shown), ...survivors(shown)] : []),
  ];
}

/** The path on the heat map, beside the cells' numbers. @param {Shown} shown @param {number} w width of a cell */
function stops(shown, w) {
  /** @type {[number, number][]} */
  const places = shown.stages.map((s) => [shown.dims.indexOf(s.dim) * w + 11, (shown.layers - s.layer) * 44 + 11]);
  const line = h("polyline", { points: places.map(([x, y]) => `${x.toFixed(1)},${y}`).join(" "), class: "line", stroke: MARK, "stroke-width": 3 });
  const dots = places.map(([x, y]) => circle(x, y, 9.5, { fill: "var(--mrl-paper)", stroke: MARK, "stroke-width": 2.5 }));
  return [h("g", { style: "pointer-events:none" }, line, dots, places.map(([x, y], i) => label(x, y + 5, i + 1, { class: "middle", "font-weight": 700 })))];
}

/** The path among all others. @param {Shown} shown @param {Act} act @param {number} width @param {number} height */
function scatter(shown, act, width, height) {
  const { cloud, path, full } = shown;
  const { x, y, points, picture } = behind(cloud, full.mflops, width, height);
  const choose = (/** @type {any} */ event) => {
    const box = event.currentTarget.ownerSVGElement.getBoundingClientRect();
    const best = closest(points, event.clientX - box.left, event.clientY - box.top, NEAR);
    if (best >= 0) act(cloud.choices[best]);
  };
  const here = path && h("path", { d: `M${x(path.mflops).toFixed(1)},${(y(path.recall) - 11).toFixed(1)}l11,11l-11,11l-11,-11z`, fill: MARK, stroke: "var(--mrl-ink)", "stroke-width": 2 });
  return chart(
    { name: "share of the full model's ten against multiply-adds a query", width, height, x, y },
    picture, here,
    h("rect", { x: 64, y: 0, width: width - 76, height: height - 52, fill: "transparent", class: "pick", onclick: choose }),
  );
}

/** What stays while the path moves: every path of two stages as a dot. */
const behind = kept((/** @type {Shown["cloud"]} */ cloud, most, width, height) => {
  const [xs, ys] = cloud.plain;
  const x = scale("log", [xs[0] / 2, 2 * most], [64, width - 12]);
  const y = scale("linear", [0, 1.05], [height - 52, 8]);
  const points = Array.from(cloud.xs, (v, i) => [x(v), y(cloud.ys[i])]);
  const dots = points.map(([px, py]) => `M${px.toFixed(1)},${py.toFixed(1)}h.01`).join("");
  const [right, foot] = [width - 26, height - 52];
  /** @type {(up: number, words: string, sample: Tree) => Tree[]} */
  const key = (up, words, sample) => [label(right - 24, foot - up + 5, words, { class: "end" }), sample];
  const picture = chart(
    {
      name: "two-stage paths", width, height, x, y, xTicks: tens(x.domain), xWrite: (v) => (v < 1 ? v : whole(v)), yTicks: ticks([0, 1]), yWrite: percent,
      xLabel: "MFLOPs a query (log scale)", yLabel: "of the full model's ten",
    },
    h("path", { d: dots, stroke: "var(--mrl-soft)", "stroke-opacity": 0.3, "stroke-width": 6, "stroke-linecap": "round", class: "line" }),
    lineOf(xs, ys, x, y, { color: BLUE }), Array.from(xs, (v, i) => circle(x(v), y(ys[i]), 5, { fill: BLUE, class: "dot" })),
    h("rect", { x: right - 206, y: foot - 76, width: 216, height: 68, fill: "var(--mrl-paper)", opacity: 0.85 }),
    key(60, "shortlist, then rerank", h("circle", { cx: right - 8, cy: foot - 60, r: 4, fill: "var(--mrl-soft)", opacity: 0.6 })),
    key(40, "plain search, one width", h("path", { d: `M${right - 18},${foot - 40}h20`, stroke: BLUE, "stroke-width": 3 })),
    key(20, "this path", h("path", { d: `M${right - 8},${foot - 28}l8,8l-8,8l-8,-8z`, fill: MARK })),
  );
  return { x, y, points, picture };
});

function costs(/** @type {Sums} */ path, /** @type {Shown} */ shown) {
  const { full, n, held, encode } = shown;
  const line = (/** @type {string} */ title, /** @type {Sums} */ c) => ({
    cells: [title, tenths(c.recall), quality(c.ndcg), three(c.mflops), encode === null ? "–" : whole(encode), three(c.ms), three(c.gb)],
  });
  const heads = [
    { title: `for ${whole(n)} documents`, width: 236 }, ...["of the ten", "nDCG@10", "MFLOPs", "to encode", "ms", "GB held"].map((title) => ({ title, number: true })),
  ];
  const note = n === held ? "" : ` Quality is that of ${whole(held)} documents; ${whole(n)} need a longer shortlist.`;
  return h("div", {},
    table(heads, [line("this path", path), line("full model", full)], "costs"),
    h("p", { class: "note" }, `The search takes ${times(full.ms / path.ms, "less", "more")} time. ms: one query alone on one thread, from searches that were timed on the machine that made this panel. To encode: MFLOPs of the query's way through the model.${note}`));
}

/** What each stage leaves, and where it puts the relevant document of one query. @param {Shown} shown */
function survivors(shown) {
  const rows = shown.stages.map((s, i) => ({
    cells: [
      `${i + 1}`, `layer ${s.layer}, ${s.dim} dims`, `${whole(s.from)} → ${whole(s.to)}`, s.place ? h("mark", {}, `✔ at ${s.place}`) : h("b", { class: "down" }, "✘ lost"), percent(s.kept),
      s.best.map(({ name, relevant }, j) => [j ? ", " : "", h(relevant ? "b" : "span", { title: name }, (relevant ? "✔ " : "") + short(name))]),
    ],
  }));
  const heads = [
    { title: "stage", number: true, width: 58 }, { title: "scored by", width: 146 }, { title: "documents", number: true, width: 118 },
    { title: "relevant", width: 88 }, { title: "kept", number: true, width: 62 }, { title: "its best four" },
  ];
  return [h("p", {}, "Where the relevant document stands (kept: the share of all queries' relevant documents that is left). Query: ", h("b", {}, shorten(shown.text, 140))), table(heads, rows, "stages wrap")];
}

/** The end of a dotted name: its last two parts, or one. @param {string} name */
function short(name) {
  const parts = name.split(".");
  const two = parts.slice(-2).join(".");
  return shorten(two.length <= 26 ? two : parts[parts.length - 1], 34);
}

/** @type {View} */
export const funnel = { view, draw, adjust };
