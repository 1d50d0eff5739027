"""Labeled vectors and how they are tested: what small networks are trained on, and whether they answer right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.classification.small_networks import Networks
from mrl_tutorial.tasks.types import ClassificationTask


@dataclass(frozen=True)
class LabeledVectors:
    """x (N, F) float32, labels (N,) int64; rounds: (training rows, tested rows) pairs, one for each fold."""

    name: str
    x: np.ndarray
    labels: np.ndarray
    rounds: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def tested(self) -> np.ndarray:
        """The tested rows, in the order of every outcome's last axis."""
        return np.concatenate([test for _, test in self.rounds])

    def key(self) -> str:
        """Stands for everything in it."""
        return files.key(self.x, self.labels, *(part for pair in self.rounds for part in pair))


def from_task(task: ClassificationTask) -> LabeledVectors:
    """The vectors of a classification task, tested by its folds. Raises InputError where it has none.

    >>> from mrl_tutorial.tasks.load import load_task
    >>> digits = from_task(load_task("digits"))
    >>> digits.x.shape, len(digits.rounds), len(digits.tested)
    ((1797, 64), 5, 1797)
    """
    rounds = task.fold_indices(0)
    return scaled(task.name, *task.splits["all"], rounds)


def scaled(
    name: str, x: np.ndarray, labels: np.ndarray, rounds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> LabeledVectors:
    """Vectors centered on the mean over all training rows, and scaled by one common factor."""
    seen = np.unique(np.concatenate([train for train, _ in rounds]))
    x = x - x[seen].mean(0)
    x *= 0.25 / (x[seen].std() + 1e-12)
    return LabeledVectors(name, np.asarray(x, np.float32), np.asarray(labels, np.int64), tuple(rounds))


def own_heads(data: LabeledVectors, networks: Networks, n_seeds: int) -> np.ndarray:
    """Whether each network's own classifiers are right: (S, M, tested items). networks: one for each seed and round,
    all rounds of the first seed first."""
    answers, n = networks.predict(data.x), len(data.rounds)  # (S * R, M, N)
    parts = [answers[r::n][:, :, test] == data.labels[test] for r, (_, test) in enumerate(data.rounds)]
    return np.concatenate(parts, axis=2).astype(np.float32).reshape(n_seeds, answers.shape[1], -1)
