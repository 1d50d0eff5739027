"""Checks of lesson 01: cut a vector, find the smallest dimension that is enough, say why a query falls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from exercises.mistakes import recognize, unit
from exercises.verdict import exercise
from mrl_tutorial.tasks.load import load_task

LIBRARY = 700  # about as many documents as the lesson's library holds
# how rows of the lesson's table begin: the first seven, which are sturdy, and those of the last seven that are fragile
# ("Partition" is second at 256 numbers, but first at 128, 64 and 32)
STURDY = ("Video F", "Decides", "Slice sub", "Handler", "Compute the W", "Compute the an", "Substitutes")
FRAGILE = ("Op disp", "Return a sorted", "Evaluate", "Cross-", "Add a half", "A mypy_")


@exercise("cut, then normalize; in this order every prefix is a unit vector.")
def truncate(function: Callable[[np.ndarray, int], np.ndarray]) -> str | None:
    """Exercise "cut a vector": (N, D) and d to (N, d) of unit length, cut first, then normalized."""
    x = np.random.default_rng(0).normal(size=(5, 12)) * [[1], [2], [3], [4], [5]]
    given = x.copy()
    got = function(x, 4)
    if got is None or np.shape(got) != (5, 4):
        return f"for (5, 12) and d = 4 the result must have shape (5, 4), yours has {np.shape(got)}."
    if not np.array_equal(x, given):
        return "the vectors that were passed in have changed; make new ones, others may still need the originals."
    if np.allclose(got, unit(x[:, :4])):
        return None
    mistakes = {
        "that is the prefix, but not of length 1: a dot product of two such vectors is no cosine.": x[:, :4],
        "you normalized first and cut afterwards, and the cut changes the length again: cut, then normalize.":
            unit(x)[:, :4],
        "those are the last numbers of every vector; a prefix is its beginning.": unit(x[:, -4:]),
    }  # fmt: skip
    return recognize(got, mistakes) or "divide every row by its own length: np.linalg.norm(..., axis=1, keepdims=True)."


@exercise("the smallest dimension that is enough, measured against the whole vector.")
def smallest_dim(function: Callable[[Sequence[int], Sequence[float], float], int]) -> str | None:
    """Exercise "how far can I cut": (dims, quality, share) to the smallest dimension that keeps that share."""
    dims, quality = [8, 16, 32, 64, 128], [0.25, 0.46, 0.44, 0.6, 0.5]
    for share, want in [(0.3, 8), (0.8, 16), (0.5, 8), (0.9, 16), (1.0, 64)]:
        got = function(dims, quality, share)
        if got == want:
            continue
        made_up = f"with dims {dims} and quality {quality}, a share of {share} of {quality[-1]} is "
        if got in quality:
            return f"{made_up}first reached at dimension {want}; yours returns the quality {got}, not the dimension."
        more = {
            (0.3, 0): "Return the dimension, not its place in the list.",
            (0.3, 16): "Compare with share times the whole vector's quality, not with the share alone.",
            (0.8, 64): "Compare with the whole vector, which is the last one, not with the best.",
            (0.5, 16): "Exactly that share is enough, too.",
            (0.9, 64): "Quality need not rise with every step: take the smallest that is enough.",
        }.get((share, got), "The first that is enough counts, and the whole vector is the last one.")
        return f"{made_up}first reached at dimension {want}, yours says {got}. {more}"
    return None


@exercise("two queries and a reason; now compare it with the solution, and with your neighbor's.")
def two_queries(sturdy: str, fragile: str, because: str) -> str | None:
    """Exercise "sturdy and fragile": the beginnings of two dev queries of the lesson's library, and a sentence."""
    library = load_task("pydocs").smaller(LIBRARY)
    texts = [library.queries[query] for query in library.judged("dev")]
    found = {}
    for name, given in (("sturdy", sturdy), ("fragile", fragile)):
        if not given.strip(". "):
            return f"choose a query from the table above and write its beginning into {name}."
        fits = [text for text in texts if text.startswith(given.strip().removesuffix("…").strip())]
        if len(fits) != 1:
            said = "no query begins" if not fits else f"{len(fits)} queries begin"
            return f"{said} with {given!r}: copy a line of the table into {name}."
        found[name] = fits[0]
    if found["sturdy"] == found["fragile"]:
        return "those are the same query twice: take one from the top of the table and one from its foot."
    if found["sturdy"].startswith(FRAGILE) or found["fragile"].startswith(STURDY):
        return "look at the columns below 384: sturdy queries keep rank 1 for long and stand at the top of the table."
    if len(because.split()) < 6:
        return "say why in a whole sentence: what do the rivals of each document have in common with it?"
    return None
