"""More vectors than there are texts: real ones, each moved by a step that leads from one real neighbor to another."""

from __future__ import annotations

import numpy as np

from mrl_tutorial.topk import unit

BLOCK = 2**16  # vectors made at a time
SAMPLE = 20_000  # vectors, or a few more, that second moments are taken of


def rotation(x: np.ndarray) -> np.ndarray:
    """Orthogonal (D, D) after which the coordinates of x (N, D) carry less and less: x @ rotation(x). Cosines at full
    width stay as they are; prefixes hold what training for prefixes would put there."""
    some = x[:: max(1, len(x) // SAMPLE)].astype(np.float64)
    values, vectors = np.linalg.eigh(some.T @ some)
    return vectors[:, np.argsort(-values)].astype(np.float32)


def steps(x: np.ndarray, count: int = 4000, seed: int = 0) -> np.ndarray:
    """Differences (count, D) of `count` vectors of x (N, D), of unit length, and the nearest other of each."""
    some = np.random.default_rng(seed).permutation(len(x))[:count]
    return x[some] - x[_nearest(x, some, 1)[1][:, 0]]


def moved(x: np.ndarray, n: int, spread: float, seed: int, step: np.ndarray) -> np.ndarray:
    """n vectors of unit length (n, D): each one of x (N, D), moved by `spread` times one of `step` (S, D), either way.

    Vectors that were moved from the same one are a family, whose neighbors are each other. How large families are
    varies as in text: most are small, a few are large (weights drawn from a Pareto distribution)."""
    rng = np.random.default_rng(seed)
    weight = 1 + rng.pareto(1.5, len(x))
    which = rng.choice(len(x), n, p=weight / weight.sum())
    along = rng.integers(0, len(step), n)
    far = (spread * rng.choice([-1, 1], n) * rng.uniform(0.5, 1.2, n)).astype(np.float32)[:, None]
    out = np.empty((n, x.shape[1]), dtype=np.float32)
    for a in range(0, n, BLOCK):
        b = slice(a, a + BLOCK)
        out[b] = unit(x[which[b]] + far[b] * step[along[b]])
    return out


def shape(x: np.ndarray) -> dict[str, float]:
    """What should agree between real and made vectors x (N, D) of unit length: participation ratio of the second
    moments, their share in the first 64 principal axes, and the mean cosine of 500 of them with their nearest other,
    their tenth and their hundredth."""
    moments = x[:: max(1, len(x) // SAMPLE)].astype(np.float64)
    values = np.sort(np.linalg.eigvalsh(moments.T @ moments))[::-1]
    some = np.arange(0, len(x), max(1, len(x) // 500))[:500]
    near = _nearest(x, some, min(100, len(x) - 1))[0].mean(0)
    ranks = {"nearest": 1, "tenth": 10, "hundredth": 100}
    return {
        "participation_ratio": float(values.sum() ** 2 / (values**2).sum()),
        "first_64": float(values[:64].sum() / values.sum()),
        **{name: float(near[min(rank, len(near)) - 1]) for name, rank in ranks.items()},
    }


def _nearest(x: np.ndarray, some: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and rows (len(some), k) of the nearest others of some rows of x, best first."""
    best, rows = [], []
    for a in range(0, len(some), 100):
        own = some[a : a + 100]
        scores = x[own] @ x.T
        scores[np.arange(len(own)), own] = -2
        found = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, found, 1), axis=1)
        rows.append(np.take_along_axis(found, order, 1))
        best.append(np.take_along_axis(scores, rows[-1], 1))
    return np.concatenate(best), np.concatenate(rows)
