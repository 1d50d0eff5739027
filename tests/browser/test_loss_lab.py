"""The loss lab's page: cells are painted by mouse and by keys, a stroke is undone whole, presets bring their grids."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.loss_lab import LossLab
from mrl_tutorial.tasks.types import PairsTask
from mrl_tutorial.training.lab import LabStore
from tests.helpers.browser import check_look, drawn, headline, opened
from tests.helpers.tiny import WORDS, save_tiny


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    rng = np.random.default_rng(0)
    made = [" ".join(rng.choice(WORDS, 5)) for _ in range(60)]
    pairs = [(text, " ".join(text.split()[::-1][:4])) for text in made]
    task = PairsTask("toy", "made up", {"train": pairs[:30], "dev": pairs[30:], "test": pairs[:3]})
    encoder = Encoder.load(str(save_tiny(folder / "bert")), device="cpu")
    panel = LossLab(task, encoder, store=LabStore(folder / "runs"), preset="full-size", steps=3)
    panel.train("second", preset="mrl")
    panel.train("first", preset="full-size")
    with opened(panel, folder, 1400) as page:
        yield page


def weights(page) -> list[str]:
    """The painted grid as it is written, from layer 1 up."""
    return page.locator(".mrl figure").first.locator("text.cell").all_text_contents()


def middle(page, layer: int, column: int) -> tuple[float, float]:
    """Where a cell of the painted grid (3 layers x 3 dimensions) is on the page."""
    box = page.locator("rect.paint").bounding_box()
    return box["x"] + (column + 0.5) * box["width"] / 3, box["y"] + (3 - layer + 0.5) * box["height"] / 3


def test_it_is_drawn_for_everybody_at_900_and_1400_px(page):
    for width in (900, 1400):
        page.set_viewport_size({"width": width, "height": 1600})
        page.wait_for_function("w => document.querySelector('.mrl').clientWidth === w", arg=width)
        drawn(page)
        check_look(page)
    assert headline(page).startswith("first: nDCG@10 0.") and "against whitened start" in headline(page)


def test_a_drag_paints_a_row_and_is_undone_whole(page):
    before = weights(page)
    assert before == [""] * 8 + ["1"]
    page.mouse.move(*middle(page, 1, 0))
    page.mouse.down()
    page.mouse.move(*middle(page, 1, 2))  # a fast hand: no event in the middle cell
    page.mouse.up()
    drawn(page)
    assert weights(page) == ["1", "1", "1", *before[3:]]
    page.get_by_role("button", name="Undo").click()
    drawn(page)
    assert weights(page) == before


def test_a_click_on_a_number_paints_its_row_or_column_with_the_brush(page):
    page.get_by_role("button", name="3", exact=True).click()
    page.locator("rect.row").nth(1).click()
    drawn(page)
    assert weights(page)[3:6] == ["3", "3", "3"]
    page.get_by_role("button", name="erase").click()
    page.locator("rect.column").nth(2).click()
    drawn(page)
    assert weights(page) == ["", "", "", "3", "3", "", "", "", ""]
    for _ in range(2):
        page.get_by_role("button", name="Undo").click()
        drawn(page)
    assert weights(page) == [""] * 8 + ["1"]


def test_keys_paint_too(page):
    page.get_by_role("button", name="0.3", exact=True).click()
    page.get_by_role("application").focus()
    for key in ("ArrowDown", "ArrowLeft", "Space", "z", "r"):
        before = weights(page)
        page.keyboard.press(key)
        drawn(page)
        assert (weights(page) != before) == (key in ("Space", "z", "r"))
    layer = [i // 3 for i, words in enumerate(weights(page)) if words == "0.3"]
    assert len(layer) == 3 and len(set(layer)) == 1
    page.keyboard.press("z")
    drawn(page)
    assert weights(page) == [""] * 8 + ["1"]


def test_presets_and_terms_change_the_grid(page):
    page.get_by_label("start from").select_option(label="all-cells")
    drawn(page)
    assert weights(page) == ["1"] * 9
    page.get_by_label("layer weights").select_option(label="linear")
    drawn(page)
    assert weights(page)[0] == "0.33" and weights(page)[-1] == "1"
    page.get_by_label("term kl-scores").check()
    drawn(page)
    assert page.locator("figcaption").first.inner_text() == "1. Paint: the loss weights of “kl-scores”"
    assert weights(page)[-1] == "" and page.get_by_text("teacher").count() == 1
    page.get_by_role("button", name="Undo").click()
    drawn(page)
    assert not page.get_by_label("term kl-scores").is_checked()


def test_a_run_that_is_chosen_on_the_leaderboard_shows_the_weights_it_was_trained_with(page):
    page.get_by_label("start from").select_option(label="all-cells")
    page.get_by_role("button", name="main", exact=True).click()
    drawn(page)
    page.locator(".board").get_by_role("button", name="second").click()
    drawn(page)
    assert headline(page).startswith("second: nDCG@10")
    assert weights(page) == [""] * 6 + ["1"] * 3
    page.locator(".board").get_by_role("button", name="whitened start").click()  # no recipe: the painting stays
    drawn(page)
    assert weights(page) == [""] * 6 + ["1"] * 3
    page.get_by_role("button", name="Undo").click()
    drawn(page)
    assert weights(page) == ["1"] * 9


def test_a_drag_that_began_beside_the_grid_paints_nothing(page):
    page.get_by_label("start from").select_option(label="full-size")
    drawn(page)
    page.mouse.click(*middle(page, 1, 0))
    drawn(page)
    page.get_by_label("start from").select_option(label="mrl")
    drawn(page)
    page.mouse.move(page.locator("rect.paint").bounding_box()["x"] - 20, middle(page, 2, 0)[1])
    page.mouse.down()
    page.mouse.move(*middle(page, 2, 2), steps=4)
    page.mouse.up()
    drawn(page)
    assert weights(page) == [""] * 6 + ["1"] * 3


def test_keys_with_a_modifier_are_the_browsers_and_a_cell_is_said(page):
    before = weights(page)
    page.get_by_role("application").focus()
    for key in ("Control+c", "Control+z", "Alt+r"):
        page.keyboard.press(key)
        drawn(page)
    assert weights(page) == before
    said = page.locator("[role=application] + [aria-live]")
    for key in ("ArrowUp", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        drawn(page)
    assert said.inner_text() == "Layer 3, 16 dimensions: weight 1."


def test_a_run_on_the_leaderboard_keeps_the_focus(page):
    run = page.locator(".board").get_by_role("button", name="second")
    run.click()
    drawn(page)
    assert run.get_attribute("aria-pressed") == "true" and run.evaluate("it => it === document.activeElement")
