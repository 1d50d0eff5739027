"""Engines against exact float64 search, written as one product and one stable sort."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.codes import quantize
from mrl_tutorial.retrieval.engines import Binary, Flat, build_engine
from mrl_tutorial.retrieval.exact import SPARE, Workers

RNG = np.random.default_rng(0)
N, D = 9000, 48
DOCUMENTS = (RNG.standard_normal((N, D)) * RNG.uniform(0.2, 5, (N, 1)) * np.linspace(2, 0.2, D)).astype(np.float32)
QUERIES = (RNG.standard_normal((300, D)) * np.linspace(2, 0.2, D)).astype(np.float32)


def best(queries, documents, keep, cosine=True):
    """(rows, scores) of the `keep` best by float64, ties in the order of rows."""
    q, x = queries.astype(np.float64), documents.astype(np.float64)
    if cosine:
        q, x = (v / np.maximum(np.sqrt((v**2).sum(1, keepdims=True)), 1e-300) for v in (q, x))
    scores = q @ x.T
    rows = np.argsort(-scores.round(12), axis=1, kind="stable")[:, :keep]
    return rows, np.take_along_axis(scores, rows, 1)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("dim", [3, 16, D])
@pytest.mark.parametrize("batch, threads", [(1, 1), (1, 3), (40, 2), (300, 1)])
def test_flat_is_exact_search(batch, threads, dim, cosine):
    rows, scores = build_engine("float32", DOCUMENTS, dim, cosine=cosine).search(QUERIES[:batch], 25, Workers(threads))
    expected, exact = best(QUERIES[:batch, :dim], DOCUMENTS[:, :dim], 25, cosine)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("order", [1, -1])
def test_documents_in_order_of_score(order):
    """Rising scores: every document beats all before it."""
    rising = np.argsort(order * (DOCUMENTS.astype(np.float64) @ QUERIES[0]))
    documents = DOCUMENTS[rising]
    for batch in (1, 64):
        queries = np.repeat(QUERIES[:1], batch, axis=0)
        rows, _ = build_engine("float32", documents, D, cosine=False).search(queries, 10, Workers())
        np.testing.assert_array_equal(rows, best(queries, documents, 10, False)[0])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("engine", ["float32", "int8"])
def test_ties_rank_in_the_order_of_rows_however_many(engine, threads):
    """Small whole numbers: inner products tie by the hundred, more than what is kept against rounding."""
    whole = RNG.integers(-2, 3, (N, 4)) if engine == "float32" else RNG.integers(-1, 2, (N, 4))  # codes: -127, 0, 127
    documents = whole.astype(np.float32)
    queries = RNG.integers(-2, 3, (20, 4)).astype(np.float32)
    rows, scores = build_engine(engine, documents, 4, cosine=False).search(queries, 30, Workers(threads))
    expected, exact = best(queries, documents, 30, cosine=False)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-6, atol=1e-6)
    assert (np.sum(documents @ queries.T == exact[:, -1], axis=0) > SPARE).any()


def test_repeated_documents_tie():
    documents = DOCUMENTS.copy()
    copies = RNG.permutation(N)[:100]
    documents[copies] = documents[copies[0]]
    queries = documents[copies[:1]] + 0.01 * QUERIES[:5]
    for dim in (7, D):
        rows, scores = build_engine("float32", documents, dim).search(queries, 40, Workers(2))
        np.testing.assert_array_equal(rows, np.tile(np.sort(copies)[:40], (5, 1)))
        assert (scores == scores[:, :1]).all()


def test_zero_vectors_score_zero():
    documents = DOCUMENTS[:50].copy()
    documents[[3, 4]] = 0
    rows, scores = build_engine("float32", documents, D).search(QUERIES[:3], 50, Workers())
    assert (scores[(rows == 3) | (rows == 4)] == 0).all()
    rows, scores = build_engine("float32", documents, D).search(np.zeros((1, D), np.float32), 20, Workers())
    assert (rows == np.arange(20)).all() and (scores == 0).all()


@pytest.mark.parametrize("cosine", [True, False])
def test_int8_is_exact_over_what_its_codes_stand_for(cosine):
    engine = build_engine("int8", DOCUMENTS, 16, cosine=cosine)
    codes, scale = quantize(DOCUMENTS, 16, unit=cosine)
    x = DOCUMENTS[:, :16].astype(np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if cosine else x
    assert codes.dtype == np.int8 and np.abs(codes).max() == 127
    assert (np.abs(codes * scale.astype(np.float64) - x) <= 0.501 * scale).all()
    rows, scores = engine.search(QUERIES, 25, Workers(2))
    expected, exact = best(QUERIES[:, :16], codes * scale.astype(np.float64), 25, cosine)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-9, atol=1e-9)
    true, _ = best(QUERIES[:, :16], DOCUMENTS[:, :16], 25, cosine)
    assert np.mean([len(set(a) & set(b)) / 25 for a, b in zip(rows, true, strict=True)]) > 0.93


def test_a_coordinate_that_is_always_zero_can_be_quantized():
    documents = DOCUMENTS[:100].copy()
    documents[:, 5] = 0
    codes, scale = quantize(documents, D)
    assert (codes[:, 5] == 0).all() and np.isfinite(scale).all() and (scale > 0).all()
    assert (quantize(np.zeros((3, 4), np.float32), 4)[0] == 0).all()


@pytest.mark.parametrize("dim, threads", [(5, 1), (48, 2), (64, 1), (130, 2)])
@pytest.mark.parametrize("numpy_1", [False, True])
def test_binary_counts_signs(dim, threads, numpy_1, monkeypatch):
    if numpy_1:
        monkeypatch.delattr(np, "bitwise_count", raising=False)
    documents = RNG.standard_normal((N, 130)).astype(np.float32)
    documents[:, 1] = 0  # zero counts as not above zero
    queries = RNG.standard_normal((6, 130)).astype(np.float32)
    rows, scores = Binary(documents, dim).search(queries, 40, Workers(threads))
    signs = np.where(documents[:, :dim] > 0, 1, -1) @ np.where(queries[:, :dim] > 0, 1, -1).T
    expected = np.argsort(-signs.T, axis=1, kind="stable")[:, :40]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(signs.T, expected, 1))


def test_bytes_of_what_is_scanned():
    norms = 4 * N
    assert build_engine("float32", DOCUMENTS, 16).nbytes == 4 * 16 * N + norms
    assert build_engine("float32", DOCUMENTS, 16, cosine=False).nbytes == 4 * 16 * N
    assert build_engine("int8", DOCUMENTS, 16).nbytes == 16 * N + norms + 4 * 16
    assert build_engine("binary", DOCUMENTS, 40).nbytes == 8 * N
    assert build_engine("float32", DOCUMENTS, 16).values.flags.c_contiguous
    assert np.shares_memory(build_engine("float32", DOCUMENTS, D).values, DOCUMENTS)  # all of it: no copy
    assert isinstance(build_engine("float32", DOCUMENTS, D), Flat)


@pytest.mark.parametrize("cosine", [True, False])
def test_faiss_flat_and_hnsw(cosine):
    pytest.importorskip("faiss")
    expected, exact = best(QUERIES[:50, :16], DOCUMENTS[:, :16], 20, cosine)
    engine = build_engine("faiss-flat", DOCUMENTS, 16, cosine=cosine, workers=Workers(2))
    rows, scores = engine.search(QUERIES[:50], 20, Workers(2))
    assert (rows == expected).mean() > 0.99  # float32: neighbours as close as rounding may swap
    np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-5)
    if cosine:  # inner products of vectors of any length have no graph of neighbours worth the name
        engine = build_engine("hnsw", DOCUMENTS, 16, options={"ef": 200, "links": 16})
        rows, _ = engine.search(QUERIES[:50], 20, Workers())
        assert np.mean([len(set(a) & set(b)) / 20 for a, b in zip(rows, expected, strict=True)]) > 0.97
        assert 20 * 16 < engine.flops < N * 16 and engine.nbytes > N * (16 * 4 + 2 * 16 * 4)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("threads, dim", [(1, 16), (2, 16), (3, 16), (2, 7), (2, 32), (2, 64), (2, 96)])
def test_faiss_int8_is_the_product_with_what_the_codes_stand_for(cosine, threads, dim):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(1)
    documents, queries = rng.standard_normal((700, 100)).astype(np.float32), rng.standard_normal((30, 100)) / 100
    codes, scale = quantize(documents, dim, unit=cosine)
    q = queries[:, :dim]
    q = q / np.linalg.norm(q, axis=1, keepdims=True) if cosine else q
    exact = q @ (codes * scale.astype(np.float64)).T
    engine = build_engine("faiss-int8", documents, dim, cosine=cosine, workers=Workers(threads))
    rows, scores = engine.search(queries, 20, Workers(threads))
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1)[:, :20], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(exact, rows, 1), scores, rtol=1e-4, atol=1e-6)
    alone = [engine.search(queries[i : i + 1], 20, Workers(threads)) for i in range(30)]
    np.testing.assert_allclose(np.vstack([s for _, s in alone]), scores, rtol=1e-4, atol=1e-6)
    everything, _ = engine.search(queries[:2], 705, Workers(threads))
    assert everything.shape == (2, 700) and (np.sort(everything, axis=1) == np.arange(700)).all()
    assert engine.nbytes == 700 * dim + 4 * dim and engine.flops == 700 * dim


def test_ivfpq_finds_what_rescoring_needs():
    pytest.importorskip("faiss")
    documents = np.repeat(DOCUMENTS, 2, axis=0)[: 39 * 256]
    documents += 0.05 * RNG.standard_normal(documents.shape).astype(np.float32)
    engine = build_engine("ivfpq", documents, 16, options={"lists": 32, "probe": 16, "codes": 8})
    rows, _ = engine.search(QUERIES[:30], 100, Workers())
    expected, _ = best(QUERIES[:30, :16], documents[:, :16], 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(expected, rows, strict=True)]) > 0.9
    assert engine.nbytes < build_engine("float32", documents, 16).nbytes / 2 and engine.flops < len(documents) * 16
    with pytest.raises(InputError, match="codes 7 do not divide dimension 16"):
        build_engine("ivfpq", documents, 16, options={"codes": 7})


def test_faiss_leaves_the_number_of_threads_as_it_was():
    faiss = pytest.importorskip("faiss")
    before = faiss.omp_get_max_threads()
    build_engine("faiss-flat", DOCUMENTS[:100], 8).search(QUERIES[:2], 3, Workers(before + 1))
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("float23", {}, "'float23' is unknown: choose one of float32, int8"),
        ("float32", {"ef": 3}, "no option 'ef': it has none"),
        ("hnsw", {"efs": 3}, "no option 'efs': it has links, build, ef"),
        ("hnsw", {"ef": 0}, "ef = 0 is impossible: give a whole number from 1 on"),
        ("ivfpq", {"lists": -1}, "lists = -1 is impossible: give a whole number from 0 on"),
        ("ivfpq", {}, "needs 9984 documents to train, here are 50"),
    ],
)
def test_what_no_engine_can_do_is_said(name, options, words):
    if name in ("hnsw", "ivfpq"):
        pytest.importorskip("faiss")
    with pytest.raises(InputError, match=words):
        build_engine(name, DOCUMENTS[:50], 8, options=options)


@pytest.mark.parametrize("name", ["faiss-int8", "faiss-flat", "hnsw", "ivfpq"])
def test_without_faiss_it_is_asked_for(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=f"{name}' needs FAISS: pip install faiss-cpu"):
        build_engine(name, DOCUMENTS, 8)


def test_threads_are_one_or_more():
    with pytest.raises(InputError, match="threads 0"):
        Workers(0)
