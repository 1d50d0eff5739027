"""The size calculator in a real JupyterLab: presets, sliders by keyboard, a message for sizes that contradict."""

from __future__ import annotations

import re

import pytest

from benchmarks.browser import handle, open_and_run, wait_for, write_notebook

NAME = "size-calculator"


@pytest.fixture(scope="module", autouse=True)
def panel(lab, page):
    write_notebook(lab.folder / "size.ipynb", "from mrl_tutorial import SizeCalculator\nSizeCalculator()")
    open_and_run(page, lab, "size.ipynb")
    wait_for(page, f".mrl-{NAME} .js-plotly-plot .main-svg", 600)
    page.wait_for_timeout(2000)
    return page.locator(f".mrl-{NAME}")


def numbers(page) -> list[str]:
    return page.locator(f".mrl-{NAME} .bartext").all_text_contents()


def wait_for_number(page, words: str) -> None:
    found = f"[...document.querySelectorAll('.mrl-{NAME} .bartext')].some((t) => t.textContent === s)"
    page.wait_for_function(f"(s) => {found}", arg=words)


def test_both_known_sizes_are_a_click_away(page, panel):
    assert "30.72 GB" in numbers(page)
    panel.locator('button:has-text("10 M × 1,024, float32")').press("Enter")
    wait_for_number(page, "40.96 GB")
    assert "workstation (64\xa0GB)" in panel.text_content()
    panel.locator('button:has-text("10 M × 768, float32")').press("Enter")
    wait_for_number(page, "30.72 GB")


def test_arrow_keys_slide(page, panel):
    handle(page, NAME, "kept dimension d").focus()
    page.keyboard.press("ArrowLeft")  # 512
    wait_for_number(page, "20.48 GB")
    handle(page, NAME, "vectors").focus()
    page.keyboard.press("ArrowLeft")  # 9 M
    wait_for_number(page, "18.43 GB")
    page.keyboard.press("ArrowRight")
    handle(page, NAME, "graph links M").focus()
    page.keyboard.press("ArrowRight")  # M = 8
    wait_for_number(page, "21.17 GB")
    assert "20.48 GB" not in numbers(page)  # the graph's bytes are on top
    page.keyboard.press("ArrowLeft")
    wait_for_number(page, "20.48 GB")
    assert "21.17 GB" not in numbers(page)


def test_types_are_buttons(page, panel):
    panel.locator('button:text-is("int8")').press("Enter")
    page.wait_for_function(f"() => document.querySelector('.mrl-{NAME} td').textContent.startsWith('5.12 GB')")
    panel.locator('button:text-is("float32")').press("Enter")
    page.wait_for_function(f"() => document.querySelector('.mrl-{NAME} td').textContent.startsWith('20.48 GB')")
    assert panel.locator("td").first.text_content().startswith("20.48 GB")


def test_a_contradiction_is_a_message_and_goes_away(page, panel):
    handle(page, NAME, "full width D").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")  # 256 < 512
    alert = panel.locator('[role="alert"]')
    alert.wait_for()
    assert re.search(r"cannot keep 512 of \d+ dimensions", alert.text_content())
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    alert.wait_for(state="detached")


def test_nothing_is_small_and_the_figure_fits(page, panel):
    sizes = page.evaluate(
        f"""() => [...document.querySelectorAll('.mrl-{NAME} text, .mrl-{NAME} td, .mrl-{NAME} .widget-label')]
                 .filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert len(sizes) > 20 and min(sizes) >= 14
    inside, figure = panel.bounding_box(), panel.locator(".main-svg").first.bounding_box()
    assert 0.9 * inside["width"] < figure["width"] <= inside["width"] + 1
