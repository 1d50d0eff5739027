"""The lab's work: the same seed gives the same grid, measured as `evaluate` does; runs are kept, and none is lost."""

from __future__ import annotations

import errno
from dataclasses import replace

import numpy as np
import pytest
import torch

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.evaluation.statistics import leaderboard, paired, paired_cells
from mrl_tutorial.losses import term
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.recipe_file import RecipeFile, painted
from mrl_tutorial.tasks.types import PairsTask
from mrl_tutorial.training import lab
from mrl_tutorial.training.lab import (
    LabRun,
    LabStore,
    check_term,
    measure,
    terms_key,
    train_recipe,
    whitened_start,
    with_settings,
)
from mrl_tutorial.training.loop import train
from tests.helpers.tiny import WORDS, save_tiny

SMALL = {"steps": 8, "batch_size": 5}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.load(str(save_tiny(tmp_path_factory.mktemp("model") / "bert")), device="cpu")


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    made = [" ".join(rng.choice(WORDS, 5)) for _ in range(80)]
    pairs = [(text, " ".join(text.split()[::-1][:4])) for text in made]
    return PairsTask("toy", "made up", {"train": pairs[:40], "dev": pairs[40:60], "test": pairs[60:]})


def test_the_same_seed_gives_the_same_grid_and_another_one_another(encoder, task):
    recipe = painted("2dmse-v1", 3, 32)
    grids = [measure(train_recipe(encoder, task, recipe, seed=s, **SMALL).encoder, task, "dev") for s in (0, 0, 1)]
    np.testing.assert_array_equal(grids[0], grids[1])
    assert not np.array_equal(grids[0], grids[2])


def test_it_trains_shared_heads_from_the_whitened_start_as_train_does(encoder, task):
    recipe = painted("all-cells", 3, 32)
    steps = []
    result = train_recipe(encoder, task, recipe, watch=steps.append, **SMALL)
    start = whitened_start(encoder, task)
    texts = list(dict.fromkeys(text for pair in zip(*task.splits["train"], strict=True) for text in pair))
    vectors = start.encode_layers(texts, prompt="", cache=False).astype(np.float64)
    assert np.abs(vectors.mean(1)).max() < 1e-3 and start.heads.kind == "shared"
    ours = train(start, task, recipe.recipe(3, 32), cache=False, **SMALL)
    assert result.history == ours.history and len(steps) == 8
    for step, total in zip(steps, result.history, strict=True):
        assert step["main"].sum() == pytest.approx(total, rel=1e-5)


def test_layers_are_measured_as_evaluate_measures_them(encoder, task):
    seen = {}
    items = measure(encoder, task, "dev", seen.__setitem__)
    grid = evaluate_grid(task, encoder, split="dev")
    np.testing.assert_array_equal(items, grid.per_item)
    np.testing.assert_allclose([seen[layer] for layer in (1, 2, 3)], grid.values)


def test_one_list_of_pairs_is_measured_on_what_was_not_trained_on(encoder, task):
    whole = PairsTask("mine", "made up", {"all": [row for rows in task.splits.values() for row in rows]})
    cut = whole.with_splits("train", "dev", "test")
    for split in ("dev", "test"):
        assert measure(encoder, whole, split).shape[-1] == len(cut.splits[split])
        np.testing.assert_array_equal(measure(encoder, whole, split), measure(encoder, cut, split))


def test_a_recipe_with_fixed_documents_is_measured_with_them(encoder, task):
    recipe = painted("all-cells", 3, 32)
    fixed = replace(recipe, terms=[{**recipe.terms[0], "options": {"fixed_document": True}}])
    assert fixed.fixed_document and not recipe.fixed_document
    items = measure(encoder, task, "dev", fixed_document=fixed.fixed_document)
    np.testing.assert_array_equal(items, evaluate_grid(task, encoder, split="dev", fixed_document=True).per_item)
    assert not np.array_equal(items, measure(encoder, task, "dev"))


def test_settings_in_a_file_hold_and_typed_ones_win():
    recipe = painted("mrl", 3, 32)
    assert with_settings(recipe).training == {**lab.PREVIEW, "lr": 3e-3}
    given = replace(recipe, training={"steps": 7, "lr": 1e-3})
    assert with_settings(given, steps=None, seed=4).training == {**lab.PREVIEW, "steps": 7, "lr": 1e-3, "seed": 4}
    full = with_settings(given, what="full").training
    assert (full["start"], full["steps"], full["lr"]) == ("plain", lab.CONFIRM["steps"], 1e-4)


def test_pairs_of_cells_are_those_of_the_one_statistic():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 3, 50)), rng.random((2, 3, 50))
    found = paired_cells(a, b)
    for i in range(2):
        for j in range(3):
            np.testing.assert_allclose(found[i, j], paired(a[i, j], b[i, j])[:3], rtol=1e-9, atol=1e-12)


def test_the_leaderboard_against_a_plain_loop():
    rng = np.random.default_rng(1)
    grids, dims = {name: rng.random((3, 4)) for name in "abc"}, (8, 16, 64, 96)
    board = leaderboard(grids, dims)
    assert [one.mean for one in board] == sorted((float(g.mean()) for g in grids.values()), reverse=True)
    for one in board:
        grid = grids[one.name]
        won = sum(all(grid[i, j] >= g[i, j] for g in grids.values()) for i in range(3) for j in range(4))
        best, x = [max(grid[i][j] for i in range(3)) for j in range(4)], np.log(4.0 * np.array(dims))
        area = sum((best[j] + best[j + 1]) / 2 * (x[j + 1] - x[j]) for j in range(3)) / (x[3] - x[0])
        assert (one.won, one.area) == (won, pytest.approx(area))
    assert sum(one.won for one in board) == 12
    with pytest.raises(InputError, match="no common leaderboard"):
        leaderboard({"a": grids["a"], "b": np.zeros((2, 4))}, dims)


def test_terms_of_your_own_are_known_by_what_they_say_and_what_they_do():
    def make(power, name="length"):
        @term(name)
        def length(batch, layers, dims):
            return torch.stack([batch.query_rows(layers)[..., :d].pow(power).mean((1, 2)) for d in dims], 1)

        return length

    @term("length")
    def fails(batch, layers, dims):
        raise ValueError("labels are missing")

    def key(*terms):
        return terms_key(terms, 3, (8, 16, 32))

    assert key(make(2)) == key(make(2)) != key(make(4))  # the source is the same, the number from outside is not
    assert len({key(make(2)), key(make(2, "other")), key(make(2), make(2, "other"))}) == 3
    assert key() is None and key(fails) is None and key(len) is None


# -- runs on disk ------------------------------------------------------------------------------------------------


def run(name="mine", **changes):
    values = np.random.default_rng(0).random((3, 3, 20)).astype(np.float32)
    return LabRun(name, painted("mrl", 3, 32), values, 1.5, **changes)


def test_a_run_comes_back_whole_from_another_store(tmp_path):
    store, saved = LabStore(tmp_path), run(test=np.ones((3, 3, 5), np.float32))
    store.save(saved)
    (found,) = LabStore(tmp_path).load()
    assert (found.name, found.key, found.seconds, found.made) == (saved.name, saved.key, 1.5, saved.made)
    assert found.recipe.as_json() == saved.recipe.as_json()
    for name in ("dev", "test"):
        np.testing.assert_array_equal(getattr(found, name), getattr(saved, name))
    store.delete(found)
    assert store.load() == []


def test_two_labs_with_the_same_names_overwrite_nothing(tmp_path):
    one, other = LabStore(tmp_path), LabStore(tmp_path)
    for i, store in enumerate((one, other, one)):
        store.save(run(made=float(i)))
    assert [x.name for x in other.load()] == ["mine", "mine (2)", "mine (3)"]
    assert len({x.key for x in one.load()}) == 3


def test_a_full_disk_loses_no_earlier_run(tmp_path, monkeypatch):
    store, first = LabStore(tmp_path), run()
    store.save(first)

    def full(tensors, path, metadata=None):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lab, "save_file", full)
    for wanted in (run("second"), replace(first, test=first.dev)):  # a new one, and the first one anew
        with pytest.raises(files.NotWritten, match="free some space"):
            store.save(wanted)
    (found,) = store.load()
    assert found.key == first.key and found.test is None
    assert [path.name for path in tmp_path.iterdir()] == [f"{first.key}.safetensors"]


def test_a_damaged_file_is_left_out_and_named(tmp_path):
    store = LabStore(tmp_path)
    store.save(run())
    (tmp_path / f"{'0' * 32}.safetensors").write_bytes(b"not a run")
    with pytest.warns(UserWarning, match="0000.* is not a run of the lab"):
        assert len(store.load()) == 1


# -- a term of your own ------------------------------------------------------------------------------------------


WRONG = {
    "shape": (lambda b, layers, dims: b.queries.sum(), r"returned shape \(\) for 3 layers and 3 dim.*\(3, 3\)"),
    "kind": (lambda b, layers, dims: 3.0, "returned float"),
    "nan": (lambda b, layers, dims: b.queries.sum().expand(len(layers), len(dims)) * float("nan"), "NaN or infinite"),
    "no gradient": (lambda b, layers, dims: torch.ones(len(layers), len(dims)), "has no gradient"),
    "gradient": (
        lambda b, layers, dims: b.queries.sub(b.queries).abs().sqrt().sum().expand(3, 3),
        "gradient of .* is NaN",
    ),
    "raises": (lambda b, layers, dims: b.nothing, "fails with AttributeError: .*nothing"),
    "arguments": (lambda b: b, "fails with TypeError"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_term_says_what_is_wrong(encoder, case):
    function, says = WRONG[case]
    with pytest.raises(InputError, match=says):
        check_term(function, encoder)


def test_a_sampler_may_see_no_painted_cell(encoder, task):
    one = RecipeFile("one", [{"term": "main", "weights": [[0, 0, 0], [0, 1, 0], [0, 0, 0]]}], "random")
    losses = train_recipe(encoder, task, one, **SMALL).history
    assert 0 < sum(loss > 0 for loss in losses) < len(losses) == 8


def test_a_right_term_is_trained(encoder, task):
    @term("length")
    def length(batch, layers, dims):
        return torch.stack([batch.query_rows(layers)[..., :d].pow(2).mean((1, 2)) for d in dims], 1)

    assert check_term(length, encoder) == "length"
    recipe = RecipeFile("short", [{"term": "length", "weights": [[1.0] * 3] * 3}])
    result = train_recipe(encoder, task, recipe, terms=[length], steps=8, batch_size=40)
    assert result.history[-1] < result.history[0]
    with pytest.raises(InputError, match="is not a term"):
        check_term(3, encoder)
