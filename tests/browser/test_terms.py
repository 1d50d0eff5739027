"""The panel of loss terms in a real JupyterLab: keys slide, the picture and the table follow."""

from __future__ import annotations

import pytest

from benchmarks.browser import chromium_page, handle, lab_server, open_and_run, wait_for, write_notebook
from tools.chromium import REMEDY, find_chromium

CELL = """
import torch
from mrl_tutorial import Batch, TermExplorer
from mrl_tutorial.recipes.anatomy import dissect
draw = torch.Generator().manual_seed(0)
TermExplorer(dissect(Batch(torch.randn(6, 8, 384, generator=draw), torch.randn(6, 8, 384, generator=draw))))
"""
PANEL = ".mrl-term-explorer"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip(REMEDY)
    folder = tmp_path_factory.mktemp("terms")
    write_notebook(folder / "terms.ipynb", CELL)
    with lab_server(folder) as lab, chromium_page() as page:
        page.set_default_timeout(20_000)
        open_and_run(page, lab, "terms.ipynb")
        wait_for(page, f"{PANEL} .js-plotly-plot .main-svg", 300)
        page.wait_for_selector(f"{PANEL} .scatterlayer text", timeout=120_000)
        page.wait_for_timeout(2000)
        yield page


def numbers(page) -> list[str]:
    return page.locator(f"{PANEL} .scatterlayer text").all_text_contents()


def slider(page, label: str):
    row = page.locator(f"{PANEL} .jupyter-widgets", has=page.locator(f'> .widget-label:text-is("{label}")')).last
    return row.locator(".noUi-handle, input, select").first


def test_it_shows_three_heat_maps(page):
    assert page.locator(f"{PANEL} .heatmaplayer image").count() == 3 and len(numbers(page)) > 60


def test_it_fits_and_nothing_is_small(page):
    box = page.locator(PANEL).bounding_box()
    figure = page.locator(f"{PANEL} .js-plotly-plot .main-svg").first.bounding_box()
    assert 0.9 * box["width"] < figure["width"] <= box["width"] + 1
    sizes = page.evaluate(
        f"""() => [...document.querySelectorAll('{PANEL} text, {PANEL} td, {PANEL} th')]
                 .filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert len(sizes) > 60 and min(sizes) >= 14


def test_a_key_on_a_term_changes_the_numbers(page):
    before = numbers(page)
    handle(page, "term-explorer", "contrastive").focus()
    page.keyboard.press("ArrowLeft")  # the term with the largest numbers: a soft one may change no printed digit
    page.wait_for_function(
        f"(before) => [...document.querySelectorAll('{PANEL} .scatterlayer text')]"
        ".map((t) => t.textContent).join() !== before",
        arg=",".join(before),
    )
    assert numbers(page) != before


def test_a_key_on_the_layer_moves_frame_and_table(page):
    handle(page, "term-explorer", "layer").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f'{PANEL} .widget-html:has-text("layer 4, 256 dimensions")')
    assert page.locator(f'{PANEL} .widget-html:has-text("layer 3, 256 dimensions")').count() == 0


def test_another_recipe_sets_its_terms(page):
    slider(page, "recipe").select_option(label="starbucks")
    page.wait_for_function(
        f"() => [...document.querySelectorAll('{PANEL} .widget-readout')]"
        ".filter((e) => e.textContent === '× 1').length === 2"
    )
    assert page.locator(f'{PANEL} [role="alert"]').count() == 0
