"""The prefix map's page, with places that need no UMAP: keys and drags move the points, the pointer marks one."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mrl_tutorial.panels import prefix_map
from mrl_tutorial.panels.prefix_map import PrefixMap, thin
from tests.helpers.browser import check_look, drawn, headline, opened, slide


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    def first_two(prefixes):
        return np.stack([x[:, :2] for x in prefixes])

    rng = np.random.default_rng(0)
    labels = np.arange(300) % 10
    vectors = 2 * rng.normal(size=(10, 32))[labels] + rng.normal(size=(300, 32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_map, "compute_places", first_two)
        patch.setenv("MRL_CACHE", str(tmp_path_factory.mktemp("cache")))
        panel = PrefixMap(
            vectors, [f"label {i}" for i in labels], [f"text {i}" for i in range(300)], (4, 8, 16, 32), most=200
        )
    with opened(panel, tmp_path_factory.mktemp("map")) as page:
        yield page


def points(page) -> list[list[str]]:
    """The places of every label's points, as they are drawn."""
    paths = page.eval_on_selector_all(".mrl .points path", "all => all.map((e) => e.getAttribute('d'))")
    return [re.findall(r"M([-\d.]+,[-\d.]+)m", path) for path in paths]


def test_arrow_keys_move_the_points(page):
    seen = [points(page)]
    for d in (8, 16, 32):
        slide(page, "dimension")
        assert headline(page).startswith(f"{d} of 32 dimensions")
        seen.append(points(page))
    assert all(sum(map(len, p)) == 200 and len(p) == 9 for p in seen) and len({str(p) for p in seen}) == 4
    slide(page, "dimension", "Home")
    assert points(page) == seen[0]


def test_points_glide_after_a_key_but_not_while_it_is_held(page):
    glide = "(e) => getComputedStyle(e).transitionProperty.includes('d')"
    path = page.locator(".mrl .points path").first
    page.get_by_role("slider", name="dimension", exact=True).focus()
    page.keyboard.press("Home")
    assert path.evaluate(glide)
    for held in (False, True, True):
        page.keyboard.down("ArrowRight")
        assert path.evaluate(glide) is not held
    page.keyboard.up("ArrowRight")
    assert path.evaluate(glide)


def test_the_curve_can_be_dragged(page):
    box = page.locator(".mrl .surface").bounding_box()
    page.mouse.move(box["x"] + 3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + 40, steps=6)
    page.mouse.up()
    drawn(page)
    assert headline(page).startswith("32 of 32 dimensions")


def test_the_pointer_marks_a_point_and_a_click_beside_it_clears(page):
    box = page.locator(".mrl .map").bounding_box()
    x, y = map(float, points(page)[3][5].split(","))
    page.mouse.move(box["x"] - 1 + x, box["y"] - 1 + y)
    drawn(page)
    ring = page.locator(".mrl .marked circle.here")
    assert float(ring.get_attribute("cx")) == pytest.approx(x, abs=10)
    assert re.match(r"label \d\s*text \d+\s*nearest: ", page.locator(".mrl .tip").inner_text())
    words = page.locator(".mrl .tip").inner_text()
    slide(page, "dimension", "ArrowLeft")  # it stays marked
    assert page.locator(".mrl .tip").inner_text().split("nearest")[0] == words.split("nearest")[0]
    page.mouse.click(box["x"] + 3, box["y"] + 3)
    drawn(page)
    assert page.locator(".mrl .tip").count() == 0


def test_a_point_is_marked_by_keys_too_and_what_it_is_is_said(page):
    chosen = page.get_by_role("slider", name="marked point")
    assert chosen.get_attribute("aria-valuetext") == "none"
    for number in ("0", "1"):
        slide(page, "marked point")
        assert chosen.get_attribute("aria-valuetext") == number
        said = page.locator('.mrl [aria-live="polite"] .tip')
        row = thin(np.arange(300) % 10, 200)[int(number)]
        assert re.match(rf"label {row % 10}\s*text {row}\s*nearest: ", said.inner_text())
        assert page.locator(".mrl .marked circle.here").count() == 1
    slide(page, "marked point", "Home")
    assert said.count() == 0 and chosen.get_attribute("aria-valuetext") == "none"


def test_it_fits_nothing_is_small_and_thinning_is_said(page):
    check_look(page)
    text = page.locator(".mrl").inner_text()
    assert "2 other labels" in text and "200 of 300 points" in text
