"""The loss of graded pairs: pairs with the higher grade should have the higher score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.losses.term import term
from mrl_tutorial.prefixes import pair_scores


@term("cosent", needs_documents=True, needs_last_layer=lambda options: options["fixed_document"])
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

    >>> x, y = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # scores 1 and 0
    >>> cosent(Batch(x[None], y[None], labels=torch.tensor([0.9, 0.1]), temperature=1.0), [1], [2])  # log(1 + 1/e)
    tensor([[0.3133]])
    """
    if batch.labels is None:
        raise InputError("cosent needs a graded label for every pair")
    tau = batch.temperature if temperature is None else temperature
    queries, documents = batch.pair_rows(layers, fixed_document)
    with torch.autocast(queries.device.type, enabled=False):
        scores = pair_scores(queries, documents, dims, batch.cosine) / tau  # (L, M, B)
        higher, lower = (batch.labels[:, None] > batch.labels[None, :]).nonzero(as_tuple=True)
        gaps = scores[..., lower] - scores[..., higher]  # (L, M, ordered pairs)
        return torch.cat([gaps.new_zeros(*gaps.shape[:-1], 1), gaps], -1).logsumexp(-1)
