/**
 * The frame of every panel: its controls, its state, and what it shows. A slide is looked up and drawn here; the kernel
 * hears of it after the hand has come to rest.
 *
 * @import { Tree } from "./tree.js"
 * @typedef {{kind: "slider" | "switch" | "menu" | "text" | "number" | "button" | "hidden", name: string, label: string, values: any[],
 *   words?: string[], play?: boolean, free?: boolean, set?: Record<string, any>, ask?: Record<string, any>, kernel?: boolean, queues?: boolean, min?: number, max?: number}} Control
 * @typedef {Record<string, any>} State
 * @typedef {Record<string, any> & {controls: Control[][], dims: number[]}} Data what Python packed
 * @typedef {(state: State, changes: State, data: Data) => State} Adjust
 * @typedef {(state: State, data: Data) => Record<string, any> | null} Missing
 * @typedef {{(changes: State): void, ask: (message: Record<string, any>) => void}} Act changes the state, or asks the kernel
 * @typedef {object} View
 * @property {(state: State, data: any) => any} view looks up what is to be shown: a pure function
 * @property {(shown: any, act: Act, width: number) => Tree[]} draw makes a picture of it; shown.headline is read aloud
 * @property {Missing} [missing] what the kernel must be asked for
 * @property {Adjust} [adjust] keeps the state possible
 * @typedef {object} Host the notebook's model, or the page
 * @property {(name: string) => any} get
 * @property {(state: State) => void} save
 * @property {((message: Record<string, any>) => void) | null} send null where no kernel runs
 * @property {(name: string, call: () => void) => () => void} on returns what undoes it
 */
import { button, h, menu, patch } from "./tree.js";
import { unpack } from "./tables.js";

const REST = 300; // milliseconds without a change before the kernel hears of the state
const LEAST = 200; // pixels; a tab that is not laid out yet has fewer
const SWEEP = 5000; // milliseconds that a sweep takes

/** Show a panel in `root` until the function that is returned is called. @param {View} view @param {Host} host @param {HTMLElement} root */
function mount(view, host, root) {
  /** @type {State} */
  let state = host.get("state");
  /** @type {State} what the reader has changed since the kernel last heard */
  let mine = {};
  let [data, before] = /** @type {[any, Tree[]]} */ ([null, []]);
  let [frame, timer, pressed, width, asked, sweeping] = [0, 0, false, root.clientWidth > LEAST ? root.clientWidth : 900, "", ""];
  let first = { packed: null, tables: Promise.resolve() };
  let [load, loaded, blamed] = [0, 0, ""]; // tables that came, and were unpacked; the question that an error answers
  const missing = () => JSON.stringify(view.missing?.(state, data) ?? null);

  const render = () => {
    cancelAnimationFrame(frame);
    frame = 0;
    if (!data) return;
    const wish = missing();
    if (wish !== "null" && host.send && wish !== asked && !pressed && !sweeping) { // a drag asks nothing on its way
      asked = wish;
      host.send(JSON.parse(wish));
    }
    const { error, ...status } = host.get("status") ?? {};
    if (error && wish === blamed) status.error = error;
    const after = page(view, { state, data, width, status, live: !!host.send, sweeping }, act, sweep);
    patch(root, before, after);
    before = after;
  };
  const schedule = () => {
    frame ||= requestAnimationFrame(render);
  };
  const save = () => {
    mine = {};
    host.save(state);
  };
  const rest = () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      timer = 0;
      if (pressed || sweeping) rest();
      else save();
    }, REST);
  };
  /** @type {Act} */
  const act = Object.assign((/** @type {State} */ changes) => {
    if (Object.keys(changes).every((name) => changes[name] === state[name])) return;
    const next = { ...state, ...changes };
    const made = view.adjust?.(next, changes, data) ?? next;
    for (const name in made) if (made[name] !== state[name]) mine[name] = made[name];
    state = made;
    schedule();
    rest();
  }, { ask: (/** @type {State} */ message) => host.send?.("state" in message ? { ...message, state } : message) });
  /** What the host says counts, but what the reader does now counts more. */
  const adopt = () => {
    state = possible({ ...host.get("state"), ...mine }, host.get("start") ?? state, view, data);
  };
  const sweep = (/** @type {Control} */ control) => {
    sweeping = sweeping ? "" : control.name;
    const start = performance.now();
    const step = (/** @type {number} */ now) => {
      if (sweeping !== control.name) return;
      const share = Math.min(1, (now - start) / SWEEP);
      const i = control.values.length > 40 ? control.values.length ** share - 1 : share * (control.values.length - 1);
      act({ [control.name]: control.values[Math.round(Math.min(i, control.values.length - 1))] });
      if (share < 1) requestAnimationFrame(step);
      else sweeping = "";
      schedule();
    };
    if (sweeping) requestAnimationFrame(step);
    schedule();
  };

  const arrive = async () => {
    const [turn, packed] = [++load, host.get("tables")];
    if (first.packed !== packed) first = { packed, tables: unpack(packed) }; // they are large, and often only `more` comes
    const arriving = Promise.all([first.tables, ...Object.values(host.get("more") ?? {}).map(unpack)]);
    const found = await arriving.catch((error) => patch(root, before, before = [h("p", { class: "error", role: "alert" }, `${error.message}`)]));
    if (turn !== load || !found) return; // newer ones are on their way, or the panel is gone
    loaded = turn;
    data = found.reduce(merge);
    adopt();
    if (!host.get("status")?.error || missing() !== blamed) asked = ""; // what has been refused is not asked again and again
    blamed ||= missing();
    render();
  };
  const undo = [
    host.on("tables", arrive), host.on("more", arrive),
    host.on("status", () => {
      if (data) blamed = missing();
      schedule();
    }),
    host.on("state", () => {
      if (load > loaded) return; // it may speak of what is in the tables that are being unpacked
      adopt();
      schedule();
    }),
  ];
  const press = (/** @type {any} */ event) => {
    const held = pressed;
    pressed = event.type === "pointerdown" || event.type === "keydown";
    root.classList.toggle("repeats", pressed && !!event.repeat);
    if (held && !pressed && data && missing() !== "null") schedule();
  };
  const chosen = (/** @type {any} */ event) => {
    if (event.target.localName === "select") pressed = false; // the pointer came up in the menu's own window
  };
  const [end, presses] = [new AbortController(), ["pointerdown", "pointerup", "pointercancel", "keydown", "keyup"]];
  presses.forEach((name) => root.ownerDocument.addEventListener(name, press, { capture: true, signal: end.signal }));
  window.addEventListener("blur", press, end); // a key that is down comes up in another window
  const size = new ResizeObserver(() => {
    if (root.clientWidth > LEAST && Math.abs(root.clientWidth - width) > 2) {
      width = root.clientWidth;
      schedule();
    }
  });
  size.observe(root);
  root.classList.add("mrl");
  root.addEventListener("keydown", (event) => event.stopPropagation(), end); // else JupyterLab keeps the arrow keys for itself
  root.addEventListener("change", chosen, end);
  arrive();
  return () => {
    undo.forEach((call) => call());
    end.abort();
    size.disconnect();
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    if (timer) save();
    [load, sweeping] = [load + 1, ""];
    patch(root, before, []);
  };
}

/**
 * The state with the starting value wherever a control lacks the one it holds, as in an address that somebody has edited.
 *
 * @param {State} state @param {State} start @param {View} view @param {any} data
 */
export function possible(state, start, view, data) {
  const next = { ...state };
  for (const c of /** @type {Control[]} */ (data.controls.flat())) {
    if (c.values && !c.free && !c.values.includes(next[c.name])) next[c.name] = c.values.includes(start[c.name]) ? start[c.name] : c.values[0];
  }
  return view.adjust?.(next, {}, data) ?? next;
}

/** Add what came later to the tables: objects are merged, all else is replaced. @param {any} data @param {any} more */
export function merge(data, more) {
  const plain = (/** @type {any} */ x) => x && typeof x === "object" && !Array.isArray(x) && !x.values;
  const made = { ...data };
  for (const key in more) made[key] = plain(more[key]) && plain(made[key]) ? merge(made[key], more[key]) : more[key];
  return made;
}

/** @param {View} view @param {any} now @param {Act} act @param {(control: Control) => void} sweep @returns {Tree[]} */
function page(view, now, act, sweep) {
  const { state, data, width, status, live } = now;
  const shown = view.view(state, data);
  const rows = data.controls.map((/** @type {Control[]} */ row) =>
    h("div", { class: "controls" }, row.filter((c) => c.kind !== "hidden" && (live || !(c.kernel || c.ask))).map((c) => control(c, now, act, sweep))));
  const busy = status.share !== undefined && h(
    "div", { class: "busy" }, h("progress", { max: 1, value: status.share, "aria-label": "progress" }),
    h("span", { role: "status" }, status.label ?? ""),
    live && button("Cancel", () => act.ask({ ask: "cancel" })),
  );
  const code = data.code && h(
    "details", { class: "code" }, h("summary", {}, "This cell in Python"), h("pre", {}, h("code", {}, fill(data.code, state))),
    button("Copy", () => navigator.clipboard?.writeText(fill(data.code, state)).catch(() => {})),
  );
  return [ // each in a place of its own: what comes and goes above would else make all that is below anew, with its focus
    h("div", {}, rows),
    h("div", {},
      busy || (status.label && h("p", { role: "status", class: "note" }, status.label)),
      status.error && h("p", { role: "alert", class: "error" }, status.error)),
    h("p", { class: "headline", "aria-live": "polite" }, shown.headline ?? ""),
    h("div", {}, view.draw(shown, act, width)),
    ...(code ? [code] : []),
  ];
}

/** Put the state's values in the places `{name}` of a text. @param {string} text @param {State} state */
export function fill(text, state) {
  return text.replace(/\{(\w+)\}/g, (place, name) => (name in state ? `${state[name]}` : place));
}

/** @param {Control} c @param {any} now @param {Act} act @param {(control: Control) => void} sweep @returns {Tree} */
function control(c, now, act, sweep) {
  const value = now.state[c.name];
  const words = (/** @type {number} */ i) => c.words?.[i] ?? `${c.values[i]}`;
  const place = c.values?.indexOf(value) ?? 0;
  const set = (/** @type {any} */ chosen) => act({ [c.name]: chosen });
  const name = h("span", { class: "name" }, c.label);
  if (c.kind === "button") {
    const press = () => (c.ask ? act.ask({ ...c.ask, state: now.state }) : act(c.set ?? {}));
    return button(c.label, press, { disabled: !!c.ask && !c.queues && now.status.share !== undefined });
  }
  if (c.kind === "switch") {
    const choices = c.values.map((v, i) => button(words(i), () => set(v), { "aria-pressed": `${v === value}` }));
    return h("div", { class: "switch", role: "group", "aria-label": c.label }, name, choices);
  }
  if (c.kind === "menu") {
    const own = place < 0 ? ["your own"] : []; // what is typed elsewhere comes after those that can be chosen
    const choose = (/** @type {number} */ picked) => picked < c.values.length && set(c.values[picked]);
    return h("label", { class: "menu" }, name, menu([...c.values.map((_, i) => words(i)), ...own], place < 0 ? c.values.length : place, choose));
  }
  if (c.kind === "slider") {
    const slide = (/** @type {any} */ event) => set(c.values[event.target.valueAsNumber]);
    const range = h("input", {
      type: "range", min: 0, max: c.values.length - 1, step: 1, value: `${place}`, oninput: slide,
      "aria-valuetext": words(place), "aria-label": c.label,
    });
    const sweeps = now.sweeping === c.name;
    const play = c.play && button(sweeps ? "■" : "▶", () => sweep(c), { class: "play", "aria-label": `${sweeps ? "stop" : "play"}: sweep ${c.label}` });
    return h("label", { class: "slider" }, name, range, h("output", {}, words(place)), play);
  }
  const [low, high] = [c.min ?? -Infinity, c.max ?? Infinity];
  const held = (/** @type {number} */ x) => Math.min(high, Math.max(low, Number.isFinite(x) ? x : c.min ?? 0));
  const read = (/** @type {any} */ event) => {
    const given = c.kind === "number" ? held(event.target.valueAsNumber) : event.target.value;
    event.target.value = `${given}`;
    set(given);
  };
  const limits = c.kind === "number" ? { min: c.min, max: c.max, step: "any" } : {};
  return h("label", { class: c.kind }, name, h("input", { type: c.kind, value: `${value}`, onchange: read, ...limits }));
}

/** The notebook's side: what anywidget calls. @param {View} view */
export function widget(view) {
  return {
    render: (/** @type {{model: any, el: HTMLElement}} */ { model, el }) => mount(view, {
      get: (name) => model.get(name),
      save: (state) => {
        model.set("state", state);
        model.save_changes();
      },
      send: (message) => model.send(message),
      on: (name, call) => {
        model.on(`change:${name}`, call);
        return () => model.off(`change:${name}`, call);
      },
    }, el),
  };
}

/**
 * The page's side: everything is in the page, and the state in its address.
 *
 * @param {View} view @param {string} tables base64 @param {State} start @param {HTMLElement} root
 */
export function standalone(view, tables, start, root) {
  const bytes = Uint8Array.from(atob(tables), (c) => c.charCodeAt(0));
  const read = () => {
    const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    const known = Object.keys(given).filter((name) => name in start && typeof start[name] !== "object");
    return { ...start, ...Object.fromEntries(known.map((name) => [name, typeof start[name] === "number" ? Number(given[name]) : given[name]])) };
  };
  return mount(view, {
    get: (name) => (name === "state" ? read() : name === "start" ? start : name === "tables" ? bytes : {}),
    save: (state) => history.replaceState(null, "", `#${new URLSearchParams(Object.entries(state).filter(([, v]) => typeof v !== "object"))}`),
    send: null,
    on: (name, call) => {
      if (name !== "state") return () => {};
      addEventListener("hashchange", call);
      return () => removeEventListener("hashchange", call);
    },
  }, root);
}
