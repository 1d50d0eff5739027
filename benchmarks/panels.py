"""How smooth the course's panels are: from a slide to its picture on the screen, and what the kernel hears of it.

Each panel in a notebook of its own, in a real JupyterLab and Chromium: once while the kernel is idle, once while it is
busy; and as a page of its own with the network switched off. A slider is dragged and an arrow key is held. What is
measured, in the browser, is the time from an input event to the end of the frame that shows its effect; at 60 frames a
second a frame takes 16.7 ms. A drag's events come with the frames; a key comes at any time and waits for the next one,
half a frame on average. A bare slider that shows its number tells how much of this is the browser and the machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.browser import chromium_page, lab_server, open_and_run, wait_for, write_notebook
from mrl_tutorial.errors import InputError
from mrl_tutorial.files import write_json

if TYPE_CHECKING:
    from playwright.sync_api import Page

LIMIT_MS = 16.7
PLACES = ("idle", "busy", "page")


class Entry(NamedTuple):
    """cell: code that makes `panel`. slider: the label of the one that is moved."""

    cell: str
    slider: str


EXPLORER = """
from mrl_tutorial import Encoder, GridExplorer, load_task
panel = GridExplorer(load_task("pydocs"), Encoder.load(), layer=4, dim=128)
"""
SPECTRUM = """
import numpy as np
from mrl_tutorial import SpectrumExplorer
from mrl_tutorial.tasks.types import RetrievalTask
rng = np.random.default_rng(0)
documents = rng.normal(size=(2, 6, 400, 384)).astype(np.float32)
queries = (documents[:, :, :20] + rng.normal(size=(2, 6, 20, 384))).astype(np.float32)
models = {n: {"queries": q, "documents": x} for n, q, x in zip(("plain", "MRL"), queries, documents)}
ids = [f"q{i}" for i in range(20)]
task = RetrievalTask("random", "", {f"d{i}": "" for i in range(400)}, {q: f"query {q}" for q in ids},
                     {q: {f"d{q[1:]}": 1} for q in ids}, {"dev": ids})
panel = SpectrumExplorer(task, models)
"""
TERMS = """
import torch
from mrl_tutorial import Batch, TermExplorer
from mrl_tutorial.recipes.anatomy import dissect
rng = torch.Generator().manual_seed(0)
panel = TermExplorer(dissect(Batch(*(torch.randn(6, 16, 384, generator=rng) for _ in range(2)))))
"""
CASCADE = """
import numpy as np
from mrl_tutorial import CascadeTuner
from mrl_tutorial.classification import cascade
rng = np.random.default_rng(0)
labels = rng.integers(0, 20, 1265)
logits = rng.normal(size=(6, 1265, 20))
logits[:, np.arange(1265), labels] += np.linspace(0.5, 3, 6)[:, None]
p = np.exp(logits)
panel = CascadeTuner(cascade.answers(p / p.sum(-1, keepdims=True), labels, (8, 16, 32, 64, 128, 256)))
"""
TRAP = """
import numpy as np
from mrl_tutorial import TruncationTrap
rng = np.random.default_rng(0)
documents = rng.normal(size=(5000, 384))
queries = documents[:200] + rng.normal(size=(200, 384))
texts = [f"document {i} with a title of some length" for i in range(5000)]
panel = TruncationTrap(queries, documents, [{i} for i in range(200)], texts[:200], texts)
"""
# a slide costs the same wherever the points are, so UMAP is left out
MAP = """
import numpy as np
from mrl_tutorial import PrefixMap
from mrl_tutorial.panels import prefix_map

def first_two(prefixes):
    return np.stack([x[:, :2] for x in prefixes])

prefix_map.compute_places = first_two
vectors, labels = np.random.default_rng(0).normal(size=(1500, 384)), np.arange(1500) % 12
panel = PrefixMap(vectors, labels, [f"text {i} with some words in it" for i in range(1500)])
"""
# as many layers, documents and queries as in the lesson on retrieval
FUNNEL = """
import numpy as np
from mrl_tutorial import FunnelDesigner
from mrl_tutorial.tasks.types import RetrievalTask
rng = np.random.default_rng(0)
documents = rng.normal(size=(6, 6300, 384)).astype(np.float32)
queries = (documents[:, :150] + 2 * rng.normal(size=(6, 150, 384))).astype(np.float32)
ids = [f"q{i}" for i in range(150)]
task = RetrievalTask("random", "", {f"d{i}": "" for i in range(6300)}, {q: f"query {q}" for q in ids},
                     {q: {f"d{q[1:]}": 1} for q in ids}, {"dev": ids})
panel = FunnelDesigner(task, {"random": {"queries": queries, "documents": documents}})
"""
SIZE = "from mrl_tutorial import SizeCalculator\npanel = SizeCalculator()"
WEIGHTS = "from mrl_tutorial import ImportanceWeights\npanel = ImportanceWeights()"

PANELS: dict[str, Entry] = {
    "grid explorer": Entry(EXPLORER, "dimension"),
    "spectrum explorer": Entry(SPECTRUM, "dimension"),
    "term explorer": Entry(TERMS, "contrastive"),
    "cascade tuner": Entry(CASCADE, "all sizes"),
    "size calculator": Entry(SIZE, "vectors"),
    "truncation trap": Entry(TRAP, "dimension"),
    "importance weights": Entry(WEIGHTS, "weight c2"),
    "prefix map": Entry(MAP, "dimension"),
    "funnel designer": Entry(FUNNEL, "shortlist dims"),
}
# writes the panel's page beside the notebook, and says that it is there by a cell's output
SAVE = "\npanel.save_page('panel.html')\npanel"
BUSY = "import time\nend = time.perf_counter() + 600\nwhile time.perf_counter() < end: sum(range(1000))"

# counts what goes to the kernel; JupyterLab speaks to it over web sockets alone
COUNT = """
window.mrlSent = 0;
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (...args) {
  if (this.url.includes('/channels')) window.mrlSent += 1;
  return send.apply(this, args);
};"""
# from the input event to the end of the frame in which it is drawn: the task after the frame's rendering
WATCH = """() => {
  window.mrlTimes = [];
  window.mrlFrames = [];
  const frame = (now) => { window.mrlFrames.push(now); window.mrlFrame = requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  document.addEventListener('input', window.mrlInput = () => {
    const start = performance.now();
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => window.mrlTimes.push(performance.now() - start);
      port2.postMessage(0);
    });
  }, true);
  window.mrlBefore = window.mrlSent ?? 0;
}"""
# a slider, a number, and nothing behind them
BARE = """<input type="range" aria-label="bare" style="width: 600px"><p></p><script>
document.querySelector("input").oninput = (e) => { document.querySelector("p").textContent = e.target.value; };
</script>"""
SCRIPT = "() => document.querySelector('script').textContent.split('\\nstandalone(')[0].length"
READ = """() => {
  document.removeEventListener('input', window.mrlInput, true);
  cancelAnimationFrame(window.mrlFrame);
  return { times: window.mrlTimes, frames: window.mrlFrames, sent: (window.mrlSent ?? 0) - window.mrlBefore };
}"""


def run(json: str | Path | None = None, quick: bool = False, only: Sequence[str] | None = None) -> dict[str, Any]:
    """Print and return p50 and p95 of input to paint, frames a second, and messages to the kernel, of every panel.

    quick: one drag. only: names in `PANELS`. Raises InputError without Chromium or playwright, and for a panel that
    does not answer.
    """
    if unknown := set(only or ()) - set(PANELS):
        raise InputError(f"no panel is called {unknown.pop()!r}: there are {', '.join(PANELS)}")
    found: dict[str, Any] = {}
    heads = f"{'inputs':>7}{'drag p50':>10}{'p95 ms':>8}{'key p50':>9}{'p95 ms':>8}{'frames/s':>10}{'messages':>10}"
    print(f"{'panel':<20}{'kernel':<8}{heads}{'script kB':>11}")
    rounds = 1 if quick else 4
    bare = bare_slider(rounds)
    _print_row("bare slider", "page", bare, len(BARE) / 1000)
    for title in only or PANELS:
        found[title] = measure(PANELS[title], rounds)
        for place in PLACES:
            _print_row(title, place, found[title][place], found[title]["script_kb"])
    result = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "limit_ms": LIMIT_MS, "bare": bare, "panels": found}
    print(f"from an input to the frame that shows it; {result['cores']} cores, load {result['load']:.1f} at the end")
    if json:
        write_json(json, result)
    return result


def _print_row(title: str, place: str, row: dict[str, Any], script_kb: float) -> None:
    print(
        f"{title:<20}{place:<8}{row['inputs']:>7}{row['drag_p50']:>10.1f}{row['drag_p95']:>8.1f}"
        f"{row['key_p50']:>9.1f}{row['key_p95']:>8.1f}{row['fps']:>10.0f}{row['messages']:>10}{script_kb:>11.0f}",
        flush=True,
    )


def bare_slider(rounds: int) -> dict[str, Any]:
    """The figures of a page that holds a slider and the number that it shows."""
    with chromium_page() as page:
        page.set_content(BARE)
        return drags(page, "bare", rounds)


def measure(entry: Entry, rounds: int) -> dict[str, Any]:
    """The figures of one panel: in JupyterLab with an idle and with a busy kernel, and as a page without a network."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_notebook(Path(folder) / "panel.ipynb", entry.cell + SAVE)
        write_notebook(Path(folder) / "busy.ipynb", entry.cell + SAVE, BUSY)
        with lab_server(folder) as lab:
            for place, name in (("idle", "panel.ipynb"), ("busy", "busy.ipynb")):
                with chromium_page() as page:
                    page.add_init_script(COUNT)
                    open_and_run(page, lab, name)
                    wait_for(page, ".mrl .headline", 1800)
                    page.wait_for_timeout(4000)  # JupyterLab saves and settles
                    found[place] = drags(page, entry.slider, rounds)
        with chromium_page() as page:
            page.goto((Path(folder) / "panel.html").as_uri())
            page.context.set_offline(True)
            page.wait_for_selector(".mrl .headline")
            found["page"] = drags(page, entry.slider, rounds)
            found["script_kb"] = page.evaluate(SCRIPT) / 1000
        found["page_kb"] = (Path(folder) / "panel.html").stat().st_size / 1000
    return found


def drags(page: Page, label: str, rounds: int) -> dict[str, Any]:
    """Drag the slider of that label over its whole length and back, then hold a key; `rounds` times."""
    slider = page.get_by_role("slider", name=label, exact=True).first
    slider.scroll_into_view_if_needed()
    times, held, frames, sent = [], [], [], 0
    for turn in range(rounds + 1):
        box = slider.bounding_box()
        if box is None:
            raise InputError(f"the slider {label!r} is not on the page")
        y, left, right = box["y"] + box["height"] / 2, box["x"] + 10, box["x"] + box["width"] - 10
        page.mouse.move(left, y)
        page.mouse.down()
        page.evaluate(WATCH)
        page.mouse.move(right, y, steps=90)
        page.mouse.move(left, y, steps=90)
        dragged = page.evaluate("() => window.mrlTimes.length")
        page.mouse.up()
        for _ in range(30):
            page.keyboard.down("ArrowRight")
            page.wait_for_timeout(33)  # as a held key repeats
        read = page.evaluate(READ)
        page.keyboard.up("ArrowRight")
        page.wait_for_timeout(800)  # the kernel hears of the state now
        if turn:  # the first is to warm up
            times += read["times"][:dragged]
            held += read["times"][dragged:]
            frames += list(np.diff(read["frames"]))
            sent += read["sent"]
    if not times or not held:
        raise InputError(f"the slider {label!r} did not answer")
    found: dict[str, Any] = {"inputs": len(times) + len(held), "fps": round(1000 / float(np.mean(frames)), 1)}
    for name, values in (("drag", times), ("key", held)):
        found |= {f"{name}_p{q}": round(float(np.percentile(values, q)), 1) for q in (50, 95)}
    return {**found, "messages": sent}
