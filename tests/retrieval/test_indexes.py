"""Indexes against float64 search over what they store, written as one product and one stable sort."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval import libraries
from mrl_tutorial.retrieval.indexes import build_index
from mrl_tutorial.topk import ExactIndex
from tests.helpers.engines import skip_without
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
@pytest.mark.parametrize("threads, dim", [(1, 16), (2, 7), (2, 32), (2, D)])
def test_int8_is_the_product_with_what_the_codes_stand_for(cosine, threads, dim):
    pytest.importorskip("faiss")
    index = build_index("int8", DOCUMENTS[:700], dim, cosine=cosine, threads=threads)
    x, q = DOCUMENTS[:700, :dim].astype(np.float64), QUERIES[:30, :dim].astype(np.float64)
    if cosine:
        x, q = unit(x), unit(q)
    assert (np.abs(stored(index) - x) <= 0.51 / 255 * np.ptp(x, axis=0)).all()  # half a step of 256
    exact = q @ stored(index).T
    rows, scores = index.search(QUERIES[:30], 20)
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1)[:, :20], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(exact, rows, 1), scores, rtol=1e-4, atol=1e-5)
    everything, _ = index.search(QUERIES[:2], 705)
    assert everything.shape == (2, 700) and (np.sort(everything, axis=1) == np.arange(700)).all()


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
    assert 0 < build_index("int8", DOCUMENTS, 16).cost.nbytes - 16 * N < 1000  # each coordinate's range, a header
    assert build_index("torch-int8", DOCUMENTS, 16).cost.nbytes == 16 * N
    assert build_index("torch-bfloat16", DOCUMENTS, 16).cost.nbytes == 2 * 16 * N
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
        assert np.isnan(index.cost.flops)  # the library does not say how many documents it looked at
        rows, _ = index.search(QUERIES[:50], 20)
        assert np.mean([len(set(a) & set(b)) / 20 for a, b in zip(rows, expected, strict=True)]) > 0.97
        assert index.cost.nbytes > N * (16 * 4 + 2 * 16 * 4)


def recall(rows, expected):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(rows, expected, strict=True)])


@pytest.mark.parametrize("cosine", [True, False])
def test_product_codes_and_bits_find_what_reranking_needs(cosine):
    pytest.importorskip("faiss")
    expected, _ = best(QUERIES[:30, :16], DOCUMENTS[:, :16], 10, cosine)
    exact = build_index("float32", DOCUMENTS, 16).cost
    for name, least, options in (
        ("pq", 0.9, {"codes": 8}),
        ("ivfpq", 0.85, {"lists": 32, "probe": 16, "codes": 8}),
        ("ivf", 0.85, {"lists": 32, "probe": 16}),
        ("rabitq", 0.75, {}),
        ("ivf-rabitq", 0.75, {"lists": 32, "probe": 16}),
    ):
        index = build_index(name, DOCUMENTS, 16, cosine=cosine, options=options)
        assert recall(index.search(QUERIES[:30], 400)[0], expected) > least, name
        if name != "ivf":
            assert index.cost.nbytes < exact.nbytes / 2 and index.cost.flops < exact.flops
            assert index.cost.read < exact.read
    with pytest.raises(InputError, match="codes 7 do not divide dimension 16"):
        build_index("ivfpq", DOCUMENTS, 16, options={"codes": 7})


def test_other_options_search_the_same_index():
    pytest.importorskip("faiss")
    narrow = build_index("ivf", DOCUMENTS, 16, options={"lists": 64, "probe": 1})
    wide = narrow.with_options({"lists": 64, "probe": 64})
    expected, _ = best(QUERIES[:20, :16], DOCUMENTS[:, :16], 10)
    assert recall(narrow.search(QUERIES[:20], 10)[0], expected) < 0.9
    assert recall(wide.search(QUERIES[:20], 10)[0], expected) > 0.999 and wide.index is narrow.index
    assert recall(narrow.search(QUERIES[:20], 10)[0], expected) < 0.9 and narrow.cost.read < wide.cost.read


@pytest.mark.parametrize("name", ["vamana", "vamana-lvq", "leanvec"])
@pytest.mark.parametrize("cosine", [True, False])
def test_intels_graphs(name, cosine):
    skip_without(name)
    options = {"links": 32, "build": 64, "window": 100} | ({"reduced": 24} if name == "leanvec" else {})
    documents = DOCUMENTS[:2000] if cosine else unit(DOCUMENTS[:2000]).astype(np.float32)
    index = build_index(name, documents, 32, cosine=cosine, options=options)
    expected, exact = best(QUERIES[:40, :32], documents[:, :32], 10, cosine)
    rows, scores = index.search(QUERIES[:40], 10)
    assert recall(rows, expected) > (0.97 if name == "vamana" else 0.85)
    same = rows == expected
    np.testing.assert_allclose(scores[same], exact[same], rtol=0.05)
    narrow = index.with_options({**index.options, "window": 1})
    assert recall(narrow.search(QUERIES[:40], 10)[0], expected) <= recall(rows, expected)
    assert recall(index.search(QUERIES[:40], 10)[0], expected) == recall(rows, expected)
    least = {"vamana": 4 * 32, "vamana-lvq": 12 * 32 // 8, "leanvec": 24 + 32}[name] + 4 * 33
    assert index.cost.nbytes == 2000 * least and np.isnan(index.cost.flops)


def test_where_intels_library_fails_another_engine_is_named(monkeypatch):
    svs = pytest.importorskip("svs")

    def build(*given, **options):
        raise RuntimeError("LVQ is not supported on this processor")

    monkeypatch.setattr(svs, "Vamana", SimpleNamespace(build=build))
    monkeypatch.setattr(libraries, "on_intel", lambda: True)
    with pytest.raises(InputError, match=r"'vamana-lvq' does not work here .LVQ is not supported.*: use 'vamana'"):
        build_index("vamana-lvq", DOCUMENTS[:100], 16)


@pytest.mark.parametrize("name", ["vamana-lvq", "leanvec"])
def test_on_another_processor_the_process_lives_on(name, monkeypatch):
    """There scalable-vs prints a line and ends the process, and with it a notebook's kernel."""
    pytest.importorskip("svs")
    monkeypatch.setattr(libraries, "on_intel", lambda: False)
    with pytest.raises(InputError, match=f"'{name}' does not work here .*Intel's processors only.: use 'vamana'"):
        build_index(name, DOCUMENTS[:100], 16)
    assert len(build_index("vamana", DOCUMENTS[:100], 16).search(QUERIES[:2], 3)[0]) == 2


def test_faiss_leaves_the_number_of_threads_as_it_was():
    faiss = pytest.importorskip("faiss")
    before = faiss.omp_get_max_threads()
    build_index("faiss-flat", DOCUMENTS[:100], 8, threads=before + 1).search(QUERIES[:2], 3)
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize(
    "name, options, words",
    [
        ("float23", {}, "'float23' is unknown: choose one of float32, torch"),
        ("float32", {"ef": 3}, "no option 'ef': it has none"),
        ("hnsw", {"efs": 3}, "no option 'efs': it has links, build, ef"),
        ("hnsw", {"ef": 0}, "ef = 0 is impossible: give a whole number from 1 on"),
        ("ivfpq", {"lists": -1}, "lists = -1 is impossible: give a whole number from 0 on"),
        ("ivfpq", {}, "'ivfpq' needs 624 documents to train, not 50"),
        ("torch-int4", {}, "'torch-int4' is unknown"),
    ],
)
def test_what_no_index_can_do_is_said(name, options, words):
    if name in ("hnsw", "ivfpq"):
        pytest.importorskip("faiss")
    with pytest.raises(InputError, match=words):
        build_index(name, DOCUMENTS[:50], 8, options=options)


@pytest.mark.parametrize("name", ["int8", "binary", "faiss-flat", "hnsw", "ivfpq"])
def test_without_faiss_it_is_asked_for(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=rf"{name}' needs FAISS: pip install \"mrl-tutorial\[ann\]\""):
        build_index(name, DOCUMENTS, 8)
    assert build_index("float32", DOCUMENTS, 8).search(QUERIES[:1], 1)[0].shape == (1, 1)


def test_without_intels_library_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "svs", None)
    with pytest.raises(InputError, match=r"vamana' needs scalable-vs: pip install \"mrl-tutorial\[svs\]\""):
        build_index("vamana", DOCUMENTS, 8)
