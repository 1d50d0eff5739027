"""Terms that pull a cell toward a larger one, its teacher, or toward the principal components of the whole vector.

The teacher is detached unless you say otherwise. The KL divergence is KL(teacher || student), summed over the
distribution and averaged over the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.term import Batch, Ints, term
from mrl_tutorial.prefixes import check_dims, nested_scores

Target = Callable[[Tensor, int, int], Tensor]  # (x (n, D), layer, d) -> (n, d)
TEACHERS = ("last-layer", "full-width", "full")  # of scores: the cell that the student is pulled toward


@term("kl-features", needs_last_layer=True)
def kl_features(
    batch: Batch,
    layers: Ints,
    dims: Ints,
    *,
    teacher: str = "last-layer",
    temperature: float = 1.0,
    detach: bool = True,
) -> Tensor:
    """KL over features: softmax of a text's raw prefix / temperature, against the same prefix at the last layer.

    Returns (len(layers), len(dims)), the mean over all the batch's texts. `detach=False` lets the teacher learn too.
    Raises InputError for another teacher: a wider vector has other features. Source: 2DMSE, arXiv 2402.14776 v1."""
    if teacher != "last-layer":
        raise InputError(f'kl-features cannot have teacher {teacher!r}: only "last-layer" has as many features')
    students, last = batch.text_rows(layers), batch.text_rows(batch.layers[-1:])[0]  # (L, T, D), (T, D)
    last = last.detach() if detach else last
    cells = [kl(last[:, :d], students[..., :d], temperature) for d in check_dims(dims, batch.width)]
    return torch.stack(cells, 1)


def _last_layer_teaches(options: Mapping[str, Any]) -> bool:
    return options["teacher"] != "full-width" or options["fixed_document"]


@term("kl-scores", needs_documents=True, needs_last_layer=_last_layer_teaches)
def kl_scores(
    batch: Batch,
    layers: Ints,
    dims: Ints,
    *,
    teacher: str = "full",
    temperature: float | None = None,
    detach: bool = True,
    fixed_document: bool = False,
) -> Tensor:
    """KL over scores: softmax of a query's scores over the batch's documents / temperature, against a teacher cell's.

    Returns (len(layers), len(dims)), the mean over queries. teacher: "last-layer" (L, same d), "full-width" (same
    layer, D) or "full" (L, D), where L is the batch's last layer. `fixed_document`: all documents from layer L.
    `detach=False` lets the teacher learn too. Raises InputError for an unknown teacher. Source: arXiv 2410.13230.

    >>> batch = Batch(torch.tensor([[[3.0, 4.0]]]), torch.eye(2)[None], temperature=1.0)
    >>> kl_scores(batch, [1], [1, 2])  # cosines (1, 0) of the prefixes, (0.6, 0.8) in full
    tensor([[0.1749, 0.0000]])
    """
    right, student = _teacher_and_student(batch, layers, dims, teacher, detach, fixed_document)
    return kl(right, student, batch.temperature if temperature is None else temperature)


@term("score-align", needs_documents=True, needs_last_layer=_last_layer_teaches)
def score_align(
    batch: Batch,
    layers: Ints,
    dims: Ints,
    *,
    teacher: str = "full-width",
    temperature: float | None = None,
    fixed_document: bool = False,
) -> Tensor:
    """Mean squared error of the scores plus KL over scores (`kl_scores`), against a teacher cell's, detached.

    Returns (len(layers), len(dims)); the temperature belongs to the KL alone. Arguments as in `kl_scores`. Source:
    SCORE, arXiv 2411.17299, whose public code further divides by the number of scores."""
    right, student = _teacher_and_student(batch, layers, dims, teacher, True, fixed_document)
    squares = F.mse_loss(student, right.expand_as(student), reduction="none").mean((-2, -1))
    return squares + kl(right, student, batch.temperature if temperature is None else temperature)


def _teacher_and_student(
    batch: Batch, layers: Ints, dims: Ints, teacher: str, detach: bool, fixed_document: bool
) -> tuple[Tensor, Tensor]:
    """Scores of the teacher cells (L or 1, M or 1, B, N) and of the student's (L, M, B, N)."""
    if teacher not in TEACHERS:
        raise InputError(f"unknown teacher {teacher!r}: give one of {', '.join(TEACHERS)}")
    rows = layers if teacher == "full-width" else batch.layers[-1:]
    columns = dims if teacher == "last-layer" else [batch.width]
    with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        right = nested_scores(*batch.pair_rows(rows, fixed_document), columns, batch.cosine)
    return right, nested_scores(*batch.pair_rows(layers, fixed_document), dims, batch.cosine)


def kl(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """KL of softmaxes of (…, B, C) / temperature, which broadcast: the mean over B of the sum over C."""
    right, found = (teacher / temperature).log_softmax(-1), (student / temperature).log_softmax(-1)
    return (right.exp() * (right - found)).sum(-1).mean(-1)


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
