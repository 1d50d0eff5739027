"""Loss terms. Each is a function `term(batch, layers, dims, **options) -> (len(layers), len(dims))`, differentiable:
the loss of every cell of the grid. Your own has the same signature.

KL terms are KL(teacher || student), summed over the distribution and averaged over the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.alignment import align, code_pca, pca_basis
from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.losses.classification import NestedClassifier, classification
from mrl_tutorial.losses.contrastive import contrastive
from mrl_tutorial.prefixes import check_dims, nested_scores, pair_scores

__all__ = [
    "TERMS", "Batch", "NestedClassifier", "align", "classification", "code_pca", "contrastive", "cosent", "kl_features",
    "kl_scores", "needs_last_layer", "pca_basis", "score_align",
]  # fmt: skip

# score teachers: which cell the student's distribution is pulled towards
TEACHERS = ("last-layer", "full-width", "full")


def cosent(
    batch: Batch,
    layers: Sequence[int],
    dims: Sequence[int],
    *,
    temperature: float | None = None,
    fixed_document: bool = False,
) -> Tensor:
    """CoSENT over graded pairs (query i, document i): log(1 + sum over label_i > label_j of exp((s_j - s_i) / tau)).

    Returns (len(layers), len(dims)). Needs as many documents as queries and float labels (B,); a batch whose labels are
    all equal has loss 0. `fixed_document`: documents always from the batch's last layer. Raises InputError where
    these are missing. Source: the CoSENT loss of sentence-transformers.
    """
    if batch.labels is None:
        raise InputError("cosent needs a graded label for every pair")
    tau = batch.temperature if temperature is None else temperature
    queries = batch.query_rows(layers)
    documents = batch.document_rows([batch.last_layer] * len(layers) if fixed_document else layers)
    with torch.autocast(queries.device.type, enabled=False):
        scores = pair_scores(queries, documents, dims, batch.cosine) / tau  # (P, M, B)
        higher, lower = (batch.labels[:, None] > batch.labels[None, :]).nonzero(as_tuple=True)
        gaps = scores[..., lower] - scores[..., higher]  # (P, M, ordered pairs)
        return torch.cat([gaps.new_zeros(*gaps.shape[:-1], 1), gaps], -1).logsumexp(-1)


def kl_features(
    batch: Batch,
    layers: Sequence[int],
    dims: Sequence[int],
    *,
    teacher: str = "last-layer",
    temperature: float = 1.0,
    detach: bool = True,
) -> Tensor:
    """KL over features: softmax of a text's raw prefix / temperature, against the same prefix at the last layer.

    Returns (len(layers), len(dims)), the mean over all the batch's queries and documents. The teacher is the batch's
    last layer; `detach=False` lets it learn too. Raises InputError for another teacher: a wider vector has more
    features to compare than the prefix. Source: 2DMSE, arXiv 2402.14776 v1.
    """
    if teacher != "last-layer":
        raise InputError(f'kl-features cannot have teacher {teacher!r}: only "last-layer" has as many features')
    students, (last,) = batch.text_rows(layers), batch.text_rows([batch.last_layer])  # (P, T, D), (T, D)
    last = last.detach() if detach else last
    cells = []
    with torch.autocast(students.device.type, enabled=False):
        for d in check_dims(dims, batch.width):
            student, right = (students[..., :d] / temperature).log_softmax(-1), last[:, :d] / temperature
            cells.append(_kl(right.log_softmax(-1), student))
    return torch.stack(cells, 1)


def kl_scores(
    batch: Batch,
    layers: Sequence[int],
    dims: Sequence[int],
    *,
    teacher: str = "full",
    temperature: float | None = None,
    detach: bool = True,
    fixed_document: bool = False,
) -> Tensor:
    """KL over scores: softmax of a query's scores over the batch's documents / temperature, against a teacher cell's.

    Returns (len(layers), len(dims)), the mean over queries. teacher: "last-layer" (L, same d), "full-width" (same
    layer, D) or "full" (L, D), where L is the batch's last layer. `fixed_document`: all documents from layer L.
    `detach=False` lets the teacher learn too. Raises InputError for an unknown teacher.
    Source: Starbucks, arXiv 2410.13230; 2D Matryoshka for retrieval, arXiv 2411.17299.
    """
    tau = batch.temperature if temperature is None else temperature
    right, student = _teacher_and_student(batch, layers, dims, teacher, detach, fixed_document)
    with torch.autocast(student.device.type, enabled=False):
        return _kl((right / tau).log_softmax(-1), (student / tau).log_softmax(-1))


def score_align(
    batch: Batch,
    layers: Sequence[int],
    dims: Sequence[int],
    *,
    teacher: str = "full-width",
    temperature: float | None = None,
    fixed_document: bool = False,
) -> Tensor:
    """Mean squared error of the scores plus KL over scores (`kl_scores`), against a teacher cell's, detached.

    Returns (len(layers), len(dims)). The squared error is of the scores themselves, the mean over queries and
    documents; the temperature belongs to the KL. Arguments as `kl_scores`. Source: SCORE in 2D Matryoshka for
    retrieval, arXiv 2411.17299, whose public code further divides by the number of scores.
    """
    tau = batch.temperature if temperature is None else temperature
    right, student = _teacher_and_student(batch, layers, dims, teacher, True, fixed_document)
    with torch.autocast(student.device.type, enabled=False):
        squares = F.mse_loss(student, right.expand_as(student), reduction="none").mean((-2, -1))
        return squares + _kl((right / tau).log_softmax(-1), (student / tau).log_softmax(-1))


def _teacher_and_student(
    batch: Batch, layers: Sequence[int], dims: Sequence[int], teacher: str, detach: bool, fixed_document: bool
) -> tuple[Tensor, Tensor]:
    """Scores of the teacher cells (P or 1, M or 1, B, N) and of the student's (P, M, B, N)."""
    if teacher not in TEACHERS:
        raise InputError(f"unknown teacher {teacher!r}: give one of {', '.join(TEACHERS)}")
    last = [batch.last_layer]
    rows, columns = (layers if teacher == "full-width" else last), (dims if teacher == "last-layer" else [batch.width])

    def scores(of: Sequence[int], widths: Sequence[int]) -> Tensor:
        documents = batch.document_rows(last * len(of) if fixed_document else of)
        return nested_scores(batch.query_rows(of), documents, widths, batch.cosine)

    with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        right = scores(rows, columns)
    return right, scores(layers, dims)


def _kl(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) of log-probabilities (…, B, C), which broadcast: mean over B of the sum over C."""
    return (teacher.exp() * (teacher - student)).sum(-1).mean(-1)


TERMS: dict[str, Callable[..., Tensor]] = {
    "contrastive": contrastive,
    "classification": classification,
    "cosent": cosent,
    "kl-features": kl_features,
    "kl-scores": kl_scores,
    "score-align": score_align,
    "align": align,
}


#: terms that compare queries with documents, which a classification task has not
DOCUMENT_TERMS = ("contrastive", "cosent", "kl-scores", "score-align")


def needs_last_layer(term: Callable[..., Tensor], options: dict) -> bool:
    """Whether a term with these options looks at the model's last layer, whatever cells it is asked for."""
    import inspect

    if term not in TERMS.values():
        return getattr(term, "needs_last_layer", True)  # a user's function may look at anything in the batch
    parameters = inspect.signature(term).parameters
    teacher = options.get("teacher", parameters["teacher"].default if "teacher" in parameters else None)
    return teacher in ("last-layer", "full") or bool(options.get("fixed_document"))
