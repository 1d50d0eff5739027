"""The truncation trap on a page without a kernel: slider, buttons, query and a drag along the curves."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mrl_tutorial import TruncationTrap
from tests.helpers.browser import check_look, drawn, headline, opened, slide


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(200, 32)) * rng.gamma(2, 1, (200, 1))
    queries = documents[:30] + rng.normal(size=(30, 32))
    texts = [f"<i>page</i> {i}" for i in range(200)]
    questions = [f"query {i}" for i in range(30)]
    panel = TruncationTrap(queries, documents, [{i} for i in range(30)], questions, texts, dim=8)
    with opened(panel, tmp_path_factory.mktemp("trap")) as page:
        yield page


def bars(page) -> str:
    return page.locator("svg path[fill]").last.get_attribute("d")


def test_arrow_keys_move_curves_and_lengths(page):
    before = bars(page)
    slide(page, "dimension")
    assert "at 9 dimensions" in headline(page) and bars(page) != before
    slide(page, "dimension", "ArrowLeft")
    assert "at 8 dimensions" in headline(page) and bars(page) == before
    slide(page, "dimension", "End")
    assert "every unit vector has length 1" in page.locator(".mrl").inner_text()
    slide(page, "dimension", "Home")
    assert "at 1 dimension:" in headline(page)


def test_a_drag_along_the_curves_cuts(page):
    box = page.locator("svg .surface").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 80, steps=4)  # 32 ** 0.8 is 16
    page.mouse.up()
    drawn(page)
    assert "at 16 dimensions" in headline(page)


def test_ways_and_measures_are_buttons(page):
    page.get_by_role("button", name="no normalizing").click()
    drawn(page)
    assert headline(page).startswith("“no normalizing”") and "against “cut, then normalize”" in headline(page)
    assert page.locator("th mark").inner_text() == "no normalizing"
    page.get_by_role("button", name="recall@10").press("Enter")
    drawn(page)
    assert re.search(r"recall@10 \d\.\d{3}, ", headline(page))


def test_documents_of_another_query(page):
    table = page.locator("table.documents")
    before = table.inner_text()
    page.get_by_label("query").select_option(index=3)
    drawn(page)
    assert table.inner_text() != before
    assert table.locator("tr").count() == 6 and "<i>page</i>" in table.inner_text()


def test_everything_is_legible(page):
    check_look(page)
