"""Losses again, from their definitions: float64, one cell, one query, one document at a time."""

from __future__ import annotations

import math

import torch


def score(a, b, d: int, cosine: bool = True):
    a, b = a[:d].double(), b[:d].double()
    dot = (a * b).sum()
    return dot / (torch.sqrt((a**2).sum()) * torch.sqrt((b**2).sum())) if cosine else dot


def scores(queries, documents, d: int, cosine: bool = True):
    return torch.stack([torch.stack([score(q, x, d, cosine) for x in documents]) for q in queries])


def cross_entropy(rows) -> torch.Tensor:
    """Row i's class is i; mean over rows."""
    return sum(-torch.log(torch.exp(row[i]) / torch.exp(row).sum()) for i, row in enumerate(rows)) / len(rows)


def contrastive(queries, documents, d, tau=0.05, cosine=True, symmetric=False):
    s = scores(queries, documents, d, cosine) / tau
    forward = cross_entropy(s)
    return (forward + cross_entropy(s[:, : len(queries)].T)) / 2 if symmetric else forward


def kl(teacher, student):
    """KL(teacher || student) of rows of logits, mean over rows."""
    total = 0.0
    for t, s in zip(teacher.double(), student.double(), strict=True):
        p, q = torch.exp(t) / torch.exp(t).sum(), torch.exp(s) / torch.exp(s).sum()
        total = total + (p * torch.log(p / q)).sum()
    return total / len(teacher)


def cosent(queries, documents, labels, d, tau=0.05):
    s = [score(q, x, d) / tau for q, x in zip(queries, documents, strict=True)]
    total = 1.0
    for i in range(len(s)):
        for j in range(len(s)):
            if labels[i] > labels[j]:
                total = total + torch.exp(s[j] - s[i])
    return torch.log(total) if torch.is_tensor(total) else torch.tensor(math.log(total))


def align(x, y):
    """Mean squared error plus KL over features; y is the target."""
    return ((x.double() - y.double()) ** 2).mean() + kl(y, x)
