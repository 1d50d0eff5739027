"""The page of loss terms: keys and clicks change the heat maps and the table, a recipe sets its strengths."""

from __future__ import annotations

import pytest
import torch

from mrl_tutorial.losses import Batch
from mrl_tutorial.panels.term_explorer import TermExplorer
from mrl_tutorial.recipes.anatomy import dissect
from tests.helpers.browser import check_look, drawn, headline, opened, slide


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    draw = torch.Generator().manual_seed(0)
    anatomy = dissect(Batch(torch.randn(6, 8, 384, generator=draw), torch.randn(6, 8, 384, generator=draw)))
    with opened(TermExplorer(anatomy), tmp_path_factory.mktemp("terms"), 1000) as page:
        yield page


def numbers(page) -> list[str]:
    return page.locator(".mrl text.cell").all_text_contents()


def test_three_heat_maps_side_by_side_at_1000_px_and_one_below_the_other_at_900(page):
    for width, rows in ((900, 3), (1000, 1)):
        page.set_viewport_size({"width": width, "height": 1200})
        page.wait_for_function("w => document.querySelector('.mrl').clientWidth === w", arg=width)
        drawn(page)
        check_look(page)
        assert len(numbers(page)) == 3 * 42
        assert len({page.locator(".mrl figure").nth(i).bounding_box()["y"] for i in range(3)}) == rows


def test_a_key_on_a_term_changes_the_numbers(page):
    before = numbers(page)
    slide(page, "contrastive", "ArrowLeft")
    assert numbers(page) != before and headline(page).startswith("2dmse-v1, changed: ")
    slide(page, "contrastive")
    assert numbers(page) == before and headline(page).startswith("2dmse-v1: ")


def test_a_key_and_a_click_move_the_frame_and_the_table(page):
    slide(page, "layer")
    assert page.get_by_text("layer 4, 256 dimensions").count() == 1
    page.locator(".mrl figure").nth(2).locator("rect.pick").first.click()  # layer 1, 8 coordinates
    drawn(page)
    assert page.get_by_text("layer 1, 8 dimensions").count() == 1
    assert page.locator(".mrl rect.frame").count() == 3


def test_another_recipe_sets_its_terms(page):
    slide(page, "align", "End")
    page.locator(".mrl select").first.select_option(label="starbucks")
    drawn(page)
    strengths = page.locator(".mrl .slider output").all_text_contents()[:5]
    assert strengths == ["× 1", "× 0", "× 0", "× 1", "× 0"] and headline(page).startswith("starbucks: ")
