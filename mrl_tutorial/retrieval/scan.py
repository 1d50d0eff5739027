"""Shortlists by torch: two stages in ten lines to read, and a quick scan in a small type.

Both multiply documents by queries, in that order, and sort nothing but the groups with the largest maxima (topk.py).
Which type is quick depends on the processor: bfloat16 with AMX, int8 with VNNI, else float32. So it is measured.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import cache, partial
from importlib import import_module
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from mrl_tutorial.errors import InputError
from mrl_tutorial.prefixes import normalize, prefix
from mrl_tutorial.retrieval.timing import BATCH, milliseconds
from mrl_tutorial.topk import GROUP, TOGETHER, Found, blockwise_top, inverse_lengths, on_threads

PRECISIONS = ("float32", "bfloat16", "int8")
STEP = 2**15  # documents converted at a time
SAMPLE = 2**13  # documents that a precision is timed on
LIBRARIES = {"faiss": ("FAISS", "ann"), "svs": ("scalable-vs", "svs"), "pymilvus": ("pymilvus", "milvus")}


class Cost(NamedTuple):
    """nbytes: of all that is held. flops: multiply-adds per query. read: bytes read per query. nan where unknown."""

    nbytes: int
    flops: float
    read: float


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


class Engine:
    """What engines share. kind: the engine's name. documents: (N, d) raw vectors. options: all of the engine's."""

    def __init__(self, kind: str, documents: np.ndarray, cosine: bool = True, threads: int = 1, options: Any = None):
        self.kind, self.cosine, self.threads, self.options = kind, cosine, threads, dict(options or {})
        self.n, self.dim = documents.shape

    def with_options(self, options: Mapping[str, int]) -> Self:
        """The same index, searched with other options."""
        other = copy.copy(self)
        other.options = self.options | dict(options)
        return other

    def floats(self, x: np.ndarray) -> np.ndarray:
        """The first d coordinates of x (N, >= d) as libraries take them: float32, for cosines at length 1 (or 0)."""
        x = np.ascontiguousarray(x[:, : self.dim], dtype=np.float32)
        return x * inverse_lengths(x)[:, None] if self.cosine else x


class Scan(Engine):
    """Documents in a small type, all of which torch compares with every query.

    kind: "torch-float32", "torch-bfloat16", "torch-int8" (a byte a coordinate, one step for all, queries too), or
    "torch" for the quickest of them here. Scores are that type's, made for shortlists: rerank them."""

    def __init__(self, kind: str, documents: np.ndarray, *shared: Any):
        super().__init__(kind, documents, *shared)
        self.precision = kind[len("torch-") :] or fastest(self.dim, self.threads)
        self.step = 1.0
        if self.precision == "int8":
            self.step = max(float(np.abs(x).max(initial=0)) for x in self._blocks(documents)) / 127 or 1.0
        self.x = torch.empty(self.n, self.dim, dtype=getattr(torch, self.precision))
        for i, x in enumerate(self._blocks(documents)):
            self.x[i * STEP : (i + 1) * STEP] = self._small(torch.from_numpy(x), self.step)

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
        return (self.floats(documents[a : a + STEP]) for a in range(0, self.n, STEP))

    def _small(self, x: Tensor, step: Tensor | float) -> Tensor:
        """x in the index's type."""
        return (x / step).round().to(torch.int8) if self.precision == "int8" else x.to(self.x.dtype)


def _int8_product(documents: Tensor, queries: Tensor) -> Tensor:
    """The product of int8 matrices, exact: in int32 where the processor adds these up without an overflow."""
    return torch._int_mm(documents, queries) if _adds_up() else documents.float() @ queries.float()


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


def load_library(module: str, what: str) -> Any:
    """An optional library. Raises InputError, with `what` needs it, where it is not installed."""
    name, extra = LIBRARIES[module]
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f'{what} needs {name}: pip install "mrl-tutorial[{extra}]"') from error
