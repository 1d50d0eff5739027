"""The checks of lesson 12: right answers pass, typical mistakes are told what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exercises import loss_lab as checks

import mrl_tutorial as mrl


def table(*rows, corner=0.0):
    weights = np.zeros((6, 7))
    weights[list(rows)] = 1
    weights[-1, -1] = max(corner, weights[-1, -1])
    return weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (table(-1).T, "rows are the layers"),
        (np.ones(7), "a row a layer"),
        (table(0), "row -1"),
        (np.eye(7)[[6] * 6], "a column"),
        (table(corner=1), "shorter prefixes"),
        (np.ones((6, 7)), "every cell"),
        (table(-1, -2), "only the last row"),
        (table(-1) * np.arange(1, 8), "the same weight"),
    ],
)
def test_a_row_that_is_not_mrl_is_told_why(weights, message):
    assert message in str(checks.mrl(lambda n_layers, dims: weights)) and not checks.mrl(lambda *_: weights)


def test_mrl_may_be_painted_with_any_brush():
    assert checks.mrl(lambda n_layers, dims: 0.3 * table(-1))


@pytest.mark.parametrize(
    ("paint", "message"),
    [
        (lambda a, b, n, dims: table(a, b, corner=1), "counts from 0"),
        (lambda a, b, n, dims: table(a - 1, b - 1), "reranks"),
        (lambda a, b, n, dims: table(a - 1, b - 1, -1), "one cell of it"),
        (lambda a, b, n, dims: table(corner=1), "two layers that answer"),
        (lambda a, b, n, dims: table(1, 3, corner=1), "layers 1 and 5"),
        (lambda a, b, n, dims: np.ones((n, len(dims))), "nothing else"),
        (lambda a, b, n, dims: -table(a - 1, b - 1, corner=1), "negative"),
    ],
)
def test_a_search_box_with_the_wrong_weights_is_told_why(paint, message):
    assert message in str(checks.two_layers(paint)) and not checks.two_layers(paint)


def test_weights_of_the_search_box_may_differ():
    assert checks.two_layers(lambda a, b, n, dims: 2 * table(a - 1, b - 1) + table(corner=0.5))


def gaps(batch, layers, dims):
    queries, last = batch.query_rows(layers), batch.query_rows(batch.layers[-1:])
    return [(mrl.prefix(queries, d) - mrl.prefix(last, d)).square().sum(-1) for d in dims]


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (lambda *a: torch.stack(gaps(*a)).mean(-1), "changed places"),
        (lambda *a: torch.stack(gaps(*a), 1), "each query"),
        (lambda *a: torch.stack(gaps(*a), 1).sum(-1), "sum over the queries"),
        (lambda *a: torch.stack(gaps(*a), 1).mean(-1).detach(), "no gradient"),
        (lambda *a: torch.stack(gaps(*a), 1).mean(-1).tolist(), "tensor"),
        (lambda *a: torch.stack(gaps(*a), 1).mean(), "the lab needs (4, 3)"),
        (lambda *a: torch.stack(gaps(*a), 1).mean(-1) / 2, "the numbers are not"),
    ],
)
def test_a_term_that_is_wrong_is_told_why(term, message):
    assert message in str(checks.drift(term)) and not checks.drift(term)


def test_the_repaired_term_passes():
    assert checks.drift(lambda *a: torch.stack(gaps(*a), 1).mean(-1))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (table(0), "dictionary"),
        ({}, "dictionary"),
        ({"main": np.ones((7, 6))}, "main: your table"),
        ({"kl-scores": np.ones((6, 7))}, 'no cell of "main"'),
        ({"main": 2 * np.ones((6, 7))}, "all-cells itself"),
        ({"main": table(-1) - table(0)}, "cannot be trained"),
    ],
)
def test_a_recipe_that_cannot_win_is_told_why(found, message):
    assert message in str(checks.recipe(lambda: found)) and not checks.recipe(lambda: found)


def test_a_recipe_may_have_terms_of_ones_own():
    assert checks.recipe(lambda: {"main": table(-1), "crowd": np.ones((6, 7))})


def test_a_term_that_nobody_wrote_is_refused():
    ones = np.ones((6, 7))
    verdict = checks.recipe(lambda: {"main": ones, "foo": ones})
    assert not verdict and "unknown term 'foo'" in str(verdict)
    assert checks.recipe(lambda: {"main": ones, "crowd": ones})
