"""Measures against pytrec_eval, scipy and plain loops, on graded data with heavy ties."""

from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval
import torch
from scipy.stats import spearmanr

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.evaluation.measures import spearman, sts_scores
from mrl_tutorial.evaluation.metrics import rank_counter


def graded(seed, n_queries=12, n_documents=300, levels=7):
    """Random graded judgments (negatives and zeros too) and coarse scores: most documents tie with many others."""
    rng = np.random.default_rng(seed)
    documents = [f"d{i}" for i in rng.permutation(n_documents)]  # "d9" > "d10": string order, not number order
    documents[0] = "é-1"  # beyond ASCII: trec_eval compares bytes
    queries = [f"q{i}" for i in range(n_queries)]
    qrels = {}
    for q in queries:
        judged = rng.choice(n_documents, rng.integers(2, 25), replace=False)
        qrels[q] = {documents[i]: int(g) for i, g in zip(judged, rng.integers(-1, 4, len(judged)), strict=True)}
        qrels[q][documents[judged[0]]] = 2
    scores = rng.integers(0, levels, (n_queries, n_documents)).astype(np.float32) / 7
    return queries, documents, qrels, scores


def counted(scores, columns):
    return rank_counter(columns, scores.shape[1])(scores)


def ranks_of(judgments, scores):
    """Ranks of the judged pairs by counting: (P,)."""
    ordered = torch.from_numpy(np.ascontiguousarray(scores[:, judgments.order]))
    return counted(ordered[judgments.query], torch.from_numpy(judgments.column)).numpy()


def trec(queries, documents, qrels, scores, measures):
    run = {q: dict(zip(documents, map(float, row), strict=True)) for q, row in zip(queries, scores, strict=True)}
    found = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    return {m: np.array([found[q][m] for q in queries]) for m in found[queries[0]]}


@pytest.mark.parametrize("seed", range(8))
def test_every_measure_is_trec_evals_under_ties(seed):
    queries, documents, qrels, scores = graded(seed, levels=2 + 3 * seed)
    j = metrics.judge(queries, documents, qrels)
    ranks = ranks_of(j, scores)
    reference = trec(
        queries, documents, qrels, scores,
        {"ndcg", "ndcg_cut.1,3,10,100", "map", "recip_rank", "recall.5,100", "P.1,5,10"},
    )  # fmt: skip
    ours = {"ndcg": "ndcg", "map": "map", "recip_rank": "mrr"}
    ours |= {f"ndcg_cut_{k}": f"ndcg@{k}" for k in (1, 3, 10, 100)}
    ours |= {f"recall_{k}": f"recall@{k}" for k in (5, 100)} | {f"P_{k}": f"precision@{k}" for k in (1, 5, 10)}
    for theirs, name in ours.items():
        np.testing.assert_allclose(metrics.retrieval_metric(name, ranks, j), reference[theirs], atol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", range(4))
def test_ranks_are_a_float64_sort_by_score_then_larger_id(seed):
    queries, documents, qrels, scores = graded(seed, n_documents=100 + 3 * seed, levels=3)
    j = metrics.judge(queries, documents, qrels)
    expected = []
    for q, column in zip(j.query, j.column, strict=True):
        row = scores[q].astype(np.float64)
        ranked = sorted(range(len(documents)), key=lambda i: (row[i], documents[i]), reverse=True)
        expected.append(ranked.index(j.order[column]) + 1)
    np.testing.assert_array_equal(ranks_of(j, scores), expected)


def test_scores_one_float32_step_apart_do_not_tie():
    below = np.float32(0.5)
    above = np.nextafter(below, np.float32(1))
    j = metrics.judge(["q"], ["a", "b"], {"q": {"a": 1}})
    assert ranks_of(j, np.array([[above, below]]))[0] == 1
    assert ranks_of(j, np.array([[below, above]]))[0] == 2
    assert ranks_of(j, np.array([[below, below]]))[0] == 2  # "b" is the larger id


def test_counting_holds_in_a_large_corpus():
    n = 70_001
    scores = torch.arange(n, dtype=torch.float32).repeat(3, 1)
    assert counted(scores, torch.tensor([0, n // 2, n - 1])).tolist() == [n, n - n // 2, 1]
    flat = torch.zeros(3, n)
    assert counted(flat, torch.tensor([0, n // 2, n - 1])).tolist() == [1, n // 2 + 1, n]


@pytest.mark.parametrize("k", [1, 5, 10, 50, 1000])
def test_mrr_and_map_at_k_are_their_loops(k):
    queries, documents, qrels, scores = graded(3)
    j = metrics.judge(queries, documents, qrels)
    ranks = ranks_of(j, scores)
    for row, q in enumerate(queries):
        ranked = sorted(range(len(documents)), key=lambda i: (scores[row, i], documents[i]), reverse=True)
        relevant = [qrels[q].get(documents[i], 0) > 0 for i in ranked]
        first = relevant.index(True) + 1
        average = sum(sum(relevant[:i]) / i for i in range(1, min(k, len(ranked)) + 1) if relevant[i - 1]) / k
        assert metrics.retrieval_metric(f"mrr@{k}", ranks, j)[row] == pytest.approx(1 / first if first <= k else 0)
        assert metrics.retrieval_metric(f"map@{k}", ranks, j)[row] == pytest.approx(average, abs=1e-12)


def test_all_cells_at_once_equal_one_by_one():
    queries, documents, qrels, scores = graded(5)
    j = metrics.judge(queries, documents, qrels)
    cells = np.stack([ranks_of(j, scores), ranks_of(j, -scores), ranks_of(j, scores**2)]).reshape(3, 1, -1)
    for name in ("ndcg@10", "map", "map@10", "mrr@10", "recall@5", "precision@5"):
        together = metrics.retrieval_metric(name, cells, j)
        assert together.shape == (3, 1, len(queries))
        for row, one in zip(together[:, 0], cells[:, 0], strict=True):
            np.testing.assert_array_equal(row, metrics.retrieval_metric(name, one, j))


def test_edges_one_document_and_cutoffs_beyond_the_corpus():
    j = metrics.judge(["q"], ["d"], {"q": {"d": 3}})
    ranks = ranks_of(j, np.zeros((1, 1), np.float32))
    assert ranks.tolist() == [1]
    for name, value in {"ndcg@10": 1, "mrr@10": 1, "map": 1, "map@10": 0.1, "recall@5": 1, "precision@5": 0.2}.items():
        assert metrics.retrieval_metric(name, ranks, j)[0] == pytest.approx(value)


def test_a_query_with_grades_of_zero_only_scores_zero_as_in_trec_eval():
    queries, documents = ["p", "q"], ["a", "b", "c"]
    qrels = {"p": {"a": 0, "b": -1}, "q": {"b": 2}}
    scores = np.array([[1, 2, 3], [1, 2, 3]], np.float32)
    j = metrics.judge(queries, documents, qrels)
    reference = trec(queries, documents, qrels, scores, {"ndcg_cut.10", "map"})
    np.testing.assert_allclose(metrics.retrieval_metric("ndcg@10", ranks_of(j, scores), j), reference["ndcg_cut_10"])
    np.testing.assert_allclose(metrics.retrieval_metric("map", ranks_of(j, scores), j), reference["map"])


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((["q"], [], {"q": {"a": 1}}), "empty"),
        (([], ["a"], {}), "no queries"),
        ((["q"], ["a", "a"], {"q": {"a": 1}}), "repeats"),
        ((["q", "r"], ["a"], {"q": {"a": 1}}), "'r' has no judgments"),
        ((["q"], ["a"], {"q": {"z": 1}}), "'z'"),
        ((["q"], ["a"], {"q": {"a": 0}}), "grade above 0"),
    ],
)
def test_bad_judgments_are_named(arguments, words):
    with pytest.raises(InputError, match=words):
        metrics.judge(*arguments)


@pytest.mark.parametrize("name", ["ndgc@10", "recall", "precision", "ndcg@0", "mrr@-1", "ndcg@", "spearman"])
def test_unknown_measures_are_refused(name):
    with pytest.raises(InputError, match="choose ndcg@k"):
        metrics.parse_metric(name)


@pytest.mark.parametrize("seed", range(4))
def test_spearman_is_scipys_with_ties(seed):
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, 5, 200) / 2
    scores = np.stack([rng.integers(0, 9, 200), gold + rng.normal(size=200), -gold, np.zeros(200)]).astype(np.float32)
    found = spearman(scores, gold).mean(-1)
    for row, value in zip(scores[:3], found[:3], strict=True):
        assert value == pytest.approx(spearmanr(row, gold).statistic, abs=1e-12)
    assert found[3] == 0


def test_spearman_has_an_interval_like_that_of_recomputing_it():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 16, 400) / 3  # graded pairs have ties
    scores = (gold + rng.normal(0, [[1], [4]], (2, 400))).round(1)
    items = spearman(scores, gold)
    rows = rng.integers(0, 400, (1000, 400))
    # the whole correlation of each resampling
    gaps = [[spearmanr(row[r], gold[r]).statistic for row in scores] for r in rows]
    for want, got in zip(np.transpose(gaps), items, strict=True):
        assert got.std() / 20 == pytest.approx(want.std(), rel=0.08)
    assert (items[0] - items[1]).std() / 20 == pytest.approx(np.diff(gaps).std(), rel=0.08)  # and when paired


def test_grades_may_be_floats():
    documents, grades = ["a", "b", "c"], {"a": 2.0, "c": 0.5}
    judged = metrics.judge(["q"], documents, {"q": grades})
    assert dict(zip([documents[i] for i in judged.order[judged.column]], judged.gain, strict=True)) == grades


def test_spearman_refuses_what_has_no_rank():
    gold, scores = np.array([0.1, 0.5, 2.0]), np.array([1.0, 2.0, 3.0])
    for a, b, what in ((scores, [0.1, np.nan, 2.0], "gold scores"), ([1.0, np.nan, 2.0], gold, "the scores")):
        with pytest.raises(InputError, match=f"{what} hold NaN"):
            spearman(np.array(a), np.array(b))


def test_spearman_needs_two_unequal_scores():
    for gold in ([1.0], [2.0, 2.0]):
        with pytest.raises(InputError, match="unequal"):
            spearman(np.zeros((1, len(gold))), np.array(gold))


@pytest.mark.parametrize("cosine", [True, False])
def test_scores_of_pairs_are_a_loop_over_cells(cosine):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 20, 12)).astype(np.float32)
    a[3] = 0
    b[4, :5] = 0  # zero up to dimension 5 only
    found = sts_scores(a, b, [1, 5, 12], cosine)
    for row, d in zip(found, [1, 5, 12], strict=True):
        for i in range(20):
            x, y = a[i, :d].astype(np.float64), b[i, :d].astype(np.float64)
            size = np.linalg.norm(x) * np.linalg.norm(y) if cosine else 1
            assert row[i] == pytest.approx(x @ y / size if size else 0, abs=1e-6)
    if cosine:
        kept = np.delete(np.arange(20), [3, 4])
        assert set(np.abs(found[0, kept])) == {1.0}  # one coordinate leaves the sign alone
