"""Fewer coordinates without training: principal components, singular vectors, random choice; what a spectrum says.

A `Reduction` brings vectors into another order or another basis in which the first k columns are the k-dimensional
reduction: whatever works on prefixes (scores, grids, engines, panels) then works on every reduction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.alignment import pca_basis


@dataclass(frozen=True)
class Reduction:
    """How vectors of `width` D are brought into an order whose first k columns are the k-dimensional reduction.

    mean (..., 1, D) is taken off first, where there is one; then comes `basis` (..., D, D), a direction a column, or
    `order` (D,) of coordinates. explained (..., D): share of the fitted sample's variance (of its squared length where
    the sample was not centred) in each column; NaN where nothing was fitted.
    """

    name: str
    width: int
    explained: np.ndarray
    mean: np.ndarray | None = None
    basis: np.ndarray | None = None
    order: np.ndarray | None = None

    def apply(self, x: np.ndarray) -> np.ndarray:
        """x (..., N, D) -> (..., N, D) float32, whose prefixes are the reductions; lengths are not touched.

        A reduction that was fitted on (L, N, D) takes (L, N', D), a basis a layer. Raises InputError for another shape.
        """
        x = np.asarray(x, dtype=np.float32)
        if x.ndim < 2 or x.shape[-1] != self.width:
            raise InputError(f"{self.name} takes vectors (..., N, {self.width}), not {x.shape}")
        layers = () if self.basis is None else self.basis.shape[:-2]
        if layers and x.shape[-2 - len(layers) : -2] != layers:
            wanted = f"(..., {layers}, N, {self.width})"
            raise InputError(f"{self.name} was fitted on {layers} layers: give {wanted}, not {x.shape}")
        if self.order is not None:
            return x[..., self.order]
        if self.mean is not None:
            x = x - self.mean.astype(np.float32)
        return x.copy() if self.basis is None else x @ self.basis.astype(np.float32)

    def apply_to(self, embeddings: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every part of a task's embeddings, as `evaluate_grid(embeddings=...)` takes them."""
        return {part: self.apply(x) for part, x in embeddings.items()}


def plain(width: int) -> Reduction:
    """The vector's own order: its k-dimensional reduction is its prefix."""
    return Reduction("prefix", _positive(width), np.full(width, np.nan))


def random_dims(width: int, seed: int) -> Reduction:
    """A random order of the coordinates: k of them drawn without replacement, the same for every text."""
    order = np.random.default_rng(seed).permutation(_positive(width))
    return Reduction("random coordinates", width, np.full(width, np.nan), order=order)


def pca(x: np.ndarray, centre: bool = True) -> Reduction:
    """Principal component analysis of a sample x (..., N, D): the orthogonal directions of greatest variance, in order.

    The directions are those of the centred sample. centre=False leaves the mean on the vectors it is applied to: then
    all D columns hold the same cosines as before. Directions without variance (all from N - 1 on, where N <= D) are
    columns of zeros. Raises InputError for fewer than 2 vectors, and where they are all the same or not finite.
    """
    x = _sample(x)
    values = spectrum(x)
    if not (values.sum(-1) > 0).all():
        raise InputError("all vectors of the sample are the same: they have no principal components")
    basis = _layers(lambda rows: pca_basis(torch.from_numpy(rows), x.shape[-1]).numpy(), x)
    mean = x.mean(-2, keepdims=True) if centre else None
    return Reduction("PCA", x.shape[-1], values / values.sum(-1, keepdims=True), mean, basis)


def svd(x: np.ndarray) -> Reduction:
    """The singular vectors of a sample x (..., N, D) as it is, not centred: the best rank-k approximation of its rows.

    Each direction has its largest component positive. Raises InputError as `pca` does.
    """
    x = _sample(x)
    values, vectors = _eigen(np.swapaxes(x, -1, -2) @ x)
    if not (values.sum(-1) > 0).all():
        raise InputError("all vectors of the sample are zero: they have no singular vectors")
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(-2)[..., None, :], -2)
    return Reduction("SVD", x.shape[-1], values / values.sum(-1, keepdims=True), basis=vectors * np.sign(largest))


def code_basis(x: np.ndarray) -> Reduction:
    """What the public code of ESE multiplies by and calls PCA: U S of the singular value decomposition of
    softmax(x'x / sqrt(D)), row by row, for a batch x (N, D).

    Here by an exact decomposition, so that two calls agree; `alignment.code_pca` has the randomised one that the code
    uses. Source: AnglE 0.6.1, `AngleESETrainer.pca_compress`. Raises InputError as `pca` does.
    """
    x = _sample(x)
    logits = np.swapaxes(x, -1, -2) @ x / x.shape[-1] ** 0.5
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    left, values, _ = np.linalg.svd(shares / shares.sum(-1, keepdims=True))
    nothing = np.full(x.shape[:-2] + x.shape[-1:], np.nan)
    return Reduction('the code\'s "PCA"', x.shape[-1], nothing, basis=left * values[..., None, :])


def spectrum(x: np.ndarray, centre: bool = True) -> np.ndarray:
    """Variances along the principal components of x (..., N, D), largest first: (..., D), eigenvalues of the covariance
    with N - 1 (centre=False: of x'x / N). Raises InputError for fewer than 2 vectors and for such as are not finite."""
    x = _sample(x)
    centred = x - x.mean(-2, keepdims=True) if centre else x
    gram = np.swapaxes(centred, -1, -2) @ centred
    return _eigen(gram)[0] / (x.shape[-2] - centre)


def effective_rank(x: np.ndarray) -> np.ndarray:
    """How many directions x (..., N, D) really uses: the exponential of the entropy of the shares of variance, 1 to D.

    Source: O. Roy and M. Vetterli, The effective rank (EUSIPCO 2007), here of the covariance. Raises as `spectrum`.
    """
    return directions(_shares(x))


def directions(share: np.ndarray) -> np.ndarray:
    """`effective_rank` of shares of variance (..., D) that sum to 1."""
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(-1)
    return np.exp(entropy)


def participation_ratio(x: np.ndarray) -> np.ndarray:
    """(sum of variances)^2 / sum of squared variances of x (..., N, D): another count of directions, 1 to D, harder on
    small ones than `effective_rank`. Raises as `spectrum`."""
    return 1 / (_shares(x) ** 2).sum(-1)


def cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centred kernel alignment of two sets of vectors of the same items, x (N, D) and y (N, E): 1 where one is a
    rotation and scaling of the other, near 0 where their similarities have nothing in common.

    Source: S. Kornblith et al., Similarity of neural network representations revisited (arXiv 1905.00414), section 3.
    Raises InputError where they do not hold the same number of items, or one of them does not vary.
    """
    x, y = _pair(x, y)
    own = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    if own == 0:
        raise InputError("one of the two sets does not vary: all its vectors are the same")
    return float((np.linalg.norm(y.T @ x) ** 2) / own)


def variance_kept(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of x (N, D) that a linear map can restore from y (N, k): R squared over all coordinates.

    For the first k principal components this is their explained variance, and no other k columns keep more. Raises
    InputError where they do not hold the same number of items, or x does not vary.
    """
    x, y = _pair(x, y)
    total = (x**2).sum()
    if total == 0:
        raise InputError("x does not vary: all its vectors are the same")
    left, values, _ = np.linalg.svd(y, full_matrices=False)
    kept = values > (values[0] if len(values) else 0) * max(y.shape) * np.finfo(np.float64).eps
    return float(((left[:, kept].T @ x) ** 2).sum() / total)


def _eigen(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (..., D), largest first and none below 0, and vectors (..., D, D) of symmetric matrices."""
    values, vectors = np.linalg.eigh(gram)
    return np.clip(values[..., ::-1], 0, None), vectors[..., ::-1]


def _shares(x: np.ndarray) -> np.ndarray:
    values = spectrum(x)
    total = values.sum(-1, keepdims=True)
    if not (total > 0).all():
        raise InputError("all vectors are the same: there is no variance to count directions of")
    return values / total


def _layers(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
    """function of each (N, D) in x (..., N, D), results (..., D, D)."""
    flat = x.reshape(-1, *x.shape[-2:])
    found = np.stack([function(rows) for rows in flat])
    return found.reshape(*x.shape[:-2], *found.shape[1:])


def _sample(x: np.ndarray) -> np.ndarray:
    x = np.array(x, dtype=np.float64)
    if x.ndim < 2 or x.shape[-2] < 2:
        raise InputError(f"a sample of shape {x.shape} is too small: give at least 2 vectors, (N, D)")
    if not np.isfinite(x).all():
        raise InputError("the sample holds NaN or infinite numbers: drop those vectors")
    return x


def _pair(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = _sample(x), _sample(y)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise InputError(f"give two sets (N, D) and (N, E) of the same items, not {x.shape} and {y.shape}")
    return x - x.mean(0), y - y.mean(0)


def _positive(width: int) -> int:
    if width != int(width) or width < 1:
        raise InputError(f"a width of {width} is impossible: give a whole number from 1 up")
    return int(width)
