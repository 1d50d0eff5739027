"""The ImportanceWeights panel without a browser: sliders against a training of one's own, canceling, wrong input."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from mrl_tutorial.classification import labeled_vectors
from mrl_tutorial.classification.small_networks import NetworkConfig, train_networks
from mrl_tutorial.errors import InputError
from mrl_tutorial.panels import importance_weights
from mrl_tutorial.panels.importance_weights import ImportanceWeights, train_with

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


def finish(panel, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while panel.job is not None and panel.job.running and time.monotonic() < end:
        time.sleep(0.005)
    assert not panel.job.running


def test_a_slide_trains_with_these_weights_and_shows_the_accuracy(panel, data):
    panel.sliders[0].value = 8.0
    panel.sliders[2].value = 0.25
    finish(panel)
    right = []
    for r, (train, test) in enumerate(data.rounds):
        nets = train_networks(data.x, data.labels, [train], [[8, 1, 0.25]], [r], CONFIG)
        right.append(nets.predict(data.x)[0][:, test] == data.labels[test])
    want = np.concatenate(right, 1).mean(1)
    assert np.allclose(panel.figure.data[1].y, want, atol=0.02)
    assert np.allclose(
        panel.figure.data[2].y, 100 * (np.array(panel.figure.data[1].y) - panel.figure.data[0].y), atol=1e-6
    )
    assert "trained in" in panel.figure.layout.title.text and panel.message.value == ""


def test_the_slide_itself_answers_before_anything_is_trained(panel, monkeypatch):
    go = threading.Event()
    real = importance_weights.train_with
    monkeypatch.setattr(importance_weights, "train_with", lambda *a: go.wait(20) and real(*a))
    before = list(panel.figure.data[1].y)
    panel.sliders[1].value = 4.0
    assert panel.figure.layout.xaxis2.ticktext[1] == "4<br>c = 4"
    assert "training" in panel.figure.layout.title.text and panel.figure.data[1].opacity < 0.5
    assert list(panel.figure.data[1].y) == before and not panel.cancel.disabled
    go.set()
    finish(panel)
    assert (
        panel.figure.data[1].opacity == 1 and "trained in" in panel.figure.layout.title.text and panel.cancel.disabled
    )


def test_the_newest_choice_wins(panel):
    for c in (2.0, 4.0, 8.0, 16.0):
        panel.sliders[0].value = c
    end = time.monotonic() + 30
    while (16.0, 1.0, 1.0) not in panel.known and time.monotonic() < end:
        time.sleep(0.005)
    finish(panel)
    assert panel.now.weights == (16.0, 1.0, 1.0) == panel.weights
    assert np.allclose(panel.figure.data[1].y, panel.known[16.0, 1.0, 1.0].accuracy)


def test_what_was_trained_before_is_shown_at_once(panel):
    panel.sliders[0].value = 4.0
    finish(panel)
    job = panel.job
    panel.equal.click()
    assert panel.weights == (1.0, 1.0, 1.0) and panel.job is job
    assert list(panel.figure.data[1].y) == list(panel.figure.data[0].y)
    panel.boost.click()
    assert panel.weights == (4.0, 1.0, 1.0) and panel.job is job


def test_cancel_keeps_the_last_result(panel, monkeypatch):
    begun = threading.Event()

    def endless(data, config, weights, base, report, seed):
        begun.set()
        while report(0.5, "training"):
            time.sleep(0.002)

    monkeypatch.setattr(importance_weights, "train_with", endless)
    panel.sliders[0].value = 2.0
    assert begun.wait(10)
    panel.cancel.click()
    finish(panel)
    assert panel.now is panel.base and "canceled" in panel.figure.layout.title.text and panel.cancel.disabled


def test_all_weights_zero_is_a_message_and_goes_away(panel):
    panel.choose([0.0, 0.0, 0.0])
    assert "all weights are 0" in panel.message.value and 'role="alert"' in panel.message.value
    panel.sliders[1].value = 1.0
    finish(panel)
    assert (
        panel.message.value == "" and np.isnan(panel.now.accuracy[[0, 2]]).all() and np.isfinite(panel.now.accuracy[1])
    )


def test_a_failure_is_a_message(panel, monkeypatch):
    monkeypatch.setattr(importance_weights, "train_with", lambda *a: 1 / 0)
    panel.sliders[0].value = 2.0
    finish(panel)
    assert "ZeroDivisionError" in panel.message.value and panel.cancel.disabled


def test_static_twin_is_a_whole_figure(panel):
    twin = panel.static()
    assert type(twin).__name__ == "Figure" and twin.layout.template.layout.to_plotly_json()
    assert list(twin.data[0].y) == list(panel.figure.data[0].y)
    assert twin.layout.font.size >= 14


def test_gain_is_paired_and_wrong_weights_are_named(data):
    base = train_with(data, CONFIG, [1, 1, 1])
    assert (base.gain == 0).all()
    other = train_with(data, CONFIG, [4, 0, 1], base)
    assert (
        np.allclose(other.gain[[0, 2], 0], (other.right - base.right).mean(1)[[0, 2]]) and np.isnan(other.gain[1]).all()
    )
    with pytest.raises(InputError, match="all weights"):
        train_with(data, CONFIG, [0, 0, 0])
