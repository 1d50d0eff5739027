"""A JupyterLab server and a Chromium for the tests that need both; skipped, with the remedy, where one is missing."""

from __future__ import annotations

import pytest

from benchmarks.browser import chromium_page, lab_server, write_notebook
from tools.chromium import REMEDY, find_chromium

TOUR = """
import mrl_tutorial as mrl
explorer = mrl.GridExplorer(mrl.load_task("pydocs").smaller(500), mrl.Encoder.load(), max_queries=60, layer=3, dim=128)
explorer
"""


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A server whose folder holds a notebook with the grid explorer, not yet run."""
    if find_chromium() is None:
        pytest.skip(REMEDY)
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "tour.ipynb", TOUR)
    with lab_server(folder) as server:
        yield server


@pytest.fixture(scope="module")
def page(lab):
    """A browser page, the same for all tests of a file."""
    with chromium_page() as page:
        page.set_default_timeout(180_000)
        yield page
