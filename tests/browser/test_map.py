"""The prefix map in a real JupyterLab, with places that need no UMAP: sizes by keyboard, points that move."""

from __future__ import annotations

import pytest

from benchmarks.browser import handle, open_and_run, wait_for, write_notebook

NAME = "prefix-map"
CELL = """
import numpy as np
from mrl_tutorial import PrefixMap
from mrl_tutorial.panels import prefix_map_layout

def first_two(prefixes, seed, path, progress):
    np.savez(path, places=np.stack([x[:, :2] for x in prefixes]))

prefix_map_layout.compute_places = first_two
rng = np.random.default_rng(0)
labels = np.arange(300) % 10
vectors = 2 * rng.normal(size=(10, 32))[labels] + rng.normal(size=(300, 32))
PrefixMap(vectors, labels, [f"text {i}" for i in range(300)], (4, 8, 16, 32), most=200)
"""


@pytest.fixture(scope="module", autouse=True)
def panel(lab, page):
    write_notebook(lab.folder / "map.ipynb", CELL)
    open_and_run(page, lab, "map.ipynb")
    wait_for(page, f".mrl-{NAME} .js-plotly-plot .main-svg", 600)
    page.wait_for_timeout(2000)
    return page.locator(f".mrl-{NAME}")


def points(page) -> list[str]:
    read = "(p) => p.getAttribute('transform')"
    return page.evaluate(f"[...document.querySelectorAll('.mrl-{NAME} .xy .scatterlayer path.point')].map({read})")


def wait_for_heading(page, words: str) -> None:
    found = f"[...document.querySelectorAll('.mrl-{NAME} .annotation-text')].some((t) => t.textContent.startsWith(s))"
    page.wait_for_function(f"(s) => {found}", arg=words)


def test_arrow_keys_move_the_points(page, panel):
    seen = [points(page)]
    handle(page, NAME, "dimension d").focus()
    for d in (8, 16, 32):
        page.keyboard.press("ArrowRight")
        wait_for_heading(page, f"d = {d}:")
        page.wait_for_timeout(500)
        seen.append(points(page))
    assert all(len(p) == 200 for p in seen) and len({tuple(p) for p in seen}) == 4
    page.keyboard.press("Home")
    wait_for_heading(page, "d = 4:")
    page.wait_for_timeout(500)
    assert points(page) == seen[0]


def test_the_legend_names_eight_labels_and_the_rest(panel):
    names = panel.locator(".legendtext").all_text_contents()
    assert names[0] == "2 other labels" and len(names) == 9


def test_thinning_is_said(panel):
    assert "200 of 300 points" in panel.text_content()


def test_nothing_is_small_and_the_figure_fits(page, panel):
    sizes = page.evaluate(
        f"""() => [...document.querySelectorAll('.mrl-{NAME} text, .mrl-{NAME} .widget-label')]
                 .filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert len(sizes) > 15 and min(sizes) >= 14
    inside, figure = panel.bounding_box(), panel.locator(".main-svg").first.bounding_box()
    assert 0.9 * inside["width"] < figure["width"] <= inside["width"] + 1
