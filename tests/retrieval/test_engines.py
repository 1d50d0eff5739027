"""Every engine in a path with rerank, against exact float64 search: ties, K beyond N, and what each must refuse."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.indexes import ENGINES, OPTIONS, build_index
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import RERANKING, Stage, shortlist
from tests.helpers.engines import SVS, skip_without
from tests.helpers.exact import best

RNG = np.random.default_rng(3)
N, D = 700, 16
DOCUMENTS = RNG.standard_normal((N, D)).astype(np.float32)
DOCUMENTS[100:140] = DOCUMENTS[100]  # exact ties, more than are kept against rounding
QUERIES = np.concatenate([DOCUMENTS[[100, 5]], RNG.standard_normal((14, D))]).astype(np.float32)
GRAPHS = ("hnsw", "hnsw-int8", *SVS)
WIDE = {"ef": 2 * N, "probe": 10**6, "window": 2 * N, "lists": 8, "links": 32, "build": 64, "codes": 8, "reduced": 8}


def path(engine: str, depth: int, rerank: str = "float32", ds: int = 8) -> tuple[Stage, ...]:
    """A shortlist by the first `ds` coordinates, as wide as the engine can look, reranked at full width."""
    skip_without(engine)
    options = {option: WIDE[option] for option in OPTIONS[engine] if option in WIDE}
    return shortlist(ds, D, depth, engine=engine, rerank=rerank, options=options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cosine", [True, False])
def test_a_shortlist_of_everything_is_exact_search_with_ties(engine, cosine):
    found = Retriever(DOCUMENTS, path(engine, N), cosine=cosine).search(QUERIES, 60)
    rows, scores = best(QUERIES, DOCUMENTS, 60, cosine)
    if engine in GRAPHS:  # some documents have no way to them
        shares = [len(set(a) & set(b)) / 60 for a, b in zip(found.rows, rows, strict=True)]
        assert np.mean(shares) > (0.95 if cosine else 0.7)
    else:
        np.testing.assert_array_equal(found.rows, rows)
        np.testing.assert_allclose(found.scores, scores, rtol=1e-10, atol=1e-10)
    for b in range(len(QUERIES)):  # whatever was found is scored and ordered exactly
        left = np.sort(found.rows[b][found.rows[b] >= 0])
        expected, exact = best(QUERIES[b : b + 1], DOCUMENTS[left], 60, cosine)
        np.testing.assert_array_equal(found.rows[b][: len(left)], left[expected[0]])
        np.testing.assert_allclose(found.scores[b][: len(left)], exact[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_more_asked_for_than_there_is(engine):
    found = Retriever(DOCUMENTS, path(engine, 10 * N), ids=list(map(str, range(N)))).search(QUERIES[:3], 2 * N)
    assert found.rows.shape == found.scores.shape == (3, N)
    for row, scores, names in zip(found.rows, found.scores, found.names(), strict=True):
        there = row[row >= 0]
        assert len(set(there)) == len(there) >= 0.9 * N  # none twice
        assert np.isneginf(scores[row < 0]).all() and names[: len(there)] == [str(r) for r in there]


@pytest.mark.parametrize("engine", ENGINES)
def test_single_queries_are_those_of_the_batch(engine):
    retriever = Retriever(DOCUMENTS, path(engine, 50))
    together = retriever.search(QUERIES, 10)
    same = [(retriever.search(q, 10).rows == rows).mean() for q, rows in zip(QUERIES, together.rows, strict=True)]
    assert np.mean(same) > 0.95  # a scan's rounding may differ at the shortlist's edge


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x, p: (x[:0], p(8), None), "the corpus is empty"),
        (lambda x, p: (x, p(D + 1), None), "dimension 17 does not exist"),
        (lambda x, p: (np.where(np.arange(N)[:, None] == 17, np.nan, x), p(8), None), r"NaN or infinity \(row 17\)"),
        (lambda x, p: (x, p(8), ["a"] * N), "repeats a document id"),
    ],
)
def test_bad_documents_are_named(engine, change, words):
    documents, stages, ids = change(DOCUMENTS, lambda ds: path(engine, 50, ds=ds))
    with pytest.raises(InputError, match=words):
        Retriever(documents, stages, ids=ids)


@pytest.mark.parametrize("engine", ENGINES)
def test_bad_queries_are_named(engine):
    retriever = Retriever(DOCUMENTS, path(engine, 50))
    with pytest.raises(InputError, match=r"queries hold NaN or infinity \(row 1\)"):
        retriever.search(np.where(np.arange(3)[:, None] == 1, np.nan, QUERIES[:3]))
    with pytest.raises(InputError, match="shortlist of 50 cannot give 60"):
        retriever.search(QUERIES, 60)


@pytest.mark.parametrize("kind", RERANKING)
def test_small_types_rerank_nearly_as_well(kind):
    found = Retriever(DOCUMENTS, path("float32", 100, kind)).search(QUERIES, 10)
    exact = Retriever(DOCUMENTS, path("float32", 100)).search(QUERIES, 10)
    shares = [len(set(a) & set(b)) / 10 for a, b in zip(found.rows[1:], exact.rows[1:], strict=True)]
    assert np.mean(shares) >= {"float32": 1, "int8": 0.9}[kind]
    np.testing.assert_allclose(found.scores, exact.scores, atol={"float32": 0, "int8": 0.02}[kind])


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_int8_is_right_at_one_dimension_too(dim):
    x, q = RNG.standard_normal((50, 8)).astype(np.float32), RNG.standard_normal((256, 8)).astype(np.float32)
    _, scores = build_index("torch-int8", x, dim, cosine=False).search(q, 3)
    np.testing.assert_allclose(scores, best(q[:, :dim], x[:, :dim], 3, False)[1], atol=0.3)


@pytest.mark.parametrize("engine", ["float32", "faiss-flat", "hnsw", "ivf"])
def test_a_zero_prefix_scores_0_wherever_it_stands(engine):
    skip_without(engine)
    x = RNG.standard_normal((200, 4)).astype(np.float32)
    x[7] = 0
    queries = np.vstack([-x[:3], np.zeros((1, 4), np.float32)])
    rows, scores = build_index(engine, x, 4, options={"probe": 99} if engine == "ivf" else None).search(queries, 200)
    found = [scores[i][rows[i] == 7] for i in range(len(queries))]
    np.testing.assert_array_equal(np.concatenate(found), 0)
    np.testing.assert_array_equal(scores[3], 0)


def test_row_0_of_a_graph_is_not_taken_for_a_gap():
    skip_without("vamana")
    rows, scores = build_index("vamana", np.eye(8, dtype=np.float32), 8).search(np.eye(8, dtype=np.float32)[1:2], 8)
    assert sorted(rows[0].tolist()) == list(range(8)) and scores[0].tolist() == [1.0] + [0.0] * 7


@pytest.mark.parametrize(
    ("engine", "options", "message"),
    [
        ("hnsw", {"links": 1}, "links = 1 is impossible: give a whole number from 2 on"),
        ("hnsw", {"ef": float("nan")}, "ef = nan is impossible"),
        ("ivf", {"lists": 500}, "500 lists for 200 documents"),
    ],
)
def test_options_that_would_end_the_process_are_refused(engine, options, message):
    skip_without(engine)
    with pytest.raises(InputError, match=message):
        build_index(engine, RNG.standard_normal((200, 8)).astype(np.float32), 8, options=options)


def test_whole_floats_are_whole_numbers():
    x = RNG.standard_normal((200, 8)).astype(np.float32)
    found = Retriever(x, [Stage(8 / 2, 100 / 5), Stage(16 / 2)]).search(x[:2], 20 / 2)
    expected = Retriever(x, [Stage(4, 20), Stage(8)]).search(x[:2], 10)
    np.testing.assert_array_equal(found.rows, expected.rows)
    for wrong in ([Stage(4, 20.5), Stage(8)], [Stage(8, query_layer=0)], [Stage(8, query_layer=-1)]):
        with pytest.raises(InputError, match=r"20\.5: give a whole number|layer 0 does not|layer -1 does not"):
            Retriever(x, wrong)
