"""Every notebook in a real JupyterLab: it runs to its end with small budgets, and each of its panels answers a key."""

from __future__ import annotations

import inspect
import re

import nbformat
import pytest

import mrl_tutorial as mrl
from benchmarks.browser import chromium_page, lab_server, open_and_run, wait_for
from benchmarks.panels import WATCH
from mrl_tutorial.panels.base import Panel
from tests.browser.conftest import NOTEBOOKS
from tools import build_notebooks as build

SOURCES = sorted((NOTEBOOKS / "source").glob("0[1-9]_*.py"))
PANELS = [name for name in mrl.__all__ if inspect.isclass(value := getattr(mrl, name)) and issubclass(value, Panel)]
PANEL = re.compile(rf"\b({'|'.join(PANELS)})\(")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A server over all notebooks, not yet run, with the small budget."""
    folder = tmp_path_factory.mktemp("course")
    for source in SOURCES:
        nbformat.write(build.read(source), folder / f"{source.stem}.ipynb")
    with lab_server(folder, {"FAST": "1"}) as server:
        yield server


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_notebook_runs_and_its_panels_answer(course, source):
    expected = len(PANEL.findall(source.read_text(encoding="utf-8")))
    with chromium_page() as page:
        page.set_default_timeout(60_000)
        open_and_run(page, course, f"{source.stem}.ipynb")
        last = ".jp-Notebook > :last-child, .jp-WindowedPanel-viewport > :last-child"
        page.wait_for_selector(last)
        wait_for(page, '.jp-Notebook-ExecutionIndicator[data-status="busy"]', 60)
        wait_for(page, '.jp-Notebook-ExecutionIndicator[data-status="idle"]', 15 * 60)
        assert page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').count() == 0
        names = page.evaluate(
            """() => [...document.querySelectorAll('.mrl-panel')].map((p) =>
                 [...p.classList].find((c) => c.startsWith('mrl-') && c !== 'mrl-panel').slice(4))"""
        )
        assert len(names) >= expected, (names, expected)
        for name in names:
            panel = page.locator(f".mrl-{name}").first
            panel.scroll_into_view_if_needed()
            page.wait_for_timeout(1000)
            handle = panel.locator(".noUi-handle").first
            handle.focus()
            answered = []
            for key in (
                "ArrowRight",
                "ArrowLeft",
                "ArrowLeft",
                "Home",
                "End",
            ):  # one step may change nothing that is shown
                page.evaluate(WATCH, [name, True])
                page.keyboard.press(key)
                answered.append(page.evaluate("() => window.mrlSlide"))
            assert any(a is not None for a in answered), f"{name} did not answer"
            assert panel.locator('[role="alert"]').count() == 0
