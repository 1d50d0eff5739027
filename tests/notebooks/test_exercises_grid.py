"""Checks of lessons 01 and 07: typical wrong answers get the sentence that says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from exercises import doll, first_grid

import mrl_tutorial as mrl


def normalize(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, d: normalize(x)[:, :d], "normalized first"),
        (lambda x, d: x[:, :d], "length 1"),
        (lambda x, d: normalize(x[:, -d:]), "last numbers"),
        (lambda x, d: normalize(x[:, :d].T).T, "divide every row"),
        (lambda x, d: x, "shape"),
    ],
)
def test_truncate(wrong, message):
    verdict = doll.truncate(wrong)
    assert not verdict and message in str(verdict)


def test_truncate_must_not_change_its_input():
    def changes(x, d):
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return x[:, :d]

    assert "passed in" in str(doll.truncate(changes))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda dims, quality, share: next(d for d, q in zip(dims, quality, strict=True) if q >= share), "alone"),
        (lambda dims, quality, share: next(q for q in quality if q >= share * quality[-1]), "not the dimension"),
        (
            lambda dims, quality, share: next(
                d for i, d in enumerate(dims) if all(q >= share * quality[-1] for q in quality[i:])
            ),
            "need not rise",
        ),
        (lambda dims, quality, share: dims[-1], "last one"),
        (lambda dims, quality, share: int(np.argmax(np.array(quality) >= share * quality[-1])), "place in the list"),
        (lambda d, quality, share: d[int(np.argmax(np.array(quality) >= share * max(quality)))], "not with the best"),
        (lambda d, quality, share: d[int(np.argmax(np.array(quality) > share * quality[-1]))], "Exactly"),
    ],
)
def test_smallest_dim(wrong, message):
    verdict = doll.smallest_dim(wrong)
    assert not verdict and message in str(verdict)


def test_two_queries():
    sturdy, fragile = "Compute the Matthews correlation", "Return a sorted copy"
    reason = "one has no rivals in the library, the other has many"
    assert doll.two_queries(sturdy, fragile, reason)
    assert "same query" in str(doll.two_queries(sturdy, sturdy, reason))
    assert "no query begins" in str(doll.two_queries("Sing a song", fragile, reason))
    assert "2 queries begin" in str(doll.two_queries("Context manager", fragile, reason))
    assert "whole sentence" in str(doll.two_queries(sturdy, fragile, "because"))
    assert "choose a query" in str(doll.two_queries("...", "...", "..."))
    assert "rank 1 for long" in str(doll.two_queries(fragile, sturdy, reason))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda grid, layer, dim: grid.at(layer, dim), "quality itself"),
        (lambda grid, layer, dim: 100 * grid.at(layer, dim) / grid.values[-1, -1], "percent"),
        (lambda grid, layer, dim: grid.at(layer, dim) / grid.at(layer, 32), "own"),
        (lambda grid, layer, dim: grid.at(layer, dim) / grid.values.max(), "another cell"),
        (lambda grid, layer, dim: grid.at(layer, dim) / grid.at(3, dim), "at this dimension"),
        (lambda grid, layer, dim: grid.values[-1, -1] / grid.at(layer, dim), "other way round"),
        (lambda grid, layer, dim: grid.values[layer, grid.dims.index(dim)] / grid.values[-1, -1], "Python counts"),
        (lambda grid, layer, dim: 0.4, "made-up grid"),
        (lambda grid, layer, dim: grid.values, "one number"),
    ],
)
def test_share(wrong, message):
    verdict = first_grid.share(wrong)
    assert not verdict and message in str(verdict)


def principal(x):
    centered = x - x.mean(0)
    return centered, *np.linalg.eigh(np.cov(centered.T))


def not_centered(x):
    _, variances, directions = principal(x)
    return (x @ directions / np.sqrt(variances))[:, ::-1]


def not_scaled(x):
    centered, _, directions = principal(x)
    return (centered @ directions)[:, ::-1]


def by_variance(x):
    centered, variances, directions = principal(x)
    return (centered @ directions / variances)[:, ::-1]


def faintest_first(x):
    centered, variances, directions = principal(x)
    return centered @ directions / np.sqrt(variances)


def rotated_back(x):
    centered, variances, directions = principal(x)
    return centered @ directions / np.sqrt(variances) @ directions.T


def rows_for_columns(x):
    centered, variances, directions = principal(x)
    return centered @ directions.T / np.sqrt(variances)


def by_coordinate(x):
    return (x - x.mean(0)) / x.std(0)


def of_length_1(x):
    return np.linalg.svd(x - x.mean(0), full_matrices=False)[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (not_centered, "mean is still there"),
        (not_scaled, "still loud"),
        (by_variance, "root"),
        (faintest_first, "smallest variance first"),
        (rotated_back, "not in order"),
        (rows_for_columns, "columns of what eigh returns"),
        (by_coordinate, "still correlate"),
        (of_length_1, "variance 1, yours have"),
        (lambda x: x.T, "shape"),
    ],
)
def test_whiten(wrong, message):
    verdict = first_grid.whiten(wrong)
    assert not verdict and message in str(verdict)


def test_whiten_takes_any_way_to_principal_components():
    assert first_grid.whiten(lambda x: of_length_1(x) * np.sqrt(len(x) - 1))


def test_recipe():
    weights = np.zeros((6, 7))
    weights[2] = weights[5, 6] = 1
    assert "row 1" in str(first_grid.recipe(mrl.Recipe("off by one", {"main": weights}), 6, 384, layer=2))
    weights[1] = 1
    assert "other cells" in str(first_grid.recipe(mrl.Recipe("too many", {"main": weights}), 6, 384, layer=2))
    assert "list" in str(first_grid.recipe([], 6, 384, layer=2))
