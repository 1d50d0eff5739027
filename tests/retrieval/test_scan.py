"""Scans by torch against exact float64 search: the plain form, the quick one in every type, and grouped maxima."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl_tutorial import topk
from mrl_tutorial.retrieval import indexes, timing
from mrl_tutorial.retrieval.indexes import PRECISIONS, Scan, fastest, two_stages
from tests.helpers.exact import best

RNG = np.random.default_rng(0)
N, D = 3000, 48
DOCUMENTS = (RNG.standard_normal((N, D)) * RNG.uniform(0.2, 5, (N, 1)) * np.linspace(2, 0.2, D)).astype(np.float32)
QUERIES = (RNG.standard_normal((300, D)) * np.linspace(2, 0.2, D)).astype(np.float32)
TIED = RNG.integers(-1, 2, (N, 8)).astype(np.float32)  # whole numbers: hundreds of equal scores


def plain(queries, documents, k, d, depth):
    found = two_stages(torch.from_numpy(queries), torch.from_numpy(documents), k, d, depth)
    return found[0].numpy(), found[1].numpy()


@pytest.mark.parametrize("n", [1, 15, 16, 17, 1000])
def test_the_plain_form_with_every_document_in_the_shortlist_is_exact(n):
    rows, scores = plain(QUERIES[:20], DOCUMENTS[:n], 10, 4, n)
    expected, exact = best(QUERIES[:20], DOCUMENTS[:n], 10)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(scores, exact, atol=1e-6)


def test_the_plain_form_settles_ties_by_row():
    expected, _ = best(TIED[:20], TIED[:500], 30)
    np.testing.assert_array_equal(plain(TIED[:20], TIED[:500], 30, 3, 500)[0], expected)


def test_the_plain_form_reranks_its_shortlist():
    rows, _ = plain(QUERIES[:30], DOCUMENTS, 10, 32, 100)
    short, _ = best(QUERIES[:30, :32], DOCUMENTS[:, :32], 100)
    expected, _ = best(QUERIES[:30], DOCUMENTS, 10)
    found = [len(set(a) & set(b)) for a, b in zip(rows, expected, strict=True)]
    could = [len(set(a) & set(b)) for a, b in zip(short, expected, strict=True)]
    assert abs(sum(found) - sum(could)) <= 3  # bfloat16 may move a document at the shortlist's edge


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("batch", [1, 300])
def test_a_scan_finds_what_reranking_needs(precision, cosine, batch):
    index = Scan(f"torch-{precision}", DOCUMENTS, cosine)
    rows, scores = index.search(QUERIES[:batch], 60)
    expected, exact = best(QUERIES[:batch], DOCUMENTS, 10, cosine)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, expected, strict=True)]) > 0.99
    assert (np.diff(scores, axis=1) <= 0).all()
    np.testing.assert_allclose(scores[:, 0], exact[:, 0], rtol=0.04)
    reranked = topk.rerank(QUERIES[:batch], rows, DOCUMENTS.__getitem__, 10, cosine=cosine)
    missed = (reranked[0] != expected).any(1)
    assert missed.mean() < 0.03
    np.testing.assert_allclose(reranked[1][~missed], exact[~missed], rtol=1e-12)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_scan_of_everything_holds_everything_and_zero_vectors_score_zero(precision):
    documents = DOCUMENTS[:50].copy()
    documents[[3, 4]] = 0
    for k in (50, 70):
        rows, scores = Scan(f"torch-{precision}", documents).search(QUERIES[:4], k)
        assert rows.shape == (4, 50) and (np.sort(rows, axis=1) == np.arange(50)).all()
        assert (scores[(rows == 3) | (rows == 4)] == 0).all()
    rows, scores = Scan(f"torch-{precision}", documents * 0).search(QUERIES[:2] * 0, 5)
    assert (scores == 0).all() and all(len(set(row)) == 5 for row in rows)
    assert Scan(f"torch-{precision}", documents).search(QUERIES[:0], 5)[0].shape == (0, 5)


def test_blocks_change_nothing(monkeypatch):
    whole = {precision: Scan(f"torch-{precision}", DOCUMENTS).search(QUERIES[:40], 30) for precision in PRECISIONS}
    monkeypatch.setattr(topk, "SCORES", 40 * 400)
    monkeypatch.setattr(indexes, "BLOCK", 700)
    for precision in PRECISIONS:
        rows, scores = Scan(f"torch-{precision}", DOCUMENTS, True, 2).search(QUERIES[:40], 30)
        np.testing.assert_allclose(scores, whole[precision][1], rtol=1e-5 if precision == "float32" else 1e-2)
        held = [set(a) >= set(b[:20]) for a, b in zip(rows, whole[precision][0], strict=True)]
        assert np.mean(held) > (0.9 if precision == "bfloat16" else 0.97)  # 8 bits of score: many are equal


@pytest.mark.parametrize("k", [1, 7, 40])
@pytest.mark.parametrize("n", [5, 16, 640, 1003])
def test_grouped_maxima_lose_nothing(n, k):
    scores = torch.from_numpy(RNG.integers(0, 50, (n, 12)).astype(np.float32))
    values, rows = topk.grouped_top(scores, k)
    expected = scores.T.topk(min(k, n)).values
    assert torch.equal(values, expected) and torch.equal(scores.T.gather(1, rows), expected)
    assert all(len(set(row)) == min(k, n) for row in rows.tolist())


def test_the_quickest_type_is_measured_once(monkeypatch):
    fastest.cache_clear()
    ticks = {"float32": 3.0, "bfloat16": 1.0, "int8": 2.0}
    clock, search = [0.0], Scan.search

    def slow(self, queries, k):
        clock[0] += ticks[self.precision]
        return search(self, queries[:1], k)

    monkeypatch.setattr(Scan, "search", slow)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    assert fastest(8) == "bfloat16" and Scan("torch", DOCUMENTS[:, :8]).precision == "bfloat16"
    ticks["int8"] = 0.5
    assert fastest(8) == "bfloat16"  # remembered
    fastest.cache_clear()


def test_where_int8_does_not_add_up_floats_do(monkeypatch):
    assert indexes._adds_up.__wrapped__() in (True, False)
    codes = RNG.integers(-127, 128, (70, 96)).astype(np.int8)
    x, q = torch.from_numpy(codes[:50]), torch.from_numpy(codes[50:]).T
    expected = codes[:50].astype(np.int64) @ codes[50:].astype(np.int64).T
    for exact in (indexes._adds_up(), False):
        monkeypatch.setattr(indexes, "_adds_up", lambda exact=exact: exact)
        np.testing.assert_array_equal(indexes._int8_product(x, q).numpy(), expected)
