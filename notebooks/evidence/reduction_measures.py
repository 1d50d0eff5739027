"""What a reduction keeps of the vectors: their similarities, their variance; and what the public code of ESE does."""

from __future__ import annotations

import numpy as np

from mrl_tutorial import InputError
from mrl_tutorial.evaluation.reduction import Reduction, check_sample, variance_shares


def code_basis(x: np.ndarray) -> Reduction:
    """What the public code of ESE multiplies by and calls PCA: U S of the singular value decomposition of
    softmax(x'x / sqrt(D)), row by row, for a batch x (N, D).

    Here by an exact decomposition, so that two calls agree; the losses' `code_pca` has the randomized one that the code
    uses. Source: AnglE 0.6.1, `AngleESETrainer.pca_compress`. Raises InputError as `reduction.pca` does.
    """
    x = check_sample(x)
    logits = x.T @ x / x.shape[1] ** 0.5
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    left, values, _ = np.linalg.svd(shares / shares.sum(-1, keepdims=True))
    return Reduction('the code\'s "PCA"', x.shape[1], np.full(x.shape[1], np.nan), basis=left * values)


def variance_kept(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of x (N, D) that a linear map can restore from y (N, k): R squared over all coordinates.

    For the first k principal components this is their explained variance, and no other k columns keep more. Raises
    InputError where they do not hold the same number of items, or x does not vary.
    """
    x, y = _centered_pair(x, y)
    total = (x**2).sum()
    if total == 0:
        raise InputError("x does not vary: all its vectors are the same")
    left, values, _ = np.linalg.svd(y, full_matrices=False)
    kept = values > (values[0] if len(values) else 0) * max(y.shape) * np.finfo(np.float64).eps
    return float(((left[:, kept].T @ x) ** 2).sum() / total)


def _centered_pair(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = check_sample(x), check_sample(y)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise InputError(f"give two sets (N, D) and (N, E) of the same items, not {x.shape} and {y.shape}")
    return x - x.mean(0), y - y.mean(0)


def svd(x: np.ndarray) -> Reduction:
    """The singular vectors of a sample x (..., N, D) as it is, not centered: the best rank-k approximation of its rows.

    Each direction has its largest component positive. Raises InputError as in `pca`.
    """
    x = check_sample(x)
    values, vectors = np.linalg.eigh(np.swapaxes(x, -1, -2) @ x)  # smallest first
    values, vectors = np.clip(values[..., ::-1], 0, None), vectors[..., ::-1]
    if not (values.sum(-1) > 0).all():
        raise InputError("all vectors of the sample are zero: they have no singular vectors")
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(-2)[..., None, :], -2)
    return Reduction("SVD", x.shape[-1], values / values.sum(-1, keepdims=True), basis=vectors * np.sign(largest))


def participation_ratio(x: np.ndarray) -> np.ndarray:
    """(sum of variances)^2 / sum of squared variances of x (..., N, D): another count of directions, 1 to D, harder on
    small ones than `effective_rank`. Raises InputError as that does."""
    return 1 / (variance_shares(x) ** 2).sum(-1)
