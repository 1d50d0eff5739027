"""The cascade against loops over items, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrl_tutorial.classification import cascade
from mrl_tutorial.classification.small_networks import NetworkConfig, train_networks
from mrl_tutorial.errors import InputError

DIMS = (8, 16, 32, 64)


def made(seed=0, sizes=4, items=60, classes=5, steps=None):
    """Random probabilities whose larger sizes are better, and their labels; steps: few distinct values, for ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, items)
    logits = rng.normal(size=(sizes, items, classes))
    logits[:, np.arange(items), labels] += np.linspace(0.5, 2.5, sizes)[:, None]
    if steps:
        logits = np.round(logits * steps) / steps
    p = np.exp(logits)
    return p / p.sum(-1, keepdims=True), labels


def by_loop(p, labels, dims, thresholds):
    """One item after the other: (right, stop, final size, sizes visited)."""
    rows = []
    for n in range(len(labels)):
        visited = 0
        for i, d in enumerate(dims):
            visited += d
            row = [float(v) for v in p[i, n]]
            sure = max(row)
            if i == len(dims) - 1 or sure >= thresholds[i]:
                rows.append((row.index(sure) == labels[n], i, d, visited))
                break
    return rows


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(-0.2, 1.2), min_size=3, max_size=3), st.sampled_from([None, 1]))
def test_the_cascade_is_the_loop(seed, thresholds, steps):
    p, labels = made(seed, steps=steps)
    out = cascade.run(cascade.answers(p, labels, DIMS), thresholds)
    right, stop, final, visited = map(np.array, zip(*by_loop(p, labels, DIMS, thresholds), strict=True))
    assert np.array_equal(out.right, right) and np.array_equal(out.stop, stop)
    assert out.accuracy == pytest.approx(right.mean())
    assert out.final == pytest.approx(final.mean()) and out.visited == pytest.approx(visited.mean())
    assert out.shares == pytest.approx([np.mean(stop == i) for i in range(4)])


def test_thresholds_at_the_edges():
    a = cascade.answers(*made(), DIMS)
    everyone, nobody = cascade.run(a, [0, 0, 0]), cascade.run(a, [1.01] * 3)
    assert (everyone.final, everyone.visited) == (8, 8) and everyone.accuracy == a.accuracy[0]
    assert (nobody.final, nobody.visited) == (64, 120) and nobody.accuracy == a.accuracy[-1]
    assert cascade.run(a, [1.01, 0, 0.5]).final == 16
    assert np.array_equal(
        cascade.stops(a.confidence, [0.5, 0.6, 0.7]), cascade.stops(a.confidence, [0.5, 0.6, 0.7, 9.0])
    )


def test_a_confidence_equal_to_the_threshold_stops():
    p = np.array([[[0.5, 0.5], [0.75, 0.25]], [[0.0, 1.0], [0.0, 1.0]]])
    a = cascade.answers(p, np.array([0, 1]), (1, 2))
    assert a.right.tolist() == [[True, False], [False, True]]  # of equal classes the first is answered
    assert cascade.stops(a.confidence, [0.5]).tolist() == [0, 0]
    assert cascade.stops(a.confidence, [0.75]).tolist() == [1, 0]


def test_one_class_and_one_size():
    a = cascade.answers(np.ones((2, 3, 1)), np.zeros(3, int), (4, 8))
    assert cascade.run(a, cascade.greedy_thresholds(a)).final == 4 and cascade.hopeless(a) == 0
    p, labels = made(sizes=1)
    single = cascade.answers(p, labels, (8,))
    for thresholds in ([], cascade.greedy_thresholds(single)):
        out = cascade.run(single, thresholds)
        assert (out.final, out.visited, out.accuracy) == (8, 8, single.accuracy[0])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p, y: (p, y, (16, 8, 32, 64)), "must increase"),
        (lambda p, y: (p, y, (8, 8, 32, 64)), "must increase"),
        (lambda p, y: (np.where(np.arange(60)[:, None] == 7, np.nan, p), y, DIMS), "must be 0 or more"),
        (lambda p, y: (np.log(p), y, DIMS), "softmax"),
        (lambda p, y: (p[:3], y, DIMS), "shape|sizes"),
        (lambda p, y: (p, y[:-1], DIMS), "labels"),
        (lambda p, y: (p, y + 5, DIMS), "class numbers 0 to 4"),
        (lambda p, y: (p, y * 1.0, DIMS), "class numbers"),
        (lambda p, y: (p[:, :0], y[:0], DIMS), "give"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(InputError, match=message):
        cascade.answers(*change(*made()))


def test_bad_thresholds_are_named():
    a = cascade.answers(*made(), DIMS)
    for call in (
        lambda: cascade.run(a, [0.5]),
        lambda: cascade.run(a, [0.5, np.nan, 0.5]),
        lambda: cascade.greedy_thresholds(a, []),
    ):
        with pytest.raises(InputError):
            call()


@pytest.mark.parametrize("seed, steps", [(0, None), (1, 1), (2, None)])
def test_the_greedy_rule_is_the_loop(seed, steps):
    p, labels = made(seed, steps=steps)
    found = cascade.greedy_thresholds(cascade.answers(p, labels, DIMS))
    for j in range(3):
        best, chosen = -1, None
        for t in np.linspace(0, 1, 101):
            hits = 0
            for n, label in enumerate(labels):
                row = p[j, n] if p[j, n].max() >= t else p[j + 1, n]
                hits += int(row.argmax() == label)
            if hits > best:
                best, chosen = hits, t
        assert found[j] == pytest.approx(chosen)


def test_oracle_bounds_every_cascade():
    p, labels = made(4)
    a = cascade.answers(p, labels, DIMS)
    best = cascade.oracle(a)
    first = []
    for n in range(60):
        hits = [i for i in range(4) if p[i, n].argmax() == labels[n]]
        first.append(hits[0] if hits else 0)
    assert best.stop.tolist() == first and best.accuracy == pytest.approx(1 - cascade.hopeless(a))
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert cascade.run(a, rng.random(3)).accuracy <= best.accuracy


@pytest.mark.parametrize("tied", [False, True])
def test_probabilities_of_networks_agree_with_their_answers(tied):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 6)).astype(np.float32), rng.integers(0, 3, 50)
    nets = train_networks(
        x,
        y,
        [np.arange(50)] * 2,
        np.ones((2, 3)),
        [0, 1],
        NetworkConfig(dims=(2, 4, 8), width=8, hidden=5, tied=tied, epochs=2),
    )
    p = nets.probabilities(x)
    assert p.shape == (2, 3, 50, 3) and np.allclose(p.sum(-1), 1, atol=1e-5)
    assert np.array_equal(p.argmax(-1), nets.predict(x))
    assert len(cascade.answers(p[0], y, (2, 4, 8)).take(np.arange(10)).right[0]) == 10
