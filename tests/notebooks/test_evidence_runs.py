"""What several evidence notebooks share: cascades by seed, paths that keep quality, sets compared, sweeps judged."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evidence import cascade_runs, kept_paths, labeled_sets, learning_curves, published_grids

from mrl_tutorial import InputError, load_task
from mrl_tutorial.classification import cascade
from mrl_tutorial.classification.labeled_vectors import scaled
from mrl_tutorial.classification.small_networks import NetworkConfig
from mrl_tutorial.files import data_file
from mrl_tutorial.retrieval import costs
from mrl_tutorial.retrieval.stages import Stage, shortlist
from mrl_tutorial.tasks.types import RetrievalTask
from mrl_tutorial.training.sweep_file import COLUMNS


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))


def test_folds_leave_a_fifth_for_thresholds_and_test_every_item_once_a_seed():
    parts = cascade_runs.fivefold(load_task("digits"), (0, 1))
    assert len(parts) == 10 and [p[3] for p in parts] == [0] * 5 + [1] * 5
    for train, held, test, _ in parts:
        assert len(held) == (len(train) + len(held)) // 5
        assert not (set(train) & set(held) or set(test) & (set(train) | set(held)))
    assert sorted(np.concatenate([p[2] for p in parts[:5]])) == list(range(1797))


def test_folds_are_put_together_a_row_for_each_seed():
    runs = [{"items": np.array(rows)} for rows in ([2, 0], [1], [0, 1], [2])]
    right = [np.array([1, 0]), np.array([1]), np.array([1, 0]), np.array([0])]
    assert cascade_runs.by_seed(runs, right).tolist() == [[0, 1, 1], [1, 0, 0]]


def test_a_cascade_is_compared_with_its_own_largest_size():
    rng = np.random.default_rng(0)
    confidence, right = rng.random((2, 40)), rng.random((2, 40)) < 0.7
    answers = cascade.Answers((8, 16), confidence, right, 3)
    gap, final, shares = cascade_runs.against_own_full_size(
        [{"held": answers, "test": answers, "items": np.arange(40)}]
    )
    threshold = next(
        t for t in cascade.GRID
        if np.where(confidence[0] >= t, right[0], right[1]).mean() >= right[1].mean()
    )  # fmt: skip
    stop = confidence[0] >= threshold
    assert final[0] == pytest.approx(8 * stop.mean() + 16 * (~stop).mean()) and shares[0] == pytest.approx(stop.mean())
    assert gap.mean == pytest.approx(np.where(stop, right[0], right[1]).mean() - right[1].mean())


def test_networks_are_trained_once(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 12)).astype(np.float32), np.arange(60) % 3
    rows = np.arange(60)
    plan = NetworkConfig(dims=(2, 4), width=4, hidden=0, epochs=1)
    first = cascade_runs.text_runs(x, y, (rows[:30], rows[30:45], rows[45:]), plan, (0,))
    monkeypatch.setattr(cascade_runs, "train_networks", None)  # calling it would fail
    again = cascade_runs.text_runs(x, y, (rows[:30], rows[30:45], rows[45:]), plan, (0,))
    assert list(first) == ["MRL", "MRL-E", "full size alone"]
    assert (first["MRL"][0]["test"].confidence == again["MRL"][0]["test"].confidence).all()
    assert first["MRL"][0]["test"].confidence.shape == (2, 15)


def test_the_cheapest_path_that_keeps_quality_on_dev_is_measured_on_test():
    class Whole:  # an encoder whose vectors are handed over
        width, dims = 16, (8, 16)

        def fingerprint(self):
            return "whole"

    names = [f"d{i}" for i in range(60)]
    judged = {f"q{i}": {name: 1} for i, name in enumerate(names)}
    splits = {"dev": list(judged)[:30], "test": list(judged)[30:]}
    task = RetrievalTask("toy", "made", dict.fromkeys(names, ""), dict.fromkeys(judged, ""), judged, splits)
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(1, len(task.corpus), 16)).astype(np.float32)
    row = {d: i for i, d in enumerate(task.corpus)}
    embedded = {}
    for split in ("dev", "test"):
        asked = [row[next(iter(task.qrels[q]))] for q in task.judged(split)]
        embedded[split] = {"queries": documents[:, asked], "documents": documents}  # a query is its own document
    found = kept_paths.kept_path(task, Whole(), embedded)
    assert (found.full == 1).all() and (found.part == 1).all() and found.dim == 8
    assert found.depth == min(k for k in kept_paths.DEPTHS if k < len(row))
    assert found.fewer == costs.search_flops(len(row), 16) / costs.adaptive_flops(len(row), 8, found.depth, 16)
    again = kept_paths.kept_path(task, Whole(), None)  # from the cache
    assert (again.part == kept_paths.measure_path(task, embedded, shortlist(8, 16, found.depth), "test")).all()
    assert kept_paths.measure_path(task, embedded, [Stage(16)], "test").tolist() == again.full.tolist()


def test_compared_sets_name_their_means_and_differences():
    data = scaled("toy", np.eye(4, dtype=np.float32), np.arange(4), [(np.arange(2), np.arange(2, 4))])
    plan = NetworkConfig(dims=(2, 4), width=4)
    a, b = np.array([[[1.0, 0], [1, 1]]]), np.array([[[0.0, 0], [1, 0]]])  # (seed, size, item)
    s = labeled_sets.Compared("toy", data, plan, {"MRL": {"1nn": a}, "alone": {"1nn": b}})
    assert s.mean("MRL", "1nn", 2) == 0.5 and s.of("MRL", "1nn", 4).tolist() == [[1, 1]]
    assert s.gap("1nn", 4, "MRL", "alone").mean == 0.5


def test_a_sweep_that_was_too_short_names_the_longer_one():
    header = {
        "command": "mrl-tutorial sweep --recipes mrl --steps 50 --lr 3e-5 --out data/results/x.csv",
        "steps": "50",
    }
    assert published_grids.longer(header).endswith("mrl-tutorial sweep --recipes mrl --steps 1500 --lr 3e-5")


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """A sweep's file with three learning rates of one recipe, and the last two points of each learning curve."""

    def write(curves, rates=(1e-05, 3e-05, 0.0001)):
        head = ["# mrl-tutorial sweep: one row for each cell", ",".join(COLUMNS)]
        for rate, (before, last) in zip(rates, curves, strict=True):
            head.append(f"mrl,full,none,0,toy (dev),dev,spearman,6,8,{last},10,4,{rate},1.0")
            name = f"mrl-{str(rate).replace('.', '-')}-0.npz"
            (tmp_path / "toy").mkdir(exist_ok=True)
            np.savez(tmp_path / "toy" / name, curve=np.array([[5, before], [10, last]]))
        (tmp_path / "toy.csv").write_text("\n".join(head) + "\n", encoding="utf-8")
        learning_curves.chosen.cache_clear()

    monkeypatch.setattr(learning_curves, "data_file", lambda name: tmp_path)
    return write


def test_trained_enough_means_a_flat_curve_at_the_best_of_three_rates(swept):
    assert not learning_curves.trained_enough("toy")  # there is no sweep yet
    swept([(0.5, 0.6), (0.7, 0.704), (0.1, 0.2)])
    assert learning_curves.last_gain("toy", "mrl") == pytest.approx(0.004)
    assert learning_curves.trained_enough("toy", "mrl") and not learning_curves.trained_enough("toy", "ese")
    swept([(0.5, 0.6), (0.7, 0.706), (0.1, 0.2)])
    assert not learning_curves.trained_enough("toy", "mrl")  # it was still gaining
    swept([(0.7, 0.7), (0.6, 0.6)], rates=(1e-05, 3e-05))
    assert not learning_curves.trained_enough("toy", "mrl")  # too few rates were tried
    with pytest.raises(InputError, match="--curve"):
        learning_curves.curve("toy", "mrl", 0.5)


def test_a_mean_over_cells_is_resampled_over_seeds():
    values = np.array([[[0.1, 0.3], [9.0, 9.0]], [[0.2, 0.4], [9.0, 9.0]]])  # (seeds, layers, dims)
    stack = published_grids.Stack(values, (0, 1), (1, 2), (8, 16))
    found = published_grids.over_seeds(stack, np.array([[True, True], [False, False]]))
    assert found.mean == pytest.approx(0.25) and (found.low, found.high) == pytest.approx((0.2, 0.3))


def test_the_recipes_table_for_readers_holds_the_measured_means():
    files = ("sts-trained", "sts-trained-2d", "sts-trained-all", "sts-switches", "sts-kl", "controls-stsbenchmark")
    rows = pd.concat([pd.read_csv(data_file("results") / f"{name}.csv", comment="#") for name in files])
    rows = rows[rows.split == "test"].drop_duplicates(["recipe", "seed", "layer", "dim"])
    found = pd.read_csv(data_file("results") / "found-recipes-full.csv", comment="#", index_col="recipe")
    text = (Path(__file__).parents[2] / "USING.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `?([a-z0-9+-]+)`?(?: \(no labels\))? ((?:\| \.\d{3} ){4})\|$", text, re.M)
    assert len(lines) == 11
    for name, values in lines:
        mine = rows[rows.recipe == ("plain" if name == "untrained" else name)]
        last = mine[mine.layer == 6]
        cells = [x.value.mean() for x in (mine, mine[mine.layer < 6], last[last.dim == 32], last[last.dim == 384])]
        if name in found.index:
            cells = list(found.loc[name, ["test", "below the last layer", "last layer, 32", "last layer, 384"]])
        assert [float(x) for x in re.findall(r"\.\d{3}", values)] == [pytest.approx(x, abs=6e-4) for x in cells]


def test_what_using_says_of_the_recipe_from_the_lab_was_measured():
    table = pd.read_csv(data_file("results") / "found-recipes-full.csv", comment="#", index_col="recipe")
    mean, *gain = table.loc["warm-teacher", ["test", "test minus all-cells", "test low", "test high"]]
    text = " ".join((Path(__file__).parents[2] / "USING.md").read_text(encoding="utf-8").split())
    said = "{:.3f}, which is +{:.3f} [{:.3f}, {:.3f}] over `all-cells`".format(mean, *gain).replace("0.", ".")
    assert f"mean over all 42 cells is {said}" in text
