"""How well classes can be told from prefixes: few-shot logistic regression (MTEB), 1-NN."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import cross_validated, task_labels
from mrl_tutorial.evaluation.ranks import score_blocks
from mrl_tutorial.topk import unit

Probe = Callable[[str, Mapping[str, np.ndarray], Sequence[int], bool], np.ndarray]


def few_shot(task: Any, split: str, keep: np.ndarray, samples_per_label: int, n_experiments: int, seed: int) -> Probe:
    """How a classification task is measured on the items `keep` of `split`: a function of "accuracy" or "1nn", one
    layer's vectors, dims and cosine that gives the share of right answers for each item, (len(dims), len(keep)).

    MTEB's protocol: `n_experiments` random samples of the training split. A cross-validated task: its folds, each
    tested by a model of all the others (on dev: one model of all of train). Raises InputError where nothing can be
    fitted.
    """
    if samples_per_label < 1 or n_experiments < 1:
        counts = f"samples_per_label {samples_per_label}, n_experiments {n_experiments}"
        raise InputError(f"{counts}: give 1 or more of each")
    labels = test_labels = task_labels(task, split)
    part, samples = "test", None  # where the training rows are; those of each experiment, None: all of them, once
    if cross_validated(task, split):
        place = np.full(len(labels), -1)
        place[keep] = np.arange(len(keep))
        folds = [(train, test[place[test] >= 0]) for train, test in task.fold_indices(seed)]
        # rows of the training part, rows tested, which of the items to measure these are
        rounds = [(train, test, place[test]) for train, test in folds if len(test)]
    else:
        part, labels = "train", np.asarray(task.splits["train"][1])
        if len(np.unique(labels)) < 2:
            raise InputError(f"the training split of {task.name!r} has a single class: nothing can be told apart")
        samples = None if task.folds else few_shot_rows(labels, samples_per_label, n_experiments, seed)
        rounds = [(np.arange(len(labels)), keep, np.arange(len(keep)))]

    def measure(name: str, here: Mapping[str, np.ndarray], dims: Sequence[int], cosine: bool) -> np.ndarray:
        out = np.zeros((len(dims), len(keep)), dtype=np.float32)
        for train, test, items in rounds:
            x, y, asked, right = here[part][train], labels[train], here["test"][test], test_labels[test]
            if name == "1nn":
                out[:, items] = _nearest_accuracy(x, y, asked, right, dims, cosine)
            else:
                out[:, items] = _logistic_accuracy(x, y, asked, right, dims, samples or [np.arange(len(y))])
        return out

    return measure


def few_shot_rows(labels: np.ndarray, samples_per_label: int, n_experiments: int, seed: int) -> list[np.ndarray]:
    """The training rows of every experiment, at most `samples_per_label` of each label.

    As MTEB samples them: the order is shuffled anew before each experiment, starting from the one before, and the first
    rows of each label are taken.

    >>> labels = np.array([0, 0, 0, 1, 1])
    >>> [np.bincount(labels[rows]).tolist() for rows in few_shot_rows(labels, 2, 3, seed=0)]
    [[2, 2], [2, 2], [2, 2]]
    """
    rng = np.random.default_rng(seed)
    order, samples = np.arange(len(labels)), []
    for _ in range(n_experiments):
        rng.shuffle(order)
        taken = [order[labels[order] == label][:samples_per_label] for label in np.unique(labels)]
        samples.append(np.sort(np.concatenate(taken)))
    return samples


def _logistic_accuracy(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    dims: Sequence[int],
    samples: Sequence[np.ndarray],
) -> np.ndarray:
    """Share of the fits, one on each of `samples` (rows of train), that classify each test item right: (M, n_test).

    Prefixes are cut, then normalized, because the L2 penalty (C = 1) of scikit-learn's regression sees their scale."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    right = np.zeros((len(dims), len(test_labels)), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations are the protocol
        for row, d in enumerate(dims):
            x, y = unit(train[:, :d]), unit(test[:, :d])
            for sample in samples:
                model = LogisticRegression(max_iter=100).fit(x[sample], train_labels[sample])
                right[row] += model.predict(y) == test_labels
    return right / np.float32(len(samples))


def _nearest_accuracy(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    dims: Sequence[int],
    cosine: bool,
) -> np.ndarray:
    """1 where the nearest training item (ties: the first) has the test item's label: (M, n_test)."""
    right = np.zeros((len(dims), len(test_labels)), dtype=np.float32)
    for rows, scores_by_dim in score_blocks(test, train, dims, cosine=cosine):
        for row, (_, scores) in enumerate(scores_by_dim):
            right[row, rows] = train_labels[scores.argmax(1).numpy()] == test_labels[rows]
    return right
