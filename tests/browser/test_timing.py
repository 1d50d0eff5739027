"""What the panels' benchmark times: a press is over when the picture is the one that stays, and not before."""

from __future__ import annotations

import pytest

from benchmarks.browser import handle, open_and_run, wait_for, write_notebook
from benchmarks.panels import PANELS, WATCH, press
from mrl_tutorial.errors import InputError

ENTRY = PANELS["truncation trap"]
PLOT = f".mrl-{ENTRY.name} .js-plotly-plot"
# milliseconds from the key press to the last change of the picture, seen by an observer of all that changes in it
CHANGES = """() => {
  window.mrlChanged = null;
  let pressed = null;
  const note = () => { if (pressed !== null) window.mrlChanged = performance.now() - pressed; };
  document.addEventListener('keydown', () => { pressed = performance.now(); }, {capture: true, once: true});
  new MutationObserver(note).observe(document.querySelector('PLOT'),
                                     {subtree: true, childList: true, characterData: true, attributes: true});
}"""


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


def test_a_press_is_over_in_the_frame_after_the_last_change(page):
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight"):
        before = picture(page)
        page.evaluate(CHANGES.replace("PLOT", PLOT))
        page.evaluate(WATCH, [ENTRY.name, False])
        page.keyboard.press(key)
        taken = page.evaluate("() => window.mrlSlide")
        page.wait_for_timeout(700)
        changed = page.evaluate("() => window.mrlChanged")
        assert picture(page) != before and changed - 2 < taken < changed + 500  # 2: two clocks are read


def test_a_press_that_changes_nothing_is_an_error(page):
    page.keyboard.press("Home")
    page.wait_for_timeout(1500)
    with pytest.raises(InputError, match="did not change within 5 s of ArrowLeft"):
        press(page, ENTRY, "ArrowLeft")
    assert press(page, ENTRY, "ArrowRight") > 1
