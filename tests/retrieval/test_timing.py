"""Milliseconds by a clock that the test turns."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval import timing
from mrl_tutorial.retrieval.timing import BATCH, milliseconds

X = (np.random.default_rng(0).normal(size=(500, 16)) * np.linspace(2, 0.2, 16)).astype(np.float32)


def test_a_query_alone_and_in_a_batch(monkeypatch):
    clock, asked = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def search(q):
        asked.append(q.shape)
        clock[0] += (9, 1, 2, 4, 1, 2, 4, 1, 2, 40)[len(asked) - 1]

    assert milliseconds(search, X[:4], "single") == 2000 and asked == [(16,)] * 10  # the median; the first is not timed
    asked.clear()
    assert milliseconds(search, X[:4], "batch") == 1000 / BATCH and asked == [(BATCH, 16)] * 4
    asked.clear()
    milliseconds(search, X[None, :4], "batch", repeats=1)
    assert asked == [(1, BATCH, 16)] * 2
    with pytest.raises(InputError, match="race 'both' is unknown"):
        milliseconds(search, X, "both")
    with pytest.raises(InputError, match="no queries"):
        milliseconds(search, X[:0], "single")
