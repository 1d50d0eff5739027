"""Long tables as grids, against values looked up by hand in the published files and against small made-up sweeps."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from evidence import published_grids as room

from mrl_tutorial.errors import InputError
from mrl_tutorial.training.sweep_file import COLUMNS


def rows(recipe, seed, values, task="toy", metric="ndcg@10"):
    fixed = (recipe, "full", "none", seed, task, "test", metric)
    return [
        dict(zip(COLUMNS, (*fixed, layer, dim, values[i][j], 1, 2, 0.1, 1.0), strict=True))
        for i, layer in enumerate((1, 2))
        for j, dim in enumerate((8, 16))
    ]


@pytest.fixture
def frame():
    return pd.DataFrame(
        rows("plain", 0, [[0.1, 0.2], [0.3, 0.4]])
        + rows("a", 0, [[0.2, 0.2], [0.5, 0.6]])
        + rows("a", 1, [[0.3, 0.1], [0.5, 0.8]])
        + rows("b", 1, [[0.2, 0.2], [0.5, 0.7]])
        + rows("b", 2, [[9.0, 9.0], [9.0, 9.0]])
    )


def test_published_grids_hold_the_printed_cells():
    values, layers, dims = room.published_grid("reproduction_sts", "BERT", version="V1")
    assert values.shape == (6, 8) and layers == (2, 4, 6, 8, 10, 12) and dims[-1] == 768
    assert values[0, 0] == 0.444 and values[0, 1] == 0.522  # the file's first two rows
    separate, *_ = room.published_grid("reproduction_retrieval", "BERT-S")
    assert separate[0, 2] == 0.2092  # Starbucks' own table prints the same number
    fixed, *_ = room.published_grid("reproduction_retrieval", "fixed-doc", figure="mrr10_ablation_3")
    assert fixed.shape == (6, 8)


def test_the_study_wins_no_retrieval_cell_against_separate_models():
    ours, *_ = room.published_grid("reproduction_retrieval", "2DMSE")
    theirs, *_ = room.published_grid("reproduction_retrieval", "BERT-S")
    assert room.cells_won(ours, theirs) == (0, 48)


@pytest.mark.parametrize(
    "given, words",
    [
        (("reproduction_sts", "GPT"), "no method 'GPT'"),
        (("reproduction_sts", "BERT"), "name its version"),
        (("starbox", "BERT"), "no published numbers"),
    ],
)
def test_what_is_not_published(given, words):
    with pytest.raises(InputError, match=words):
        room.published_grid(*given)
    with pytest.raises(InputError, match="no version 'V3'"):
        room.published_grid("reproduction_sts", "BERT", version="V3")


def test_stack_and_its_mean(frame):
    a = room.stack(frame, "a", "toy")
    assert a.seeds == (0, 1) and a.values.shape == (2, 2, 2) and a.at(2, 16).tolist() == [0.6, 0.8]
    np.testing.assert_allclose(a.mean, [[0.25, 0.15], [0.5, 0.7]])


def test_differences_pair_the_seeds(frame):
    a, b, plain = (room.stack(frame, name, "toy") for name in ("a", "b", "plain"))
    paired = a.minus(b)
    assert paired.seeds == (1,)
    np.testing.assert_allclose(paired.values[0], [[0.1, -0.1], [0, 0.1]])
    assert a.minus(plain).seeds == (0, 1)
    assert room.won_in_every_seed(a.minus(plain)).tolist() == [[True, False], [True, True]]
    with pytest.raises(InputError, match="no common seed"):
        room.stack(frame[frame.seed != 1], "b", "toy").minus(a)


def test_a_run_that_diverged_is_left_out(frame):
    frame = pd.concat([frame, pd.DataFrame(rows("a", 2, [[np.nan] * 2] * 2))])
    assert room.stack(frame, "a", "toy").seeds == (0, 1)


def test_what_was_not_run(frame):
    with pytest.raises(InputError, match="'c' on 'toy' is not in this sweep"):
        room.stack(frame, "c", "toy")
    with pytest.raises(InputError, match="several values"):
        room.stack(pd.concat([frame, frame]), "a", "toy")


def test_separate_models_one_cell_each():
    first = [rows("separate:1,8", seed, [[value, 1], [1, 1]])[0] for seed, value in ((0, 0.3), (1, 0.4))]
    frame = pd.DataFrame([*first, rows("separate:2,16", 0, [[1, 1], [1, 0.7]])[3]])
    assert room.separate_cells(frame, "toy") == {(1, 8): {0: 0.3, 1: 0.4}, (2, 16): {0: 0.7}}


def test_cells_won_counts_only_what_both_have():
    ours, theirs = np.array([[1, 2], [3, np.nan]]), np.array([[0, 2], [2.5, 1]])
    assert room.cells_won(ours, theirs) == (2, 3)


def test_gain_is_mean_and_spread_of_the_chosen_cells(frame):
    d = room.stack(frame, "a", "toy").minus(room.stack(frame, "plain", "toy"))
    last = np.array([[False, False], [True, True]])
    assert room.gain(d, last) == "+0.250 ± 0.071"  # by seed 0.2 and 0.3
    assert room.gain(room.stack(frame[frame.seed == 0], "a", "toy"), np.array([True, False])) == "+0.350"


def test_a_sweep_that_was_not_run_has_no_rows():
    rows, header = room.sweep_rows("no-such-sweep")
    assert len(rows) == 0 and list(rows) == COLUMNS and header == {}


def test_a_damaged_sweep_is_not_taken_for_one_that_was_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "data_file", lambda name: tmp_path / name)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "torn.csv").write_text("# mrl-tutorial sweep\nrecipe,what\n")
    with pytest.raises(InputError, match="is not a sweep"):
        room.sweep_rows("torn")


def test_a_table_has_what_its_first_lines_say():
    found = room.table("baselines")
    assert len(found) and found.attrs and all(isinstance(value, str) for value in found.attrs.values())
    with pytest.raises(InputError, match=r"there are .*baselines"):
        room.table("nothing")
