"""How long the course's panels take to answer: from a key press on a slider to the last change of the picture.

Each panel in a notebook of its own, in a real JupyterLab and Chromium. A press is over when the figure and the text of
the panel stop changing; the quiet time that shows this is not counted.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.browser import chromium_page, handle, lab_server, open_and_run, wait_for, write_notebook
from benchmarks.slider import LIMIT_MS, summary
from mrl_tutorial.errors import InputError
from mrl_tutorial.files import write_json

if TYPE_CHECKING:
    from playwright.sync_api import Page


class Entry(NamedTuple):
    """cell: code that ends with the panel. slider: the label of the one that is pressed. name: its css class without
    "mrl-". first: count until the first change only (where work goes on in the background). before: a key to
    press first, on a slider that starts at its left end."""

    cell: str
    slider: str
    name: str
    first: bool = False
    before: str = ""


SPECTRUM = """
import numpy as np
from mrl_tutorial.panels.spectrum_explorer import SpectrumExplorer
from mrl_tutorial.panels.spectrum_tables import DIMS, WAYS, SpectrumData
rng = np.random.default_rng(0)
variances = np.sort(rng.exponential(size=(2, 6, 384)), -1)[..., ::-1]
quality = {way: np.sort(rng.uniform(size=(2, 6, 13)), -1) for way in WAYS}
coordinates = rng.exponential(size=variances.shape)
SpectrumExplorer.of(
    SpectrumData(("plain", "MRL"), (*DIMS, 384), variances, coordinates, quality, "ndcg@10", "dev")
)
"""
TERMS = """
import torch
from mrl_tutorial import Batch, TermExplorer
from mrl_tutorial.recipes.anatomy import dissect
rng = torch.Generator().manual_seed(0)
TermExplorer(dissect(Batch(*(torch.randn(6, 16, 384, generator=rng) for _ in range(2)))))
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
CascadeTuner(cascade.answers(p / p.sum(-1, keepdims=True), labels, (8, 16, 32, 64, 128, 256)))
"""
TRAP = """
import numpy as np
from mrl_tutorial import TruncationTrap
rng = np.random.default_rng(0)
documents = rng.normal(size=(5000, 384))
queries = documents[:200] + rng.normal(size=(200, 384))
texts = [f"document {i} with a title of some length" for i in range(5000)]
TruncationTrap(queries, documents, [{i} for i in range(200)], texts[:200], texts)
"""
# a slide costs the same wherever the points are, so UMAP is left out
MAP = """
import numpy as np
from mrl_tutorial import PrefixMap
from mrl_tutorial.panels import prefix_map_layout

def first_two(prefixes, seed, path, progress):
    np.savez(path, places=np.stack([x[:, :2] for x in prefixes]))

prefix_map_layout.compute_places = first_two
vectors, labels = np.random.default_rng(0).normal(size=(1500, 384)), np.arange(1500) % 12
PrefixMap(vectors, labels, [f"text {i} with some words in it" for i in range(1500)])
"""
# as many layers, documents and queries as in notebook 06
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
FunnelDesigner(task, {"random": {"queries": queries, "documents": documents}})
"""
SIZE = "from mrl_tutorial import SizeCalculator\nSizeCalculator()"
WEIGHTS = "from mrl_tutorial import ImportanceWeights\nImportanceWeights()"

PANELS: dict[str, Entry] = {
    "spectrum explorer": Entry(SPECTRUM, "dimension", "spectrum-explorer"),
    "term explorer": Entry(TERMS, "contrastive", "term-explorer"),
    "cascade tuner": Entry(CASCADE, "all sizes", "cascade-tuner"),
    "size calculator": Entry(SIZE, "vectors", "size-calculator"),
    "truncation trap": Entry(TRAP, "dimension d", "truncation-trap"),
    # training waits for a pause, and the slide itself is what is timed
    "importance weights": Entry(WEIGHTS, "c for size 2", "importance-weights", first=True),
    "prefix map": Entry(MAP, "dimension d", "prefix-map", before="End"),
    "funnel designer": Entry(FUNNEL, "shortlist dims", "funnel-designer"),
}

# plotly says when it has drawn; an observer of every attribute that a drawing changes would itself take time
# (the other events are for changes of marks alone, which plotly may draw without the first)
WATCH = """([name, first]) => {
  window.mrlSlide = new Promise((resolve) => {
    const panel = document.querySelector('.mrl-' + name);
    const plots = [...panel.querySelectorAll('.js-plotly-plot')];
    const events = ['plotly_afterplot', 'plotly_relayout', 'plotly_update'];
    let pressed = null, last = null, timer = null;
    const changed = () => {
      if (pressed === null) return;
      requestAnimationFrame(() => {
        last = performance.now();
        clearTimeout(timer);
        timer = setTimeout(done, first ? 0 : 150);
      });
    };
    const watcher = new MutationObserver(changed);
    const done = () => {
      watcher.disconnect();
      for (const plot of plots) for (const event of events) plot.removeListener(event, changed);
      resolve(last === null ? null : last - pressed);
    };
    setTimeout(done, 5000);
    panel.addEventListener('keydown', () => { pressed ??= performance.now(); }, {capture: true, once: true});
    for (const plot of plots) for (const event of events) plot.on(event, changed);
    for (const part of panel.querySelectorAll('.widget-html'))
      watcher.observe(part, {subtree: true, childList: true, characterData: true});
  });
}"""


def run(json: str | Path | None = None, quick: bool = False, only: Sequence[str] | None = None) -> dict:
    """Print and return p50, p95 and maximum in milliseconds of every panel's update.

    quick: a few presses. only: names in `PANELS`. Raises InputError without Chromium or playwright, and for a panel
    that does not answer.
    """
    presses, found = 10 if quick else 60, {}
    print(f"{'panel':<20}{'n':>5}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}")
    for title in only or PANELS:
        if title not in PANELS:
            raise InputError(f"no panel is called {title!r}: there are {', '.join(PANELS)}")
        found[title] = summary(measure(PANELS[title], presses))
        row = found[title]
        print(f"{title:<20}{row['n']:>5}{row['p50']:>9.0f}{row['p95']:>9.0f}{row['max']:>9.0f}", flush=True)
    result = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "limit_ms": LIMIT_MS, "panels": found}
    print(f"from key press to the picture's last change; {result['cores']} cores, load {result['load']:.1f} at the end")
    if json:
        write_json(json, result)
    return result


def measure(entry: Entry, presses: int, picture: str | Path | None = None) -> list[float]:
    """Milliseconds of each press, to and fro, after four to warm up. picture: also write a screenshot of the panel."""
    with tempfile.TemporaryDirectory() as folder:
        write_notebook(Path(folder) / "panel.ipynb", entry.cell)
        with lab_server(folder) as lab, chromium_page() as page:
            open_and_run(page, lab, "panel.ipynb")
            wait_for(page, f".mrl-{entry.name} .js-plotly-plot .main-svg", 900)
            page.wait_for_timeout(5000)  # JupyterLab saves, the figure takes its width
            if picture:
                page.locator(f".mrl-{entry.name}").screenshot(path=str(picture))
            handle(page, entry.name, entry.slider).focus()
            if entry.before:
                page.keyboard.press(entry.before)
                page.wait_for_timeout(2000)
            taken = [press(page, entry, "ArrowLeft" if i % 4 < 2 else "ArrowRight") for i in range(presses + 4)]
    return taken[4:]


def press(page: Page, entry: Entry, key: str) -> float:
    """Press a key; milliseconds until the picture has changed. Raises InputError where it does not."""
    page.evaluate(WATCH, [entry.name, entry.first])
    page.keyboard.press(key)
    taken = page.evaluate("() => window.mrlSlide")
    if taken is None:
        raise InputError(f"the panel {entry.name} did not change within 5 s of {key} on {entry.slider!r}")
    return taken
