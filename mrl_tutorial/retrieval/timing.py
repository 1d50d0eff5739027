"""Milliseconds of a search on this machine, for queries that come alone or in batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError

RACES = ("single", "batch")
BATCH = 256


def milliseconds(search: Callable[[np.ndarray], Any], queries: np.ndarray, race: str, repeats: int = 3) -> float:
    """Milliseconds of one query: asked alone, the median; in batches of 256, the batch's best time over its size.

    search: takes queries (B, D) or (L, B, D), or one of them without B. repeats: batches that are timed, or three times
    as many single queries, after one that is not. Raises InputError for another race, and no queries.
    """
    if race not in RACES:
        raise InputError(f"race {race!r} is unknown: choose one of {', '.join(RACES)}")
    n = queries.shape[-2]
    if not n:
        raise InputError("there are no queries to time: give at least one")
    if race == "single":
        asked = [np.ascontiguousarray(queries[..., i % n, :]) for i in range(1 + 3 * repeats)]
    else:
        asked = [np.take(queries, np.arange(BATCH) % n, axis=-2)] * (1 + repeats)
    seconds = []
    for some in asked:
        began = time.perf_counter()
        search(some)
        seconds.append(time.perf_counter() - began)
    return 1e3 * float(np.median(seconds[1:]) if race == "single" else min(seconds[1:]) / BATCH)


def found_share(rows: np.ndarray, truth: np.ndarray) -> float:
    """Recall: the share of `truth` (Q, k) that rows (Q, >= k) hold.

    >>> found_share(np.array([[1, 2, 3]]), np.array([[3, 4]]))
    0.5
    """
    return float((rows[:, None, :] == truth[:, :, None]).any(2).mean())
