"use strict";
/* Theme, panels' height, copy buttons, menu. Loaded before the page is drawn, so that the theme is there from the start. */
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const read = () => {
    try {
      return localStorage.getItem("theme");
    } catch { // a page from a folder may have no storage
      return null;
    }
  };
  let chosen = read();
  const frames = () => [...document.querySelectorAll("iframe")];
  const tell = (frame) => frame.contentWindow?.postMessage({ mrlTheme: root.dataset.theme }, "*");
  const paint = () => {
    root.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = root.dataset.theme === "dark" ? "☀ Light" : "☾ Dark";
      button.setAttribute("aria-label", `switch to ${root.dataset.theme === "dark" ? "light" : "dark"} colors`);
    }
    frames().forEach(tell);
  };
  paint();
  root.classList.add("js");
  system.addEventListener("change", paint);

  addEventListener("message", ({ source, data }) => {
    const frame = frames().find((one) => one.contentWindow === source);
    if (!frame) return;
    if (data?.mrlReady) tell(frame);
    if (data?.mrlHeight > 100) frame.style.height = `${Math.ceil(data.mrlHeight) + 2}px`;
  });

  const copyButton = (block) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.onclick = async () => {
      const text = block.querySelector("pre").textContent.replace(/\n$/, "");
      try {
        await navigator.clipboard.writeText(text);
      } catch { // no clipboard for a page from a folder
        const area = document.createElement("textarea");
        area.value = text;
        document.body.append(area);
        area.select();
        document.execCommand("copy");
        area.remove();
      }
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    };
    block.append(button);
  };

  const reveal = () => { // a place within something folded
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let one = place; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    place?.scrollIntoView();
  };

  addEventListener("DOMContentLoaded", () => {
    paint();
    document.getElementById("theme").onclick = () => {
      chosen = root.dataset.theme === "dark" ? "light" : "dark";
      try {
        localStorage.setItem("theme", chosen);
      } catch { /* then it lasts as long as the page */ }
      paint();
    };
    const menu = document.getElementById("menu");
    const turn = (open) => menu.setAttribute("aria-expanded", `${document.body.classList.toggle("open", open)}`);
    menu.onclick = () => turn();
    document.querySelector("main").addEventListener("click", () => turn(false));
    document.getElementById("lessons").addEventListener("click", (event) => event.target.closest("a") && turn(false));
    addEventListener("keydown", (event) => event.key === "Escape" && turn(false));
    document.querySelectorAll("main .highlight").forEach(copyButton);
    const index = document.querySelector("msub");
    if (index && index.lastElementChild.getBoundingClientRect().bottom - index.firstElementChild.getBoundingClientRect().bottom < 2) {
      root.classList.add("plain-math");
    }
    addEventListener("hashchange", reveal);
    if (location.hash) reveal();
  });
})();
