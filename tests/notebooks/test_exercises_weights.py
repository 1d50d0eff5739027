"""The checks of lesson 04: what they say to a typical wrong answer to each exercise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from exercises import weights_and_traps as checks


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def early(query, documents, d):
    return np.argsort(-(unit(documents)[:, :d] @ unit(query)[:d]))


def in_place(query, documents, d):
    documents /= np.linalg.norm(documents[:, :d], axis=1, keepdims=True)
    return np.argsort(-(documents[:, :d] @ query[:d]))


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (early, "normalized first"),
        (lambda q, x, d: np.argsort(-(x[:, :d] @ q[:d])), "longest vectors win"),
        (lambda q, x, d: np.argsort(-(unit(x) @ q)), "nothing is cut"),
        (lambda q, x, d: np.argsort(unit(x[:, :d]) @ q[:d]), "upside down"),
        (lambda q, x, d: np.argsort(-(unit(x[:, :d]) @ q[:d]))[:3], "shape"),
        (lambda q, x, d: np.arange(9), "should be"),
        (in_place, "passed in"),
    ],
)
def test_the_swapped_lines(wrong, hint):
    verdict = checks.search(wrong)
    assert not verdict and hint in str(verdict)


def test_normalizing_twice_is_right():
    assert checks.search(lambda q, x, d: np.argsort(-(unit(unit(x)[:, :d]) @ q[:d])))


def losses(features, labels, sizes, heads, scale=(1, 1, 1)):
    each = zip(heads, sizes, scale, strict=True)
    return [F.cross_entropy(head(c * features[:, :m]), labels) for head, m, c in each]


def weighted(x, y, sizes, heads, weights):
    return sum(c * loss for c, loss in zip(weights, losses(x, y, sizes, heads), strict=True))


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda x, y, sizes, heads, weights: 3.0, "must be a tensor"),
        (lambda x, y, sizes, heads, weights: sum(losses(x, y, sizes, heads)), "not used"),
        (lambda x, y, sizes, heads, weights: sum(losses(x, y, sizes, heads, weights)), "in front of the losses"),
        (lambda *given: weighted(*given) / 3, "not the mean"),
        (lambda *given: weighted(*given) / sum(given[-1]), "divide by their sum"),
        (lambda *given: torch.tensor(7.0), "yours is 7.0"),
        (lambda *given: weighted(*given).detach(), "no gradient"),
    ],
)
def test_the_weighted_loss(wrong, hint):
    verdict = checks.weighted_loss(wrong)
    assert not verdict and hint in str(verdict)


def test_painted_weights():
    equal = {2: 1, 4: 1, 8: 1, 16: 1, 32: 1, 64: 1}
    assert "dictionary" in str(checks.painted({2: 4}))
    assert "above 0" in str(checks.painted({**equal, 64: 0}))
    assert "only their ratios" in str(checks.painted(equal))
    assert "size 2 gains" in str(checks.painted({**equal, 64: 2}))
