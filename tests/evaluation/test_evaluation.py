"""The quality grid against references cell by cell: pytrec_eval, scipy, float64 loops; edges and refusals."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytrec_eval
import torch
from scipy.stats import spearmanr

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.evaluation.embeddings import embed_task
from mrl_tutorial.evaluation.measures import GridConfig, subsample
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.evaluation.statistics import compare, interval
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.tasks.types import RetrievalTask, STSTask
from tests.helpers.tiny import save_tiny

L, D = 3, 24


@dataclass
class Retrieval:
    corpus: dict
    queries: dict
    qrels: dict
    splits: dict
    kind: str = "retrieval"
    name: str = "stub"

    def judged(self, split):
        return [q for q in self.splits[split] if q in self.qrels]


def retrieval(seed=0, n_queries=15, n_documents=80, duplicates=20):
    """Graded judgments; the last documents repeat the first ones' vectors, so that every cell has true ties."""
    rng = np.random.default_rng(seed)
    corpus = {f"d{i}": f"text {i}" for i in rng.permutation(n_documents)}
    queries = {f"q{i}": f"query {i}" for i in range(n_queries)}
    ids = list(corpus)
    qrels = {}
    for q in queries:
        judged = rng.choice(n_documents, 8, replace=False)
        qrels[q] = {ids[i]: int(g) for i, g in zip(judged, rng.integers(0, 4, 8), strict=True)} | {ids[judged[0]]: 1}
    task = Retrieval(corpus, queries, qrels, {"test": list(queries)})
    documents = rng.normal(size=(L, n_documents, D)).astype(np.float32)
    if duplicates:
        documents[:, -duplicates:] = documents[:, :duplicates]
    return task, {"queries": rng.normal(size=(L, n_queries, D)).astype(np.float32), "documents": documents}


def scores_of(queries, documents, d, cosine=True):
    """Scores of one cell in float64, rounded to float32: (B, N). A zero vector scores 0."""
    q, x = queries[:, :d].astype(np.float64), documents[:, :d].astype(np.float64)
    scores = q @ x.T
    if cosine:
        norms = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(x, axis=1)
        scores = np.divide(scores, norms, out=np.zeros_like(scores), where=norms > 0)
    return scores.astype(np.float32)


def trec(task, scores, measure):
    run = {q: dict(zip(task.corpus, map(float, row), strict=True)) for q, row in zip(task.queries, scores, strict=True)}
    found = pytrec_eval.RelevanceEvaluator(task.qrels, {measure}).evaluate(run)
    return np.array([found[q][measure.replace(".", "_")] for q in task.queries])


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("fixed", [True, False])
def test_every_cell_is_trec_evals_including_tied_duplicates(cosine, fixed):
    task, embeddings = retrieval()
    dims = [1, 2, 7, 16, D]
    grids = evaluate_grid(
        task, embeddings=embeddings, metric=["ndcg@10", "map", "recall@20"], dims=dims, cosine=cosine,
        fixed_document=fixed,
    )  # fmt: skip
    for theirs, ours in {"ndcg_cut.10": "ndcg@10", "map": "map", "recall.20": "recall@20"}.items():
        grid = grids[ours]
        assert (grid.layers, grid.dims, grid.values.shape) == ((1, 2, 3), tuple(dims), (3, 5))
        for i in range(L):
            documents = embeddings["documents"][-1 if fixed else i]
            for j, d in enumerate(dims):
                expected = trec(task, scores_of(embeddings["queries"][i], documents, d, cosine), theirs)
                np.testing.assert_allclose(grid.per_item[i, j], expected, atol=1e-6, err_msg=f"{ours} ({i + 1}, {d})")
                assert grid.values[i, j] == pytest.approx(expected.mean(), abs=1e-6)


def test_all_dimensions_agree_with_single_ones():
    task, embeddings = retrieval(seed=1)
    every = evaluate_grid(task, embeddings=embeddings, dims="all", layers=[2], metric="mrr@10")
    assert every.dims == tuple(range(1, D + 1)) and every.layers == (2,)
    for d in every.dims:
        one = evaluate_grid(task, embeddings=embeddings, dims=[d], layers=[2], metric="mrr@10")
        np.testing.assert_array_equal(one.per_item[0, 0], every.per_item[0, d - 1])


def test_settings_come_as_a_config_or_by_name():
    task, embeddings = retrieval(seed=1)
    config = GridConfig(dims=[4, 8], layers=[2])
    found = evaluate_grid(task, config=config, embeddings=embeddings, layers=[1])
    assert (found.layers, found.dims) == ((1,), (4, 8))
    by_name = evaluate_grid(task, embeddings=embeddings, dims=[4, 8], layers=[1])
    np.testing.assert_array_equal(found.values, by_name.values)


def test_small_blocks_and_the_sorting_path_give_the_same_ranks(monkeypatch):
    task, embeddings = retrieval(seed=2)
    judged = metrics.judge(list(task.queries), list(task.corpus), task.qrels)
    queries, documents = (embeddings[x][0] for x in ("queries", "documents"))
    expected = metrics.relevant_ranks(queries, documents, [1, 5, D], judged)
    for name, value in (("BLOCK", 1), ("BLOCK", 200), ("SORT_THRESHOLD", 0)):
        monkeypatch.setattr(metrics, name, value)
        np.testing.assert_array_equal(metrics.relevant_ranks(queries, documents, [1, 5, D], judged), expected)


def test_edges_zero_vectors_one_document_and_cutoffs_beyond_the_corpus():
    task, embeddings = retrieval(n_documents=9, duplicates=0)
    embeddings["documents"][:, 3] = 0
    embeddings["queries"][:, 2] = 0  # scores 0 everywhere: ids alone decide
    embeddings["documents"][:, 5, :4] = 0  # zero in its first coordinates only
    grid = evaluate_grid(task, embeddings=embeddings, metric="ndcg@100", dims=[1, 4, D])
    for i in range(L):
        for j, d in enumerate(grid.dims):
            expected = trec(task, scores_of(embeddings["queries"][i], embeddings["documents"][i], d), "ndcg_cut.100")
            np.testing.assert_allclose(grid.per_item[i, j], expected, atol=1e-6)
    one = Retrieval({"d": "t"}, {"q": "u"}, {"q": {"d": 2}}, {"test": ["q"]})
    vectors = {"queries": np.ones((1, 1, 4), np.float32), "documents": -np.ones((1, 1, 4), np.float32)}
    assert evaluate_grid(one, embeddings=vectors).values.tolist() == [[1.0]]  # a width below 8 has one cell


def test_subsample_is_fixed_by_seed_and_measures_those_queries():
    task, embeddings = retrieval()
    ids = list(task.queries)
    keep = subsample(ids, 6, seed=3)
    assert len(keep) == 6 and (np.diff(keep) > 0).all()
    assert (keep == subsample(ids, 6, seed=3)).all() and (keep != subsample(ids, 6, seed=4)).any()
    every = evaluate_grid(task, embeddings=embeddings)
    few = evaluate_grid(task, embeddings=embeddings, max_queries=6, seed=3)
    np.testing.assert_array_equal(few.per_item, every.per_item[..., keep])
    assert (few.about["items"], few.about["seed"]) == (6, 3) and "seed" not in every.about
    for whole in (len(ids), 99):
        found = evaluate_grid(task, embeddings=embeddings, max_queries=whole)
        assert found.per_item.shape[-1] == found.about["items"] == len(ids) and "seed" not in found.about
    # dropping a query that was not sampled leaves the sample as it is
    dropped = next(i for i in range(len(ids)) if i not in keep)
    rest = ids[:dropped] + ids[dropped + 1 :]
    assert [rest[i] for i in subsample(rest, 6, seed=3)] == [ids[i] for i in keep]


def test_sts_is_scipys_spearman_of_cosines():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, L, 60, D)).astype(np.float32)
    gold = rng.integers(0, 6, 60) / 1.0
    task = STSTask("stub", "random", {"test": (["a"] * 60, ["b"] * 60, gold)})
    grid = evaluate_grid(task, embeddings={"first": first, "second": second}, dims=[1, 8, D])
    assert grid.metric == "spearman"
    np.testing.assert_allclose(grid.per_item.mean(-1), grid.values, atol=1e-6)
    for i in range(L):
        for j, d in enumerate(grid.dims):
            a, b = first[i, :, :d].astype(np.float64), second[i, :, :d].astype(np.float64)
            cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
            assert grid.values[i, j] == pytest.approx(spearmanr(np.round(cosines, 9), gold).statistic, abs=1e-6)


def test_vectors_without_judgments_are_measured_against_their_full_width_neighbors():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, 70, D)).astype(np.float32)
    rows = np.array([3, 10, 20])
    task = SimpleNamespace(kind="vectors", name="mine", vectors=vectors, queries_index=rows)
    grid = evaluate_grid(task, dims=[4, D])
    assert grid.metric == "recall@10" and grid.values[1, 1] == 1
    rest = np.delete(np.arange(70), rows)
    truth = np.argsort(-scores_of(vectors[1, rows], vectors[1, rest], D), axis=1)[:, :10]
    for i in range(2):
        for j, d in enumerate((4, D)):
            found = np.argsort(-scores_of(vectors[i, rows], vectors[i, rest], d), axis=1)[:, :10]
            expected = [len(set(a) & set(b)) / 10 for a, b in zip(found, truth, strict=True)]
            np.testing.assert_allclose(grid.per_item[i, j], expected, atol=1e-6)
    alone = evaluate_grid(task, dims=[4], layers=[1])  # the last layer is still what decides who is near
    assert alone.values[0, 0] == grid.values[0, 0]


class Hashing:
    """An encoder of any kind: random vectors that depend on text and layer alone, and a log of what was asked."""

    n_layers, width, name = L, D, "hashing"

    def __init__(self):
        self.asked = []

    def encode_layers(self, texts, layers=None, precision="auto", progress=None):
        layers = list(layers or range(1, L + 1))
        self.asked.append((layers, len(texts), precision))
        rows = [[np.random.default_rng([layer, *text.encode()]).normal(size=D) for text in texts] for layer in layers]
        return np.array(rows, dtype=np.float32)


def test_an_encoder_runs_only_the_layers_asked_for():
    task, _ = retrieval()
    encoder = Hashing()
    embedded = embed_task(task, encoder, "test")
    assert embedded["documents"].shape == (L, 80, D) and embedded["queries"].shape == (L, 15, D)
    every = evaluate_grid(task, encoder)
    assert every.model == "hashing" and every.task == "stub" and set(every.seconds) == {"encode", "score"}
    encoder.asked.clear()
    some = evaluate_grid(task, encoder, layers=[1, 2], precision="fp32")
    assert [asked[0] for asked in encoder.asked] == [[1, 2], [1, 2]] and {x[2] for x in encoder.asked} == {"fp32"}
    np.testing.assert_array_equal(some.values, every.values[:2])
    encoder.asked.clear()
    fixed = evaluate_grid(task, encoder, layers=[1], fixed_document=True)
    assert [asked[0] for asked in encoder.asked] == [[1, 3], [1, 3]]
    np.testing.assert_array_equal(fixed.values[0], evaluate_grid(task, encoder, fixed_document=True).values[0])


def test_pairs_are_measured_as_retrieval_and_progress_is_reported():
    task, embeddings = retrieval()
    pairs = SimpleNamespace(kind="pairs", name="pairs", as_retrieval=lambda split: task)
    calls = []
    grid = evaluate_grid(pairs, embeddings=embeddings, progress=lambda *x: calls.append(x))
    np.testing.assert_array_equal(grid.values, evaluate_grid(task, embeddings=embeddings).values)
    assert calls == [(1, 3, "scoring"), (2, 3, "scoring"), (3, 3, "scoring")]


def test_bootstrap_reads_the_items():
    task, embeddings = retrieval()
    grid = evaluate_grid(task, embeddings=embeddings)
    low, high = interval(grid, 3, D)
    assert low < grid.at(3, D) < high
    assert compare(grid, grid, 3, D) == (0, 0, 0)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"metric": "ndgc@10"}, "ndgc@10.*choose"),
        ({"metric": "spearman"}, "spearman.*choose"),
        ({"metric": []}, "no metric"),
        ({"split": "validation"}, "no split 'validation': choose one of test"),
        ({"layers": [4]}, "layer 4"),
        ({"dims": [25]}, "dimension 25"),
        ({"max_queries": 0}, "max_queries 0"),
        ({"dim": [8]}, "no setting 'dim': choose from split, layers, dims"),
    ],
)
def test_bad_arguments_are_refused_before_encoding(change, words):
    task, _ = retrieval()
    encoder = Hashing()
    with pytest.raises(InputError, match=words):
        evaluate_grid(task, encoder, **change)
    assert not encoder.asked


def test_tasks_that_cannot_be_measured_are_refused():
    task, embeddings = retrieval()
    with pytest.raises(InputError, match="give an encoder"):
        evaluate_grid(task)
    with pytest.raises(InputError, match="corpus is empty"):
        evaluate_grid(Retrieval({}, {"q": "x"}, {"q": {"d": 1}}, {"test": ["q"]}), Hashing())
    with pytest.raises(InputError, match="no queries"):
        evaluate_grid(Retrieval(task.corpus, task.queries, {}, task.splits), Hashing())
    task.qrels["q3"] = {}
    with pytest.raises(InputError, match="'q3' has no judgments"):
        evaluate_grid(task, embeddings=embeddings)
    constant = STSTask("stub", "random", {"test": (["a"] * 3, ["b"] * 3, np.ones(3))})
    with pytest.raises(InputError, match="unequal"):
        evaluate_grid(constant, Hashing())
    graded = STSTask("stub", "random", {"test": (["a"] * 3, ["b"] * 3, np.arange(3.0))})
    with pytest.raises(InputError, match="fixed_document"):
        evaluate_grid(graded, Hashing(), fixed_document=True)
    with pytest.raises(InputError, match="does not suit a sts task: choose spearman"):
        evaluate_grid(graded, Hashing(), metric="ndcg@10")


def test_unfit_embeddings_are_named():
    task, embeddings = retrieval()
    queries, documents = embeddings["queries"], embeddings["documents"]
    broken = documents.copy()
    broken[1, 7, 3] = np.nan
    for given, words in [
        ({"queries": queries}, "lack 'documents'"),
        ({"queries": queries, "documents": documents[:, 1:]}, "79 items, the task has 80"),
        ({"queries": queries, "documents": documents[0]}, "shape"),
        ({"queries": queries[:2], "documents": documents}, "disagree"),
        ({"queries": queries[..., :5], "documents": documents}, "disagree"),
        ({"queries": queries, "documents": broken}, r"NaN or infinity \(layer 2, item 7\)"),
    ]:
        with pytest.raises(InputError, match=words):
            evaluate_grid(task, embeddings=given)
    evaluate_grid(task, embeddings={"queries": queries, "documents": broken}, layers=[1])  # layer 2 is not asked for


data = pytest.mark.skipif(
    not all((Path(os.environ.get("MRL_DATA", "-")) / name).is_dir() for name in ("scifact", "stsbenchmark")),
    reason="set MRL_DATA to a folder with scifact and stsbenchmark",
)


@data
@pytest.mark.parametrize("name, expected", [("scifact", 0.645), ("stsbenchmark", 0.820)])
def test_published_quality_of_the_full_model(name, expected):
    from mrl_tutorial.models.encoder import Encoder

    grid = evaluate_grid(load_task(name), Encoder.load(), precision="fp32")
    assert grid.at(6, 384) == pytest.approx(expected, abs=0.002)


def test_the_cache_gives_the_same_grid_without_measuring_again(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    stub, parts = retrieval()
    task = RetrievalTask("stub", "made up", stub.corpus, stub.queries, stub.qrels, stub.splits)
    options = {"embeddings": parts, "metric": ["ndcg@10", "mrr@10"], "dims": [4, 24]}
    plain = evaluate_grid(task, **options)
    assert not list(tmp_path.iterdir())  # nothing is kept unasked
    first = evaluate_grid(task, **options, cache=True)
    counted, score = [], metrics.relevant_ranks
    monkeypatch.setattr(
        "mrl_tutorial.evaluation.measures.relevant_ranks", lambda *a, **k: counted.append(1) or score(*a, **k)
    )
    again = evaluate_grid(task, **options, cache=True)
    assert not counted
    for name in plain:
        for found in (first, again):
            np.testing.assert_array_equal(found[name].values, plain[name].values)
            np.testing.assert_array_equal(found[name].per_item, plain[name].per_item)
    moved = {**parts, "queries": parts["queries"] + np.float32(1e-3)}
    for changed in (
        {"embeddings": moved}, {"dims": [4, 23]}, {"layers": [1, 2]}, {"metric": ["mrr@10"]}, {"max_queries": 9},
        {"fixed_document": True}, {"cosine": False},
    ):  # fmt: skip
        counted.clear()
        fresh, kept = (evaluate_grid(task, **{**options, **changed}, cache=cache) for cache in (False, True))
        name = "mrr@10"
        np.testing.assert_array_equal(kept[name].values, fresh[name].values)
        assert len(counted) == 2 * len(kept[name].layers), changed
    for damage in (
        lambda whole: b"damaged",
        lambda whole: whole[:-40],
        lambda whole: whole[:120] + b"????" + whole[124:],
    ):
        for file in tmp_path.glob("grids/*.npz"):
            file.write_bytes(damage(file.read_bytes()))
        found = evaluate_grid(task, **options, cache=True)["ndcg@10"]
        np.testing.assert_array_equal(found.values, plain["ndcg@10"].values)


def test_the_cache_knows_models_by_their_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    encoder = Encoder.load(save_tiny(tmp_path / "bert"))
    task = load_task("pydocs").smaller(40)
    first = evaluate_grid(task, encoder, split="dev", cache=True)
    monkeypatch.setattr("mrl_tutorial.evaluation.quality.embed_task", None)  # would fail if it were called
    np.testing.assert_array_equal(evaluate_grid(task, encoder, split="dev", cache=True).values, first.values)
    with torch.no_grad():
        next(encoder.model.parameters()).mul_(1.5)
    with pytest.raises(TypeError):
        evaluate_grid(task, encoder, split="dev", cache=True)


def test_vectors_with_many_equal_ones_find_themselves():
    vectors = np.random.default_rng(0).normal(size=(80, D)).astype(np.float32)
    vectors[20:60] = vectors[20]
    task = SimpleNamespace(kind="vectors", name="mine", vectors=vectors[None], queries_index=np.array([3, 25, 70]))
    np.testing.assert_array_equal(evaluate_grid(task, dims=[D]).per_item, 1)
