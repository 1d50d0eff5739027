"""The grid itself: which cells it has, how it reads and prints, its bootstrap, and its benchmark."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid, bootstrap, check_cells, default_dims
from mrl_tutorial.tasks.load import RetrievalTask


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
        ("3", None, "layers='3' is no choice"), (None, "8,16", "dims='8,16'"), (["3"], None, "layer 3"),
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


def test_bootstrap_is_the_normal_interval_of_a_large_sample():
    items = np.random.default_rng(1).normal(0.4, 0.3, 2000)
    low, high = bootstrap(items)
    half = 1.96 * items.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((items.mean() - half, items.mean() + half), abs=half / 8)
    assert bootstrap(items) == (low, high) != bootstrap(items, seed=1)
    narrow = bootstrap(items, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_comparison_is_paired():
    rng = np.random.default_rng(0)
    ours = rng.random((2, 3, 300)).astype(np.float32)
    shifted = grid(ours + np.float32(0.01))
    difference, low, high = shifted.compare(grid(ours), 6, 16)
    # a constant shift has no spread when items are paired, however much they vary
    assert (difference, low, high) == pytest.approx((0.01, 0.01, 0.01), abs=1e-6)
    low, high = grid(ours).interval(6, 16)
    assert low < ours[1, 1].mean() < high and high - low > 0.03


def test_a_measure_without_items_cannot_be_resampled():
    with pytest.raises(InputError, match="no value per item"):
        grid().interval(2, 8)


@pytest.mark.parametrize(
    "change, words",
    [({"split": "dev"}, "split 'test' and 'dev'"), ({"metric": "map"}, "metric"), ({"task": "other"}, "task"),
     ({"per_item": np.zeros((2, 3, 4), np.float32)}, "5 and 4 items")],
)  # fmt: skip
def test_only_the_same_items_are_paired(change, words):
    ours = grid(np.zeros((2, 3, 5), np.float32))
    with pytest.raises(InputError, match=words):
        ours.compare(replace(ours, **change), 6, 16)


@pytest.mark.parametrize("options", [{"level": 95}, {"level": 0}, {"draws": 0}])
def test_an_impossible_interval_is_refused(options):
    with pytest.raises(InputError, match="give"):
        grid(np.zeros((2, 3, 5), np.float32)).interval(6, 16, **options)


def test_bench_agrees_with_sentence_transformers_and_writes_what_it_prints(monkeypatch, tmp_path, capsys):
    pytest.importorskip("sentence_transformers")
    from benchmarks import grid as bench

    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    words = "apple river stone cloud engine violin market winter copper garden".split()
    corpus = {f"d{i}": f"{a} and {b}" for i, (a, b) in enumerate((a, b) for a in words for b in words if a != b)}
    queries = {f"q{i}": text.replace(" and", " near the") for i, text in enumerate(list(corpus.values())[::5])}
    qrels = {q: {f"d{5 * i}": 1, f"d{5 * i + 1}": 2, f"d{5 * i + 2}": 0} for i, q in enumerate(queries)}
    task = RetrievalTask("words", "made up", corpus, queries, qrels, {"test": list(queries)})
    monkeypatch.setattr(bench, "load_task", lambda name: task)
    result = bench.run(json=str(tmp_path / "grid.json"), quick=True)
    assert json.loads((tmp_path / "grid.json").read_text()) == result
    assert result["largest_difference"] < 1e-6
    assert (result["cells"], result["queries"], result["documents"]) == (42, 18, 90)
    assert "extrapolated" in capsys.readouterr().out
