"""Checks of lesson 05: how sure a classifier is, what a cascade reads and decides, thresholds by one's own rule."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from exercises.mistakes import recognize
from exercises.verdict import Verdict, exercise
from mrl_tutorial import load_task
from mrl_tutorial.classification import cascade
from mrl_tutorial.classification.cascade import Answers
from mrl_tutorial.classification.small_networks import NetworkConfig, train_networks

DIMS = (8, 16, 32)
LOSS, NUMBERS = 0.01, 16.0  # what a rule of one's own may lose on test, and how many of 64 numbers it may read


@exercise("the largest probability says how sure the model is; the mean size says what it costs.")
def confidence_and_size(
    confidence: Callable[[np.ndarray], np.ndarray], expected_size: Callable[[np.ndarray, tuple[int, ...]], float]
) -> str | None:
    """Exercise "how sure, how large": logits (..., C) to confidences (...); stop (N,) and sizes to the mean size."""
    logits = np.array([[[2.0, 0.0, -1.0], [1.0, 1.0, 0.0]], [[0.0, 3.0, 0.5], [-2.0, 0.0, 0.1]]])  # (2, 2, 3)
    powers = np.exp(logits)
    want = (powers / powers.sum(-1, keepdims=True)).max(-1)
    got = confidence(logits.copy())
    if np.shape(got) != (2, 2):
        return f"logits of shape (2, 2, 3) have confidences of shape (2, 2), yours is {np.shape(got)}: use axis=-1."
    mistakes = {
        "these are scores, not probabilities: exponentials first, divided by their sum over the classes.": logits.max(
            -1
        ),
        "divide by the sum over the classes, so that the probabilities of one item sum to 1.": powers.max(-1),
        "that is the smallest probability; the confidence is the largest.": (
            powers / powers.sum(-1, keepdims=True)
        ).min(-1),
        "that is which class is largest; the confidence is how large it is.": logits.argmax(-1),
    }
    if hint := recognize(got, mistakes):
        return hint
    if not np.allclose(got, want):
        return f"the confidences are {want.round(3).tolist()}, yours are {np.round(got, 3).tolist()}."
    if not np.isfinite(confidence(np.array([[1000.0, 0.0]]))).all():
        return "large logits overflow: subtract each item's largest logit first; the result does not change."
    stop = np.array([0, 0, 2, 1])
    size = expected_size(stop.copy(), DIMS)
    if size is None or np.ndim(size) != 0:
        return f"the expected size must be one number, yours has shape {np.shape(size)}: take the mean."
    mistakes = {
        "that is the mean of the places in the list; look up the sizes there, then take the mean.": stop.mean(),
        "that is the mean of the sizes, as if each answered equally often.": np.mean(DIMS),
        "that is the sum over the items; take the mean.": 64.0,
    }
    return recognize(size, mistakes) or (
        None if np.isclose(size, 16) else f"two items at 8, one at 32, one at 16 make 16, yours says {size:g}."
    )


@exercise("the first size that is sure enough answers, the last one takes the rest.")
def decide(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> str | None:
    """Exercise "the decision": confidence (M, N), thresholds (M - 1,) to the index of the size that answers, (N,)."""
    confidence = np.array([[0.9, 0.2, 0.6, 0.1, 0.8], [0.1, 0.7, 0.99, 0.2, 0.9], [0.5, 0.5, 0.5, 0.3, 0.1]])
    want = [0, 1, 1, 2, 0]
    found = function(confidence.copy(), np.array([0.8, 0.7]))
    if np.shape(found) != (5,):
        return f"5 items need 5 numbers, the result has shape {np.shape(found)}."
    got = [int(g) for g in found]
    if got == want:
        return None
    if max(got) > 2:
        return f"return the place of the size in the list (0, 1 or 2), not the size itself; yours is {got}."
    if got == confidence.argmax(0).tolist():
        return "you took the most confident size; a cascade takes the first that is sure enough and looks no further."
    if got[3] == 0:
        return "item 3 is sure nowhere; it must go on to the last size, which always answers."
    if got[4] != 0 or got[1] != 1:
        return f"a confidence that equals its threshold is enough (>=). Wanted {want}, yours is {got}."
    return f"wanted {want}, yours is {got}: the first size whose confidence reaches its threshold, else the last."


@cache
def _digits() -> list[tuple[Answers, Answers]]:
    """Held-out and test answers of tied classifiers on the digits, for each of five folds."""
    task = load_task("digits")
    x, y = task.splits["all"]
    parts = [(train[len(train) // 5 :], train[: len(train) // 5], test) for train, test in task.fold_indices(0)]
    plan = NetworkConfig(epochs=20, tied=True)
    ones = np.ones((len(parts), len(plan.dims)))
    nets = train_networks(x, y, [train for train, _, _ in parts], ones, range(len(parts)), plan)
    assert nets is not None  # nobody cancels it

    def answered(g: int, rows: np.ndarray) -> Answers:
        return cascade.answers(nets.pick([g]).probabilities(x[rows])[0], y[rows], plan.dims)

    return [(answered(g, held), answered(g, test)) for g, (_, held, test) in enumerate(parts)]


@exercise("")
def _rule(function: Callable[[np.ndarray, np.ndarray], np.ndarray], found: list[float]) -> str | None:
    """What is wrong with the rule; fills `found` with its accuracy minus the full size's on test, and its size."""
    gaps, sizes = [], []
    for held, test in _digits():
        t = np.asarray(function(held.confidence.copy(), held.right.copy()), dtype=float)
        if t.shape != (len(held.dims) - 1,) or not np.isfinite(t).all():
            return f"6 sizes need 5 thresholds, one for each but the last; yours have shape {t.shape}."
        outcome = cascade.run(test, t)
        gaps.append(outcome.accuracy - test.accuracy[-1])
        sizes.append(outcome.final)
    found += [float(np.mean(gaps)), float(np.mean(sizes))]
    said = f"on test: accuracy {found[0]:+.3f} against all 64 numbers, reading {found[1]:.1f}"
    if found[0] < -LOSS:
        return f"{said}. More than {LOSS:g} is lost: it stops too early."
    if found[1] > NUMBERS:
        return f"{said}. That is hardly a saving: let it stop earlier, below {NUMBERS:g} numbers."
    return None


def rule(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Verdict:
    """Exercise "your own rule": held-out confidence and right, both (M, N), to thresholds (M - 1,). Judged on test."""
    found: list[float] = []
    verdict = _rule(function, found)
    if not verdict:
        return verdict
    return Verdict(
        True, f"on test, five folds: accuracy {found[0]:+.3f} against all 64 numbers, reading {found[1]:.1f}."
    )
