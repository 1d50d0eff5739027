"""A JupyterLab server and a Chromium for the tests that need both; skipped, with the remedy, where one is missing."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from benchmarks.browser import chromium_page, lab_server
from tools import build_notebooks as build
from tools.chromium import REMEDY, find_chromium

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A server whose folder holds notebook 00, not yet run, with the small budget (FAST)."""
    if find_chromium() is None:
        pytest.skip(REMEDY)
    folder = tmp_path_factory.mktemp("lab")
    (source,) = build.sources(["00"])
    nbformat.write(build.read(source), folder / "tour.ipynb")
    with lab_server(folder, {"FAST": "1"}) as server:
        yield server


@pytest.fixture(scope="module")
def page(lab):
    """A browser page, the same for all tests of a file."""
    with chromium_page() as page:
        page.set_default_timeout(180_000)
        yield page
