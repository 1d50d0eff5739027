"""Bootstrap intervals, paired differences, Pareto fronts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import (
    Difference,
    bootstrap,
    compare,
    interval,
    paired,
    pareto,
    together,
    verdict,
)
from mrl_tutorial.grid import Grid


def grid(items=None):
    values = np.arange(6, dtype=np.float64).reshape(2, 3) / 10
    return Grid("task", "model", "ndcg@10", "test", (2, 6), (8, 16, 24), values, items)


def test_bootstrap_is_the_normal_interval_of_a_large_sample():
    items = np.random.default_rng(1).normal(0.4, 0.3, 2000)
    low, high = bootstrap(items)
    half = 1.96 * items.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((items.mean() - half, items.mean() + half), abs=half / 8)
    assert bootstrap(items) == (low, high) != bootstrap(items, seed=1)


def test_comparison_is_paired():
    rng = np.random.default_rng(0)
    ours = rng.random((2, 3, 300)).astype(np.float32)
    shifted = grid(ours + np.float32(0.01))
    mean, low, high = compare(shifted, grid(ours), 6, 16)
    # a constant shift has no spread when items are paired, however much they vary
    assert (mean, low, high) == pytest.approx((0.01, 0.01, 0.01), abs=1e-6)
    low, high = interval(grid(ours), 6, 16)
    assert low < ours[1, 1].mean() < high and high - low > 0.03


def test_a_measure_without_items_cannot_be_resampled():
    with pytest.raises(InputError, match="no value per item"):
        interval(grid(), 2, 8)


@pytest.mark.parametrize(
    "change, words",
    [({"split": "dev"}, "split 'test' and 'dev'"), ({"metric": "map"}, "metric"), ({"task": "other"}, "task"),
     ({"per_item": np.zeros((2, 3, 4), np.float32)}, "the same items")],
)  # fmt: skip
def test_only_the_same_items_are_paired(change, words):
    ours = grid(np.zeros((2, 3, 5), np.float32))
    with pytest.raises(InputError, match=words):
        compare(ours, replace(ours, **change), 6, 16)


def test_no_items_have_no_interval():
    with pytest.raises(InputError, match="no items"):
        bootstrap(np.zeros(0))


def test_paired_mean_bounds_and_spread():
    rng = np.random.default_rng(0)
    b = rng.random((3, 400))
    a = b + np.array([[0.01], [0.02], [0.03]]) + rng.normal(0, 0.05, (3, 400))
    found = paired(a, b)
    # the reference: one resampling after the other, of seeds and of items, which stay paired
    rows, columns = rng.integers(0, 3, (4000, 3)), rng.integers(0, 400, (4000, 400))
    means = [(a - b)[np.ix_(r, c)].mean() for r, c in zip(rows, columns, strict=True)]
    assert found.mean == pytest.approx((a - b).mean())
    assert found[1:3] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.001)
    assert found.smallest == pytest.approx(2.8 * np.std(means), rel=0.1)
    assert found.spread == pytest.approx((a - b).mean(1).std(ddof=1))
    assert verdict(found) == "holds" and verdict(paired(b, a), not_worse=True) != "holds"
    assert paired(b, a, seed=0).mean == pytest.approx(-found.mean)


def test_paired_takes_one_model_against_several_seeds_but_not_other_items():
    a = np.ones((3, 10)) * [[1], [2], [3]]
    assert paired(a, np.zeros(10)).mean == 2 and paired(a, np.zeros(10)).spread == 1
    assert math.isnan(paired(np.ones(10), np.zeros(10)).spread)
    for wrong in (np.zeros(9), np.zeros((2, 10))):
        with pytest.raises(InputError, match="paired"):
            paired(a, wrong)


def test_not_worse_is_about_the_lower_bound():
    assert verdict((-0.02, -0.0099, 0.0), not_worse=True) == "holds"
    assert verdict((0.03, -0.0101, 0.08), not_worse=True) == verdict((0.03, 0.0, 0.08)) == "cannot tell here"
    assert str(Difference(0.03, -0.01, 0.08, 0.0)) == "+0.030 [-0.010, +0.080]"


def test_intervals_over_seeds_and_items_cover_the_truth():
    rng = np.random.default_rng(0)
    covered = 0
    for repeat in range(60):
        a = (rng.random((3, 200)) < 0.8).astype(float)
        b = (rng.random((3, 200)) < 0.7).astype(float)
        mean, low, high, _ = paired(a, b, samples=300, seed=repeat)
        assert low < mean < high
        covered += low <= 0.1 <= high
    assert covered >= 50


def test_one_seed_is_resampled_by_its_items_alone():
    items = np.random.default_rng(1).normal(0.4, 0.3, (1, 2000))
    half = 1.96 * items.std() / np.sqrt(2000)
    assert bootstrap(items) == pytest.approx((items.mean() - half, items.mean() + half), abs=half / 8)


def test_the_front_is_what_no_other_option_beats():
    costs, qualities = [5, 1, 3, 2, 2, 9], [0.5, 0.2, 0.2, 0.4, 0.3, 0.5]
    assert [(costs[i], qualities[i]) for i in pareto(costs, qualities)] == [(1, 0.2), (2, 0.4), (5, 0.5)]
    assert pareto([], []) == []
    rng = np.random.default_rng(0)
    costs, qualities = rng.integers(0, 12, 60).tolist(), rng.integers(0, 12, 60).tolist()
    front = {(costs[i], qualities[i]) for i in pareto(costs, qualities)}
    points = set(zip(costs, qualities, strict=True))
    beaten = {(c, q) for c, q in points if any(a <= c and b >= q and (a, b) != (c, q) for a, b in points)}
    assert front == points - beaten


@pytest.mark.parametrize(
    "found, better, not_worse",
    [
        ((0.02, 0.01, 0.03), "holds", "holds"),
        ((0.004, 0.002, 0.006), "cannot tell here", "holds"),  # above 0, but smaller than anyone would notice
        ((0.01, -0.005, 0.025), "cannot tell here", "holds"),
        ((0.01, -0.02, 0.04), "cannot tell here", "cannot tell here"),
        ((-0.005, -0.008, -0.002), "refuted", "holds"),
        ((-0.03, -0.04, -0.02), "refuted", "refuted"),
    ],
)
def test_the_rule_of_verdicts(found, better, not_worse):
    assert verdict(found) == better and verdict(found, not_worse=True) == not_worse
    assert {verdict(found, trained=False), verdict(found, not_worse=True, trained=False)} == {"cannot tell here"}


@pytest.mark.parametrize(
    "parts, whole",
    [
        (["holds", "holds"], "holds"),
        (["holds", "refuted"], "holds in part"),
        (["holds", "wrong by definition"], "holds in part"),
        (["holds in part"], "holds in part"),
        (["cannot tell here", "refuted"], "refuted"),
        (["cannot tell here"] * 2, "cannot tell here"),
    ],
)
def test_a_claim_of_several_parts(parts, whole):
    assert together(parts) == whole
    with pytest.raises(InputError, match="no parts"):
        together([])


def test_what_is_not_a_number_is_no_verdict():
    for found in (paired(np.array([1, np.nan, 1]), np.zeros(3)), (math.nan,) * 3):
        with pytest.raises(InputError, match="not a number"):
            verdict(found)


def test_grids_of_other_samples_are_not_compared():
    ours = replace(grid(np.zeros((2, 3, 5), np.float32)), about={"items": 5, "seed": 0})
    assert compare(ours, replace(ours, about={"items": 5, "seed": 0}), 6, 16) == (0, 0, 0)
    for other in ({"items": 5, "seed": 1}, {"items": 5}):
        with pytest.raises(InputError, match="other items"):
            compare(ours, replace(ours, about=other), 6, 16)
