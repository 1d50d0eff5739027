/** The text of a tree as a reader sees it; of several trees, a line each. */
export function textOf(tree) {
  if (typeof tree === "string") return tree;
  return (Array.isArray(tree) ? tree : tree.children).map(textOf).join(Array.isArray(tree) ? "\n" : "");
}
