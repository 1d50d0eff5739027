/**
 * Importance weights: a weight for every nested size, and what networks trained with them gain and lose at each size.
 *
 * @import { Act, Data, Missing, State, View } from "./panel.js"
 * @import { Scale } from "./plots.js"
 * @typedef {ReturnType<typeof view>} Shown
 */
import { h } from "./tree.js";
import { row } from "./tables.js";
import { box, chart, circle, clamp, curves, drawing, figure, halves, label, rule, scale, surface, ticks } from "./plots.js";
import { quality, signed, whole } from "./words.js";

const BLUE = "var(--mrl-blue)";
const PALE = "color-mix(in srgb, var(--mrl-blue) 35%, transparent)";
const [LEFT, TOP] = [64, 12];

/** The weights that the sliders say. @param {State} state @param {Data} data @returns {number[]} */
const chosenOf = (state, data) => data.dims.map((m) => state[`c${m}`]);

function view(/** @type {State} */ state, /** @type {Data} */ data) {
  const { dims, results, last, controls } = data;
  const { values, words = [] } = controls[0][0];
  const chosen = chosenOf(state, data);
  const known = results[chosen.join(",")];
  const now = known ?? results[last];
  const write = (/** @type {number} */ c) => words[values.indexOf(c)] ?? `${c}`;
  const gain = dims.map((_, i) => Array.from(row(now.gain, i)));
  const before = last.split(",").map(Number).map(write).join(", ");
  return {
    headline: !chosen.some((c) => c > 0) ? "All weights are 0, so nothing would be learned: give at least one size a weight"
      : known ? finding(dims, chosen, gain, known.accuracy.values) : `Weights ${chosen.map(write).join(", ")}: not trained yet. Pale: what weights ${before} gave`,
    trained: !!known, dims, chosen, names: chosen.map(write), choices: values, words, gain, accuracy: now.accuracy.values,
    equal: results[dims.map(() => 1).join(",")].accuracy.values, seconds: now.seconds,
    items: `${whole(data.items)} ${data.name}, ${data.folds} folds`,
  };
}

/** The largest change, in a sentence. @param {number[]} dims @param {number[]} chosen @param {number[][]} gain
 *  @param {ArrayLike<number>} accuracy */
function finding(dims, chosen, gain, accuracy) {
  if (chosen.every((c) => c === chosen[0])) {
    const all = `All weights ${chosen[0] === 1 ? "1" : "equal"}: accuracy ${quality(accuracy[0])} with ${dims[0]} dimensions`;
    return `${all}, ${quality(accuracy[dims.length - 1])} with ${dims[dims.length - 1]}`;
  }
  const [best, ...rest] = [...dims.keys()].filter((i) => chosen[i] > 0).sort((i, j) => Math.abs(gain[j][0]) - Math.abs(gain[i][0]));
  const [change, low, high] = gain[best];
  const start = `Size ${dims[best]} ${change < 0 ? "loses" : "gains"} ${Math.abs(change).toFixed(1)} points [${signed(low, 1)}, ${signed(high, 1)}] against equal weights`;
  const sure = low <= 0 && high >= 0 ? ", which may be chance" : "";
  const others = rest.map((i) => gain[i][0]);
  const between = others.length > 1 ? `; the others change by ${signed(Math.min(...others), 1)} to ${signed(Math.max(...others), 1)}`
    : others.length ? `; size ${dims[rest[0]]} changes by ${signed(others[0], 1)}` : "";
  return start + sure + between;
}

/** The kernel hears of every choice, of known ones too: these end a training that nobody waits for. @type {Missing} */
function missing(state, data) {
  return { ask: "train", weights: chosenOf(state, data) };
}

function draw(/** @type {Shown} */ shown, /** @type {Act} */ act, /** @type {number} */ width) {
  const [left, right] = halves(width, 0.42);
  const { dims, trained } = shown;
  const x = scale("linear", [-0.5, dims.length - 0.5], [LEFT, right - 10]);
  const state = trained ? `trained in ${shown.seconds.toFixed(1)} s` : "pale: from other weights";
  return [
    h("div", { class: "side" },
      figure(`Accuracy of each size, ${shown.items} (${state})`, left, accuracies(shown, left)),
      figure("The weights you choose …", right, weightsChart(shown, act, x, right),
        h("figcaption", {}, "… and what they change, in points of accuracy"), gainsChart(shown, x, right))),
    h("p", { class: "note" }, "Drag the weights, by slider or in the chart. Whiskers and brackets: 95 % intervals over the tested items, paired with equal weights. Weight 0 takes a size out of the loss."),
  ];
}

function accuracies(/** @type {Shown} */ { dims, equal, accuracy, trained }, /** @type {number} */ width) {
  const lines = [
    { name: "all weights 1", color: "var(--mrl-soft)", dash: "7 5", width: 2, values: equal },
    { name: "your weights", color: trained ? BLUE : PALE, width: 4, values: accuracy },
  ];
  const least = Math.min(...[...equal, ...accuracy].filter(Number.isFinite));
  const dots = (/** @type {Scale} */ x, /** @type {Scale} */ y) => lines.flatMap((line) => dims.map((m, i) =>
    Number.isFinite(line.values[i]) && circle(x(m), y(line.values[i]), line.width + 1, { fill: line.color })));
  return curves({
    name: "accuracy of each size's own classifier", xs: dims, lines, range: [Math.min(0.8, Math.floor(20 * least) / 20), 1.001], width, height: 450, xTicks: dims,
    xLabel: "size m (dimensions kept, log scale)", yLabel: "accuracy", over: dots,
  });
}

/** Handles to drag up and down. @param {Shown} shown @param {Act} act @param {Scale} x @param {number} width */
function weightsChart(shown, act, x, width) {
  const { dims, chosen, choices, names, words } = shown;
  const height = 170;
  const y = scale("linear", [-0.6, choices.length - 1], [height - 28, TOP + 6]);
  const neutral = y(choices.indexOf(1));
  const handles = chosen.map((c, i) => {
    const place = y(choices.indexOf(c));
    return [
      rule(x(i), neutral, x(i), place, "mark"), circle(x(i), place, 9, { fill: "var(--mrl-mark)", class: "dot" }), label(x(i) + 12, place - 6, names[i]),
    ];
  });
  const drag = (/** @type {number} */ px, /** @type {number} */ py) => {
    const [i, place] = [x.invert(LEFT + px), y.invert(py)].map(Math.round);
    act({ [`c${dims[clamp(0, i, dims.length - 1)]}`]: choices[clamp(0, place, choices.length - 1)] });
  };
  const frame = chart({
    name: "weights", width, height, x, y, xTicks: [...dims.keys()], xWrite: (i) => dims[i],
    yTicks: [...choices.keys()].filter((i) => i % 2 === 0), yWrite: (i) => words[i], yLabel: "weight",
  }, rule(x(-0.5), neutral, x(dims.length - 0.5), neutral), handles);
  return drawing("weight of each size, to drag", width, height, frame, surface([LEFT, 0, width - 10 - LEFT, height - 20], drag));
}

function gainsChart(/** @type {Shown} */ shown, /** @type {Scale} */ x, /** @type {number} */ width) {
  const { dims, gain, trained } = shown;
  const all = gain.flat().filter(Number.isFinite);
  const [low, high] = [Math.min(-1, ...all), Math.max(1, ...all)];
  const room = 0.18 * (high - low); // for the numbers beyond the whiskers
  const y = scale("linear", [low - room, high + room], [188, TOP]);
  const bars = gain.flatMap((one, i) => {
    const [change, low, high] = one;
    if (!Number.isFinite(change)) return [label(x(i), y(0) - 6, "not trained", { class: "middle axis" })];
    const w = Math.min(46, (x(1) - x(0)) * 0.5);
    const above = change < 0 ? y(low) + 17 : y(high) - 6;
    return [
      box(x(i) - w / 2, Math.min(y(0), y(change)), w, Math.abs(y(change) - y(0)), { fill: BLUE }),
      rule(x(i), y(low), x(i), y(high), "whisker"), rule(x(i) - 6, y(low), x(i) + 6, y(low), "whisker"), rule(x(i) - 6, y(high), x(i) + 6, y(high), "whisker"),
      label(x(i), above, signed(change, 1), { class: "middle" }),
    ];
  });
  return chart({
    name: "points of accuracy against equal weights", width, height: 240, x, y, xTicks: [...dims.keys()], xWrite: (i) => dims[i],
    yTicks: ticks(y.domain, 4), yWrite: (v) => (v ? signed(v, v % 1 ? 1 : 0) : "0"), xLabel: "size m (dimensions kept)", yLabel: "points",
  }, rule(x(-0.5), y(0), x(dims.length - 0.5), y(0)), h("g", { opacity: trained ? 1 : 0.3 }, bars));
}

/** @type {View} */
export const weights = { view, draw, missing };
