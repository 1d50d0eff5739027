"""The same panel in Notebook 7: it draws, slides without a word to the kernel, and Python reads where it was left."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks.browser import chromium_page, lab_server, open_notebook, run_cell, write_notebook
from benchmarks.panels import COUNT
from tools.chromium import REMEDY, find_chromium

CELL = """
from mrl_tutorial import SizeCalculator
panel = SizeCalculator(dim=64)
panel
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip(REMEDY)
    if importlib.util.find_spec("notebook") is None:
        pytest.skip('Notebook 7 is not installed: pip install "mrl-tutorial[browser]"')
    folder = tmp_path_factory.mktemp("notebook7")
    write_notebook(folder / "panel.ipynb", CELL, "print('links is', panel.state['links'])")
    with lab_server(folder, app="notebook") as server, chromium_page(1200, 1200) as page:
        page.set_default_timeout(180_000)
        page.add_init_script(COUNT)
        open_notebook(page, server, "panel.ipynb")
        run_cell(page, 0)
        page.wait_for_selector(".mrl .headline")
        page.wait_for_timeout(1500)
        yield page


def test_a_slide_says_nothing_to_the_kernel_until_it_has_ended(page):
    slider = page.get_by_role("slider", name="graph links M")
    before, words = page.evaluate("() => window.mrlSent"), page.locator(".mrl").inner_text()
    slider.press("End")
    page.wait_for_timeout(100)
    assert page.locator(".mrl").inner_text() != words
    assert page.evaluate("() => window.mrlSent") == before
    page.wait_for_function("(n) => window.mrlSent > n", arg=before)
    run_cell(page, 1)
    page.locator('.jp-OutputArea-output:has-text("links is 64")').wait_for()
