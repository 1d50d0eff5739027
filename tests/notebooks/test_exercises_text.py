"""The checks of notebook 03's exercises: right answers pass, typical mistakes are told what is wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exercises import text_embeddings as text

from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.losses.contrastive import contrastive


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
    check = getattr(text, name)
    assert check(right) and check(right.upper())
    said = {str(check(letter)) for letter in wrong}
    assert len(said) == len(wrong) and all(s.startswith("Not yet: ") for s in said)
    for odd in ("", "z", None, 3):
        assert "letter" in str(check(odd))
