"""The search for thresholds against trying everything, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from evidence import cascade_search as search

from mrl_tutorial.classification import cascade
from mrl_tutorial.errors import InputError
from tests.classification.test_cascade import DIMS, made


@pytest.mark.parametrize("visited", [False, True])
@pytest.mark.parametrize("price", [0, 0.05, 0.5])
def test_tuning_finds_what_trying_everything_finds(price, visited):
    grid = np.linspace(0.2, 1, 9)

    def objective(out):
        return 1 - out.accuracy + price * (out.visited if visited else out.final) / 64

    gaps = []
    for seed in range(6):
        a = cascade.answers(*made(seed), DIMS)
        t = search.tuned_thresholds(a, price, grid, visited=visited)
        got = objective(cascade.run(a, t))
        shared = min(objective(o) for o in cascade.shared_curve(a, np.append(grid, search.NEVER)))
        every = [np.array([x, y, z]) for x in grid for y in grid for z in (*grid, 1.01)]
        best = min(objective(cascade.run(a, u)) for u in every)
        assert got <= shared + 1e-12
        for j in range(3):  # no single threshold can be bettered
            for v in (*grid, search.NEVER):
                assert got <= objective(cascade.run(a, np.where(np.arange(3) == j, v, t))) + 1e-9
        gaps.append(got - best)
    assert np.median(gaps) < 0.01 and max(gaps) < 0.04


def test_cheapest_keeps_its_promise_on_the_items_it_has_seen():
    a = cascade.answers(*made(3, items=300), DIMS)
    full = a.accuracy[-1]
    for visited in (False, True):
        sizes = []
        for tolerance, sureness in ((0.05, 0), (0, 0), (0.01, 2), (0, 2)):
            out = cascade.run(a, search.cheapest_thresholds(a, tolerance, sureness, visited=visited))
            one = cascade.run(a, search.cheapest_thresholds(a, tolerance, sureness, visited=visited, shared=True))
            size, simple = ((o.visited if visited else o.final) for o in (out, one))
            for o in (out, one):
                error = np.std(o.right * 1.0 - a.right[-1]) / 300**0.5
                assert o.accuracy - full - sureness * error >= -tolerance - 1e-9
            assert size <= simple
            sizes.append(size)
        assert sizes[0] < sizes[1] <= sizes[3] and sizes[0] < sizes[2] <= sizes[3]
    by_hand = [o for o in cascade.shared_curve(a) if o.accuracy >= full - 0.05]
    chosen = cascade.run(a, search.cheapest_thresholds(a, 0.05, shared=True))
    assert chosen.final == min(o.final for o in by_hand)


def test_one_size_has_no_thresholds():
    p, labels = made(sizes=1)
    single = cascade.answers(p, labels, (8,))
    assert len(search.tuned_thresholds(single, 0.1)) == len(search.cheapest_thresholds(single)) == 0


def test_impossible_prices_and_targets_are_named():
    a = cascade.answers(*made(), DIMS)
    for call in (
        lambda: search.tuned_thresholds(a, -1),
        lambda: search.tuned_thresholds(a, np.nan),
        lambda: search.cheapest_thresholds(a, -0.1),
        lambda: search.cheapest_thresholds(a, 0, -1),
    ):
        with pytest.raises(InputError):
            call()
