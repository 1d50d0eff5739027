"""The baselines of nested networks: their measures against plain loops, what is cached, and what the report says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evidence import baseline_report
from evidence import baselines_on_vectors as baselines

from mrl_tutorial.classification.labeled_vectors import scaled
from mrl_tutorial.classification.small_networks import NetworkConfig
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.metrics import judge, retrieval_metric

DIMS = (2, 4, 8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels, rows = np.arange(120) % 4, np.arange(120)
    x = (rng.normal(size=(4, 6))[labels] + 0.7 * rng.normal(size=(120, 6))).astype(np.float32)
    return scaled("made up", x, labels, [(rows[40:], rows[:40]), (rows[:80], rows[80:])])


def test_measures_are_those_of_plain_loops_and_of_the_package(data):
    rng = np.random.default_rng(2)
    base, queries = rng.normal(size=(2, 60, 8)).astype(np.float32), rng.normal(size=(2, 20, 8)).astype(np.float32)
    a, b = np.arange(60) % 3, np.arange(20) % 3
    got = baselines.quality(torch.tensor(base), a, torch.tensor(queries), b, DIMS)
    ids = [f"{i:03d}" for i in range(60)]
    judged = judge(
        [str(i) for i in range(20)], ids, {str(i): {ids[j]: 1 for j in range(60) if a[j] == b[i]} for i in range(20)}
    )
    for g in range(2):
        for j, m in enumerate(DIMS):
            p, q = (v[g, :, :m].astype(np.float64) for v in (base, queries))
            cosine = (q @ p.T) / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(p, axis=1)
            order = np.argsort(-cosine, axis=1)
            hits = (a[order] == b[:, None])[:, :10]
            assert np.array_equal(got["1nn"][g, j], hits[:, 0])
            assert np.allclose(got["p@10"][g, j], hits.mean(1))
            want = [sum(h[: i + 1].mean() for i in range(10) if h[i]) / 10 for h in hits]
            assert np.allclose(got["map@10"][g, j], want, atol=1e-6)
            ranks = np.empty_like(order)
            np.put_along_axis(ranks, order, np.arange(1, 61)[None].repeat(20, 0), axis=1)
            assert np.allclose(
                retrieval_metric("map@10", ranks[judged.query, judged.order[judged.column]], judged), want, atol=1e-6
            )
    with pytest.raises(InputError, match="ndcg"):
        baselines.quality(torch.tensor(base), a, torch.tensor(queries), b, DIMS, ["ndcg"])


def test_coarse_and_detail_look_at_groups_and_within_them():
    y = np.arange(200) % 4
    group = np.array([0, 0, 1, 1])
    coarse, detail = 2.0 * group[y] - 1, 2.0 * (y % 2) - 1
    x = torch.tensor(
        np.stack([coarse, detail], 1)[None] + 0.1 * np.random.default_rng(0).normal(size=(1, 200, 2))
    ).float()
    got = baselines.coarse_and_detail(x, y, x, y, group, [(0, 1), (1, 2)])
    assert got["coarse"][0, 0].mean() == 1 and got["detail"][0, 1].mean() == 1
    assert 0.3 < got["coarse"][0, 1].mean() < 0.7 and 0.3 < got["detail"][0, 0].mean() < 0.7
    lonely = baselines.coarse_and_detail(x, y, x, y, np.array([0, 0, 1, 2]), [(0, 2)])
    assert np.isnan(lonely["detail"][0, 0][y >= 2]).all() and not np.isnan(lonely["detail"][0, 0][y < 2]).any()


def test_baselines_are_trained_once_and_shaped_alike(data, monkeypatch):
    plan = NetworkConfig(dims=DIMS, width=8, hidden=12, epochs=2, batch=16)
    found = baselines.compare_baselines(data, plan, (0, 1))
    assert set(found) == set(baselines.NAMES)
    for name, outcome in found.items():
        assert all(v.shape == (2, 3, 80) for v in outcome.values()), name
    assert np.array_equal(found["prefix"]["1nn"][:, -1], found["alone"]["1nn"][:, -1])  # the same network, not cut
    assert np.allclose(found["random"]["p@10"][:, -1], found["prefix"]["p@10"][:, -1])  # all coordinates in any order
    monkeypatch.setattr(baselines, "train_networks", lambda *a, **k: pytest.fail("trained again"))
    again = baselines.compare_baselines(data, plan, (0, 1))
    assert all(np.array_equal(again[a][m], found[a][m]) for a in found for m in found[a])
    with pytest.raises(InputError, match="no baseline"):
        baselines.compare_baselines(data, plan, (0,), ["best"])


def test_principal_components_are_scikit_learns(data):
    from sklearn.decomposition import PCA

    features = torch.randn(2, 120, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9)
    got = baselines.shorten(data, features, "pca")
    for g, (train, _) in enumerate(data.rounds):
        want = PCA(8).fit(features[g, train].numpy()).transform(features[g].numpy())
        assert np.allclose(np.abs(got[g]), np.abs(want), atol=1e-3)
    shuffled = baselines.shorten(data, features, "random")
    assert torch.equal(shuffled.sort(-1).values, features.sort(-1).values) and not torch.equal(shuffled, features)


def test_gaps():
    better = baseline_report.gaps((2,), np.ones((2, 1, 50)), np.zeros((2, 1, 50))).iloc[0]
    assert better.better and better.not_worse and not better.worse and better.difference == 1


def test_figures_and_tables_hold_the_means():
    rng = np.random.default_rng(0)
    outcomes = {name: {m: rng.random((3, 2, 30)) for m in ("1nn", "map@10")} for name in ("MRL", "alone")}
    figure = baseline_report.curves((2, 4), outcomes, ("1nn", "map@10"))
    assert len(figure.data) == 4 and np.allclose(figure.data[3].y, outcomes["alone"]["map@10"].mean((0, 2)), atol=1e-4)
    assert (
        baseline_report.table((2, 4), outcomes, "1nn")
        .loc["MRL", "4"]
        .startswith(f"{outcomes['MRL']['1nn'][:, 1].mean():.3f} ± ")
    )
    opposite = {
        "MRL": {"a": np.ones((2, 1, 9)), "b": np.zeros((2, 1, 9))},
        "alone": {"a": np.zeros((2, 1, 9)), "b": np.ones((2, 1, 9))},
    }
    found = baseline_report.discordant((2,), opposite, "a", "b")
    assert len(found) == 1 and found["significant"].all()
