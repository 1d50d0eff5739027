/**
 * The truncation trap: quality of four ways to score a prefix, the lengths that a cut leaves, and one query's documents.
 *
 * @import { Act, Data, State, View } from "./panel.js"
 * @typedef {Data & {ways: any[]}} Tables
 * @typedef {ReturnType<typeof view>} Shown
 */
import { h } from "./tree.js";
import { at, row } from "./tables.js";
import { COLORS, DASHES, box, chart, clamp, curves, figure, halves, label, limitsOf, rule, scale, sharedLegend, table, ticks, upTo } from "./plots.js";
import { metricTitle, percent, quality, shorten, signed } from "./words.js";

const HEIGHT = 360;

function view(/** @type {State} */ state, /** @type {Tables} */ data) {
  const { dim, way, metric } = state;
  const table = data.quality[metric];
  const width = table.shape[1];
  const ways = data.ways.map((one, i) => ({
    ...one, color: COLORS[i], dash: DASHES[i], chosen: one.way === way, values: row(table, i), value: at(table, i, dim - 1),
  }));
  const chosen = ways.find((one) => one.chosen);
  const other = ways[way === ways[0].way ? 1 : 0];
  const difference = chosen.value - other.value;
  const against = Math.abs(difference) < 0.0005 ? `as much as with “${other.name}”` : `${signed(difference)} against “${other.name}”`;
  const [low, middle, high] = row(data.spread, dim - 1);
  const example = data.examples?.indexOf(state.query) ?? -1;
  return {
    headline: `“${chosen.name}” at ${dim} dimension${dim === 1 ? "" : "s"}: ${metricTitle(metric)} ${quality(chosen.value)}, ${against}`,
    dim, metric, width, ways, formula: chosen.formula, meaning: chosen.meaning, top: limitsOf([table.values])[1] * 1.08,
    low, middle, high, lengths: row(data.lengths, dim - 1),
    apart: dim === width ? "" : low > 0.005 ? `${(high / low).toFixed(2)} times` : "many times",
    ranked: example < 0 ? null : ways.map((_, i) =>
      Array.from(row(data.top, example, i, dim - 1), (document) => ({
        document, text: data.documents[document], relevant: data.relevant[example].includes(document),
      }))),
  };
}

function draw(/** @type {Shown} */ shown, /** @type {Act} */ act, /** @type {number} */ width) {
  const { dim, metric, low, high } = shown;
  const [left, right] = halves(width, 0.6);
  const lines = curves({
    name: `${metricTitle(metric)} of four ways at every dimension`, xs: upTo(shown.width), at: dim, range: [0, shown.top],
    lines: shown.ways.map((way) => ({ ...way, name: "", width: way.chosen ? 5 : 2.5 })),
    width: left, height: HEIGHT, yLabel: metricTitle(metric),
    drag: (x) => act({ dim: clamp(1, Math.round(x), shown.width) }),
  });
  const keeps = shown.apart ? `Lengths that are left: ${low.toFixed(2)} to ${high.toFixed(2)}` : "Uncut, every unit vector has length 1";
  const unequal = shown.apart && `At d = ${dim} the middle 90 % of the unit vectors keep lengths of ${low.toFixed(2)} to ${high.toFixed(2)}: ${shown.apart} apart.`;
  return [
    sharedLegend(shown.ways, Math.floor(width - 30)),
    h("div", { class: "side" },
      figure(`${metricTitle(metric)} of the four ways: drag to cut`, left, lines), figure(keeps, right, lengths(shown, right))),
    h("p", {}, "score = ", h("b", {}, shown.formula)),
    h("p", { class: "note" }, `${shown.meaning[0].toUpperCase()}${shown.meaning.slice(1)}. ${unequal}`),
    ...(shown.ranked ? documents(shown.ways, shown.ranked) : []),
  ];
}

/** How long the documents' unit vectors are after the cut. @param {Shown} shown @param {number} width */
function lengths(shown, width) {
  const { low, middle, high } = shown;
  const largest = Math.max(...shown.lengths);
  const top = [0.15, 0.3, 0.6].find((share) => share >= largest) ?? 1;
  const x = scale("linear", [0, 1], [64, width - 16]);
  const y = scale("linear", [0, top], [HEIGHT - 52, 34]);
  const steps = Array.from(shown.lengths, (share, i) => `V${y(share).toFixed(1)}H${x((i + 1) / shown.lengths.length).toFixed(1)}`);
  return chart(
    {
      name: "lengths of the documents' unit vectors after the cut", width, height: HEIGHT, x, y,
      xTicks: [0, 0.2, 0.4, 0.6, 0.8, 1], yTicks: ticks([0, top], top === 1 ? 5 : 3), yWrite: percent,
      xLabel: "length of the cut unit vector", yLabel: "share of the documents",
    },
    box(x(low), 34, Math.max(1, x(high) - x(low)), HEIGHT - 86, { fill: "var(--mrl-warm)" }),
    h("path", { d: `M${x(0)},${y(0)}${steps.join("")}V${y(0)}Z`, fill: COLORS[5] }),
    rule(x(middle), HEIGHT - 52, x(middle), 34, "here"),
    label(clamp(100, x((low + high) / 2), width - 60), 26, "middle 90 %", { class: "middle" }),
  );
}

/** One query's documents. @param {any[]} ways @param {{text: string, relevant: boolean}[][]} ranked by way */
function documents(ways, ranked) {
  const heads = ways.map((way) => {
    const name = h("span", { style: `border-bottom:3px solid ${way.color}` }, way.name);
    return { title: way.chosen ? h("mark", {}, name) : name };
  });
  const rows = upTo(ranked[0].length).map((rank) => ({
    cells: [rank, ...ranked.map((list) => {
      const { text, relevant } = list[rank - 1];
      const words = h("span", { title: text }, shorten(text, 60));
      return relevant ? h("mark", {}, "✔ ", words) : words;
    })],
  }));
  return [table([{ title: "rank", number: true, width: 48 }, ...heads], rows, "documents"), h("p", { class: "note" }, "✔ relevant")];
}

/** @type {View} */
export const trap = { view, draw };
