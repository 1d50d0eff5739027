"""Sizes: figures worked out by hand, a real array's bytes, and the links of a real graph."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.costs import Size


def test_ten_million_vectors():
    assert Size(10_000_000, 768, 768).total_gb == 30.72
    assert Size(10_000_000, 1024, 1024).total_gb == 40.96


@pytest.mark.parametrize("dtype, code", [("float32", "f4"), ("float16", "f2"), ("int8", "i1")])
def test_memory_is_that_of_an_array(dtype, code):
    assert Size(1000, 77, 33, dtype).vectors_gb * 1e9 == pytest.approx(np.zeros((1000, 33), code).nbytes)


def test_binary_is_packed_bits():
    packed = np.packbits(np.zeros((1000, 33), bool), axis=1)
    assert Size(1000, 77, 33, "binary").vectors_gb * 1e9 == pytest.approx(packed.nbytes)


def test_one_cut_to_a_share():
    size = Size(1000, 400, 100, "int8")
    assert size.total_gb / size.full_gb == pytest.approx(1 / 16) and size.full_gb == pytest.approx(1000 * 400 * 4 / 1e9)
    assert Size(1000, 8, 8, links=64).total_gb > Size(1000, 8, 8).full_gb  # links outweigh short vectors


@pytest.mark.parametrize("m", [4, 16])
def test_links_are_those_of_a_real_graph(m):
    faiss = pytest.importorskip("faiss")
    n = 4000
    index = faiss.IndexHNSWFlat(4, m)
    index.hnsw.efConstruction = 8
    index.add(np.random.default_rng(0).normal(size=(n, 4)).astype("f4"))
    places = faiss.vector_to_array(index.hnsw.neighbors)
    assert Size(n, 4, 4, links=m).links_gb * 1e9 == pytest.approx(places.nbytes, rel=0.03)


def test_expected_links_by_summing_the_levels():
    levels = sum(16.0**-level for level in range(1, 40))
    assert Size(10**9, 8, 8, links=16).links_gb == pytest.approx(4 * (32 + 16 * levels))


def test_price_is_the_readers():
    assert Size(10_000_000, 768, 768).month(2.5) == pytest.approx(76.8)
    assert Size(10_000_000, 768, 768).month(0) == 0


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"dim": 1024}, "cannot keep 1,024 of 768"),
        ({"depth": 10**6}, "shortlist of 1,000,000"),
        ({"dtype": "float8"}, "float8"),
        ({"links": 1}, "M = 1"),
        ({"n": 0, "depth": 0}, "n 0 is impossible"),
    ],
)
def test_impossible_sizes_are_named(wrong, message):
    with pytest.raises(InputError, match=message):
        Size(**{"n": 10_000, "width": 768, "dim": 64, **wrong})


def test_negative_price():
    with pytest.raises(InputError, match="price of -1"):
        Size(10, 8, 8, depth=1).month(-1)
