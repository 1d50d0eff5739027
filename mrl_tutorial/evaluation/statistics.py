"""What shrinking costs: shares of full-width quality, differences with their bounds, the smallest width that will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import bootstrap

MARGIN = 0.01  # "not worse": the lower bound of the difference is at least minus this


class Difference(NamedTuple):
    """mean (a - b) with 95 % bootstrap bounds over items; spread: sample standard deviation over seeds, NaN for one."""

    mean: float
    low: float
    high: float
    spread: float

    @property
    def not_worse(self) -> bool:
        """Non-inferior: the lower bound is at least -0.01."""
        return self.low >= -MARGIN

    @property
    def better(self) -> bool:
        """The lower bound is above 0."""
        return self.low > 0

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def kept(values: Sequence[float], full: float | None = None) -> np.ndarray:
    """Penalty curve: values (..., M) as shares of `full` (default: the last column of each row), same shape.

    1 - kept is the penalty of Boruń et al. (2024). Raises InputError where the full quality is not positive.
    """
    values = np.asarray(values, dtype=np.float64)
    reference = values[..., -1:] if full is None else np.float64(full)
    if not np.all(reference > 0):
        raise InputError(
            f"quality {np.ravel(reference)[0]} at full width: no share of it can be taken; look at the model"
        )
    return values / reference


def paired(a: np.ndarray, b: np.ndarray, *, draws: int = 2000, seed: int = 0) -> Difference:
    """a - b, for two models trained with several seeds and measured on the same items.

    a: (S, items), b: (S, items) or (1, items), a row a seed. The items are resampled, each seed's mean taken along;
    `spread` pairs the seeds. Raises InputError where the items or the seeds do not match.
    """
    a, b = np.atleast_2d(np.asarray(a, np.float64)), np.atleast_2d(np.asarray(b, np.float64))
    if a.shape[1] != b.shape[1] or (len(a) != len(b) and 1 not in (len(a), len(b))):
        raise InputError(f"shapes {a.shape} and {b.shape} cannot be paired: the same items, and as many seeds (or one)")
    items = a.mean(0) - b.mean(0)  # (items,)
    by_seed = (a - b).mean(1)  # (S,)
    spread = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else float("nan")
    return Difference(float(items.mean()), *bootstrap(items, draws=draws, seed=seed), spread)


def smallest_width(differences: Mapping[int, Difference], budget: float = MARGIN) -> int | None:
    """The smallest width from which on no width costs more than `budget`: every lower bound (width - full) >= -budget.

    differences: width -> Difference to full width. Widths beyond a failing one do not count, so that a lucky narrow
    width is not taken; None where even the widest fails. Raises InputError for a negative budget, and for no widths.
    """
    if not differences or budget < 0:
        raise InputError(
            f"{len(differences)} widths and a budget of {budget}: give some widths, and a budget of 0 or more"
        )
    found = None
    for width in sorted(differences, reverse=True):
        if differences[width].low < -budget:
            break
        found = width
    return found
