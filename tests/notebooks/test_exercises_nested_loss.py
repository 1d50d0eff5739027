"""The checks of lesson 02's exercises: right answers pass, typical mistakes are told what is wrong."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from exercises import nested_loss as check


def cosines_of(queries, documents):
    return F.normalize(queries, dim=1) @ F.normalize(documents, dim=1).T


def loss_of(scores):
    return F.cross_entropy(scores, torch.arange(len(scores)))


def test_info_nce():
    assert check.info_nce(lambda q, d, t: loss_of(cosines_of(q, d) / t))
    wrong = {
        "length 1": lambda q, d, t: loss_of(q @ d.T / t),
        "mean": lambda q, d, t: 5 * loss_of(cosines_of(q, d) / t),
        "other way": lambda q, d, t: loss_of(cosines_of(d, q) / t),
        "before the exponential": lambda q, d, t: loss_of(cosines_of(q, d)),
        "not multiply": lambda q, d, t: loss_of(cosines_of(q, d) * t),
        "minus": lambda q, d, t: -loss_of(cosines_of(q, d) / t),
        "argument": lambda q, d, t: loss_of(cosines_of(q, d) / 0.2),
        "one number": lambda q, d, t: cosines_of(q, d),
    }
    for word, function in wrong.items():
        verdict = check.info_nce(function)
        assert not verdict and word in str(verdict), (word, verdict)


def nested(q, d, dims, t):
    return sum(loss_of(cosines_of(q[:, :size], d[:, :size]) / t) for size in dims)


def early(q, d, dims, t):
    q, d = F.normalize(q, dim=1), F.normalize(d, dim=1)
    return sum(loss_of(q[:, :size] @ d[:, :size].T / t) for size in dims)


def blocks(q, d, dims, t):
    edges = zip((0, *dims), dims, strict=False)
    return sum(loss_of(cosines_of(q[:, a:b], d[:, a:b]) / t) for a, b in edges)


def test_nested():
    assert check.nested(nested)
    wrong = {
        "after the cut": early,
        "long vectors": lambda q, d, dims, t: sum(loss_of(q[:, :s] @ d[:, :s].T / t) for s in dims),
        "blocks": blocks,
        "mean": lambda q, d, dims, t: nested(q, d, dims, t) / len(dims),
        "largest": lambda q, d, dims, t: nested(q, d, dims[-1:], t),
        "inside the loop": lambda q, d, dims, t: nested(q, d, dims[:1], t),
        "temperature": lambda q, d, dims, t: nested(q, d, dims, 1.0),
        ".item()": lambda q, d, dims, t: nested(q, d, dims, t).item(),
        "add up the losses of all sizes": lambda q, d, dims, t: None,
    }
    for word, function in wrong.items():
        verdict = check.nested(function)
        assert not verdict and word in str(verdict), (word, verdict)


def test_unfair_negatives():
    def off(mask):
        return mask & ~torch.eye(len(mask), dtype=torch.bool)

    assert check.unfair(lambda c: off(c > c.diag()[:, None] - 0.05))
    wrong = {
        "booleans": lambda c: c,
        "diagonal": lambda c: c > c.diag()[:, None] - 0.05,
        "aim at": lambda c: off(c > 0.6),
        "hard negatives": lambda c: off(c > 0.35),
        "ordinary": lambda c: off(c > 0.1),
        "every row": lambda c: F.one_hot((c - 2 * torch.eye(len(c))).argmax(1), len(c)).bool(),
    }
    for word, function in wrong.items():
        verdict = check.unfair(function)
        assert not verdict and word in str(verdict), (word, verdict)
