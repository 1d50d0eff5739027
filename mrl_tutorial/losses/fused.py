"""The contrastive loss again, forward and backward in one pass: the numbers of `contrastive.cross_entropies`.

A whole step of training heads on frozen embeddings is a fifth to a half shorter with it, and needs less memory
(`mrl-tutorial bench loss`). When a whole backbone is trained it hardly matters. Read the plain form first.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mrl_tutorial.losses.term import Ints
from mrl_tutorial.prefixes import inverse_norms


def fused_cross_entropies(
    queries: Tensor, documents: Tensor, dims: Ints, temperature: float, symmetric: bool, cosine: bool
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
    def forward(ctx: Any, q: Tensor, d: Tensor, rows: Tensor, columns: Tensor, dims: Ints, symmetric: bool) -> Tensor:
        b, table = q.shape[1], rows.new_empty(rows.shape[:2])
        sums = q.new_zeros(len(q), b, d.shape[1])
        row_pulls, column_pulls, pulls = torch.empty_like(rows), torch.empty_like(columns), []
        for m, (start, end) in enumerate(pairwise((0, *dims))):
            sums.baddbmm_(q[..., start:end], d[..., start:end].mT)  # the running inner products of prefixes
            row, column = rows[:, m, :, None], columns[:, m, None]
            scores = (sums * row).mul_(column)  # (L, B, N)
            pull = scores.log_softmax(2)
            loss = -pull.diagonal(dim1=1, dim2=2).mean(1)
            pull.exp_().diagonal(dim1=1, dim2=2).sub_(1)  # d loss / d score, but for `ctx.share`
            if symmetric:
                back = scores[..., :b].log_softmax(1)
                loss = (loss - back.diagonal(dim1=1, dim2=2).mean(1)) / 2
                pull[..., :b].add_(back.exp_()).diagonal(dim1=1, dim2=2).sub_(1)
            table[:, m] = loss
            both = torch.mul(pull, sums, out=scores)
            row_pulls[:, m] = (both @ column.mT)[..., 0]
            column_pulls[:, m] = (row.mT @ both)[:, 0]
            if any(ctx.needs_input_grad):
                pulls.append(pull.mul_(row))
        ctx.save_for_backward(q, d, columns, row_pulls, column_pulls, *pulls)
        ctx.dims, ctx.share = dims, 1 / (2 * b if symmetric else b)
        return table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, d, columns, row_pulls, column_pulls, *pulls = ctx.saved_tensors
        cells = (gradient * ctx.share)[..., None]  # (L, M, 1)
        columns = columns * cells
        q_gradient, d_gradient, total = torch.zeros_like(q), torch.zeros_like(d), torch.zeros_like(pulls[0])
        # the coordinates of block m enter every score at dims[m] and above: one sum, one product a block
        for m, (start, end) in reversed(list(enumerate(pairwise((0, *ctx.dims))))):
            total.addcmul_(pulls[m], columns[:, m, None])
            q_gradient[..., start:end] = total @ d[..., start:end]
            d_gradient[..., start:end] = total.mT @ q[..., start:end]
        return q_gradient, d_gradient, row_pulls * cells, column_pulls * cells, None, None
