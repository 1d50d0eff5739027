"""Checks of notebook 01: nested cross-entropy, average precision, the size of the classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from exercises.mistakes import recognize
from exercises.verdict import exercise


@exercise("a weighted sum of ordinary cross-entropies: that is all of Matryoshka training.")
def nested_loss(function: Callable[[Sequence[np.ndarray], np.ndarray, Sequence[float]], float]) -> str | None:
    """Exercise "the nested loss": (list of (B, C) logits, labels (B,), weights) to the weighted sum of their losses."""
    rng = np.random.default_rng(0)
    logits = [3 * rng.normal(size=(5, 4)) for _ in range(3)]
    labels, weights = np.array([0, 3, 1, 1, 2]), np.array([2.0, 1.0, 0.5])
    each = np.array([np.log(np.exp(z).sum(1)) - z[np.arange(5), labels] for z in logits])  # (sizes, B)
    want = weights @ each.mean(1)
    got = function(logits, labels, list(weights))
    if got is None or np.ndim(got) != 0:
        return f"the result must be one number, yours has shape {np.shape(got)}."
    mistakes = {
        "the weights are not used: multiply each size's cross-entropy by its weight before adding.": each.mean(1).sum(),
        "you took the mean over the sizes; the paper's loss is the sum.": want / 3,
        "within one size take the mean over the batch; the sum is over the sizes only.": weights @ each.sum(1),
        "the sign: a loss is minus the logarithm of the right class's probability.": -want,
    }
    if hint := recognize(got, mistakes):
        return hint
    if not np.isclose(got, want):
        return (
            f"for the made-up logits the loss is {want:.4f}, yours is {float(got):.4f}: "
            "log(sum(exp(z))) - z[label], mean over the batch."
        )
    if not np.isfinite(function([np.array([[1000.0, 0.0]])], np.array([0]), [1.0])):
        return "large logits overflow: subtract each row's largest logit first; the result does not change."
    return None


@exercise("early hits count more than late ones, and every missing one costs.")
def average_precision(function: Callable[[np.ndarray], float]) -> str | None:
    """Exercise "AP@k": (k,) array of 0 and 1, best-ranked first, to (1/k) sum of P(i) rel_i."""
    cases = ([1, 0, 0, 0], 0.25), ([0, 0, 0, 1], 0.0625), ([1, 1, 0, 1], 0.6875), ([1, 1, 1, 1], 1.0), ([0, 0], 0.0)
    for given, want in cases:
        hits = np.array(given)
        got = function(hits)
        if got is None or not np.isfinite(got):
            return f"for {hits} the result must be a number, yours is {got}."
        if np.isclose(got, want):
            continue
        if np.isclose(got, hits.mean()):
            return (
                f"for {hits} you give {got:.4f}: that is P@k, how many are right. "
                f"AP also asks how early they come: {want:.4f}."
            )
        if hits.any() and np.isclose(got, want * len(hits) / hits.sum()):
            return "you divide by the number of right ones; this AP divides by k, so that few right ones cost."
        return (
            f"for {hits} AP is {want:.4f}, yours is {got:.4f}: "
            "at every right place i add (right ones among the first i) / i."
        )
    return None


@exercise("sizes that halve add up to just below twice the largest, so tying them saves nearly half.")
def classifier_parameters(function: Callable[[Sequence[int], int, bool], int]) -> str | None:
    """Exercise "how many numbers": (sizes, classes, tied) to the numbers in the classifiers, biases included."""
    cases: list[tuple[tuple[int, ...], int, bool]] = [
        ((2, 4, 8), 10, False),
        ((2, 4, 8), 10, True),
        ((8, 16, 32, 64), 7, False),
        ((5,), 3, False),
        ((5,), 3, True),
    ]
    for dims, classes, tied in cases:
        got = function(dims, classes, tied)
        sizes = (max(dims),) if tied else dims
        want = sum(m * classes + classes for m in sizes)
        if got == want:
            continue
        where = f"for sizes {dims}, {classes} classes, tied = {tied}"
        if got == sum(m * classes for m in sizes):
            return f"{where} you forgot the biases: one number a class in every classifier, {want} in all."
        if tied and got == sum(m * classes + classes for m in dims):
            return f"{where} there is only one classifier, as wide as the largest size: {want}."
        if tied and got == max(dims) * classes + classes * len(dims):
            return f"{where} the one classifier has one bias a class, whatever the size: {want}."
        return f"{where} there are {want} numbers, yours says {got}."
    return None
