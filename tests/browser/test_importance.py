"""ImportanceWeights in a real JupyterLab: arrow keys move a weight, the labels answer, the curve follows."""

from __future__ import annotations

import pytest

from benchmarks.browser import open_and_run, wait_for, write_notebook

CELL = """
import numpy as np
from mrl_tutorial import ImportanceWeights
from mrl_tutorial.classification.labeled_vectors import scaled
from mrl_tutorial.classification.small_networks import NetworkConfig
chance = np.random.default_rng(0)
labels = np.arange(200) % 4
x = (chance.normal(size=(4, 6))[labels] + 0.9 * chance.normal(size=(200, 6))).astype(np.float32)
half, rest = np.arange(100), np.arange(100, 200)
data = scaled("made-up points", x, labels, [(rest, half), (half, rest)])
panel = ImportanceWeights(data, NetworkConfig(dims=(2, 4, 8), width=8, hidden=12, epochs=5, batch=16))
panel
"""
PANEL = ".mrl-importance-weights"


@pytest.fixture(scope="module", autouse=True)
def panel(lab, page):
    write_notebook(lab.folder / "importance.ipynb", CELL)
    open_and_run(page, lab, "importance.ipynb")
    wait_for(page, f"{PANEL} .js-plotly-plot .gtitle", 240)
    panel = page.locator(PANEL)
    panel.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    return panel


def handle(page, label: str):
    row = page.locator(f"{PANEL} .widget-inline-hbox", has=page.locator(f'.widget-label:text-is("{label}")'))
    return row.locator(".noUi-handle")


def wait_for_words(page, words: str) -> None:
    there = f"[...document.querySelectorAll('{PANEL} .js-plotly-plot text')].some((t) => t.textContent.includes(w))"
    page.wait_for_function(f"(w) => {there}", arg=words, timeout=60_000)


def bars(page) -> list[str]:
    return page.eval_on_selector_all(f"{PANEL} .barlayer path", "(all) => all.map((p) => p.getAttribute('d'))")


def test_arrow_keys_move_a_weight_and_the_curve_follows(page):
    before = bars(page)
    handle(page, "c for size 2").focus()
    for words in ("c = 2", "c = 4"):
        page.keyboard.press("ArrowRight")
        wait_for_words(page, words)
    wait_for_words(page, "trained in")
    assert bars(page) != before


def test_all_zero_is_a_message_in_the_panel(page):
    for label, presses in (("c for size 2", 8), ("c for size 4", 5), ("c for size 8", 5)):
        handle(page, label).focus()
        for _ in range(presses):
            page.keyboard.press("ArrowLeft")
            page.wait_for_timeout(50)
    alert = page.locator(f'{PANEL} [role="alert"]')
    alert.wait_for()
    assert "all weights are 0" in alert.text_content()
    page.locator(f'{PANEL} button:has-text("All 1")').click()
    wait_for_words(page, "c = 1")
    page.wait_for_function(f"() => !document.querySelector('{PANEL} [role=alert]')")


def test_nothing_is_small_and_the_panel_fits(page, panel):
    sizes = page.evaluate(
        f"""() => [...document.querySelectorAll('{PANEL} text, {PANEL} .widget-label')]
                 .filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert len(sizes) > 15 and min(sizes) >= 14
    figure = page.locator(f"{PANEL} .js-plotly-plot .main-svg").first.bounding_box()
    assert 0.85 * panel.bounding_box()["width"] < figure["width"] <= panel.bounding_box()["width"] + 1
