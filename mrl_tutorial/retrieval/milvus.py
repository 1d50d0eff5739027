"""The two-stage search on Milvus: a file on this machine by default, a server or cluster by its address.

Milvus holds two vectors of each document: the short prefix, which it searches, and the long one, which comes back for
the shortlist and is scored here as in retrieval.py. Loading writes numbered rows batch by batch and asks Milvus which
are there, so a load that was killed goes on where it stopped, and one that was finished does nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import key
from mrl_tutorial.prefixes import check_dims
from mrl_tutorial.progress import Ticker
from mrl_tutorial.retrieval.engines import Flat
from mrl_tutorial.retrieval.exact import Workers, inverse_lengths, rescore
from mrl_tutorial.retrieval.milvus_link import Link, pymilvus
from mrl_tutorial.retrieval.retriever import Found, check_vectors

ASKED = 16  # queries in a call: their shortlists' long vectors come back in one message
LONGEST = 16_384  # of a shortlist, Milvus's own limit
ID_BYTES = 512


class MilvusStore:
    """One corpus in Milvus, searched at its first `ds` coordinates, reranked at its first `dr` (None: all).

    uri: a file name ending in .db (embedded Milvus Lite), or the address of a server or cluster, with `token`.
    collection: its name there; `<collection>_about` notes what it was loaded from. index: how Milvus searches the short
    vectors (FLAT is exact; HNSW, IVF_FLAT, DISKANN and others by its version). A call that fails because the connection
    was lost is tried `tries` times, after `wait` seconds, then twice as long each time. connect: makes the client.
    Raises InputError without pymilvus, and where Milvus does not answer or refuses.
    """

    def __init__(self, uri: str | Path = "mrl-tutorial.db", token: str = "", *, collection: str = "documents",
                 ds: int = 64, dr: int | None = None, cosine: bool = True, index: str = "FLAT", tries: int = 5,
                 wait: float = 0.5, connect: Callable[[], Any] | None = None):  # fmt: skip
        self.uri, self.collection, self.about = str(uri), collection, f"{collection}_about"
        if "://" not in self.uri and not self.uri.endswith(".db"):
            raise InputError(f"{self.uri!r} is no address, and no file name ending in .db: give one or the other")
        self.ds, self.dr, self.cosine, self.index = ds, dr, cosine, index
        self._link, self._workers = Link(self.uri, token, tries, wait, connect), Workers(1)

    def load(self, documents: np.ndarray, ids: Sequence[str] | None = None, *, batch: int = 2000,
             progress: Callable[[int, int, str], None] | None = None) -> int:  # fmt: skip
        """Bring documents (N, D) into Milvus; returns how many rows had to be written. Running it again is harmless.

        ids: unique, at most 512 bytes each (None: their numbers). progress(done, total, label) per batch. Raises
        InputError for bad vectors or ids, and where the collection holds something else.
        """
        ids, about = self._check(documents, ids)
        if batch < 1:
            raise InputError(f"batch {batch} is impossible: give 1 or more")
        self._prepare(about)
        n, written, ticker = len(documents), 0, Ticker(progress)
        try:
            for start in range(0, n, batch):
                stop = min(start + batch, n)
                if self._count(f"row >= {start} and row < {stop}") < stop - start:
                    self._link.call("upsert", self.collection, self._rows(documents, ids, start, stop))
                    written += stop - start
                ticker(stop, n, "loading")
        finally:
            ticker.close()
        if written:
            self._link.call("flush", self.collection)
        if (held := self.count()) != n:
            raise InputError(f"Milvus holds {held} rows of {n}: load again; if it stays so, drop() and load anew")
        return written

    def search(self, queries: np.ndarray, k: int = 10, keep: int = 200) -> Found:
        """The `keep` nearest by the short vectors, reranked by the long ones: the best `k`. queries (B, D) or (D,).

        Ties rank in the order of rows. Raises InputError for nothing loaded, k below 1 or above `keep`, a shortlist
        that Milvus cannot give, a wrong width, NaN.
        """
        about = self._noted()
        if about is None:
            raise InputError(f"{self.uri} has no collection {self.collection!r}: load() it first")
        if not 1 <= k <= keep:
            raise InputError(f"k {k} is impossible with a shortlist of {keep}: give 1 to {keep}")
        if (keep := min(keep, about["n"])) > LONGEST:
            raise InputError(f"a shortlist of {keep} is beyond Milvus's limit: give at most {LONGEST}")
        q = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        if q.ndim != 2 or q.shape[1] != about["width"]:
            raise InputError(f"queries have shape {np.shape(queries)}: give (queries, {about['width']})")
        check_vectors(q, "queries") if len(q) else None
        k = min(k, keep)
        rows, scores = np.full((len(q), k), -1, dtype=np.int64), np.full((len(q), k), -np.inf)
        short, seconds = np.full((len(q), keep), -1, dtype=np.int64), [0.0, 0.0]
        names: dict[int, str] = {}
        for start in range(0, len(q), ASKED):
            began = time.perf_counter()
            lists = self._link.call(
                "search", self.collection, data=list(_unit(q[start : start + ASKED], about["ds"], about["cosine"])),
                anns_field="short", limit=keep, output_fields=["id", "long"], search_params={"metric_type": "IP"},
            )  # fmt: skip
            seconds[0] += time.perf_counter() - began
            began = time.perf_counter()
            for i, hits in enumerate(lists, start):
                short[i, : len(hits)] = [hit["row"] for hit in hits]
                names.update((hit["row"], hit["entity"]["id"]) for hit in hits)
                rows[i], scores[i] = self._rerank(q[i], hits, k, about)
            seconds[1] += time.perf_counter() - began
        if np.ndim(queries) == 1:
            rows, scores, short = rows[0], scores[0], short[0]
        return _Named(rows, scores, (short, rows), tuple(seconds), names)

    def count(self) -> int:
        """Rows that the collection holds."""
        return self._count("") if self._link.call("has_collection", self.collection) else 0

    def drop(self) -> None:
        """Delete the collection and its notes."""
        for name in (self.collection, self.about):
            if self._link.call("has_collection", name):
                self._link.call("drop_collection", name)

    def close(self) -> None:
        """Give the connection back; the next call opens another."""
        self._link.close()

    def _check(self, documents: np.ndarray, ids: Sequence[str] | None) -> tuple[list[str], dict]:
        """Ids of the documents, and the notes that go with them."""
        if documents.ndim != 2:
            raise InputError(f"documents have shape {documents.shape}: give (documents, width), of one layer")
        if not len(documents):
            raise InputError("the corpus is empty: give at least one document")
        width = documents.shape[1]
        dr = self.dr or width
        check_dims([self.ds], width)
        check_dims([dr], width)
        check_vectors(documents, "documents")
        names = [str(i) for i in range(len(documents))] if ids is None else list(ids)
        if len(names) != len(documents):
            raise InputError(f"{len(names)} ids for {len(documents)} documents: give one each")
        if len(set(names)) != len(names):
            raise InputError("the corpus repeats a document id: ids must be unique")
        if (longest := max(names, key=len)) and len(longest.encode()) > ID_BYTES:
            raise InputError(f"id {longest[:40]!r}... is too long: give at most {ID_BYTES} bytes")
        mark = key(np.asarray(documents), names, self.ds, dr, self.cosine)
        return names, {"n": len(names), "width": width, "ds": self.ds, "dr": dr, "cosine": self.cosine, "mark": mark}

    def _prepare(self, about: dict) -> None:
        """Both collections, made where they are not there. The notes come first: rows without notes are not ours."""
        noted = self._noted()
        if noted is None and self._link.call("has_collection", self.collection):
            raise InputError(f"collection {self.collection!r} was not written by this package: give another name")
        if noted is not None and noted["mark"] != about["mark"]:
            raise InputError(f"collection {self.collection!r} holds other vectors: give another name, or drop() it")
        if noted is None:
            if not self._link.call("has_collection", self.about):
                self._create(self.about, {"none": 2}, "FLAT")
            note = {"row": 0, "id": json.dumps(about), "none": [0.0, 0.0]}
            self._link.call("upsert", self.about, [note])
            self._link.call("flush", self.about)
        if not self._link.call("has_collection", self.collection):
            self._create(self.collection, {"short": about["ds"], "long": about["dr"]}, self.index)

    def _noted(self) -> dict | None:
        if not self._link.call("has_collection", self.about):
            return None
        self._link.call("load_collection", self.about)
        notes = self._link.call("get", self.about, ids=[0], output_fields=["id"])
        if notes and self._link.call("has_collection", self.collection):
            self._link.call("load_collection", self.collection)
        return json.loads(notes[0]["id"]) if notes else None

    def _create(self, name: str, vectors: dict[str, int], index: str) -> None:
        milvus = pymilvus()
        schema = milvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("row", milvus.DataType.INT64, is_primary=True)
        schema.add_field("id", milvus.DataType.VARCHAR, max_length=ID_BYTES)
        indexes = milvus.MilvusClient.prepare_index_params()
        for i, (field, dim) in enumerate(vectors.items()):
            schema.add_field(field, milvus.DataType.FLOAT_VECTOR, dim=dim)
            indexes.add_index(field, index_type="FLAT" if i else index, metric_type="IP")
        self._link.call("create_collection", name, schema=schema, index_params=indexes, consistency_level="Strong")

    def _rows(self, documents: np.ndarray, ids: list[str], start: int, stop: int) -> list[dict]:
        x = np.asarray(documents[start:stop], dtype=np.float32)
        short, long = _unit(x, self.ds, self.cosine), np.ascontiguousarray(x[:, : self.dr])
        return [{"row": start + i, "id": ids[start + i], "short": short[i], "long": long[i]} for i in range(len(x))]

    def _rerank(self, query: np.ndarray, hits: list, k: int, about: dict) -> tuple[np.ndarray, np.ndarray]:
        hits = sorted(hits, key=lambda hit: hit["row"])  # ties rank in the order of rows
        rows, scores = np.full(k, -1, dtype=np.int64), np.full(k, -np.inf)
        if hits:
            vectors = np.array([hit["entity"]["long"] for hit in hits], dtype=np.float32)
            long = Flat(vectors, about["dr"], cosine=about["cosine"])
            place, best = rescore(long, long.prepare(query[None]), np.arange(len(hits))[None], k, self._workers)
            rows[: place.shape[1]], scores[: place.shape[1]] = [hits[p]["row"] for p in place[0]], best[0]
        return rows, scores

    def _count(self, where: str) -> int:
        return int(self._link.call("query", self.collection, filter=where, output_fields=["count(*)"])[0]["count(*)"])


class _Named(Found):
    """What Milvus found: ids come with the rows. ids: row -> id."""

    def names(self) -> list:
        named = [[self.ids.get(int(r)) for r in rows] for rows in np.atleast_2d(self.rows)]
        return named[0] if self.rows.ndim == 1 else named


def _unit(x: np.ndarray, dim: int, cosine: bool) -> np.ndarray:
    x = np.ascontiguousarray(x[:, :dim], dtype=np.float32)
    return x * inverse_lengths(x)[:, None] if cosine else x
