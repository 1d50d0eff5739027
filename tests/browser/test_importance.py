"""The importance weights on a page without a kernel: keys, buttons and drags change what is shown; nothing is small."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.browser import chromium_page
from mrl_tutorial.classification.labeled_vectors import scaled
from mrl_tutorial.classification.small_networks import NetworkConfig
from mrl_tutorial.panels.importance_weights import ImportanceWeights
from tools.chromium import REMEDY, find_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip(REMEDY)
    chance = np.random.default_rng(0)
    labels = np.arange(200) % 4
    x = (chance.normal(size=(4, 6))[labels] + 0.9 * chance.normal(size=(200, 6))).astype(np.float32)
    half, rest = np.arange(100), np.arange(100, 200)
    data = scaled("made-up points", x, labels, [(rest, half), (half, rest)])
    panel = ImportanceWeights(data, NetworkConfig(dims=(2, 4, 8), width=8, hidden=12, epochs=5, batch=16))
    panel.train(c2=4.0)
    panel.set(c2=1.0)
    path = tmp_path_factory.mktemp("importance") / "panel.html"
    panel.save_page(path)
    with chromium_page(width=900) as page:
        page.context.set_offline(True)
        page.wrong = []
        page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector(".mrl svg")
        yield page
        assert page.wrong == []


def headline(page) -> str:
    return page.locator(".headline").text_content()


def wait_for_headline(page, start: str) -> None:
    page.wait_for_function("(s) => document.querySelector('.headline').textContent.startsWith(s)", arg=start)


def test_keys_move_a_weight_and_what_was_trained_is_shown(page):
    wait_for_headline(page, "All weights 1: accuracy")
    page.get_by_label("weight c2").focus()
    page.keyboard.press("ArrowRight")
    wait_for_headline(page, "Weights 2, 1, 1: not trained yet")
    assert page.locator("svg g[opacity='0.3']").count() == 1
    page.keyboard.press("ArrowRight")
    wait_for_headline(page, "Size ")
    assert page.locator("svg g[opacity='0.3']").count() == 0 and "against equal weights" in headline(page)


def test_buttons_set_all_weights(page):
    page.get_by_role("button", name="All 1").click()
    wait_for_headline(page, "All weights 1: accuracy")
    page.get_by_role("button", name="Boost size 2").click()
    wait_for_headline(page, "Size ")
    assert page.locator("label.slider output").all_text_contents() == ["4", "1", "1"]


def test_a_weight_is_dragged_in_the_chart_down_to_zero(page):
    page.get_by_role("button", name="All 1").click()
    box = page.locator("svg .surface").first.bounding_box()
    x = box["x"] + box["width"] * 0.5  # the second of three
    page.mouse.move(x, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(x, box["y"] + 4, steps=5)
    page.wait_for_function("() => document.querySelectorAll('label.slider output')[1].textContent === '16'")
    page.mouse.move(x, box["y"] + box["height"] + 30, steps=5)
    page.mouse.up()
    wait_for_headline(page, "Weights 1, 0, 1: not trained yet")


def test_nothing_is_small_and_nothing_sticks_out(page):
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('.mrl :is(text, p, span, output, button, figcaption)')]
                 .filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert len(sizes) > 30 and min(sizes) >= 14
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(
        "() => document.querySelector('.mrl').scrollWidth <= document.querySelector('.mrl').clientWidth"
    )
