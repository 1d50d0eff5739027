"""Prefix algebra against one product at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.loss import peak_bytes
from mrl_tutorial import prefixes
from mrl_tutorial.errors import InputError
from tests.helpers import reference

DIMS = (1, 3, 8, 11)


def vectors(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("dims", [DIMS, (12,), (2, 5)])
def test_nested_scores_are_the_scores_of_each_cut(cosine, dims):
    queries, documents = vectors(2, 3, 12), vectors(2, 5, 12, seed=1)
    found = prefixes.nested_scores(queries, documents, dims, cosine)
    expected = torch.stack(
        [
            torch.stack([reference.scores(q, x, d, cosine) for d in dims])
            for q, x in zip(queries, documents, strict=True)
        ]
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_leading_axes_are_free():
    queries, documents = vectors(2, 3, 4, 12), vectors(2, 3, 6, 12, seed=1)
    together = prefixes.nested_scores(queries, documents, DIMS)
    assert together.shape == (2, 3, len(DIMS), 4, 6)
    torch.testing.assert_close(together[1, 2], prefixes.nested_scores(queries[1, 2], documents[1, 2], DIMS))


@pytest.mark.parametrize("cosine", [True, False])
def test_gradients(cosine):
    inputs = [vectors(2, 3, 12).requires_grad_(), vectors(2, 4, 12, seed=1).requires_grad_()]
    assert torch.autograd.gradcheck(lambda q, d: prefixes.nested_scores(q, d, DIMS, cosine), inputs)
    square = [inputs[0], vectors(2, 3, 12, seed=2).requires_grad_()]
    assert torch.autograd.gradcheck(lambda q, d: prefixes.pair_scores(q, d, DIMS, cosine), square)


def test_pairs_are_the_diagonal():
    queries, documents = vectors(2, 5, 12), vectors(2, 5, 12, seed=1)
    for cosine in (True, False):
        diagonal = prefixes.nested_scores(queries, documents, DIMS, cosine).diagonal(dim1=-2, dim2=-1)
        torch.testing.assert_close(prefixes.pair_scores(queries, documents, DIMS, cosine), diagonal)


@pytest.mark.parametrize("cosine", [True, False])
def test_iter_scores_streams_every_dimension(cosine):
    queries, documents = vectors(4, 12, dtype=torch.float32), vectors(7, 12, seed=1, dtype=torch.float32)
    seen = []
    for d, scores in prefixes.iter_scores(queries, documents, range(1, 13), cosine):
        seen.append(d)
        expected = prefixes.nested_scores(queries.double(), documents.double(), [d], cosine)[0]
        torch.testing.assert_close(scores.double(), expected, rtol=1e-5, atol=1e-5)
    assert seen == list(range(1, 13))


def test_float16_neither_overflows_nor_vanishes():
    x = torch.tensor([[300.0, 400.0], [-1e-4, 0.0]], dtype=torch.float16)
    found = prefixes.prefix(x, 2)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), torch.tensor([[0.6, 0.8], [-1.0, 0.0]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(prefixes.normalize(torch.tensor([[3, 4]])), torch.tensor([[0.6, 0.8]]))


def test_dimensions_are_checked_one_by_one():
    assert prefixes.check_dims((d for d in (2, 4.0)), 8) == (2, 4)
    for wrong in ((d for d in (2, 99)), [2.7], [0, 2]):
        with pytest.raises(InputError, match="does not exist"):
            prefixes.check_dims(wrong, 8)


def test_prefix_cuts_before_it_normalizes():
    x = vectors(5, 12)
    cut = prefixes.prefix(x, 4)
    torch.testing.assert_close(cut, x[:, :4] / x[:, :4].norm(dim=1, keepdim=True))
    torch.testing.assert_close(prefixes.prefix(x, 4, unit=False), x[:, :4])
    torch.testing.assert_close(prefixes.normalize(x, dim=0).norm(dim=0), torch.ones(12, dtype=x.dtype))


def test_inverse_norms():
    x = vectors(2, 5, 12)
    expected = torch.stack([1 / x[..., :d].norm(dim=-1) for d in DIMS], -2)
    torch.testing.assert_close(prefixes.inverse_norms(x, DIMS), expected)
    assert torch.autograd.gradcheck(lambda t: prefixes.inverse_norms(t, DIMS), vectors(3, 12).requires_grad_())


def test_zero_vectors_score_zero_without_nan():
    queries, documents = vectors(1, 3, 12), vectors(1, 4, 12, seed=1)
    queries[0, 1], documents[0, 2, :8] = 0, 0  # a zero vector, and one whose prefixes up to 8 are zero
    queries.requires_grad_(), documents.requires_grad_()
    scores = prefixes.nested_scores(queries, documents, DIMS)
    assert (scores[0, :, 1] == 0).all() and (scores[0, :3, :, 2] == 0).all() and scores[0, 3, 0, 2] != 0
    (scores * vectors(*scores.shape, seed=3)).sum().backward()
    assert torch.isfinite(queries.grad).all() and torch.isfinite(documents.grad).all()
    assert (queries.grad[0, 1] == 0).all() and queries.grad[0, 0].abs().sum() > 0
    nothing = torch.zeros(2, 12, requires_grad=True)
    inverse = prefixes.inverse_norms(nothing, DIMS)
    inverse.sum().backward()
    assert (inverse == 0).all() and (nothing.grad == 0).all()
    for _, row in prefixes.iter_scores(queries[0], documents[0], DIMS):
        assert torch.isfinite(row).all()


def test_half_precision_is_scored_in_float32_even_under_autocast():
    queries, documents = vectors(3, 64, dtype=torch.float32), vectors(5, 64, seed=1, dtype=torch.float32)
    exact = prefixes.nested_scores(queries.bfloat16().double(), documents.bfloat16().double(), (8, 64))
    with torch.autocast("cpu", torch.bfloat16):
        found = prefixes.nested_scores(queries.bfloat16(), documents.bfloat16(), (8, 64))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)


def test_no_array_keeps_the_coordinate_axis():
    layers, b, n, width = 2, 32, 64, 512
    queries = vectors(layers, b, width, dtype=torch.float32).requires_grad_()
    documents = vectors(layers, n, width, seed=1, dtype=torch.float32).requires_grad_()

    def step():
        prefixes.nested_scores(queries, documents, (8, 64, 512)).sum().backward()

    assert peak_bytes(step) < layers * b * n * width * 4 / 4


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 1e3), st.integers(0, 2), st.integers(0, 99))
def test_cosine_ignores_a_vectors_length(scale, row, seed):
    queries, documents = vectors(3, 12, seed=seed), vectors(4, 12, seed=seed + 1)
    before = prefixes.nested_scores(queries, documents, DIMS)
    queries[row] *= scale
    torch.testing.assert_close(prefixes.nested_scores(queries, documents, DIMS), before)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ([0, 4], "dimension 0"),
        ([4, 13], "dimension 13"),
        ([4, 4], "must increase"),
        ([8, 4], "must increase"),
        ([], "at least one"),
    ],
)
def test_bad_dimensions_are_named(dims, message):
    for call in (prefixes.nested_scores, prefixes.pair_scores):
        with pytest.raises(InputError, match=message):
            call(vectors(3, 12), vectors(3, 12), dims)
    with pytest.raises(InputError, match=message):
        list(prefixes.iter_scores(vectors(3, 12), vectors(3, 12), dims))


def test_disagreeing_shapes_are_named():
    with pytest.raises(InputError, match="differ in layers or width"):
        prefixes.nested_scores(vectors(2, 3, 12), vectors(2, 3, 11), [4])
    with pytest.raises(InputError, match="pairs need as many"):
        prefixes.pair_scores(vectors(3, 12), vectors(4, 12), [4])
    with pytest.raises(InputError, match="dimension 13"):
        prefixes.prefix(vectors(3, 12), 13)
