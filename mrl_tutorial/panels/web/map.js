/**
 * The prefix map: the same points at every size, a marked one with its nearest neighbor, and how often the two share a label.
 *
 * @import { Act, Data, State, View } from "./panel.js"
 * @import { Scale } from "./plots.js"
 * @typedef {{name: string, color: string, shape: string, points: number[]}} Group
 * @typedef {ReturnType<typeof view>} Shown
 */
import { h } from "./tree.js";
import { at, row } from "./tables.js";
import { COLORS, circle, closest, curves, drawing, figure, label, nearest, scale } from "./plots.js";
import { shortName, tenths, whole } from "./words.js";

/** A color and a shape for each label, so that they can be told apart without colors too. */
const HUES = [...COLORS.slice(0, 7), "#A88F00"];
const SHAPES = [
  "m-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z", "m-4,-4h8v8h-8z", "m0,-6l6,6l-6,6l-6,-6z", "m0,-6l5.5,10.5h-11z",
  "m-1.8,-6h3.6v4.2h4.2v3.6h-4.2v4.2h-3.6v-4.2h-4.2v-3.6h4.2z", "m-5.5,-3l2.5,-2.5l3,3l3,-3l2.5,2.5l-3,3l3,3l-2.5,2.5l-3,-3l-3,3l-2.5,-2.5l3,-3z",
  "m0,6l-5.5,-10.5h11z", "m0,-7l1.6,4.8h5.1l-4.1,3l1.5,4.9l-4.1,-3l-4.1,3l1.5,-4.9l-4.1,-3h5.1z",
];
const OTHER = { color: "#9A9A9A", shape: "m-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0z" };
const REACH = 10; // pixels from the pointer to a point that it points at
const EDGE = 14; // pixels between the outermost points and the frame

/** The points of every colored label, and first those of the others. @param {Data} data @returns {Group[]} */
function groupsOf(data) {
  const groups = data.colored.map((/** @type {number} */ label, /** @type {number} */ i) =>
    ({ name: data.names[label], color: HUES[i], shape: SHAPES[i], points: [] }));
  const others = data.names.length - groups.length;
  const rest = { name: `${others} other label${others === 1 ? "" : "s"}`, ...OTHER, points: [] };
  const groupOf = (/** @type {number} */ label) => groups[data.colored.indexOf(label)] ?? rest;
  data.label.values.forEach((/** @type {number} */ label, /** @type {number} */ i) => groupOf(label).points.push(i));
  return [rest, ...groups];
}

function view(/** @type {State} */ state, /** @type {Data} */ data) {
  const place = data.dims.indexOf(state.dim);
  const [n, last] = [data.label.values.length, data.dims.length - 1];
  const [here, full] = [at(data.accuracy, place), at(data.accuracy, last)];
  const point = state.point >= 0 && state.point < n ? state.point : -1;
  const told = (/** @type {number} */ i) => ({
    point: i, label: data.names[at(data.label, i)], text: data.texts?.[i] ?? "", x: at(data.places, place, i, 0), y: at(data.places, place, i, 1),
  });
  const longest = place === last ? "" : ` (${tenths(full)} at ${data.dims[last]})`;
  return {
    headline: `${state.dim} of ${data.width} dimensions: ${tenths(here)} of nearest neighbors share the label${longest}`,
    dim: state.dim, dims: data.dims, place, n, total: data.total, accuracy: here, curve: row(data.accuracy), groups: groupsOf(data),
    places: row(data.places, place), low: data.low, high: data.high,
    marked: point < 0 ? null : { ...told(point), nearest: told(at(data.nearest, place, point)) },
  };
}

/** A path for each label: 600 elements take half a frame to move. @param {Group[]} groups @param {number[][]} points */
function mapPoints(groups, points) {
  return h("g", { class: "points" }, groups.map((group) => {
    const there = group.points.map((i) => points[i]).filter(([x, y]) => Number.isFinite(x + y)); // not all have a place
    const d = there.map(([x, y]) => `M${x.toFixed(1)},${y.toFixed(1)}${group.shape}`).join("");
    return h("path", { d, fill: group.color });
  }));
}

function draw(/** @type {Shown} */ shown, /** @type {Act} */ act, /** @type {number} */ width) {
  const wide = width >= 820;
  const left = wide ? Math.floor((width - 52) * 0.62) : width - 32;
  const right = wide ? width - 52 - left : width - 32;
  const height = Math.min(560, Math.round(left * 0.85));
  const { dims, n, total, groups } = shown;
  const scales = {
    x: scale("linear", [shown.low[0], shown.high[0]], [EDGE, left - EDGE]), y: scale("linear", [shown.low[1], shown.high[1]], [height - EDGE, EDGE]),
  };
  const points = Array.from({ length: n }, (_, i) => [scales.x(shown.places[2 * i]), scales.y(shown.places[2 * i + 1])]);
  const point = (/** @type {any} */ event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const found = closest(points, event.clientX - box.left + 1, event.clientY - box.top + 1, REACH);
    if (found >= 0 || event.type === "pointerdown") act({ point: found }); // a click beside all points marks none
  };
  const under = h("rect", { x: 1, y: 1, width: left - 2, height: height - 2, class: "map", onpointermove: point, onpointerdown: point });
  const curve = curves({
    name: "1-NN label accuracy at every size", xs: dims, lines: [{ name: "", color: COLORS[0], values: shown.curve }], at: shown.dim, range: [0, 1.05],
    width: right, height: 290, yLabel: "1-NN label accuracy", drag: (value) => act({ dim: nearest(dims, value) }),
    over: (x, y) => dims.map((d, i) => circle(x(d), y(shown.curve[i]), 4, { fill: COLORS[0] })),
  });
  return [
    h("div", { class: "side" },
      h("figure", { style: "position:relative" },
        h("figcaption", {}, `${whole(n)} points cut to ${shown.dim} dimensions (aligned UMAP)`),
        drawing(`map of ${n} points`, left, height, mapPoints(groups, points), under, mapMark(shown.marked, scales)),
        h("div", { "aria-live": "polite" }, mapTip(shown.marked, scales, left, height))),
      figure("How often neighbors share a label", right, curve, mapLegend(groups, right))),
    h("p", { class: "note" }, n < total ? `${whole(n)} of ${whole(total)} points, every label in proportion. ` : "",
      "Point at a dot, or pick one with the slider “marked point”, to see its text and a line to its nearest neighbor among the cut vectors. Both stay while you slide."),
  ];
}

/** A ring, and a line to its neighbor. @param {Shown["marked"]} marked @param {Record<string, Scale>} scales */
function mapMark(marked, scales) {
  if (!marked || !Number.isFinite(marked.x)) return h("g", {});
  const [[ax, ay], [bx, by]] = [marked, marked.nearest].map((one) => [scales.x(one.x), scales.y(one.y)]);
  const known = Number.isFinite(bx);
  return h("g", { class: "marked" },
    known && h("path", { d: `M${ax.toFixed(1)},${ay.toFixed(1)}L${bx.toFixed(1)},${by.toFixed(1)}`, class: "near" }),
    known && circle(bx, by, 8, { class: "near" }), circle(ax, ay, 10, { class: "here" }));
}

/** What the marked point is, beside it. @param {Shown["marked"]} marked @param {Record<string, Scale>} scales
 *  @param {number} width @param {number} height */
function mapTip(marked, scales, width, height) {
  if (!marked) return false;
  if (!Number.isFinite(marked.x)) return h("div", { class: "tip", style: "left:16px;top:42px" }, "This point has no place in the map of this size.");
  const [x, y] = [scales.x(marked.x), scales.y(marked.y)];
  const up = y > height / 2 ? `bottom:${(height - y + 12).toFixed(0)}px` : `top:${(y + 42).toFixed(0)}px`; // below the title
  const side = x > width / 2 ? `right:${(width - x + 16).toFixed(0)}px` : `left:${(x + 16).toFixed(0)}px`;
  const { nearest } = marked;
  const same = nearest.label === marked.label;
  return h("div", { class: "tip", style: `${side};${up}` },
    h("b", {}, shortName(marked.label, 40)), marked.text ? [h("br", {}), marked.text] : null,
    h("div", { class: same ? "up" : "down" }, `nearest: ${same ? "same label" : shortName(nearest.label, 40)}`));
}

/** The labels with their colors and shapes. @param {Group[]} groups @param {number} width */
function mapLegend(groups, width) {
  const named = [...groups.slice(1), groups[0]].filter((group) => group.points.length);
  return drawing("labels of the points", width, named.length * 25 + 4, named.map((group, i) => [
    h("path", { d: `M0,0${group.shape}`, fill: group.color, transform: `translate(72,${14 + 25 * i}) scale(1.3)` }),
    label(90, 19 + 25 * i, shortName(group.name, 26)), label(width - 16, 19 + 25 * i, whole(group.points.length), { class: "end axis" }),
  ]));
}

/** @type {View} */
export const map = { view, draw };
