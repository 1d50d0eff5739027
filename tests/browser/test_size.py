"""The size calculator on a page without a kernel: presets, sliders by keyboard, types, a price, impossible states."""

from __future__ import annotations

import pytest

from mrl_tutorial import SizeCalculator
from tests.helpers.browser import check_look, drawn, headline, opened, slide


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with opened(SizeCalculator(), tmp_path_factory.mktemp("size")) as page:
        yield page


def press(page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).press("Enter")
    drawn(page)


def numbers(page) -> list[str]:
    return page.locator("svg text.amount").all_text_contents()


def test_both_known_sizes_are_a_click_away(page):
    assert "30.72 GB" in numbers(page)
    press(page, "10 M × 1,024, float32")
    assert "40.96 GB" in numbers(page)
    assert "a workstation (64\xa0GB) is enough" in page.locator(".headline").text_content()
    press(page, "10 M × 768, float32")
    assert "30.72 GB" in headline(page)


def test_arrow_keys_slide(page):
    slide(page, "kept dimension d", "ArrowLeft")
    assert "512 of 768 dimensions" in headline(page) and "20.48 GB" in numbers(page)
    slide(page, "vectors", "ArrowLeft")
    assert headline(page).startswith("9 M vectors") and "18.43 GB" in numbers(page)
    slide(page, "vectors")
    slide(page, "graph links M")
    assert "21.17 GB" in numbers(page) and "20.48 GB" not in numbers(page)  # the graph's bytes are on top
    slide(page, "graph links M", "ArrowLeft")


def test_a_type_is_a_button_or_a_click_in_the_chart(page):
    press(page, "int8")
    assert "in int8: 5.12 GB" in headline(page)
    page.locator("svg rect.pick").nth(0).click(position={"x": 300, "y": 5})
    drawn(page)
    assert "in float32: 20.48 GB" in headline(page)


def test_no_more_is_kept_than_there_is(page):
    for _ in range(3):
        slide(page, "full width D", "ArrowLeft")
    assert "all 256 dimensions" in headline(page)
    slide(page, "kept dimension d", "End")
    assert "all 256 dimensions" in headline(page)
    assert page.get_by_role("slider", name="kept dimension d").get_attribute("aria-valuetext") == "256"


def test_a_price_is_multiplied(page):
    field = page.get_by_label("price, GB-month")
    field.fill("2")
    field.press("Enter")
    drawn(page)
    assert "20.48" in page.locator("table.wrap td").last.inner_text()
    field.fill("")
    field.press("Enter")
    drawn(page)
    assert page.locator("table.wrap td").last.inner_text() == "fill in a price"


@pytest.mark.parametrize("n, width, links", [(10**4, 8, 0), (10**4, 4096, 64), (10**9, 8, 64), (10**9, 4096, 64)])
def test_every_bar_and_its_words_have_room(page, n, width, links):
    state = f"n={n}&width={width}&dim=8&links={links}&dtype=binary"
    page.evaluate("(hash) => { location.hash = hash; location.reload(); }", state)
    start = "10,000" if n == 10**4 else "1,000 M"
    words = f"{start} vectors, {'all 8' if width == 8 else f'8 of {width:,}'} dimensions"
    page.wait_for_function("(w) => document.querySelector('.headline').textContent.startsWith(w)", arg=words)
    beyond = """() => [...document.querySelectorAll('svg text, svg rect')].filter((e) => {
      const [box, room] = [e.getBoundingClientRect(), e.closest('svg').getBoundingClientRect()];
      return box.left < room.left - 0.5 || box.right > room.right + 0.5;
    }).map((e) => e.outerHTML)"""
    assert len(numbers(page)) == 11 and page.evaluate(beyond) == []


def test_everything_is_legible(page):
    check_look(page)
    press(page, "1,000 M × 1,024 cut to 128, int8")
    check_look(page)
