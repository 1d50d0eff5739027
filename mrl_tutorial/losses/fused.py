"""The contrastive loss again, forward and backward in one pass: the numbers of `contrastive.cross_entropies`.

It is two to five times as fast and needs less than half the memory (`mrl-tutorial bench loss`). That matters where the
loss is much of a step: when heads are trained on frozen embeddings, and with many documents per query. When a whole
backbone is trained it hardly matters. The plain form is in `contrastive.py`; read that one first.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mrl_tutorial.prefixes import inverse_norms

# scores computed together, in numbers: 1 << 20 are 4 MB, about a core's cache
GROUP = 1 << 20


class FusedCrossEntropies(torch.autograd.Function):
    """queries (L, B, D), documents (L, N, D), dims, temperature, symmetric, cosine -> (L, M), differentiable once.

    The loss of a cell is linear in its upstream gradient, a scalar, so the forward pass already forms d loss / d score
    (B, N) while the scores are in cache; the backward pass only sums those from the widest dimension to the narrowest,
    with one product a block. Memory: one (B, N) gradient a cell."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        documents: Tensor,
        dims: tuple[int, ...],
        temperature: float,
        symmetric: bool,
        cosine: bool,
    ) -> Tensor:
        (layers, b, _), n = queries.shape, documents.shape[1]
        q_scale, d_scale = (  # (L, M, B), (L, M, N)
            inverse_norms(x, dims) if cosine else x.new_ones(layers, len(dims), x.shape[1])
            for x in (queries, documents)
        )
        q_pull, d_pull = torch.zeros_like(q_scale), torch.zeros_like(d_scale)
        table = queries.new_empty(layers, len(dims))
        wanted = any(ctx.needs_input_grad)
        pulls = queries.new_empty(layers, len(dims), b, n) if wanted else None
        for group in _groups(layers, b * n):
            q, d = queries[group], documents[group]
            spare, sums = (queries.new_empty(len(q), b, n) for _ in range(2))
            for m, (start, end) in enumerate(pairwise((0, *dims))):
                # the running inner products of prefixes, updated in place
                torch.baddbmm(sums, q[..., start:end], d[..., start:end].mT, beta=float(start > 0), out=sums)
                pull = spare if pulls is None else pulls[group, m]
                rows, columns = q_scale[group, m] / temperature, d_scale[group, m]  # (l, B), (l, N)
                table[group, m] = _cells(sums, rows, columns, symmetric, pull, wanted)
                if wanted and cosine:  # the share of the prefix norms: gradient times score, summed over N and over B
                    torch.mul(pull, sums, out=spare)
                    q_pull[group, m] = (spare @ columns[..., None])[..., 0]
                    d_pull[group, m] = spare.sum(1) * columns
        if wanted:
            q_pull, d_pull = q_pull.mul_(q_scale.square()), d_pull.mul_(d_scale.square())
            ctx.save_for_backward(queries, documents, pulls, d_scale, q_pull, d_pull)
            ctx.dims = dims
        return table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, documents, pulls, d_scale, *norm_pulls = ctx.saved_tensors
        columns = d_scale * gradient[..., None]  # (L, M, N)
        # what the norms of block m's prefix and of all wider ones ask for; zero without cosine
        q_pull, d_pull = ((x * gradient[..., None]).flip(1).cumsum(1).flip(1) for x in norm_pulls)
        d_queries, d_documents = torch.zeros_like(queries), torch.zeros_like(documents)
        (layers, b, _), n = queries.shape, documents.shape[1]
        for group in _groups(layers, b * n):
            # the coordinates of block m enter every score at dims[m] and above: one suffix sum, one product a block
            total = queries.new_zeros(group.stop - group.start, b, n)
            for m, (start, end) in reversed(list(enumerate(pairwise((0, *ctx.dims))))):
                block = slice(start, end)
                q, d = queries[group, :, block], documents[group, :, block]
                total.addcmul_(pulls[group, m], columns[group, m, None])
                d_queries[group, :, block] = (total @ d).addcmul_(q, q_pull[group, m, :, None], value=-1)
                d_documents[group, :, block] = (total.mT @ q).addcmul_(d, d_pull[group, m, :, None], value=-1)
        return d_queries, d_documents, None, None, None, None


def _groups(layers: int, scores: int) -> list[slice]:
    """Layers taken together: as many as keep a (l, B, N) array of scores in the processor's cache."""
    step = max(1, GROUP // scores)
    return [slice(start, min(start + step, layers)) for start in range(0, layers, step)]


def _cells(sums: Tensor, rows: Tensor, columns: Tensor, symmetric: bool, pull: Tensor, wanted: bool) -> Tensor:
    """Losses (l,) from inner products (l, B, N), a score being row * sum * column; writes to `pull` the gradient
    d loss / d sum, up to the factor `column`. Few passes over few buffers: this is what the loss spends its time on."""
    b, rows = sums.shape[1], rows[..., None]
    torch.mul(sums, columns[:, None], out=pull)
    right = pull.diagonal(dim1=1, dim2=2) * rows[..., 0]  # (l, B)
    top = pull.amax(2, keepdim=True) * rows  # rows >= 0, so the largest stays the largest
    back = pull[..., :b] * rows if symmetric else None
    torch.addcmul(-top, pull, rows, out=pull).exp_()
    total = pull.sum(2, keepdim=True)
    loss = ((total.log() + top)[..., 0] - right).mean(1)
    share = 1.0 if back is None else 0.5
    if wanted:
        pull.mul_(rows * (share / b) / total)
    if back is not None:
        loss = (loss + (back.logsumexp(1) - right).mean(1)) / 2
        if wanted:
            pull[..., :b].addcmul_(back.softmax(1), rows, value=share / b)
    if wanted:
        pull.diagonal(dim1=1, dim2=2).sub_(rows[..., 0] / b)
    return loss
