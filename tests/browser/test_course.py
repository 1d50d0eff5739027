"""Every notebook in a real JupyterLab: it runs to its end with small budgets, and each of its panels answers a key."""

from __future__ import annotations

import inspect
import re

import nbformat
import pytest

import mrl_tutorial as mrl
from benchmarks.browser import chromium_page, lab_server, open_and_run, wait_for
from mrl_tutorial.panels.panel import Panel
from tools import build_notebooks as build

SOURCES = build.sources()
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
        page.set_default_timeout(180_000)
        open_and_run(page, course, f"{source.stem}.ipynb")
        last = ".jp-Notebook > :last-child, .jp-WindowedPanel-viewport > :last-child"
        page.wait_for_selector(last)
        wait_for(page, '.jp-Notebook-ExecutionIndicator[data-status="busy"]', 60)
        wait_for(page, '.jp-Notebook-ExecutionIndicator[data-status="idle"]', 15 * 60)
        assert page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').count() == 0
        panels = page.locator(".mrl .headline")
        page.wait_for_timeout(2000)
        assert panels.count() >= expected
        for i in range(panels.count()):
            panel = page.locator(".mrl:has(.headline)").nth(i)
            panel.scroll_into_view_if_needed()
            slider = panel.get_by_role("slider").first
            answered = []
            for key in ("ArrowRight", "ArrowLeft", "Home", "End"):  # one step may change nothing that is shown
                before = panel.inner_html()
                slider.press(key)
                page.wait_for_timeout(200)
                answered.append(panel.inner_html() != before)
            assert any(answered), f"panel {i} did not answer"
            assert panel.locator('[role="alert"]').count() == 0
