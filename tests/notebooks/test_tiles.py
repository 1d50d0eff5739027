"""Tiles: what is drawn where, on which scale."""

from __future__ import annotations

import numpy as np
import pytest
from evidence.tiles import tiles

from mrl_tutorial.errors import InputError


def test_each_table_is_a_tile_with_its_own_axes():
    a, b = np.arange(6.0).reshape(2, 3), np.full((3, 2), -2.0)
    figure = tiles({"a": (a, (1, 2), (8, 16, 32)), "b": (b, (2, 4, 6), (8, 768))}, bar="quality")
    assert [t.name for t in figure.data] == ["a", "b"] and np.array_equal(figure.data[0].z, a)
    assert list(figure.layout.yaxis2.tickvals) == ["2", "4", "6"] and figure.data[1].yaxis == "y2"
    assert {(t.zmin, t.zmax) for t in figure.data} == {(-2.0, 5.0)}
    assert [x.text for x in figure.layout.annotations] == ["a", "b"]


def test_a_difference_has_zero_in_the_middle():
    figure = tiles({"d": (np.array([[-0.1, 0.3]]), (1,), (8, 16))}, bar="difference", difference=True)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-0.3, 0.3)


@pytest.mark.parametrize("count, columns", [(1, 4), (5, 3), (7, 4)])
def test_tiles_do_not_overlap(count, columns):
    figure = tiles({str(i): (np.zeros((2, 2)), (1, 2), (8, 16)) for i in range(count)}, bar="x", columns=columns)
    places = {
        (figure.layout["xaxis" + t.xaxis[1:]].domain, figure.layout["yaxis" + t.yaxis[1:]].domain) for t in figure.data
    }
    assert len(places) == count and all(0 <= lo < hi <= 1.0001 for p in places for lo, hi in p)


def test_wrong_input():
    with pytest.raises(InputError, match="no table"):
        tiles({}, bar="x")
    with pytest.raises(InputError, match="'a' of shape"):
        tiles({"a": (np.zeros((2, 2)), (1,), (8, 16))}, bar="x")
