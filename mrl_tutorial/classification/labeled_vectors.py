"""Labeled vectors and how they are tested: what small networks are trained on, whether they answer right, and what
importance weights do: networks trained with some weights for their sizes, compared with equal weights.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.classification.small_networks import NetworkConfig, Networks, Report, train_networks
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import paired
from mrl_tutorial.tasks.types import ClassificationTask

Weights = tuple[float, ...]  # one for each size


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
    """The vectors of a classification task, tested by its folds. Raises InputError where it has no folds, or has
    vectors of several layers.

    >>> from mrl_tutorial.tasks.load import load_task
    >>> digits = from_task(load_task("digits"))
    >>> digits.x.shape, len(digits.rounds), len(digits.tested)
    ((1797, 64), 5, 1797)
    """
    rounds = task.fold_indices(0)
    x, labels = task.splits["all"]
    if x.ndim != 2:
        raise InputError(f"{task.name} holds vectors of shape {x.shape}: give those of one layer, (N, F)")
    return scaled(task.name, x, labels, rounds)


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


@dataclass(frozen=True)
class Trained:
    """What one choice of weights gave.

    right (M, N): 1 where a tested item is classified right at that size. gain (M, 3): accuracy minus that of equal
    weights, with its 95 % interval; NaN where a size was not trained.
    """

    weights: Weights
    right: np.ndarray
    gain: np.ndarray
    seconds: float = 0.0

    @property
    def accuracy(self) -> np.ndarray:
        """(M,), NaN where a size has weight 0 and its classifier was not trained."""
        return np.where(np.array(self.weights) > 0, self.right.mean(1), np.nan)


def train_with(
    data: LabeledVectors,
    config: NetworkConfig,
    weights: Sequence[float],
    base: Trained | None = None,
    report: Report | None = None,
    seed: int = 0,
) -> Trained | None:
    """Train one network for each fold with these weights and test every item once.

    base: what to compare with (default: itself). All start from the same weights and see the data in the same order, so
    the comparison is paired. Returns None where report(share, label) returned False. Raises InputError where no weight
    is above 0.
    """
    begun, weights, rows = time.perf_counter(), tuple(map(float, weights)), [train for train, _ in data.rounds]
    seeds = [100 * seed + r for r in range(len(rows))]
    networks = train_networks(data.x, data.labels, rows, [weights] * len(rows), seeds, config, report=report)
    if networks is None:
        return None
    right = own_heads(data, networks, 1)[0]
    other = right if base is None else base.right
    gain = [paired(right[j], other[j], samples=400)[:3] if c else (np.nan,) * 3 for j, c in enumerate(weights)]
    return Trained(weights, right, np.array(gain), time.perf_counter() - begun)
