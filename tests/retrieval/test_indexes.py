"""Indexes against float64 search over what they store, written as one product and one stable sort."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.indexes import build_index
from mrl_tutorial.topk import EXTRA_CANDIDATES, ExactIndex
from tests.helpers.exact import best

RNG = np.random.default_rng(0)
N, D = 9000, 48
DOCUMENTS = (RNG.standard_normal((N, D)) * RNG.uniform(0.2, 5, (N, 1)) * np.linspace(2, 0.2, D)).astype(np.float32)
QUERIES = (RNG.standard_normal((300, D)) * np.linspace(2, 0.2, D)).astype(np.float32)


def stored(index):
    """The vectors that an int8 index's codes stand for."""
    return index.index.reconstruct_n(0, index.n).astype(np.float64)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("dim", [3, 16, D])
@pytest.mark.parametrize("batch", [1, 40])
def test_float32_is_exact_search_of_the_prefixes(batch, dim, cosine):
    rows, scores = build_index("float32", DOCUMENTS, dim, cosine=cosine).search(QUERIES[:batch], 25)
    expected, exact = best(QUERIES[:batch, :dim], DOCUMENTS[:, :dim], 25, cosine)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("dim", [7, 16, 32, D])
def test_int8_is_exact_over_what_its_codes_stand_for(cosine, dim):
    pytest.importorskip("faiss")
    index = build_index("int8", DOCUMENTS, dim, cosine=cosine, threads=2)
    x = DOCUMENTS[:, :dim].astype(np.float64)
    q = QUERIES[:, :dim].astype(np.float64)
    if cosine:
        x, q = unit(x), unit(q)
    assert (np.abs(stored(index) - x) <= 0.51 / 255 * np.ptp(x, axis=0)).all()  # half a step of 256
    rows, scores = index.search(QUERIES, 25)
    expected, exact = best(q, stored(index), 25, cosine=False)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-9, atol=1e-9)
    true, _ = best(QUERIES[:, :dim], DOCUMENTS[:, :dim], 25, cosine)
    assert np.mean([len(set(a) & set(b)) / 25 for a, b in zip(rows, true, strict=True)]) > 0.93
    for i in range(3):
        alone = index.search(QUERIES[i : i + 1], 25)
        np.testing.assert_array_equal(alone[0][0], rows[i])
        np.testing.assert_array_equal(alone[1][0], scores[i])


def test_int8_ties_rank_in_the_order_of_rows_however_many():
    pytest.importorskip("faiss")
    documents = RNG.integers(-1, 2, (N, 4)).astype(np.float32)
    queries = RNG.integers(-2, 3, (20, 4)).astype(np.float32)
    index = build_index("int8", documents, 4, cosine=False)
    rows, scores = index.search(queries, 30)
    expected, exact = best(queries, stored(index), 30, cosine=False)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-9, atol=1e-9)
    products = stored(index) @ queries.T
    assert (np.sum(np.abs(products - exact[:, -1]) < 1e-9, axis=0) > EXTRA_CANDIDATES).any()


def test_a_coordinate_that_is_always_the_same_can_be_quantized():
    pytest.importorskip("faiss")
    documents = DOCUMENTS[:100].copy()
    documents[:, 5] = 0
    index = build_index("int8", documents, D)
    assert (stored(index)[:, 5] == 0).all()
    rows, _ = build_index("int8", np.zeros((3, 4), np.float32), 4).search(QUERIES[:2, :4], 3)
    assert rows.tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize("dim, threads", [(5, 1), (48, 2), (64, 1), (130, 2)])
@pytest.mark.parametrize("k", [40, 300])
def test_binary_counts_signs(dim, threads, k):
    pytest.importorskip("faiss")
    documents = RNG.standard_normal((N, 130)).astype(np.float32)
    documents[:, 1] = 0  # zero counts as not above zero
    queries = RNG.standard_normal((6, 130)).astype(np.float32)
    rows, scores = build_index("binary", documents, dim, threads=threads).search(queries, k)
    signs = np.where(documents[:, :dim] > 0, 1, -1) @ np.where(queries[:, :dim] > 0, 1, -1).T
    expected = np.argsort(-signs.T, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(signs.T, expected, 1))


def test_bytes_of_what_is_scanned():
    norms = 4 * N
    assert build_index("float32", DOCUMENTS, 16).cost.nbytes == 4 * 16 * N + norms
    assert build_index("float32", DOCUMENTS, 16, cosine=False).cost.nbytes == 4 * 16 * N
    assert build_index("float32", DOCUMENTS, 16).documents.flags.c_contiguous
    assert np.shares_memory(build_index("float32", DOCUMENTS, D).documents, DOCUMENTS)  # all of it: no copy
    assert isinstance(build_index("float32", DOCUMENTS, D), ExactIndex)
    pytest.importorskip("faiss")
    assert build_index("int8", DOCUMENTS, 16).cost.nbytes == 16 * N + 2 * 4 * 16  # each coordinate's range
    assert build_index("binary", DOCUMENTS, 40).cost.nbytes == 5 * N


@pytest.mark.parametrize("cosine", [True, False])
def test_faiss_flat_and_hnsw(cosine):
    pytest.importorskip("faiss")
    expected, exact = best(QUERIES[:50, :16], DOCUMENTS[:, :16], 20, cosine)
    rows, scores = build_index("faiss-flat", DOCUMENTS, 16, cosine=cosine, threads=2).search(QUERIES[:50], 20)
    assert (rows == expected).mean() > 0.99  # float32: neighbors as close as rounding may swap
    np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-5)
    if cosine:  # inner products of vectors of any length have no graph of neighbors worth the name
        index = build_index("hnsw", DOCUMENTS, 16, options={"ef": 200, "links": 16})
        assert np.isnan(index.cost.flops)  # before a search
        rows, _ = index.search(QUERIES[:50], 20)
        assert np.mean([len(set(a) & set(b)) / 20 for a, b in zip(rows, expected, strict=True)]) > 0.97
        assert 20 * 16 < index.cost.flops < N * 16 and index.cost.nbytes > N * (16 * 4 + 2 * 16 * 4)
        quick = index.with_options({**index.options, "ef": 10})
        quick.search(QUERIES[:50], 5)
        assert quick.cost.flops < index.cost.flops


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("threads, dim", [(1, 16), (2, 16), (2, 7), (2, 32), (2, 64), (2, 96)])
def test_faiss_int8_is_the_product_with_what_the_codes_stand_for(cosine, threads, dim):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(1)
    documents, queries = rng.standard_normal((700, 100)).astype(np.float32), rng.standard_normal((30, 100)) / 100
    index = build_index("faiss-int8", documents, dim, cosine=cosine, threads=threads)
    q = unit(queries[:, :dim]) if cosine else queries[:, :dim]
    exact = q @ stored(index).T
    rows, scores = index.search(queries, 20)
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1)[:, :20], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(exact, rows, 1), scores, rtol=1e-4, atol=1e-6)
    alone = [index.search(queries[i : i + 1], 20) for i in range(30)]
    np.testing.assert_allclose(np.vstack([s for _, s in alone]), scores, rtol=1e-4, atol=1e-6)
    everything, _ = index.search(queries[:2], 705)
    assert everything.shape == (2, 700) and (np.sort(everything, axis=1) == np.arange(700)).all()
    assert index.cost.nbytes == 700 * dim + 8 * dim and index.cost.flops == 700 * dim


def test_ivfpq_finds_what_reranking_needs():
    pytest.importorskip("faiss")
    documents = np.repeat(DOCUMENTS, 2, axis=0)[: 39 * 256]
    documents += 0.05 * RNG.standard_normal(documents.shape).astype(np.float32)
    index = build_index("ivfpq", documents, 16, options={"lists": 32, "probe": 16, "codes": 8})
    rows, _ = index.search(QUERIES[:30], 100)
    expected, _ = best(QUERIES[:30, :16], documents[:, :16], 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(expected, rows, strict=True)]) > 0.9
    assert (
        index.cost.nbytes < build_index("float32", documents, 16).cost.nbytes / 2
        and index.cost.flops < len(documents) * 16
    )
    with pytest.raises(InputError, match="codes 7 do not divide dimension 16"):
        build_index("ivfpq", documents, 16, options={"codes": 7})


def test_faiss_leaves_the_number_of_threads_as_it_was():
    faiss = pytest.importorskip("faiss")
    before = faiss.omp_get_max_threads()
    build_index("faiss-flat", DOCUMENTS[:100], 8, threads=before + 1).search(QUERIES[:2], 3)
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
def test_what_no_index_can_do_is_said(name, options, words):
    if name in ("hnsw", "ivfpq"):
        pytest.importorskip("faiss")
    with pytest.raises(InputError, match=words):
        build_index(name, DOCUMENTS[:50], 8, options=options)


@pytest.mark.parametrize("name", ["int8", "binary", "faiss-int8", "faiss-flat", "hnsw", "ivfpq"])
def test_without_faiss_it_is_asked_for(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=rf"{name}' needs FAISS: pip install \"mrl-tutorial\[ann\]\""):
        build_index(name, DOCUMENTS, 8)
    assert build_index("float32", DOCUMENTS, 8).search(QUERIES[:1], 1)[0].shape == (1, 1)
