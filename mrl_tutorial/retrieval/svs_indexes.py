"""Intel's graphs: Vamana over vectors in 4 + 8 bits a coordinate, or over a learned reduction of them.

LVQ: C. Aguerrebere et al., arXiv 2304.04759. LeanVec: M. Tepper et al., arXiv 2312.16335, which learns a linear map to
fewer dimensions, searches there and reranks: the nearest rival of a Matryoshka prefix.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.scan import Cost, Engine, load_library
from mrl_tutorial.topk import Found


class SvsIndex(Engine):
    """A graph of kind "vamana" (float32), "vamana-lvq" or "leanvec"; equal scores in its own order.

    options: links and build shape the graph, window is how widely a search looks; first and rest are the bits of a
    coordinate in the search and in its own rerank, reduced the dimensions of "leanvec".
    """

    def __init__(self, kind: str, documents: np.ndarray, *shared: Any):
        super().__init__(kind, documents, *shared)
        self.svs = load_library("svs", f"engine {kind!r}")
        shape = {"graph_max_degree": self.options["links"], "window_size": self.options["build"]}
        self.reduced = min(self.options.get("reduced") or max(1, self.dim // 3), self.dim)
        x = self.floats(documents)
        with tempfile.TemporaryDirectory() as folder:
            try:
                source = x if kind == "vamana" else self._coded(x, Path(folder, "x.fvecs"))
                given = self.svs.VamanaBuildParameters(**shape), source, self.svs.DistanceType.MIP
                self.index = self.svs.Vamana.build(*given, num_threads=self.threads)
            except RuntimeError as error:
                raise InputError(f"engine {kind!r} does not work here ({error}): use 'vamana' or 'hnsw'") from error

    def _coded(self, x: np.ndarray, path: Path) -> Any:
        """What compresses the vectors while it reads them from a file."""
        svs, first, rest = self.svs, self.options["first"], self.options["rest"]
        svs.write_vecs(x, str(path))
        source = svs.VectorDataLoader(str(path), svs.DataType.float32, self.dim)
        if self.kind == "vamana-lvq":
            return svs.LVQLoader(source, primary=first, residual=rest)
        kinds = {4: svs.LeanVecKind.lvq4, 8: svs.LeanVecKind.lvq8}
        if not {first, rest} <= set(kinds):
            raise InputError(f"bits {first} and {rest} are not to be had in 'leanvec': give 4 or 8")
        return svs.LeanVecLoader(source, self.reduced, kinds[first], kinds[rest])

    @property
    def cost(self) -> Cost:
        """Bytes by arithmetic: the library does not tell, nor how many documents a search is compared with (nan)."""
        first, rest = (self.options.get(bits, 0) for bits in ("first", "rest"))
        bits = {
            "vamana": 32 * self.dim,
            "vamana-lvq": (first + rest) * self.dim,
            "leanvec": first * self.reduced + rest * self.dim,
        }
        links = 4 * (self.options["links"] + 1)
        return Cost(self.n * (-(-bits[self.kind] // 8) + links), float("nan"), float("nan"))

    def search(self, queries: np.ndarray, k: int) -> Found:
        """As indexes.py says."""
        svs, k = self.svs, min(k, self.n)
        self.index.num_threads = max(1, min(self.threads, len(queries)))
        buffer = svs.SearchBufferConfig(max(self.options["window"], k))
        self.index.search_parameters = svs.VamanaSearchParameters(buffer)
        found, scores = self.index.search(self.floats(queries), k)
        rows, scores = found.astype(np.int64), scores.astype(np.float64)
        missing = (rows == 0) & (scores == 0)  # what it fills up with where it found fewer
        rows[missing], scores[missing] = -1, -np.inf
        return rows, scores
