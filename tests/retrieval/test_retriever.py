"""Paths of stages against the same written as float64 loops, and against exact search."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.indexes import Vectors
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import Stage, funnel, shortlist

RNG = np.random.default_rng(1)
L, N, D, B = 3, 2000, 32, 12
FADE = np.linspace(3, 0.3, D)
DOCUMENTS = (RNG.standard_normal((L, N, D)) * FADE + 0.3).astype(np.float32)
QUERIES = (DOCUMENTS[:, :B] + 0.8 * RNG.standard_normal((L, B, D)) * FADE).astype(np.float32)


def score(query, document) -> float:
    q, x = query.astype(np.float64), document.astype(np.float64)
    return float(q @ x / np.sqrt((q @ q) * (x @ x)))


def walk(queries, documents, path, k):
    """Rows of every query after stages (document layer, query layer, dim, depth), one query and document at a time."""
    found = []
    for b in range(queries.shape[1]):
        left = list(range(documents.shape[1]))
        for layer, asked, dim, depth in path:
            scores = {n: score(queries[asked - 1, b, :dim], documents[layer - 1, n, :dim]) for n in left}
            left = sorted(left, key=lambda n, s=scores: (-round(s[n], 13), n))[: depth or k]
        found.append(left[:k])
    return np.array(found)


def test_two_stages():
    found = Retriever(DOCUMENTS, shortlist(8, D, 30)).search(QUERIES, 10)
    np.testing.assert_array_equal(found.rows, walk(QUERIES, DOCUMENTS, [(L, L, 8, 30), (L, L, D, None)], 10))
    exact = [[score(QUERIES[-1, b], DOCUMENTS[-1, n]) for n in rows] for b, rows in enumerate(found.rows)]
    np.testing.assert_allclose(found.scores, exact, rtol=1e-12)


def test_funnel_over_layers_and_dimensions():
    stages = funnel((4, 8, 16, D), (100, 50, 20), layers=(1, 2, 3, 3))
    found = Retriever(DOCUMENTS, stages, threads=2).search(QUERIES, 10)
    path = [(1, 1, 4, 100), (2, 2, 8, 50), (3, 3, 16, 20), (3, 3, D, None)]
    np.testing.assert_array_equal(found.rows, walk(QUERIES, DOCUMENTS, path, 10))
    assert [s.shape for s in found.survivors] == [(B, 100), (B, 50), (B, 20), (B, 10)]
    for before, after in zip(found.survivors, found.survivors[1:], strict=False):
        assert all(set(a) <= set(b) for a, b in zip(after, before, strict=True))


def test_query_of_an_early_layer_against_fixed_documents():
    stages = [Stage(8, 40, layer=3, query_layer=1), Stage(D, query_layer=2)]
    found = Retriever(DOCUMENTS, stages).search(QUERIES, 5)
    np.testing.assert_array_equal(found.rows, walk(QUERIES, DOCUMENTS, [(3, 1, 8, 40), (3, 2, D, None)], 5))


@pytest.mark.parametrize("engine", ["float32", "torch-int8"])
def test_a_funnel_of_everything_is_exact_search(engine):
    exact = Retriever(DOCUMENTS[-1], [Stage(D)]).search(QUERIES[-1], 50)
    np.testing.assert_array_equal(exact.rows, walk(QUERIES, DOCUMENTS, [(L, L, D, None)], 50))
    through = Retriever(DOCUMENTS[-1], funnel((4, 8, D), (5 * N, N), engine=engine)).search(QUERIES[-1], 50)
    np.testing.assert_array_equal(through.rows, exact.rows)
    np.testing.assert_array_equal(through.scores, exact.scores)


def test_single_queries_batches_and_threads_agree():
    for stages in (funnel((4, 8, D), (90, 40)), shortlist(8, D, 60, rerank="int8"), [Stage(D)]):
        batch = Retriever(DOCUMENTS, stages, threads=2).search(QUERIES, 10)
        one = Retriever(DOCUMENTS, stages)
        for b in range(B):
            single = one.search(QUERIES[:, b], 10)
            assert single.rows.shape == single.scores.shape == (10,)
            np.testing.assert_array_equal(single.rows, batch.rows[b])
            np.testing.assert_array_equal(single.scores, batch.scores[b])
    wide = Retriever(DOCUMENTS[-1], shortlist(8, D, 1000), threads=3)  # a single query's survivors are shared out
    np.testing.assert_array_equal(wide.search(QUERIES[-1, 3]).rows, wide.search(QUERIES[-1]).rows[3])
    np.testing.assert_array_equal(wide.search(QUERIES[-1, 3]).scores, wide.search(QUERIES[-1]).scores[3])
    flat = Retriever(DOCUMENTS[-1], shortlist(8, D, 60))
    np.testing.assert_array_equal(flat.search(QUERIES[-1, 3]).rows, flat.search(QUERIES[-1]).rows[3])


@pytest.mark.parametrize("cosine", [True, False])
def test_reranking_with_copies_in_a_small_type(cosine):
    """Scores are exactly those of the vectors that the copies stand for, which are half a step off at most."""
    stands = Vectors(DOCUMENTS[-1], "int8")(np.arange(N)).astype(np.float64)
    assert (np.abs(stands - DOCUMENTS[-1]) <= 1.01 * np.abs(DOCUMENTS[-1]).max(1, keepdims=True) / 253).all()
    retriever = Retriever(DOCUMENTS, shortlist(16, D, 200, rerank="int8"), cosine=cosine)
    found = retriever.search(QUERIES, 10)
    for b in range(B):
        left = np.sort(found.survivors[0][b])
        scores = stands[left] @ QUERIES[-1, b].astype(np.float64)
        if cosine:
            scores /= np.linalg.norm(QUERIES[-1, b].astype(np.float64)) * np.linalg.norm(stands[left], axis=1)
        order = np.argsort(-scores, kind="stable")[:10]
        np.testing.assert_array_equal(found.rows[b], left[order])
        np.testing.assert_allclose(found.scores[b], scores[order], rtol=1e-9)
    wide = Vectors(np.array([[1e14, 0, -3e14], [0, 0, 0]]), "int8")(np.arange(2))  # beyond what the type could hold
    np.testing.assert_allclose(wide, [[1e14, 0, -3e14], [0, 0, 0]], rtol=0.01)


def test_ties_in_a_shortlist_rank_in_the_order_of_rows():
    documents = RNG.integers(-1, 2, (N, D)).astype(np.float32)
    queries = RNG.integers(-1, 2, (B, D)).astype(np.float32)
    found = Retriever(documents, shortlist(6, 3, 300), cosine=False).search(queries, 20)
    for b in range(B):
        left = np.argsort(-(documents[:, :6] @ queries[b, :6]), kind="stable")[:300]
        np.testing.assert_array_equal(np.sort(found.survivors[0][b]), np.sort(left))
        left = np.sort(left)
        expected = left[np.argsort(-(documents[left, :3] @ queries[b, :3]), kind="stable")[:20]]
        np.testing.assert_array_equal(found.rows[b], expected)


def test_later_coordinates_are_read_of_survivors_alone():
    documents = DOCUMENTS[-1].copy()
    retriever = Retriever(documents, shortlist(8, D, 25))
    before = retriever.search(QUERIES[-1], 10)
    assert retriever.index.documents.shape == (N, 8) and retriever.index.documents.flags.c_contiguous
    survivors = np.unique(before.survivors[0])
    gone = np.setdiff1d(np.arange(N), survivors)
    documents[gone] = np.nan  # would spoil what reads it
    after = retriever.search(QUERIES[-1], 10)
    np.testing.assert_array_equal(after.rows, before.rows)
    np.testing.assert_array_equal(after.scores, before.scores)


class Reader:
    """An encoder that knows three texts, and notes how deep it was asked to go."""

    n_layers, similarity = L, "cosine"

    def encode_layers(self, texts, *, prompt, layers, cache):
        self.layers = layers
        return np.stack([QUERIES[layer - 1][[int(text) for text in texts]] for layer in layers])


def test_texts_are_encoded_no_deeper_than_the_stages_need():
    reader, last = Reader(), DOCUMENTS[-1]
    early = [Stage(8, 40, query_layer=2), Stage(D, query_layer=2)]
    expected = walk(QUERIES, DOCUMENTS, [(L, 2, 8, 40), (L, 2, D, None)], 5)
    for documents in (DOCUMENTS, last):
        retriever = Retriever(documents, early)
        found = retriever.ask(reader, ["0", "3"], 5)
        np.testing.assert_array_equal(found.rows, expected[[0, 3]])
        assert reader.layers == [2] == [retriever.query_layer]
        np.testing.assert_array_equal(retriever.search(QUERIES, 5).rows, expected)
        np.testing.assert_array_equal(retriever.search(QUERIES[:, 3], 5).rows, expected[3])
    one = Retriever(last, [Stage(8, 40), Stage(D)])
    np.testing.assert_array_equal(one.ask(reader, "7", 5).rows, one.search(QUERIES[-1, 7], 5).rows)
    assert reader.layers == [L] and one.query_layer == 0
    mixed = Retriever(DOCUMENTS, [Stage(8, 40, query_layer=1), Stage(D)])
    np.testing.assert_array_equal(mixed.ask(reader, ["4"], 5).rows, mixed.search(QUERIES, 5).rows[[4]])
    assert reader.layers == [1, L]
    with pytest.raises(InputError, match="documents of 2 layers, an encoder of 3"):
        Retriever(DOCUMENTS[:2], [Stage(8)]).ask(reader, ["1"])
    with pytest.raises(InputError, match="documents of width 8, an encoder of 32"):
        Retriever(last[:, :8], [Stage(8)]).ask(reader, ["1"])
    with pytest.raises(InputError, match=r"shape \(1, 12, 32\): give \(2, queries, 32\)"):
        Retriever(last, early).search(QUERIES[:1], 5)


def test_memory_mapped_documents(tmp_path):
    np.save(tmp_path / "x.npy", DOCUMENTS)
    mapped = Retriever(np.load(tmp_path / "x.npy", mmap_mode="r"), funnel((4, 8, D), (90, 40))).search(QUERIES)
    np.testing.assert_array_equal(mapped.rows, Retriever(DOCUMENTS, funnel((4, 8, D), (90, 40))).search(QUERIES).rows)


def test_other_stages_share_what_is_built():
    retriever = Retriever(DOCUMENTS, shortlist(8, D, 25))
    other = retriever.with_stages(shortlist(8, 16, 50))
    assert other.index is retriever.index and len(retriever.stages) == 2
    alone = Retriever(DOCUMENTS, shortlist(8, 16, 50))
    np.testing.assert_array_equal(other.search(QUERIES).rows, alone.search(QUERIES).rows)


def test_an_approximate_index_that_finds_too_few_says_so():
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    centers = 20 * rng.standard_normal((40, 16)).repeat(250, 0)
    documents = (centers + rng.standard_normal((10_000, 16))).astype(np.float32)
    stages = shortlist(16, 16, 2000, engine="ivfpq", options={"lists": 40, "probe": 1, "codes": 8})
    found = Retriever(documents, stages, ids=[str(i) for i in range(10_000)]).search(documents[:4], 1000)
    missing = found.rows < 0
    assert missing.any(1).all() and np.array_equal(np.isneginf(found.scores), missing)
    assert all((np.diff(row.astype(int)) >= 0).all() for row in missing)  # they come last
    assert found.names()[0][-1] is None and found.names()[0][0] == str(found.rows[0, 0])


def test_what_a_path_costs():
    stages = funnel((4, 8, 16, D), (100, 50, 20))
    retriever = Retriever(DOCUMENTS[-1], stages)
    assert retriever.cost.flops == N * 4 + 100 * 8 + 50 * 16 + 20 * D
    assert retriever.cost.read == 4 * (N * 4 + N + 100 * 8 + 50 * 16 + 20 * D)  # and N norms
    assert retriever.nbytes == {"scan": 4 * N * 5, "rerank": 4 * N * D} and retriever.cost.nbytes == 4 * N * (5 + D)
    assert retriever.with_stages(shortlist(8, D, 5 * N)).cost.flops == N * 8 + N * D  # more than all are all
    binary = retriever.with_stages(shortlist(D, D, 50, engine="binary", rerank="int8"))
    assert binary.nbytes == {"scan": D // 8 * N, "rerank": N * (D + 4)} and binary.cost.flops == N + 50 * D
    assert Retriever(DOCUMENTS[-1], [Stage(D)]).nbytes["rerank"] == 0


def test_more_asked_for_than_there_is():
    found = Retriever(DOCUMENTS[-1, :7], shortlist(8, D, 100)).search(QUERIES[-1], 50)
    assert found.rows.shape == (B, 7) and (np.sort(found.rows) == np.arange(7)).all()
    assert Retriever(DOCUMENTS[-1, :1], [Stage(D)]).search(QUERIES[-1], 10).rows.tolist() == [[0]] * B
    assert Retriever(DOCUMENTS[-1], [Stage(D)]).search(QUERIES[-1, :0], 10).rows.shape == (0, 10)


def test_names_of_documents():
    ids = [f"d{i}" for i in range(N)]
    found = Retriever(DOCUMENTS[-1], [Stage(D)], ids=ids).search(QUERIES[-1], 3)
    assert found.names() == [[f"d{r}" for r in row] for row in found.rows]
    with pytest.raises(InputError, match="no ids"):
        Retriever(DOCUMENTS[-1], [Stage(D)]).search(QUERIES[-1]).names()


def _spoiled(value):
    x = DOCUMENTS[-1].copy()
    x[17, 3] = value
    return x


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda x: Retriever(x[:0], [Stage(8)]), "corpus is empty"),
        (lambda x: Retriever(x[0], [Stage(8)]), r"shape \(32,\)"),
        (lambda x: Retriever(x, []), "no stages"),
        (lambda x: Retriever(x, shortlist(33, 32, 10)), "dimension 33 does not exist"),
        (lambda x: Retriever(x, shortlist(8, 33, 10)), "dimension 33 does not exist"),
        (lambda x: Retriever(x, [Stage(8, layer=2)]), "layer 2 does not exist"),
        (lambda x: Retriever(DOCUMENTS, [Stage(8, query_layer=4)]), "layer 4 does not exist"),
        (lambda x: Retriever(x, [Stage(8, engine="flat")]), "'flat' cannot be stage 1: choose one of float32"),
        (lambda x: Retriever(x, shortlist(8, 32, 9, rerank="binary")), "'binary' cannot be stage 2"),
        (lambda x: Retriever(x, [Stage(8), Stage(32)]), "stage 1 has no depth"),
        (lambda x: Retriever(x, funnel((8, 16, 32), (20, 30))), "stage 2 hands on 30"),
        (lambda x: Retriever(x, shortlist(8, 32, 0)), "stage 1 hands on 0"),
        (lambda x: funnel((8, 16), (20, 30)), "2 dimensions need 1 shortlists and 2 layers"),
        (lambda x: funnel((8, 16), (20,), layers=(1,)), "1 shortlists and 2 layers"),
        (lambda x: Retriever(x, [Stage(8)], ids=["a"] * N), "repeats a document id"),
        (lambda x: Retriever(x, [Stage(8)], ids=["a"]), "1 ids for 2000"),
        (lambda x: Retriever(_spoiled(np.nan), [Stage(2)]), r"NaN or infinity \(row 17\)"),
        (lambda x: Retriever(_spoiled(np.inf), [Stage(8)]), r"NaN or infinity \(row 17\)"),
        (lambda x: Retriever(_spoiled(-1e30), [Stage(8)]), r"beyond 1e\+15 \(row 17\)"),
        (lambda x: Retriever(x, [Stage(8)], threads=0), "threads 0"),
        (lambda x: Retriever(x, [Stage(8)]).search(x[:2], 0), "k 0"),
        (lambda x: Retriever(x, shortlist(8, 32, 5)).search(x[:2], 10), "shortlist of 5 cannot give 10"),
        (lambda x: Retriever(x, [Stage(8)]).search(x[:2, :8]), r"shape \(2, 8\): give \(queries, 32\)"),
        (lambda x: Retriever(DOCUMENTS, [Stage(8)]).search(x[:2]), r"shape \(2, 32\): give \(3, queries, 32\)"),
        (lambda x: Retriever(x, [Stage(8)]).search(_spoiled(np.nan)[:20]), r"queries hold NaN or infinity \(row 17\)"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call(DOCUMENTS[-1])
