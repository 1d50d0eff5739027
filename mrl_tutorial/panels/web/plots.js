/**
 * Heat maps, curves, bars and tables as trees of SVG and html: data in, pictures out.
 *
 * @import { Tree } from "./tree.js"
 * @typedef {{(value: number): number, invert: (place: number) => number, kind: string, domain: number[]}} Scale
 * @typedef {{name: string, color: string, values: ArrayLike<number>, dash?: string, width?: number}} Line
 */
import { h } from "./tree.js";
import { shortName } from "./words.js";

/** Okabe and Ito's colors, which every eye can tell apart, in the order in which models are drawn; the last four are of methods below. */
export const COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "var(--mrl-ink)", "#332288", "#882255", "#6B6B00"];
export const DASHES = ["", "9 5", "2 4", "10 4 2 4"];
export const MARK = "#D55E00";
const CIVIDIS = ["00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "e1cc55", "fee838"];
const [STOPS, DIVERGING] = [CIVIDIS, ["d55e00", "ffffff", "0072b2"]].map((all) => all.map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16))));

/** The color of a share 0 … 1 on the cividis scale, or on that of differences, white at 0.5. @param {number} share @param {boolean} [difference] */
export function heatColor(share, difference) {
  const stops = difference ? DIVERGING : STOPS;
  const place = clamp(0, share, 1) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(place));
  const mixed = stops[i].map((a, c) => Math.round(a + (place - i) * (stops[i + 1][c] - a)));
  return `rgb(${mixed.join(",")})`;
}

/**
 * Where values lie on the page; range: the places of the domain's two ends, in pixels.
 *
 * @param {"linear" | "log"} kind @param {number[]} domain @param {number[]} range @returns {Scale}
 */
export function scale(kind, domain, range) {
  const [to, from] = kind === "log" ? [Math.log2, (/** @type {number} */ x) => 2 ** x] : [Number, Number];
  const [a, b] = domain.map(to);
  const place = (/** @type {number} */ value) => range[0] + ((to(value) - a) / (b - a || 1)) * (range[1] - range[0]);
  const invert = (/** @type {number} */ x) => from(a + ((x - range[0]) / (range[1] - range[0])) * (b - a));
  return Object.assign(place, { invert, kind, domain });
}

/** [low, high] over all finite numbers; low is 0 or below, so that a color stands for a quality. @param {ArrayLike<number>[]} lists */
export function limitsOf(lists) {
  let [low, high] = [0, 1e-6];
  for (const list of lists) {
    for (let i = 0; i < list.length; i++) {
      if (list[i] < low) low = list[i];
      if (list[i] > high) high = list[i];
    }
  }
  return [low, high];
}

/** What lies nearest to a number between two ends. @param {number} low @param {number} x @param {number} high */
export function clamp(low, x, high) {
  return Math.min(high, Math.max(low, x));
}

/** @param {ArrayLike<number>} values */
export function sum(values) {
  return Array.from(values).reduce((a, b) => a + b, 0);
}

/** The numbers 1 … n. @param {number} n */
export function upTo(n) {
  return Array.from({ length: n }, (_, i) => i + 1);
}

/** Round numbers between two ends, about `n` of them. @param {number[]} domain @param {number} n */
export function ticks(domain, n = 5) {
  const rough = (domain[1] - domain[0]) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((m) => m * power >= rough) ?? 10);
  const found = [];
  for (let i = Math.ceil(domain[0] / step - 1e-9); i * step <= domain[1] + 1e-9 * step; i++) found.push(i * step || 0);
  return found;
}

/** The powers of ten between two ends. @param {number[]} domain */
export function tens([low, high]) {
  return Array.from({ length: 40 }, (_, i) => Number(`1e${i - 15}`)).filter((v) => v >= low && v <= high);
}

/** The place of a dimension among columns 0 … M − 1, on a logarithmic scale between two of them. @param {number} dim @param {number[]} dims */
export function column(dim, dims) {
  const i = dims.findIndex((d) => d >= dim);
  if (i < 1) return i < 0 ? dims.length - 1 : 0;
  return i - 1 + Math.log2(dim / dims[i - 1]) / Math.log2(dims[i] / dims[i - 1]);
}

/** The result of a call is kept while its arguments stay the same. @template {any[]} A @template T @param {(...args: A) => T} make @returns {(...args: A) => T} */
export function kept(make) {
  /** @type {{args: any[], made: T}[]} */
  const last = [];
  return (...args) => {
    const hit = last.find((one) => one.args.length === args.length && one.args.every((a, i) => a === args[i]));
    if (hit) return hit.made;
    last.unshift({ args, made: make(...args) });
    if (last.length > 24) last.pop();
    return last[0].made;
  };
}

/** Of some values the one nearest to `value`, by ratio. @param {ArrayLike<number>} values @param {number} value */
export function nearest(values, value) {
  const far = (/** @type {number} */ v) => Math.abs(Math.log(v / Math.max(1e-9, value)));
  return Array.from(values).reduce((a, b) => (far(b) < far(a) ? b : a));
}

/** Which of some points is nearest to a place, -1 where all are further than `reach`. @param {number[][]} points @param {number} x @param {number} y @param {number} reach */
export function closest(points, x, y, reach) {
  let [best, least] = [-1, reach];
  points.forEach((point, i) => {
    const far = Math.hypot(point[0] - x, point[1] - y);
    if (far < least) [best, least] = [i, far];
  });
  return best;
}

/** The widths of two pictures side by side, or one below the other where there is no room. @param {number} width @param {number} share of the first */
export function halves(width, share) {
  return width >= 820 ? [width * share - 30, width * (1 - share) - 30] : [width - 30, width - 30];
}

/** A picture below its title. @param {any} title @param {number} width @param {...any} inside */
export function figure(title, width, ...inside) {
  return h("figure", { style: `width:${width.toFixed(0)}px` }, h("figcaption", {}, title), ...inside);
}

/** A drawing of a given size, named for screen readers. @param {string} name @param {number} width @param {number} height @param {...any} children */
export function drawing(name, width, height, ...children) {
  return h("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name }, ...children);
}

/** Words in a drawing. @param {number} x @param {number} y @param {any} words @param {Record<string, any>} [attrs] */
export function label(x, y, words, attrs = {}) {
  return h("text", { x: x.toFixed(1), y: y.toFixed(1), ...attrs }, words);
}

/** A straight line. @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 @param {string} look class */
export function rule(x1, y1, x2, y2, look = "rule") {
  return h("line", { x1: x1.toFixed(1), y1: y1.toFixed(1), x2: x2.toFixed(1), y2: y2.toFixed(1), class: look });
}

/** A circle. @param {number} x @param {number} y @param {number} r @param {Record<string, any>} attrs */
export function circle(x, y, r, attrs) {
  return h("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r, ...attrs });
}

/** A rectangle. @param {number} x @param {number} y @param {number} width @param {number} height @param {Record<string, any>} attrs */
export function box(x, y, width, height, attrs) {
  return h("rect", { x: x.toFixed(1), y: y.toFixed(1), width: width.toFixed(1), height: height.toFixed(1), ...attrs });
}

/**
 * A place to press and to drag on; `call` is told where the hand is, from the place's own corner.
 *
 * @param {number[]} place x, y, width, height @param {(x: number, y: number, event: any) => void} call @param {Record<string, any>} [attrs]
 */
export function surface([x, y, width, height], call, attrs = { class: "surface" }) {
  const point = (/** @type {any} */ event) => {
    if (event.type === "pointerdown") event.currentTarget.setPointerCapture(event.pointerId);
    else if (!event.currentTarget.hasPointerCapture(event.pointerId)) return; // a drag that began elsewhere
    const { left, top } = event.currentTarget.getBoundingClientRect();
    call(event.clientX - left, event.clientY - top, event);
  };
  return box(x, y, width, height, { ...attrs, onpointerdown: point, onpointermove: point });
}

/**
 * A heat map of layers (rows, layer 1 at the foot) and dimensions (columns), every value printed, a cell framed.
 *
 * @param {{name: string, values: ArrayLike<number>, dims: number[], layers: number, width: number, limits: number[], rowHeight?: number,
 *   frame?: {layer: number, dim: number, look?: string}[], pick?: (cell: {layer: number, dim: number}) => void, over?: Tree[], write?: (v: number, place: number) => string,
 *   xLabel?: string, difference?: boolean}} o
 */
export function heatmap(o) {
  const { dims, layers, rowHeight = 44, pick, write = (v) => v.toFixed(2) } = o;
  const [left, foot, [low, high]] = [46, layers * rowHeight, o.limits];
  const w = (o.width - left - 4) / dims.length;
  const cells = Array.from(o.values, (value, place) => {
    const [x, y] = [(place % dims.length) * w, foot - (Math.floor(place / dims.length) + 1) * rowHeight];
    const share = (value - low) / (high - low || 1);
    const fill = Number.isFinite(value) ? heatColor(share, o.difference) : "var(--mrl-none)";
    const words = Number.isFinite(value) ? write(value, place) : "";
    return [
      h("rect", { x: x + 1, y: y + 1, width: w - 2, height: rowHeight - 2, fill, class: pick ? "pick" : "" }),
      label(x + w / 2, y + rowHeight / 2 + 5, words, { class: "cell", fill: share < 0.48 && !o.difference ? "#fff" : "#000" }),
    ];
  });
  const choose = pick && ((/** @type {any} */ event) => { // one for all cells, which alternate with their words
    const place = Array.from(event.currentTarget.children).indexOf(event.target) / 2;
    if (Number.isInteger(place) && place >= 0) pick({ layer: Math.floor(place / dims.length) + 1, dim: dims[place % dims.length] });
  });
  const frames = (o.frame ?? []).map(({ layer, dim, look = "" }) => {
    const x = column(dim, dims);
    const [a, b] = [Math.floor(x), Math.ceil(x)];
    const y = (layers - layer) * rowHeight;
    const tick = rule((x + 0.5) * w, y + rowHeight, (x + 0.5) * w, y + rowHeight * 0.76, `mark ${look}`);
    return [box(a * w, y, (b - a + 1) * w, rowHeight, { class: `frame ${look}` }), tick];
  });
  const rows = upTo(layers).map((layer) => label(left - 10, foot - (layer - 0.5) * rowHeight + 5, layer, { class: "end" }));
  const columns = dims.map((d, j) => label(left + (j + 0.5) * w, foot + 19, d, { class: "middle" }));
  return drawing(
    o.name, o.width, foot + 44, h("g", { transform: `translate(${left},0)` }, h("g", { onclick: choose }, cells), frames, o.over),
    rows, columns, label(left + (o.width - left) / 2, foot + 40, o.xLabel ?? "dimension", { class: "middle axis" }),
    label(14, foot / 2, "layer", { class: "middle axis", transform: `rotate(-90 14 ${foot / 2})` }),
  );
}

/**
 * Room for a chart: axes, grid lines and labels around what is inside.
 *
 * @param {{name: string, width: number, height: number, x: Scale, y: Scale, xTicks?: number[], yTicks?: number[], xWrite?: (v: number) => any,
 *   yWrite?: (v: number) => any, xLabel?: string, yLabel?: string, drag?: (value: number) => void}} o x and y in the drawing's pixels
 * @param {...any} inside
 */
export function chart(o, ...inside) {
  const { x, y, xTicks = [], yTicks = [], xWrite = String, yWrite = String } = o;
  const [[x0, x1], [y0, y1]] = [x.domain.map(x), y.domain.map(y)];
  const across = yTicks.map((v) => [rule(x0, y(v), x1, y(v), "grid"), label(x0 - 8, y(v) + 5, yWrite(v), { class: "end" })]);
  const below = xTicks.map((v) => [rule(x(v), y0, x(v), y0 + 5, "axis"), label(x(v), y0 + 20, xWrite(v), { class: "middle" })]);
  const titles = [
    o.xLabel && label((x0 + x1) / 2, y0 + 42, o.xLabel, { class: "middle axis" }),
    o.yLabel && label(14, (y0 + y1) / 2, o.yLabel, { class: "middle axis", transform: `rotate(-90 14 ${(y0 + y1) / 2})` }),
  ];
  const drag = o.drag && surface([x0, y1, x1 - x0, y0 - y1], (place) => o.drag?.(x.invert(x0 + place)));
  // the surface keeps its place among the children, so that a drag goes on whatever is drawn
  return drawing(o.name, o.width, o.height, h("g", {}, across, rule(x0, y0, x1, y0, "axis"), below, titles, ...inside), drag);
}

/** A line through points; it breaks where there is no value. @param {ArrayLike<number>} xs @param {ArrayLike<number>} ys @param {Scale} x @param {Scale} y @param {{color: string, width?: number, dash?: string}} look */
export function lineOf(xs, ys, x, y, { color, width = 3, dash }) {
  return h("path", { d: pathOf(xs, ys, x, y), stroke: color, "stroke-dasharray": dash, "stroke-width": width, class: "line" });
}

/** The same as an SVG path. @param {ArrayLike<number>} xs @param {ArrayLike<number>} ys @param {Scale} x @param {Scale} y */
export function pathOf(xs, ys, x, y) {
  const there = (/** @type {number} */ i) => Number.isFinite(ys[i]);
  return Array.from(xs, (v, i) => (there(i) ? `${there(i - 1) ? "L" : "M"}${x(v).toFixed(1)},${y(ys[i]).toFixed(1)}` : "")).join("");
}

/**
 * Lines over dimensions on a logarithmic axis, or over what `kind` says, with their names above, a rule at `at` and a dot on every line there.
 *
 * @param {{name: string, xs: number[], lines: Line[], at?: number, range: number[], width: number, height: number, yLabel: string, kind?: "log" | "linear",
 *   yKind?: "log" | "linear", xLabel?: string, xTicks?: number[], yTicks?: number[], right?: number, drag?: (value: number) => void,
 *   write?: (v: number) => any, over?: (x: Scale, y: Scale) => (Tree | false)[]}} o
 */
export function curves(o) {
  const { xs, lines, at, kind = "log", write = (v) => Number(v.toFixed(2)) } = o;
  const last = xs[xs.length - 1];
  const above = 20 * (placed(lines, 64, o.width).rows - 1); // many names take more than one row
  const height = o.height + above;
  const x = scale(kind, [xs[0], last], [64, o.width - (o.right ?? 16)]);
  const y = scale(o.yKind ?? "linear", o.range, [height - 52, 34 + above]);
  const values = lines.map((line) => line.values[at === undefined ? -1 : xs.indexOf(at)]);
  return chart(
    {
      ...o, height, x, y, xTicks: o.xTicks ?? powers(xs[0], last, (o.width - 80) / 46), xWrite: kind === "log" ? String : Math.round,
      yTicks: o.yTicks ?? ticks(o.range), yWrite: write, xLabel: o.xLabel ?? "dimension (log scale)",
    },
    at !== undefined && rule(x(at), height - 52, x(at), 30 + above, "here"),
    lines.map((line) => lineOf(xs, line.values, x, y, line)), o.over?.(x, y),
    lines.map(({ color }, i) => Number.isFinite(values[i]) && circle(x(at ?? 0), y(values[i]), 6, { fill: color, class: "dot" })),
    legend(lines, 64, 14, o.width),
  );
}

/** Powers of two and the last value, as many as have room. @param {number} low @param {number} high @param {number} room */
export function powers(low, high, room) {
  const found = [];
  const gap = Math.max(1.3, (high / low) ** (0.75 / room)); // before the last one
  for (let d = 1; d < high / gap; d *= 2) if (d >= low) found.push(d);
  const step = Math.max(1, Math.ceil(found.length / Math.max(1, room - 1)));
  return [...found.filter((_, i) => i % step === 0), high];
}

/** Where the names of lines stand, in rows that end before `width`. @template {{name: string}} T @param {T[]} lines @param {number} x @param {number} width */
export function placed(lines, x, width) {
  let [at, rows] = [x, 1];
  const most = Math.max(8, Math.floor((width - x - 46) / 8.2)); // letters
  const items = lines.filter((line) => line.name).map((line) => {
    const name = shortName(line.name, most);
    const room = 46 + 8.2 * name.length;
    if (at > x && at + room - 16 > width) [at, rows] = [x, rows + 1];
    const item = { line, name, at, row: rows - 1 };
    at += room;
    return item;
  });
  return { items, rows };
}

/** Names of lines in their colors. @param {{name: string, color: string, dash?: string}[]} lines @param {number} x @param {number} y @param {number} width */
export function legend(lines, x, y, width) {
  return h("g", { class: "legend" }, placed(lines, x, width).items.flatMap(({ line, name, at, row }) => {
    const foot = y + 20 * row;
    const sample = h("line", { x1: at, x2: at + 24, y1: foot - 5, y2: foot - 5, stroke: line.color, "stroke-width": 4, "stroke-dasharray": line.dash });
    return [sample, label(at + 30, foot, name)];
  }));
}

/** The names alone, above several charts that share them. @param {{name: string, color: string, dash?: string}[]} lines @param {number} width */
export function sharedLegend(lines, width) {
  const height = 4 + 20 * placed(lines, 4, width).rows;
  return h("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, legend(lines, 4, 17, width));
}

/**
 * A table. The cells are words or trees; a row with `marked` stands out; name: css class.
 *
 * @param {{title: any, number?: boolean, width?: number}[]} heads
 * @param {{cells: any[], marked?: boolean | null}[]} rows @param {string} [name]
 */
export function table(heads, rows, name = "") {
  const kind = (/** @type {number} */ i) => (heads[i].number ? "number" : "");
  const width = (/** @type {number} */ i) => (heads[i].width ? `width:${heads[i].width}px` : null);
  return h(
    "table", { class: name },
    h("thead", {}, h("tr", {}, heads.map((head, i) => h("th", { class: kind(i), style: width(i), scope: "col" }, head.title)))),
    h("tbody", {}, rows.map((r) => h("tr", { class: r.marked ? "marked" : "" }, r.cells.map((cell, i) => h("td", { class: kind(i) }, cell))))),
  );
}

/** The same color for the same model in every panel; others take what is left. @param {string[]} names @returns {Record<string, string>} */
export function colorsOf(names) {
  const known = /** @type {Record<string, string>} */ ({
    plain: COLORS[0], prefix: COLORS[0], "plain, cut": COLORS[0], MRL: COLORS[1], mrl: COLORS[1], nested: COLORS[1], "trained here": COLORS[2], "own head": COLORS[2], "own network": COLORS[2],
    separate: COLORS[2], "a model for each width": COLORS[2], PCA: COLORS[3], "plain, rotated": COLORS[3], "full size, then MRL": COLORS[3], whitened: COLORS[4], "whitened, mapped": COLORS[2], "whitened start": COLORS[4], random: COLORS[5], "random coordinates": COLORS[5],
    "full size only": COLORS[5], "full-size": COLORS[5], "all-cells": COLORS[6], "all-cells with KL": COLORS[6], SRL: COLORS[7], "mean taken off": COLORS[7], "2DMSE": COLORS[8], "2dmse-v1": COLORS[8], Starbucks: COLORS[9], starbucks: COLORS[9], scaled: COLORS[9],
  });
  const free = COLORS.filter((color) => !names.some((name) => known[name] === color));
  return Object.fromEntries(names.map((name) => [name, known[name] ?? free.shift() ?? "#777777"]));
}
