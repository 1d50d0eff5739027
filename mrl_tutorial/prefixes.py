"""The algebra of prefixes: cut, norms of all prefixes, scores at every dimension in one pass.

Everything rests on one identity. With coordinate blocks between consecutive dimensions, the inner product of two
prefixes is a running sum of block products, S_m = S_(m-1) + Q_block D_block', and the cosine is S_m divided by the
prefix norms. All nested dimensions therefore cost one full-width matrix product, forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mrl_tutorial.errors import InputError

# scores computed together, in numbers: 1 << 20 are 4 MB, about a core's cache
GROUP = 1 << 20


def normalize(x: Tensor, dim: int | None = None) -> Tensor:
    """Unit vectors along axis `dim` (default: the last). x: any shape. Zero vectors stay zero, with a zero gradient."""
    axis = -1 if dim is None else dim
    squares = x.square().sum(axis, keepdim=True)
    return x * _inverse_root(squares)


def prefix(x: Tensor, d: int, normalize: bool = True) -> Tensor:
    """The first `d` coordinates, then (never before) unit length. (…, D) -> (…, d).

    Raises InputError where `d` is not in 1..D. MRL, arXiv 2205.13147, section 3.
    """
    check_dims([d], x.shape[-1])
    cut = x[..., :d]
    return _normalize(cut) if normalize else cut


def prefix_norms(x: Tensor, dims: Sequence[int]) -> Tensor:
    """Euclidean norms of the prefixes of every vector in one pass. (…, N, D) -> (…, N, M), M = len(dims).

    A zero prefix has norm 0 and a zero gradient. Raises InputError where `dims` do not increase within 1..D.
    """
    squares = _prefix_squares(x, check_dims(dims, x.shape[-1]))
    return squares * _inverse_root(squares)


def nested_scores(queries: Tensor, documents: Tensor, dims: Sequence[int], cosine: bool = True) -> Tensor:
    """Scores of every query with every document at every dimension, for the price of one full-width product.

    queries (…, B, D), documents (…, N, D) -> (…, M, B, N), computed in float32 (float64 stays): cosine, or the inner
    product of raw prefixes with `cosine=False`. A zero prefix scores 0 and gets no gradient. Differentiable once.
    Raises InputError where shapes disagree or `dims` do not increase within 1..D.
    """
    edges = check_dims(dims, queries.shape[-1])
    check_pair(queries, documents)
    q, d = at_least_float32(queries), at_least_float32(documents)
    with torch.autocast(q.device.type, enabled=False):
        flat = _NestedScores.apply(q.reshape(-1, *q.shape[-2:]), d.reshape(-1, *d.shape[-2:]), edges, cosine)
    return flat.reshape(*q.shape[:-2], *flat.shape[1:])


def pair_scores(queries: Tensor, documents: Tensor, dims: Sequence[int], cosine: bool = True) -> Tensor:
    """Scores of query i with document i only. queries, documents (…, B, D) -> (…, M, B). Else as `nested_scores`."""
    edges = check_dims(dims, queries.shape[-1])
    check_pair(queries, documents)
    if queries.shape != documents.shape:
        raise InputError(f"{queries.shape[-2]} queries, {documents.shape[-2]} documents: pairs need as many of both")
    q, d = at_least_float32(queries), at_least_float32(documents)
    scores = _block_sums(q * d, edges).cumsum(-1)  # (…, B, M)
    if cosine:
        scores = scores * _inverse_root(_prefix_squares(q, edges)) * _inverse_root(_prefix_squares(d, edges))
    return scores.transpose(-1, -2)


@torch.no_grad()
def iter_scores(
    queries: Tensor, documents: Tensor, dims: Sequence[int], cosine: bool = True
) -> Iterator[tuple[int, Tensor]]:
    """Yield `(d, scores (B, N))` for each dimension in turn, from running sums; for evaluation, without gradient.

    queries (B, D), documents (N, D). The yielded tensor is a buffer that the next step overwrites: use it or copy it.
    Every dimension 1..D is affordable: a step costs its own block's product. Raises InputError as `nested_scores`.
    """
    edges = check_dims(dims, queries.shape[-1])
    check_pair(queries, documents)
    q, d = at_least_float32(queries), at_least_float32(documents)
    sums = q.new_zeros(q.shape[0], d.shape[0])
    out = torch.empty_like(sums) if cosine else sums
    q_squares, d_squares = q.new_zeros(q.shape[0], 1), d.new_zeros(d.shape[0])
    start = 0
    for end in edges:
        q_block, d_block = q[:, start:end], d[:, start:end]
        sums.addmm_(q_block, d_block.T)
        if cosine:
            q_squares += q_block.square().sum(-1, keepdim=True)
            d_squares += d_block.square().sum(-1)
            torch.mul(sums, _inverse_root(d_squares), out=out)
            out.mul_(_inverse_root(q_squares))
        start = end
        yield end, out


def check_dims(dims: Sequence[int], width: int) -> tuple[int, ...]:
    """`dims` as a tuple of ints. Raises InputError unless they increase strictly within 1..width."""
    dims = tuple(int(d) for d in dims)
    if not dims:
        raise InputError("no dimensions: give at least one")
    for d in dims:
        if not 1 <= d <= width:
            raise InputError(f"dimension {d} does not exist: these vectors have 1 to {width} coordinates")
    if any(a >= b for a, b in pairwise(dims)):
        raise InputError(f"dimensions {list(dims)} must increase: sort them and drop repeats")
    return dims


def check_pair(queries: Tensor, documents: Tensor) -> None:
    """Raises InputError unless queries (…, B, D) and documents (…, N, D) agree in all but B and N."""
    if queries.shape[:-2] != documents.shape[:-2] or queries.shape[-1] != documents.shape[-1]:
        raise InputError(
            f"queries {tuple(queries.shape)} and documents {tuple(documents.shape)} differ in layers or width: "
            "encode both with the same model"
        )


def at_least_float32(x: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; float32 and float64 as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def inverse_norms(x: Tensor, dims: Sequence[int]) -> Tensor:
    """1 / norm of every prefix, 0 where the prefix is zero. (…, N, D) -> (…, M, N)."""
    return _inverse_root(_prefix_squares(x, dims)).transpose(-1, -2).contiguous()


def block_products(q: Tensor, d: Tensor, dims: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Yield `(m, sums (P, B, N))`: the running inner products of prefixes, one tensor updated in place."""
    sums = q.new_empty(q.shape[0], q.shape[1], d.shape[1])
    start = 0
    for m, end in enumerate(dims):
        torch.baddbmm(sums, q[..., start:end], d[..., start:end].mT, beta=float(start > 0), out=sums)
        start = end
        yield m, sums


def slice_groups(slices: int, cells: int) -> list[slice]:
    """Slices taken together: as many as keep a (P, B, N) array of scores in the processor's cache."""
    step = max(1, GROUP // cells)
    return [slice(start, min(start + step, slices)) for start in range(0, slices, step)]


class _NestedScores(torch.autograd.Function):
    """Forward: (P, B, D), (P, N, D) -> (P, M, B, N). Backward: from the widest block to the narrowest, because the
    coordinates of block j enter every score at dims[j] and above: one suffix sum of gradients, one product a block."""

    @staticmethod
    def forward(ctx, queries, documents, dims, cosine):
        (slices, b, _), n = queries.shape, documents.shape[1]
        scores = queries.new_empty(slices, len(dims), b, n)
        q_inverse, d_inverse = (inverse_norms(x, dims) if cosine else None for x in (queries, documents))
        for group in slice_groups(slices, b * n):
            for m, sums in block_products(queries[group], documents[group], dims):
                scores[group, m] = sums * d_inverse[group, m, None] * q_inverse[group, m, :, None] if cosine else sums
        ctx.save_for_backward(queries, documents, scores if cosine else None, q_inverse, d_inverse)
        ctx.dims = dims
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        queries, documents, scores, q_inverse, d_inverse = ctx.saved_tensors
        q_pull = d_pull = None
        if scores is not None:  # d cosine / d norm, a (P, M, B) and a (P, M, N) vector
            along = gradient * scores
            q_pull, d_pull = along.sum(-1) * q_inverse.square(), along.sum(-2) * d_inverse.square()

        def add(group: slice, m: int, total: Tensor) -> None:
            if scores is None:
                total += gradient[group, m]
            else:
                total.addcmul_(gradient[group, m] * q_inverse[group, m, :, None], d_inverse[group, m, None])

        return *suffix_gradient(queries, documents, ctx.dims, add, q_pull, d_pull), None, None


def suffix_gradient(queries, documents, dims, add, q_pull=None, d_pull=None) -> tuple[Tensor, Tensor]:
    """Gradients (P, B, D) and (P, N, D) of anything computed from nested scores.

    `add(group, m, total (p, B, N))` adds the gradient with respect to the inner products of those slices at dims[m].
    `q_pull` (P, M, B) and `d_pull` (P, M, N) multiply the vectors themselves: the share of the prefix norms.
    """
    d_queries, d_documents = torch.zeros_like(queries), torch.zeros_like(documents)
    if q_pull is not None:
        q_pull, d_pull = (x.flip(1).cumsum(1).flip(1) for x in (q_pull, d_pull))
    edges = list(pairwise((0, *dims)))
    (slices, b, _), n = queries.shape, documents.shape[1]
    for group in slice_groups(slices, b * n):
        total = queries.new_zeros(group.stop - group.start, b, n)
        for m in reversed(range(len(dims))):
            block = slice(*edges[m])
            q, d = queries[group, :, block], documents[group, :, block]
            add(group, m, total)
            d_queries[group, :, block], d_documents[group, :, block] = total @ d, total.mT @ q
            if q_pull is not None:
                d_queries[group, :, block].addcmul_(q, q_pull[group, m, :, None], value=-1)
                d_documents[group, :, block].addcmul_(d, d_pull[group, m, :, None], value=-1)
    return d_queries, d_documents


def _block_sums(x: Tensor, dims: Sequence[int]) -> Tensor:
    """(…, D) -> (…, M): the sum of each block of coordinates."""
    return torch.stack([x[..., start:end].sum(-1) for start, end in pairwise((0, *dims))], -1)


def _prefix_squares(x: Tensor, dims: Sequence[int]) -> Tensor:
    return _block_sums(at_least_float32(x).square(), dims).cumsum(-1)


def _inverse_root(squares: Tensor) -> Tensor:
    # 0 where the square is 0; the inner `where` keeps the infinite derivative there out of the backward pass
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1).rsqrt(), 0)


_normalize = normalize  # `prefix` has an argument of that name
