"""The retrieval benchmark: its sentences, its fitted vectors, its measure, and a small run on made vectors."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import fitted, sentences
from benchmarks import retrieval as bench
from mrl_tutorial.topk import unit

SOURCE = '''
def solve(a):
    """Solve a system of linear equations.

    Parameters
    ----------
    a : array
        The matrix of the system, which must be square.

    >>> solve([[1.0]])
    """

def _hidden():
    """The private ones are read as well."""
'''


def test_sentences_of_docstrings_and_parameters(tmp_path):
    (tmp_path / "a.py").write_text(SOURCE)
    (tmp_path / "b.py").write_text("def broken(:")
    assert sentences.read_sentences([tmp_path / "a.py", tmp_path / "b.py", tmp_path / "none.py"]) == [
        "Solve a system of linear equations.", "The matrix of the system, which must be square.",
        "The private ones are read as well.",
    ]  # fmt: skip


def test_no_sentence_twice_and_the_cache_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    for name in ("a", "b"):
        text = f"This is said in both of the files. This is only in {name} of the two."
        (tmp_path / f"{name}.py").write_text(f'"""{text}"""')
    monkeypatch.setattr(sentences, "list_sources", lambda: [tmp_path / "a.py", tmp_path / "b.py"])
    first = sentences.load_sentences()
    assert first == [
        "This is said in both of the files.", "This is only in a of the two.", "This is only in b of the two."
    ]  # fmt: skip
    monkeypatch.setattr(sentences, "read_sentences", lambda files: pytest.fail("read again"))
    assert sentences.load_sentences() == first


def test_rotation_keeps_cosines_and_orders_coordinates():
    rng = np.random.default_rng(0)
    x = unit(rng.standard_normal((500, 20)) @ rng.standard_normal((20, 20)))
    rotated = x @ fitted.rotation(x)
    np.testing.assert_allclose(rotated @ rotated.T, x @ x.T, atol=1e-5)
    assert (np.diff((rotated**2).mean(0)) <= 1e-9).all()


def test_fitted_vectors_have_the_spectrum_and_the_clusters():
    rng = np.random.default_rng(0)
    centers = 4 * rng.standard_normal((6, 24)) * np.linspace(1.5, 0.2, 24)
    x = unit(centers[rng.integers(0, 6, 6000)] + rng.standard_normal((6000, 24)) * np.linspace(1, 0.1, 24))
    sampled = fitted.fit(x, 6)(6000, 1)
    real, made = fitted.shape(x), fitted.shape(sampled)
    assert made["participation_ratio"] == pytest.approx(real["participation_ratio"], rel=0.05)
    assert made["nearest"] == pytest.approx(real["nearest"], abs=0.02)
    spectrum = [np.linalg.eigvalsh(np.cov(v.T))[::-1][:10] for v in (x, sampled)]
    np.testing.assert_allclose(spectrum[1], spectrum[0], rtol=0.15)
    assert np.array_equal(sampled, fitted.fit(x, 6)(6000, 1))


def test_quality_of_a_list_against_exact_search():
    truth = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    assert bench.quality(truth[:, ::-1], truth) == (1.0, pytest.approx(1.0))
    recall, ndcg = bench.quality(np.array([[1, 2, 3, 9], [9, 5, 6, 7]]), truth)
    gains = 1 / np.log2([2, 3, 4, 5])
    assert recall == 0.75 and ndcg == pytest.approx((gains[:3].sum() + gains[1:].sum()) / 2 / gains.sum())


def test_a_small_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((1, 700, 72)) * np.linspace(2, 0.1, 72)).astype(np.float32)
    encoder = SimpleNamespace(name="made", n_layers=1, encode_layers=lambda texts, layers: vectors[:, : len(texts)])
    monkeypatch.setattr(bench.Encoder, "load", lambda: encoder)
    monkeypatch.setattr(bench, "load_sentences", lambda every: ["text"] * 700)
    result = bench.run(json=str(tmp_path / "r.json"), quick=True)
    assert [part["name"] for part in result["parts"]] == ["real sentences", "vectors fitted to them"]
    for part in result["parts"]:
        rows = {row["way"]: row for row in part["rows"]}
        exact = rows["exact"]
        assert exact["recall@10"] == 1 and exact["times_exact"] == 1 and exact["equal"]
        assert rows["exact, FAISS"]["recall@10"] > 0.99 and {"two stages", "funnel", "binary + rerank"} <= set(rows)
        assert all(row["p95_ms"] >= row["p50_ms"] > 0 and row["bytes"] > 0 for row in rows.values())
        assert exact["bytes"] == 4 * part["documents"] * (part["width"] + 1)
        assert all(row["equal"] == (max(row["recall@10"], row["ndcg@10"]) >= 0.995) for row in rows.values())
    assert json.loads((tmp_path / "r.json").read_text())["bench"] == "retrieval"
    assert "queries/s" in capsys.readouterr().out
