"""How the documents of a first stage are stored and searched, by name.

Every index takes raw vectors (N, D), uses their first `dim` coordinates in a compact copy, and scores
by the cosine of those prefixes, or with cosine=False by their inner product. "float32" is exact and needs nothing; all
others are FAISS's. `search(queries (B, >= dim), k)` gives rows (B, K) int64 and scores (B, K) float64, best first,
K = min(k, N); `cost` is what the index holds and what a query costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.faiss_indexes import Approximate, Binary, Cost, Int8, load_faiss
from mrl_tutorial.topk import ExactIndex

# engine -> its options and their defaults; 0 leaves the choice to the number of documents
OPTIONS: dict[str, dict[str, int]] = {
    "float32": {},
    "int8": {},
    "binary": {},
    "faiss-int8": {},
    "faiss-flat": {},
    "hnsw": {"links": 32, "build": 40, "ef": 64},
    "ivfpq": {"lists": 0, "probe": 16, "codes": 0},
}
ENGINES = tuple(OPTIONS)
SEARCHED = ("ef", "probe")  # options of a search; the others shape the index
LARGEST = 1e15  # of a coordinate: float32 cannot hold the squares of numbers far beyond
BLOCK = 2**15  # documents checked at a time


class Float32(ExactIndex):
    """Exact search over float32 vectors; for cosines, the inverse length of each is kept too."""

    @property
    def cost(self) -> Cost:
        nbytes = self.documents.nbytes + (0 if self.inverse is None else self.inverse.nbytes)
        return Cost(nbytes, self.n * self.dim, nbytes)


Index = Float32 | Int8 | Binary | Approximate


def build_index(
    name: str,
    documents: np.ndarray,
    dim: int,
    *,
    cosine: bool = True,
    options: Mapping[str, int] | None = None,
    threads: int = 1,
) -> Index:
    """The index `name` (one of ENGINES) over the first `dim` coordinates of documents (N, D).

    options: of "hnsw" links, build, ef; of "ivfpq" lists, probe, codes. threads: of every search. Raises InputError for
    an unknown engine or option, too few documents to train on, and where FAISS is not installed.

    >>> index = build_index("float32", np.eye(3), 2)
    >>> index.search(np.array([[0.1, 1.0, 0.0]]), 1)[0].tolist(), index.cost.flops
    ([[1]], 6)
    """
    if name not in ENGINES:
        raise InputError(f"engine {name!r} is unknown: choose one of {', '.join(ENGINES)}")
    settings, prefixes = all_options(name, options or {}), documents[:, :dim]
    if name == "float32":
        return Float32(prefixes, cosine=cosine, threads=threads)
    load_faiss(name)  # says which engine needs it
    if name == "binary":
        return Binary(prefixes, threads)
    if name in ("int8", "faiss-int8"):
        return Int8(prefixes, cosine=cosine, threads=threads, settled=name == "int8")
    return Approximate(name, prefixes, cosine, threads, settings)


def all_options(name: str, given: Mapping[str, int]) -> dict[str, int]:
    """Every option of an engine, as given or by default. Raises InputError for one that is unknown or impossible."""
    known = OPTIONS[name]
    for option, value in given.items():
        if option not in known:
            raise InputError(f"engine {name!r} has no option {option!r}: it has {', '.join(known) or 'none'}")
        least = min(known[option], 1)
        if value != int(value) or value < least:
            raise InputError(f"option {option} = {value} is impossible: give a whole number from {least} on")
    return {**known, **given}


def check_ids(ids: Sequence[str], n: int) -> tuple[str, ...]:
    """`ids` as a tuple. Raises InputError unless there are `n`, all different."""
    if len(ids) != n:
        raise InputError(f"{len(ids)} ids for {n} documents: give one each")
    if len(set(ids)) != n:
        raise InputError("the corpus repeats a document id: ids must be unique")
    return tuple(ids)


def check_vectors(x: np.ndarray, what: str) -> None:
    """Raises InputError naming the first row of x (N, D) that holds NaN, infinity, or what float32 cannot square."""
    for a in range(0, len(x), BLOCK):
        block = np.asarray(x[a : a + BLOCK])
        if not max(block.max(), -block.min()) < LARGEST:  # so written, NaN is caught as well
            bad = a + int(np.flatnonzero(~(np.abs(block) < LARGEST).all(axis=1))[0])
            if np.isfinite(x[bad]).all():
                raise InputError(f"{what} hold numbers beyond {LARGEST:g} (row {bad}): bring vectors to unit length")
            raise InputError(f"{what} hold NaN or infinity (row {bad}): repair or drop it")
