"""Losses of a query's scores: which document is its answer (contrastive), and which pairs score higher (CoSENT).

The contrastive loss is here twice: `cross_entropies` is its plain form, to read, `FusedCrossEntropies` gives the same
numbers forward and backward in one pass, two to five times as fast and in less than half the memory
(`mrl-tutorial bench loss`). That matters where the loss is much of a step: when heads are trained on frozen embeddings,
and with many documents per query. When a whole backbone is trained it hardly matters.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.term import Batch, Ints, term
from mrl_tutorial.prefixes import check_dims, inverse_norms, nested_scores, pair_scores

# scores computed together, in numbers: 1 << 20 are 4 MB, about a core's cache
GROUP = 1 << 20


def cross_entropies(
    queries: Tensor,
    documents: Tensor,
    dims: Ints,
    temperature: float = 0.05,
    symmetric: bool = False,
    cosine: bool = True,
) -> Tensor:
    """The plain form: cross-entropy of each query's scores over all documents, in every cell.

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
