"""What the prefixes of labelled vectors are good for: a linear probe, the nearest neighbour, and image retrieval.

Several networks at a time, every size from the same vectors: (G, n, D) in, metric -> (G, M, tested items) out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.prefixes import check_dims

METRICS = ("linear", "1nn", "map@10", "p@10")
K = 10


def quality(
    base: Tensor, base_labels: np.ndarray, queries: Tensor, query_labels: np.ndarray, dims: Sequence[int],
    metrics: Sequence[str] = METRICS,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Quality of every tested item at every size.

    base (G, n, D) with labels (n,): what a probe is fitted on, and the database that is searched; queries (G, t, D).
    "linear": 1 where logistic regression on the prefix is right. By cosine of the prefixes: "1nn", 1 where the nearest
    of the base has the label; "p@10", the share of the ten nearest that have it; "map@10", (1/10) sum over i <= 10 of
    P(i) rel_i, where P(i) is the precision of the first i: the denominator of the MRL paper's code, not trec_eval's.
    Raises InputError for another metric, a bad size, or fewer than ten items to search.
    """
    dims = check_dims(dims, base.shape[-1])
    for metric in metrics:
        if metric not in METRICS:
            raise InputError(f"no metric {metric!r}: there are {', '.join(METRICS)}")
    if base.shape[1] < K:
        raise InputError(f"{base.shape[1]} items to search: {METRICS[2]} needs at least {K}")
    shape = (base.shape[0], len(dims), queries.shape[1])
    out = {metric: np.zeros(shape, np.float32) for metric in metrics}
    y, wanted = torch.as_tensor(base_labels), torch.as_tensor(query_labels)
    for j, m in enumerate(dims):
        if "linear" in metrics:
            weights, mean, scale = probe(base[..., :m], y)
            answer = (_ones((queries[..., :m] - mean) / scale) @ weights).argmax(-1)
            out["linear"][:, j] = (answer == wanted).numpy()
        if set(metrics) - {"linear"}:
            for g in range(len(base)):
                hit = (y[neighbours(queries[g], base[g], m)] == wanted[:, None]).float().numpy()  # (t, 10)
                precision = hit.cumsum(1) / np.arange(1, K + 1)
                for metric, value in (
                    ("1nn", hit[:, 0]),
                    ("p@10", hit.mean(1)),
                    ("map@10", (precision * hit).sum(1) / K),
                ):
                    if metric in metrics:
                        out[metric][g, j] = value
    return out


def coarse_and_detail(
    base: Tensor, base_labels: np.ndarray, queries: Tensor, query_labels: np.ndarray, group_of: np.ndarray,
    blocks: Sequence[tuple[int, int]],
) -> dict[str, np.ndarray]:  # fmt: skip
    """How much a block of coordinates [start, stop) knows of a class's group, and how much of the class within it.

    group_of (C,): the coarse group of each class. One linear probe a block, on the classes. "coarse": 1 where the
    answer is of the right group; "detail": 1 where the likeliest class *of the right group* is the right one, nan where
    the group has a single class. Each (G, len(blocks), tested items).
    """
    groups = torch.as_tensor(group_of)
    y, wanted = torch.as_tensor(base_labels), torch.as_tensor(query_labels)
    known = int(y.max()) + 1
    out = {k: np.full((len(base), len(blocks), len(wanted)), np.nan, np.float32) for k in ("coarse", "detail")}
    inside = groups[:known] == groups[wanted][:, None]  # (t, C)
    several = (inside.sum(1) > 1).numpy()
    for j, (start, stop) in enumerate(blocks):
        weights, mean, scale = probe(base[..., start:stop], y)
        logits = _ones((queries[..., start:stop] - mean) / scale) @ weights  # (G, t, C)
        out["coarse"][:, j] = (groups[logits.argmax(-1)] == groups[wanted]).numpy()
        detail = logits.masked_fill(~inside, -torch.inf).argmax(-1) == wanted
        out["detail"][:, j, several] = detail.numpy()[:, several]
    return out


def neighbours(queries: Tensor, base: Tensor, dim: int, k: int = K) -> Tensor:
    """Rows of the k nearest of base (n, D) by cosine of the first `dim` coordinates, best first: (t, k)."""
    a, b = (F.normalize(x[:, :dim], dim=-1) for x in (queries, base))  # cut, then normalise
    return (a @ b.T).topk(k, dim=1).indices


def probe(x: Tensor, y: Tensor, *, steps: int = 100) -> tuple[Tensor, Tensor, Tensor]:
    """Logistic regression of many networks' features at once, as scikit-learn's with C = 1 after StandardScaler.

    x (G, n, m), y (n,) -> weights (G, m + 1, C), whose first row is the intercept, and mean and scale (G, 1, m).
    Minimises the mean cross-entropy + |W|^2 / (2 n) by accelerated steps against a fixed upper bound of its curvature
    (D. Boehning, Multinomial logistic regression algorithm, 1992), so there is no step size to choose.
    """
    mean, scale = x.mean(1, keepdim=True), x.std(1, correction=0, keepdim=True).clamp_min(1e-9)
    x = _ones((x - mean) / scale)
    n, width = x.shape[1:]
    wanted = F.one_hot(y.long()).to(x.dtype)  # (n, C)
    ridge = torch.full((width,), 1 / n, dtype=x.dtype)
    ridge[0] = 1e-9  # the intercept is not held down
    bound = torch.linalg.cholesky(x.mT @ x / (2 * n) + torch.diag(ridge + 1e-7))
    weights = last = x.new_zeros(x.shape[0], width, wanted.shape[1])
    for step in range(steps):
        ahead = weights + step / (step + 3) * (weights - last)
        slope = x.mT @ ((x @ ahead).softmax(-1) - wanted) / n + ridge[:, None] * ahead
        last, weights = weights, ahead - torch.cholesky_solve(slope, bound)
        if step % 10 == 9 and (weights - last).abs().max() < 2e-3:
            break
    return weights, mean, scale


def _ones(x: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(x[..., :1]), x], -1)
