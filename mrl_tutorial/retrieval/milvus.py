"""Two-stage search on Milvus: a file on this machine by default, a server or a cluster by its address.

Milvus searches each document's short prefix; the long vectors of the shortlist come back and are reranked here. Each
row is marked with the load that wrote it: a load that was killed goes on where it stopped. A cluster spreads the rows
over its shards by primary key, and takes the same code with its address and an index for many vectors:

    MilvusStore("http://milvus:19530", token="…", ds=128, index="HNSW_SQ", build={"M": 16, "sq_type": "SQ8"})
    MilvusStore("http://milvus:19530", token="…", ds=128, index="IVF_RABITQ", build={"nlist": 65_536})
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import key
from mrl_tutorial.prefixes import check_dims
from mrl_tutorial.progress import Ticker
from mrl_tutorial.retrieval.indexes import check_ids, check_vectors
from mrl_tutorial.retrieval.libraries import load_library
from mrl_tutorial.retrieval.retriever import SearchResult
from mrl_tutorial.topk import rerank

ANSWER = 2**22  # numbers that come back in one message: 16 MB
LONGEST = 16_384  # depth, Milvus's own limit
ID_BYTES = 512


class MilvusStore:
    """One corpus in Milvus, searched at its first `ds` coordinates and reranked at all.

    uri: a file name ending in .db (embedded Milvus Lite), or the address of a server or cluster. collection: its name
    there. index, build: how Milvus searches the short vectors (FLAT is exact), and that index's settings. connection:
    as pymilvus.MilvusClient takes it (token, timeout: the seconds for which a lost connection is tried again).
    Raises InputError without pymilvus, and where Milvus does not answer or refuses. Nothing is opened yet.

    >>> store = MilvusStore("course.db", ds=64)
    >>> store.load(documents, ids)  # doctest: +SKIP
    6306
    >>> store.search(queries, k=10, depth=100, where='id like "numpy%"').names()  # doctest: +SKIP
    """

    def __init__(
        self,
        uri: str | Path = "mrl-tutorial.db",
        *,
        collection: str = "documents",
        ds: int = 64,
        cosine: bool = True,
        index: str = "FLAT",
        build: dict | None = None,
        **connection: Any,
    ):
        self.uri, self.collection = str(uri), collection
        if "://" not in self.uri and not self.uri.endswith(".db"):
            raise InputError(f"{self.uri!r} is neither an address nor a file name ending in .db: give one or the other")
        self.ds, self.metric, self.index, self.build = ds, "COSINE" if cosine else "IP", index, build or {}
        self.connection = {"timeout": 300, **connection}
        self._client: Any = None

    def load(
        self, documents: np.ndarray, ids: Sequence[str] | None = None, *, batch: int = 2000, progress: Any = None
    ) -> int:
        """Make Milvus hold documents (N, D) and nothing else; returns how many rows had to be written.

        ids: unique, at most 512 bytes each (None: their numbers). Raises InputError for bad vectors or ids, and where
        the collection was made by other means or for other widths."""
        if documents.ndim != 2 or not len(documents) or batch < 1:
            raise InputError(f"documents {documents.shape} by {batch}: give (documents, width), 1 or more of each")
        n, written, names = len(documents), 0, self._checked(documents, ids)
        self._prepare(documents.shape[1])
        mark = int(key(np.asarray(documents), names), 16) >> 1  # 63 bits
        there = self.count(f"row < {n} and mark == {mark}")
        with closing(Ticker(progress)) as ticker:
            for start in range(0, n if there < n else 0, batch):
                stop = min(start + batch, n)
                own = f"row >= {start} and row < {stop} and mark == {mark}"
                if not there or self.count(own) < stop - start:
                    self._write(range(start, stop), documents[start:stop], names[start:stop], mark)
                    written += stop - start
                    ticker(stop, n, "loading")
        if written:
            self._call("flush")
        if self.count() > n:  # of a longer corpus, before
            self._call("delete", filter=f"row >= {n}")
        if (held := self.count()) != n:
            raise InputError(f"Milvus holds {held} rows of {n}: load again; if it stays so, drop() and load anew")
        return written

    def upsert(self, rows: Iterable[int], documents: np.ndarray, ids: Sequence[str] | None = None) -> None:
        """Put documents (n, D) in the places `rows`, old ones or new; the next search sees them. A `load` undoes it."""
        names = self._checked(documents, list(map(str, rows)) if ids is None else ids)
        self._prepare(documents.shape[1])
        self._write(rows, documents, names, 0)

    def delete(self, rows: Iterable[int]) -> None:
        """Take out the documents in the places `rows`; the next search no longer finds them. A `load` undoes it."""
        self._call("delete", ids=[int(row) for row in rows])

    def search(
        self, queries: np.ndarray, k: int = 10, depth: int = 200, *, where: str = "", params: dict | None = None
    ) -> SearchResult:
        """The `depth` nearest by the short vectors, of which the best `k` by the long ones. queries (B, D) or (D,).

        where: a condition, like 'id like "numpy%"'. params: of the index's search, {"ef": 200} or {"nprobe": 64}. Ties
        rank in the order of rows; row -1 where fewer were found. Raises InputError where nothing is loaded, for a k or
        depth that cannot be, a wrong width, NaN."""
        if not 1 <= k <= depth <= LONGEST:
            raise InputError(f"k {k} is impossible with a shortlist of {depth}: give 1 to depth, at most {LONGEST}")
        ds, width = self._widths() or (0, 0)
        if not width:
            raise InputError(f"{self.uri} has no collection {self.collection!r}: load() it first")
        q = np.atleast_2d(np.asarray(queries, dtype=np.float32))
        if q.ndim != 2 or q.shape[1] != width:
            raise InputError(f"queries have shape {np.shape(queries)}: give (queries, {width})")
        check_vectors(q, "queries")
        self._call("load_collection")
        rows, scores = np.full((len(q), k), -1, dtype=np.int64), np.full((len(q), k), -np.inf)
        names: dict[int, str] = {}
        how = {"metric_type": self.metric, "params": params or {}}
        options = {"anns_field": "short", "limit": depth, "filter": where, "search_params": how}
        together = max(1, ANSWER // (depth * width))  # queries in a call
        for start in range(0, len(q), together):
            asked = list(q[start : start + together, :ds])
            lists = self._call("search", data=asked, output_fields=["id", "long"], **options)
            for i, hits in enumerate(lists, start):
                found = sorted(hits, key=lambda hit: hit["row"])  # equal scores rank in the order of rows
                names |= {hit["row"]: hit["entity"]["id"] for hit in found}
                x = np.array([hit["entity"]["long"] for hit in found], dtype=np.float32).reshape(-1, width)
                every, cosine = np.arange(len(x))[None], self.metric == "COSINE"
                best, score = rerank(q[i, None], every, x.__getitem__, k, cosine=cosine)
                rows[i, : best.size], scores[i, : best.size] = [found[j]["row"] for j in best[0]], score[0]
        single = np.ndim(queries) == 1
        return SearchResult(rows[0] if single else rows, scores[0] if single else scores, (), names)

    def count(self, where: str = "") -> int:
        """Rows that the collection holds, or those of them that fulfil a condition."""
        if not self._call("has_collection"):
            return 0
        return int(self._call("query", filter=where, output_fields=["count(*)"])[0]["count(*)"])

    def drop(self) -> None:
        """Delete the collection, if it is there."""
        self._call("drop_collection")

    def close(self) -> None:
        """Give the connection back; the next call opens another."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _checked(self, documents: np.ndarray, ids: Sequence[str] | None) -> tuple[str, ...]:
        """Ids of the documents, after a look at both."""
        check_vectors(documents, "documents")
        names = check_ids(list(map(str, range(len(documents)))) if ids is None else ids, len(documents))
        if long := [name for name in names if len(name.encode()) > ID_BYTES]:
            raise InputError(f"id {long[0][:40]!r}... is too long: give at most {ID_BYTES} bytes")
        return names

    def _prepare(self, width: int) -> None:
        """Make the collection where it is missing, for documents of `width` coordinates."""
        check_dims([self.ds], width)
        if (found := self._widths()) is None:
            milvus = load_library("pymilvus", "Milvus")
            schema = milvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("row", milvus.DataType.INT64, is_primary=True)
            schema.add_field("id", milvus.DataType.VARCHAR, max_length=ID_BYTES)
            schema.add_field("mark", milvus.DataType.INT64)  # of the load that wrote it
            indexes = milvus.MilvusClient.prepare_index_params()
            for field, dim, index, build in (("short", self.ds, self.index, self.build), ("long", width, "FLAT", {})):
                schema.add_field(field, milvus.DataType.FLOAT_VECTOR, dim=dim)
                indexes.add_index(field, index_type=index, metric_type=self.metric, params=build)
            self._call("create_collection", schema=schema, index_params=indexes, consistency_level="Strong")
        elif found != (self.ds, width):
            raise InputError(f"collection {self.collection!r} has widths {found}, not {(self.ds, width)}: name another")
        self._call("load_collection")

    def _widths(self) -> tuple[int, int] | None:
        """Coordinates of the short and the long vectors, None without a collection."""
        if not self._call("has_collection"):
            return None
        fields = {field["name"]: field.get("params", {}) for field in self._call("describe_collection")["fields"]}
        if set(fields) != {"row", "id", "mark", "short", "long"}:
            raise InputError(f"collection {self.collection!r} was not written by this package: give another name")
        return int(fields["short"]["dim"]), int(fields["long"]["dim"])

    def _write(self, rows: Iterable[int], documents: np.ndarray, names: Sequence[str], mark: int) -> None:
        parts = zip(rows, names, np.asarray(documents, dtype=np.float32), strict=True)
        data = [{"row": int(r), "id": id, "mark": mark, "short": x[: self.ds], "long": x} for r, id, x in parts]
        self._call("upsert", data=data)

    def _call(self, method: str, **options: Any) -> Any:
        """What the client's `method` gives for the collection; tried again where a connection that held is lost."""
        milvus, held, began = load_library("pymilvus", "Milvus"), self._client is not None, time.monotonic()
        while True:
            try:
                self._client = self._client or milvus.MilvusClient(uri=self.uri, **self.connection)
                return getattr(self._client, method)(self.collection, timeout=self.connection["timeout"], **options)
            except Exception as error:  # pymilvus's own, gRPC's, and ValueError for a closed channel
                reason = " ".join(str(getattr(error, "message", "") or error).split())[:200]
                lost = "unavailable" in reason.lower() or "closed channel" in reason
                if not (held and lost and time.monotonic() - began < self.connection["timeout"]):
                    remedy = "make sure that it runs and that address and token are right, then repeat"
                    raise InputError(f"Milvus at {self.uri} failed to {method} ({reason}): {remedy}") from error
                self._client = None
                time.sleep(0.5)
