"""Top-k against exact float64 search, written as one product and one stable sort."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.topk import EXTRA_CANDIDATES, ExactIndex, rerank, top_columns, top_k, unit
from tests.helpers.exact import best

RNG = np.random.default_rng(0)
N, D = 9000, 48
DOCUMENTS = (RNG.standard_normal((N, D)) * RNG.uniform(0.2, 5, (N, 1)) * np.linspace(2, 0.2, D)).astype(np.float32)
QUERIES = (RNG.standard_normal((300, D)) * np.linspace(2, 0.2, D)).astype(np.float32)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("dim", [3, 16, D])
@pytest.mark.parametrize("batch", [1, 40, 300])
def test_it_is_exact_search(batch, dim, cosine):
    rows, scores = top_k(QUERIES[:batch, :dim], DOCUMENTS[:, :dim], 25, cosine=cosine)
    expected, exact = best(QUERIES[:batch, :dim], DOCUMENTS[:, :dim], 25, cosine)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-12, atol=1e-12)


def test_blocks_and_threads_change_nothing(monkeypatch):
    whole = top_k(QUERIES[:40], DOCUMENTS, 30)
    monkeypatch.setattr("mrl_tutorial.topk.SCORES", 40 * 704)
    for threads in (1, 2, 3):
        rows, scores = ExactIndex(DOCUMENTS, threads=threads).search(QUERIES[:40], 30)
        np.testing.assert_array_equal(rows, whole[0])
        np.testing.assert_array_equal(scores, whole[1])


@pytest.mark.parametrize("order", [1, -1])
def test_documents_in_order_of_score(order):
    """Rising scores: every document beats all before it."""
    rising = np.argsort(order * (DOCUMENTS.astype(np.float64) @ QUERIES[0]))
    documents = DOCUMENTS[rising]
    for batch in (1, 64):
        queries = np.repeat(QUERIES[:1], batch, axis=0)
        rows, _ = top_k(queries, documents, 10, cosine=False)
        np.testing.assert_array_equal(rows, best(queries, documents, 10, False)[0])


def test_ties_rank_in_the_order_of_rows_however_many():
    """Small whole numbers: inner products tie by the hundred, more than what is kept against rounding."""
    documents = RNG.integers(-2, 3, (N, 4)).astype(np.float32)
    queries = RNG.integers(-2, 3, (20, 4)).astype(np.float32)
    rows, scores = top_k(queries, documents, 30, cosine=False)
    expected, exact = best(queries, documents, 30, cosine=False)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-6, atol=1e-6)
    assert (np.sum(documents @ queries.T == exact[:, -1], axis=0) > EXTRA_CANDIDATES).any()


def test_repeated_documents_tie():
    documents = DOCUMENTS.copy()
    copies = RNG.permutation(N)[:100]
    documents[copies] = documents[copies[0]]
    queries = documents[copies[:1]] + 0.01 * QUERIES[:5]
    for dim in (7, D):
        rows, scores = top_k(queries[:, :dim], documents[:, :dim], 40)
        np.testing.assert_array_equal(rows, np.tile(np.sort(copies)[:40], (5, 1)))
        assert (scores == scores[:, :1]).all()


def test_zero_vectors_score_zero():
    documents = DOCUMENTS[:50].copy()
    documents[[3, 4]] = 0
    rows, scores = top_k(QUERIES[:3], documents, 50)
    assert (scores[(rows == 3) | (rows == 4)] == 0).all()
    rows, scores = top_k(np.zeros((1, D), np.float32), documents, 20)
    assert (rows == np.arange(20)).all() and (scores == 0).all()


def test_more_asked_for_than_there_is():
    rows, scores = top_k(QUERIES[:2], DOCUMENTS[:3], 10)
    assert rows.shape == scores.shape == (2, 3) and (np.sort(rows) == np.arange(3)).all()
    assert top_k(QUERIES[:0], DOCUMENTS, 10)[0].shape == (0, 10)


@pytest.mark.parametrize("k", [20, 55])  # with -1 beyond the shortlist's end, and without
@pytest.mark.parametrize("cosine", [True, False])
def test_rerank_is_exact_search_of_the_shortlist(cosine, k):
    own = np.stack([RNG.permutation(N)[:60] for _ in range(20)])
    own[:, 50:] = -1
    rows, scores = rerank(QUERIES[:20], own, DOCUMENTS.__getitem__, k, cosine=cosine)
    for i in range(20):
        short = np.sort(own[i, :50])
        expected, exact = best(QUERIES[i : i + 1], DOCUMENTS[short], 50, cosine)
        np.testing.assert_array_equal(rows[i], [*short[expected[0]], *[-1] * 5][:k])
        np.testing.assert_allclose(scores[i], [*exact[0], *[-np.inf] * 5][:k], rtol=1e-12)


def test_rerank_settles_more_ties_than_it_keeps():
    documents = RNG.integers(-1, 2, (N, 4)).astype(np.float32)
    own = np.stack([RNG.permutation(N)[:300] for _ in range(5)])
    rows, _ = rerank(QUERIES[:5, :4].round(), own, documents.__getitem__, 30, cosine=False)
    for i in range(5):
        short = np.sort(own[i])
        np.testing.assert_array_equal(
            rows[i], short[best(QUERIES[i : i + 1, :4].round(), documents[short], 30, False)[0][0]]
        )


def test_rerank_and_search_give_the_same_scores_bit_by_bit():
    rows, scores = ExactIndex(DOCUMENTS).search(QUERIES[:5], 40)
    again = rerank(QUERIES[:5], rows[:, ::-1], DOCUMENTS.__getitem__, 40)
    np.testing.assert_array_equal(again[0], rows)
    np.testing.assert_array_equal(again[1], scores)


@pytest.mark.parametrize("k", [1, 7, 40, 60])
def test_top_columns(k):
    scores = RNG.integers(0, 9, (30, 40)).astype(np.float32)  # mostly ties
    np.testing.assert_array_equal(top_columns(scores, k), np.argsort(-scores, axis=1, kind="stable")[:, :k])
    scores = RNG.standard_normal((30, 40))
    np.testing.assert_array_equal(top_columns(scores, k), np.argsort(-scores, axis=1, kind="stable")[:, :k])


def test_unit():
    x = RNG.standard_normal((2, 3, 5))
    x[0, 1] = 0
    lengths = np.sqrt((unit(x) ** 2).sum(-1))
    assert lengths[0, 1] == 0 and np.allclose(np.delete(lengths.ravel(), 1), 1)
