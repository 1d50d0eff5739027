"""The spectrum explorer in a real JupyterLab: sliders by keyboard, the model switch, legible text."""

from __future__ import annotations

import pytest

from benchmarks.browser import chromium_page, handle, lab_server, open_and_run, wait_for, write_notebook
from tools.chromium import REMEDY, find_chromium

CELL = """
import numpy as np
from mrl_tutorial.panels.spectrum_explorer import SpectrumExplorer
from mrl_tutorial.panels.spectrum_tables import DIMS, WAYS, SpectrumData

rng = np.random.default_rng(0)
variances = np.sort(rng.exponential(size=(2, 6, 384)), -1)[..., ::-1]
quality = {way: np.sort(rng.uniform(size=(2, 6, 13)), -1) for way in WAYS}
coordinates = rng.exponential(size=(2, 6, 384))
models = ("plain", "trained")
SpectrumExplorer.of(SpectrumData(models, (*DIMS, 384), variances, coordinates, quality, "ndcg@10", "dev"))
"""
TITLE = ".mrl-spectrum-explorer .gtitle"


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip(REMEDY)
    folder = tmp_path_factory.mktemp("spectrum")
    write_notebook(folder / "panel.ipynb", CELL)
    with lab_server(folder) as lab, chromium_page() as page:
        page.set_default_timeout(60_000)
        open_and_run(page, lab, "panel.ipynb")
        wait_for(page, f"{TITLE}", 300)
        page.wait_for_timeout(3000)
        yield page


def wait_for_title(page, words: str) -> None:
    page.wait_for_function("([s, w]) => document.querySelector(s)?.textContent.includes(w)", arg=[TITLE, words])


def curves(page) -> list[str]:
    lines = ".mrl-spectrum-explorer .js-line"
    return page.eval_on_selector_all(lines, "lines => lines.map((e) => e.getAttribute('d'))")


def test_keys_slide_over_layers_and_dimensions(panel):
    wait_for_title(panel, "plain, layer 6, 64 of 384")
    before = curves(panel)
    handle(panel, "spectrum-explorer", "layer").focus()
    panel.keyboard.press("ArrowLeft")
    wait_for_title(panel, "plain, layer 5, 64 of 384")
    assert curves(panel) != before
    handle(panel, "spectrum-explorer", "dimension").focus()
    panel.keyboard.press("ArrowRight")
    wait_for_title(panel, "plain, layer 5, 96 of 384")


def test_model_switch(panel):
    before = curves(panel)
    panel.locator('.mrl-spectrum-explorer button:text-is("trained")').click()
    wait_for_title(panel, "trained, layer")
    assert curves(panel) != before


def test_nothing_is_small_and_no_message_is_shown(panel):
    sizes = panel.eval_on_selector_all(
        ".mrl-spectrum-explorer svg text, .mrl-spectrum-explorer .widget-label",
        "all => all.filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))",
    )
    assert len(sizes) > 20 and min(sizes) >= 14
    assert panel.locator('.mrl-spectrum-explorer [role="alert"]').count() == 0
