"""How the documents of a first stage are stored and searched, by name.

Every index keeps the first `dim` coordinates of raw vectors (N, D), and scores by the cosine of those prefixes, or with
cosine=False by their inner product. "float32" is exact, ties included; "torch" scans in the type that is quickest here;
all others are a library's. `search(queries (B, >= dim), k)` gives rows (B, K) int64 (-1 where fewer were found) and
scores (B, K) float64, best first, K = min(k, N). `cost` is what it holds and what a query costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from mrl_tutorial.errors import InputError
from mrl_tutorial.prefixes import normalize, prefix
from mrl_tutorial.retrieval.libraries import FACTORY, Binary, Cost, Engine, FaissIndex, SvsIndex
from mrl_tutorial.retrieval.timing import BATCH, milliseconds
from mrl_tutorial.topk import GROUP, TOGETHER, ExactIndex, Found, blockwise_top, on_threads

PRECISIONS = ("float32", "bfloat16", "int8")
GRAPH = {"links": 32, "build": 40, "ef": 64}
VAMANA = {"links": 64, "build": 128, "window": 40}
# engine -> its options and their defaults; 0 leaves the choice to the documents
OPTIONS: dict[str, dict[str, int]] = {
    **{engine: {} for engine in ("float32", "torch", *(f"torch-{precision}" for precision in PRECISIONS))},
    **{engine: {} for engine in ("faiss-flat", "int8", "binary", "rabitq")},
    "pq": {"codes": 0},
    "ivf": {"lists": 0, "probe": 16},
    "ivfpq": {"lists": 0, "probe": 16, "codes": 0},
    "ivf-rabitq": {"lists": 0, "probe": 16},
    "hnsw": GRAPH,
    "hnsw-int8": GRAPH,
    "vamana": VAMANA,
    "vamana-lvq": VAMANA,
    "leanvec": {**VAMANA, "reduced": 0},
}
ENGINES = tuple(OPTIONS)
SEARCHED = ("ef", "probe", "window")  # options of a search; the others shape the index
LARGEST = 1e15  # of a coordinate: float32 cannot hold the squares of numbers far beyond
BLOCK = 2**15  # documents checked or converted at a time
SAMPLE = 2**13  # documents that a precision is timed on


class Float32(ExactIndex):
    """Exact search over float32 vectors; for cosines, the inverse length of each is kept too."""

    @property
    def cost(self) -> Cost:
        nbytes = self.documents.nbytes + self.inverse.nbytes * self.cosine
        return Cost(nbytes, self.n * self.dim, nbytes)


def two_stages(queries: Tensor, documents: Tensor, k: int, d: int, depth: int) -> tuple[Tensor, Tensor]:
    """The k best documents (N, D) for queries (B, D): the `depth` best by the first d coordinates in bfloat16, reranked
    by all in float32. Rows and cosines (B, min(k, N)), ties in the order of rows; with depth N it is exact search.

    >>> rows, _ = two_stages(torch.eye(2), torch.tensor([[1.0, 0.1], [0.1, 1.0], [1.0, 0.1]]), k=2, d=2, depth=3)
    >>> rows.tolist()
    [[0, 2], [1, 0]]
    """
    n = len(documents)
    short = prefix(documents, d).bfloat16() @ prefix(queries, d).bfloat16().T  # (N, B), documents first
    groups = pad(short.float(), (0, 0, 0, -n % GROUP), value=-torch.inf).unflatten(0, (-1, GROUP))
    best = groups.amax(1).T.topk(min(depth, len(groups))).indices  # the groups that hold the depth best
    rows = (GROUP * best[:, :, None] + torch.arange(GROUP)).flatten(1)
    found = groups.flatten(0, 1).T.gather(1, rows).topk(min(depth, n)).indices
    rows = rows.gather(1, found).sort(1).values
    scores = (normalize(documents)[rows] * normalize(queries)[:, None]).sum(-1)  # (B, depth), float32
    top = scores.sort(stable=True, dim=1, descending=True)
    return rows.gather(1, top.indices)[:, :k], top.values[:, :k]


class Scan(Engine):
    """Documents in a small type, all of which torch compares with every query.

    kind: "torch-float32", "torch-bfloat16", "torch-int8" (a byte a coordinate, one step for all, queries too), or
    "torch" for the quickest of them here, which depends on the processor: bfloat16 with AMX, int8 with VNNI. Scores are
    that type's, made for shortlists: rerank them."""

    def __init__(self, kind: str, documents: np.ndarray, *shared: Any):
        super().__init__(kind, documents, *shared)
        self.precision = kind[len("torch-") :] or fastest(self.dim, self.threads)
        self.step = 1.0
        if self.precision == "int8":
            self.step = max(float(np.abs(x).max(initial=0)) for x in self._blocks(documents)) / 127 or 1.0
        self.x = torch.empty(self.n, self.dim, dtype=getattr(torch, self.precision))
        for i, x in enumerate(self._blocks(documents)):
            self.x[i * BLOCK : (i + 1) * BLOCK] = self._small(torch.from_numpy(x), self.step)

    @property
    def cost(self) -> Cost:
        nbytes = self.x.numel() * self.x.element_size()
        return Cost(nbytes, self.x.numel(), nbytes)

    def search(self, queries: np.ndarray, k: int) -> Found:
        """As indexes.py says; equal scores in any order."""
        q = torch.from_numpy(self.floats(queries))
        steps = q.abs().amax(1, keepdim=True) / 127 if self.precision == "int8" else torch.ones(len(q), 1)
        parts = self._small(q, torch.where(steps > 0, steps, 1)).T.split(TOGETHER, 1)
        with on_threads(self.threads):
            found = [blockwise_top(partial(self._scores, some), self.n, some.shape[1], k) for some in parts]
        scores, rows = (torch.cat(parts) for parts in zip(*found, strict=True))
        return rows.numpy(), (scores * steps * self.step).numpy().astype(np.float64)

    def _scores(self, q: Tensor, first: int, last: int) -> Tensor:
        return (_int8_product if self.precision == "int8" else torch.mm)(self.x[first:last], q)

    def _blocks(self, documents: np.ndarray) -> Iterator[np.ndarray]:
        return (self.floats(documents[a : a + BLOCK]) for a in range(0, self.n, BLOCK))

    def _small(self, x: Tensor, step: Tensor | float) -> Tensor:
        """x in the index's type."""
        return (x / step).round().to(torch.int8) if self.precision == "int8" else x.to(self.x.dtype)


def _int8_product(documents: Tensor, queries: Tensor) -> Tensor:
    """The product of int8 matrices, exact: in int32 where the processor adds these up without an overflow."""
    small = documents.shape[1] == 1  # of which torch makes nonsense
    return documents.float() @ queries.float() if small or not _adds_up() else torch._int_mm(documents, queries)


@cache
def _adds_up() -> bool:
    # torch has no public product of int8 that adds up in int32: torchao and torch's compiler stand on this one too
    most = torch.full((64, 64), 127, dtype=torch.int8)
    return hasattr(torch, "_int_mm") and bool((torch._int_mm(most, -most) == -64 * 127**2).all())


@cache
def fastest(dim: int, threads: int = 1) -> str:
    """The precision that scans `dim` coordinates for a batch of queries in the fewest milliseconds here; timed once."""
    x = np.random.default_rng(0).standard_normal((SAMPLE, dim), dtype=np.float32)
    scans = [Scan(f"torch-{precision}", x, True, threads) for precision in PRECISIONS]
    return min(scans, key=lambda scan: milliseconds(partial(scan.search, k=50), x[:BATCH], "batch")).precision


Index = Float32 | Scan | Binary | FaissIndex | SvsIndex


def build_index(
    name: str, documents: np.ndarray, dim: int, *, cosine: bool = True, options: Any = None, threads: int = 1
) -> Index:
    """The index `name` (one of ENGINES) over the first `dim` coordinates of documents (N, D).

    options: as OPTIONS lists them. threads: of every search. Raises InputError for an unknown engine or option, too few
    documents to train on, and where the library is not installed.

    >>> index = build_index("float32", np.eye(3), 2)
    >>> index.search(np.array([[0.1, 1.0, 0.0]]), 1)[0].tolist(), index.cost.flops
    ([[1]], 6)
    """
    if name not in ENGINES:
        raise InputError(f"engine {name!r} is unknown: choose one of {', '.join(ENGINES)}")
    given = name, documents[:, :dim], cosine, threads, all_options(name, options or {})
    if name == "float32":
        return Float32(given[1], cosine=cosine, threads=threads)
    if name.startswith("torch"):
        return Scan(*given)
    if name == "binary":
        return Binary(*given)
    return FaissIndex(*given) if name in FACTORY else SvsIndex(*given)


class Vectors:
    """Documents (N, d) as a later stage reads them: "float32" as they are, or copies in "int8", each in steps of its
    largest coordinate / 127."""

    def __init__(self, documents: np.ndarray, kind: str):
        self.kept, self.steps = documents, None
        if kind == "int8":
            self.kept = np.empty(documents.shape, np.int8)
            self.steps = np.empty((len(documents), 1), np.float32)
            for a in range(0, len(documents), BLOCK):
                x = np.asarray(documents[a : a + BLOCK], dtype=np.float32)
                most = np.abs(x).max(1, keepdims=True)
                self.steps[a : a + BLOCK] = step = np.where(most > 0, most / 127, 1)
                self.kept[a : a + BLOCK] = np.rint(x / step)

    def __call__(self, rows: np.ndarray, dim: int | None = None) -> np.ndarray:
        """The first `dim` coordinates of rows (c,), (c, dim) float32."""
        x = np.asarray(self.kept[rows, :dim], dtype=np.float32)
        return x if self.steps is None else x * self.steps[rows]


def all_options(name: str, given: Mapping[str, int]) -> dict[str, int]:
    """Every option of an engine, as given or by default. Raises InputError for one that is unknown or impossible."""
    known = OPTIONS[name]
    for option, value in given.items():
        if option not in known:
            raise InputError(f"engine {name!r} has no option {option!r}: it has {', '.join(known) or 'none'}")
        least = min(known[option], 2 if option == "links" else 1)  # a graph of one link ends FAISS's process
        if not (float(value).is_integer() and value >= least):
            raise InputError(f"option {option} = {value} is impossible: give a whole number from {least} on")
    return {**known, **{option: int(value) for option, value in given.items()}}


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
        fine = (np.abs(x[a : a + BLOCK]) < LARGEST).all(axis=1)  # so written, NaN is caught as well
        if not fine.all():
            bad = a + int(fine.argmin())
            if np.isfinite(x[bad]).all():
                raise InputError(f"{what} hold numbers beyond {LARGEST:g} (row {bad}): bring vectors to unit length")
            raise InputError(f"{what} hold NaN or infinity (row {bad}): repair or drop it")
