"""Terms that pull a cell toward a larger one, its teacher, which is detached unless you say otherwise.

The KL divergence is KL(teacher || student), summed over the distribution and averaged over the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.term import Batch, Ints, term
from mrl_tutorial.prefixes import check_dims, nested_scores

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
