"""Plans against the same path run for itself, on a small task whose best plan is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.metrics import judge, retrieval_metric
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.retrieval import costs, planner
from mrl_tutorial.retrieval.planner import Chance, plan_retrieval
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import Stage
from mrl_tutorial.tasks.types import RetrievalTask, STSTask

L, N, D, Q = 2, 400, 32, 120


def make(seed: int = 0):
    """Documents whose first 16 coordinates hold nearly everything, in layer 2 more than in layer 1."""
    rng = np.random.default_rng(seed)
    fade = np.where(np.arange(D) < 16, 1.0, 0.05)
    documents = (rng.standard_normal((N, D)) * fade).astype(np.float32)
    layers = np.stack([documents + 0.9 * fade * rng.standard_normal((N, D)), documents]).astype(np.float32)
    noise = np.stack([0.8 * rng.standard_normal((Q, D)), 0.7 * rng.standard_normal((Q, D))]) * fade
    queries = (documents[:Q] + noise).astype(np.float32)
    splits = {"dev": [f"q{i}" for i in range(60)], "test": [f"q{i}" for i in range(60, Q)] + ["lost"]}
    qrels = {f"q{i}": {f"d{i}": 2, f"d{i + 1}": 0} for i in range(Q)}
    corpus, asked = {f"d{i}": str(i) for i in range(N)}, {f"q{i}": str(i) for i in range(Q)} | {"lost": "?"}
    task = RetrievalTask("small", "made", corpus, asked, qrels, splits)
    parts = {"dev": queries[:, :60], "test": queries[:, 60:]}
    return task, {split: {"queries": part, "documents": layers} for split, part in parts.items()}


TASK, EMBEDDINGS = make()


def measured(stages, split, metric="ndcg@10", k=10) -> float:
    """The mean measure of a path that is run by itself, from ranks counted one by one."""
    ids = list(TASK.corpus)
    found = Retriever(EMBEDDINGS[split]["documents"], stages, ids=ids).search(EMBEDDINGS[split]["queries"], k)
    queries = TASK.judged(split)
    judged = judge(queries, ids, TASK.qrels)
    names = found.names()
    ranks = []
    for pair in range(len(judged.query)):
        document = ids[judged.order[judged.column[pair]]]
        listed = names[judged.query[pair]]
        ranks.append(listed.index(document) + 1 if document in listed else 10**6)
    return float(retrieval_metric(metric, np.array(ranks), judged).mean())


ENGINES = ("float32", "torch-int8", "binary")


def test_every_plan_gives_what_its_path_gives():
    options = {"layers": "all", "dims": [4, 16], "depths": (10, 40), "engines": ENGINES}
    planned = plan_retrieval(TASK, EMBEDDINGS, **options)
    assert len(planned.tried) == 1 + 12 + 2 * sum(
        len({(to, kind) for to in {layer, 2} for kind in ("float32", "int8")})
        for layer in (1, 2) for dim in (4, 16) for engine in ENGINES
    )  # fmt: skip
    for plan in planned.tried[::5]:
        assert plan.dev == pytest.approx(measured(plan.stages, "dev"), abs=2e-3), plan
        assert plan.test is None and plan.ms is None
    for plan in (planned.chosen, planned.full, *planned.front):
        assert plan.dev == pytest.approx(measured(plan.stages, "dev"), abs=1e-12)
        assert plan.test == pytest.approx(measured(plan.stages, "test"), abs=1e-12)
        assert plan.ms > 0


def test_full_size_is_the_grids_last_cell():
    planned = plan_retrieval(TASK, EMBEDDINGS, dims=[8], depths=(20,))
    for split, value in (("dev", planned.full.dev), ("test", planned.full.test)):
        grid = evaluate_grid(TASK, embeddings=EMBEDDINGS[split], split=split)
        assert value == pytest.approx(grid.at(2, D), abs=1e-6)
    assert planned.full.flops == N * D and planned.full.bytes_held == planned.full.bytes_read == 4 * N * (D + 1)


@pytest.mark.parametrize("cost, race", [("flops", "single"), ("bytes_read", "single"), ("bytes_held", "batch")])
def test_the_chosen_plan_is_the_cheapest_that_is_good_enough(cost, race):
    options = {"cost": cost, "race": race, "layers": "all", "dims": [4, 8, 16, D], "threads": 2}
    planned = plan_retrieval(TASK, EMBEDDINGS, 0.97, **options)
    assert planned.chosen.dev >= 0.97 * planned.full.dev - 1e-3 and planned.chosen.chance >= 0.9
    cheaper = [p for p in planned.tried if getattr(p, cost) < getattr(planned.chosen, cost)]
    assert cheaper and all(p.dev < 0.97 * planned.full.dev or p.chance < 0.9 for p in cheaper)
    assert getattr(planned.chosen, cost) < getattr(planned.full, cost)
    front = [getattr(p, cost) for p in planned.front]
    assert front == sorted(front)
    assert "*" in planned.as_text() and "MFLOPs" in planned.as_text()
    bolder = plan_retrieval(TASK, EMBEDDINGS, 0.97, **options, chance=0.1)
    assert getattr(bolder.chosen, cost) <= getattr(planned.chosen, cost)


def test_plans_by_milliseconds(monkeypatch):
    """The clock says that a stage takes its dimension, a rerank a quarter of it, and encoding 100 a layer."""

    def clock(search, queries, race, repeats=3):
        assert race == "batch"
        if queries.dtype == int:
            asked.clear()
            search(queries)
            return 100.0 * asked[-1]["layers"][0]
        stages = search.func.__self__.stages
        return stages[0].dim + sum(stage.dim / 4 for stage in stages[1:])

    asked = []
    encoder = SimpleNamespace(
        n_layers=L,
        similarity="cosine",
        encode_layers=lambda texts, **given: asked.append(given),
    )
    monkeypatch.setattr(planner, "milliseconds", clock)
    monkeypatch.setattr(planner, "meant", lambda task, encoder: (task, encoder))
    options = {"cost": "ms", "race": "batch", "dims": [8, 16], "engines": ["float32"], "query_layers": [1]}
    planned = plan_retrieval(TASK, EMBEDDINGS, 0.97, encoder=encoder, **options)
    for plan in planned.tried:
        layer = plan.stages[0].query_layer or L
        assert all((s.query_layer or L) == layer for s in plan.stages)
        assert plan.ms == 100 * layer + plan.stages[0].dim + sum(stage.dim / 4 for stage in plan.stages[1:])
    good = [p for p in planned.tried if p.chance >= 0.9 and p.dev >= 0.97 * planned.full.dev]
    assert planned.chosen.ms == min(p.ms for p in good) and {p.stages[0].query_layer for p in planned.tried} == {
        None,
        1,
    }
    early = next(p for p in planned.tried if p.stages[0].query_layer == 1 and len(p.stages) == 1)
    fixed = evaluate_grid(TASK, embeddings=EMBEDDINGS["dev"], split="dev", fixed_document=True)
    assert early.dev == pytest.approx(fixed.at(1, early.stages[0].dim), abs=1e-6)


def test_milliseconds_are_measured():
    planned = plan_retrieval(TASK, EMBEDDINGS, cost="ms", dims=[8], depths=(20,), engines=["float32", "torch-int8"])
    assert all(0 < plan.ms < 1000 for plan in planned.tried)
    with pytest.raises(InputError, match=r"the flops of .* are not known: plan by ms"):
        pytest.importorskip("svs")
        plan_retrieval(TASK, EMBEDDINGS, dims=[8], depths=(20,), engines=["vamana"])


@pytest.mark.parametrize("layers", [[2], [1]])
@pytest.mark.parametrize("last", [True, False])
def test_the_code_runs_the_chosen_plan(layers, last):
    """Also where the plan was made of the last layer's vectors alone, and where it needs an early layer."""
    embeddings = EMBEDDINGS
    if last:
        embeddings = {split: {part: x[-1:] for part, x in parts.items()} for split, parts in EMBEDDINGS.items()}
    options = {
        "layers": [1] if last else layers,
        "dims": [16],
        "depths": (20, 200),
        "engines": ["float32", "torch-int8"],
    }
    planned = plan_retrieval(TASK, embeddings, 0.85, **options, cost="bytes_read")
    parts = EMBEDDINGS["test"]

    class Known:
        n_layers, similarity = L, "cosine"

        def encode_layers(self, texts, *, prompt, layers=(1, 2), cache=True):
            if prompt == "document":
                assert list(texts) == list(TASK.corpus.values())
            return np.stack([parts["documents" if prompt == "document" else "queries"][layer - 1] for layer in layers])

    names = {"encoder": Known(), "task": TASK, "queries": [TASK.queries[q] for q in TASK.judged("test")]}
    exec(planned.code, names)
    ranks = [row.index(f"d{60 + i}") + 1 if f"d{60 + i}" in row else 10**6 for i, row in enumerate(names["found"])]
    found = np.mean([1 / np.log2(rank + 1) if rank <= 10 else 0 for rank in ranks])
    assert found == pytest.approx(planned.chosen.test, abs=1e-12) and planned.code.count("\n") <= 4
    assert planned.chosen.stages != planned.full.stages


def test_the_chance_is_that_of_new_queries():
    """Against drawing new queries from where the measured ones came from, many times."""
    rng = np.random.default_rng(0)
    full = rng.uniform(0.2, 1, 5000)
    loss = np.where(rng.random(5000) < 0.1, -0.3, 0.02)
    promised, kept = [], []
    for _ in range(200):
        dev, test = rng.integers(0, 5000, 150), rng.integers(0, 5000, 100)
        promised.append(Chance(0.98, 150, 100).of((full + loss)[dev], full[dev]))
        kept.append((full + loss)[test].mean() >= 0.98 * full[test].mean())
    assert np.mean(promised) == pytest.approx(np.mean(kept), abs=0.1)
    assert 0.3 < np.mean(kept) < 0.97
    assert (
        Chance(0.99, 50, 50).of(full[:50], full[:50]) == 1 and Chance(0.99, 50, 50).of(0.5 * full[:50], full[:50]) == 0
    )


def test_flops_are_the_papers_formula():
    options = {"layers": "all", "dims": [8], "depths": (50,), "engines": ["float32"], "reranking": ["float32"]}
    plain = plan_retrieval(TASK, EMBEDDINGS, **options).tried
    assert {p.flops for p in plain if len(p.stages) == 2} == {costs.adaptive_flops(N, 8, 50, D)}
    assert {len(p.stages) for p in plain} == {1, 2} and {p.stages[-1].layer for p in plain} == {1, 2}


def test_blocks_of_queries_change_nothing(monkeypatch):
    options = {"layers": "all", "dims": [8], "depths": (20, 50)}
    whole = plan_retrieval(TASK, EMBEDDINGS, **options)
    for limit in (1, 7 * N):
        monkeypatch.setattr("mrl_tutorial.retrieval.planner.SCORES", limit)
        other = plan_retrieval(TASK, EMBEDDINGS, **options)
        assert [p.dev for p in other.tried] == pytest.approx([p.dev for p in whole.tried], abs=2e-3)


def test_shortlists_longer_than_the_corpus_and_shorter_than_the_list():
    planned = plan_retrieval(TASK, EMBEDDINGS, 1.0, dims=[4], depths=(5, 10**6), engines=["float32"])
    kept = {plan.stages[0].depth for plan in planned.tried if len(plan.stages) == 2}
    assert kept == {N}
    two = [plan for plan in planned.tried if len(plan.stages) == 2 and plan.stages[1].engine == "float32"]
    assert two[0].dev == pytest.approx(planned.full.dev, abs=1e-9)


def test_what_cannot_rerank_is_refused_before_any_search(monkeypatch):
    monkeypatch.setattr(Retriever, "search", lambda *given: pytest.fail("searched"))
    with pytest.raises(InputError, match="'binary' cannot be stage 2"):
        plan_retrieval(TASK, EMBEDDINGS, reranking=("float32", "binary"))


def _with(split, part, change):
    changed = {s: dict(parts) for s, parts in EMBEDDINGS.items()}
    changed[split][part] = change(changed[split][part].copy())
    return changed


def _nan(x):
    x[1, 3, 4] = np.nan
    return x


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: plan_retrieval(TASK, EMBEDDINGS, 1.5), "target 1.5"),
        (lambda: plan_retrieval(TASK, EMBEDDINGS, metric="map"), "give a cut-off, as in map@10"),
        (lambda: plan_retrieval(TASK, EMBEDDINGS, metric="spearman"), "not a retrieval measure"),
        (lambda: plan_retrieval(TASK, EMBEDDINGS, cost="euros"), "cost 'euros' is unknown"),
        (lambda: plan_retrieval(TASK, EMBEDDINGS, dims=[33]), "dimension 33"),
        (lambda: plan_retrieval(TASK, EMBEDDINGS, layers=[3]), "layer 3"),
        (lambda: plan_retrieval(TASK, EMBEDDINGS, engines=["flat"]), "'flat' cannot be stage 1"),
        (lambda: plan_retrieval(TASK, EMBEDDINGS, reranking=["binary"]), "'binary' cannot be stage 2"),
        (
            lambda: plan_retrieval(TASK, EMBEDDINGS, race="relay"),
            "race 'relay' is unknown: choose one of single, batch",
        ),
        (lambda: plan_retrieval(TASK, EMBEDDINGS, query_layers=[3]), "layer 3"),
        (lambda: plan_retrieval(TASK, EMBEDDINGS, depths=()), "nothing to choose from"),
        (lambda: plan_retrieval(TASK, {"dev": EMBEDDINGS["dev"]}), "lack the split 'test'"),
        (lambda: plan_retrieval(TASK, _with("test", "queries", lambda x: x[:, :5])), "hold 5 items, the task has 60"),
        (lambda: plan_retrieval(TASK, _with("dev", "documents", _nan)), r"NaN or infinity \(row 3\)"),
        (lambda: plan_retrieval(TASK, _with("test", "queries", _nan)), r"test queries, layer 2 hold NaN .*\(row 3\)"),
        (lambda: plan_retrieval(STSTask("s", "made", {}), EMBEDDINGS), "'sts' task has no documents"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(InputError, match=words):
        call()


class OfDots:
    """What `plan_retrieval` and `Retriever` know of an encoder: how it compares."""

    similarity = "dot"

    def encode_layers(self, texts, **options):
        raise AssertionError("there are embeddings")


def test_plans_compare_as_the_encoder_does():
    options = {"dims": [4, D], "engines": ["float32"], "reranking": ["float32"], "depths": (10,)}
    by = {cosine: plan_retrieval(TASK, EMBEDDINGS, **options, cosine=cosine).tried for cosine in (True, False)}
    assert [p.dev for p in by[True]] != [p.dev for p in by[False]]
    assert plan_retrieval(TASK, EMBEDDINGS, **options).tried == by[True]
    assert plan_retrieval(TASK, EMBEDDINGS, encoder=OfDots(), **options).tried == by[False]
    assert plan_retrieval(TASK, EMBEDDINGS, encoder=OfDots(), cosine=True, **options).tried == by[True]
    with pytest.raises(InputError, match="give embeddings, as embed_splits makes them, or an encoder"):
        plan_retrieval(TASK, **options)


def test_a_search_compares_as_the_encoder_does():
    documents = np.array([[3.0, 3.0], [1.0, 0.0]], dtype=np.float32)
    query = np.array([1.0, 0.0])
    for given, best in (({}, 1), ({"encoder": OfDots()}, 0), ({"encoder": OfDots(), "cosine": True}, 1)):
        assert Retriever(documents, [Stage(2)], **given).search(query, 1).rows.tolist() == [best]
