// The pure functions of the front end: node --test tests/panels/web
import assert from "node:assert/strict";
import { test } from "node:test";
import { h } from "../../../mrl_tutorial/panels/web/tree.js";
import { textOf } from "./text.mjs";
import { at, row } from "../../../mrl_tutorial/panels/web/tables.js";
import { fill, merge, possible } from "../../../mrl_tutorial/panels/web/panel.js";
import { colorsOf, column, heatColor, kept, limitsOf, pathOf, placed, powers, scale, ticks } from "../../../mrl_tutorial/panels/web/plots.js";
import { count, metricTitle, percent, quality, shorten, signed, three, whole } from "../../../mrl_tutorial/panels/web/words.js";

const table = (shape, values) => ({ shape, values: Float32Array.from(values) });

test("a tree keeps text and zero, and leaves out what is not there", () => {
  const tree = h("p", null, "a", 0, null, false, undefined, ["b", [h("b", {}, 1.5)]]);
  assert.equal(textOf(tree), "a0b1.5");
  assert.equal(tree.children.length, 4);
});

test("numbers of a table stand in the order of numpy", () => {
  const t = table([2, 3, 2], Array.from({ length: 12 }, (_, i) => i));
  assert.equal(at(t, 1, 2, 0), 10);
  assert.deepEqual([...row(t, 1, 2)], [10, 11]);
  assert.deepEqual([...row(t, 0)], [0, 1, 2, 3, 4, 5]);
});

test("numbers in words are those of Python", () => {
  assert.deepEqual([0, 0.5, 0.021, 0.0995, 1].map(percent), ["0 %", "50 %", "2.1 %", "10 %", "100 %"]);
  assert.deepEqual([0.0242, 24.21, 2421.6, 0].map(three), ["0.0242", "24.2", "2,422", "0"]);
  assert.deepEqual([1.28e9, 950, 1500].map(count), ["1.28 G", "950", "1.5 k"]);
  assert.deepEqual([0.0714, NaN, undefined].map(quality), ["0.071", "–", "–"]);
  assert.deepEqual([0.01, -0.01, -0.0001].map((x) => signed(x)), ["+0.010", "−0.010", "+0.000"]);
  assert.equal(whole(6305.6), "6,306");
  assert.deepEqual(["ndcg@10", "1nn", "recall@100"].map(metricTitle), ["nDCG@10", "1-NN accuracy", "recall@100"]);
  assert.equal(shorten("one two three four", 12), "one two …");
  assert.equal(shorten("short", 12), "short");
});

test("scales go there and back", () => {
  const log = scale("log", [1, 384], [50, 450]);
  assert.equal(log(1), 50);
  assert.ok(Math.abs(log(384) - 450) < 1e-9);
  for (const d of [1, 8, 100, 384]) assert.ok(Math.abs(log.invert(log(d)) - d) < 1e-9);
  const down = scale("linear", [0, 1], [300, 20]);
  assert.equal(down(0.5), 160);
});

test("ticks are round and inside", () => {
  assert.deepEqual(ticks([0, 1]), [0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]);
  assert.deepEqual(ticks([0, 0.57]), [0, 0.2, 0.4]);
  assert.ok(ticks([3, 97]).every((t) => t >= 3 && t <= 97));
  assert.deepEqual(powers(1, 384, 20), [1, 2, 4, 8, 16, 32, 64, 128, 256, 384]);
});

test("a dimension between two columns stands between them", () => {
  assert.equal(column(8, [8, 16, 384]), 0);
  assert.equal(column(384, [8, 16, 384]), 2);
  assert.ok(Math.abs(column(Math.sqrt(128), [8, 16, 384]) - 0.5) < 1e-9);
  assert.equal(column(4, [8, 16]), 0);
});

test("colors: known models keep theirs, others take what is free, nobody shares", () => {
  assert.equal(colorsOf(["plain", "x"]).plain, colorsOf(["y", "plain"]).plain);
  const many = Object.values(colorsOf(["a", "plain", "b", "trained here", "c"]));
  assert.equal(new Set(many).size, 5);
  assert.equal(heatColor(0), "rgb(0,34,78)");
  assert.equal(heatColor(2), heatColor(1));
  assert.deepEqual([0, 0.5, 1].map((share) => heatColor(share, true)), ["rgb(213,94,0)", "rgb(255,255,255)", "rgb(0,114,178)"]);
  const both = colorsOf(["plain", "whitened", "all-cells", "trained here"]);
  assert.equal(new Set(Object.values(both)).size, 4);
});

test("names of many lines take as many rows as they need", () => {
  const lines = Array.from({ length: 20 }, (_, i) => ({ name: `model ${i} with a name ${"x".repeat(4 * i)}` }));
  const { items, rows } = placed(lines, 64, 500);
  assert.equal(items.length, 20);
  assert.ok(rows > 5 && items.at(-1).row === rows - 1);
  assert.ok(items.every(({ name, at }) => at >= 64 && at + 30 + 8.2 * name.length <= 500));
  assert.equal(placed([{ name: "plain" }, { name: "" }, { name: "MRL" }], 64, 500).rows, 1);
});

test("limits start at zero or below and skip what is missing", () => {
  assert.deepEqual(limitsOf([[0.2, NaN], [0.7]]), [0, 0.7]);
  assert.deepEqual(limitsOf([[-0.5]]), [-0.5, 1e-6]);
});

test("a line breaks where there is no value", () => {
  const one = scale("linear", [0, 2], [0, 2]);
  assert.equal(pathOf([0, 1, 2], [1, NaN, 2], one, one), "M0.0,1.0M2.0,2.0");
});

test("trees are kept while arguments are the same", () => {
  let made = 0;
  const make = kept((a, b) => ({ made: ++made, a, b }));
  assert.equal(make(1, 2), make(1, 2));
  assert.notEqual(make(1, 3), make(1, 2));
  assert.equal(made, 2);
});

test("what comes later is merged into the tables, arrays are replaced", () => {
  const data = { quality: { a: table([1], [1]) }, names: ["a"] };
  const next = merge(data, { quality: { b: table([1], [2]) }, names: ["a", "b"] });
  assert.deepEqual(Object.keys(next.quality), ["a", "b"]);
  assert.deepEqual(next.names, ["a", "b"]);
  assert.equal(data.names.length, 1, "the old tables stay as they were");
});

test("the state is written into the code, other braces stay", () => {
  assert.equal(fill("x[:, :{dim}]  # {layer} {other}", { dim: 8, layer: 2 }), "x[:, :8]  # 2 {other}");
});

test("an address with values that do not exist falls back to where the panel starts", () => {
  const data = { controls: [[{ name: "dim", values: [8, 16] }, { name: "query", values: ["a"], free: true }]] };
  const start = { dim: 16, query: "a", pin: "" };
  assert.deepEqual(possible({ dim: 999, query: "own", pin: "2,8" }, start, {}, data), { dim: 16, query: "own", pin: "2,8" });
  const adjust = (state) => ({ ...state, dim: 8 });
  assert.equal(possible(start, start, { adjust }, data).dim, 8);
});
