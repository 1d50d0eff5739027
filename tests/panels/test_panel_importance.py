"""The importance weights: what the browser shows against a training of one's own, what the kernel does, wrong input."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from mrl_tutorial.classification import labeled_vectors
from mrl_tutorial.classification.labeled_vectors import train_with
from mrl_tutorial.classification.small_networks import NetworkConfig, train_networks
from mrl_tutorial.errors import InputError
from mrl_tutorial.panels import importance_weights
from mrl_tutorial.panels.importance_weights import ImportanceWeights
from mrl_tutorial.panels.packing import unpack
from tests.helpers.web import fixed, random_states, shown

CONFIG = NetworkConfig(dims=(2, 4, 8), width=8, hidden=12, epochs=3, batch=16)


@pytest.fixture(scope="module")
def data():
    chance = np.random.default_rng(0)
    labels = np.arange(120) % 4
    x = chance.normal(size=(4, 6))[labels] + 0.9 * chance.normal(size=(120, 6))
    rows = np.arange(120)
    return labeled_vectors.scaled(
        "made-up points", x.astype(np.float32), labels, [(rows[40:], rows[:40]), (rows[:80], rows[80:])]
    )


@pytest.fixture
def panel(data):
    return ImportanceWeights(data, CONFIG)


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    monkeypatch.setattr(importance_weights, "REST", 0.0)


def ask(panel, *weights: float) -> None:
    panel._receive({"ask": "train", "weights": list(weights)})


def finish(panel, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while panel._job is not None and panel._job.running and time.monotonic() < end:
        time.sleep(0.005)
    assert panel._job is None or not panel._job.running


def own_accuracy(data, weights) -> np.ndarray:
    right = []
    for r, (train, test) in enumerate(data.rounds):
        nets = train_networks(data.x, data.labels, [train], [weights], [r], CONFIG)
        right.append(nets.predict(data.x)[0][:, test] == data.labels[test])
    return np.concatenate(right, 1).mean(1)


def signed(x: float) -> str:
    return ("−" if x < 0 and float(fixed(-x, 1)) else "+") + fixed(abs(x), 1)


def test_the_browser_shows_what_was_trained_or_the_last_result_pale(panel, data):
    for seed, weights in enumerate(random_states(panel, 6)):
        if any(weights.values()) and seed != 3:
            panel.train(**weights)
    last = list(panel.known.values())[-1]
    states = [*random_states(panel, 70), {}, {"c2": 1.0, "c4": 1.0, "c8": 1.0}]
    found = shown(panel, states)
    trained = 0
    for state, one in zip(states, found, strict=True):
        weights = tuple({**panel.state, **state}[f"c{m}"] for m in CONFIG.dims)
        mine = panel.known.get(weights, last)
        got = one["shown"]
        trained += got["trained"]
        assert got["trained"] == (weights in panel.known) and tuple(got["chosen"]) == weights
        values = [np.nan if v is None else v for v in got["accuracy"]]
        assert np.allclose(values, mine.accuracy, atol=1e-6, equal_nan=True)
        gains = np.array([[np.nan if v is None else v for v in line] for line in got["gain"]])
        assert np.allclose(gains, 100 * mine.gain, atol=1e-4, equal_nan=True)
        for c, gain in zip(mine.weights, (100 * mine.gain).astype(np.float32), strict=True):
            assert (signed(gain[0]) in one["text"]) if c else "not trained" in one["text"]
        assert ("not trained yet" in got["headline"]) == (weights not in panel.known and any(weights))
        assert one["missing"] == {"ask": "train", "weights": list(weights)}
    assert trained >= 8  # six random ones are in both lists
    assert "accuracy" in found[-1]["shown"]["headline"] and "All weights 1" in found[-1]["shown"]["headline"]


def test_the_headline_names_the_largest_change(panel):
    now = panel.train(c2=16.0)
    (one,) = shown(panel, [{}])
    change = (100 * now.gain).astype(np.float32)
    best = int(np.abs(change[:, 0]).argmax())
    others = np.delete(change[:, 0], best)
    verb = "loses" if change[best, 0] < 0 else "gains"
    words = f"Size {CONFIG.dims[best]} {verb} {fixed(abs(change[best, 0]), 1)} points"
    words += f" [{signed(change[best, 1])}, {signed(change[best, 2])}]"
    assert one["shown"]["headline"].startswith(words)
    assert f"{signed(others.min())} to {signed(others.max())}" in one["shown"]["headline"]


def test_a_choice_is_trained_and_its_accuracy_is_that_of_networks_of_ones_own(panel, data):
    ask(panel, 8, 1, 0.25)
    assert panel.status["label"] == "training …"
    finish(panel)
    table = unpack(panel.tables)["results"]["8,1,0.25"]
    assert np.allclose(table["accuracy"], own_accuracy(data, [8, 1, 0.25]), atol=0.02)
    gain = own_accuracy(data, [8, 1, 0.25]) - own_accuracy(data, [1, 1, 1])
    assert np.allclose(table["gain"][:, 0], 100 * gain, atol=2.0)
    assert unpack(panel.tables)["last"] == "8,1,0.25" and panel.status == {}


def test_the_newest_choice_wins(panel, monkeypatch):
    begun, seen, real = threading.Event(), [], importance_weights.train_with

    def slow(data, config, weights, base, report, seed):
        seen.append(weights)
        begun.set()
        while weights == (2.0, 1.0, 1.0) and report(0.5, ""):
            time.sleep(0.002)
        return real(data, config, weights, base, report, seed)

    monkeypatch.setattr(importance_weights, "train_with", slow)
    monkeypatch.setattr(importance_weights, "REST", 1.0)  # longer than the choices below take
    ask(panel, 2, 1, 1)
    assert begun.wait(10)
    for c in (4, 8, 16):
        ask(panel, c, 1, 1)
    end = time.monotonic() + 30
    while (16.0, 1.0, 1.0) not in panel.known and time.monotonic() < end:
        time.sleep(0.005)
    finish(panel)
    assert seen == [(2.0, 1.0, 1.0), (16.0, 1.0, 1.0)]
    assert set(panel.known) == {(1.0, 1.0, 1.0), (16.0, 1.0, 1.0)}


def test_what_is_known_is_not_trained_again_and_ends_what_runs(panel, monkeypatch):
    begun = threading.Event()

    def endless(data, config, weights, base, report, seed):
        begun.set()
        while report(0.5, ""):
            time.sleep(0.002)

    monkeypatch.setattr(importance_weights, "train_with", endless)
    ask(panel, 1, 1, 1)
    assert panel._job is None
    ask(panel, 4, 1, 1)
    assert begun.wait(10)
    ask(panel, 1, 1, 1)
    finish(panel)
    assert panel.status == {} and len(panel.known) == 1


def test_cancel_keeps_the_last_result(panel, monkeypatch):
    begun = threading.Event()

    def endless(data, config, weights, base, report, seed):
        begun.set()
        while report(0.5, "training"):
            time.sleep(0.002)

    monkeypatch.setattr(importance_weights, "train_with", endless)
    ask(panel, 2, 1, 1)
    assert begun.wait(10)
    panel._receive({"ask": "cancel"})
    finish(panel)
    assert "canceled" in panel.status["label"] and "share" not in panel.status
    assert list(unpack(panel.tables)["results"]) == ["1,1,1"]


def test_all_weights_zero_is_a_message_and_goes_away(panel):
    ask(panel, 0, 0, 0)
    assert "all weights are 0" in panel.status["error"]
    (one,) = shown(panel, [{"c2": 0.0, "c4": 0.0, "c8": 0.0}])
    assert one["shown"]["headline"].startswith("All weights are 0")
    ask(panel, 0, 1, 0)
    finish(panel)
    assert panel.status == {}
    alone = panel.known[0.0, 1.0, 0.0].accuracy
    assert np.isnan(alone[[0, 2]]).all() and np.isfinite(alone[1])


def test_a_failure_is_a_message(panel, monkeypatch):
    monkeypatch.setattr(importance_weights, "train_with", lambda *a: 1 / 0)
    ask(panel, 2, 1, 1)
    finish(panel)
    assert "ZeroDivisionError" in panel.status["error"]


def test_gain_is_paired_and_wrong_weights_are_named(data, panel):
    base = train_with(data, CONFIG, [1, 1, 1])
    assert (base.gain == 0).all()
    other = train_with(data, CONFIG, [4, 0, 1], base)
    assert (
        np.allclose(other.gain[[0, 2], 0], (other.right - base.right).mean(1)[[0, 2]]) and np.isnan(other.gain[1]).all()
    )
    with pytest.raises(InputError, match="all weights"):
        train_with(data, CONFIG, [0, 0, 0])
    with pytest.raises(InputError, match="c2 cannot be 3"):
        panel.set(c2=3.0)
    with pytest.raises(InputError, match="no control 'c3'"):
        panel.train(c3=1.0)
