"""The grid itself: which cells it has, how it reads and prints, its items."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid, check_cells, default_dims


def grid(items=None):
    values = np.arange(6, dtype=np.float64).reshape(2, 3) / 10
    return Grid("task", "model", "ndcg@10", "test", (2, 6), (8, 16, 24), values, items, {"encode": 1.23456})


def test_default_dims_are_powers_of_two_below_the_width_then_the_width():
    assert default_dims(384) == (8, 16, 32, 64, 128, 256, 384)
    assert default_dims(64) == (8, 16, 32, 64)
    assert default_dims(9) == (8, 9)
    assert default_dims(8) == (8,) and default_dims(3) == (3,)


def test_cells_are_sorted_without_repeats():
    assert check_cells(None, None, 3, 32) == ((1, 2, 3), (8, 16, 32))
    assert check_cells("all", "all", 2, 3) == ((1, 2), (1, 2, 3))
    assert check_cells([3, 1, 3], [16.0, 4, 4], 3, 32) == ((1, 3), (4, 16))


@pytest.mark.parametrize(
    "layers, dims, words",
    [
        ([0], None, "layer 0 .* 1 to 6"),
        ([7], None, "layer 7"),
        ([1.5], None, "layer 1.5"),
        (None, [0], "dimension 0"),
        (None, [385], "dimension 385 .* 1 to 384"),
        ([], None, "no cells"),
        (None, [], "no cells"),
    ],
)
def test_cells_that_do_not_exist_are_named(layers, dims, words):
    with pytest.raises(InputError, match=words):
        check_cells(layers, dims, 6, 384)


def test_one_number_is_a_choice_of_one_and_a_word_is_none():
    assert check_cells(3, 16, 6, 384) == ((3,), (16,)) == check_cells(np.int64(3), np.array([16]), 6, 384)
    for layers, dims, words in [
        ("3", None, "layers: '3' is not a choice"), (None, "8,16", "dimensions: '8,16'"), (["3"], None, "layer 3"),
        ([np.nan], None, "layer nan"), ([np.inf], None, "layer inf"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=words):
            check_cells(layers, dims, 6, 384)


def test_reading_a_cell():
    g = grid()
    assert (g.at(2, 8), g.at(6, 16), g.at(6, 24)) == (0.0, 0.4, 0.5)
    for cell in ((3, 8), (2, 9)):
        with pytest.raises(InputError, match=r"layers \[2, 6\], dimensions \[8, 16, 24\]"):
            g.at(*cell)


def test_json_and_text():
    g = grid()
    found = json.loads(json.dumps(g.as_json()))
    assert set(found) == {"task", "model", "metric", "split", "layers", "dims", "values", "seconds"}
    assert found["values"] == [[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]] and found["seconds"] == {"encode": 1.235}
    lines = g.as_text().splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "2", "6"]
    assert lines[0].split()[-3:] == ["8", "16", "24"] and lines[2].split()[1:] == ["0.3000", "0.4000", "0.5000"]
    assert len({len(line) for line in lines}) == 1


def test_items_of_a_cell():
    items = np.random.default_rng(0).random((2, 3, 5))
    np.testing.assert_array_equal(grid(items).items(6, 16), items[1, 1])
    with pytest.raises(InputError, match="no value per item"):
        grid().items(2, 8)
    with pytest.raises(InputError, match="not in this grid"):
        grid(items).items(3, 8)
