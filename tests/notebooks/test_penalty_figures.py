"""The figures of notebook 03: what they draw, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from evidence.penalty_figures import difference_lines, penalty_panels

from mrl_tutorial import InputError
from mrl_tutorial.evaluation.statistics import Difference


def test_penalty_panels_share_tasks_and_axis():
    dims = (8, 64, 384)
    lines = {"search": np.array([0.2, 0.8, 1.0]), "classes": np.array([0.7, 0.9, 1.0])}
    figure = penalty_panels(dims, {"plain": lines, "mrl": lines})
    assert [t.name for t in figure.data] == ["search", "classes"] * 2
    assert np.allclose(figure.data[3].y, lines["classes"]) and [t.showlegend for t in figure.data] == [
        True,
        True,
        False,
        False,
    ]
    assert figure.data[2].line.color == figure.data[0].line.color != figure.data[1].line.color
    for wrong in ({"plain": lines, "mrl": {"search": lines["search"]}}, {}, {"plain": {"search": np.ones(2)}}):
        with pytest.raises(InputError):
            penalty_panels(dims, wrong)


def test_difference_lines_draw_bounds():
    one = {8: Difference(0.1, 0.05, 0.2, 0.0), 64: Difference(-0.02, -0.03, 0.0, 0.0)}
    figure = difference_lines({"a - b": one}, dim=77)
    (trace,) = figure.data
    assert np.allclose(trace.y, [0.1, -0.02])
    assert np.allclose(trace.error_y.array, [0.1, 0.02]) and np.allclose(trace.error_y.arrayminus, [0.05, 0.01])
    with pytest.raises(InputError):
        difference_lines({"a - b": {}})
