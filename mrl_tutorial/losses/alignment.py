"""Alignment of a prefix to the principal components of the whole vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.losses.distillation import kl
from mrl_tutorial.losses.term import term
from mrl_tutorial.prefixes import check_dims


def principal_axes(x: Tensor, k: int) -> Tensor:
    """The `k` leading principal directions of the rows of x (N, D), centered: (D, k), orthonormal columns.

    Each column's largest component is positive; directions without variance are zero columns. Raises InputError where
    `k` is not in 1..D.

    >>> principal_axes(torch.tensor([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]]), 2)  # all its variance is in one direction
    tensor([[1., 0.],
            [0., 0.]])
    """
    n, width = x.shape
    if not 1 <= k <= width:
        raise InputError(f"{k} principal components of {width} coordinates: give 1 to {width}")
    centered = x.detach().double() - x.detach().double().mean(0)
    # the smaller of the two Gram matrices, in float64 because its eigenvalues are squares
    small = n < width
    values, vectors = torch.linalg.eigh(centered @ centered.T if small else centered.T @ centered)
    values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k]
    kept = values > max(n, width) * torch.finfo(torch.float64).eps * values[0]
    leading = F.normalize((centered.T @ vectors if small else vectors)[:, kept], dim=0)
    basis = centered.new_zeros(width, k)
    if leading.numel():
        basis[:, : leading.shape[1]] = leading * leading.gather(0, leading.abs().argmax(0, keepdim=True)).sign()
    return basis.to(x.dtype)


@torch.no_grad()
def code_pca(x: Tensor, k: int) -> Tensor:
    """What the public code of ESE calls PCA: x (n, D) -> x U_k S_k (n, k), with U and S from a randomized SVD of
    softmax(x'x / sqrt(D)), row by row. Not centered, not PCA, and another state of torch's generator gives other signs.

    Raises InputError where `k` is not in 1..D. Source: AnglE 0.6.1, `AngleESETrainer.pca_compress`.
    """
    width = x.shape[1]
    if not 1 <= k <= width:
        raise InputError(f"{k} components of {width} coordinates: give 1 to {width}")
    left, values, _ = torch.svd_lowrank((x.T @ x / width**0.5).softmax(-1), q=k)
    return x @ (left * values)


@term("align")
def align(
    batch: Batch,
    layers: Sequence[int],
    dims: Sequence[int],
    *,
    target: str | Callable[[Tensor, int, int], Tensor] = "pca",
    temperature: float = 1.0,
) -> Tensor:
    """Mean squared error plus KL over features between a prefix and its layer's principal components.

    Returns (len(layers), len(dims)), over all the batch's texts; the target y (B + N, d) is detached. target: "pca" (of
    the batch), "code-pca" (`code_pca`, one decomposition a layer), or a function target(x (n, D), layer, d) -> (n, d),
    for instance by a basis fitted on a fixed sample. KL(y || x) is of raw coordinates / temperature. Source: ESE, arXiv
    2402.14776 v2, equation 6. Raises InputError for an unknown target.

    >>> align(Batch(torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])), [1], [1, 2])  # its axes are its principal axes
    tensor([[0., 0.]])
    """
    if target not in ("pca", "code-pca") and not callable(target):
        raise InputError(f'unknown alignment target {target!r}: give "pca", "code-pca" or a function (x, layer, d)')
    widths, rows = check_dims(dims, batch.width), []
    for layer, x in zip(layers, batch.text_rows(layers), strict=True):  # (T, D)
        raw = x.detach()
        if callable(target):
            targets = [target(raw, layer, d).detach() for d in widths]
        else:  # a narrower prefix has the leading ones of the widest
            most = widths[-1]
            whole = code_pca(raw, most) if target != "pca" else (raw - raw.mean(0)) @ principal_axes(raw, most)
            targets = [whole[:, :d] for d in widths]
        cells = [(x[:, : y.shape[1]], y) for y in targets]
        rows.append(torch.stack([F.mse_loss(cut, y) + kl(y, cut, temperature) for cut, y in cells]))
    return torch.stack(rows)
