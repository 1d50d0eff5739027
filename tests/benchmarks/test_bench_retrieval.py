"""The retrieval benchmark: its sentences, its fitted vectors, its measure, and a small run on made vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import fitted, retrieval_parts, retrieval_report, sentences
from benchmarks import retrieval as bench
from mrl_tutorial.errors import InputError
from mrl_tutorial.topk import unit
from tests.helpers.engines import skip_without

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


def clustered(n, width, seed=0):
    """Vectors in clusters, whose later coordinates carry less and less."""
    rng = np.random.default_rng(seed)
    centers = 4 * rng.standard_normal((40, width)) * np.linspace(1.5, 0.2, width)
    spread = np.linspace(1, 0.1, width)
    return unit(centers[rng.integers(0, 40, n)] + rng.standard_normal((n, width)) * spread).astype(np.float32)


def test_shape_is_that_of_a_loop():
    x = clustered(300, 12)
    found = fitted.shape(x)
    cosines = x.astype(np.float64) @ x.T
    np.fill_diagonal(cosines, -2)
    ordered = -np.sort(-cosines, axis=1)
    for name, rank in (("nearest", 1), ("tenth", 10), ("hundredth", 100)):
        assert found[name] == pytest.approx(ordered[:, rank - 1].mean(), abs=1e-5)
    values = np.linalg.eigvalsh(x.T.astype(np.float64) @ x)
    assert found["participation_ratio"] == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-4)


def test_moved_vectors_stay_near_real_ones_and_along_their_differences():
    x = clustered(3000, 24)
    step = fitted.steps(x, 500)
    assert step.shape == (500, 24)
    sampled = fitted.moved(x, 6000, 0.3, 1, step)
    np.testing.assert_allclose(np.linalg.norm(sampled, axis=1), 1, rtol=1e-5)
    assert np.array_equal(sampled, fitted.moved(x, 6000, 0.3, 1, step))
    near = (sampled @ x.T).max(1)
    assert near.mean() > 0.97 and len(np.unique(sampled, axis=0)) == 6000
    assert fitted.moved(x, 6000, 0.9, 1, step)[:, :].shape == (6000, 24)
    assert (fitted.moved(x, 6000, 0.9, 1, step) @ x.T).max(1).mean() < near.mean()
    real, made = fitted.shape(x), fitted.shape(sampled)
    assert made["participation_ratio"] == pytest.approx(real["participation_ratio"], rel=0.15)


KEPT = {
    "hnsw-int8": {"ef": 50},
    "ivfpq": {"probe": 8, "codes": 6, "lists": 9},
    "pq": {"codes": 12},
    "rabitq": {},
    "vamana-lvq": {"window": 30, "links": 16},
    "leanvec": {"window": 30, "links": 16, "reduced": 8},
}


@pytest.mark.parametrize("engine, options", KEPT.items())
def test_an_index_that_was_kept_finds_what_it_found_before(tmp_path, monkeypatch, engine, options):
    skip_without(engine)
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    x = clustered(2500, 24)
    first, about = retrieval_parts.kept_index("part", engine, x, 12, options)
    again, same = retrieval_parts.kept_index("part", engine, x, 12, options)
    assert about == same and set(about) == {"build_seconds", "busy"}
    assert first.cost.nbytes == again.cost.nbytes and again.n == 2500
    np.testing.assert_array_equal(first.search(x[:50], 10)[0], again.search(x[:50], 10)[0])


def test_a_larger_part_is_as_near_as_the_real_one_and_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    monkeypatch.setattr(retrieval_parts, "sentence_vectors", lambda width, quick: clustered(800, 160))
    part = retrieval_parts.load_part("large", quick=True)
    assert part.documents.shape == (3700, 160) and part.queries.shape == (300, 160)
    assert part.shape["made"]["nearest"] == pytest.approx(part.shape["real"]["nearest"], abs=0.05)
    exact = np.argsort(-(part.queries.astype(np.float64) @ part.documents.T), axis=1)[:, :10]
    np.testing.assert_array_equal(np.sort(part.truth), np.sort(exact))
    monkeypatch.setattr(retrieval_parts, "sentence_vectors", lambda *args: pytest.fail("made again"))
    np.testing.assert_array_equal(retrieval_parts.load_part("large", quick=True).documents, part.documents)


def rows_of(way, engine, dim, *settings):
    return [
        {"way": way, "engine": engine, "dim": dim, "recall": r, "per_second": q, "p50": p, "p95": p, "bytes": 1,
         "tune": {"recall": t, "batch": 1 / q, "single": p}}
        for t, r, q, p in settings
    ]  # fmt: skip


def test_settings_are_chosen_on_tuning_queries_for_each_race():
    rows = rows_of("float32, 64", "float32", 64, (1, 1, 100, 20))
    rows += rows_of("graph, 64", "graph", 64, (0.981, 0.99, 900, 1), (0.984, 0.979, 500, 4), (0.99, 0.985, 400, 3))
    rows += rows_of("graph, 16, rerank float32", "graph", 16, (0.99, 0.981, 1000, 2))
    rows += rows_of("poor, 64", "poor", 64, (0.9, 0.99, 5000, 1))
    found = {row["way"]: row for row in retrieval_report.compared(rows, 0.98)}
    assert list(found) == ["float32, 64", "graph, 64", "graph, 16, rerank float32"]
    graph, short = found["graph, 64"], found["graph, 16, rerank float32"]
    assert graph["batch"]["per_second"] == 500 and graph["single"]["p50"] == 3  # another setting for each race
    assert graph["batch_x_exact"] == 5 and graph["single_x_exact"] == pytest.approx(20 / 3)
    assert short["batch_x_full"] == 2 and short["single_x_full"] == 1.5
    assert "graph, 16" in retrieval_report.table(rows) and "poor" not in retrieval_report.table(rows)


def test_a_small_run_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    pytest.importorskip("faiss")
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(retrieval_parts, "sentence_vectors", lambda width, quick: clustered(1800, 160))
    every, some = bench.ways, ("topk", "float32", "torch-bfloat16", "hnsw-int8", "binary", "vamana-lvq")
    build = bench.kept_index

    def kept(name, engine, *given):
        if engine == "vamana-lvq":
            raise InputError("not on this machine")
        return build(name, engine, *given)

    monkeypatch.setattr(bench, "kept_index", kept)
    monkeypatch.setattr(bench, "SECONDS", 0.0)
    monkeypatch.setattr(retrieval_parts, "BUILDERS", 1)
    monkeypatch.setattr(bench, "ways", lambda n, width: [way for way in every(n, width) if way.engine in some])
    path = tmp_path / "r.json"
    found = bench.run(json=str(path), quick=True)
    assert list(found["parts"]) == ["real", "hard"] and json.loads(path.read_text()) == found
    for part in found["parts"].values():
        assert (part["documents"], part["width"]) == (1500, 160)
        assert set(part["left_out"].values()) == {"not on this machine"}
        rows = [row for row in part["rows"] if "p50" in row]
        assert {row["engine"] for row in rows} >= {"float32", "torch-bfloat16", "hnsw-int8"}
        assert all(row["recall"] == 1 for row in rows if row["engine"] in ("topk", "float32") and row["dim"] == 160)
        assert all(row["p95"] >= row["p50"] > 0 and row["per_second"] > 0 and row["bytes"] > 0 for row in rows)
        figure = retrieval_report.picture([part, part], "title")
        assert len(figure["data"]) == 4 * (1 + len({row["way"] for row in part["rows"]}))
    exact = next(row for row in found["parts"]["real"]["rows"] if row["engine"] == "topk")
    assert exact["bytes"] == 4 * 1500 * 160
    assert "recall@10 >= 0.98" in capsys.readouterr().out
    monkeypatch.setattr(bench, "measure", lambda *args: pytest.fail("measured again"))
    bench.run(json=str(path), quick=True)
