"""How long a slide takes: from a key press on a slider to the changed figure, in a real JupyterLab and Chromium.

A press is answered by the kernel (look-up, one ranking), and is over when the frame shows figure and documents of the
new cell. There is no other panel to compare with: the figures stand beside the 100 ms that a reader feels as at once.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.browser import chromium_page, handle, lab_server, open_and_run, wait_for, write_notebook
from mrl_tutorial.files import write_json

if TYPE_CHECKING:
    from playwright.sync_api import Page

LIMIT_MS = 100
READY_SECONDS = 1800  # the first run encodes the task
SMALL = """
from dataclasses import replace
keep = list(task.corpus)[::40]
kept = {"q:" + d for d in keep}
task = replace(task, corpus={d: task.corpus[d] for d in keep}, labels={},
               splits={s: [q for q in ids if q in kept] for s, ids in task.splits.items()})
"""
CELL = """
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.explorer import GridExplorer
from mrl_tutorial.tasks.load import load_task
task = load_task("pydocs"){small}
explorer = GridExplorer(task, Encoder.load(), layer=3, dim=128, max_queries={queries})
explorer
"""
# resolves to milliseconds from the key press to the frame that shows the awaited cell; the press itself comes after
WATCH = """(words) => {
  window.mrlSlide = new Promise((resolve) => {
    setTimeout(() => resolve(null), 20000);
    const panel = document.querySelector('.mrl-explorer');
    let pressed = null;
    panel.addEventListener('keydown', () => { pressed ??= performance.now(); }, {capture: true, once: true});
    const shown = () => [...panel.querySelectorAll('.annotation-text')].some((t) => t.textContent.startsWith(words));
    let priced = false;  // the panel's last message; the documents, sent before it, may well stay the same
    const watcher = new MutationObserver((changes) => {
      priced ||= changes.some((c) => c.target.querySelector?.('.mrl-price'));
      if (pressed === null || !priced || !shown()) return;
      watcher.disconnect();
      requestAnimationFrame(() => resolve(performance.now() - pressed));
    });
    watcher.observe(panel, {subtree: true, childList: true, characterData: true});
  });
}"""


def run(json: str | Path | None = None, quick: bool = False) -> dict:
    """Print and return p50, p95 and maximum in milliseconds, over presses on both sliders and for a held key.

    quick: a fortieth of the documents and a few presses. Raises InputError without Chromium or playwright.
    """
    presses = 10 if quick else 100
    with tempfile.TemporaryDirectory() as folder:
        cell = CELL.format(small=SMALL if quick else "", queries=20 if quick else 300)
        write_notebook(Path(folder) / "slider.ipynb", cell)
        begun = time.perf_counter()
        with lab_server(folder) as lab, chromium_page() as page:
            open_and_run(page, lab, "slider.ipynb")
            wait_for(page, ".mrl-explorer .mrl-price", READY_SECONDS)
            wait_for(page, ".mrl-explorer .annotation-text", 60)
            ready = time.perf_counter() - begun
            page.wait_for_timeout(2000)  # JupyterLab saves and settles
            slide(page, "dimension", 128, 3), slide(page, "layer", 3, 3)  # warm-up, back and forth
            found = {
                "dimension": slide(page, "dimension", 128, presses),
                "layer": slide(page, "layer", 3, presses),
                "key held": held(page, 128, 5 if quick else 20),
            }
    result: dict[str, Any] = {name: summary(values) for name, values in found.items()}
    result["cpu"] = platform.processor() or platform.machine()
    result |= {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    result |= {"ready_seconds": round(ready, 1), "limit_ms": LIMIT_MS}
    print(f"{'slider':<12}{'n':>5}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}")
    for name in found:
        row = result[name]
        print(f"{name:<12}{row['n']:>5}{row['p50']:>9.0f}{row['p95']:>9.0f}{row['max']:>9.0f}")
    print(f"from key press to the frame that shows it; {result['cores']} cores, load {result['load']:.1f} at the end")
    if json:
        write_json(json, result)
    return result


def slide(page: Page, slider: str, start: int, presses: int) -> list[float]:
    """Milliseconds of each single press, to and fro around `start`, on the slider of that name; ends at `start`."""
    handle(page, "explorer", slider).focus()
    at, step, taken, upper = start, 1, [], {"layer": 6, "dimension": 140}[slider]

    def go(to: int) -> float:
        words = f"layer {to}, " if slider == "layer" else f"layer 3, d = {to}:"
        return press(page, "ArrowRight" if to > at else "ArrowLeft", words)

    for _ in range(presses):
        step = -1 if at + step > upper else 1 if at + step < start - 2 else step
        taken.append(go(at + step))
        at += step
    while at != start:
        step = 1 if at < start else -1
        go(at + step)
        at += step
    return taken


def held(page: Page, start: int, times: int) -> list[float]:
    """Milliseconds from the last of 15 presses, 33 ms apart as a held key repeats, to the frame that shows the end."""
    handle(page, "explorer", "dimension").focus()
    taken = []
    for turn in range(times):
        key, end = ("ArrowRight", start + 15) if turn % 2 == 0 else ("ArrowLeft", start)
        for _ in range(14):
            page.keyboard.press(key)
            page.wait_for_timeout(33)
        taken.append(press(page, key, f"layer 3, d = {end}:"))
    return taken


def press(page: Page, key: str, words: str) -> float:
    """Press a key; milliseconds until a frame shows `words` over the curve, documents and price as well."""
    page.evaluate(WATCH, words)
    page.keyboard.press(key)
    taken = page.evaluate("() => window.mrlSlide")
    if taken is None:
        seen = page.locator(".mrl-explorer .annotation-text").all_text_contents()
        raise TimeoutError(f"no frame showed {words!r} within 20 s of {key}; the figure shows {seen}")
    page.wait_for_timeout(60)
    return taken


def summary(values: list[float]) -> dict[str, float]:
    """n, p50, p95 and max."""
    p50, p95 = np.percentile(values, [50, 95])
    return {"n": len(values), "p50": round(float(p50), 1), "p95": round(float(p95), 1), "max": round(max(values), 1)}
