"""How well classes can be told from every cell's unit vectors: few-shot logistic regression (MTEB) and 1-NN."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import cross_validated
from mrl_tutorial.evaluation.ranks import score_blocks
from mrl_tutorial.retrieval.exact import unit


@dataclass(frozen=True)
class Plan:
    """What is fitted on what. rounds: (rows of the training part, rows tested, which of the tested items these are)."""

    part: str  # where training rows are: "train", or "test" where the task is cross-validated
    train_labels: np.ndarray
    test_labels: np.ndarray
    rounds: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    draws: list[np.ndarray] | None
    n_items: int

    def measure(self, name: str, here: dict[str, np.ndarray], dims: Sequence[int], cosine: bool) -> np.ndarray:
        """ "accuracy" or "1nn" of one layer: share of right answers for each tested item, (len(dims), n_items)."""
        out = np.zeros((len(dims), self.n_items), dtype=np.float32)
        for train, test, items in self.rounds:
            x, y = here[self.part][train], self.train_labels[train]
            arguments = (x, y, here["test"][test], self.test_labels[test], dims)
            if name == "1nn":
                out[:, items] = nearest_accuracy(*arguments, cosine=cosine)
            else:
                out[:, items] = logistic_accuracy(*arguments, self.draws or [np.arange(len(y))])
        return out


def plan(task: Any, split: str, keep: np.ndarray, samples_per_label: int, n_draws: int, seed: int) -> Plan:
    """How a ClassificationTask is measured on the items `keep` of `split`: `n_draws` few-shot draws of the training
    split (MTEB), or, where it is cross-validated, its folds, each tested by a model of all the others (on dev: one
    model of all of train). Raises InputError where nothing can be fitted.
    """
    if samples_per_label < 1 or n_draws < 1:
        raise InputError(f"samples_per_label {samples_per_label}, n_draws {n_draws}: give 1 or more of each")
    test_labels = np.asarray(task.splits["all" if cross_validated(task, split) else split][1])
    if cross_validated(task, split):
        place = np.full(len(test_labels), -1)
        place[keep] = np.arange(len(keep))
        rounds = []
        for train, test in task.fold_indices(seed):
            test = test[place[test] >= 0]
            if len(test):
                rounds.append((train, test, place[test]))
        return Plan("test", test_labels, test_labels, rounds, None, len(keep))
    labels = np.asarray(task.splits["train"][1])
    if len(np.unique(labels)) < 2:
        raise InputError(f"the training split of {task.name!r} has a single class: nothing can be told apart")
    draws = None if task.folds else few_shot_draws(labels, samples_per_label, n_draws, seed)
    rounds = [(np.arange(len(labels)), keep, np.arange(len(keep)))]
    return Plan("train", labels, test_labels, rounds, draws, len(keep))


def few_shot_draws(labels: np.ndarray, samples_per_label: int, n_draws: int, seed: int) -> list[np.ndarray]:
    """Rows of `n_draws` training subsets, at most `samples_per_label` of each label, as MTEB draws them: the order is
    shuffled anew before each draw, starting from the last one, and the first rows of each label are taken.
    """
    rng = np.random.default_rng(seed)
    order, draws = np.arange(len(labels)), []
    for _ in range(n_draws):
        rng.shuffle(order)
        taken = {label: order[labels[order] == label][:samples_per_label] for label in np.unique(labels)}
        draws.append(np.sort(np.concatenate(list(taken.values()))))
    return draws


def logistic_accuracy(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, dims: Sequence[int],
    draws: Sequence[np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Share of draws in which each test item is classified right, at each dimension: (len(dims), n_test) float32.

    train (N, D), test (n_test, D); prefixes are cut, then normalised, because the L2 penalty (C = 1) sees their scale.
    scikit-learn's LogisticRegression, max_iter=100, fitted on each of `draws` (rows of train): MTEB's protocol.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    right = np.zeros((len(dims), len(test_labels)), dtype=np.float32)
    for row, d in enumerate(dims):
        x, y = unit(train[:, :d]), unit(test[:, :d])
        for draw in draws:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations are the protocol
                model = LogisticRegression(max_iter=100).fit(x[draw], train_labels[draw])
            right[row] += model.predict(y) == test_labels
    return right / np.float32(len(draws))


def nearest_accuracy(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, dims: Sequence[int],
    *, cosine: bool = True,
) -> np.ndarray:  # fmt: skip
    """1 where the nearest training item (the first of equals) has the test item's label: (len(dims), n_test)."""
    right = np.zeros((len(dims), len(test_labels)), dtype=np.float32)
    for rows, scores_by_dim in score_blocks(test, train, dims, cosine=cosine):
        for row, (_, scores) in enumerate(scores_by_dim):
            right[row, rows] = train_labels[scores.argmax(1).numpy()] == test_labels[rows]
    return right
