"""Batched small networks against one plain torch network, their measures against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from evidence import baseline_report

from mrl_tutorial.classification import baselines
from mrl_tutorial.classification.small_networks import Plan, nested_loss, train_nets
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import prefix_quality
from mrl_tutorial.evaluation.metrics import judge, retrieval_metric
from mrl_tutorial.losses.classification import NestedClassifier, classification
from mrl_tutorial.losses.batch import Batch

DIMS = (2, 4, 8)
PLAN = Plan(dims=DIMS, width=8, hidden=12, epochs=3, batch=16)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def points():
    chance = np.random.default_rng(0)
    labels = np.arange(120) % 4
    return (chance.normal(size=(4, 6))[labels] + 0.7 * chance.normal(size=(120, 6))).astype(np.float32), labels


@pytest.fixture(scope="module")
def data(points):
    rows = np.arange(120)
    return baselines.scaled("made up", *points, [(rows[40:], rows[:40]), (rows[:80], rows[80:])])


def plain_loop(x, y, rows, c, seed, plan):
    """One network with torch.nn modules, in the package's words only where chance comes in."""
    start = train_nets(x, y, [rows], [c], [seed], Plan(**{**plan.__dict__, "lr": 1e-30}))
    w1, b1, w2, b2 = (p[0] for p in start.encoder)
    first, second = torch.nn.Linear(6, plan.hidden), torch.nn.Linear(plan.hidden, plan.width)
    first.weight.data, first.bias.data, second.weight.data, second.bias.data = (
        w1.T.clone(),
        b1[0].clone(),
        w2.T.clone(),
        b2[0].clone(),
    )
    heads = [torch.nn.Linear(m, int(max(y)) + 1) for m in plan.dims]
    for head, (w, b) in zip(heads, start.heads, strict=True):
        head.weight.data, head.bias.data = w[0].T.clone(), b[0, 0].clone()
    model = torch.nn.ModuleList([first, second, *heads])
    optimiser = torch.optim.Adam(model.parameters(), lr=plan.lr)
    steps = plan.epochs * (len(rows) // plan.batch)
    order, step = np.random.default_rng([seed, 1]), 0
    for _ in range(plan.epochs):
        taken = order.permutation(rows)
        for at in range(0, len(rows) - plan.batch + 1, plan.batch):
            here = taken[at : at + plan.batch]
            optimiser.param_groups[0]["lr"] = plan.lr * (1 + np.cos(np.pi * step / steps)) / 2
            z = second(first(torch.tensor(x[here])).relu())
            target = torch.tensor(y[here])
            loss = sum(w * F.cross_entropy(h(z[:, :m]), target) for w, h, m in zip(c, heads, plan.dims, strict=True))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
    with torch.no_grad():
        return second(first(torch.tensor(x)).relu()).numpy()


def test_each_network_of_a_batch_is_the_plain_one(points):
    x, y = points
    weights = np.array([[1, 1, 1], [0, 0, 1], [4, 1, 0.5]])
    rows = [np.arange(100), np.arange(20, 120), np.arange(100)]
    nets = train_nets(x, y, rows, weights, [3, 4, 3], PLAN)
    got = nets.features(x).numpy()
    for g in range(3):
        want = plain_loop(x, y, rows[g], weights[g], [3, 4, 3][g], PLAN)
        assert np.abs(got[g] - want).max() < 2e-3 * np.abs(want).max()
    assert np.abs(got[0] - got[2]).max() > 0.05  # the weights do something


def test_more_networks_than_fit_together_change_nothing(points):
    x, y = points
    many = train_nets(x, y, [np.arange(100)] * 18, np.ones((18, 3)), range(18), PLAN)
    few = train_nets(x, y, [np.arange(100)] * 2, np.ones((2, 3)), [5, 17], PLAN)
    assert torch.allclose(many.pick([5, 17]).features(x), few.features(x), atol=1e-4)


@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_is_the_packages(points, tied):
    x, y = points
    plan = Plan(dims=DIMS, width=8, hidden=12, tied=tied)
    nets = train_nets(x, y, [np.arange(120)] * 2, np.ones((2, 3)), [0, 1], Plan(**{**plan.__dict__, "epochs": 1}))
    batch_x, batch_y = torch.tensor(x[:32]).expand(2, -1, -1), torch.tensor(y[:32]).expand(2, -1)
    got = nested_loss(plan, nets.encoder, nets.heads, batch_x, batch_y)
    for g in range(2):
        classifier = NestedClassifier(8, DIMS, 4, tied=tied)
        for j, (w, b) in enumerate(nets.heads):
            classifier.weight[j].data, classifier.bias[j].data = w[g].T[None].clone(), b[g].clone()
        batch = Batch(nets.features(x[:32])[[g]], labels=batch_y[g], classifier=classifier)
        assert torch.allclose(classification(batch, [1], DIMS)[0], got[g], atol=1e-5)


def test_slimmable_networks_use_a_part_of_the_units(points):
    x, y = points
    plan = Plan(dims=(2, 4, 6, 8), width=8, hidden=12, slim=True, epochs=1, batch=16)
    nets = train_nets(x, y, [np.arange(120)], np.ones((1, 4)), [0], plan)
    w1, b1, w2, b2 = (p[0].double().numpy() for p in nets.encoder)
    for dim, units, width in ((2, 3, 2), (3, 6, 4), (8, 12, 8)):
        want = np.maximum(x @ w1[:, :units] + b1[:, :units], 0) @ w2[:units, :width] + b2[:, :width]
        assert np.allclose(nets.features(x, dim)[0], want[:, :dim], atol=1e-5)
    for j, m in enumerate(plan.dims):
        (w, b), z = (p[0] for p in nets.heads[j]), nets.features(x, m)[0]
        assert np.allclose(nets.logits(x)[0, j], z @ w + b, atol=1e-5)
    with pytest.raises(InputError, match="slimmable"):
        Plan(hidden=0, slim=True)


def test_tied_classifiers_are_cut(points):
    x, y = points
    nets = train_nets(
        x, y, [np.arange(120)], np.ones((1, 3)), [0], Plan(dims=DIMS, width=8, hidden=12, tied=True, epochs=2)
    )
    w, b = nets.heads[0]
    z = nets.features(x)[0]
    for j, m in enumerate(DIMS):
        assert np.allclose(nets.logits(x)[0, j], z[:, :m] @ w[0, :m] + b[0], atol=1e-5)
        assert np.array_equal(nets.predict(x)[0, j], (z[:, :m] @ w[0, :m] + b[0]).argmax(1).numpy())
    assert len(nets.heads) == 1 and w.numel() + b.numel() == nets.plan.classifier_parameters(4)
    untied = Plan(dims=DIMS, width=8)
    assert untied.classifier_parameters(4) == sum(4 * m + 4 for m in DIMS)


def test_cancelling_and_wrong_input(points):
    x, y = points
    told = []
    assert (
        train_nets(
            x, y, [np.arange(120)], np.ones((1, 3)), [0], PLAN, report=lambda s, label: told.append(s) or len(told) < 2
        )
        is None
    )
    assert told == pytest.approx([1 / 3, 2 / 3])
    for weights in ([[0, 0, 0]], [[1, -1, 1]], [[1, 1]], [[np.nan, 1, 1]]):
        with pytest.raises(InputError):
            train_nets(x, y, [np.arange(120)], weights, [0], PLAN)
    with pytest.raises(InputError, match="increase"):
        Plan(dims=(4, 2))
    with pytest.raises(InputError, match="epochs"):
        Plan(epochs=0)


def test_probe_is_scikit_learns_logistic_regression():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    chance = np.random.default_rng(1)
    y = np.arange(300) % 5
    x = (chance.normal(size=(2, 5, 7))[:, y] + 1.2 * chance.normal(size=(2, 300, 7))).astype(np.float32)
    weights, mean, scale = prefix_quality.probe(torch.tensor(x), torch.tensor(y), steps=400)
    for g in range(2):
        unit = StandardScaler().fit_transform(x[g])
        want = LogisticRegression(max_iter=5000, tol=1e-8).fit(unit, y)
        got = weights[g, 1:].numpy()
        assert np.allclose(
            got - got.mean(1, keepdims=True), want.coef_.T - want.coef_.T.mean(1, keepdims=True), atol=0.02
        )
        mine = (np.c_[np.ones(300), unit] @ weights[g].numpy()).argmax(1)
        assert (mine == want.predict(unit)).mean() > 0.99


def test_measures_are_those_of_plain_loops_and_of_the_package(data):
    chance = np.random.default_rng(2)
    base, queries = chance.normal(size=(2, 60, 8)).astype(np.float32), chance.normal(size=(2, 20, 8)).astype(np.float32)
    a, b = np.arange(60) % 3, np.arange(20) % 3
    got = prefix_quality.quality(torch.tensor(base), a, torch.tensor(queries), b, DIMS)
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
        prefix_quality.quality(torch.tensor(base), a, torch.tensor(queries), b, DIMS, ["ndcg"])


def test_coarse_and_detail_look_at_groups_and_within_them():
    y = np.arange(200) % 4
    group = np.array([0, 0, 1, 1])
    coarse, detail = 2.0 * group[y] - 1, 2.0 * (y % 2) - 1
    x = torch.tensor(
        np.stack([coarse, detail], 1)[None] + 0.1 * np.random.default_rng(0).normal(size=(1, 200, 2))
    ).float()
    got = prefix_quality.coarse_and_detail(x, y, x, y, group, [(0, 1), (1, 2)])
    assert got["coarse"][0, 0].mean() == 1 and got["detail"][0, 1].mean() == 1
    assert 0.3 < got["coarse"][0, 1].mean() < 0.7 and 0.3 < got["detail"][0, 0].mean() < 0.7
    lonely = prefix_quality.coarse_and_detail(x, y, x, y, np.array([0, 0, 1, 2]), [(0, 2)])
    assert np.isnan(lonely["detail"][0, 0][y >= 2]).all() and not np.isnan(lonely["detail"][0, 0][y < 2]).any()


def test_arms_are_trained_once_and_shaped_alike(data, monkeypatch):
    plan = Plan(dims=DIMS, width=8, hidden=12, epochs=2, batch=16)
    found = baselines.compare_arms(data, plan, (0, 1))
    assert set(found) == set(baselines.NAMES)
    for arm, outcome in found.items():
        assert all(v.shape == (2, 3, 80) for v in outcome.values()), arm
    assert np.array_equal(found["prefix"]["1nn"][:, -1], found["alone"]["1nn"][:, -1])  # the same network, not cut
    assert np.allclose(found["random"]["p@10"][:, -1], found["prefix"]["p@10"][:, -1])  # all coordinates in any order
    monkeypatch.setattr(baselines, "train_nets", lambda *a, **k: pytest.fail("trained again"))
    again = baselines.compare_arms(data, plan, (0, 1))
    assert all(np.array_equal(again[a][m], found[a][m]) for a in found for m in found[a])
    with pytest.raises(InputError, match="no arm"):
        baselines.compare_arms(data, plan, (0,), ["best"])


def test_own_heads_are_right_where_the_answer_is(data):
    nets = baselines.nets(data, PLAN, np.ones(3), (0, 1))
    right, answers = baselines.own_heads(data, nets, 2), nets.predict(data.x)
    for seed in range(2):
        for r, (_, test) in enumerate(data.rounds):
            want = answers[2 * seed + r][:, test] == data.labels[test]
            assert np.array_equal(right[seed][:, 40 * r : 40 * r + 40], want)
    assert len(np.unique(data.tested)) == 80


def test_principal_components_are_scikit_learns(data):
    from sklearn.decomposition import PCA

    features = torch.randn(2, 120, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9)
    got = baselines.shorten(data, features, "pca")
    for g, (train, _) in enumerate(data.rounds):
        want = PCA(8).fit(features[g, train].numpy()).transform(features[g].numpy())
        assert np.allclose(np.abs(got[g]), np.abs(want), atol=1e-3)
    shuffled = baselines.shorten(data, features, "random")
    assert torch.equal(shuffled.sort(-1).values, features.sort(-1).values) and not torch.equal(shuffled, features)


def test_intervals_cover_and_sizes_read(data):
    chance = np.random.default_rng(0)
    covered = 0
    for draw in range(60):
        a = (chance.random((3, 200)) < 0.8).astype(float)
        b = (chance.random((3, 200)) < 0.7).astype(float)
        mean, low, high = baselines.difference(a, b, draws=300, seed=draw)
        assert low < mean < high
        covered += low <= 0.1 <= high
    assert covered >= 50
    with pytest.raises(InputError):
        baselines.difference(np.zeros((1, 3)), np.zeros((1, 4)))
    assert baseline_report.from_size((2, 4, 8), (False, True, True)) == 4
    assert baseline_report.from_size((2, 4, 8), (True, True, True)) == 2
    assert baseline_report.from_size((2, 4, 8), (True, False, False)) is None
    assert [baseline_report.in_words(sizes) for sizes in ((), (2,), (2, 8), (2, 4, 8))] == [
        "none",
        "2",
        "2 and 8",
        "2, 4 and 8",
    ]
    better = baseline_report.gaps((2,), np.ones((2, 1, 50)), np.zeros((2, 1, 50))).iloc[0]
    assert better.better and better.not_worse and not better.worse and better.difference == 1


def test_figures_and_tables_hold_the_means():
    chance = np.random.default_rng(0)
    outcomes = {arm: {m: chance.random((3, 2, 30)) for m in ("1nn", "map@10")} for arm in ("MRL", "alone")}
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
    whole = baseline_report.every_size(
        range(1, 5), {"MRL": np.arange(4) / 4}, (2, 4), {"alone": np.array([0.1, 0.2])}, "1nn"
    )
    assert list(whole.data[1].y) == [0.25, 0.75]
