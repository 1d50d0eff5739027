"""mteb on an exported folder, with tasks that are laid out on disk: its numbers are those of `evaluate_grid`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.export import export
from mrl_tutorial.tasks.load import load_task
from tests.helpers.tiny import WORDS, save_tiny

pytest.importorskip("mteb")

# what mteb and datasets read of a folder in BEIR layout
CARD = """---
configs:
- config_name: default
  data_files: [{split: test, path: qrels/test.jsonl}]
- config_name: corpus
  data_files: [{split: corpus, path: corpus.jsonl}]
- config_name: queries
  data_files: [{split: queries, path: queries.jsonl}]
---
"""


def sentence(i: int) -> str:
    """Six words. No two documents are alike: they would tie, and rounding would order them."""
    return " ".join(np.random.default_rng(i).choice(WORDS, 6, replace=False))


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def retrieval(tmp_path_factory):
    """60 documents, 20 queries, each with three graded documents."""
    folder = tmp_path_factory.mktemp("retrieval") / "own"
    documents = [sentence(i) for i in range(60)]
    assert len(set(documents)) == 60
    lines(folder / "corpus.jsonl", [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(documents)])
    lines(folder / "queries.jsonl", [{"_id": f"q{i}", "text": sentence(3 * i + 1)[:25]} for i in range(20)])
    judged = [(f"q{i}", f"d{(3 * i + k) % 60}", 1 + k % 2) for i in range(20) for k in (0, 1, 7)]
    rows = [dict(zip(("query-id", "corpus-id", "score"), row, strict=True)) for row in judged]
    lines(folder / "qrels" / "test.jsonl", rows)
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """40 pairs with scores from 0 to 5."""
    folder = tmp_path_factory.mktemp("graded") / "own"
    rows = [{"sentence1": sentence(i), "sentence2": sentence(2 * i), "score": float(i % 6)} for i in range(40)]
    lines(folder / "test.jsonl", rows)
    return folder


def of_mteb(kind, folder, cell):
    """All scores that mteb gives a folder of sentence-transformers."""
    import mteb
    from mteb.abstasks import AbsTaskRetrieval, AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    base, score = {"Retrieval": (AbsTaskRetrieval, "ndcg_at_10"), "STS": (AbsTaskSTS, "cosine_spearman")}[kind]
    about = TaskMetadata(
        name="Own", description="made up", type=kind, dataset={"path": str(folder), "revision": "main"},
        eval_langs=["eng-Latn"], main_score=score,
    )  # fmt: skip
    task = type("Own", (base,), {"metadata": about})()
    model = SentenceTransformer(str(cell), device="cpu")
    (result,) = mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results
    return result.scores["test"][0]


@pytest.mark.parametrize("cell", [(2, 8), (3, 32)])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_search(retrieval, tmp_path, monkeypatch, cell, similarity):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "arrow")  # the variable is read on import
    prompts = {"query": "a node : ", "document": "the matrix "}
    encoder = Encoder.load(save_tiny(tmp_path / "tiny"), prompts=prompts, similarity=similarity)
    folder = export(encoder, tmp_path / "cell", *cell)
    found = of_mteb("Retrieval", retrieval, folder)
    names = {"ndcg@10": "ndcg_at_10", "mrr@10": "mrr_at_10", "recall@10": "recall_at_10", "map": "map_at_1000"}
    options = {"metric": list(names), "precision": "fp32"}
    again = evaluate_grid(load_task(retrieval), Encoder.load(folder), **options)
    before = evaluate_grid(load_task(retrieval), encoder, layers=[cell[0]], dims=[cell[1]], **options)
    for ours, theirs in names.items():
        assert again[ours].at(*cell) == pytest.approx(found[theirs], abs=1e-4), ours
        assert before[ours].at(*cell) == pytest.approx(found[theirs], abs=1e-4), ours


def test_graded_pairs(graded, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "arrow")  # the variable is read on import
    encoder = Encoder.load(save_tiny(tmp_path / "tiny"))
    found = of_mteb("STS", graded, export(encoder, tmp_path / "cell", 2, 8))
    grid = evaluate_grid(load_task(graded), encoder, layers=[2], dims=[8], precision="fp32")
    assert grid.at(2, 8) == pytest.approx(found["cosine_spearman"], abs=1e-4)
