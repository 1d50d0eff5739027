"""What the panels' benchmark times: a press is over when the picture is the one that stays, and not before."""

from __future__ import annotations

import pytest

from mrl_tutorial.bench.browser import open_and_run, wait_for, write_notebook
from mrl_tutorial.bench.panels import PANELS, WATCH, handle, press
from mrl_tutorial.errors import InputError

ENTRY = PANELS["truncation trap"]
PLOT = f".mrl-{ENTRY.name} .js-plotly-plot"
# the picture in the frame in which the watch ends, and how long after the key press that is
LAST = """() => { window.mrlLast = window.mrlSlide.then((taken) => [taken, document.querySelector('PLOT').innerHTML]); }"""


@pytest.fixture(scope="module", autouse=True)
def panel(lab, page):
    write_notebook(lab.folder / "timing.ipynb", ENTRY.cell)
    open_and_run(page, lab, "timing.ipynb")
    wait_for(page, f"{PLOT} .main-svg", 600)
    page.wait_for_timeout(3000)
    handle(page, ENTRY.name, ENTRY.slider).focus()
    return page.locator(f".mrl-{ENTRY.name}")


def picture(page) -> str:
    return page.locator(PLOT).evaluate("(plot) => plot.innerHTML")


def test_the_picture_is_the_one_that_stays(page):
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        before = picture(page)
        page.evaluate(WATCH, [ENTRY.name, False])
        page.evaluate(LAST.replace("PLOT", PLOT))
        page.keyboard.press(key)
        taken, shown = page.evaluate("() => window.mrlLast")
        assert 1 < taken < 5000 and shown != before
        page.wait_for_timeout(700)
        assert picture(page) == shown


def test_a_press_that_changes_nothing_is_an_error(page):
    page.keyboard.press("Home")
    page.wait_for_timeout(1500)
    with pytest.raises(InputError, match="did not change within 5 s of ArrowLeft"):
        press(page, ENTRY, "ArrowLeft")
    assert press(page, ENTRY, "ArrowRight") > 1
