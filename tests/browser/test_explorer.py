"""Notebook 00 in a real JupyterLab: it runs to its end, and its panel answers to slider, switch, query and button."""

from __future__ import annotations

import re

import pytest

from benchmarks.browser import handle, open_and_run, wait_for
from benchmarks.slider import press


def headings(page) -> list[str]:
    return page.locator(".mrl-explorer .annotation-text").all_text_contents()


def wait_for_heading(page, start: str) -> None:
    found = "[...document.querySelectorAll('.mrl-explorer .annotation-text')].some((t) => t.textContent.startsWith(s))"
    page.wait_for_function(f"(s) => {found}", arg=start)


def control(page, label: str):
    """The input of the widget with that label."""
    row = page.locator(".mrl-explorer .jupyter-widgets", has=page.locator(f'> .widget-label:text-is("{label}")')).last
    return row.locator("input, select").first


def cell(page) -> tuple[int, int]:
    words = next(h for h in headings(page) if h.startswith("layer"))
    return tuple(int(x) for x in re.match(r"layer (\d+), d = (\d+):", words).groups())


@pytest.fixture(scope="module", autouse=True)
def panel(lab, page):
    """The panel, after the whole notebook has run (which adds "trained here" to it)."""
    open_and_run(page, lab, "tour.ipynb")
    wait_for(page, ".mrl-explorer .annotation-text", 15 * 60)
    wait_for(page, '.mrl-explorer button:has-text("trained here")', 15 * 60)
    wait_for(page, '.jp-Notebook-ExecutionIndicator[data-status="idle"]', 15 * 60)
    panel = page.locator(".mrl-explorer")
    panel.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    return panel


def test_no_cell_ended_in_an_error(page):
    assert page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_text_contents()
    assert prompts and all(re.fullmatch(r"\[\d+\]:", p) for p in prompts), prompts


def test_the_panel_fits_its_column_and_nothing_is_small(page, panel):
    inside = panel.bounding_box()
    figure = page.locator(".mrl-explorer .js-plotly-plot .main-svg").first.bounding_box()
    assert 0.9 * inside["width"] < figure["width"] <= inside["width"] + 1
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('.mrl-explorer text, .mrl-explorer td, .mrl-explorer th')]
                 .filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert len(sizes) > 60 and min(sizes) >= 14


@pytest.mark.parametrize("key, step", [("ArrowRight", 1), ("ArrowLeft", -1)])
def test_arrow_keys_slide(page, key, step):
    layer, dim = cell(page)
    handle(page, "explorer", "dimension").focus()
    press(page, key, f"layer {layer}, d = {dim + step}:")
    handle(page, "explorer", "layer").focus()
    press(page, key, f"layer {layer + step}, d = {dim + step}:")
    assert cell(page) == (layer + step, dim + step)


def test_buttons_jump_to_trained_widths(page):
    page.locator('.mrl-explorer button:text-is("32")').click()
    wait_for_heading(page, f"layer {cell(page)[0]}, d = 32:")
    assert cell(page)[1] == 32


def test_model_switch_changes_the_heat_map(page):
    def numbers():
        return page.locator(".mrl-explorer .scatterlayer text").all_text_contents()[:42]

    page.locator('.mrl-explorer button:has-text("trained here")').click()
    wait_for_heading(page, "trained here")
    trained = numbers()
    page.locator('.mrl-explorer button:text-is("plain")').click()
    wait_for_heading(page, "plain")
    assert len(trained) == 42 and numbers() != trained


def test_measure_switch(page):
    def numbers():
        return page.locator(".mrl-explorer .scatterlayer text").all_text_contents()[:42]

    ndcg = numbers()
    control(page, "measure").select_option(label="recall@100")
    wait_for_heading(page, "plain: recall@100")
    assert len(ndcg) == 42 and numbers() != ndcg
    control(page, "measure").select_option(label="nDCG@10")
    wait_for_heading(page, "plain: nDCG@10")
    assert numbers() == ndcg


def test_a_query_of_ones_own_is_ranked(page):
    control(page, "query").fill("solve a linear system of equations")
    control(page, "query").press("Enter")
    page.wait_for_selector('.mrl-documents b:text-is("solve a linear system of equations")')
    assert page.locator(".mrl-documents tr").count() == 9
    assert "nothing is known to be relevant" in page.locator(".mrl-documents").text_content()


def test_a_wrong_query_is_a_message_in_the_panel(page):
    control(page, "query").fill("   ")
    alert = page.locator('.mrl-explorer [role="alert"]')
    alert.wait_for()
    assert "the query is empty" in alert.text_content()
    layer, dim = cell(page)
    handle(page, "explorer", "dimension").focus()
    page.keyboard.press("ArrowRight")
    wait_for_heading(page, f"layer {layer}, d = {dim + 1}:")
    control(page, "examples").select_option(index=1)
    page.wait_for_selector(".mrl-documents tr.yes, .mrl-documents td")
    assert page.locator('.mrl-explorer [role="alert"]').count() == 0


def test_train_while_sliding(page):
    control(page, "seconds").fill("5")
    control(page, "seconds").press("Enter")
    button = page.locator(".mrl-explorer button.mod-primary").first
    button.click()
    page.wait_for_selector('.mrl-explorer button:has-text("Cancel"):not([disabled])')
    layer, dim = cell(page)
    handle(page, "explorer", "dimension").focus()
    press(page, "ArrowRight", f"layer {layer}, d = {dim + 1}:")
    page.wait_for_selector('.mrl-explorer [role="status"]:text-is("done")', timeout=300_000)
    wait_for_heading(page, "trained here")
    assert button.is_enabled()


def test_cancel(page):
    control(page, "seconds").fill("120")
    control(page, "seconds").press("Enter")
    page.locator(".mrl-explorer button.mod-primary").first.click()
    page.wait_for_selector('.mrl-explorer [role="status"]:has-text("training: step")')
    page.locator('.mrl-explorer button:has-text("Cancel")').click()
    page.wait_for_selector('.mrl-explorer [role="status"]:has-text("canceled: what was trained is kept")')
    assert page.locator('.mrl-explorer [role="alert"]').count() == 0
