"""The contrastive loss of every cell, in one pass over the nested scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.prefixes import block_products, check_dims, inverse_norms, slice_groups, suffix_gradient


def contrastive(
    batch: Batch,
    layers: Sequence[int],
    dims: Sequence[int],
    *,
    temperature: float | None = None,
    fixed_document: bool = False,
) -> Tensor:
    """Cross-entropy of query i's scores / temperature over the batch's documents, document i being right.

    Returns (len(layers), len(dims)), the mean over queries in each cell. `batch.symmetric` adds the direction document
    to query (positives only) and halves. `fixed_document`: documents always from the batch's last layer
    (arXiv 2411.17299). Memory: one (B, N) gradient a cell; no (L, B, N, D) array. Raises InputError as `Batch`.
    Source: MRL, arXiv 2205.13147, appendix C (each prefix of both sides normalised by itself).
    """
    queries = batch.query_rows(layers)
    documents = batch.document_rows([batch.last_layer] * len(layers) if fixed_document else layers)
    tau = batch.temperature if temperature is None else temperature
    edges = check_dims(dims, batch.width)
    with torch.autocast(queries.device.type, enabled=False):
        return _Contrastive.apply(queries, documents, edges, tau, batch.symmetric, batch.cosine)


class _Contrastive(torch.autograd.Function):
    """(P, B, D), (P, N, D) -> (P, M). The loss of a cell is linear in its upstream gradient, a scalar, so the forward
    pass already forms d loss / d score (B, N) while the scores are in cache; the backward pass only sums those from the
    widest dimension to the narrowest, with one product a block."""

    @staticmethod
    def forward(ctx, queries, documents, dims, temperature, symmetric, cosine):
        (slices, b, _), n = queries.shape, documents.shape[1]
        if cosine:
            q_scale, d_scale = inverse_norms(queries, dims), inverse_norms(documents, dims)  # (P, M, B), (P, M, N)
        else:
            q_scale, d_scale = queries.new_ones(slices, len(dims), b), queries.new_ones(slices, len(dims), n)
        q_pull, d_pull = torch.empty_like(q_scale), torch.empty_like(d_scale)
        table = queries.new_empty(slices, len(dims))
        wanted = any(ctx.needs_input_grad)
        pulls = queries.new_empty(slices, len(dims), b, n) if wanted else None
        for group in slice_groups(slices, b * n):
            spare = queries.new_empty(group.stop - group.start, b, n)
            for m, sums in block_products(queries[group], documents[group], dims):
                pull = pulls[group, m] if wanted else spare
                rows, columns = q_scale[group, m] / temperature, d_scale[group, m]  # (p, B), (p, N)
                table[group, m] = _cells(sums, rows, columns, symmetric, pull, wanted)
                if wanted and cosine:  # the share of the prefix norms: gradient times score, summed over N and over B
                    torch.mul(pull, sums, out=spare)
                    q_pull[group, m] = (spare @ columns[..., None])[..., 0]
                    d_pull[group, m] = spare.sum(1) * columns
        if wanted:
            if cosine:
                q_pull *= q_scale.square()
                d_pull *= d_scale.square()
            ctx.save_for_backward(queries, documents, pulls, d_scale, *((q_pull, d_pull) if cosine else (None, None)))
            ctx.dims = dims
        return table

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        queries, documents, pulls, d_scale, q_pull, d_pull = ctx.saved_tensors
        columns = d_scale * gradient[..., None]  # (P, M, N)

        def add(group: slice, m: int, total: Tensor) -> None:
            total.addcmul_(pulls[group, m], columns[group, m, None])

        if q_pull is not None:
            q_pull, d_pull = q_pull * gradient[..., None], d_pull * gradient[..., None]
        return *suffix_gradient(queries, documents, ctx.dims, add, q_pull, d_pull), None, None, None, None


def _cells(sums: Tensor, rows: Tensor, columns: Tensor, symmetric: bool, pull: Tensor, gradient: bool) -> Tensor:
    """Losses (P,) from inner products (P, B, N), a score being row * sum * column; leaves in `pull` what, times the
    column, is d loss / d sum. Few passes over few buffers: this is what the loss spends its time on."""
    b, rows = sums.shape[1], rows[..., None]
    torch.mul(sums, columns[:, None], out=pull)
    right = pull.diagonal(dim1=1, dim2=2) * rows[..., 0]  # (P, B)
    top = pull.amax(2, keepdim=True) * rows  # rows >= 0, so the largest stays the largest
    back = pull[..., :b] * rows if symmetric else None
    torch.addcmul(-top, pull, rows, out=pull).exp_()
    total = pull.sum(2, keepdim=True)
    loss = ((total.log() + top)[..., 0] - right).mean(1)
    share = 0.5 if symmetric else 1.0
    if gradient:
        pull.mul_(rows * (share / b) / total)
    if symmetric:
        loss = (loss + (back.logsumexp(1) - right).mean(1)) / 2
        if gradient:
            pull[..., :b].addcmul_(back.softmax(1), rows, value=share / b)
    if gradient:
        pull.diagonal(dim1=1, dim2=2).sub_(rows[..., 0] / b)
    return loss
