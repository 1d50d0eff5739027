"""The cascade tuner without a browser: sliders move the picture to what the pure model says."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.classification import cascade
from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.cascade_tuner import CascadeTuner
from tests.classification.test_cascade import DIMS, made


@pytest.fixture
def cases():
    return {f"case {s}": cascade.answers(*made(s), DIMS) for s in (0, 1)}


@pytest.fixture
def panel(cases):
    return CascadeTuner(cases)


def shown(panel):
    *_, here, every, bars = panel.figure.data
    return here.x[0], here.y[0], every.x[1], np.array(bars.y) / 100


def agrees(panel, a, thresholds):
    x, y, visited, shares = shown(panel)
    out = cascade.run(a, thresholds)
    assert (x, y, visited) == pytest.approx((out.final, out.accuracy, out.visited)) and shares == pytest.approx(
        out.shares
    )
    assert f"Accuracy {out.accuracy:.3f}" in panel.note.value and f"Expected size {out.final:.1f}" in panel.note.value
    for fresh, old in zip(
        panel.static().data, panel.figure.data, strict=True
    ):  # the quick way shows what a new picture would
        assert np.allclose(np.asarray(fresh.y, float), np.asarray(old.y, float)) and fresh.text == old.text
        assert [str(v) for v in fresh.x] == [str(v) for v in old.x]


def test_one_slider_moves_one_threshold_and_the_shared_one_all(panel, cases):
    agrees(panel, cases["case 0"], [0.6] * 3)
    before = shown(panel)[0]
    panel.each[1].value = 0.95
    agrees(panel, cases["case 0"], [0.6, 0.95, 0.6])
    assert shown(panel)[0] > before
    panel.shared.value = 0.4
    assert panel.thresholds == pytest.approx([0.4] * 3)
    agrees(panel, cases["case 0"], [0.4] * 3)
    panel.shared.value = 1.01
    assert shown(panel)[0] == 64


def test_the_shared_slider_draws_once(panel, monkeypatch):
    drawn = []
    monkeypatch.setattr(panel, "picture", lambda: drawn.append(1) or CascadeTuner.picture(panel))
    panel.shared.value = 0.33
    assert len(drawn) == 1


def test_another_case_and_the_papers_rule(panel, cases):
    panel.case.value = "case 1"
    a = cases["case 1"]
    agrees(panel, a, [0.6] * 3)
    assert np.allclose(panel.figure.data[0].y, a.accuracy)
    panel.greedy.click()
    assert panel.thresholds == pytest.approx(cascade.greedy_thresholds(a))
    agrees(panel, a, panel.thresholds)
    assert panel.figure.data[2].x[0] == pytest.approx(shown(panel)[0])


def test_another_case_after_a_slide_sends_only_what_differs(panel, cases, monkeypatch):
    panel.shared.value = 0.9
    panel.shared.value = 0.6  # as at the start, but the moving traces were sent meanwhile
    sent, send = [], type(panel.figure).plotly_update
    monkeypatch.setattr(type(panel.figure), "plotly_update", lambda self, *a: sent.append(a) or send(self, *a))
    panel.case.value = "case 1"
    agrees(panel, cases["case 1"], [0.6] * 3)
    ((style, layout, _),) = sent
    assert set(style) <= {"x", "y", "text"} and set(layout) <= {"xaxis.range", "yaxis.range"}
    assert panel.figure.layout.xaxis.ticklabeloverflow == "allow"


def test_wrong_thresholds_are_a_message(panel, monkeypatch):
    monkeypatch.setattr(type(panel), "thresholds", np.array([0.5, np.nan, 0.5]))
    panel.shared.value = 0.2
    assert 'role="alert"' in panel.message.value and "give a number for each" in panel.message.value
    monkeypatch.undo()
    panel.shared.value = 0.3
    assert panel.message.value == ""


def test_cases_must_share_their_sizes(cases):
    other = cascade.answers(*made(sizes=3), (8, 16, 32))
    for wrong in ({}, {**cases, "other": other}, cascade.answers(*made(sizes=1), (8,))):
        with pytest.raises(InputError, match="same two sizes"):
            CascadeTuner(wrong)
    assert CascadeTuner(other).dims == (8, 16, 32)
