"""Alignment of a prefix to the principal components of the whole vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.distillation import kl
from mrl_tutorial.losses.term import Batch, Ints, term
from mrl_tutorial.prefixes import check_dims

Target = Callable[[Tensor, int, int], Tensor]  # (x (n, D), layer, d) -> (n, d)


def principal_axes(x: Tensor, k: int) -> Tensor:
    """The `k` leading principal directions of the rows of x (N, D), centered: (D, k), orthonormal columns.

    Each column's largest component is positive; directions without variance are zero columns. Raises InputError where
    `k` is not in 1..D."""
    n, width = x.shape
    check_dims([k], width)
    centered = x.detach().double() - x.detach().double().mean(0)
    # the smaller of the two Gram matrices, in float64 because its eigenvalues are squares
    small = n < width
    values, vectors = torch.linalg.eigh(centered @ centered.T if small else centered.T @ centered)
    values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k]
    kept = values > max(n, width) * torch.finfo(torch.float64).eps * values[0]
    leading = F.normalize((centered.T @ vectors if small else vectors)[:, kept], dim=0)
    leading = leading * leading.gather(0, leading.abs().argmax(0, keepdim=True)).sign()
    return F.pad(leading, (0, k - leading.shape[1])).to(x.dtype)


@torch.no_grad()
def code_pca(x: Tensor, k: int) -> Tensor:
    """What the public code of ESE calls PCA: x (n, D) -> x U_k S_k (n, k), with U and S from a randomized SVD of
    softmax(x'x / sqrt(D)), row by row. Not centered, not PCA, and another state of torch's generator gives other signs.

    Raises InputError where `k` is not in 1..D. Source: AnglE 0.6.1, `AngleESETrainer.pca_compress`."""
    check_dims([k], x.shape[1])
    left, values, _ = torch.svd_lowrank((x.T @ x / x.shape[1] ** 0.5).softmax(-1), q=k)
    return x @ (left * values)


@term("align")
def align(batch: Batch, layers: Ints, dims: Ints, *, target: str | Target = "pca", temperature: float = 1.0) -> Tensor:
    """Mean squared error plus KL over features between a prefix and its layer's principal components.

    Returns (len(layers), len(dims)), over all the batch's texts; the target y (B + N, d) is detached. target: "pca" (of
    the batch), "code-pca" (`code_pca`), or a function, for instance by a basis fitted on a fixed sample. KL(y || x) is
    of raw coordinates / temperature. Raises InputError for an unknown target. Source: ESE, arXiv 2402.14776 v2, eq. 6.
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
