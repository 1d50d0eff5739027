"""The cascade tuner in a real JupyterLab: sliders by keyboard, the paper's rule, another case."""

from __future__ import annotations

import pytest

from benchmarks.browser import handle, open_and_run, wait_for, write_notebook

NAME = "cascade-tuner"
CELL = """import numpy as np
from mrl_tutorial import CascadeTuner
from mrl_tutorial.classification import cascade

rng = np.random.default_rng(0)
y = rng.integers(0, 8, 400)
z = rng.normal(size=(2, 4, 400, 8))
z[..., np.arange(400), y] += np.linspace(0.5, 3, 4)[:, None]
p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
CascadeTuner({name: cascade.answers(q, y, (8, 16, 32, 64)) for name, q in zip(("first", "second"), p)})"""


@pytest.fixture(scope="module", autouse=True)
def panel(lab, page):
    write_notebook(lab.folder / "cascade.ipynb", CELL)
    open_and_run(page, lab, "cascade.ipynb")
    wait_for(page, f".mrl-{NAME} .bartext", 600)
    page.wait_for_timeout(2000)
    return page.locator(f".mrl-{NAME}")


def bars(page) -> list[str]:
    return page.locator(f".mrl-{NAME} .bartext").all_text_contents()


def note(panel) -> str:
    return panel.locator("p", has_text="Expected size").text_content()


def changes(page, panel, act) -> None:
    """`act` changes both the bars and the sentence."""
    before, words = bars(page), note(panel)
    act()
    page.wait_for_function(
        f"(old) => [...document.querySelectorAll('.mrl-{NAME} .bartext')].map((t) => t.textContent).join() !== old",
        arg=",".join(before),
    )
    assert note(panel) != words


def test_arrow_keys_slide(page, panel):
    handle(page, NAME, "all sizes").focus()
    changes(page, panel, lambda: [page.keyboard.press("PageDown"), page.keyboard.press("ArrowLeft")])
    handle(page, NAME, "stop at 8 from").focus()
    changes(page, panel, lambda: page.keyboard.press("End"))
    page.wait_for_function(
        f"() => document.querySelector('.mrl-{NAME} .bartext').textContent === '0%'"
    )  # nobody stops at 8
    assert bars(page)[0] == "0%" and len(bars(page)) == 4


def test_the_papers_rule_and_another_case(page, panel):
    mine = bars(page), note(panel)
    changes(page, panel, lambda: panel.locator('button:has-text("the paper")').press("Enter"))
    ruled = bars(page), note(panel)
    changes(page, panel, lambda: panel.locator('button:text-is("second")').press("Enter"))
    assert mine != ruled != (bars(page), note(panel))
    assert panel.locator('[role="alert"]').count() == 0


def test_nothing_is_small_or_cut_off(page, panel):
    sizes = page.evaluate(
        f"""() => [...document.querySelectorAll('.mrl-{NAME} text, .mrl-{NAME} p, .mrl-{NAME} .widget-label')]
                  .filter((e) => e.textContent.trim()).map((e) => parseFloat(getComputedStyle(e).fontSize))"""
    )
    assert len(sizes) > 20 and min(sizes) >= 14
    cut = page.evaluate(
        f"() => [...document.querySelectorAll('.mrl-{NAME} .widget-label')]"
        ".filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    )
    assert cut == 0
