"""The explorer as a page without a network and in a JupyterLab: keys, hands, queries, training, access for all."""

from __future__ import annotations

import re

import pytest

from benchmarks.browser import chromium_page, open_and_run, wait_for
from mrl_tutorial import Encoder, GridExplorer
from tests.helpers.browser import barriers, check_look, opened
from tests.helpers.tiny import save_tiny
from tests.panels.test_explorer import task as toy_task

CELL = re.compile(r"Layer (\d+), (\d+) of (\d+) dimensions")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A page of the explorer over a tiny model, and the panel itself."""
    folder = tmp_path_factory.mktemp("explorer")
    encoder = Encoder.load(save_tiny(folder / "model", layers=3))
    panel = GridExplorer(toy_task.__wrapped__(), {"plain": encoder, "other": encoder}, layer=2, dim=16)
    panel.save_page(folder / "page.html")
    return folder / "page.html", panel


@pytest.fixture
def page(made):
    """The page at 1,100 pixels with the network off; a test fails where the page wrote an error."""
    errors = []
    with chromium_page(1100, 900) as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
        page.goto(made[0].as_uri())
        page.context.set_offline(True)
        page.wait_for_selector(".mrl .headline")
        yield page
    assert not errors


def cell(page) -> tuple[int, int]:
    layer, dim, _ = CELL.search(page.locator(".headline").first.text_content()).groups()
    return int(layer), int(dim)


def settle(page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_keys_slide(page):
    page.get_by_role("slider", name="dimension").focus()
    for key, want in (("ArrowRight", 17), ("ArrowLeft", 16), ("Home", 1), ("End", 32)):
        page.keyboard.press(key)
        settle(page)
        assert cell(page) == (2, want)
    page.get_by_role("slider", name="layer").press("ArrowUp")
    settle(page)
    assert cell(page) == (3, 32)


def test_a_click_in_the_grid_and_a_drag_along_the_curve_move_the_sliders(page):
    page.locator(".mrl rect.pick").nth(0).click()  # layer 1, the narrowest column
    settle(page)
    assert cell(page) == (1, 8)
    surface = page.locator(".mrl .surface").first.bounding_box()
    page.mouse.move(surface["x"] + 5, surface["y"] + 40)
    page.mouse.down()
    page.mouse.move(surface["x"] + surface["width"] - 1, surface["y"] + 40, steps=5)
    page.mouse.up()
    settle(page)
    assert cell(page)[1] == 32
    assert page.get_by_role("slider", name="dimension").input_value() == "31"


def test_a_sweep_runs_over_all_dimensions_and_ends(page):
    page.get_by_role("button", name="play: sweep dimension").click()
    page.wait_for_timeout(400)
    assert cell(page)[1] < 16
    page.wait_for_function(
        "() => document.querySelector('.mrl .headline').textContent.includes('32 of 32')", timeout=9000
    )
    page.get_by_role("button", name="play: sweep dimension").wait_for()


def test_the_state_is_in_the_address_and_comes_back(page):
    page.get_by_role("slider", name="dimension").press("Home")
    page.get_by_role("button", name="other").click()
    page.wait_for_function("() => location.hash.includes('dim=1&') && location.hash.includes('model=other')")
    page.reload()
    page.wait_for_selector(".mrl .headline")
    assert cell(page) == (2, 1)
    assert page.get_by_role("button", name="other").get_attribute("aria-pressed") == "true"


def test_compare_keeps_a_cell_beside(page):
    page.get_by_role("button", name="Compare with this cell").click()
    page.get_by_role("slider", name="dimension").press("Home")
    settle(page)
    assert page.locator(".mrl table.documents").count() == 2
    page.get_by_role("button", name="Stop comparing").click()
    settle(page)
    assert page.locator(".mrl table.documents").count() == 1


def test_what_needs_a_kernel_is_not_on_the_page(page):
    assert page.get_by_role("button", name="Train").count() == 0 and page.locator(".mrl .text").count() == 0


@pytest.mark.parametrize("width, scheme", [(900, "light"), (1400, "dark")])
def test_legible_and_open_to_everybody(made, width, scheme):
    with chromium_page(width, 900) as page:
        page.emulate_media(color_scheme=scheme)
        page.goto(made[0].as_uri())
        page.wait_for_selector(".mrl .headline")
        sizes = page.evaluate(
            """() => [...document.querySelectorAll('.mrl text, .mrl td, .mrl th, .mrl p, .mrl button')]
                 .filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))"""
        )
        assert len(sizes) > 60 and min(sizes) >= 14
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        assert barriers(page) == []


def test_one_layer_and_many_models_with_long_names(tmp_path):
    encoder = Encoder.load(save_tiny(tmp_path / "model", layers=1))
    names = [f"model {i} is <b>long</b>, isn't it" for i in range(12)]
    panel = GridExplorer(toy_task.__wrapped__(), dict.fromkeys(names, encoder), examples=1)
    with opened(panel, tmp_path) as page:
        check_look(page)
        assert page.locator(".mrl .legend text").all_text_contents() == names
        assert page.locator(".mrl .surface").first.bounding_box()["height"] > 120


@pytest.fixture(scope="module")
def lab_page(lab):
    """The explorer in a JupyterLab, its cell run."""
    with chromium_page(1400, 1500) as page:
        page.set_default_timeout(180_000)
        open_and_run(page, lab, "tour.ipynb")
        wait_for(page, ".mrl .headline", 15 * 60)
        wait_for(page, '.jp-Notebook-ExecutionIndicator[data-status="idle"]', 15 * 60)
        yield page


def test_in_a_notebook_a_query_is_encoded_and_a_wrong_one_is_a_message(lab_page):
    assert lab_page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    panel = lab_page.locator(".mrl").last
    panel.scroll_into_view_if_needed()
    query = panel.locator("label.text input")
    query.fill("solve a linear system of equations")
    query.press("Enter")
    panel.locator("table.documents tbody tr").first.wait_for()
    panel.locator('b:text-is("solve a linear system of equations")').wait_for()
    query.fill("x" * 3000)
    query.press("Enter")
    alert = panel.locator('[role="alert"]')
    alert.wait_for()
    assert "3,000 characters" in alert.text_content()
    panel.locator("label.menu select").nth(1).select_option(index=1)
    panel.locator("table.documents tbody tr").first.wait_for()


def test_in_a_notebook_it_trains_while_one_slides_and_can_be_canceled(lab_page):
    panel = lab_page.locator(".mrl").last
    seconds = panel.locator("label.number input")
    seconds.fill("5")
    seconds.press("Enter")
    panel.get_by_role("button", name="Train", exact=True).click()
    panel.locator('[role="status"]:has-text("training: step")').wait_for()
    before = cell(panel)
    panel.get_by_role("slider", name="dimension").press("ArrowRight")
    settle(lab_page)
    assert cell(panel) == (before[0], before[1] + 1)
    panel.locator("progress").wait_for(state="detached", timeout=300_000)
    assert panel.get_by_role("button", name="trained here").get_attribute("aria-pressed") == "true"
    seconds.fill("120")
    seconds.press("Enter")
    panel.get_by_role("button", name="Train", exact=True).click()
    panel.locator('[role="status"]:has-text("training: step")').wait_for()
    panel.get_by_role("button", name="Cancel").click()
    panel.locator("progress").wait_for(state="detached", timeout=120_000)
    assert panel.locator('[role="alert"]').count() == 0
