"""How well classes can be told from prefixes: few-shot logistic regression (MTEB), 1-NN."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import cross_validated, task_labels
from mrl_tutorial.evaluation.ranks import score_blocks
from mrl_tutorial.topk import unit


@dataclass(frozen=True)
class FewShotSamples:
    """What is fitted on what. Made by `few_shot`.

    part: where the training rows are: "train", or "test" where the task is cross-validated.
    rounds: (rows of the training part, rows tested, which of the tested items these are), one for each fold.
    samples: the training rows of each experiment, or None to fit once on all of them.
    """

    part: str
    train_labels: np.ndarray
    test_labels: np.ndarray
    rounds: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    samples: list[np.ndarray] | None
    n_items: int

    def measure(self, name: str, here: Mapping[str, np.ndarray], dims: Sequence[int], cosine: bool) -> np.ndarray:
        """ "accuracy" or "1nn" of one layer: share of right answers for each tested item, (len(dims), n_items)."""
        out = np.zeros((len(dims), self.n_items), dtype=np.float32)
        for train, test, items in self.rounds:
            x, y = here[self.part][train], self.train_labels[train]
            arguments = (x, y, here["test"][test], self.test_labels[test], dims)
            if name == "1nn":
                out[:, items] = nearest_accuracy(*arguments, cosine=cosine)
            else:
                out[:, items] = logistic_accuracy(*arguments, self.samples or [np.arange(len(y))])
        return out


def few_shot(
    task: Any, split: str, keep: np.ndarray, samples_per_label: int, n_experiments: int, seed: int
) -> FewShotSamples:
    """How a classification task is measured on the items `keep` of `split`.

    MTEB's protocol: `n_experiments` random samples of the training split. A cross-validated task: its folds, each
    tested by a model of all the others (on dev: one model of all of train). Raises InputError where nothing can be
    fitted.
    """
    if samples_per_label < 1 or n_experiments < 1:
        raise InputError(
            f"samples_per_label {samples_per_label}, n_experiments {n_experiments}: give 1 or more of each"
        )
    test_labels = task_labels(task, split)
    if cross_validated(task, split):
        place = np.full(len(test_labels), -1)
        place[keep] = np.arange(len(keep))
        folds = [(train, test[place[test] >= 0]) for train, test in task.fold_indices(seed)]
        rounds = [(train, test, place[test]) for train, test in folds if len(test)]
        return FewShotSamples("test", test_labels, test_labels, rounds, None, len(keep))
    labels = np.asarray(task.splits["train"][1])
    if len(np.unique(labels)) < 2:
        raise InputError(f"the training split of {task.name!r} has a single class: nothing can be told apart")
    samples = None if task.folds else few_shot_rows(labels, samples_per_label, n_experiments, seed)
    rounds = [(np.arange(len(labels)), keep, np.arange(len(keep)))]
    return FewShotSamples("train", labels, test_labels, rounds, samples, len(keep))


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


def logistic_accuracy(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, dims: Sequence[int],
    samples: Sequence[np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Share of the fits that classify each test item right, at each dimension: (len(dims), n_test) float32.

    train (N, D), test (n_test, D): prefixes are cut, then normalized, because the L2 penalty (C = 1) sees their scale.
    scikit-learn's LogisticRegression, max_iter=100, fitted on each of `samples` (rows of train): MTEB's protocol.
    """
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


def nearest_accuracy(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, dims: Sequence[int],
    *, cosine: bool = True,
) -> np.ndarray:  # fmt: skip
    """1 where the nearest training item (ties: the first) has the test item's label: (len(dims), n_test)."""
    right = np.zeros((len(dims), len(test_labels)), dtype=np.float32)
    for rows, scores_by_dim in score_blocks(test, train, dims, cosine=cosine):
        for row, (_, scores) in enumerate(scores_by_dim):
            right[row, rows] = train_labels[scores.argmax(1).numpy()] == test_labels[rows]
    return right
