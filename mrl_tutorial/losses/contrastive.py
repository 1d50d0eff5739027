"""Losses of a query's scores: which document is its answer (contrastive), and which pairs score higher (CoSENT)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.fused import FusedCrossEntropies
from mrl_tutorial.losses.term import Batch, Ints, term
from mrl_tutorial.prefixes import check_dims, nested_scores, pair_scores


def cross_entropies(
    queries: Tensor,
    documents: Tensor,
    dims: Ints,
    temperature: float = 0.05,
    symmetric: bool = False,
    cosine: bool = True,
) -> Tensor:
    """The loss in its plain form, to read: cross-entropy of each query's scores over all documents, in every cell.

    queries (L, B, D), documents (L, N, D) -> (L, M), the mean over queries. `symmetric` adds the direction document to
    query, over the positives alone, and halves. Source: MRL, arXiv 2205.13147, appendix C (each prefix of both sides
    normalized by itself).
    """
    scores = nested_scores(queries, documents, dims, cosine) / temperature  # (L, M, B, N)
    b = queries.shape[1]
    right = torch.arange(b, device=queries.device)  # (B,): query i's answer is document i

    def loss(cell: Tensor) -> Tensor:  # (B, N) -> ()
        there = F.cross_entropy(cell, right)
        return (there + F.cross_entropy(cell[:, :b].T, right)) / 2 if symmetric else there

    return torch.stack([torch.stack([loss(cell) for cell in row]) for row in scores])


@term("contrastive", needs_documents=True, needs_last_layer=lambda options: options["fixed_document"])
def contrastive(
    batch: Batch, layers: Ints, dims: Ints, *, temperature: float | None = None, fixed_document: bool = False
) -> Tensor:
    """Cross-entropy of query i's scores / temperature over the batch's documents, where document i is the positive.

    Returns (len(layers), len(dims)), the numbers of `cross_entropies` by its fused form. `fixed_document`: documents
    always from the batch's last layer (arXiv 2411.17299). Symmetry and cosine are the batch's.

    >>> contrastive(Batch(torch.eye(2)[None], torch.eye(2)[None], temperature=1.0), [1], [2])  # log(e + 1) - 1
    tensor([[0.3133]])
    """
    queries, documents = batch.pair_rows(layers, fixed_document)
    edges, tau = check_dims(dims, batch.width), batch.temperature if temperature is None else temperature
    with torch.autocast(queries.device.type, enabled=False):
        return FusedCrossEntropies.apply(queries, documents, edges, tau, batch.symmetric, batch.cosine)


@term("cosent", needs_documents=True, needs_last_layer=lambda options: options["fixed_document"])
def cosent(
    batch: Batch, layers: Ints, dims: Ints, *, temperature: float | None = None, fixed_document: bool = False
) -> Tensor:
    """CoSENT over graded pairs (query i, document i): log(1 + sum over label_i > label_j of exp((s_j - s_i) / tau)).

    Returns (len(layers), len(dims)). Raises InputError without labels or with more documents than queries. Source: the
    CoSENT loss of sentence-transformers."""
    if batch.labels is None:
        raise InputError("cosent needs a graded label for every pair")
    tau = batch.temperature if temperature is None else temperature
    scores = pair_scores(*batch.pair_rows(layers, fixed_document), dims, batch.cosine) / tau  # (L, M, B)
    higher, lower = (batch.labels[:, None] > batch.labels[None, :]).nonzero(as_tuple=True)
    gaps = scores[..., lower] - scores[..., higher]  # (L, M, ordered pairs)
    return torch.cat([gaps.new_zeros(*gaps.shape[:-1], 1), gaps], -1).logsumexp(-1)
