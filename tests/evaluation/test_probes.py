"""Classification in every cell against scikit-learn, looped by hand: few-shot logistic regression, 1-NN, folds."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.measures import few_shot_rows, subsample
from mrl_tutorial.evaluation.metrics import one_thread
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.tasks.types import ClassificationTask

L, D = 3, 24


def classes(n_train=90, n_test=40, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(L, n_classes, D))
    labels = {"train": rng.integers(0, n_classes, n_train), "test": rng.integers(0, n_classes, n_test)}
    vectors = {
        part: (centers[:, y] + 1.5 * rng.normal(size=(L, len(y), D))).astype(np.float32) for part, y in labels.items()
    }
    splits = {part: (["t"] * len(y), y) for part, y in labels.items()}
    task = ClassificationTask("stub", "random", splits, list("abcd")[:n_classes])
    return task, vectors, labels


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_accuracy_is_a_loop_over_scikit_learns_logistic_regression():
    task, vectors, labels = classes()
    grid = evaluate_grid(task, embeddings=vectors, metric="accuracy", dims=[4, D], seed=5)
    samples = few_shot_rows(labels["train"], 8, 10, seed=5)
    for i in range(L):
        for j, d in enumerate((4, D)):
            found = []
            for sample in samples:
                x, y = unit(vectors["train"][i][:, :d]), labels["train"]
                with one_thread():
                    model = LogisticRegression(max_iter=100).fit(x[sample], y[sample])
                found.append(model.score(unit(vectors["test"][i][:, :d]), labels["test"]))
            assert grid.values[i, j] == pytest.approx(np.mean(found), abs=1e-6)


def test_samples_take_so_many_of_each_label_and_differ():
    labels = np.array([0] * 30 + [1] * 20 + [2] * 3)
    samples = few_shot_rows(labels, 8, 10, seed=0)
    assert len(samples) == 10 and len({tuple(x) for x in samples}) == 10
    for sample in samples:
        assert len(set(sample)) == len(sample) and np.bincount(labels[sample]).tolist() == [8, 8, 3]
    assert all((a == b).all() for a, b in zip(samples, few_shot_rows(labels, 8, 10, seed=0), strict=True))


def test_one_nearest_neighbor_is_scikit_learns():
    task, vectors, labels = classes()
    grid = evaluate_grid(task, embeddings=vectors, metric="1nn", dims=[2, 8, D])
    for i in range(L):
        for j, d in enumerate(grid.dims):
            train, test = (vectors[part][i][:, :d].astype(float) for part in ("train", "test"))
            model = KNeighborsClassifier(1, metric="cosine").fit(train, labels["train"])
            right = model.predict(test) == labels["test"]
            np.testing.assert_array_equal(grid.per_item[i, j], right)


def test_cross_validation_tests_every_item_once():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 61)
    x = (rng.normal(size=(3, D))[y] + rng.normal(size=(61, D))).astype(np.float32)
    held_out = {"train": (x[:40], y[:40]), "dev": (x[40:], y[40:])}
    task = ClassificationTask("stub", "random", {**held_out, "test": (x[:9], y[:9]), "all": (x, y)}, list("abc"), 5)
    grids = evaluate_grid(task, metric=["accuracy", "1nn"], dims=[D])
    models = {"accuracy": LogisticRegression(max_iter=100), "1nn": KNeighborsClassifier(1, metric="cosine")}
    for name, model in models.items():
        right = np.full(len(y), np.nan)
        for train, test in task.fold_indices(seed=0):
            assert np.isnan(right[test]).all()
            right[test] = model.fit(unit(x)[train], y[train]).predict(unit(x)[test]) == y[test]
        np.testing.assert_array_equal(grids[name].per_item[0, 0], right)
    few = evaluate_grid(task, metric="1nn", dims=[D], max_queries=20)
    keep = subsample([str(i) for i in range(61)], 20)
    np.testing.assert_array_equal(few.per_item[0, 0], grids["1nn"].per_item[0, 0, keep])
    dev = evaluate_grid(task, split="dev", dims=[D])  # one model of all of train
    expected = models["accuracy"].fit(unit(x)[:40], y[:40]).predict(unit(x)[40:]) == y[40:]
    np.testing.assert_array_equal(dev.per_item[0, 0], expected)


def test_digits_are_each_tested_once():
    grid = evaluate_grid(load_task("digits"), metric="1nn")
    assert (grid.layers, grid.dims) == ((1,), (8, 16, 32, 64)) and grid.per_item.shape == (1, 4, 1797)
    assert grid.at(1, 64) > 0.98 > grid.at(1, 8)


def test_what_cannot_be_fitted_is_refused():
    single, vectors, _ = classes(n_classes=1)
    with pytest.raises(InputError, match="single class"):
        evaluate_grid(single, embeddings=vectors)
    task, vectors, _ = classes()
    with pytest.raises(InputError, match="does not suit a classification task: choose accuracy or 1nn"):
        evaluate_grid(task, embeddings=vectors, metric="ndcg@10")
    for wrong in ({"samples_per_label": 0}, {"n_experiments": 0}):
        with pytest.raises(InputError, match="give 1 or more"):
            evaluate_grid(task, embeddings=vectors, **wrong)
    untrained = ClassificationTask("stub", "random", {"test": task.splits["test"]}, list("abcd"))
    with pytest.raises(InputError, match="too few to cut by hash"):
        evaluate_grid(untrained, embeddings=vectors)
