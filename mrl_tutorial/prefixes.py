"""The algebra of prefixes: cut, norms of all prefixes, scores at every dimension in one pass.

Everything rests on one identity. Cut the coordinates into blocks at the dimensions d_1 < d_2 < …: the inner product of
two prefixes is a running sum of block products, S_m = S_(m-1) + Q_block D_block', and the cosine is S_m divided by the
norms of the prefixes. All nested dimensions therefore cost one full-width matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from mrl_tutorial.errors import InputError


def normalize(x: Tensor, dim: int = -1) -> Tensor:
    """Unit vectors along axis `dim`, in x's own type. x: any shape. Zero vectors stay zero, with a zero gradient.

    >>> normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    wide = at_least_float32(x)  # float16 cannot hold the squares of 300 or of 0.0001
    found = wide * _inverse_root(wide.square().sum(dim, keepdim=True))
    return found.to(x.dtype) if x.is_floating_point() else found


def prefix(x: Tensor, d: int, unit: bool = True) -> Tensor:
    """The first `d` coordinates, then (never before) unit length. (…, D) -> (…, d).

    Raises InputError where `d` is not in 1..D. MRL, arXiv 2205.13147, section 3.

    >>> prefix(torch.tensor([3.0, 4.0, 12.0]), 2)
    tensor([0.6000, 0.8000])
    """
    check_dims([d], x.shape[-1])
    cut = x[..., :d]
    return normalize(cut) if unit else cut


def nested_scores(queries: Tensor, documents: Tensor, dims: Sequence[int], cosine: bool = True) -> Tensor:
    """Scores of every query with every document at every dimension, for the price of one full-width product.

    queries (…, B, D), documents (…, N, D) -> (…, M, B, N), computed in float32 (float64 stays): cosine, or the inner
    product of raw prefixes with `cosine=False`. A zero prefix scores 0 and gets no gradient.
    Raises InputError where shapes disagree or `dims` do not increase within 1..D.

    >>> nested_scores(torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]), [2, 3])
    tensor([[[1.0000, 0.0000]],
    <BLANKLINE>
            [[0.7071, 0.5000]]])
    """
    edges = check_dims(dims, queries.shape[-1])
    check_pair(queries, documents)
    q, d = at_least_float32(queries), at_least_float32(documents)
    with torch.autocast(q.device.type, enabled=False):
        products = [q[..., a:b] @ d[..., a:b].mT for a, b in pairwise((0, *edges))]  # M x (…, B, N), one per block
        scores = torch.stack(list(accumulate(products)), -3)  # (…, M, B, N), the inner products of prefixes
        if cosine:
            scores = scores * inverse_norms(q, edges)[..., None] * inverse_norms(d, edges)[..., None, :]
    return scores


def pair_scores(queries: Tensor, documents: Tensor, dims: Sequence[int], cosine: bool = True) -> Tensor:
    """Scores of query i with document i only. queries, documents (…, B, D) -> (…, M, B). Else as in `nested_scores`.

    >>> pair_scores(torch.tensor([[1.0, 0.0], [2.0, 2.0]]), torch.tensor([[1.0, 1.0], [3.0, 0.0]]), [1, 2])
    tensor([[1.0000, 1.0000],
            [0.7071, 0.7071]])
    """
    edges = check_dims(dims, queries.shape[-1])
    check_pair(queries, documents)
    if queries.shape != documents.shape:
        raise InputError(f"{queries.shape[-2]} queries, {documents.shape[-2]} documents: pairs need as many of both")
    q, d = (at_least_float32(x[..., : edges[-1]]) for x in (queries, documents))
    scores = _prefix_sums(q * d, edges)
    return scores * inverse_norms(q, edges) * inverse_norms(d, edges) if cosine else scores


@torch.no_grad()
def iter_scores(
    queries: Tensor, documents: Tensor, dims: Sequence[int], cosine: bool = True
) -> Iterator[tuple[int, Tensor]]:
    """Yield `(d, scores (B, N))` for each dimension in turn, from running sums; for evaluation, without gradient.

    queries (B, D), documents (N, D). The yielded tensor is a buffer that the next step overwrites: use it or copy it.
    Every dimension 1..D is affordable: a step costs its own block's product. Raises InputError as in `nested_scores`.
    """
    edges = check_dims(dims, queries.shape[-1])
    check_pair(queries, documents)
    q, d = at_least_float32(queries), at_least_float32(documents)
    sums = q.new_zeros(q.shape[0], d.shape[0])
    out = torch.empty_like(sums) if cosine else sums
    q_squares, d_squares = q.new_zeros(q.shape[0], 1), d.new_zeros(d.shape[0])
    for start, end in pairwise((0, *edges)):
        q_block, d_block = q[:, start:end], d[:, start:end]
        sums.addmm_(q_block, d_block.T)
        if cosine:
            q_squares += q_block.square().sum(-1, keepdim=True)
            d_squares += d_block.square().sum(-1)
            torch.mul(sums, _inverse_root(d_squares), out=out)
            out.mul_(_inverse_root(q_squares))
        yield end, out


def inverse_norms(x: Tensor, dims: Sequence[int]) -> Tensor:
    """1 / Euclidean norm of every prefix in one pass, 0 where the prefix is zero. (…, N, D) -> (…, M, N).

    Raises InputError where `dims` do not increase within 1..D."""
    edges = check_dims(dims, x.shape[-1])
    used = at_least_float32(x[..., : edges[-1]])  # cut first: an infinite coordinate beyond must not reach the gradient
    return _inverse_root(_prefix_sums(used.square(), edges))


def check_dims(dims: Sequence[int], width: int) -> tuple[int, ...]:
    """`dims` as a tuple of ints. Raises InputError unless they increase strictly within 1..width."""
    given = tuple(dims)
    found = tuple(int(d) for d in given)
    for d in given:
        if not 1 <= d <= width or d != int(d):
            raise InputError(f"dimension {d} does not exist: these vectors have 1 to {width} coordinates")
    if not found or any(a >= b for a, b in pairwise(found)):
        raise InputError(f"dimensions {list(found)} must increase: give at least one, sorted, without repeats")
    return found


def check_pair(queries: Tensor, documents: Tensor) -> None:
    """Raises InputError unless queries (…, B, D) and documents (…, N, D) agree in all but B and N."""
    if queries.shape[:-2] != documents.shape[:-2] or queries.shape[-1] != documents.shape[-1]:
        shapes = f"queries {tuple(queries.shape)} and documents {tuple(documents.shape)}"
        raise InputError(f"{shapes} differ in layers or width: encode both with the same model")


def at_least_float32(x: Tensor) -> Tensor:
    """float16 and bfloat16 as float32; float32 and float64 as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _prefix_sums(x: Tensor, edges: Sequence[int]) -> Tensor:
    """(…, N, D) -> (…, M, N): the sum of the coordinates of every prefix."""
    return torch.stack([x[..., a:b].sum(-1) for a, b in pairwise((0, *edges))], -2).cumsum(-2)


def _inverse_root(squares: Tensor) -> Tensor:
    # 0 where the square is 0; the inner `where` keeps the infinite derivative there out of the backward pass
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1).rsqrt(), 0)
