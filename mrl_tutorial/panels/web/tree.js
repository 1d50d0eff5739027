/**
 * Pictures as plain data: a view returns a tree of elements, and `patch` changes the page where two trees differ.
 *
 * @typedef {{tag: string, attrs: Record<string, any>, children: Tree[]}} Element_
 * @typedef {Element_ | string} Tree
 */

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked"]); // their attributes are what a field begins with

/**
 * One element of a tree. An attribute such as "onclick" holds a handler. Children are trees, lists of them, or numbers;
 * those that are null, undefined or false are left out.
 *
 * @param {string} tag @param {Record<string, any> | null} [attrs] @param {...any} children @returns {Element_}
 */
export function h(tag, attrs, ...children) {
  const kept = children.flat(3).filter((child) => child !== null && child !== undefined && child !== false);
  return { tag, attrs: attrs ?? {}, children: kept.map((child) => (typeof child === "number" ? `${child}` : child)) };
}

/** A button. @param {any} words @param {() => void} press @param {Record<string, any>} [attrs] */
export function button(words, press, attrs) {
  return h("button", { type: "button", onclick: press, ...attrs }, words);
}

/** A menu; `choose` is told the place of what is picked. @param {any[]} words @param {number} place @param {(place: number) => void} choose @param {Record<string, any>} [attrs] */
export function menu(words, place, choose, attrs) {
  const options = words.map((word, i) => h("option", { value: `${i}` }, word));
  const change = (/** @type {any} */ event) => choose(Number(event.target.value));
  return h("select", { onchange: change, value: `${place}`, ...attrs }, options);
}

/** Make the children of `parent`, which show the trees `before`, show the trees `after`. @param {Element} parent @param {Tree[]} before @param {Tree[]} after */
export function patch(parent, before, after) {
  for (let i = 0; i < after.length; i++) {
    const [a, b] = [before[i], after[i]];
    if (a === b) continue; // the same tree: nothing below it has changed
    const node = parent.childNodes[i];
    if (a === undefined) parent.append(make(b, parent));
    else if (typeof a === "string" && typeof b === "string") /** @type {Text} */ (node).data = b;
    else if (typeof a === "string" || typeof b === "string" || a.tag !== b.tag) node.replaceWith(make(b, parent));
    else {
      const element = /** @type {Element} */ (node);
      patch(element, a.children, b.children); // before the attributes, as in `make`
      dress(element, a.attrs, b.attrs);
    }
  }
  for (let i = before.length; i > after.length; i--) parent.lastChild?.remove();
}

/** @param {Tree} tree @param {Element} parent @returns {Node} */
function make(tree, parent) {
  if (typeof tree === "string") return document.createTextNode(tree);
  const inSvg = tree.tag === "svg" || (parent.namespaceURI === SVG && parent.localName !== "foreignObject");
  const element = inSvg ? document.createElementNS(SVG, tree.tag) : document.createElement(tree.tag);
  patch(element, [], tree.children); // before the attributes: the value of a menu needs its options
  dress(element, {}, tree.attrs);
  return element;
}

/** @param {any} element @param {Record<string, any>} before @param {Record<string, any>} after */
function dress(element, before, after) {
  for (const name in before) if (!(name in after)) put(element, name, before[name], undefined);
  for (const name in after) put(element, name, before[name], after[name]);
}

/** @param {any} element @param {string} name @param {any} was @param {any} value */
function put(element, name, was, value) {
  if (typeof value === "function" || typeof was === "function") element[name] = value ?? null;
  else if (PROPERTIES.has(name)) {
    if (element[name] !== value && !(value === was && typed(element))) element[name] = value ?? "";
  } else if (was !== value) {
    if (value === undefined || value === null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : value);
  }
}

/** Whether somebody may be typing here, which nothing but a new value may undo. @param {any} element */
function typed(element) {
  return (element.type === "text" || element.type === "number") && element.matches(":focus");
}
