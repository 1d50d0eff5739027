"""Fewer coordinates without training: principal components, singular vectors, random choice; what a spectrum says.

A `Reduction` brings vectors into another order or another basis in which the first k columns are the k-dimensional
reduction: everything that works on prefixes (scores, grids, indexes, panels) then works on every reduction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.distillation import principal_axes
from mrl_tutorial.models.heads import SHRINKAGE, whitening


@dataclass(frozen=True)
class Reduction:
    """How vectors of `width` D are brought into an order whose first k columns are the k-dimensional reduction.

    mean (..., 1, D) is taken off first, where there is one; then comes `basis` (..., D, D), a direction in each column.
    explained (..., D): share of the fitted sample's variance (of its squared length where the sample was not centered)
    in each column; NaN where nothing was fitted.
    """

    name: str
    width: int
    explained: np.ndarray
    mean: np.ndarray | None = None
    basis: np.ndarray | None = None

    def apply(self, x: np.ndarray) -> np.ndarray:
        """x (..., N, D) -> (..., N, D) float32, whose prefixes are the reductions; lengths are not touched.

        A reduction that was fitted on (L, N, D) takes (L, N', D). Raises InputError for another shape.
        """
        x = np.asarray(x, dtype=np.float32)
        layers = () if self.basis is None else self.basis.shape[:-2]
        if x.ndim < 2 or x.shape[-1] != self.width or (layers and x.shape[-2 - len(layers) : -2] != layers):
            fitted = f" of {layers[0]} layers" if layers else ""
            raise InputError(f"{self.name} takes vectors{fitted} (..., N, {self.width}), not {x.shape}")
        if self.mean is not None:
            x = x - self.mean.astype(np.float32)
        return x.copy() if self.basis is None else x @ self.basis.astype(np.float32)

    def apply_to(self, embeddings: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every part of a task's embeddings, as `evaluate_grid(embeddings=...)` takes them."""
        return {part: self.apply(x) for part, x in embeddings.items()}


def plain(width: int) -> Reduction:
    """The vector's own order: its k-dimensional reduction is its prefix."""
    return Reduction("prefix", width, np.full(width, np.nan))


def random_dims(width: int, seed: int) -> Reduction:
    """A random order of the coordinates, so that a prefix of k is k of them, sampled without replacement."""
    order = np.random.default_rng(seed).permutation(width)
    return Reduction("random coordinates", width, np.full(width, np.nan), basis=np.eye(width)[:, order])


def pca(x: np.ndarray, center: bool = True) -> Reduction:
    """Principal component analysis of a sample x (..., N, D): the orthogonal directions of greatest variance, in order.

    The directions are those of the centered sample. center=False leaves the mean on the vectors it is applied to: then
    all D columns hold the same cosines as before. Directions without variance (all from N - 1 on, where N <= D) are
    columns of zeros. Raises InputError for fewer than 2 vectors, and where they are all the same or not finite.

    >>> found = pca(np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]]))
    >>> found.explained.tolist(), found.apply(np.array([[3.0, 9.0]])).tolist()
    ([1.0, 0.0], [[1.0, 0.0]])
    """
    x = check_sample(x)
    shares, width = variance_shares(x), x.shape[-1]
    axes = [principal_axes(torch.from_numpy(rows), width).numpy() for rows in x.reshape(-1, *x.shape[-2:])]
    basis = np.stack(axes).reshape(*x.shape[:-2], width, width)
    return Reduction("PCA", width, shares, x.mean(-2, keepdims=True) if center else None, basis)


def whiten(x: np.ndarray, shrinkage: float = SHRINKAGE) -> Reduction:
    """Whitening of a sample x (..., N, D): its principal components, each brought to variance 1.

    Fitted on unit vectors it is the control for trained layers and widths; `models.heads.whitened` puts it behind an
    encoder. shrinkage: of the covariance, toward a multiple of the identity; more for few vectors. Raises InputError as
    in `pca`. Cf. J. Su et al., Whitening sentence representations (2103.15316).
    """
    x = check_sample(x)
    mean = x.mean(-2, keepdims=True)
    covariance = np.swapaxes(x - mean, -1, -2) @ (x - mean) / (x.shape[-2] - 1)
    return Reduction("whitening", x.shape[-1], variance_shares(x), mean, whitening(covariance, shrinkage))


def spectrum(x: np.ndarray) -> np.ndarray:
    """Variances along the principal components of x (..., N, D), the eigenvalues of the covariance with N - 1, largest
    first: (..., D). Raises InputError for fewer than 2 vectors, and for NaN."""
    x = check_sample(x)
    centered = x - x.mean(-2, keepdims=True)
    values = np.linalg.eigvalsh(np.swapaxes(centered, -1, -2) @ centered)[..., ::-1]
    return np.clip(values, 0, None) / (x.shape[-2] - 1)


def effective_rank(x: np.ndarray) -> np.ndarray:
    """How many directions x (..., N, D) really uses: the exponential of the entropy of the shares of variance, 1 to D.

    Source: O. Roy and M. Vetterli, The effective rank (EUSIPCO 2007), here of the covariance. Raises InputError as
    `pca`.
    """
    return directions(variance_shares(x))


def directions(share: np.ndarray) -> np.ndarray:
    """`effective_rank` of shares of variance (..., D) that sum to 1."""
    return np.exp(-(share * np.log(np.where(share > 0, share, 1))).sum(-1))


def check_sample(x: np.ndarray) -> np.ndarray:
    """x (..., N, D) in float64. Raises InputError for fewer than 2 vectors, and for NaN and infinity."""
    x = np.array(x, dtype=np.float64)
    if x.ndim < 2 or x.shape[-2] < 2 or not np.isfinite(x).all():
        raise InputError(f"a sample {x.shape} is too small or holds NaN: give at least 2 vectors, (N, D), all finite")
    return x


def variance_shares(x: np.ndarray) -> np.ndarray:
    """Variances along the principal components, as shares of their sum."""
    values = spectrum(x)
    total = values.sum(-1, keepdims=True)
    if not (total > 0).all():
        raise InputError("all vectors are the same: there is no variance, and there are no principal components")
    return values / total
