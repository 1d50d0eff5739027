"""The web site in Chromium, opened from its folder with the network off: panels, themes, search, menu, access."""

from __future__ import annotations

import pytest

from benchmarks.browser import chromium_page
from tests.helpers import site as small
from tests.helpers.browser import barriers
from tools.chromium import REMEDY, find_chromium

PANEL = "figure.panel iframe"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return small.made_site(tmp_path_factory.mktemp("course"))


@pytest.fixture
def page(site):
    if find_chromium() is None:
        pytest.skip(REMEDY)
    with chromium_page(width=1400, height=1000) as page:
        errors, asked = [], []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.context.set_offline(True)
        page.set_default_timeout(10_000)
        page.goto((site / "00_first.html").as_uri())
        yield page
        assert errors == [] and all(url.startswith(("file:", "data:")) for url in asked)


def test_a_panel_answers_and_its_frame_is_as_high_as_it_is(page):
    page.locator(PANEL).scroll_into_view_if_needed()
    panel = page.frame_locator(PANEL)
    before = panel.locator(".headline").inner_text()
    panel.get_by_role("slider").first.press("ArrowLeft")
    page.wait_for_function(
        "([frame, words]) => document.querySelector(frame).style.height && words", arg=[PANEL, before]
    )
    panel.locator(".headline", has_not_text=before).wait_for()
    inside = panel.locator("body").evaluate("(body) => body.getBoundingClientRect().height")
    assert 0 <= page.locator(PANEL).evaluate("(frame) => frame.clientHeight") - inside <= 4


def test_the_chosen_theme_reaches_the_panels_and_the_next_page(page):
    page.locator(PANEL).scroll_into_view_if_needed()
    root = page.frame_locator(PANEL).locator("html")
    page.frame_locator(PANEL).locator('html[data-theme="light"]').wait_for()
    page.click("#theme")
    page.frame_locator(PANEL).locator('html[data-theme="dark"]').wait_for()
    paper = "(e) => getComputedStyle(e).backgroundColor"
    assert root.locator(".mrl").evaluate(paper) == page.locator("body").evaluate(paper) == "rgb(27, 27, 27)"
    page.click('a[rel="next"]')
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_search_by_keyboard(page):
    page.keyboard.press("/")
    page.keyboard.type("QUINCE only")
    hit = page.locator("#hits a")
    assert hit.count() == 1 and "Marmalade" in hit.inner_text() and hit.locator("mark").count() == 2
    page.keyboard.press("Enter")
    page.wait_for_url("**/00_first.html#marmalade")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("nowhere")
    assert "Nothing found" in page.locator("#hits").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#hits").is_hidden() and page.locator("#search").input_value() == ""


def test_a_narrow_page_has_a_menu_and_fits(page):
    page.set_viewport_size({"width": 900, "height": 1000})
    assert page.locator("#lessons").is_hidden()
    page.click("#menu")
    page.click("#lessons >> text=A second look")
    page.wait_for_url("**/01_second.html")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_place_in_folded_code_is_opened(page, site):
    page.goto((site / "01_second.html").as_uri() + "#claim-M1")
    assert page.locator("#claim-M1").evaluate("(e) => e.getBoundingClientRect().top < 300")
    page.locator("summary", has_text="40 lines").click()
    page.locator(".highlight", has_text="x39").hover()
    page.locator("button.copy:visible").last.click()
    page.get_by_text("Copied").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_kept_out(site, theme):
    if find_chromium() is None:
        pytest.skip(REMEDY)
    with chromium_page(width=900) as page:  # one of its own: axe-core reads styles, which a folder refuses, aloud
        page.emulate_media(color_scheme=theme)
        for name in ("index", "00_first", "01_second", "ledger"):
            page.goto((site / f"{name}.html").as_uri())
            assert barriers(page) == [], name
