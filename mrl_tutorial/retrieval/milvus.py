"""Two-stage search on Milvus: a file on this machine by default, a server or cluster by its address.

Milvus holds two vectors of each document: the short prefix, which it searches, and the long one, which comes back for
the shortlist and is reranked here. Loading writes numbered rows in batches and asks Milvus which ones are there. So a
load that was killed goes on where it stopped, and a finished one does nothing when it is repeated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import key
from mrl_tutorial.prefixes import check_dims
from mrl_tutorial.progress import Ticker
from mrl_tutorial.retrieval.faiss_indexes import floats
from mrl_tutorial.retrieval.indexes import check_ids, check_vectors
from mrl_tutorial.retrieval.milvus_link import Link, load_pymilvus
from mrl_tutorial.retrieval.retriever import SearchResult
from mrl_tutorial.topk import rerank

ASKED = 16  # queries in a call: their shortlists' long vectors come back in one message
LONGEST = 16_384  # depth, Milvus's own limit
ID_BYTES = 512


class MilvusStore:
    """One corpus in Milvus, searched at its first `ds` coordinates and reranked at its first `dr` (None: all).

    uri: a file name ending in .db (embedded Milvus Lite), or the address of a server or cluster, with `token`.
    collection: its name there; `<collection>_about` notes what it was loaded from. index: how Milvus searches the short
    vectors (FLAT is exact; HNSW, IVF_FLAT, DISKANN and others by its version). link: another connection, for another
    number of tries. Raises InputError without pymilvus, and where Milvus does not answer or refuses.

    >>> store = MilvusStore("course.db", ds=64)  # nothing is opened yet
    >>> store.load(documents, ids)  # doctest: +SKIP
    6306
    >>> store.search(queries, k=10, depth=100).names()  # doctest: +SKIP
    """

    def __init__(
        self,
        uri: str | Path = "mrl-tutorial.db",
        token: str = "",
        *,
        collection: str = "documents",
        ds: int = 64,
        dr: int | None = None,
        cosine: bool = True,
        index: str = "FLAT",
        link: Link | None = None,
    ):
        self.uri, self.collection, self.about = str(uri), collection, f"{collection}_about"
        if "://" not in self.uri and not self.uri.endswith(".db"):
            raise InputError(f"{self.uri!r} is no address, and no file name ending in .db: give one or the other")
        self.ds, self.dr, self.cosine, self.index = ds, dr, cosine, index
        self._link = link or Link(self.uri, token)

    def load(
        self,
        documents: np.ndarray,
        ids: Sequence[str] | None = None,
        *,
        batch: int = 2000,
        progress: Callable[[int, int, str], None] | None = None,
    ) -> int:
        """Bring documents (N, D) into Milvus; returns how many rows had to be written. Repeating it is harmless.

        ids: unique, at most 512 bytes each (None: their numbers). progress(done, total, label) per batch. Raises
        InputError for bad vectors or ids, and where the collection holds something else.
        """
        names, about = self._check(documents, ids)
        if batch < 1:
            raise InputError(f"batch {batch} is impossible: give 1 or more")
        self._prepare(about)
        n, written = len(documents), 0
        with closing(Ticker(progress)) as ticker:
            for start in range(0, n, batch):
                stop = min(start + batch, n)
                if self._count(f"row >= {start} and row < {stop}") < stop - start:
                    self._link.call("upsert", self.collection, self._rows(documents, names, start, stop))
                    written += stop - start
                ticker(stop, n, "loading")
        if written:
            self._link.call("flush", self.collection)
        if (held := self.count()) != n:
            raise InputError(f"Milvus holds {held} rows of {n}: load again; if it stays so, drop() and load anew")
        return written

    def search(self, queries: np.ndarray, k: int = 10, depth: int = 200) -> SearchResult:
        """The `depth` nearest by the short vectors, of which the best `k` by the long ones. queries (B, D) or (D,).

        Ties rank in the order of rows. Raises InputError where nothing is loaded, for k below 1 or above `depth`, a
        depth that Milvus cannot give, a wrong width, NaN.
        """
        about = self._noted()
        if about is None:
            raise InputError(f"{self.uri} has no collection {self.collection!r}: load() it first")
        if not 1 <= k <= depth:
            raise InputError(f"k {k} is impossible with a shortlist of {depth}: give 1 to {depth}")
        if (depth := min(depth, about["n"])) > LONGEST:
            raise InputError(f"a shortlist of {depth} is beyond Milvus's limit: give at most {LONGEST}")
        q = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        if q.ndim != 2 or q.shape[1] != about["width"]:
            raise InputError(f"queries have shape {np.shape(queries)}: give (queries, {about['width']})")
        if len(q):
            check_vectors(q, "queries")
        k, cosine = min(k, depth), about["cosine"]
        rows, scores = np.full((len(q), k), -1, dtype=np.int64), np.full((len(q), k), -np.inf)
        short, seconds = np.full((len(q), depth), -1, dtype=np.int64), [0.0, 0.0]
        names: dict[int, str] = {}
        for start in range(0, len(q), ASKED):
            began = time.perf_counter()
            asked = list(floats(q[start : start + ASKED, : about["ds"]], cosine))
            lists = self._link.call(
                "search",
                self.collection,
                data=asked,
                anns_field="short",
                limit=depth,
                output_fields=["id", "long"],
                search_params={"metric_type": "IP"},
            )
            searched = time.perf_counter()
            for i, hits in enumerate(lists, start):
                short[i, : len(hits)] = [hit["row"] for hit in hits]
                names |= {hit["row"]: hit["entity"]["id"] for hit in hits}
                long = {hit["row"]: hit["entity"]["long"] for hit in hits}
                vectors = partial(_listed, long)
                best = rerank(q[i : i + 1, : about["dr"]], short[i : i + 1], vectors, k, cosine=cosine)
                rows[i], scores[i] = best[0][0], best[1][0]
            seconds[0] += searched - began
            seconds[1] += time.perf_counter() - searched
        if np.ndim(queries) == 1:
            rows, scores, short = rows[0], scores[0], short[0]
        return SearchResult(rows, scores, (short, rows), tuple(seconds), names)

    def count(self) -> int:
        """Rows that the collection holds."""
        return self._count() if self._link.call("has_collection", self.collection) else 0

    def drop(self) -> None:
        """Delete the collection and its notes."""
        for name in (self.collection, self.about):
            if self._link.call("has_collection", name):
                self._link.call("drop_collection", name)

    def close(self) -> None:
        """Give the connection back; the next call opens another."""
        self._link.close()

    def _check(self, documents: np.ndarray, ids: Sequence[str] | None) -> tuple[list[str], dict]:
        """Ids of the documents, and the notes that are kept with them."""
        if documents.ndim != 2:
            raise InputError(f"documents have shape {documents.shape}: give (documents, width), of one layer")
        if not len(documents):
            raise InputError("the corpus is empty: give at least one document")
        n, width = documents.shape
        dr = self.dr or width
        check_dims([self.ds], width)
        check_dims([dr], width)
        check_vectors(documents, "documents")
        names = list(check_ids(list(map(str, range(n))) if ids is None else ids, n))
        if long := [name for name in names if len(name.encode()) > ID_BYTES]:
            raise InputError(f"id {long[0][:40]!r}... is too long: give at most {ID_BYTES} bytes")
        mark = key(np.asarray(documents), names, self.ds, dr, self.cosine)
        return names, {"n": n, "width": width, "ds": self.ds, "dr": dr, "cosine": self.cosine, "mark": mark}

    def _prepare(self, about: dict) -> None:
        """Make both collections where they are missing. The notes come first: rows without notes are not ours."""
        noted, there = self._noted(), self._link.call("has_collection", self.collection)
        if noted is None and there:
            raise InputError(f"collection {self.collection!r} was not written by this package: give another name")
        if noted is not None and noted["mark"] != about["mark"]:
            raise InputError(f"collection {self.collection!r} holds other vectors: give another name, or drop() it")
        if noted is None:
            if not self._link.call("has_collection", self.about):
                self._create(self.about, {"none": 2}, "FLAT")
            self._link.call("upsert", self.about, [{"row": 0, "id": json.dumps(about), "none": [0.0, 0.0]}])
            self._link.call("flush", self.about)
        if not there:
            self._create(self.collection, {"short": about["ds"], "long": about["dr"]}, self.index)

    def _noted(self) -> dict | None:
        """What the notes say, None where there are none."""
        if not self._link.call("has_collection", self.about):
            return None
        self._link.call("load_collection", self.about)
        notes = self._link.call("get", self.about, ids=[0], output_fields=["id"])
        if notes and self._link.call("has_collection", self.collection):
            self._link.call("load_collection", self.collection)
        return json.loads(notes[0]["id"]) if notes else None

    def _create(self, name: str, vectors: dict[str, int], index: str) -> None:
        milvus = load_pymilvus()
        schema = milvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("row", milvus.DataType.INT64, is_primary=True)
        schema.add_field("id", milvus.DataType.VARCHAR, max_length=ID_BYTES)
        indexes = milvus.MilvusClient.prepare_index_params()
        for i, (field, dim) in enumerate(vectors.items()):
            schema.add_field(field, milvus.DataType.FLOAT_VECTOR, dim=dim)
            indexes.add_index(field, index_type="FLAT" if i else index, metric_type="IP")
        self._link.call("create_collection", name, schema=schema, index_params=indexes, consistency_level="Strong")

    def _rows(self, documents: np.ndarray, names: list[str], start: int, stop: int) -> list[dict]:
        some = documents[start:stop]
        vectors = zip(floats(some[:, : self.ds], self.cosine), floats(some[:, : self.dr], False), strict=True)
        return [
            {"row": i, "id": names[i], "short": short, "long": long} for i, (short, long) in enumerate(vectors, start)
        ]

    def _count(self, where: str = "") -> int:
        return int(self._link.call("query", self.collection, filter=where, output_fields=["count(*)"])[0]["count(*)"])


def _listed(vectors: dict[int, list[float]], rows: np.ndarray) -> np.ndarray:
    """The vectors of `rows`, (c, dr) float32."""
    return np.array([vectors[row] for row in rows.tolist()], dtype=np.float32)
