"""Logistic regression on the features of many networks at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def linear_probe(x: Tensor, y: Tensor, *, steps: int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """Logistic regression on the features of many networks at once, as scikit-learn's with C = 1 on standardized data.

    x (G, n, m), y (n,) -> weights (G, m + 1, C), whose first row is the intercept, and mean and scale (G, 1, m), for
    `probe_scores`. Minimizes the mean cross-entropy + |W|^2 / (2 n) by accelerated steps against a fixed upper bound of
    its curvature, so there is no step size to choose (D. Böhning, Multinomial logistic regression algorithm, 1992).

    >>> x = torch.tensor([[[-1.0], [-2.0], [1.0], [2.0]]])
    >>> y = torch.tensor([0, 0, 1, 1])
    >>> probe_scores(linear_probe(x, y), x).argmax(-1).tolist()
    [[0, 0, 1, 1]]
    """
    mean, scale = x.mean(1, keepdim=True), x.std(1, correction=0, keepdim=True).clamp_min(1e-9)
    x = _with_ones((x - mean) / scale)
    n, width = x.shape[1:]
    wanted = F.one_hot(y.long()).to(x.dtype)  # (n, C)
    ridge = torch.full((width,), 1 / n, dtype=x.dtype)
    ridge[0] = 1e-9  # the intercept is not regularized
    bound = torch.linalg.cholesky(x.mT @ x / (2 * n) + torch.diag(ridge + 1e-7))
    weights = last = x.new_zeros(x.shape[0], width, wanted.shape[1])
    for step in range(steps):
        ahead = weights + step / (step + 3) * (weights - last)
        slope = x.mT @ ((x @ ahead).softmax(-1) - wanted) / n + ridge[:, None] * ahead
        last, weights = weights, ahead - torch.cholesky_solve(slope, bound)
        if step % 10 == 9 and (weights - last).abs().max() < 2e-3:
            break
    return weights, mean, scale


def probe_scores(probe: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """The logits of a fitted `linear_probe` for features x (G, t, m): (G, t, C)."""
    weights, mean, scale = probe
    return _with_ones((x - mean) / scale) @ weights


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(x[..., :1]), x], -1)
