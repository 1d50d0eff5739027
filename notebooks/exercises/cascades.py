"""Checks of notebook 02: the expected size of a cascade, its decision, and what its classifiers read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exercises.verdict import exercise

DIMS = (8, 16, 32)


@exercise("share times size, summed: no vector has that size, it is a mean.")
def expected_size(function: Callable[[np.ndarray, tuple[int, ...]], float]) -> str | None:
    """Exercise "expected size": shares (M,) and sizes (M,) to the mean size."""
    for shares, want in (([0.5, 0.25, 0.25], 16.0), ([1, 0, 0], 8.0), ([0, 0, 1], 32.0), ([0.9, 0.1, 0], 8.8)):
        got = function(np.array(shares, dtype=float), DIMS)
        if got is None or np.ndim(got) != 0:
            return f"the result must be one number, yours has shape {np.shape(got)}: sum the products."
        if np.isclose(got, want):
            continue
        if np.isclose(got, np.mean(DIMS)):
            return "that is the mean of the sizes, as if each were used equally often; weigh each with its share."
        return f"shares {shares} of the sizes {list(DIMS)} make {want:g}, yours says {got:g}."
    return None


@exercise("the first size that is sure enough answers, the last one takes the rest.")
def decide(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> str | None:
    """Exercise "the decision": confidence (M, N), thresholds (M - 1,) to the index of the size that answers, (N,)."""
    confidence = np.array([[0.9, 0.2, 0.6, 0.1, 0.8], [0.1, 0.7, 0.99, 0.2, 0.9], [0.5, 0.5, 0.5, 0.3, 0.1]])
    want = [0, 1, 1, 2, 0]
    found = function(confidence.copy(), np.array([0.8, 0.7]))
    if np.shape(found) != (5,):
        return f"5 items need 5 numbers, the result has shape {np.shape(found)}."
    got = [int(g) for g in found]
    if got == want:
        return None
    if got == confidence.argmax(0).tolist():
        return "you took the most confident size; a cascade takes the first that is sure enough and looks no further."
    if got[3] == 0:
        return "item 3 is sure nowhere; it must go on to the last size, which always answers."
    if got[4] != 0 or got[1] != 1:
        return f"a confidence that equals its threshold is enough (>=). Wanted {want}, yours is {got}."
    return f"wanted {want}, yours is {got}: the first size whose confidence reaches its threshold, else the last."


@exercise("separate classifiers pay for every size they pass, a tied one only for the last.")
def charge(function: Callable[[np.ndarray, tuple[int, ...], bool], float]) -> str | None:
    """Exercise "find the error": (shares, sizes, separate) to the coordinates that the classifiers read on average."""
    shares = np.array([0.5, 0.25, 0.25])
    tied, separate = (function(shares.copy(), DIMS, kind) for kind in (False, True))
    if tied is None or separate is None:
        return "return one number."
    if not np.isclose(tied, 16):
        return f"one tied classifier goes on where it stopped: 0.5*8 + 0.25*16 + 0.25*32 = 16, yours says {tied:g}."
    if np.isclose(separate, 16):
        return (
            "with separate classifiers only the last size is charged. An item that stops at 32 has been through a "
            "classifier of 8 and one of 16 before, and nothing of their work can be used again."
        )
    if not np.isclose(separate, 24):
        return f"separate classifiers: 0.5*8 + 0.25*(8+16) + 0.25*(8+16+32) = 24, yours says {separate:g}."
    return None
