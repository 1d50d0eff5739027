"use strict";
/* Search over headings and text, in the index that stands beside this file. "/" goes to the field. */
(() => {
  const [field, list] = [document.getElementById("search"), document.getElementById("hits")];
  const MOST = 12;
  const AROUND = 60; // letters on each side of what was found
  const index = window.COURSE_INDEX.map((entry) => ({ ...entry, head: entry.title.toLowerCase(), all: `${entry.title} ${entry.text}`.toLowerCase() }));

  const find = (words) => index
    .filter((entry) => words.every((word) => entry.all.includes(word)))
    .map((entry) => ({ entry, score: words.filter((word) => entry.head.includes(word)).length }))
    .sort((a, b) => b.score - a.score)
    .map(({ entry }) => entry);

  /** A text with the words marked. */
  const marked = (text, words) => {
    const span = document.createElement("span");
    const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    text.split(new RegExp(`(${escaped.join("|")})`, "i")).forEach((part, i) => {
      const one = document.createElement(i % 2 ? "mark" : "span");
      one.textContent = part;
      span.append(one);
    });
    return span;
  };

  const excerpt = (entry, words) => {
    const at = Math.max(0, entry.text.toLowerCase().indexOf(words.find((word) => entry.text.toLowerCase().includes(word)) ?? ""));
    const [from, to] = [Math.max(0, at - AROUND), at + 2 * AROUND];
    return `${from ? "… " : ""}${entry.text.slice(from, to)}${to < entry.text.length ? " …" : ""}`;
  };

  const show = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = words.length ? find(words) : [];
    list.hidden = !words.length;
    list.replaceChildren(...hits.slice(0, MOST).map((entry) => {
      const [item, link, where] = ["li", "a", "small"].map((tag) => document.createElement(tag));
      link.href = entry.url;
      where.textContent = entry.page;
      link.append(marked(entry.title, words), where, document.createElement("br"), marked(excerpt(entry, words), words));
      item.append(link);
      return item;
    }));
    if (words.length && hits.length !== list.children.length) list.append(note(`and ${hits.length - MOST} more places`));
    if (words.length && !hits.length) list.append(note("Nothing found: try fewer words, or a part of one."));
  };
  const note = (text) => Object.assign(document.createElement("li"), { className: "note", textContent: text });

  field.oninput = field.onfocus = show;
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
    const links = [...list.querySelectorAll("a")];
    const inside = field.parentElement.contains(document.activeElement);
    if (event.key === "/" && !typing) field.focus();
    else if (event.key === "Escape" && inside) [list.hidden, field.value] = [true, (field.blur(), "")];
    else if (event.key === "Enter" && document.activeElement === field) links[0]?.click();
    else if (inside && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const place = links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
      (place < 0 ? field : links[Math.min(place, links.length - 1)])?.focus();
    } else return;
    event.preventDefault();
  });
  addEventListener("click", (event) => {
    if (!field.parentElement.contains(event.target) || event.target.closest("#hits a")) list.hidden = true;
  });
})();
