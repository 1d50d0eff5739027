/** Numbers in words, as they are written in every panel. */

/** A quality to three digits, "–" where there is none. @param {number | undefined} x */
export function quality(x) {
  return x === undefined || !Number.isFinite(x) ? "–" : x.toFixed(3);
}

/** A whole number with commas. @param {number} n */
export function whole(n) {
  return Math.round(n).toLocaleString("en-US");
}

/** A share as a percentage of two digits: 0.5 is "50 %", 0.021 "2.1 %". @param {number} share */
export function percent(share) {
  return share >= 0.0995 || share === 0 ? `${(100 * share).toFixed(0)} %` : `${(100 * share).toFixed(1)} %`;
}

/** A share as a percentage to one digit: "49.7 %". @param {number} share */
export function tenths(share) {
  return `${(100 * share).toFixed(1)} %`;
}

/** A difference with its sign. @param {number} x @param {number} [digits] */
export function signed(x, digits = 3) {
  const words = Math.abs(x).toFixed(digits);
  return `${x < 0 && Number(words) !== 0 ? "−" : "+"}${words}`;
}

/** Three significant digits: 1280 is "1,280", 24.21 "24.2", 0.02421 "0.0242". @param {number} x */
export function three(x) {
  if (!Number.isFinite(x)) return "–";
  const digits = x ? Math.max(0, 2 - Math.floor(Math.log10(Math.abs(x)))) : 0;
  return x.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A large number with its unit: 1.28e9 is "1.28 G". @param {number} n */
export function count(n) {
  for (const [size, unit] of /** @type {[number, string][]} */ ([[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])) {
    if (n >= size) return `${Number((n / size).toPrecision(3))} ${unit}`;
  }
  return n.toFixed(0);
}

/** A metric's name as it is written on an axis. @param {string} metric */
export function metricTitle(metric) {
  const [name, k] = metric.split("@");
  /** @type {Record<string, string>} */
  const titles = { ndcg: "nDCG", mrr: "MRR", map: "MAP", spearman: "Spearman", "1nn": "1-NN accuracy" };
  return (titles[name] ?? name) + (k ? `@${k}` : "");
}

/** A text cut to a length, between words. @param {string} text @param {number} length */
export function shorten(text, length) {
  if (text.length <= length) return text;
  const cut = text.slice(0, length - 1);
  return `${cut.slice(0, Math.max(cut.lastIndexOf(" "), length / 2))} …`;
}

/** A name with its middle left out, since both ends of a dotted name tell more: "scip…_triangular". @param {string} name @param {number} length */
export function shortName(name, length) {
  const head = Math.floor(length / 4);
  return name.length <= length ? name : `${name.slice(0, head)}…${name.slice(head + 1 - length)}`;
}
