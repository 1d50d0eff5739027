"""Checks of the exercises on adaptive classification; as in checks.py they return a Verdict and never raise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exercises.verdict import Verdict, _run

DIMS = (8, 16, 32)


def expected_size(function: Callable[[np.ndarray, tuple[int, ...]], float]) -> Verdict:
    """Exercise "expected size": shares (M,) and sizes (M,) to the mean size."""

    def check() -> str | None:
        for shares, want in (([0.5, 0.25, 0.25], 16.0), ([1, 0, 0], 8.0), ([0, 0, 1], 32.0), ([0.9, 0.1, 0], 8.8)):
            got = function(np.array(shares, dtype=float), DIMS)
            if got is None or np.ndim(got) != 0:
                return f"the result must be one number, yours has shape {np.shape(got)}: sum the products."
            if not np.isclose(got, want):
                if np.isclose(got, np.mean(DIMS)):
                    return (
                        "that is the mean of the sizes, as if each were used equally often; weigh each with its share."
                    )
                return f"shares {shares} of the sizes {list(DIMS)} make {want:g}, yours says {got:g}."
        return None

    return _run(check, "share times size, summed: no vector has that size, it is a mean.")


def decide(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Verdict:
    """Exercise "the decision": confidence (M, N) and thresholds (M - 1,) to the index of the size that answers, (N,)."""

    def check() -> str | None:
        confidence = np.array([[0.9, 0.2, 0.6, 0.1, 0.8], [0.1, 0.7, 0.99, 0.2, 0.9], [0.5, 0.5, 0.5, 0.3, 0.1]])
        want = [0, 1, 1, 2, 0]
        got = function(confidence.copy(), np.array([0.8, 0.7]))
        if np.shape(got) != (5,):
            return f"5 items need 5 numbers, the result has shape {np.shape(got)}."
        got = [int(g) for g in got]
        if got == want:
            return None
        if got == confidence.argmax(0).tolist():
            return "you took the most confident size; a cascade takes the first that is sure enough and never looks further."
        if got[3] == 0:
            return "item 3 is sure nowhere; it must go on to the last size, which answers whatever comes."
        if got[4] != 0 or got[1] != 1:
            return f"a confidence that equals its threshold is enough (>=). Wanted {want}, yours is {got}."
        return f"wanted {want}, yours is {got}: the first size whose confidence reaches its threshold, else the last."

    return _run(check, "the first size that is sure enough answers, the last one takes the rest.")


def charge(function: Callable[[np.ndarray, tuple[int, ...], bool], float]) -> Verdict:
    """Exercise "find the error": (shares, sizes, separate) to the coordinates that the classifiers read on average."""

    def check() -> str | None:
        shares = np.array([0.5, 0.25, 0.25])
        tied, separate = (function(shares.copy(), DIMS, kind) for kind in (False, True))
        if tied is None or separate is None:
            return "return one number."
        if not np.isclose(tied, 16):
            return f"one tied classifier goes on where it stopped: 0.5*8 + 0.25*16 + 0.25*32 = 16, yours says {tied:g}."
        if np.isclose(separate, 16):
            return (
                "with separate classifiers only the last size is charged. Whoever stops at 32 has been through a "
                "classifier of 8 and one of 16 before, and nothing of their work can be used again."
            )
        if not np.isclose(separate, 24):
            return f"separate classifiers: 0.5*8 + 0.25*(8+16) + 0.25*(8+16+32) = 24, yours says {separate:g}."
        return None

    return _run(check, "separate classifiers pay for every size they pass, a tied one only for the last.")
