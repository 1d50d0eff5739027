"""The checks of lesson 03's exercises: right answers pass, typical mistakes are told what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from exercises import does_it_work as check


def random_k(x, k, seed):
    return x[:, np.random.default_rng(seed).permutation(x.shape[1])[:k]]


def directions(sample):
    return np.linalg.svd(sample - sample.mean(0), full_matrices=False)[2].T


def pca_k(train, x, k):
    return (x - train.mean(0)) @ directions(train)[:, :k]


@pytest.mark.parametrize(
    ("word", "function"),
    [
        ("first k", lambda x, k, seed: x[:, :k]),
        ("twice", lambda x, k, seed: x[:, np.random.default_rng(seed).integers(0, x.shape[1], k)]),
        ("same seed", lambda x, k, seed: x[:, np.random.default_rng().permutation(x.shape[1])[:k]]),
        ("argument", lambda x, k, seed: random_k(x, k, 0)),
        ("shape", lambda x, k, seed: x[:k]),
        ("as they are", lambda x, k, seed: x[:, :k] * 2),
    ],
)
def test_random_coordinates(word, function):
    verdict = check.shorten(function, pca_k)
    assert not verdict and word in str(verdict)


@pytest.mark.parametrize(
    ("word", "function"),
    [
        ("from `train`", lambda train, x, k: pca_k(x, x, k)),
        ("mean of the training texts", lambda train, x, k: x @ directions(train)[:, :k]),
        ("smallest", lambda train, x, k: (x - train.mean(0)) @ np.linalg.eigh(np.cov(train.T))[1][:, :k]),
        ("not of `x`", lambda train, x, k: (x - x.mean(0)) @ directions(train)[:, :k]),
        ("look for directions", lambda train, x, k: x @ np.linalg.svd(train)[2].T[:, :k]),
        ("shape", lambda train, x, k: pca_k(train, train, k)),
        ("center", lambda train, x, k: x[:, :k]),
    ],
)
def test_principal_components(word, function):
    verdict = check.shorten(random_k, function)
    assert not verdict and word in str(verdict)


def test_both_ways_pass_and_signs_do_not_matter():
    assert check.shorten(random_k, pca_k)
    assert check.shorten(random_k, lambda train, x, k: -pca_k(train, x, k))


def decide(low, high):
    return "better" if low > 0 else "not worse" if low > -0.01 else "worse" if high < 0 else "cannot tell"


def test_reading_an_interval():
    assert check.decide(decide)
    wrong = {
        "middle": lambda low, high: "better" if low + high > 0 else "worse",
        "one of": lambda low, high: "yes",
        "smaller than the 0.01": lambda low, high: "worse" if high < 0 else decide(low, high),
        "ruled out": lambda low, high: "cannot tell" if low < 0 < high else decide(low, high),
    }
    for word, function in wrong.items():
        verdict = check.decide(function)
        assert not verdict and word in str(verdict), (word, verdict)


def test_sizes_between():
    assert check.between(lambda size, sizes, values: np.interp(np.log2(size), np.log2(sizes), values))
    wrong = {
        "no steps": lambda size, sizes, values: values[np.searchsorted(sizes, size, "right") - 1],
        "doublings": lambda size, sizes, values: np.interp(size, sizes, values),
        "around it": lambda size, sizes, values: 0.3,
        "one number": lambda size, sizes, values: values,
    }
    for word, function in wrong.items():
        verdict = check.between(function)
        assert not verdict and word in str(verdict), (word, verdict)
