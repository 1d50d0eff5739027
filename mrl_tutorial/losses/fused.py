"""The contrastive loss again, forward and backward in one pass: the numbers of `contrastive.cross_entropies`.

A whole step of training heads on frozen embeddings is a quarter to a half shorter with it, and it needs less than half
the memory (`mrl-tutorial bench loss`). When a whole backbone is trained it hardly matters. Read the plain form first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mrl_tutorial.prefixes import inverse_norms


def fused_cross_entropies(
    queries: Tensor, documents: Tensor, dims: Sequence[int], temperature: float, symmetric: bool, cosine: bool
) -> Tensor:
    """Arguments and result as in `contrastive.cross_entropies`, differentiable once."""
    rows, columns = (  # (L, M, B), (L, M, N): what an inner product is multiplied with on either side
        inverse_norms(x, dims) if cosine else x.new_ones(len(x), len(dims), x.shape[1]) for x in (queries, documents)
    )
    return _CrossEntropies.apply(queries, documents, rows / temperature, columns, tuple(dims), symmetric)


class _CrossEntropies(torch.autograd.Function):
    """A cell's loss is linear in its upstream gradient, a scalar, so the forward pass already forms d loss / d score
    (B, N) while the scores are in cache; the backward pass only sums those, from the widest dimension to the narrowest.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        documents: Tensor,
        rows: Tensor,
        columns: Tensor,
        dims: Sequence[int],
        symmetric: bool,
    ) -> Tensor:
        b, table = queries.shape[1], rows.new_empty(rows.shape[:2])
        sums = queries.new_zeros(len(queries), b, documents.shape[1])
        row_pulls, column_pulls, pulls = torch.empty_like(rows), torch.empty_like(columns), []
        for m, (start, end) in enumerate(pairwise((0, *dims))):
            # the running inner products of prefixes, updated in place
            sums.baddbmm_(queries[..., start:end], documents[..., start:end].mT)
            row, column = rows[:, m, :, None], columns[:, m, None]
            scores = (sums * row).mul_(column)  # (L, B, N)
            pull = scores.log_softmax(2)
            loss = -pull.diagonal(dim1=1, dim2=2).mean(1)
            pull.exp_()
            if symmetric:
                back = scores[..., :b].log_softmax(1)
                loss = (loss - back.diagonal(dim1=1, dim2=2).mean(1)) / 2
                pull[..., :b].add_(back.exp_()).diagonal(dim1=1, dim2=2).sub_(1)
            pull.diagonal(dim1=1, dim2=2).sub_(1)  # now d loss / d score, but for the share below
            table[:, m] = loss
            both = torch.mul(pull, sums, out=scores)
            row_pulls[:, m] = (both @ column.mT)[..., 0]
            column_pulls[:, m] = (row.mT @ both)[:, 0]
            if any(ctx.needs_input_grad):
                pulls.append(pull.mul_(row))
        ctx.save_for_backward(queries, documents, columns, row_pulls, column_pulls, *pulls)
        ctx.dims, ctx.share = dims, 1 / (2 * b if symmetric else b)
        return table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, documents, columns, row_pulls, column_pulls, *pulls = ctx.saved_tensors
        cells = (gradient * ctx.share)[..., None]  # (L, M, 1)
        columns = columns * cells
        d_queries, d_documents = torch.zeros_like(queries), torch.zeros_like(documents)
        total = torch.zeros_like(pulls[0])
        # the coordinates of block m enter every score at dims[m] and above: one sum, one product a block
        for m, (start, end) in reversed(list(enumerate(pairwise((0, *ctx.dims))))):
            total.addcmul_(pulls[m], columns[:, m, None])
            d_queries[..., start:end] = total @ documents[..., start:end]
            d_documents[..., start:end] = total.mT @ queries[..., start:end]
        return d_queries, d_documents, row_pulls * cells, column_pulls * cells, None, None
