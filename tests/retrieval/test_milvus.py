"""Milvus: the embedded engine and a server that is killed, against the same search in this process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from evidence.cluster import cluster_needs

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.milvus import MilvusStore
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import shortlist

RNG = np.random.default_rng(2)
N, D = 1500, 24
DOCUMENTS = (RNG.standard_normal((N, D)) * np.linspace(2, 0.3, D)).astype(np.float32)
QUERIES = (DOCUMENTS[:40] + 0.5 * RNG.standard_normal((40, D))).astype(np.float32)


def in_process(documents, queries, depth=60, **options):
    return Retriever(documents, shortlist(8, D, depth), **options).search(queries, 10)


@pytest.fixture
def store(tmp_path):
    pytest.importorskip("milvus_lite")
    opened = MilvusStore(tmp_path / "vectors.db", ds=8)
    yield opened
    opened.close()


def test_an_address_or_a_file():
    with pytest.raises(InputError, match="'vectors' is neither an address nor a file name"):
        MilvusStore("vectors")


def test_without_pymilvus_it_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(InputError, match="needs pymilvus: pip install"):
        MilvusStore(tmp_path / "x.db").count()


def bad(row, column, value):
    x = DOCUMENTS.copy()
    x[row, column] = value
    return x


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda s: s.load(DOCUMENTS[:0]), r"documents \(0, 24\)"),
        (lambda s: s.load(DOCUMENTS[None]), r"documents \(1, 1500, 24\)"),
        (lambda s: s.load(bad(9, 1, np.nan)), r"NaN or infinity \(row 9\)"),
        (lambda s: s.load(DOCUMENTS, ["a"] * N), "repeats a document id"),
        (lambda s: s.load(DOCUMENTS, ["a"]), "1 ids for 1500"),
        (lambda s: s.load(DOCUMENTS[:1], ["ä" * 300]), "too long"),
        (lambda s: s.load(DOCUMENTS, batch=0), "by 0: give"),
        (lambda s: s.load(DOCUMENTS[:, :4]), "dimension 8 does not exist"),
        (lambda s: s.upsert([1, 1], DOCUMENTS[:2]), "repeats"),
        (lambda s: s.search(QUERIES), "no collection 'documents': load"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(store, call, words):
    with pytest.raises(InputError, match=words):
        call(store)
    assert store.count() == 0


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("index, build", [("FLAT", {}), ("HNSW", {"M": 32, "efConstruction": 400})])
def test_two_stages_equal_those_in_process(tmp_path, cosine, index, build):
    pytest.importorskip("milvus_lite")
    store = MilvusStore(tmp_path / "vectors.db", ds=8, cosine=cosine, index=index, build=build)
    ids, seen = [f"d{i}" for i in range(N)], []
    assert store.load(DOCUMENTS, ids, batch=400, progress=lambda *args: seen.append(args)) == N
    assert seen[-1] == (N, N, "loading") and len(seen) == 4
    expected = in_process(DOCUMENTS, QUERIES, ids=ids, cosine=cosine)
    found = store.search(QUERIES, 10, depth=60, params={"ef": 600} if index == "HNSW" else None)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.names() == expected.names()
    single = store.search(QUERIES[3], 10, depth=60, params={"ef": 600})
    np.testing.assert_array_equal(single.rows, expected.rows[3])
    assert single.names() == expected.names()[3]
    assert store.search(QUERIES[:2], 10, depth=5 * N).rows.shape == (2, 10)
    store.close()


def test_a_filter_searches_those_documents_alone(store):
    store.load(DOCUMENTS, [f"{'even' if i % 2 == 0 else 'odd'}{i}" for i in range(N)])
    found = store.search(QUERIES, 10, depth=60, where='id like "odd%"')
    np.testing.assert_array_equal(found.rows, 1 + 2 * in_process(DOCUMENTS[1::2], QUERIES).rows)
    assert (store.search(QUERIES, 10, where="row > 99999").rows == -1).all()
    few = store.search(QUERIES[0], 10, depth=60, where="row in [4, 7, 9]")
    assert sorted(few.rows[:3]) == [4, 7, 9] and (few.rows[3:] == -1).all() and few.names()[3] is None


def test_upserts_and_deletes_show_while_others_search(store):
    store.load(DOCUMENTS)
    own, stop, wrong = np.arange(400, 1000), threading.Event(), []
    expected = in_process(DOCUMENTS[own], QUERIES).rows

    def ask():
        while not stop.is_set():
            # rows 400 to 999 stay as they are: searches of them must not notice what happens to the others
            found = store.search(QUERIES, 10, depth=60, where="row >= 400 and row < 1000")
            wrong.append((own[expected] != found.rows).sum())

    asking = threading.Thread(target=ask)
    asking.start()
    changed = DOCUMENTS.copy()
    try:
        for start in range(0, 400, 40):
            rows = np.arange(start, start + 40)
            changed[rows] = QUERIES[RNG.permutation(40)] + 0.1 * RNG.standard_normal((40, D))
            store.upsert(rows, changed[rows])
            store.delete(rows + 1000)
    finally:
        stop.set()
        asking.join()
    assert len(wrong) and not any(wrong)
    left = np.delete(np.arange(N), np.arange(1000, 1400))
    store.upsert([N], 2 * QUERIES[:1], ["new"])  # the nearest of the first query, by cosine
    assert store.count() == len(left) + 1
    expected = in_process(np.concatenate([changed[left], 2 * QUERIES[:1]]), QUERIES).rows
    found = store.search(QUERIES, 10, depth=60)
    np.testing.assert_array_equal(found.rows, np.append(left, N)[expected])
    assert found.names()[0][0] == "new"
    assert 0 < store.load(DOCUMENTS, batch=100) < N and store.count() == N  # what was changed is put back
    np.testing.assert_array_equal(store.search(QUERIES, 10, depth=60).rows, in_process(DOCUMENTS, QUERIES).rows)


def test_loading_again_writes_nothing_and_other_documents_take_the_place(store, tmp_path):
    assert store.load(DOCUMENTS, batch=500) == N
    assert store.load(DOCUMENTS, batch=700) == 0 and store.count() == N
    fewer = DOCUMENTS[::-1][:900].copy()
    assert store.load(fewer) == 900 and store.count() == 900
    np.testing.assert_array_equal(store.search(QUERIES, 10, depth=60).rows, in_process(fewer, QUERIES).rows)
    other = MilvusStore(tmp_path / "vectors.db", ds=16)
    with pytest.raises(InputError, match=r"has widths \(8, 24\), not \(16, 24\): name another"):
        other.load(DOCUMENTS)
    store.drop()
    assert store.count() == 0 and store.load(DOCUMENTS[:100]) == 100


def test_what_a_search_cannot_do_is_said(store):
    store.load(DOCUMENTS[:50])
    for call, words in [
        (lambda: store.search(QUERIES, 0), "k 0 is impossible"),
        (lambda: store.search(QUERIES, 20, 10), "shortlist of 10"),
        (lambda: store.search(QUERIES, 10, 20_000), "at most 16384"),
        (lambda: store.search(QUERIES[:, :8]), r"shape \(40, 8\): give \(queries, 24\)"),
        (lambda: store.search(QUERIES, where="row <"), "failed to search"),
    ]:
        with pytest.raises(InputError, match=words):
            call()


KILLED = """
import os, signal, sys
import numpy as np
from mrl_tutorial.retrieval.milvus import MilvusStore

def progress(done, total, label):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

MilvusStore(sys.argv[1], ds=8).load(np.load(sys.argv[2]), batch=100, progress=progress)
"""


def test_a_killed_load_loses_and_doubles_nothing(store, tmp_path):
    np.save(tmp_path / "x.npy", DOCUMENTS)
    uri = str(tmp_path / "vectors.db")
    for stop in (400, 900):
        command = [sys.executable, "-c", textwrap.dedent(KILLED), uri, str(tmp_path / "x.npy"), str(stop)]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert 0 < store.count() < N
    assert 0 < store.load(DOCUMENTS, batch=100) < N
    assert store.count() == N
    np.testing.assert_array_equal(store.search(QUERIES, 10, depth=60).rows, in_process(DOCUMENTS, QUERIES).rows)


def test_a_server_may_be_killed_and_come_back_while_it_is_loaded(tmp_path):
    pytest.importorskip("milvus_lite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-um", "milvus_lite", "server", "--data-dir", str(tmp_path / "server.db"), "--port", str(port)]
    servers = []

    def start():
        servers.append(subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))

    def progress(done, total, label):
        if done in (300, 900):
            servers[-1].kill()
            servers[-1].wait()
            start()

    start()
    assert b"listening" in servers[0].stdout.readline()  # the first connection is not tried again
    store = MilvusStore(f"http://127.0.0.1:{port}", ds=8, token="user:secret", timeout=60)
    try:
        assert store.load(DOCUMENTS, batch=300, progress=progress) == N and len(servers) == 3
        np.testing.assert_array_equal(store.search(QUERIES, 10, depth=60).rows, in_process(DOCUMENTS, QUERIES).rows)
        servers[-1].kill()
        store.connection["timeout"] = 1
        with pytest.raises(InputError, match=f"127.0.0.1:{port} failed to .*make sure that it runs") as error:
            store.search(QUERIES)
        assert "\n" not in str(error.value) and "secret" not in str(error.value)
    finally:
        for server in servers:
            server.kill()
            server.communicate()


def test_a_cluster_is_counted_by_hand():
    million = 10**6
    assert cluster_needs(10 * million, 384, 0, "FLAT") == {"memory_gb": 15.36, "disk_gb": 0, "nodes": 1, "shards": 1}
    # a billion: 128 bytes of codes and 128 of links; 4,096 bytes on disk; 48 GB of data on each node
    assert cluster_needs(1000 * million, 128, 1024, "HNSW_SQ") == {
        "memory_gb": 256, "disk_gb": 4096, "nodes": 6, "shards": 10
    }  # fmt: skip
    assert cluster_needs(1000 * million, 128, 0, "IVF_RABITQ")["memory_gb"] == 24
    with pytest.raises(InputError, match="'PQ' is unknown"):
        cluster_needs(10, 8, index="PQ")
