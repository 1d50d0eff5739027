"""The funnel designer on a page without a kernel: keys and clicks move the path; a senseless one is said to be that."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.panels.funnel_designer import FunnelDesigner
from mrl_tutorial.retrieval.paths import Throughput
from mrl_tutorial.tasks.types import RetrievalTask
from tests.helpers.browser import check_look, drawn, headline, opened, slide


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 1200, 64)).astype(np.float32)
    q = (x[:, :40] + 1.5 * rng.normal(size=(3, 40, 64))).astype(np.float32)
    ids = [f"q{i}" for i in range(40)]
    corpus = {f"library.module.Class.d{i}": "" for i in range(1200)}
    qrels = {f"q{i}": {f"library.module.Class.d{i}": 1} for i in range(40)}
    queries = {name: f"a query about {name}" for name in ids}
    task = RetrievalTask("drawn", "", corpus, queries, qrels, {"dev": ids})
    folder = tmp_path_factory.mktemp("funnel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRL_CACHE", str(folder / "cache"))
        clock = Throughput(scan=1e9, gather=1e8, stage=1e-4)
        panel = FunnelDesigner(task, {"drawn": {"queries": q, "documents": x}}, clock=clock)
    with opened(panel, folder) as page:
        yield page


def stages(page) -> str:
    return page.locator("table.stages").inner_text()


def clicked(page, layer: int, place: int) -> None:
    """A real click on a cell of the heat map; place: of the dimension."""
    page.locator("figure svg rect.pick").nth((layer - 1) * 4 + place).click()
    drawn(page)


def test_every_slider_answers_the_keyboard(page):
    assert "1,200 → 100" in stages(page) and "layer 3, 32 dims" in stages(page)
    slide(page, "shortlist K")
    assert "1,200 → 200" in stages(page)
    slide(page, "shortlist dims", "ArrowLeft")
    assert "layer 3, 16 dims" in stages(page)
    slide(page, "stages between")
    assert stages(page).count("→") == 3
    slide(page, "shortlist layer", "ArrowLeft")
    assert "layer 2, 16 dims" in stages(page)
    slide(page, "price it for")
    assert "for 100,000 documents" in page.locator("table.costs").inner_text()
    assert "times fewer multiply-adds" in headline(page)


def test_a_click_on_a_cell_begins_or_ends_the_path_there(page):
    clicked(page, 1, 0)
    assert "layer 1, 8 dims" in stages(page)
    clicked(page, 3, 2)
    assert "layer 3, 32 dims" in stages(page) and "layer 3, 64 dims" not in stages(page)
    clicked(page, 3, 3)
    assert "layer 3, 64 dims" in stages(page) and page.locator("figure svg polyline").count() == 1


def test_a_click_on_a_dot_takes_that_path(page):
    before = stages(page)
    box = page.locator("figure").nth(1).locator("svg").first.bounding_box()
    steps = [(box["x"] + 64 + 12 * i, box["y"] + y) for i in range(20) for y in (30, 60, 90, 120)]
    for x, y in steps:
        page.mouse.click(x, y)
        drawn(page)
        if stages(page) != before:
            break
    assert stages(page) != before and stages(page).count("→") == 2


def test_a_senseless_path_is_said_to_be_one(page):
    for label, key in (("shortlist layer", "End"), ("shortlist dims", "End"), ("rerank dims", "Home")):
        slide(page, label, key)
    assert "adds nothing" in headline(page) and page.locator("table.stages").count() == 0
    slide(page, "rerank dims", "End")
    assert headline(page).startswith("The full search")


def test_the_page_is_legible(page):
    slide(page, "shortlist dims", "Home")
    check_look(page)
