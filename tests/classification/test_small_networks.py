"""Batched small networks against one plain torch network, and the answers of their classifiers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mrl_tutorial.classification.labeled_vectors import own_heads, scaled
from mrl_tutorial.classification.small_networks import NetworkConfig, train_networks
from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import Batch
from mrl_tutorial.losses.classification import NestedClassifier, classification

DIMS = (2, 4, 8)
PLAN = NetworkConfig(dims=DIMS, width=8, hidden=12, epochs=3, batch=16)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 4
    return (rng.normal(size=(4, 6))[labels] + 0.7 * rng.normal(size=(120, 6))).astype(np.float32), labels


@pytest.fixture(scope="module")
def data(points):
    rows = np.arange(120)
    return scaled("made up", *points, [(rows[40:], rows[:40]), (rows[:80], rows[80:])])


def plain_loop(x, y, rows, c, seed, plan):
    """One network with torch.nn modules, in the package's words only where rng comes in."""
    start = train_networks(x, y, [rows], [c], [seed], NetworkConfig(**{**plan.__dict__, "lr": 1e-30}))
    w1, b1, w2, b2 = (p[0] for layer in start.encoder for p in layer)
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
    optimizer = torch.optim.Adam(model.parameters(), lr=plan.lr)
    steps = plan.epochs * (len(rows) // plan.batch)
    order, step = np.random.default_rng([seed, 1]), 0
    for _ in range(plan.epochs):
        taken = order.permutation(rows)
        for at in range(0, len(rows) - plan.batch + 1, plan.batch):
            here = taken[at : at + plan.batch]
            optimizer.param_groups[0]["lr"] = plan.lr * (1 + np.cos(np.pi * step / steps)) / 2
            z = second(first(torch.tensor(x[here])).relu())
            target = torch.tensor(y[here])
            loss = sum(w * F.cross_entropy(h(z[:, :m]), target) for w, h, m in zip(c, heads, plan.dims, strict=True))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    with torch.no_grad():
        return second(first(torch.tensor(x)).relu()).numpy()


def test_each_network_of_a_batch_is_the_plain_one(points):
    x, y = points
    weights = np.array([[1, 1, 1], [0, 0, 1], [4, 1, 0.5]])
    rows = [np.arange(100), np.arange(20, 120), np.arange(100)]
    nets = train_networks(x, y, rows, weights, [3, 4, 3], PLAN)
    got = nets.features(x).numpy()
    for g in range(3):
        want = plain_loop(x, y, rows[g], weights[g], [3, 4, 3][g], PLAN)
        assert np.abs(got[g] - want).max() < 2e-3 * np.abs(want).max()
    assert np.abs(got[0] - got[2]).max() > 0.05  # the weights do something


def test_more_networks_than_fit_together_change_nothing(points):
    x, y = points
    many = train_networks(x, y, [np.arange(100)] * 18, np.ones((18, 3)), range(18), PLAN)
    few = train_networks(x, y, [np.arange(100)] * 2, np.ones((2, 3)), [5, 17], PLAN)
    assert torch.allclose(many.pick([5, 17]).features(x), few.features(x), atol=1e-4)


@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_is_the_packages(points, tied):
    x, y = points
    plan = NetworkConfig(dims=DIMS, width=8, hidden=12, tied=tied)
    nets = train_networks(
        x, y, [np.arange(120)] * 2, np.ones((2, 3)), [0, 1], NetworkConfig(**{**plan.__dict__, "epochs": 1})
    )
    batch_x, batch_y = torch.tensor(x[:32]).expand(2, -1, -1), torch.tensor(y[:32]).expand(2, -1)
    got = nets.nested_loss(batch_x, batch_y)
    for g in range(2):
        classifier = NestedClassifier(8, DIMS, 4, tied=tied)
        for j, (w, b) in enumerate(nets.heads):
            classifier.weight[j].data, classifier.bias[j].data = w[g].T[None].clone(), b[g].clone()
        batch = Batch(nets.features(x[:32])[[g]], labels=batch_y[g], classifier=classifier)
        assert torch.allclose(classification(batch, [1], DIMS)[0], got[g], atol=1e-5)


def test_slimmable_networks_use_a_part_of_the_units(points):
    x, y = points
    plan = NetworkConfig(dims=(2, 4, 6, 8), width=8, hidden=12, slimmable=True, epochs=1, batch=16)
    nets = train_networks(x, y, [np.arange(120)], np.ones((1, 4)), [0], plan)
    w1, b1, w2, b2 = (p[0].double().numpy() for layer in nets.encoder for p in layer)
    for dim, units, width in ((2, 3, 2), (3, 6, 4), (8, 12, 8)):
        want = np.maximum(x @ w1[:, :units] + b1[:, :units], 0) @ w2[:units, :width] + b2[:, :width]
        assert np.allclose(nets.features(x, dim)[0], want[:, :dim], atol=1e-5)
    for j, m in enumerate(plan.dims):
        (w, b), z = (p[0] for p in nets.heads[j]), nets.features(x, m)[0]
        assert np.allclose(nets.logits(x)[0, j], z @ w + b, atol=1e-5)
    with pytest.raises(InputError, match="slimmable"):
        NetworkConfig(hidden=0, slimmable=True)


def test_tied_classifiers_are_cut(points):
    x, y = points
    nets = train_networks(
        x, y, [np.arange(120)], np.ones((1, 3)), [0], NetworkConfig(dims=DIMS, width=8, hidden=12, tied=True, epochs=2)
    )
    w, b = nets.heads[0]
    z = nets.features(x)[0]
    for j, m in enumerate(DIMS):
        assert np.allclose(nets.logits(x)[0, j], z[:, :m] @ w[0, :m] + b[0], atol=1e-5)
        assert np.array_equal(nets.predict(x)[0, j], (z[:, :m] @ w[0, :m] + b[0]).argmax(1).numpy())
    assert len(nets.heads) == 1 and w.numel() + b.numel() == nets.config.classifier_parameters(4)
    untied = NetworkConfig(dims=DIMS, width=8)
    assert untied.classifier_parameters(4) == sum(4 * m + 4 for m in DIMS)


def test_canceling_and_wrong_input(points):
    x, y = points
    told = []
    assert (
        train_networks(
            x, y, [np.arange(120)], np.ones((1, 3)), [0], PLAN, report=lambda s, label: told.append(s) or len(told) < 2
        )
        is None
    )
    assert told == pytest.approx([1 / 3, 2 / 3])
    for weights in ([[0, 0, 0]], [[1, -1, 1]], [[1, 1]], [[np.nan, 1, 1]]):
        with pytest.raises(InputError):
            train_networks(x, y, [np.arange(120)], weights, [0], PLAN)
    with pytest.raises(InputError, match="no training rows"):
        train_networks(x, y, [np.arange(0)], [[1, 1, 1]], [0], PLAN)
    with pytest.raises(InputError, match="8 hidden units leave none for size 2"):
        NetworkConfig(dims=(2, 64), hidden=8, slimmable=True)
    with pytest.raises(InputError, match="increase"):
        NetworkConfig(dims=(4, 2))
    with pytest.raises(InputError, match="epochs"):
        NetworkConfig(epochs=0)


def test_own_heads_are_right_where_the_answer_is(data):
    nets = train_networks(data.x, data.labels, [r for r, _ in data.rounds] * 2, np.ones((4, 3)), range(4), PLAN)
    right, answers = own_heads(data, nets, 2), nets.predict(data.x)
    for seed in range(2):
        for r, (_, test) in enumerate(data.rounds):
            want = answers[2 * seed + r][:, test] == data.labels[test]
            assert np.array_equal(right[seed][:, 40 * r : 40 * r + 40], want)
    assert len(np.unique(data.tested)) == 80
