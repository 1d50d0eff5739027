"""Intel's graphs: Vamana over vectors in 4 + 8 bits a coordinate, or over a learned reduction of them.

LVQ: C. Aguerrebere et al., arXiv 2304.04759. LeanVec: M. Tepper et al., arXiv 2312.16335, which learns a linear map to
fewer dimensions, searches there and reranks: the nearest rival of a Matryoshka prefix.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.scan import Cost, floats


def load_svs(name: str) -> Any:
    """The module. Raises InputError where it is not installed; name: of the engine that needs it."""
    try:
        import svs
    except ImportError as error:
        raise InputError(
            f"engine {name!r} needs scalable-vs: pip install \"mrl-tutorial[svs]\" (Linux), or use 'hnsw'"
        ) from error
    return svs


class SvsIndex:
    """A graph of kind "vamana" (float32), "vamana-lvq" or "leanvec"; equal scores in its own order.

    options: links and build shape the graph, window is how widely a search looks; first and rest are the bits of a
    coordinate in the search and in its own rerank, reduced the dimensions of "leanvec".
    """

    def __init__(self, kind: str, documents: np.ndarray, cosine: bool, threads: int, options: Mapping[str, int]):
        svs, x = load_svs(kind), floats(documents, cosine)
        self.kind, self.cosine, self.threads, self.options = kind, cosine, threads, dict(options)
        self.n, self.dim = x.shape
        given = svs.VamanaBuildParameters(graph_max_degree=options["links"], window_size=options["build"])
        with tempfile.TemporaryDirectory() as folder:
            try:
                source = x if kind == "vamana" else self._coded(svs, x, Path(folder))
                self.index = svs.Vamana.build(given, source, svs.DistanceType.MIP, num_threads=threads)
            except RuntimeError as error:
                raise InputError(f"engine {kind!r} does not work here ({error}): use 'vamana' or 'hnsw'") from error

    def _coded(self, svs: Any, x: np.ndarray, folder: Path) -> Any:
        """What compresses the vectors while it reads them from a file."""
        svs.write_vecs(x, str(folder / "x.fvecs"))
        source, o = svs.VectorDataLoader(str(folder / "x.fvecs"), svs.DataType.float32, self.dim), self.options
        if self.kind == "vamana-lvq":
            return svs.LVQLoader(source, primary=o["first"], residual=o["rest"])
        kinds = {4: svs.LeanVecKind.lvq4, 8: svs.LeanVecKind.lvq8}
        if o["first"] not in kinds or o["rest"] not in kinds:
            raise InputError(f"bits {o['first']} and {o['rest']} are not to be had in 'leanvec': give 4 or 8")
        return svs.LeanVecLoader(source, self._reduced, kinds[o["first"]], kinds[o["rest"]])

    @property
    def _reduced(self) -> int:
        return min(self.options["reduced"] or max(1, self.dim // 3), self.dim)

    def with_options(self, options: Mapping[str, int]) -> SvsIndex:
        """The same index, searched with other options."""
        other = copy.copy(self)
        other.options = dict(options)
        return other

    @property
    def cost(self) -> Cost:
        """Bytes by arithmetic: the library does not tell, nor how many documents a search is compared with (nan)."""
        o, links = self.options, 4 * (self.options["links"] + 1)
        bits = 32 * self.dim if self.kind == "vamana" else (o["first"] + o["rest"]) * self.dim
        if self.kind == "leanvec":
            bits = o["first"] * self._reduced + o["rest"] * self.dim
        return Cost(self.n * (-(-bits // 8) + links), float("nan"), float("nan"))

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As indexes.py says."""
        svs, k = load_svs(self.kind), min(k, self.n)
        self.index.num_threads = max(1, min(self.threads, len(queries)))
        buffer = svs.SearchBufferConfig(max(self.options["window"], k))
        self.index.search_parameters = svs.VamanaSearchParameters(buffer)
        found, scores = self.index.search(floats(queries[:, : self.dim], self.cosine), k)
        rows, scores = found.astype(np.int64), scores.astype(np.float64)
        missing = (rows == 0) & (scores == 0)  # what it fills up with where it found fewer
        rows[missing], scores[missing] = -1, -np.inf
        return rows, scores
