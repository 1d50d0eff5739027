// What a view shows in given states: reads {view, tables, states, width} as JSON from a file, writes a list of {shown, text}.
import { readFileSync } from "node:fs";
import { textOf } from "./text.mjs";
import { unpack } from "../../../mrl_tutorial/panels/web/tables.js";

const { view: name, tables, states, width } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const module = await import(`../../../mrl_tutorial/panels/web/${name}.js`);
const data = await unpack(new Uint8Array(Buffer.from(tables, "base64")));
const act = Object.assign(() => {}, { ask: () => {} });
const plain = (key, value) => {
  if (ArrayBuffer.isView(value)) return value.length > 64 ? { length: value.length } : Array.from(value);
  return typeof value === "number" && !Number.isFinite(value) ? null : value;
};
const found = states.map((state) => {
  const shown = module[name].view(state, data);
  return { shown, text: textOf(module[name].draw(shown, act, width)), missing: module[name].missing?.(state, data) ?? null };
});
process.stdout.write(JSON.stringify(found, plain));
