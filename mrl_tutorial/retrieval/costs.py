"""What a cell costs: bytes, and arithmetic that counts a multiply-add once, as the MRL paper does (2205.13147, 4.3).

So `flops` here are multiply-adds: the inner product of two vectors of D coordinates is D of them, not 2 D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mrl_tutorial.errors import InputError

BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "int8": 8, "uint8": 8, "binary": 1}
GB = 10**9
LINK_BYTES = 4  # a neighbor in a graph is a 4-byte number, as in faiss and hnswlib
MACHINES = {"laptop": 16, "workstation": 64, "server": 512}  # GB of memory
TYPES = ("float32", "float16", "int8", "binary")  # that the size calculator offers


@dataclass(frozen=True)
class Geometry:
    """The sizes of an encoder that decide its price. width: of the vectors; intermediate: of the feed-forward part."""

    n_layers: int
    width: int
    intermediate: int


MINILM = Geometry(n_layers=6, width=384, intermediate=1536)


def bytes_per_vector(dim: int, dtype: str = "float32") -> int:
    """Bytes of one stored vector; binary ones are padded to whole bytes. Raises InputError for an unknown dtype.

    >>> bytes_per_vector(384), bytes_per_vector(64, "int8"), bytes_per_vector(100, "binary")
    (1536, 64, 13)
    """
    _positive(dim=dim)
    if dtype not in BITS:
        raise InputError(f"dtype {dtype!r} is unknown: choose one of {', '.join(BITS)}")
    return -(-dim * BITS[dtype] // 8)


def corpus_gb(n: int, dim: int, dtype: str = "float32") -> float:
    """GB (10^9 bytes) of `n` vectors, without any index."""
    _positive(n=n)
    return n * bytes_per_vector(dim, dtype) / GB


@dataclass(frozen=True)
class Size:
    """What `n` vectors of `width` coordinates weigh in memory when the first `dim` of them are kept in type `dtype`.

    links: M of an HNSW graph over them, 0 for none. depth: of the shortlist that they hand to the full width. full_gb:
    of the uncut vectors in float32. Raises InputError where these do not go together.

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
        n, dim, width, depth, m = self.n, self.dim, self.width, self.depth, self.links
        if dim > width:
            raise InputError(f"cannot keep {dim:,} of {width:,} dimensions: choose a dimension up to the full width")
        if depth > n:
            raise InputError(f"a shortlist of {depth:,} cannot be taken from {n:,} vectors: shorten it")
        if m == 1 or m < 0:
            raise InputError(f"M = {m} makes no graph: give 2 or more links, or none")
        _ = self.vectors_gb  # checks the rest

    @property
    def vectors_gb(self) -> float:
        return corpus_gb(self.n, self.dim, self.dtype)

    @property
    def links_gb(self) -> float:
        """Every vector has 2 M places for neighbors on the graph's lowest level and M on each level above; it reaches
        level l with probability M^-l, so 1 / (M - 1) levels above on average (HNSW, 1603.09320)."""
        m = self.links
        return self.n * (LINK_BYTES * (2 * m + m / (m - 1))) / GB if m else 0.0

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


def encode_flops(n_layers_used: int, hidden: int, intermediate: int, tokens: int) -> int:
    """Multiply-adds of encoding one text of `tokens` tokens with the first `n_layers_used` blocks.

    In each block, every token: 4 hidden^2 (query, key, value, output maps), 2 hidden intermediate (feed-forward), and
    2 tokens hidden (its scores with all tokens, and their weighted sum). Norms, biases and activations are left out.
    """
    _positive(n_layers_used=n_layers_used, hidden=hidden, intermediate=intermediate, tokens=tokens)
    return n_layers_used * tokens * (4 * hidden**2 + 2 * hidden * intermediate + 2 * tokens * hidden)


def search_flops(n: int, dim: int) -> int:
    """Multiply-adds of scoring one query against `n` documents exactly: n dim."""
    _positive(n=n, dim=dim)
    return n * dim


def adaptive_flops(n: int, ds: int, depth: int, dr: int) -> int:
    """Multiply-adds of one query of adaptive retrieval: `n` documents at `ds`, the best `depth` again at `dr`
    (2205.13147, section 4.3). Raises InputError where the shortlist is longer than what it is taken from."""
    if depth > n:
        raise InputError(f"a shortlist of {depth} cannot be taken from {n} documents: shorten it")
    return search_flops(n, ds) + search_flops(depth, dr)


def cell_price(
    encoder: Any, layer: int, dim: int, n_documents: int = 10_000_000, tokens: int = 128, dtype: str = "float32"
) -> dict[str, float]:
    """The price of cell (layer, dim), and its share of the full size (last layer, full width, float32).

    encoder: an Encoder or a Geometry. tokens: of the text that is encoded. Keys: bytes (a vector), corpus_gb and
    search_flops (of `n_documents`), encode_flops; bytes_share, encode_share, search_share. Raises InputError for a cell
    that the model lacks.

    >>> price = cell_price(MINILM, layer=3, dim=64)
    >>> price["bytes"], price["encode_share"]
    (256, 0.5)
    """
    n_layers, width = encoder.n_layers, encoder.width
    if not 1 <= layer <= n_layers or not 1 <= dim <= width:
        raise InputError(f"cell ({layer}, {dim}) does not exist: layers are 1 to {n_layers}, dimensions 1 to {width}")
    return {
        "bytes": bytes_per_vector(dim, dtype),
        "corpus_gb": corpus_gb(n_documents, dim, dtype),
        "encode_flops": encode_flops(layer, width, getattr(encoder, "intermediate", 4 * width), tokens),
        "search_flops": search_flops(n_documents, dim),
        "bytes_share": bytes_per_vector(dim, dtype) / bytes_per_vector(width),
        "encode_share": layer / n_layers,
        "search_share": dim / width,
    }


def _positive(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"{name} {value} is impossible: give 1 or more")
