"""What a collection of vectors weighs in memory and costs to search, at full width and cut: arithmetic, no data.

A GB is 10^9 bytes. Multiply-adds are counted as in `costs`: the inner product of two vectors of D coordinates is D.
"""

from __future__ import annotations

from dataclasses import dataclass

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.costs import GB, adaptive_flops, corpus_gb, search_flops

TYPES = ("float32", "float16", "int8", "binary")
MACHINES = {"laptop": 16, "workstation": 64, "server": 512}  # GB of memory
LINK_BYTES = 4  # a neighbor is a 4-byte number, as in faiss and hnswlib


@dataclass(frozen=True)
class Size:
    """A collection of `n` vectors of `width` coordinates, of which the first `dim` are kept in type `dtype`.

    links: M of an HNSW graph over the kept vectors, 0 for none. depth: length K of the shortlist that a cheap search at
    `dim` hands to the full width. GB: vectors_gb and links_gb of the kept vectors, total_gb of both, full_gb of the
    uncut vectors in float32 without links. Multiply-adds of one query: exact at full width (N D), cut at the kept
    dimension (N d), shortlist of adaptive retrieval (N d + K D; 2205.13147, section 4.3.1). Raises InputError where
    these do not go together.

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

    @property
    def share(self) -> float:
        """Memory as a share of `full_gb`; above 1 where links outweigh what the cut saves."""
        return self.total_gb / self.full_gb

    @property
    def exact(self) -> int:
        return search_flops(self.n, self.width)

    @property
    def cut(self) -> int:
        return search_flops(self.n, self.dim)

    @property
    def shortlist(self) -> int:
        return adaptive_flops(self.n, self.dim, self.depth, self.width)

    def gb(self, dim: int, dtype: str) -> float:
        """GB of the collection with the same links, at another dimension and type."""
        return corpus_gb(self.n, dim, dtype) + self.links_gb

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


def fits(gb: float) -> list[str]:
    """The machines (`MACHINES`) whose memory holds `gb`, smallest first. Nothing is set aside for the system."""
    return [name for name, room in MACHINES.items() if gb <= room]


def words(gb: float) -> str:
    """GB as a size to read.

    >>> words(30.72), words(0.0768), words(1536)
    ('30.72 GB', '76.8 MB', '1,536 GB')
    """
    for size, unit in ((1.0, "GB"), (1e-3, "MB"), (1e-6, "kB")):
        if gb >= size:
            number = gb / size
            return f"{number:,.0f} {unit}" if number >= 1000 else f"{number:.4g} {unit}"
    return f"{gb * GB:.0f} B"
