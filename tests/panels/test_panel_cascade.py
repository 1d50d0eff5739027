"""The cascade tuner: the browser's count of items is that of the pure model, also where a confidence is a threshold."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np
import pytest

from mrl_tutorial.classification import cascade
from mrl_tutorial.classification.cascade import Answers
from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.cascade_tuner import GRID, CascadeTuner
from mrl_tutorial.panels.packing import unpack
from tests.classification.test_cascade import DIMS, made
from tests.helpers.web import random_states, shown


@pytest.fixture(scope="module")
def cases():
    found = {f"case {s}": cascade.answers(*made(s), DIMS) for s in (0, 1)}
    a = found["case 0"]
    # confidences that are a threshold, or the next number below or above it
    on = np.random.default_rng(0).choice(GRID[:-1], a.confidence.shape)
    near = np.nextafter(on, np.random.default_rng(1).choice([-1.0, 2.0], on.shape))
    edge = np.where(np.random.default_rng(2).random(on.shape) < 0.5, on, near)
    return {**found, "on the edge": Answers(a.dims, edge, a.right, a.n_classes)}


@pytest.fixture
def panel(cases):
    return CascadeTuner(cases)


def fixed(x: Fraction | float, digits: int) -> str:
    """A number as JavaScript writes it: halves are rounded up."""
    return str(Decimal(float(x)).quantize(Decimal(10) ** -digits, ROUND_HALF_UP))


def test_every_state_shows_what_the_cascade_does(panel, cases):
    states = [*random_states(panel, 120), {}]
    states += [{"case": "on the edge", **{f"t{d}": t for d in DIMS[:-1]}} for t in GRID.tolist()]
    names = [f"t{d}" for d in DIMS[:-1]]
    for state, one in zip(states, shown(panel, states), strict=True):
        now, got = {**panel.state, **state}, one["shown"]
        a = cases[now["case"]]
        out = cascade.run(a, [now[name] for name in names])
        n = len(out.stop)
        assert np.array_equal(got["shares"], out.shares) and got["accuracy"] == out.right.sum() / n
        assert (got["final"], got["visited"]) == pytest.approx((out.final, out.visited), rel=1e-12)
        counts = np.bincount(out.stop, minlength=len(DIMS)).tolist()
        final = Fraction(sum(c * d for c, d in zip(counts, DIMS, strict=True)), n)
        visited = Fraction(sum(c * d for c, d in zip(counts, np.cumsum(DIMS).tolist(), strict=True)), n)
        change = out.accuracy - a.accuracy[-1]
        sign = "−" if float(fixed(change, 3)) < 0 else "+"
        words = f"Accuracy {fixed(out.accuracy, 3)}, {sign}{fixed(abs(change), 3)} against {DIMS[-1]} dimensions"
        assert got["headline"].startswith(words) and f"size of {fixed(final, 1)} (" in got["headline"]
        for size, tied in ((final, True), (visited, False)):
            products = a.n_classes * (out.final if tied else out.visited)
            assert f"{fixed(size, 1)}{float(fixed(products, 0)):,.0f}" in one["text"]
        assert f"For {fixed(100 * cascade.hopeless(a), 1)} % of the items no size is right" in one["text"]


def test_landmarks_are_those_of_the_pure_model(panel, cases):
    tables = unpack(panel.tables)["cases"]
    for name, a in cases.items():
        table, grid = tables[name], GRID[:-1]
        assert np.array_equal(table["single"], a.accuracy)
        rule = cascade.greedy_thresholds(a, grid)
        assert np.array_equal(table["rule"], rule)
        for key, want in (("paper", cascade.run(a, rule)), ("oracle", cascade.oracle(a))):
            assert (table[key]["final"][0], table[key]["accuracy"][0]) == (want.final, want.accuracy)
        curve = [cascade.run(a, [t] * (len(DIMS) - 1)) for t in grid]
        best = [o for o in curve if not any(p.accuracy >= o.accuracy and p.final < o.final for p in curve)]
        assert {round(x, 9) for x in table["curve"]["final"]} <= {round(o.final, 9) for o in best}
        for t, final, accuracy in zip(table["shared"], *table["curve"].values(), strict=True):
            out = cascade.run(a, [t] * (len(DIMS) - 1))
            assert (out.final, out.accuracy) == (final, accuracy)
        assert max(table["curve"]["accuracy"]) == max(o.accuracy for o in curve)


def test_the_papers_rule_is_offered_and_lands_on_its_mark(panel, cases):
    for name, a in cases.items():
        (one,) = shown(panel, [{"case": name}])
        rule = one["shown"]["rule"]
        assert list(rule.values()) == cascade.greedy_thresholds(a, GRID[:-1]).tolist()
        panel.set(case=name, **rule)
        (there,) = shown(panel, [{}])
        paper = cascade.run(a, list(rule.values()))
        assert there["shown"]["final"] == pytest.approx(paper.final, rel=1e-12)
        assert there["shown"]["accuracy"] == paper.accuracy


def test_python_moves_one_threshold_or_all(panel):
    panel.set(t16=0.95)
    assert panel.thresholds.tolist() == [0.6, 0.95, 0.6]
    panel.set(all=0.4)
    assert panel.thresholds.tolist() == [0.4] * 3 and panel.state["all"] == 0.4
    panel.set(t8=0.1 + 0.25)  # 0.35, or the next number
    assert panel.thresholds.tolist() == [0.35, 0.4, 0.4]
    panel.set(all=1.01)
    (one,) = shown(panel, [{}])
    assert one["shown"]["final"] == DIMS[-1]  # no confidence reaches it
    with pytest.raises(InputError, match=r"t8 cannot be 1\.5"):
        panel.set(t8=1.5)
    with pytest.raises(InputError, match="no control 't64'"):
        panel.set(t64=0.5)


def test_the_start_is_a_keyword(cases):
    panel = CascadeTuner(cases, start=0.3, case="case 1", t16=0.7)
    assert panel.state["case"] == "case 1" and panel.thresholds.tolist() == [0.3, 0.7, 0.3]
    assert "case" not in CascadeTuner(cases["case 0"]).controls
    with pytest.raises(InputError, match=r"t8 cannot be 2\.0"):
        CascadeTuner(cases, start=2)


def test_cases_must_share_their_sizes(cases):
    other = cascade.answers(*made(sizes=3), (8, 16, 32))
    for wrong in ({}, {**cases, "other": other}, cascade.answers(*made(sizes=1), (8,))):
        with pytest.raises(InputError, match="same two sizes"):
            CascadeTuner(wrong)
    assert CascadeTuner(other).dims == (8, 16, 32)
