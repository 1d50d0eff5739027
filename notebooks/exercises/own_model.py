"""Checks of lesson 06: what is kept of the full quality, the smallest width under a budget, pairs of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from exercises.mistakes import recognize
from exercises.verdict import exercise
from mrl_tutorial import InputError, load_task

FEWEST = 20  # pairs


@exercise("every width is compared with the model's own full width, so the last number is always 100.")
def percent_kept(function: Callable[[Sequence[float]], Sequence[float]]) -> str | None:
    """Exercise "percent kept": quality by width, full width last -> the percentage of the full quality, each."""
    values = [0.1, 0.3, 0.45, 0.4]
    got = function(list(values))
    if got is None or np.shape(got) != (4,):
        return f"for 4 widths give 4 percentages; yours has shape {np.shape(got)}."
    x = np.array(values)
    if np.allclose(np.asarray(got, dtype=float), 100 * x / x[-1]):
        return None
    mistakes = {
        "those are shares between 0 and 1: multiply by 100.": x / x[-1],
        "that is what is lost: 100 minus this is what is kept.": 100 * (1 - x / x[-1]),
        "divide by the value at full width, the last one; the best value may stand elsewhere.": 100 * x / x.max(),
        "divide by the value at full width, the last one; you divided by the first.": 100 * x / x[0],
        "that is the difference to full width. A share divides.": 100 * (x - x[-1]),
        "keep the decimals: do not round.": np.round(100 * x / x[-1]),
    }
    return recognize(got, mistakes) or "divide every value by the last one, times 100."


@exercise("the smallest width whose cost, at the cautious end of its interval, is within the budget.")
def choose_width(function: Callable[[Mapping[int, float], Mapping[int, float], float], int | None]) -> str | None:
    """Exercise "the width under a budget": mean difference to full width and its lower bound, by width; budget -> the
    width, or None."""
    mean = {8: -0.30, 32: -0.08, 64: -0.010, 128: -0.003, 256: -0.001, 384: 0.0}
    low = {8: -0.35, 32: -0.10, 64: -0.019, 128: -0.009, 256: -0.006, 384: 0.0}
    got = function(dict(mean), dict(low), 0.01)
    if got == 64:
        return "64 costs 0.010 on average, but its interval reaches down to -0.019: decide by the lower bound."
    if got == 8:
        return "a loss is a negative number here: compare low[d] with -budget."
    if got != 128:
        return f"with a budget of 0.01 the smallest width is 128 (lower bound {low[128]}), yours says {got}."
    if function(dict(mean), dict(low), 0.02) != 64:
        return "with a budget of 0.02, 64 is enough: use the argument."
    if function(dict(mean), {**low, 8: -0.001}, 0.01) != 128:
        return "a width that passes below one that fails is luck: start at the widest and stop at the first that fails."
    if function({8: -0.1, 384: -0.01}, {8: -0.2, 384: -0.02}, 0.01) is not None:
        return "where even the widest fails, return None."
    return None


@exercise("these pairs can train a head. Give their path, or the list, to mrl.load_task.")
def my_pairs(function: Callable[[], Any]) -> str | None:
    """Exercise "bring your own": -> the path of a csv, or a list of (query, document)."""
    given = function()
    if given is None:
        return "return the path of your file, or a list of (query, document)."
    try:
        task = load_task(given)
    except InputError as error:
        return f"load_task says: {error}"
    if task.kind != "pairs":
        return f"this was read as {task.kind}. For pairs, call the columns query and document (or anchor and positive)."
    rows = [row[:2] for split in task.splits.values() for row in split]
    return _what_is_wrong(rows) or _cannot_be_cut(task)


def _what_is_wrong(rows: Sequence[tuple[str, ...]]) -> str | None:
    if len(rows) < FEWEST:
        return f"{len(rows)} pairs are too few: give {FEWEST} or more, so that some are left to test on."
    twice = [pair for pair, n in Counter(rows).items() if n > 1]
    if twice:
        return f"the pair of {twice[0][0]!r:.40} appears twice: keep it once."
    copied = [query for query, document in rows if query.strip().lower() in document.lower()]
    if 2 * len(copied) > len(rows):
        return (
            f"most queries stand word for word in their documents, as {copied[0]!r:.40} does. Then the model learns to "
            "find copies; cut the query out of the document."
        )
    most, n = Counter(document for _, document in rows).most_common(1)[0]
    if 2 * n > len(rows):
        return f"the document {most!r:.40} answers {n} of {len(rows)} queries, so there is little to tell apart."
    return None


def _cannot_be_cut(task: Any) -> str | None:
    try:
        task.with_splits("train", "test")
    except InputError as error:
        return f"with so few pairs none is left to test on: give more ({error})"
    return None
