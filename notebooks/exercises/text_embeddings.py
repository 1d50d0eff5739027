"""Checks of notebook 03: three quick questions, three exercises."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from exercises.mistakes import recognize, unit
from exercises.verdict import Verdict, exercise


def _quiz(answer: object, right: str, reasons: Mapping[str, str]) -> Verdict:
    """One letter of `reasons`: why it is right, or why it is not."""
    letter = answer.strip().lower() if isinstance(answer, str) else ""
    if letter not in reasons:
        return Verdict(False, f"answer with one letter of {', '.join(reasons)}, as a string.")
    return Verdict(letter == right, reasons[letter])


def quiz_batch(answer: str) -> Verdict:
    """What the batch size changes in a contrastive batch."""
    reasons = {
        "a": "the batch has as many right pairs as queries in both cases; look at what each query is told apart "
        "*from*.",
        "b": "64 pairs give every query 63 wrong documents for nothing, 4 pairs only 3: a larger batch is a harder "
        "question.",
        "c": "the temperature is set by hand and stays; it scales the scores, the batch decides which there are.",
    }
    return _quiz(answer, "b", reasons)


def quiz_prefix(answer: str) -> Verdict:
    """What a prefix of a vector is, and when two may be compared."""
    reasons = {
        "a": "that is resampling. A prefix changes no number: it keeps the first ones and drops the rest.",
        "b": "different lengths have no dot product: query and document must be cut at the same width.",
        "c": "the same cut on both sides, then length 1 again. Nothing has to be encoded a second time.",
    }
    return _quiz(answer, "c", reasons)


def quiz_penalty(answer: str) -> Verdict:
    """How a penalty curve is read."""
    reasons = {
        "a": "a curve shows each model against its own full width, so a bad model that loses little looks fine. "
        "Always look at the quality itself too.",
        "b": "it could be, but the curve does not say so: both curves start at 100 %, wherever the models started.",
        "c": "the curve has no time in it: it is about what a narrower vector loses.",
    }
    return _quiz(answer, "a", reasons)


def _info_nce(queries: np.ndarray, documents: np.ndarray, temperature: float) -> float:
    """Mean cross-entropy of query i choosing document i, by inner products: (B, d), (B, d)."""
    scores = queries @ documents.T / temperature
    top = scores.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(scores - top).sum(1)) + top[:, 0] - np.diag(scores)))


@exercise("minus the logarithm of the share that the right document gets, averaged over the queries.")
def info_nce(function: Callable[[np.ndarray, np.ndarray, float], float]) -> str | None:
    """Exercise "the loss by hand": queries (B, d), documents (B, d), temperature -> mean loss of i choosing i."""
    rng = np.random.default_rng(3)
    q, d = rng.normal(size=(5, 4)) * [[1], [2], [3], [1], [2]], rng.normal(size=(5, 4)) * [[3], [1], [1], [2], [2]]
    got = function(q.copy(), d.copy(), 0.2)
    if got is None or np.ndim(got) != 0:
        return f"the result must be one number, yours is {got!r}."
    right = _info_nce(unit(q), unit(d), 0.2)
    if np.isclose(got, right):
        if np.isclose(function(q.copy(), d.copy(), 0.05), _info_nce(unit(q), unit(d), 0.05)):
            return None
        return "it is right for temperature 0.2 but not for 0.05: divide by the argument."
    mistakes = {
        "bring every row to length 1 first, so that the dot products are cosines.": _info_nce(q, d, 0.2),
        "divide the cosines by the temperature before the exponential.": _info_nce(unit(q), unit(d), 1.0),
        "that is the other way round: here a *query* chooses among documents, so sum over the columns of a row.": (
            _info_nce(unit(d), unit(q), 0.2)
        ),
        "the sign is turned round: a loss is minus the logarithm of the right document's share.": -right,
        "take the mean over the queries, not the sum.": 5 * right,
    }
    return recognize(got, mistakes) or (
        f"for the check's 5 pairs the loss is {right:.4f}, yours says {got:.4f}: "
        "-log(exp(s_ii) / sum_j exp(s_ij)), mean over i."
    )


@exercise("these cells of the score table teach the wrong thing; training deals such pairs into different batches.")
def false_negatives(function: Callable[[list[set[str]]], list[tuple[int, int]]]) -> str | None:
    """Exercise "false negatives": each pair's set of right documents -> (i, j) where one of j's is right for i too."""
    batch = [{"a"}, {"b", "c"}, {"d"}, {"c"}, {"a", "d"}]
    want = {(1, 3), (3, 1), (0, 4), (4, 0), (2, 4), (4, 2)}
    got = function([set(x) for x in batch])
    try:
        found = {(int(i), int(j)) for i, j in got}
    except (TypeError, ValueError):
        return f"return a list of (i, j), yours is {got!r:.60}."
    if any(i == j for i, j in found):
        return "(i, i) is the right pair itself, no negative: leave it out."
    if found == {(i, j) for i, j in want if i < j} or found == {(i, j) for i, j in want if i > j}:
        return "each clash counts both ways: i is pushed away from j's document, and j from i's."
    if found != want:
        return (
            f"for {batch} it should be {sorted(want)}, yours is {sorted(found)}: "
            "two sets clash where they share a document."
        )
    if len(list(got)) != len(want):
        return "some (i, j) stand in your list twice."
    return None


@exercise("the smallest width whose cost is, with 95 % confidence, within the budget.")
def choose_width(function: Callable[[Mapping[int, float], Mapping[int, float], float], int | None]) -> str | None:
    """Exercise "the width under a budget": quality, and lower bound of its difference from full width, by width; margin
    -> the width, or None."""
    quality = {8: 0.30, 32: 0.52, 64: 0.59, 128: 0.597, 256: 0.599, 384: 0.600}
    low = {8: -0.35, 32: -0.10, 64: -0.019, 128: -0.009, 256: -0.006, 384: 0.0}
    got = function(dict(quality), dict(low), 0.01)
    if got == 64:
        return "64 costs 0.010 on average, but its lower bound says that it may cost 0.019: decide by the bound."
    if got != 128:
        return f"at a margin of 0.01 the smallest width is 128 (bound {low[128]}), yours says {got}."
    if function(dict(quality), dict(low), 0.02) != 64:
        return "with a margin of 0.02, 64 is enough: use the argument."
    if function(dict(quality), {**low, 8: -0.001}, 0.01) != 128:
        return "a width that passes below one that fails is luck: start at the widest and stop at the first that fails."
    if function({8: 0.1, 384: 0.2}, {8: -0.2, 384: -0.02}, 0.01) is not None:
        return "where even the widest fails, return None."
    return None
