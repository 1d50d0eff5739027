"""Alignment of a prefix to the principal components of the whole vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.prefixes import check_dims


def pca_basis(x: Tensor, k: int) -> Tensor:
    """The `k` leading principal directions of the rows of x (N, D), centred: (D, k), orthonormal columns, each with its
    largest component positive. Directions without variance (k >= N among others) are zero columns.

    Raises InputError where `k` is not in 1..D.
    """
    n, width = x.shape
    if not 1 <= k <= width:
        raise InputError(f"{k} principal components of {width} coordinates: give 1 to {width}")
    centred = x.detach().double()
    centred = centred - centred.mean(0)
    # the smaller of the two Gram matrices, in float64 because its eigenvalues are squares
    if n < width:
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        values, vectors = values.flip(0)[:k], centred.T @ vectors.flip(1)[:, :k]
    else:
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k]
    kept = values > max(n, width) * torch.finfo(torch.float64).eps * values[0]
    basis = x.new_zeros(width, k, dtype=torch.float64)
    leading = F.normalize(vectors[:, kept], dim=0)
    largest = leading.gather(0, leading.abs().argmax(0, keepdim=True)) if leading.numel() else leading
    basis[:, : leading.shape[1]] = leading * largest.sign()
    return basis.to(x.dtype)


@torch.no_grad()
def code_pca(x: Tensor, k: int) -> Tensor:
    """What the public code of ESE calls PCA: x (n, D) -> x U_k S_k (n, k), with U and S from a randomised SVD of
    softmax(x'x / sqrt(D)), row by row. Not centred, not PCA, and another draw of torch's generator gives other signs.

    Raises InputError where `k` is not in 1..D. Source: AnglE 0.6.1, `AngleESETrainer.pca_compress`.
    """
    width = x.shape[1]
    if not 1 <= k <= width:
        raise InputError(f"{k} components of {width} coordinates: give 1 to {width}")
    left, values, _ = torch.svd_lowrank((x.T @ x / width**0.5).softmax(-1), q=k)
    return x @ (left * values)


def align(
    batch: Batch,
    layers: Sequence[int],
    dims: Sequence[int],
    *,
    target: str | Callable[[Tensor, int, int], Tensor] = "pca",
    temperature: float = 1.0,
) -> Tensor:
    """Mean squared error plus KL over features between a prefix and its layer's principal components.

    Returns (len(layers), len(dims)). The target y (B + N, d) of all the batch's texts is detached. target: "pca" (true
    PCA of the batch, centred), "code-pca" (`code_pca`, one draw a layer), or a function `target(x (n, D), layer, d) ->
    (n, d)`, for instance a basis fitted on a fixed sample. KL(y || x), batchmean, softmax over the raw coordinates /
    temperature. Source: ESE, arXiv 2402.14776 v2, equation 6. Raises InputError for an unknown target.
    """
    if target not in ("pca", "code-pca") and not callable(target):
        raise InputError(f'unknown alignment target {target!r}: give "pca", "code-pca" or a function (x, layer, d)')
    dims = check_dims(dims, batch.width)
    texts = batch.text_rows(layers)  # (P, T, D)
    rows = []
    with torch.autocast(texts.device.type, enabled=False):
        for layer, x in zip(layers, texts, strict=True):
            still = x.detach()
            if target == "pca":
                components = (still - still.mean(0)) @ pca_basis(still, dims[-1])  # (T, k), the leading ones first
                targets = [components[:, :d] for d in dims]
            elif target == "code-pca":
                components = code_pca(still, dims[-1])
                targets = [components[:, :d] for d in dims]
            else:
                targets = [target(still, layer, d).detach() for d in dims]
            rows.append(torch.stack([_distance(x[:, : y.shape[1]], y, temperature) for y in targets]))
    return torch.stack(rows)


def _distance(x: Tensor, y: Tensor, temperature: float) -> Tensor:
    student, teacher = (x / temperature).log_softmax(-1), (y / temperature).log_softmax(-1)
    return F.mse_loss(x, y) + F.kl_div(student, teacher, reduction="batchmean", log_target=True)
