"""Penalty curves, paired differences over seeds, and the smallest width under a budget; the checks of notebook 03."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from evidence.penalty_figures import difference_lines, penalty_panels
from exercises import text

from mrl_tutorial import InputError
from mrl_tutorial.evaluation.statistics import Difference, kept, paired, smallest_width
from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.losses.contrastive import contrastive


def test_kept_is_a_share_of_full_width():
    values = np.array([[0.2, 0.3, 0.4], [0.1, 0.5, 0.5]])
    assert np.allclose(kept(values), [[0.5, 0.75, 1.0], [0.2, 1.0, 1.0]])
    assert np.allclose(kept([0.2, 0.3], full=0.5), [0.4, 0.6])
    with pytest.raises(InputError, match="full width"):
        kept([0.1, 0.0])


def test_paired_mean_bounds_and_spread():
    rng = np.random.default_rng(0)
    b = rng.random((3, 400))
    a = b + np.array([[0.01], [0.02], [0.03]]) + rng.normal(0, 0.05, (3, 400))
    found = paired(a, b)
    # the reference: normal theory on the seeds' mean difference
    items = (a - b).mean(0)
    half = 1.96 * items.std(ddof=1) / math.sqrt(400)
    assert found.mean == pytest.approx(items.mean())
    assert found.low == pytest.approx(items.mean() - half, abs=half / 5)
    assert found.high == pytest.approx(items.mean() + half, abs=half / 5)
    assert found.spread == pytest.approx((a - b).mean(1).std(ddof=1))
    assert found.better and found.not_worse
    assert not paired(b, a).not_worse
    assert paired(b, a, seed=0).mean == pytest.approx(-found.mean)


def test_paired_takes_one_model_against_several_seeds_but_not_other_items():
    a = np.ones((3, 10)) * [[1], [2], [3]]
    assert paired(a, np.zeros(10)).mean == 2 and paired(a, np.zeros(10)).spread == 1
    assert math.isnan(paired(np.ones(10), np.zeros(10)).spread)
    for wrong in (np.zeros(9), np.zeros((2, 10))):
        with pytest.raises(InputError, match="paired"):
            paired(a, wrong)


def test_not_worse_is_about_the_lower_bound():
    assert Difference(-0.02, -0.0099, 0.0, 0.0).not_worse
    assert not Difference(0.03, -0.0101, 0.08, 0.0).not_worse
    assert not Difference(0.03, 0.0, 0.08, 0.0).better
    assert str(Difference(0.03, -0.01, 0.08, 0.0)) == "+0.030 [-0.010, +0.080]"


def test_smallest_width_stops_at_the_first_that_fails():
    def d(low):
        return Difference(low + 0.01, low, low + 0.02, 0.0)

    assert smallest_width({8: d(-0.2), 64: d(-0.02), 128: d(-0.005), 384: d(0.0)}) == 128
    assert smallest_width({8: d(-0.2), 64: d(-0.02), 128: d(-0.005), 384: d(0.0)}, budget=0.02) == 64
    assert smallest_width({8: d(0.0), 64: d(-0.02), 128: d(0.0)}) == 128  # 8 is luck
    assert smallest_width({8: d(-0.2), 384: d(-0.1)}) is None
    for widths, budget in [({}, 0.01), ({8: d(0)}, -0.1)]:
        with pytest.raises(InputError):
            smallest_width(widths, budget)


def test_exercise_info_nce_agrees_with_the_package_and_teaches():
    def right(queries, documents, temperature):
        q = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        d = documents / np.linalg.norm(documents, axis=1, keepdims=True)
        s = q @ d.T / temperature
        return float(np.mean(np.log(np.exp(s).sum(1)) - np.diag(s)))

    rng = np.random.default_rng(1)
    q, d = rng.normal(size=(2, 4, 6))
    batch = Batch(torch.tensor(q[None]), torch.tensor(d[None]), temperature=0.05)
    assert right(q, d, 0.05) == pytest.approx(float(contrastive(batch, [1], [6])), rel=1e-5)
    assert text.info_nce(right)
    wrong = {
        "length 1": lambda q, d, t: float(np.mean(np.log(np.exp(q @ d.T / t).sum(1)) - np.diag(q @ d.T / t))),
        "mean": lambda q, d, t: 5 * right(q, d, t),
        "other way": lambda q, d, t: right(d, q, t),
        "temperature": lambda q, d, t: right(q, d, 1.0),
        "sign": lambda q, d, t: -right(q, d, t),
        "number": lambda q, d, t: None,
    }
    for word, function in wrong.items():
        verdict = text.info_nce(function)
        assert not verdict and word in str(verdict), (word, verdict)


def test_exercise_false_negatives():
    def right(documents_of_queries):
        out = []
        for i, documents in enumerate(documents_of_queries):
            out += [(i, j) for j, others in enumerate(documents_of_queries) if i != j and documents & others]
        return out

    assert text.false_negatives(right)
    assert "itself" in str(
        text.false_negatives(lambda x: [(i, j) for i in range(len(x)) for j in range(len(x)) if x[i] & x[j]])
    )
    assert "both" in str(text.false_negatives(lambda x: [(i, j) for i, j in right(x) if i < j]))
    assert not text.false_negatives(lambda x: [])


def test_exercise_choose_width():
    def right(quality, low, margin):
        found = None
        for width in sorted(quality, reverse=True):
            if low[width] < -margin:
                break
            found = width
        return found

    assert text.choose_width(right)
    by_mean = lambda quality, low, margin: min(w for w in quality if quality[w] >= quality[max(quality)] - margin)  # noqa: E731
    any_width = lambda quality, low, margin: min((w for w in quality if low[w] >= -margin), default=None)  # noqa: E731
    assert "bound" in str(text.choose_width(by_mean))
    assert "luck" in str(text.choose_width(any_width))
    assert not text.choose_width(lambda quality, low, margin: max(quality))


@pytest.mark.parametrize("name, right, wrong", [
    ("quiz_batch", "b", "ac"), ("quiz_prefix", "c", "ab"), ("quiz_penalty", "a", "bc"),
])  # fmt: skip
def test_quick_checks(name, right, wrong):
    check = getattr(checks_text, name)
    assert check(right) and check(right.upper())
    said = {str(check(letter)) for letter in wrong}
    assert len(said) == len(wrong) and all(s.startswith("Not yet: ") for s in said)
    for odd in ("", "z", None, 3):
        assert "letter" in str(check(odd))


def test_penalty_panels_share_tasks_and_axis():
    dims = (8, 64, 384)
    lines = {"search": np.array([0.2, 0.8, 1.0]), "classes": np.array([0.7, 0.9, 1.0])}
    figure = penalty_panels(dims, {"plain": lines, "mrl": lines})
    assert [t.name for t in figure.data] == ["search", "classes"] * 2
    assert np.allclose(figure.data[3].y, lines["classes"]) and [t.showlegend for t in figure.data] == [
        True,
        True,
        False,
        False,
    ]
    assert figure.data[2].line.color == figure.data[0].line.color != figure.data[1].line.color
    for wrong in ({"plain": lines, "mrl": {"search": lines["search"]}}, {}, {"plain": {"search": np.ones(2)}}):
        with pytest.raises(InputError):
            penalty_panels(dims, wrong)


def test_difference_lines_draw_bounds():
    one = {8: Difference(0.1, 0.05, 0.2, 0.0), 64: Difference(-0.02, -0.03, 0.0, 0.0)}
    figure = difference_lines({"a - b": one}, dim=77)
    (trace,) = figure.data
    assert np.allclose(trace.y, [0.1, -0.02])
    assert np.allclose(trace.error_y.array, [0.1, 0.02]) and np.allclose(trace.error_y.arrayminus, [0.05, 0.01])
    with pytest.raises(InputError):
        difference_lines({"a - b": {}})
