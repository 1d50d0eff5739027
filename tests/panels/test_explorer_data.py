"""What comes with the explorer: read where everything agrees, nowhere else, and equal to what is computed anew."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from mrl_tutorial.evaluation.embeddings import embed_task
from mrl_tutorial.evaluation.measures import subsample
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads
from mrl_tutorial.panels.explorer import GridExplorer
from mrl_tutorial.panels.explorer_tables import ExplorerTables
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.topk import unit
from tools.explorer_data import EXAMPLES, FOLDER


class Encoded(Exception):
    """Something was encoded."""


@pytest.fixture(autouse=True)
def cold(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MRL_PRECISION", "fp32")


@pytest.fixture
def nothing_encodes(monkeypatch):
    def encoded(*args, **options):
        raise Encoded

    monkeypatch.setattr(Encoder, "encode_layers", encoded)


@pytest.fixture(scope="module")
def task():
    return load_task("pydocs")


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load()


@pytest.mark.parametrize("examples", EXAMPLES)
def test_the_first_panel_needs_no_encoding(task, encoder, nothing_encodes, examples):
    panel = GridExplorer(task, {"any name": encoder}, examples=examples)
    assert len(panel._examples) == examples == len(panel._data["answers"]["any name"])
    assert all(np.isfinite(table["any name"]).all() for table in panel.model.tables.values())


@pytest.mark.parametrize("how", ["bf16 on a processor", "a GPU"])
def test_what_was_measured_in_float32_serves_every_machine(task, encoder, nothing_encodes, monkeypatch, how):
    exact = GridExplorer(task, {"plain": encoder}, examples=5)
    if how == "a GPU":
        encoder = copy.copy(encoder)
        encoder.device = "cuda"
    monkeypatch.setenv("MRL_PRECISION", "bf16")
    panel = GridExplorer(task, {"plain": encoder}, examples=5)
    assert panel._examples == exact._examples and len(panel._data["answers"]["plain"]) == 5
    for metric, tables in exact.model.tables.items():
        np.testing.assert_array_equal(panel.model.tables[metric]["plain"], tables["plain"])
    with pytest.raises(Encoded):  # of what does not come with the course
        panel.model.answer("plain", next(text for text in panel.model._judged if text not in panel._examples))


@pytest.mark.parametrize("other", ["corpus", "model", "split", "queries", "evaluation"])
def test_of_anything_else_nothing_is_read(task, encoder, nothing_encodes, monkeypatch, other):
    options = {"split": {"split": "test"}, "queries": {"max_queries": 299}}.get(other, {})
    task = task.smaller(5000) if other == "corpus" else task
    encoder = encoder.with_heads(Heads(encoder.n_layers, encoder.width)) if other == "model" else encoder
    if other == "evaluation":
        monkeypatch.setattr("mrl_tutorial.evaluation.quality.VERSION", "another")
    with pytest.raises(Encoded):
        ExplorerTables(task, encoder, **options).measure("plain")


def test_it_is_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 400_000


def test_answers_agree_with_documents_that_are_encoded_anew(task, encoder):
    """In double precision, on a sample: the best documents in their order, the others below them, ranks as scores."""
    panel, rng = GridExplorer(task, encoder), np.random.default_rng(0)
    names, texts = list(task.corpus), list(task.corpus.values())
    for query, dim in zip(panel._examples[:3], (16, 64, 384), strict=True):
        answer = panel.model.answer("plain", query)
        ids, (right,) = answer["ids"][:, dim - 1].astype(int), answer["relevant"]  # (layers, 10)
        (asked,) = [q for q in task.judged("dev") if " ".join(task.queries[q].split()) == query]
        assert task.relevant(asked) == [names[right]]
        rows = [right, *np.unique(ids), *rng.choice(len(texts), 20, replace=False)]
        vectors = encoder.encode_layers([query, *(texts[row] for row in rows)], cache=False).astype(float)[:, :, :dim]
        for layer, (question, *documents) in enumerate(unit(vectors)):
            score = dict(zip(rows, np.array(documents) @ question, strict=True))
            best = [score[row] for row in ids[layer]]
            rest = [score[row] for row in rows if row not in ids[layer]]
            assert (np.diff(best) < 1e-5).all() and max(rest) < best[-1] + 1e-5
            rank = answer["ranks"][0, layer, dim - 1]
            assert (rank <= 10) == (right in ids[layer])
            if rank <= 10:
                assert ids[layer][rank - 1] == right
        if dim == encoder.width:
            ordered = sorted(score, key=lambda row: answer["full"][row])
            assert (np.diff([score[row] for row in ordered]) < 1e-5).all()


def test_quality_agrees_with_a_layer_that_is_measured_anew(task, encoder):
    """Every measure from the rank of a query's one document, in double precision, with layer 1 encoded anew."""
    model = ExplorerTables(task, encoder)
    model.measure("plain")
    parts = embed_task(task, encoder, "dev", layers=[1])
    row = {name: i for i, name in enumerate(task.corpus)}
    judged = task.judged("dev")
    kept = subsample(judged, model.max_queries)
    asked = [judged[i] for i in kept]
    right = np.array([[row[name] for name in task.relevant(query)] for query in asked])
    assert right.shape == (model.max_queries, 1)
    for dim in (8, 100, 384):
        queries, documents = (unit(parts[part][0, :, :dim].astype(float)) for part in ("queries", "documents"))
        scores = queries[kept] @ documents.T
        rank = 1 + (scores > np.take_along_axis(scores, right, 1)).sum(1)
        want = {"ndcg@10": (rank <= 10) / np.log2(1 + rank), "mrr@10": (rank <= 10) / rank, "recall@100": rank <= 100}
        want |= {"map@10": want["mrr@10"] / 10, "precision@10": (rank <= 10) / 10}  # one relevant document, k = 10
        assert want.keys() == set(model.metrics)
        for metric, values in want.items():
            assert model.tables[metric]["plain"][0, dim - 1] == pytest.approx(values.mean(), abs=1e-3)
