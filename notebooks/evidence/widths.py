"""What a narrower vector keeps of the full quality, and the smallest width under a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import MARGIN, Difference


def kept(values: Sequence[float] | np.ndarray, full: float | None = None) -> np.ndarray:
    """Values (..., M) as shares of `full` (default: the last column of each row), same shape.

    1 - kept is the penalty of Boruń et al. (2024). Raises InputError where the full quality is not positive.

    >>> kept([0.25, 0.5]).tolist()
    [0.5, 1.0]
    """
    values = np.asarray(values, dtype=np.float64)
    reference = values[..., -1:] if full is None else np.float64(full)
    if not np.all(reference > 0):
        raise InputError(
            f"quality {np.ravel(reference)[0]} at full width: no share of it can be taken; look at the model"
        )
    return values / reference


def smallest_width(differences: Mapping[int, Difference], budget: float = MARGIN) -> int | None:
    """The smallest width that loses at most `budget`, as all wider ones do: every lower bound is at least -budget.

    differences: width -> Difference to full width. Widths below a failing one do not count, so that a narrow width is
    not taken by luck; None where even the widest fails. Raises InputError for a negative budget, and for no widths.
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
