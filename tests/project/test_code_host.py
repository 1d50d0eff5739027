"""The executed notebooks as a code host shows them: HTML without a kernel, widgets or JavaScript of a library's."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter

from tools import build_notebooks

BUILT = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LIVE = build_notebooks.LIVE  # what stands beside a live panel's photograph
FIGURE = "application/vnd.plotly.v1+json"


@pytest.mark.parametrize("path", BUILT, ids=lambda p: p.stem)
def test_every_figure_is_a_picture(path):
    notebook = nbformat.read(path, as_version=4)
    html, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    shown = [o.data for o in outputs if "data" in o]
    figures = [data for data in shown if {FIGURE, "image/png"} & set(data) or data.get("text/plain") == LIVE]
    pictures = re.findall(r'<img[^>]+src="data:image/png;base64,([^"]+)"', html.replace("\n", ""))
    assert len(pictures) == len(figures) >= 1
    assert min(map(len, pictures)) > 4500  # a blank page is smaller
    assert all(data[FIGURE]["data"] for data in figures if FIGURE in data)
    # what else a cell gave shows as text or a table
    assert all({"text/plain", "text/html", "image/png"} & set(data) for data in shown)
    assert not re.findall(r'<div class="jp-OutputArea-output[^>]*>\s*</div>', html)
    assert "Error displaying widget" not in html
