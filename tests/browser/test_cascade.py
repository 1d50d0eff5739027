"""The cascade tuner on a page without a kernel: sliders by keyboard, the paper's rule, another case, a drag."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial import CascadeTuner
from mrl_tutorial.classification import cascade
from tests.helpers.browser import check_look, drawn, headline, opened, slide


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 8, 400)
    z = rng.normal(size=(2, 4, 400, 8))
    z[..., np.arange(400), y] += np.linspace(0.5, 3, 4)[:, None]
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    panel = CascadeTuner(
        {name: cascade.answers(q, y, (8, 16, 32, 64)) for name, q in zip(("first", "second"), p, strict=True)}
    )
    with opened(panel, tmp_path_factory.mktemp("cascade")) as page:
        yield page


def values(page) -> list[str]:
    return page.locator("label.slider output").all_text_contents()


def shares(page) -> list[str]:
    return page.locator("svg text.share").all_text_contents()


def test_arrow_keys_slide(page):
    before = headline(page), shares(page)
    slide(page, "all sizes")
    assert values(page) == ["0.61"] * 4 and before != (headline(page), shares(page))
    slide(page, "stop at 8 from", "End")
    assert values(page) == ["0.61", "1.01", "0.61", "0.61"]
    assert shares(page)[0] == "0 %" and len(shares(page)) == 4  # nobody stops at 8
    slide(page, "all sizes", "Home")
    assert values(page) == ["0.00"] * 4 and shares(page)[0] == "100 %"


def test_the_papers_rule_and_another_case(page):
    mine = values(page), headline(page)
    page.get_by_role("button", name="the paper's rule").press("Enter")
    drawn(page)
    ruled = values(page), headline(page)
    page.get_by_role("button", name="second").press("Enter")
    drawn(page)
    assert mine[0] != ruled[0] and values(page) == ruled[0] and headline(page) != ruled[1]


def test_a_drag_moves_all_thresholds(page):
    box = page.locator("svg .surface").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 100)
    page.mouse.down()
    drawn(page)
    low = values(page)
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 100, steps=4)
    page.mouse.up()
    drawn(page)
    assert len(set(low)) == len(set(values(page))) == 1 and float(low[0]) < float(values(page)[0])


def test_everything_is_legible(page):
    check_look(page)
