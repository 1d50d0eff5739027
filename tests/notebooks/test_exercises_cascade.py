"""The checks of the exercises on cascades: right answers pass, typical mistakes are told what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from exercises import cascades as checks

from mrl_tutorial.classification import cascade


def test_what_the_checks_say_what_is_wrong():
    assert checks.decide(lambda c, t: cascade.stops(c, t))
    for wrong, message in [
        (lambda c, t: c.argmax(0), "most confident"),
        (lambda c, t: (c[:-1] >= t[:, None]).argmax(0), "sure nowhere"),
        (lambda c, t: np.array([0, 2, 1, 2, 1]), "equals its threshold"),
        (lambda c, t: 0, "shape"),
    ]:
        assert message in str(checks.decide(wrong)) and not checks.decide(wrong)


def confidence(z):
    powers = np.exp(z - z.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True)).max(-1)


def size(stop, dims):
    return np.array(dims)[stop].mean()


@pytest.mark.parametrize(
    "first, second, hint",
    [
        (lambda z: z.max(-1), size, "exponentials first"),
        (lambda z: np.exp(z).max(-1), size, "sum over the classes"),
        (lambda z: z.argmax(-1), size, "which class"),
        (lambda z: confidence(z)[0], size, "axis=-1"),
        (lambda z: (np.exp(z) / np.exp(z).sum(-1, keepdims=True)).max(-1), size, "overflow"),
        (confidence, lambda stop, dims: stop.mean(), "places in the list"),
        (confidence, lambda stop, dims: np.mean(dims), "equally often"),
        (confidence, lambda stop, dims: np.array(dims)[stop], "one number"),
        (confidence, lambda stop, dims: 7.0, "yours says 7"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_confidence_and_expected_size(first, second, hint):
    assert checks.confidence_and_size(confidence, size)
    verdict = checks.confidence_and_size(first, second)
    assert not verdict and hint in str(verdict)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda confidence, right: 0.9, "5 thresholds"),
        (lambda confidence, right: np.zeros(5), "stops too early"),
        (lambda confidence, right: np.full(5, 1.01), "hardly a saving"),
    ],
)
def test_a_rule_of_ones_own(wrong, hint):
    verdict = checks.rule(wrong)
    assert not verdict and hint in str(verdict)
