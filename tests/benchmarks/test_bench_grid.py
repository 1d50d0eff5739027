"""The benchmark of the grid: it agrees with sentence-transformers, and writes what it prints."""

from __future__ import annotations

import json

import pytest

from mrl_tutorial.tasks.types import RetrievalTask


def test_bench_agrees_with_sentence_transformers_and_writes_what_it_prints(monkeypatch, tmp_path, capsys):
    pytest.importorskip("sentence_transformers")
    from benchmarks import grid as bench

    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    words = ["apple", "river", "stone", "cloud", "engine", "violin", "market", "winter", "copper", "garden"]
    corpus = {f"d{i}": f"{a} and {b}" for i, (a, b) in enumerate((a, b) for a in words for b in words if a != b)}
    queries = {f"q{i}": text.replace(" and", " near the") for i, text in enumerate(list(corpus.values())[::5])}
    qrels = {q: {f"d{5 * i}": 1, f"d{5 * i + 1}": 2, f"d{5 * i + 2}": 0} for i, q in enumerate(queries)}
    task = RetrievalTask("words", "made up", corpus, queries, qrels, {"test": list(queries)})
    monkeypatch.setattr(bench, "load_task", lambda name: task)
    result = bench.run(json=str(tmp_path / "grid.json"), quick=True)
    assert json.loads((tmp_path / "grid.json").read_text()) == result
    assert result["largest_difference"] < 1e-6
    assert (result["cells"], result["queries"], result["documents"]) == (42, 18, 90)
    assert "extrapolated" in capsys.readouterr().out
