/**
 * Heat maps, curves, bars and tables as trees of SVG and html: data in, pictures out.
 *
 * @import { Tree, Element_ } from "./tree.js"
 * @import { Numbers } from "./tables.js"
 * @typedef {{(value: number): number, invert: (place: number) => number, kind: string, domain: number[]}} Scale
 * @typedef {{name: string, color: string, values: ArrayLike<number>, dash?: string, width?: number}} Line
 * @typedef {(changes: Record<string, any>) => void} Pick
 */
import { h } from "./tree.js";
import { shortName } from "./words.js";

/** Okabe and Ito's colors, which every eye can tell apart, in the order in which models are drawn. */
export const COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];
export const DASHES = ["", "9 5", "2 4", "10 4 2 4"];
export const MARK = "#D55E00";
const CIVIDIS = ["00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "e1cc55", "fee838"];
const STOPS = CIVIDIS.map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));

/** The color of a share 0 … 1 on the cividis scale. @param {number} share */
export function heatColor(share) {
  const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
  const i = Math.min(STOPS.length - 2, Math.floor(place));
  const mixed = STOPS[i].map((a, c) => Math.round(a + (place - i) * (STOPS[i + 1][c] - a)));
  return `rgb(${mixed.join(",")})`;
}

/**
 * Where values lie on the page.
 *
 * @param {"linear" | "log"} kind
 * @param {number[]} domain its two ends
 * @param {number[]} range the places of the two ends, in pixels
 * @returns {Scale}
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

/** Round numbers between two ends, about `n` of them. @param {number[]} domain @param {number} n */
export function ticks(domain, n = 5) {
  const rough = (domain[1] - domain[0]) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((m) => m * power >= rough) ?? 10);
  const found = [];
  for (let i = Math.ceil(domain[0] / step - 1e-9); i * step <= domain[1] + 1e-9 * step; i++) found.push(i * step || 0);
  return found;
}

/** The place of a dimension among columns 0 … M − 1, on a logarithmic scale between two of them. @param {number} dim @param {number[]} dims */
export function column(dim, dims) {
  const last = dims.length - 1;
  if (dim <= dims[0]) return 0;
  if (dim >= dims[last]) return last;
  const i = dims.findIndex((d) => d >= dim);
  return i - 1 + Math.log2(dim / dims[i - 1]) / Math.log2(dims[i] / dims[i - 1]);
}

/** The tree of the last call is kept while the arguments stay the same. @template {any[]} A @template T @param {(...args: A) => T} make @returns {(...args: A) => T} */
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

const cells = kept((
  /** @type {Numbers} */ values, /** @type {string} */ columns, /** @type {number} */ n,
  /** @type {number} */ low, /** @type {number} */ high, /** @type {number} */ w, /** @type {number} */ hh,
  /** @type {Pick | undefined} */ pick, /** @type {string} */ names, /** @type {((v: number, place: number) => string) | undefined} */ write,
) => {
  const dims = columns.split(",").map(Number);
  const [layerName, dimName] = names.split(",");
  const made = [];
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < dims.length; j++) {
      const value = values[i * dims.length + j];
      const [x, y] = [j * w, (n - 1 - i) * hh];
      const share = (value - low) / (high - low || 1);
      const fill = Number.isFinite(value) ? heatColor(share) : "var(--mrl-none)";
      const words = !Number.isFinite(value) ? "" : write ? write(value, i * dims.length + j) : value.toFixed(2);
      made.push(h("rect", { x: x + 1, y: y + 1, width: w - 2, height: hh - 2, fill, class: pick ? "pick" : "" }));
      made.push(label(x + w / 2, y + hh / 2 + 5, words, { class: "cell", fill: share < 0.48 ? "#fff" : "#000" }));
    }
  }
  const choose = pick && ((/** @type {any} */ event) => { // one listener for all cells, which alternate with their words
    const place = Array.from(event.currentTarget.children).indexOf(event.target) / 2;
    if (Number.isInteger(place) && place >= 0) pick({ [layerName]: Math.floor(place / dims.length) + 1, [dimName]: dims[place % dims.length] });
  });
  return h("g", { onclick: choose }, made);
});

/**
 * A heat map of layers (rows, layer 1 at the foot) and dimensions (columns), every value printed, a cell framed.
 *
 * @param {{name: string, values: Numbers, dims: number[], layers: number, width: number, limits: number[], rowHeight?: number,
 *   frame?: {layer: number, dim: number, look?: string}[], pick?: Pick, names?: string, over?: Tree[], write?: (v: number, place: number) => string,
 *   xLabel?: string}} o
 */
export function heatmap(o) {
  const [left, rowHeight] = [46, o.rowHeight ?? 44];
  const w = (o.width - left - 4) / o.dims.length;
  const foot = o.layers * rowHeight;
  const frames = (o.frame ?? []).map(({ layer, dim, look }) => {
    const x = column(dim, o.dims);
    const [a, b] = [Math.floor(x), Math.ceil(x)];
    const y = (o.layers - layer) * rowHeight;
    const tick = rule((x + 0.5) * w, y + rowHeight, (x + 0.5) * w, y + rowHeight * 0.76, `mark ${look ?? ""}`);
    const box = { x: (a * w).toFixed(1), y, width: ((b - a + 1) * w).toFixed(1), height: rowHeight };
    return [h("rect", { ...box, class: `frame ${look ?? ""}` }), tick];
  });
  const rows = Array.from({ length: o.layers }, (_, i) => label(left - 10, foot - (i + 0.5) * rowHeight + 5, i + 1, { class: "end" }));
  const columns = o.dims.map((d, j) => label(left + (j + 0.5) * w, foot + 19, d, { class: "middle" }));
  const [low, high] = o.limits;
  const inside = cells(o.values, o.dims.join(","), o.layers, low, high, w, rowHeight, o.pick, o.names ?? "layer,dim", o.write);
  return drawing(
    o.name, o.width, foot + 44, h("g", { transform: `translate(${left},0)` }, inside, ...frames, o.over ?? []),
    ...rows, ...columns, label(left + (o.width - left) / 2, foot + 40, o.xLabel ?? "dimension", { class: "middle axis" }),
    label(14, foot / 2, "layer", { class: "middle axis", transform: `rotate(-90 14 ${foot / 2})` }),
  );
}

/**
 * Room for a chart: axes, grid lines and labels around what is inside.
 *
 * @param {{name: string, width: number, height: number, x: Scale, y: Scale, xTicks: [number, string][], yTicks: [number, string][],
 *   xLabel?: string, yLabel?: string, left?: number, drag?: (value: number) => void}} o x and y in the drawing's pixels
 * @param {...any} inside
 */
export function chart(o, ...inside) {
  const [x0, x1] = o.x.domain.map(o.x);
  const [y0, y1] = o.y.domain.map(o.y);
  const grid = o.yTicks.map(([value]) => rule(x0, o.y(value), x1, o.y(value), "grid"));
  const names = o.yTicks.map(([value, words]) => label(x0 - 8, o.y(value) + 5, words, { class: "end" }));
  const below = o.xTicks.map(([value, words]) => label(o.x(value), y0 + 20, words, { class: "middle" }));
  const marks = o.xTicks.map(([value]) => rule(o.x(value), y0, o.x(value), y0 + 5, "axis"));
  const axis = [rule(x0, y0, x1, y0, "axis"), ...marks];
  const titles = [
    o.xLabel && label((x0 + x1) / 2, y0 + 42, o.xLabel, { class: "middle axis" }),
    o.yLabel && label(14, (y0 + y1) / 2, o.yLabel, { class: "middle axis", transform: `rotate(-90 14 ${(y0 + y1) / 2})` }),
  ];
  const drag = o.drag && ((/** @type {any} */ event) => {
    if (event.type === "pointerdown") event.currentTarget.setPointerCapture(event.pointerId);
    else if (!event.buttons) return;
    const box = event.currentTarget.getBoundingClientRect();
    o.drag?.(o.x.invert(x0 + event.clientX - box.left));
  });
  const surface = drag && h("rect", {
    x: x0, y: y1, width: x1 - x0, height: y0 - y1, class: "surface", onpointerdown: drag, onpointermove: drag,
  });
  // the surface keeps its place among the children, so that a drag goes on whatever is drawn
  return drawing(o.name, o.width, o.height, h("g", {}, ...grid, ...axis, ...names, ...below, ...titles, ...inside), surface);
}

/** A line through points, as an SVG path; it breaks where there is no value. @param {ArrayLike<number>} xs @param {ArrayLike<number>} ys @param {Scale} x @param {Scale} y */
export function pathOf(xs, ys, x, y) {
  let [path, on] = ["", false];
  for (let i = 0; i < xs.length; i++) {
    const ok = Number.isFinite(ys[i]);
    if (ok) path += `${on ? "L" : "M"}${x(xs[i]).toFixed(1)},${y(ys[i]).toFixed(1)}`;
    on = ok;
  }
  return path;
}

const paths = kept((
  /** @type {ArrayLike<number>} */ xs, /** @type {ArrayLike<number>} */ ys, /** @type {string} */ kind,
  /** @type {string} */ ends, /** @type {string} */ color, /** @type {string} */ dash, /** @type {number} */ width,
) => {
  const [a, b, p, q, c, d, r, s] = ends.split(",").map(Number);
  const path = pathOf(xs, ys, scale(/** @type {any} */ (kind), [a, b], [p, q]), scale("linear", [c, d], [r, s]));
  return h("path", { d: path, stroke: color, "stroke-dasharray": dash, "stroke-width": width, class: "line" });
});

/**
 * Lines over dimensions on a logarithmic axis, or over what `kind` says, with their names above, a rule at `at` and a dot on every line there.
 *
 * @param {{name: string, xs: number[], lines: Line[], at?: number, range: number[], width: number, height: number, yLabel: string, kind?: "log" | "linear",
 *   xLabel?: string, xTicks?: number[], right?: number, drag?: (value: number) => void, write?: (v: number) => string,
 *   over?: (x: Scale, y: Scale) => Tree[]}} o
 */
export function curves(o) {
  const kind = o.kind ?? "log";
  const x = scale(kind, [o.xs[0], o.xs[o.xs.length - 1]], [64, o.width - (o.right ?? 16)]);
  const above = 20 * (placed(o.lines, 64, o.width).rows - 1); // many names take more than one row
  const height = o.height + above;
  const y = scale("linear", o.range, [height - 52, 34 + above]);
  const room = (o.width - 80) / 46;
  const wanted = o.xTicks ?? powers(o.xs[0], o.xs[o.xs.length - 1], room);
  const ends = [x, y].flatMap((s) => [...s.domain, ...s.domain.map(s)]).join(",");
  const drawn = o.lines.map((line) => paths(o.xs, line.values, kind, ends, line.color, line.dash ?? "", line.width ?? 3));
  const place = o.at === undefined ? -1 : o.xs.indexOf(o.at);
  const dots = place < 0 ? [] : o.lines.filter((line) => Number.isFinite(line.values[place])).map((line) =>
    h("circle", { cx: x(o.xs[place]).toFixed(1), cy: y(line.values[place]).toFixed(1), r: 6, fill: line.color, class: "dot" }));
  const upright = o.at === undefined ? [] : [rule(x(o.at), height - 52, x(o.at), 30 + above, "here")];
  const write = o.write ?? ((v) => `${Number(v.toFixed(2))}`);
  return chart(
    {
      ...o, height, x, y, xTicks: wanted.map((d) => [d, `${kind === "log" ? d : Math.round(d)}`]), yTicks: ticks(o.range).map((v) => [v, write(v)]),
      xLabel: o.xLabel ?? "dimension (log scale)",
    },
    ...upright, ...drawn, ...(o.over?.(x, y) ?? []), ...dots, legend(o.lines, 64, 14, o.width),
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

/**
 * A table. The cells are words or trees; a row with `marked` stands out.
 *
 * @param {{title: any, number?: boolean, width?: number}[]} heads
 * @param {{cells: any[], marked?: boolean}[]} rows
 * @param {string} [name] css class
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
    plain: COLORS[0], prefix: COLORS[0], MRL: COLORS[1], mrl: COLORS[1], "all-cells": COLORS[2], "trained here": COLORS[2], PCA: COLORS[3], whitened: COLORS[4], random: COLORS[5], "random coordinates": COLORS[5],
    "own head": COLORS[2], "own network": COLORS[2], "full size only": COLORS[5], "full size, then MRL": COLORS[3],
  });
  const free = COLORS.filter((color) => !names.some((name) => known[name] === color));
  return Object.fromEntries(names.map((name) => [name, known[name] ?? free.shift() ?? "#777777"]));
}
