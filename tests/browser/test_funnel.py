"""The funnel designer in a real JupyterLab: sliders by keyboard, its tables, a senseless path, sizes of its letters."""

from __future__ import annotations

import pytest

from benchmarks.browser import chromium_page, handle, lab_server, open_and_run, wait_for, write_notebook
from tools.chromium import REMEDY, find_chromium

NAME = "funnel-designer"
CELL = """
import numpy as np
from mrl_tutorial import FunnelDesigner
from mrl_tutorial.tasks.types import RetrievalTask
rng = np.random.default_rng(0)
x = rng.normal(size=(3, 1200, 64)).astype(np.float32)
q = (x[:, :40] + 1.5 * rng.normal(size=(3, 40, 64))).astype(np.float32)
task = RetrievalTask("drawn", "", {f"lib.d{i}": "" for i in range(1200)}, {f"q{i}": f"query {i}" for i in range(40)},
                     {f"q{i}": {f"lib.d{i}": 1} for i in range(40)}, {"dev": [f"q{i}" for i in range(40)]})
FunnelDesigner(task, {"drawn": {"queries": q, "documents": x}})
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip(REMEDY)
    folder = tmp_path_factory.mktemp("funnel")
    write_notebook(folder / "panel.ipynb", CELL)
    with lab_server(folder) as lab, chromium_page() as page:
        page.set_default_timeout(60_000)
        open_and_run(page, lab, "panel.ipynb")
        wait_for(page, f".mrl-{NAME} .js-plotly-plot .main-svg", 300)
        page.wait_for_timeout(4000)
        yield page


def text(page, part: str) -> str:
    return page.locator(f".mrl-{NAME} {part}").first.text_content()


def slide(page, slider: str, key: str, part: str = ".mrl-stages") -> tuple[str, str]:
    """Text of `part` before and after a key on a slider."""
    before = text(page, part)
    handle(page, NAME, slider).focus()
    page.keyboard.press(key)
    page.wait_for_function(
        "([s, t]) => document.querySelector(s).textContent !== t", arg=[f".mrl-{NAME} {part}", before]
    )
    return before, text(page, part)


def test_every_slider_answers_the_keyboard(page):
    assert "1,200 → 100" in text(page, ".mrl-stages")
    _, after = slide(page, "shortlist K", "ArrowRight")
    assert "1,200 → 200" in after
    _, after = slide(page, "shortlist dims", "ArrowLeft")
    assert "layer 3, 16 dims" in after
    _, after = slide(page, "stages between", "ArrowRight")
    assert after.count("→") == 3
    _, after = slide(page, "shortlist layer", "ArrowLeft")
    assert "layer 2, 16 dims" in after
    _, after = slide(page, "price it for", "ArrowRight", ".mrl-cost")
    assert "for 100,000 documents" in after


def test_the_picture_follows(page):
    state = (
        "(s) => JSON.stringify(document.querySelector(s).data.filter((t) => t.mode === 'lines').map((t) => [...t.x]))"
    )
    plot = f".mrl-{NAME} .js-plotly-plot"
    page.wait_for_function("(s) => document.querySelector(s).data.length === 7", arg=plot)
    before = page.evaluate(state, plot)
    slide(page, "shortlist dims", "ArrowRight")
    page.wait_for_function(f"([s, d]) => ({state})(s) !== d", arg=[plot, before])
    assert page.evaluate(state, plot) != before and page.locator(f'.mrl-{NAME} [role="alert"]').count() == 0


def test_a_senseless_path_is_a_message(page):
    for _ in range(3):
        handle(page, NAME, "shortlist layer").focus()
        page.keyboard.press("ArrowRight")
    handle(page, NAME, "rerank dims").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    alert = page.locator(f'.mrl-{NAME} [role="alert"]')
    alert.wait_for()
    assert "adds nothing" in alert.text_content()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    alert.wait_for(state="detached")


def test_nothing_is_small_and_the_figure_fits(page):
    panel = page.locator(f".mrl-{NAME}")
    inside, figure = panel.bounding_box(), page.locator(f".mrl-{NAME} .main-svg").first.bounding_box()
    assert 0.9 * inside["width"] < figure["width"] <= inside["width"] + 1
    sizes = page.evaluate(
        f"""() => [...document.querySelectorAll('.mrl-{NAME} :is(text, td, th, .widget-label)')]
                 .filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert len(sizes) > 40 and min(sizes) >= 14
