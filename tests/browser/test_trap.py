"""The truncation trap in a real JupyterLab: slider, switches and query by keyboard."""

from __future__ import annotations

import pytest

from benchmarks.browser import handle, open_and_run, wait_for, write_notebook

NAME = "truncation-trap"
CELL = """
import numpy as np
from mrl_tutorial import TruncationTrap
rng = np.random.default_rng(0)
documents = rng.normal(size=(200, 32)) * rng.gamma(2, 1, (200, 1))
queries = documents[:30] + rng.normal(size=(30, 32))
texts = [f"<i>page</i> {i}" for i in range(200)]
TruncationTrap(queries, documents, [{i} for i in range(30)], [f"query {i}" for i in range(30)], texts, dim=8)
"""


@pytest.fixture(scope="module", autouse=True)
def panel(lab, page):
    write_notebook(lab.folder / "trap.ipynb", CELL)
    open_and_run(page, lab, "trap.ipynb")
    wait_for(page, f".mrl-{NAME} .js-plotly-plot .main-svg", 600)
    page.wait_for_timeout(2000)
    return page.locator(f".mrl-{NAME}")


def wait_for_heading(page, words: str) -> None:
    found = f"[...document.querySelectorAll('.mrl-{NAME} .annotation-text')].some((t) => t.textContent.includes(s))"
    page.wait_for_function(f"(s) => {found}", arg=words)


def shown(page, words: str) -> bool:
    return any(words in t for t in page.locator(f".mrl-{NAME} .annotation-text").all_text_contents())


def bars(page) -> list[str]:
    return page.evaluate(f"[...document.querySelectorAll('.mrl-{NAME} .bars path')].map((p) => p.getAttribute('d'))")


def test_arrow_keys_move_mark_and_lengths(page, panel):
    before = bars(page)
    handle(page, NAME, "dimension d").focus()
    page.keyboard.press("ArrowRight")
    wait_for_heading(page, "cut, then normalize, d = 9:")
    wait_for_heading(page, "cut to d = 9:")
    assert len(before) == 50 and bars(page) != before
    page.keyboard.press("ArrowLeft")
    wait_for_heading(page, "d = 8:")


def test_ways_are_buttons(page, panel):
    panel.locator('button:text-is("no normalizing")').press("Enter")
    wait_for_heading(page, "no normalizing, d = 8:")
    page.wait_for_function(f"() => document.querySelector('.mrl-{NAME} u').textContent === 'no normalizing'")
    assert not shown(page, "cut, then normalize, d = 8:")
    panel.locator('button:text-is("cut, then normalize")').press("Enter")
    wait_for_heading(page, "cut, then normalize, d = 8:")
    assert not shown(page, "no normalizing, d = 8:")


def test_the_measure_switches(page, panel):
    panel.locator('button:text-is("recall@10")').press("Enter")
    wait_for_heading(page, "recall@10")
    assert not shown(page, "nDCG@10")
    panel.locator('button:text-is("nDCG@10")').press("Enter")
    wait_for_heading(page, "nDCG@10")
    assert not shown(page, "recall@10")


def test_documents_of_another_query(page, panel):
    table = panel.locator("table.mrl-documents")
    before = table.text_content()
    panel.locator("select").select_option(index=3)
    page.wait_for_function(f"(s) => document.querySelector('.mrl-{NAME} table').textContent !== s", arg=before)
    assert table.locator("tr").count() == 6 and "<i>page</i>" in table.text_content()


def test_nothing_is_small_and_the_figure_fits(page, panel):
    sizes = page.evaluate(
        f"""() => [...document.querySelectorAll('.mrl-{NAME} text, .mrl-{NAME} td, .mrl-{NAME} .widget-label')]
                 .filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert len(sizes) > 30 and min(sizes) >= 14
    inside, figure = panel.bounding_box(), panel.locator(".main-svg").first.bounding_box()
    assert 0.9 * inside["width"] < figure["width"] <= inside["width"] + 1
