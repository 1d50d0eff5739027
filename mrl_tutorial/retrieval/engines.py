"""How the documents of one stage are stored and searched: flat float32, int8 or binary, or an index of FAISS.

Every engine takes raw vectors (N, D), uses their first `dim` coordinates in a copy of its own that holds nothing else
(a scan reads it from end to end), and scores by the cosine of those prefixes, or with cosine=False by their inner
product. A zero prefix scores 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.codes import quantize
from mrl_tutorial.retrieval.exact import BLOCK, FullScan, Workers, inverse_lengths, scan
from mrl_tutorial.retrieval.indexes import Faiss, FaissInt8, check_options

_BITS = np.array([bin(i).count("1") for i in range(256)], dtype=np.uint8)


class Flat(FullScan):
    """Documents (N, d) as float32 or int8 codes, for exact scans and for rescoring.

    int8 codes are x / scale, rounded, of unit vectors (raw ones without cosine); scale (d,) is each coordinate's
    largest value / 127. Their score is that of the vectors that the codes stand for.
    """

    def __init__(self, values: np.ndarray, dim: int, *, scale: np.ndarray | None = None, cosine: bool = True,
                 norms: bool = False):  # fmt: skip
        """values (N, >= dim) float32 or int8, used as they are. norms: keep 1 / norm of each, which scans need."""
        self.values, self.dim, self.cosine = values[:, :dim], dim, cosine
        self.scale = None if scale is None else scale[:dim]
        self.n = len(values)
        self.inverse = self._reach = None
        if norms:
            lengths = np.empty(self.n, dtype=np.float32)  # of the numbers as stored
            inverse = np.empty(self.n, dtype=np.float32)
            for a in range(0, self.n, BLOCK):
                x = self.values[a : a + BLOCK].astype(np.float32)
                lengths[a : a + BLOCK] = np.sqrt(np.einsum("nd,nd->n", x, x))
                inverse[a : a + BLOCK] = inverse_lengths(self._stands_for(x)) if cosine else 1
            self._reach = float((lengths * inverse).max())
            self.inverse = inverse if cosine else None

    @classmethod
    def build(cls, documents: np.ndarray, dim: int, dtype: str, *, cosine: bool = True) -> Flat:
        """The contiguous first `dim` coordinates of documents (N, D), ready to scan."""
        if dtype == "int8":
            codes, scale = quantize(documents, dim, unit=cosine)
            return cls(codes, dim, scale=scale, cosine=cosine, norms=True)
        return cls(np.ascontiguousarray(documents[:, :dim], dtype=np.float32), dim, cosine=cosine, norms=True)

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers this engine scans."""
        parts = (self.values, self.inverse, self.scale)
        return sum(x.nbytes for x in parts if x is not None)

    def search(self, queries: np.ndarray, keep: int, workers: Workers) -> tuple[np.ndarray, np.ndarray]:
        """queries (B, >= d) raw -> rows (B, K), scores (B, K), best first, K = min(keep, N)."""
        return scan(self, self.prepare(queries), keep, workers)

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        """Raw queries as the products need them: cut, of unit length, times the codes' scale. (B, d) float64."""
        q = queries[:, : self.dim].astype(np.float64)
        if self.cosine:
            q = q * inverse_lengths(q)[:, None]
        return q if self.scale is None else q * self.scale

    def block(self, queries: np.ndarray, start: int, stop: int) -> np.ndarray:
        x = self.values[start:stop]
        x = x.astype(np.float32) if x.dtype != np.float32 else x
        scores = (x @ queries[0])[None] if len(queries) == 1 else queries @ x.T
        if self.inverse is not None:
            scores *= self.inverse[start:stop]
        return scores

    def rough(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        x = self.values[rows].astype(np.float32, copy=False)  # (B, C, d)
        scores = np.matmul(x, queries[:, :, None])[..., 0]
        return scores * inverse_lengths(self._stands_for(x)) if self.cosine else scores

    def exact(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        x = self.values[rows].astype(np.float64)  # (B, C, d)
        # sums of products, one vector at a time: a matrix product may round equal vectors differently
        scores = (x * queries[:, None]).sum(-1)
        return scores * inverse_lengths(self._stands_for(x)) if self.cosine else scores

    def slack(self, queries: np.ndarray) -> np.ndarray:
        if self._reach is None:
            # |codes| <= |vector| / smallest scale: loose, and still far below the gaps between neighbours
            smallest = 1.0 if self.scale is None else float(self.scale.min())
            reach = 1 / smallest if self.cosine else self._longest()
        else:
            reach = self._reach
        return 2 * (self.dim + 8) * 2.0**-24 * reach * np.sqrt((queries**2).sum(1))

    def _longest(self) -> float:
        self._reach = max(
            float(np.sqrt(np.einsum("nd,nd->n", x, x)).max())
            for x in (self.values[a : a + BLOCK].astype(np.float32) for a in range(0, self.n, BLOCK))
        )
        return self._reach

    def _stands_for(self, x: np.ndarray) -> np.ndarray:
        return x if self.scale is None else x * self.scale.astype(x.dtype)


class Turned(Flat):
    """int8 codes of vectors that a rotation has turned (`quantize_turned`): queries are turned before they are compared,
    and the products of whole vectors stay what they were."""

    def __init__(self, values: np.ndarray, dim: int, *, turn: np.ndarray, **options):
        """turn: the rotation, (D, D)."""
        super().__init__(values, dim, **options)
        self.turn = turn

    def prepare(self, queries: np.ndarray) -> np.ndarray:
        return super().prepare(queries.astype(np.float64) @ self.turn)


class Binary:
    """Documents as signs, a bit a coordinate (set above 0), scored by the coordinates whose signs agree.

    Equal scores, of which there are many, rank in the order of rows.
    """

    def __init__(self, documents: np.ndarray, dim: int):
        self.n, self.dim = len(documents), dim
        # words of 64 coordinates first in memory: a step passes over one word of many documents, (W, N)
        self.words = np.empty((-(-dim // 64), self.n), dtype=np.uint64)
        for a in range(0, self.n, BLOCK):
            self.words[:, a : a + BLOCK] = _signs(documents[a : a + BLOCK], dim).T

    @property
    def nbytes(self) -> int:
        return self.words.nbytes

    @property
    def flops(self) -> float:
        """Operations on 64-bit words of a query, each counted as one."""
        return self.words.size

    @property
    def read(self) -> float:
        return self.nbytes

    def search(self, queries: np.ndarray, keep: int, workers: Workers) -> tuple[np.ndarray, np.ndarray]:
        """queries (B, >= d) raw -> rows (B, K), scores (B, K): agreeing minus differing signs."""
        keep = min(keep, self.n)
        found = np.empty((len(queries), keep), dtype=np.int64)
        far = np.empty((len(queries), keep), dtype=np.int64)
        distances = np.empty(self.n, dtype=np.uint16)
        for i, query in enumerate(_signs(queries, self.dim)):
            workers.map(lambda part, q=query: self._hamming(q, part, distances), workers.parts(self.n, 4096))
            counts = np.bincount(distances, minlength=self.dim + 1)
            radius = int(np.searchsorted(counts.cumsum(), keep))
            near = np.flatnonzero(distances <= radius)
            near = near[np.argsort(distances[near], kind="stable")[:keep]]
            found[i], far[i] = near, distances[near]
        return found, (self.dim - 2 * far).astype(np.float64)

    def _hamming(self, query: np.ndarray, part: slice, out: np.ndarray) -> None:
        for a in range(part.start, part.stop, BLOCK):
            here = slice(a, min(a + BLOCK, part.stop))
            out[here] = 0
            for words, word in zip(self.words, query, strict=True):
                out[here] += _popcount(words[here] ^ word)


ENGINES = ("float32", "int8", "binary", FaissInt8.NAME, *Faiss.OPTIONS)


def build_engine(name: str, documents: np.ndarray, dim: int, *, cosine: bool = True,
                 options: Mapping[str, int] | None = None, workers: Workers | None = None):  # fmt: skip
    """The engine `name` (one of ENGINES) over the first `dim` coordinates of documents (N, D).

    options: of "hnsw" links, build, ef; of "ivfpq" lists, probe, codes (0: chosen by size). Raises InputError for an
    unknown engine or option, too few documents to train on, and a FAISS that is not installed.
    """
    if name not in ENGINES:
        raise InputError(f"engine {name!r} is unknown: choose one of {', '.join(ENGINES)}")
    if name in Faiss.OPTIONS:
        return Faiss(name, documents, dim, cosine=cosine, options=options or {}, workers=workers or Workers())
    check_options(name, options or {}, {})
    if name == FaissInt8.NAME:
        return FaissInt8(documents, dim, cosine=cosine, workers=workers or Workers())
    return Binary(documents, dim) if name == "binary" else Flat.build(documents, dim, name, cosine=cosine)


def _signs(x: np.ndarray, dim: int) -> np.ndarray:
    """Bits of the signs of x (B, >= dim) as uint64 words (B, W), the last padded with zeros."""
    packed = np.packbits(np.asarray(x[:, :dim]) > 0, axis=1)
    words = np.zeros((len(packed), -(-dim // 64) * 8), dtype=np.uint8)
    words[:, : packed.shape[1]] = packed
    return words.view(np.uint64)


def _popcount(words: np.ndarray) -> np.ndarray:
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.bitwise_count(words)
    return _BITS[words.view(np.uint8)].reshape(len(words), 8).sum(1, dtype=np.uint8)
