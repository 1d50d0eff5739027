"""The contrastive loss of every cell, in one pass over the nested scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .batch import Batch
from .nesting import block_products, check_dims, inverse_norms, suffix_gradient


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
    pass already forms d loss / d inner product (B, N) from the scores while they are in cache; the backward pass only
    sums those from the widest dimension to the narrowest, with one product a block."""

    @staticmethod
    def forward(ctx, queries, documents, dims, temperature, symmetric, cosine):
        (slices, b, _), n = queries.shape, documents.shape[1]
        table = queries.new_empty(slices, len(dims))
        if cosine:
            q_scale, d_scale = inverse_norms(queries, dims), inverse_norms(documents, dims)
        else:
            q_scale, d_scale = queries.new_ones(slices, len(dims), b), queries.new_ones(slices, len(dims), n)
        q_pull, d_pull = torch.empty_like(q_scale), torch.empty_like(d_scale)
        pulls = queries.new_empty(slices, len(dims), b, n) if any(ctx.needs_input_grad) else None
        spare = queries.new_empty(b, n)
        for p in range(slices):
            for m, sums in block_products(queries[p], documents[p], dims):
                pull = spare if pulls is None else pulls[p, m]
                rows, columns = q_scale[p, m, :, None] / temperature, d_scale[p, m]  # (B, 1), (N,)
                table[p, m] = _cell(sums, rows, columns, symmetric, pull, pulls is not None)
                if pulls is not None and cosine:  # the share of the prefix norms: gradient times score, summed
                    torch.mul(pull, sums, out=spare)
                    torch.sum(spare, 1, out=q_pull[p, m])
                    torch.sum(spare, 0, out=d_pull[p, m])
        if pulls is not None:
            if cosine:
                q_pull *= q_scale.square()
                d_pull *= d_scale.square()
            ctx.save_for_backward(queries, documents, pulls, *((q_pull, d_pull) if cosine else (None, None)))
            ctx.dims = dims
        return table

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        queries, documents, pulls, q_pull, d_pull = ctx.saved_tensors
        scalars = gradient.tolist()

        def add(p: int, m: int, total: Tensor) -> None:
            total.add_(pulls[p, m], alpha=scalars[p][m])

        if q_pull is not None:
            q_pull, d_pull = q_pull * gradient[..., None], d_pull * gradient[..., None]
        return *suffix_gradient(queries, documents, ctx.dims, add, q_pull, d_pull), None, None, None, None


def _cell(sums: Tensor, rows: Tensor, columns: Tensor, symmetric: bool, pull: Tensor, with_gradient: bool) -> Tensor:
    """Loss of one cell from inner products (B, N), scores being rows * sums * columns; d loss / d sums into `pull`."""
    b = len(sums)
    torch.mul(sums, columns, out=pull)
    right = pull.diagonal() * rows[:, 0]
    top = pull.amax(1, keepdim=True) * rows  # rows >= 0, so the largest stays the largest
    back = pull[:, :b] * rows if symmetric else None
    torch.addcmul(-top, pull, rows, out=pull).exp_()
    total = pull.sum(1, keepdim=True)
    loss = (total.log() + top)[:, 0].sub_(right).mean()
    share = 0.5 if symmetric else 1.0
    if with_gradient:
        pull.mul_(rows * (share / b) / total)
    if symmetric:
        loss = (loss + (back.logsumexp(0) - right).mean()) / 2
        if with_gradient:
            pull[:, :b].addcmul_(back.softmax(0), rows, value=share / b)
    if with_gradient:
        pull.diagonal().sub_(rows[:, 0] / b)
        pull.mul_(columns)
    return loss
