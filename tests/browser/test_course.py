"""Every notebook in a real JupyterLab: it runs to its end with small budgets, and each of its panels answers a key."""

from __future__ import annotations

import shutil
from functools import partial

import nbformat
import pytest

from benchmarks.browser import chromium_page, lab_server, open_and_run, wait_for
from tools import build_notebooks as build
from tools.site.runs import is_panel

SOURCES = build.sources()


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A server over all notebooks, not yet run, with the small budget."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copytree(build.HERE / "images", folder / "images")
    for source in SOURCES:
        nbformat.write(build.read(source), folder / f"{source.stem}.ipynb")
    with lab_server(folder, {"FAST": "1"}) as server:
        yield server


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_notebook_runs_and_its_panels_answer(course, source):
    shown = nbformat.read(build.built(source, build.HERE), 4)
    expected = sum(is_panel(output) for cell in shown.cells for output in cell.get("outputs", ()))
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
            sliders, lists = panel.get_by_role("slider"), panel.get_by_role("combobox")
            # one step may change nothing that is shown
            ways = [partial(sliders.first.press, key) for key in ("ArrowRight", "ArrowLeft", "Home", "End")]
            if not sliders.count():  # the loss lab has lists and brushes
                ways = [partial(lists.first.select_option, index=1), partial(lists.nth(1).select_option, index=1)]
            answered = []
            for way in ways:
                before = panel.inner_html()
                way()
                page.wait_for_timeout(200)
                answered.append(panel.inner_html() != before)
            assert any(answered), f"panel {i} did not answer"
            assert panel.locator('[role="alert"]').count() == 0
