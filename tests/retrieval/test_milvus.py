"""Milvus: the embedded engine where pymilvus is installed, and a client that loses its connection everywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.milvus import MilvusStore
from mrl_tutorial.retrieval.milvus_link import Link
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import shortlist

RNG = np.random.default_rng(2)
N, D = 1500, 24
DOCUMENTS = (RNG.standard_normal((N, D)) * np.linspace(2, 0.3, D)).astype(np.float32)
QUERIES = (DOCUMENTS[:40] + 0.5 * RNG.standard_normal((40, D))).astype(np.float32)


class Client:
    """What MilvusStore needs of a client, as a dictionary; `fail` calls raise first."""

    def __init__(self, world, fail=0, error=None):
        self.world, self.fail, self.error = world, fail, error or ConnectionError("gone")

    def __getattr__(self, name):
        def method(*args, **options):
            self.world["calls"] = self.world.get("calls", 0) + 1
            if self.world["calls"] <= self.fail:
                raise self.error
            return getattr(self, f"do_{name}")(*args, **options)

        return method

    def do_has_collection(self, name):
        return name in self.world

    def do_query(self, name, filter, output_fields):
        return [{"count(*)": len(self.world[name])}]


def test_a_lost_connection_is_tried_again(monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    world, made = {"documents": [1, 2, 3]}, []

    def connect():
        made.append(1)
        return Client(world, fail=3)

    assert MilvusStore(link=Link("here", connect=connect, wait=0.5)).count() == 3
    assert slept == [0.5, 1, 2] and len(made) == 4


def test_a_connection_that_stays_lost_says_what_to_do(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    uri, token = "http://host:19530", "user:secret"
    link = Link(uri, token, connect=lambda: Client({}, fail=99), tries=4)
    store = MilvusStore(uri, token, link=link)
    with pytest.raises(
        InputError, match=r"http://host:19530 did not answer 4 times .gone.: make sure that it runs"
    ) as error:
        store.count()
    assert "\n" not in str(error.value) and "secret" not in str(error.value)


def test_a_refusal_is_not_repeated(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("waited"))
    world = {}
    with pytest.raises(InputError, match="refused has_collection: auth check failure"):
        link = Link("here", connect=lambda: Client(world, fail=9, error=RuntimeError("auth check failure")))
        MilvusStore(link=link).count()
    assert world["calls"] == 1


def test_an_address_or_a_file():
    with pytest.raises(InputError, match="'vectors' is no address"):
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
        (lambda s: s.load(DOCUMENTS[:0]), "corpus is empty"),
        (lambda s: s.load(DOCUMENTS[None]), r"shape \(1, 1500, 24\)"),
        (lambda s: s.load(bad(9, 1, np.nan)), r"NaN or infinity \(row 9\)"),
        (lambda s: s.load(DOCUMENTS, ["a"] * N), "repeats a document id"),
        (lambda s: s.load(DOCUMENTS, ["a"]), "1 ids for 1500"),
        (lambda s: s.load(DOCUMENTS[:1], ["ä" * 300]), "too long"),
        (lambda s: s.load(DOCUMENTS, batch=0), "batch 0"),
        (lambda s: s.load(DOCUMENTS[:, :4]), "dimension 8 does not exist"),
        (lambda s: s.search(QUERIES), "no collection 'documents': load"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(call, words):
    world = {}
    with pytest.raises(InputError, match=words):
        call(MilvusStore(ds=8, link=Link("here", connect=lambda: Client(world))))
    assert set(world) <= {"calls"}


@pytest.fixture
def store(tmp_path):
    pytest.importorskip("pymilvus")
    pytest.importorskip("milvus_lite")
    opened = MilvusStore(tmp_path / "vectors.db", ds=8)
    yield opened
    opened.close()


@pytest.mark.parametrize("cosine", [True, False])
def test_two_stages_equal_those_in_process(store, cosine):
    store.cosine = cosine
    ids = [f"d{i}" for i in range(N)]
    seen = []
    assert store.load(DOCUMENTS, ids, batch=400, progress=lambda *args: seen.append(args)) == N
    assert seen[-1] == (N, N, "loading") and len(seen) == 4
    expected = Retriever(DOCUMENTS, shortlist(8, D, 60), ids=ids, cosine=cosine).search(QUERIES, 10)
    found = store.search(QUERIES, 10, depth=60)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.names() == expected.names()
    single = store.search(QUERIES[3], 10, depth=60)
    np.testing.assert_array_equal(single.rows, expected.rows[3])
    assert single.names() == expected.names()[3]
    assert store.search(QUERIES, 10, depth=5 * N).rows.shape == (40, 10)


def test_loading_again_writes_nothing_and_other_vectors_are_refused(store):
    assert store.load(DOCUMENTS, batch=500) == N
    assert store.load(DOCUMENTS, batch=700) == 0 and store.count() == N
    with pytest.raises(InputError, match="holds other vectors: give another name"):
        store.load(DOCUMENTS[::-1].copy())
    store.drop()
    assert store.count() == 0 and store.load(DOCUMENTS[:100]) == 100


def test_what_a_search_cannot_do_is_said(store):
    store.load(DOCUMENTS[:50])
    for call, words in [
        (lambda: store.search(QUERIES, 0), "k 0 is impossible"),
        (lambda: store.search(QUERIES, 20, 10), "shortlist of 10"),
        (lambda: store.search(QUERIES[:, :8]), r"shape \(40, 8\): give \(queries, 24\)"),
    ]:  # fmt: skip
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
    expected = Retriever(DOCUMENTS, shortlist(8, D, 60)).search(QUERIES, 10)
    np.testing.assert_array_equal(store.search(QUERIES, 10, depth=60).rows, expected.rows)
