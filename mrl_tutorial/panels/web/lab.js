/**
 * The loss lab: weights that are painted on the grid, what a training with them gave in each cell, and who leads.
 *
 * @import { Act, Adjust, Data, Missing, State, View } from "./panel.js"
 * @typedef {{term: string, weights: number[][], options: Record<string, any>}} Term
 * @typedef {{terms: Term[], sampler: string}} Painting
 * @typedef {ReturnType<typeof view>} Shown
 */
import { button, h, menu } from "./tree.js";
import { COLORS, DASHES, box, clamp, colorsOf, curves, figure, heatmap, surface, table, upTo } from "./plots.js";
import { metricTitle, quality, signed } from "./words.js";

const MOST = 30; // steps that can be undone
const LEFT = 46; // of a heat map's cells
/** @type {Record<string, {title: string, xLabel: string, kind: "log" | "linear"}>} */
const AGAINST = {
  bytes: { title: "quality against bytes, the best layer at each width", xLabel: "bytes of a vector (log scale)", kind: "log" },
  encoding: { title: "quality against encoding a query, the best width after each layer", xLabel: "multiply-adds of encoding, % of all layers", kind: "linear" },
};

/** The painting with some cells of a term at a weight; a term that was not there is added. @param {Painting} painting
 *  @param {string} term @param {number[][]} cells @param {number} weight @param {number[]} shape */
function paint(painting, term, cells, weight, shape) {
  const known = painting.terms.find((one) => one.term === term);
  const blank = Array.from({ length: shape[0] }, () => Array(shape[1]).fill(0));
  const weights = (known?.weights ?? blank).map((row, i) => row.map((w, j) => (cells.some(([a, b]) => a === i && b === j) ? weight : w)));
  const made = { term, options: known?.options ?? {}, weights };
  return { ...painting, terms: known ? painting.terms.map((one) => (one === known ? made : one)) : [...painting.terms, made] };
}

/** What changes when the painting does: the one before can be had back. @param {{painting: Painting, past: Painting[]}} now @param {Painting} next @returns {State} */
function changed(now, next) {
  return { recipe: next, past: [...now.past, now.painting].slice(-MOST), preset: "painted", layers: "painted" };
}

/** A preset and a run that was trained bring their painting, layer weights go over every painted row. @type {Adjust} */
function adjust(state, changes, data) {
  if ("recipe" in changes) return state;
  const now = { painting: state.recipe, past: state.past };
  if (data.presets[changes.preset]) return { ...state, ...changed(now, data.presets[changes.preset]), layers: "", preset: changes.preset };
  if ("run" in changes && data.runs[changes.run]?.json) {
    const { terms, sampler } = JSON.parse(data.runs[changes.run].json);
    const term = terms.some((/** @type {Term} */ one) => one.term === state.term) ? state.term : terms[0].term;
    return { ...state, ...changed(now, { terms, sampler }), term };
  }
  const down = data.down[changes.layers];
  if (!down) return state;
  const over = (/** @type {number[]} */ row, /** @type {number} */ i) => row.map((w) => w && down[i]);
  const terms = state.recipe.terms.map((/** @type {Term} */ one) => ({ ...one, weights: one.weights.map(over) }));
  return { ...state, ...changed(now, { ...state.recipe, terms }), preset: "painted", layers: changes.layers };
}

/** A term of the reader's own that the kernel has yet to find. @type {Missing} */
function missing(state, data) {
  const name = state.own.trim();
  return name && !data.owned.includes(name) ? { ask: "own", name } : null;
}

function view(/** @type {State} */ state, /** @type {Data} */ data) {
  const { runs, dims, layers, live, offers } = data;
  const [name, other, run] = [state.run, state.against, runs[state.run]];
  const painting = /** @type {Painting} */ (state.recipe);
  const against = name === other ? null : run.against[other];
  const used = (/** @type {string} */ term) => painting.terms.find((one) => one.term === term);
  const rows = [...Object.keys(offers), ...painting.terms.map((one) => one.term).filter((t) => !offers[t])].map((term) => {
    const one = used(term);
    const cells = one ? one.weights.flat().filter((w) => w > 0) : [];
    return { term, on: !!one, cells: cells.length, options: one?.options ?? {}, offers: offers[term] ?? {} };
  });
  const colors = colorsOf([...new Set([name, other, data.start])]);
  const lines = Object.keys(colors).map((one, i) => ({ name: one, color: colors[one], dash: DASHES[i], values: runs[one].lines[state.price].values }));
  return {
    headline: live?.name ? `${live.name} is training: its loss, and its dev grid as it fills in` : said(name, other, against, data),
    layers, dims, painting, past: state.past, term: state.term, brush: state.brush, layer: state.layer, dim: state.dim,
    weights: used(state.term)?.weights.flat() ?? Array(layers * dims.length).fill(0), rows, samplers: data.samplers, live: live?.name ? live : null, limits: data.limits, items: data.items, metric: metricTitle(data.metric), alone: state.heads === "per-layer",
    name, other, run, against, lines, price: state.price, costs: data[state.price], board: data.board, runs, start: data.start,
  };
}

/** @param {string} name @param {string} other @param {any} against @param {Data} data */
function said(name, other, against, data) {
  const mean = data.board.find((/** @type {any} */ one) => one.name === name).mean;
  const start = `${name}: ${metricTitle(data.metric)} ${quality(mean)}, the mean over all cells and ${data.items}`;
  if (!against) return start;
  const [change, low, high] = against.whole;
  const sure = low <= 0 && high >= 0 ? ", which may be chance" : "";
  return `${start}; ${signed(change)} [${signed(low)}, ${signed(high)}] against ${other}${sure}`;
}

function draw(/** @type {Shown} */ shown, /** @type {Act} */ act, /** @type {number} */ width) {
  const part = width >= 1100 ? Math.floor((width - 50) / 2) : width - 32;
  return [
    h("div", { class: "side" },
      figure(`1. Paint: the loss weights of “${shown.term}”`, part, painter(shown, act, part), tools(shown, act), terms(shown, act)),
      shown.live ? living(shown, part) : result(shown, part)),
    ...(shown.live ? [] : [
      h("div", { class: "side" },
        figure(`3. Compare: ${AGAINST[shown.price].title}`, part, prices(shown, part)), figure("Leaderboard on dev", part, board(shown, act))),
      h("p", { class: "note" }, "Choose on dev. Test is measured once for a run, when you have chosen it: a test that you look at while choosing becomes a second dev, and its numbers flatter the winner. "
        + "Do not trust the order of shared heads: on sentence similarity they did not rank 41 recipes as full training does (Kendall's tau -0.32 with full training). Four full steps, the last choice under “heads”, did (+0.67, 95 % interval 0.51 to 0.74), though not in the last layer alone, and every text is encoded again; compare them only with one another. For claims about layers, press “Confirm by full training”: it trains the whole model, in minutes."),
      code(shown)]),
  ];
}

/** The grid that is painted on, by pointer and keys. @param {Shown} shown @param {Act} act @param {number} width */
function painter(shown, act, width) {
  const { layers, dims, term, brush, painting, weights } = shown;
  const shape = [layers, dims.length];
  const [w, rowHeight, foot] = [(width - LEFT - 4) / dims.length, 34, layers * 34];
  const put = (/** @type {number[][]} */ cells) => act(changed(shown, paint(painting, term, cells, brush, shape)));
  const putRow = (/** @type {number} */ i) => put(dims.map((/** @type {number} */ _, /** @type {number} */ j) => [i, j]));
  const putColumn = (/** @type {number} */ j) => put(upTo(layers).map((layer) => [layer - 1, j]));
  const stroke = (/** @type {number} */ x, /** @type {number} */ y, /** @type {any} */ event) => {
    const { type, currentTarget: canvas } = event;
    const cell = [layers - 1 - clamp(0, Math.floor(y / rowHeight), layers - 1), clamp(0, Math.floor(x / w), dims.length - 1)];
    if (type === "pointerdown") canvas.stroke = { cell, made: painting, before: changed(shown, painting) }; // a stroke is undone whole
    if (!canvas.stroke) return;
    // of a fast hand the browser tells only some places: the cells between two of them are painted too
    const { cell: from, made, before } = canvas.stroke;
    const n = Math.max(1, Math.abs(cell[0] - from[0]), Math.abs(cell[1] - from[1]));
    const cells = [0, ...upTo(n)].map((k) => [0, 1].map((a) => Math.round(from[a] + (k / n) * (cell[a] - from[a]))));
    canvas.stroke = { cell, made: paint(made, term, cells, brush, shape), before };
    act({ ...before, recipe: canvas.stroke.made, layer: cell[0] + 1, dim: dims[cell[1]] });
  };
  const key = (/** @type {any} */ event) => {
    const [i, j] = [shown.layer - 1, dims.indexOf(shown.dim)];
    const go = (/** @type {number} */ up, /** @type {number} */ right) =>
      act({ layer: clamp(1, shown.layer + up, layers), dim: dims[clamp(0, j + right, dims.length - 1)] });
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowUp: () => go(1, 0), ArrowDown: () => go(-1, 0), ArrowRight: () => go(0, 1), ArrowLeft: () => go(0, -1),
      " ": () => put([[i, j]]), Enter: () => put([[i, j]]), r: () => putRow(i), c: () => putColumn(j), z: () => undo(shown, act),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  };
  const bare = { fill: "transparent", style: "cursor: cell; touch-action: none" };
  const over = [
    surface([0, 0, w * dims.length, foot], stroke, { ...bare, class: "paint" }),
    ...upTo(layers).map((layer) => box(-LEFT, foot - layer * rowHeight, LEFT, rowHeight, { ...bare, class: "row", onclick: () => putRow(layer - 1) })),
    ...upTo(dims.length).map((n) => box((n - 1) * w, foot, w, 26, { ...bare, class: "column", onclick: () => putColumn(n - 1) })),
  ];
  const map = heatmap({
    name: `weights of ${term}`, values: weights.map((v) => v || NaN), dims, layers, width, limits: [0, Math.max(1, ...weights)], rowHeight, over, write: (v) => `${Number(v.toPrecision(2))}`, frame: [{ layer: shown.layer, dim: shown.dim, look: "pinned" }],
  });
  const help = "weights to paint: arrow keys move, space paints the cell, r its row, c its column, z undoes";
  const here = `Layer ${shown.layer}, ${shown.dim} dimensions: weight ${weights[(shown.layer - 1) * dims.length + dims.indexOf(shown.dim)]}.`;
  return h("div", {}, h("div", { tabindex: 0, role: "application", "aria-label": help, onkeydown: key }, map),
    h("p", { class: "note", "aria-live": "polite" }, here));
}

/** @param {Shown} shown @param {Act} act */
const undo = (shown, act) => shown.past.length && act({ recipe: shown.past.at(-1), past: shown.past.slice(0, -1), preset: "painted", layers: "painted" });

function tools(/** @type {Shown} */ shown, /** @type {Act} */ act) {
  const { painting, samplers } = shown;
  const names = Object.keys(samplers);
  const choose = (/** @type {number} */ place) => act(changed(shown, { ...painting, sampler: names[place] }));
  return h("div", { class: "controls" },
    button("Undo", () => undo(shown, act), { disabled: !shown.past.length }),
    h("label", {}, h("span", {}, "each step trains"), menu(names.map((n) => samplers[n]), names.indexOf(painting.sampler), choose, { style: "max-width:100%" })),
    h("p", { class: "note" }, "Click or drag over cells; click a layer’s or a dimension’s number to paint its row or column.",
      shown.alone && " Per-layer heads share no parameters, so weights of layers change nothing: choose “none” under heads."));
}

/** Which terms are on, and how they are set. @param {Shown} shown @param {Act} act */
function terms(shown, act) {
  const { painting, dims, layers, brush } = shown;
  const main = painting.terms.find((t) => t.term === "main")?.weights;
  const all = Array.from({ length: layers * dims.length }, (_, i) => [Math.floor(i / dims.length), i % dims.length]);
  // a new term lies where the main loss does, but not on the full model, which is what others learn from
  const cells = all.slice(0, -1).filter(([i, j]) => !main || main[i][j] > 0);
  const rows = shown.rows.map((one) => {
    const flip = () => act({
      ...changed(shown, one.on ? { ...painting, terms: painting.terms.filter((t) => t.term !== one.term) } : paint(painting, one.term, cells, brush || 1, [layers, dims.length])),
      term: one.on ? shown.term : one.term,
    });
    const options = !one.on ? [] : Object.entries(one.offers).map(([name, values]) => {
      const place = Math.max(0, values.indexOf(one.options[name] ?? values[0]));
      const choose = (/** @type {number} */ picked) => {
        const made = { ...one.options, [name]: values[picked] };
        act(changed(shown, { ...painting, terms: painting.terms.map((t) => (t.term === one.term ? { ...t, options: made } : t)) }));
      };
      const say = (/** @type {any} */ v) => (v === null ? "default" : v === true ? "yes" : v === false ? "no" : `${v}`);
      return h("label", { class: "option" }, `${name.replace("_", " ")} `, menu(values.map(say), place, choose), " ");
    });
    const pick = button(one.term, () => act({ term: one.term }), { "aria-pressed": `${one.term === shown.term}` });
    return { cells: [h("input", { type: "checkbox", checked: one.on, onchange: flip, "aria-label": `term ${one.term}` }), pick, one.on ? one.cells : "–", options] };
  });
  return table([{ title: "on", width: 36 }, { title: "term (press to paint it)", width: 190 }, { title: "cells", number: true, width: 54 }, { title: "options" }], rows, "wrap lossterms");
}

/** While it trains. @param {Shown} shown @param {number} width */
function living(shown, width) {
  const { losses, quality: grid, stride } = shown.live;
  const entries = Object.entries(losses);
  const n = Math.max(2, ...entries.map(([, values]) => values.length));
  const xs = Array.from({ length: n }, (_, i) => 1 + i * stride);
  const lines = entries.map(([name, values], i) => ({ name, color: COLORS[i % 6], dash: DASHES[i % 4], values: xs.map((_, k) => values[k] ?? NaN) }));
  const top = Math.max(0.1, ...entries.flatMap(([, values]) => values));
  return figure("2. Train: the mean loss of each term’s cells", width,
    curves({ name: "loss of each term", xs, lines, range: [0, 1.05 * top], width, height: 220, yLabel: "loss", xLabel: "step (log scale)" }),
    h("figcaption", {}, "Quality on dev, as it is measured"),
    heatmap({ name: "quality as it is measured", values: grid.values, dims: shown.dims, layers: shown.layers, width, limits: shown.limits, rowHeight: 30 }));
}

/** A run's quality, and what it differs by. @param {Shown} shown @param {number} width */
function result(shown, width) {
  const { run, name, other, against, dims, layers, limits } = shown;
  const look = { dims, layers, width, rowHeight: 30 };
  const title = `2. Train, then look: ${shown.metric} of “${name}” on ${shown.items}`;
  const found = heatmap({ ...look, name: `quality of ${name}`, values: run.quality.values, limits });
  if (!against) return figure(title, width, found, h("p", { class: "note" }, "Choose another run under “against” to see the difference."));
  const most = 1.3 * Math.max(0.001, ...Array.from(against.mean.values, Math.abs)); // black is legible on the strongest color
  const write = (/** @type {number} */ v, /** @type {number} */ place) =>
    ["▼", "", "▲"][against.mark.values[place] + 1] + signed(v, 2);
  return figure(title, width, found,
    h("figcaption", {}, `Minus “${other}”: ▲ better in ${against.better} cells, ▼ worse in ${against.worse} (95 % intervals, paired)`),
    heatmap({ ...look, name: `difference to ${other}`, values: against.mean.values, limits: [-most, most], write, difference: true }));
}

function prices(/** @type {Shown} */ shown, /** @type {number} */ width) {
  const { title, xLabel, kind } = AGAINST[shown.price];
  const tops = shown.lines.flatMap((line) => Array.from(line.values));
  const [low, high] = [Math.min(...tops), Math.max(...tops)];
  return curves({
    name: title, xs: shown.costs, xTicks: kind === "linear" ? shown.costs : undefined, kind, lines: shown.lines, range: [Math.max(0, low - 0.1 * (high - low)), high + 0.1 * (high - low)], width, height: 270,
    right: 24, yLabel: shown.metric, xLabel,
  });
}

function board(/** @type {Shown} */ shown, /** @type {Act} */ act) {
  const heads = [
    { title: "run" }, { title: "mean of cells", number: true, width: 90 }, { title: "cells won", number: true, width: 64 },
    { title: "area under bytes", number: true, width: 96 }, { title: "seconds", number: true, width: 74 }, { title: "test, once", number: true, width: 72 },
  ];
  const rows = shown.board.map((/** @type {any} */ one) => {
    const run = shown.runs[one.name];
    const pick = button(one.name, () => act({ run: one.name }), { "aria-pressed": `${one.name === shown.name}` });
    return { marked: one.name === shown.name, cells: [pick, quality(one.mean), one.won, quality(one.area), run.seconds ? run.seconds.toFixed(1) : "–", run.test === null ? "–" : quality(run.test)] };
  });
  return table(heads, rows, "wrap board");
}

/** What takes a run out of the lab. @param {Shown} shown */
function code(shown) {
  const { run, name } = shown;
  if (!run.json) return h("p", { class: "note" }, "Train something to take it with you: as Python, as a recipe file for the command line, or for sentence-transformers.");
  return h("details", { class: "code" }, h("summary", {}, `Take “${name}” with you`),
    h("pre", {}, h("code", {}, `${run.code}\n\n# on the command line\nmrl-tutorial train --recipe "${run.file}" --task … --out my-model\n\n# in sentence-transformers\nloss = mrl.RecipeLoss(model, recipe.recipe(${shown.layers}, ${shown.dims.at(-1)}))  # then SentenceTransformerTrainer(model=model, loss=loss, …)`)),
    h("p", {}, h("a", { href: `data:application/json;charset=utf-8,${encodeURIComponent(run.json)}`, download: run.file }, `Download ${run.file}`), `, or lab.recipe(${JSON.stringify(name)}).write(${JSON.stringify(run.file)})`),
    h("pre", {}, h("code", {}, run.json)));
}

/** @type {View} */
export const lab = { view, draw, missing, adjust };
