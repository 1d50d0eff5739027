"""What a collection of vectors weighs in memory, at full width and cut: arithmetic, no data. A GB is 10^9 bytes."""

from __future__ import annotations

from dataclasses import dataclass

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.costs import GB, corpus_gb

TYPES = ("float32", "float16", "int8", "binary")
MACHINES = {"laptop": 16, "workstation": 64, "server": 512}  # GB of memory
LINK_BYTES = 4  # a neighbor is a 4-byte number, as in faiss and hnswlib


@dataclass(frozen=True)
class Size:
    """A collection of `n` vectors of `width` coordinates, of which the first `dim` are kept in type `dtype`.

    links: M of an HNSW graph over the kept vectors, 0 for none. depth: length K of the shortlist that a cheap search at
    `dim` hands to the full width. GB: vectors_gb and links_gb of the kept vectors, total_gb of both, full_gb of the
    uncut vectors in float32 without links. Raises InputError where these do not go together.

    >>> size = Size(1_000_000, width=768, dim=64)
    >>> size.total_gb, size.full_gb
    (0.256, 3.072)
    """

    n: int
    width: int
    dim: int
    dtype: str = "float32"
    links: int = 0
    depth: int = 100

    def __post_init__(self) -> None:
        if self.dim > self.width:
            raise InputError(
                f"cannot keep {self.dim:,} of {self.width:,} dimensions: choose a dimension up to the full width"
            )
        if self.depth > self.n:
            raise InputError(f"a shortlist of {self.depth:,} cannot be taken from {self.n:,} vectors: shorten it")
        _ = self.total_gb  # checks the rest

    @property
    def vectors_gb(self) -> float:
        return corpus_gb(self.n, self.dim, self.dtype)

    @property
    def links_gb(self) -> float:
        return self.n * link_bytes(self.links) / GB if self.links else 0.0

    @property
    def total_gb(self) -> float:
        return self.vectors_gb + self.links_gb

    @property
    def full_gb(self) -> float:
        return corpus_gb(self.n, self.width)

    def month(self, price: float) -> float:
        """What holding the kept vectors and links costs a month at `price` for one GB and month."""
        if price < 0:
            raise InputError(f"a price of {price} is impossible: give 0 or more for one GB and month")
        return self.total_gb * price


def link_bytes(m: int) -> float:
    """Expected bytes that the links of an HNSW graph of parameter M take for one vector (1603.09320).

    Every vector has 2 M places for neighbors on the lowest level and M on each level above; it reaches level l with
    probability M^-l, so 1 / (M - 1) levels above on average. Raises InputError for M below 2.
    """
    if m < 2:
        raise InputError(f"M = {m} makes no graph: give 2 or more links, or none")
    return LINK_BYTES * (2 * m + m / (m - 1))
