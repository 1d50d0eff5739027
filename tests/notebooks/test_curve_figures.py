"""Lines over dimensions: what is drawn where, on which scale, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from evidence.curve_figures import SHARE, Look, difference_lines, side_by_side

from mrl_tutorial import InputError
from mrl_tutorial.evaluation.statistics import Difference

DIMS = (8, 64, 384)
LINES = {"search": np.array([0.2, 0.8, 1.0]), "classes": np.array([0.7, 0.9, 1.0])}


def test_panels_share_colors_and_the_legend():
    figure = side_by_side(DIMS, {"plain": LINES, "mrl": LINES}, y=SHARE)
    assert [t.name for t in figure.data] == ["search", "classes"] * 2
    assert np.allclose(figure.data[3].y, LINES["classes"])
    assert [t.showlegend for t in figure.data] == [True, True, False, False]
    assert figure.data[2].line.color == figure.data[0].line.color != figure.data[1].line.color
    assert figure.layout.yaxis.range == figure.layout.yaxis2.range == (0, 1.05)
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]
    for wrong in ({}, {"plain": {}}, {"plain": {"search": np.ones(2)}}):
        with pytest.raises(InputError):
            side_by_side(DIMS, wrong, y=SHARE)


def test_looks_and_spreads_are_drawn():
    looks = {"search": Look("#000000", "dot", "square")}
    spread = {"plain": {"search": np.full(3, 0.1)}}
    figure = side_by_side(DIMS, {"plain": LINES}, y=SHARE, looks=looks, spread=spread)
    search, classes = figure.data
    assert (search.line.color, search.line.dash, search.marker.symbol) == ("#000000", "dot", "square")
    assert np.allclose(search.error_y.array, 0.1) and classes.error_y.array is None and classes.mode == "lines"


def test_difference_lines_draw_bounds():
    one = {8: Difference(0.1, 0.05, 0.2, 0.0), 64: Difference(-0.02, -0.03, 0.0, 0.0)}
    figure = difference_lines({"a - b": one}, dim=77)
    (trace,) = figure.data
    assert np.allclose(trace.y, [0.1, -0.02])
    assert np.allclose(trace.error_y.array, [0.1, 0.02]) and np.allclose(trace.error_y.arrayminus, [0.05, 0.01])
    with pytest.raises(InputError):
        difference_lines({"a - b": {}})
