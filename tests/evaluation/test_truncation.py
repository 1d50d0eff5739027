"""Truncation: curves against loops in float64 and scikit-learn's nDCG, and where the ways must or must not agree."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.truncation import BINS, METRICS, WAYS, measure_truncation, products, unit


@pytest.fixture(scope="module")
def data():
    """20 queries, 60 documents of unequal lengths, width 12; one to three relevant documents a query."""
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(60, 12)) * rng.gamma(2, 1, (60, 1)) * np.linspace(2, 0.5, 12)
    relevant = [set(rng.choice(60, rng.integers(1, 4), replace=False).tolist()) for _ in range(20)]
    queries = np.stack([documents[list(r)].mean(0) for r in relevant]) + rng.normal(size=(20, 12))
    return queries.astype(np.float32), documents.astype(np.float32), relevant


def reference(way: str, q: np.ndarray, x: np.ndarray, d: int) -> float:
    """One score in float64, coordinate by coordinate."""
    q, x = [float(v) for v in q], [float(v) for v in x]
    if way == "cut":
        q, x = q[:d], x[:d]
    length_q, length_x = sum(v * v for v in q) ** 0.5, sum(v * v for v in x) ** 0.5
    if way == "raw":
        length_q = length_x = 1.0
    pairs = [(a / length_q, b / length_x) for a, b in zip(q[:d], x[:d], strict=True)]
    return -sum((a - b) ** 2 for a, b in pairs) if way == "l2" else sum(a * b for a, b in pairs)


@pytest.mark.parametrize("way", WAYS)
def test_curves_are_those_of_sorting_every_dimension(data, way):
    queries, documents, relevant = data
    model = measure_truncation(queries, documents, relevant)
    for d in (2, 3, 6, 12):  # at d = 1 a cosine has ties, see below
        ndcg, recall = [], []
        for q, good in zip(queries, relevant, strict=True):
            s = np.array([reference(way, q, x, d) for x in documents])
            gain = np.isin(np.arange(60), list(good)).astype(float)
            ndcg.append(ndcg_score([gain], [s], k=10))
            recall.append(gain[np.argsort(-s)[:10]].sum() / gain.sum())
        i = WAYS.index(way)
        assert model.values["ndcg@10"][i, d - 1] == pytest.approx(np.mean(ndcg), abs=1e-9)
        assert model.values["recall@10"][i, d - 1] == pytest.approx(np.mean(recall), abs=1e-9)


def test_ways_agree_where_they_must(data):
    queries, documents, relevant = data
    model = measure_truncation(queries, documents, relevant)
    for m in METRICS:
        cut, late, raw, l2 = model.values[m]
        assert cut[-1] == late[-1] == l2[-1]  # the whole vector: a cosine
        assert not np.allclose(cut[:-1], late[:-1]) and not np.allclose(late, l2) and not np.allclose(cut, raw)
    given = measure_truncation(unit(queries), unit(documents), relevant)
    assert np.allclose(given.values["ndcg@10"][1], given.values["ndcg@10"][2])  # unit vectors: raw is late
    assert np.allclose(given.values["ndcg@10"][0], model.values["ndcg@10"][0])


def test_equal_lengths_of_all_prefixes_leave_nothing_to_tell_apart():
    rng = np.random.default_rng(1)
    documents = rng.choice([-1.0, 1.0], (50, 16))
    queries = rng.normal(size=(10, 16))
    model = measure_truncation(queries, documents, [{i} for i in range(10)])
    assert np.allclose(model.values["ndcg@10"], model.values["ndcg@10"][0]) and np.allclose(model.contrast, 0)
    assert np.allclose(model.spread[3], 0.5)  # 4 of 16 coordinates


def test_equal_scores_rank_by_lot_and_as_they_are_shown():
    documents = np.array([[3.0, 1], [1, 5], [-1, 1], [2, 2]])
    model = measure_truncation(np.array([[1.0, 0.1]]), documents, [{3}])
    # cosines 1, 1, -1, 1
    shown = sorted([0, 1, 3], key=lambda row: model.ties[row])
    for k in (1, 2, 3, 9):  # the cut goes through equal scores
        assert model.tops([0], k)[0, WAYS.index("cut"), 0].tolist() == [*shown, 2][:k]
    assert model.values["ndcg@10"][0, 0] == pytest.approx(1 / np.log2(2 + shown.index(3)))
    assert sorted(model.ties) == [0, 1, 2, 3]


def test_documents_that_come_first_do_not_win_ties():
    rng = np.random.default_rng(2)
    documents, queries = rng.normal(size=(400, 8)), rng.normal(size=(40, 8))  # nothing to find
    model = measure_truncation(queries, documents, [{i} for i in range(40)])
    assert model.values["recall@10"][0, 0] <= 0.1  # 10 of some 200 tied ones


@pytest.mark.parametrize("way", WAYS)
def test_tops_are_the_best_by_the_loop(data, way):
    queries, documents, relevant = data
    repeated = np.concatenate([documents, documents[:9]])
    model = measure_truncation(queries, repeated, relevant)
    asked = [0, 7, 13]
    for k in (5, 90):
        found = model.tops(asked, k)[:, WAYS.index(way)]
        assert found.shape == (3, 12, min(k, 69))
        for j, query in enumerate(asked):
            for d in (2, 3, 12):  # at d = 1 rounding decides between cosines of 1
                s = [round(reference(way, queries[query], x, d), 9) for x in repeated]
                best = sorted(range(69), key=lambda row: (-s[row], model.ties[row]))
                assert found[j, d - 1].tolist() == best[:k]


def test_contrast_is_the_largest_difference_over_the_ways(data):
    queries, documents, relevant = data
    model = measure_truncation(queries, documents, relevant)
    want = []
    for q, good in zip(queries, relevant, strict=True):
        gain = np.isin(np.arange(60), list(good)).astype(float)
        by_dim = [
            [ndcg_score([gain], [[reference(way, q, x, d) for x in documents]], k=10) for way in WAYS] for d in (8, 12)
        ]
        want.append(np.mean([max(row) - min(row) for row in by_dim]))
    assert np.allclose(model.contrast, want)


def test_lengths_and_their_histogram(data):
    model, documents = measure_truncation(*data), data[1].astype(np.float64)
    for d in (1, 7, 12):
        want = [np.linalg.norm((x / np.linalg.norm(x))[:d]) for x in documents]
        assert np.allclose(model.spread[d - 1], np.quantile(want, [0.05, 0.5, 0.95]))
        if d < 12:  # at full width rounding may leave the last bin
            assert np.allclose(model.lengths[d - 1], np.histogram(want, bins=BINS, range=(0, 1))[0] / 60)
    assert np.allclose(model.lengths.sum(1), 1) and model.lengths[-1, -1] == 1


def test_distance_as_a_product(data):
    queries, documents, _ = data
    q, x, step = products("l2", queries, documents)
    assert step == 2
    for d in (1, 6):
        distance = np.square(unit(queries)[:, None, :d] - unit(documents)[None, :, :d]).sum(-1)
        own = np.square(unit(queries)[:, :d]).sum(1, keepdims=True)
        assert np.allclose(q[:, : 2 * d] @ x[:, : 2 * d].T, own - distance, atol=1e-5)


def test_queries_without_relevant_documents_are_left_out(data):
    queries, documents, relevant = data
    some = [good if i in (2, 4, 9) else set() for i, good in enumerate(relevant)]
    model = measure_truncation(queries, documents, some)
    alone = measure_truncation(queries[[2, 4, 9]], documents, [relevant[i] for i in (2, 4, 9)])
    assert model.rows == (2, 4, 9) and model.relevant == alone.relevant
    assert np.array_equal(model.values["ndcg@10"], alone.values["ndcg@10"])


def test_relevant_documents_may_be_arrays(data):
    queries, documents, relevant = data
    found = measure_truncation(queries, documents, [np.array(sorted(good), dtype=int) for good in relevant])
    assert found.rows == measure_truncation(queries, documents, relevant).rows
    first = measure_truncation(queries[:2], documents, [np.array([0]), np.array([1])])
    assert first.rows == (0, 1)


def test_zero_vectors_score_zero():
    documents = np.array([[0.0, 0, 0], [1, 2, 3], [-1, -2, -3]])
    model = measure_truncation(np.array([[1.0, 2, 3]]), documents, [{1}])
    assert np.isfinite(model.values["ndcg@10"]).all() and model.values["ndcg@10"][0, -1] == 1
    assert model.tops([0], 3)[0, 0, 1].tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    "queries, documents, relevant, message",
    [
        (np.ones((2, 3)), np.ones((4, 5)), [{0}, {1}], "width 3, documents of 5"),
        (np.ones((2, 3)), np.ones((4, 3)), [{0}], "1 sets .* 2 queries"),
        (np.ones((2, 3)), np.ones((4, 3)), [{0}, {4}], "document 4 is relevant"),
        (np.ones((2, 3)), np.ones((4, 3)), [set(), set()], "nothing can be scored"),
        (np.full((2, 3), np.nan), np.ones((4, 3)), [{0}, {1}], "NaN"),
        (np.ones(3), np.ones((4, 3)), [{0}], r"shape \(3,\)"),
    ],
)
def test_what_does_not_fit_is_named(queries, documents, relevant, message):
    with pytest.raises(InputError, match=message):
        measure_truncation(queries, documents, relevant)
