"""How far a classifier's confidence can be believed, in lesson 05."""

from __future__ import annotations

import numpy as np

from mrl_tutorial import InputError


def reliability(
    confidence: np.ndarray, right: np.ndarray, bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Calibration: items by confidence in `bins` equal intervals of 0..1.

    Returns (count, mean confidence, share right), each (bins,), NaN in an empty bin; and the expected calibration
    error, the mean of |confidence - right| over bins, weighted by count. Raises InputError without items or bins, or
    where the shapes disagree.
    """
    confidence, right = np.ravel(confidence), np.ravel(right)
    if len(confidence) != len(right) or not len(right) or bins < 1:
        raise InputError(
            f"{len(confidence)} confidences, {len(right)} answers, {bins} bins: give as many of both, and 1 bin or more"
        )
    where = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean, share = (np.bincount(where, weights=v, minlength=bins) / count for v in (confidence, right))
    return count, mean, share, float(np.nansum(np.abs(mean - share) * count) / count.sum())
