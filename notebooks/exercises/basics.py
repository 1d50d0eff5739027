"""Checks of notebook 01: nested cross-entropy, average precision, the size of the classifiers. They never raise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from exercises.verdict import Verdict, _run


def nested_loss(function: Callable[[Sequence[np.ndarray], np.ndarray, Sequence[float]], float]) -> Verdict:
    """Exercise "the nested loss": (list of (B, C) logits, labels (B,), weights) to the weighted sum of their losses."""

    def check() -> str | None:
        chance = np.random.default_rng(0)
        logits = [3 * chance.normal(size=(5, 4)) for _ in range(3)]
        labels, weights = np.array([0, 3, 1, 1, 2]), [2.0, 1.0, 0.5]

        def cross_entropy(z: np.ndarray) -> np.ndarray:
            return np.log(np.exp(z).sum(1)) - z[np.arange(5), labels]

        each = [cross_entropy(z) for z in logits]
        want = sum(c * e.mean() for c, e in zip(weights, each, strict=True))
        got = function(logits, labels, weights)
        if got is None or np.ndim(got) != 0:
            return f"the result must be one number, yours has shape {np.shape(got)}."
        if np.isclose(got, sum(e.mean() for e in each)):
            return "the weights are not used: multiply each size's cross-entropy by its weight before adding."
        if np.isclose(got, want / 3):
            return "you took the mean over the sizes; the paper's loss is the sum."
        if np.isclose(got, sum(c * e.sum() for c, e in zip(weights, each, strict=True))):
            return "within one size take the mean over the batch; the sum is over the sizes only."
        if np.isclose(got, -want):
            return "the sign: a loss is minus the logarithm of the right class's probability."
        if not np.isclose(got, want):
            return (
                f"for the made-up logits the loss is {want:.4f}, yours is {float(got):.4f}: "
                "log(sum(exp(z))) - z[label], mean over the batch."
            )
        big = function([np.array([[1000.0, 0.0]])], np.array([0]), [1.0])
        if not np.isfinite(big):
            return "large logits overflow: subtract each row's largest logit first; the result does not change."
        return None

    return _run(check, "a weighted sum of ordinary cross-entropies: that is all of Matryoshka training.")


def average_precision(function: Callable[[np.ndarray], float]) -> Verdict:
    """Exercise "AP@k": (k,) array of 0 and 1, best-ranked first, to (1/k) sum of P(i) rel_i."""

    def check() -> str | None:
        for hits, want in (
            ([1, 0, 0, 0], 0.25),
            ([0, 0, 0, 1], 0.0625),
            ([1, 1, 0, 1], 0.6875),
            ([1, 1, 1, 1], 1.0),
            ([0, 0], 0.0),
        ):
            hits = np.array(hits)
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

    return _run(check, "early hits count more than late ones, and every missing one costs.")


def classifier_parameters(function: Callable[[Sequence[int], int, bool], int]) -> Verdict:
    """Exercise "how many numbers": (sizes, classes, tied) to the numbers in the classifiers, biases included."""

    def check() -> str | None:
        for dims, classes, tied in (
            ((2, 4, 8), 10, False),
            ((2, 4, 8), 10, True),
            ((8, 16, 32, 64), 7, False),
            ((5,), 3, False),
            ((5,), 3, True),
        ):
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

    return _run(check, "sizes that halve add up to just below twice the largest, so tying them saves nearly half.")
