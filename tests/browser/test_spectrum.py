"""The spectrum explorer's page: keys and the mouse slide, the model switch, legible text."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.panels.spectrum_explorer import SpectrumExplorer
from mrl_tutorial.tasks.types import RetrievalTask
from tests.helpers.browser import check_look, drawn, headline, opened, slide


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    documents = (rng.normal(size=(2, 6, 400, 384)) * np.geomspace(1, 0.1, 384)).astype(np.float32)
    queries = (documents[:, :, :20] + 0.5 * rng.normal(size=(2, 6, 20, 384))).astype(np.float32)
    models = {
        name: {"queries": q, "documents": x}
        for name, q, x in zip(("plain", "trained"), queries, documents, strict=True)
    }
    ids = [f"q{i}" for i in range(20)]
    corpus, qrels = {f"d{i:03d}": "" for i in range(400)}, {f"q{i}": {f"d{i:03d}": 1} for i in range(20)}
    task = RetrievalTask("toy", "made up", corpus, dict.fromkeys(ids, "?"), qrels, {"dev": ids})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRL_CACHE", str(tmp_path_factory.mktemp("cache")))
        panel = SpectrumExplorer(task, models)
    with opened(panel, tmp_path_factory.mktemp("spectrum")) as page:
        yield page


def curves(page) -> list[str]:
    return page.eval_on_selector_all(".mrl path.line", "lines => lines.map((e) => e.getAttribute('d'))")


def test_it_fits_and_nothing_is_small(page):
    check_look(page)
    assert page.locator(".mrl figure svg").count() == 3
    tops = {page.locator(".mrl figure").nth(i).bounding_box()["y"] for i in range(3)}
    assert len(tops) == 1  # side by side


def test_keys_slide_over_layers_and_dimensions(page):
    assert headline(page).startswith("Layer 6, 64 of 384")
    before = curves(page)
    slide(page, "layer", "ArrowLeft")
    assert headline(page).startswith("Layer 5, 64 of 384")
    assert len(curves(page)) == len(before) + 1 and curves(page)[1] != before[0]  # the last layer stays, dotted
    slide(page, "dimension")
    assert headline(page).startswith("Layer 5, 96 of 384")


def test_a_drag_in_a_chart_slides(page):
    box = page.locator(".mrl figure svg .surface").nth(2).bounding_box()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 2, box["y"] + 50, steps=5)
    page.mouse.up()
    drawn(page)
    assert "4 of 384 dimensions" in headline(page)
    assert page.get_by_role("slider", name="dimension").get_attribute("aria-valuetext") == "4"


def test_model_switch(page):
    before = curves(page), headline(page)
    page.get_by_role("button", name="trained").click()
    drawn(page)
    assert curves(page) != before[0] and headline(page) != before[1]
