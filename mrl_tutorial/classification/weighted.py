"""What importance weights do: networks trained with some weights for their sizes, compared with equal weights."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrl_tutorial.classification.labeled_vectors import LabeledVectors, own_heads
from mrl_tutorial.classification.small_networks import NetworkConfig, Report, train_networks
from mrl_tutorial.evaluation.statistics import paired

Weights = tuple[float, ...]  # one for each size


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
