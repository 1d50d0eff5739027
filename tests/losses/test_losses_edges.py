"""Loss terms: properties that hold for any batch, degenerate inputs, PCA, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from benchmarks.loss import peak_bytes
from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import TERMS, Batch, NestedClassifier
from mrl_tutorial.losses.contrastive import contrastive
from mrl_tutorial.losses.distillation import align, kl_scores, principal_axes
from tests.losses.test_losses import DIMS, LAYERS, WIDTH, inputs, vectors

SCORED = [
    (name, symmetric) for name in ("contrastive", "kl-scores", "kl-features", "align") for symmetric in (False, True)
]


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)), st.permutations(range(4, 9)), st.integers(0, 99), st.sampled_from(SCORED))
def test_order_of_the_batch_does_not_matter(order, extra, seed, which):
    name, symmetric = which
    q, d = inputs(b=4, n=9, seed=seed)
    before = TERMS[name](Batch(q, d, symmetric=symmetric), LAYERS, DIMS)
    after = TERMS[name](Batch(q[:, order], d[:, [*order, *extra]], symmetric=symmetric), LAYERS, DIMS)
    torch.testing.assert_close(after, before, rtol=1e-7, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3), st.integers(0, 6), st.integers(0, 99), st.sampled_from(["contrastive", "kl-scores"]))
def test_length_of_a_vector_does_not_matter_under_cosine(scale, row, seed, name):
    q, d = inputs(seed=seed)
    before = TERMS[name](Batch(q, d), LAYERS, DIMS)
    with torch.no_grad():
        d[:, row] *= scale
        q[:, row % 3] *= scale
    torch.testing.assert_close(TERMS[name](Batch(q, d), LAYERS, DIMS), before, rtol=1e-7, atol=1e-9)
    # and so the gradient has no share along the vector itself
    (g,) = torch.autograd.grad(TERMS[name](Batch(q, d), [1], [WIDTH]).sum(), q)
    assert float((g * q).sum(-1).abs().max()) < 1e-8


@pytest.mark.parametrize(
    ("name", "options"),
    [("kl-features", {}), ("kl-scores", {"teacher": "full"}), ("kl-scores", {"teacher": "last-layer"})],
)
def test_a_detached_teacher_gets_no_gradient(name, options):
    q, d = inputs()
    for detach in (True, False):
        grads = torch.autograd.grad(TERMS[name](Batch(q, d), [1], DIMS, detach=detach, **options).sum(), (q, d))
        for g in grads:
            assert g[0].abs().sum() > 0 and bool((g[2] == 0).all()) is detach


def test_a_cell_that_is_not_asked_for_cannot_reach_the_gradient():
    q, d = inputs()
    with torch.no_grad():
        q[1], d[0, :, 5:] = float("nan"), float("inf")
    for name in ("contrastive", "kl-scores", "kl-features"):
        options = {"teacher": "last-layer"} if name == "kl-scores" else {}
        grads = torch.autograd.grad(TERMS[name](Batch(q, d), LAYERS, (2, 5), **options).sum(), (q, d))
        assert all(torch.isfinite(g).all() for g in grads)
        assert (grads[0][1] == 0).all() and (grads[1][0, :, 5:] == 0).all()


def test_zero_vectors_and_a_batch_of_one():
    q, d = inputs(b=1, n=1, dtype=torch.float32)
    assert (contrastive(Batch(q, d, symmetric=True), LAYERS, DIMS) == 0).all()  # nothing to tell apart
    q, d = inputs(dtype=torch.float32)
    with torch.no_grad():
        q[:, 1], d[:, 1:3] = 0, 0
    labels = torch.tensor([1.0, 0.0, 0.5])
    for name, term in TERMS.items():
        if name == "classification":
            continue
        batch = Batch(q, d[:, :3] if name == "cosent" else d, labels=labels)
        table = term(batch, LAYERS, DIMS)
        grads = torch.autograd.grad(table.sum(), (q, d))
        assert torch.isfinite(table).all() and all(torch.isfinite(g).all() for g in grads), name
    uniform = contrastive(Batch(torch.zeros(1, 3, WIDTH), torch.zeros(1, 7, WIDTH)), [1], DIMS)
    torch.testing.assert_close(uniform, torch.full((1, 3), 7.0).log())


def test_large_inner_products_do_not_overflow():
    q, d = inputs(dtype=torch.float32)
    table = contrastive(Batch(q * 1e3, d * 1e3, cosine=False, symmetric=True), LAYERS, DIMS)
    grads = torch.autograd.grad(table.sum(), (q, d))
    assert torch.isfinite(table).all() and all(torch.isfinite(g).all() for g in grads)


def test_half_precision_embeddings_are_scored_in_float32():
    q, d = (x.detach() for x in inputs(dtype=torch.float32))
    exact = contrastive(Batch(q.bfloat16().double(), d.bfloat16().double()), LAYERS, DIMS)
    with torch.autocast("cpu", torch.bfloat16):
        found = contrastive(Batch(q.bfloat16(), d.bfloat16()), LAYERS, DIMS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)


def test_without_gradient_nothing_is_kept():
    q, d = (vectors(2, 64, 32, dtype=torch.float32) for _ in range(2))

    def step():
        with torch.no_grad():
            contrastive(Batch(q, d), (1, 2), tuple(range(1, 33)))

    assert peak_bytes(step) < 2 * 32 * 64 * 64 * 4  # one array of scores for every cell
    assert contrastive(Batch(q, d), (1, 2), (8,)).requires_grad is False


@pytest.mark.parametrize(("n", "width"), [(40, 12), (12, 40), (12, 12)])
def test_pca_is_scikit_learns_up_to_sign(n, width):
    x = vectors(n, width) * torch.linspace(3, 0.5, width) + 5  # off center
    k = min(n - 1, width)
    found, right = principal_axes(x, k).numpy(), PCA(k, svd_solver="full").fit(x.numpy()).components_.T
    np.testing.assert_allclose(np.abs((found * right).sum(0)), 1, atol=1e-9)
    np.testing.assert_allclose(found.T @ found, np.eye(k), atol=1e-9)
    largest = np.abs(found).argmax(0)
    assert (found[largest, range(k)] > 0).all()
    np.testing.assert_allclose(principal_axes(x, 3).numpy(), found[:, :3])


def test_pca_with_fewer_texts_than_components():
    x = vectors(4, 12)
    basis = principal_axes(x, 8)
    assert basis.shape == (12, 8) and (basis[:, 3:] == 0).all()
    torch.testing.assert_close(basis[:, :3].T @ basis[:, :3], torch.eye(3, dtype=x.dtype))
    assert (principal_axes(torch.ones(5, 12), 4) == 0).all()
    q, d = inputs(b=1, n=1)
    assert torch.isfinite(align(Batch(q, d), LAYERS, DIMS)).all()
    with pytest.raises(InputError, match="dimension 13 does not exist"):
        principal_axes(x, 13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q, d: Batch(q[0], d[0]), "must be .layers, batch, width."),
        (lambda q, d: Batch(q, d[:, :2]), "2 documents for 3 queries"),
        (lambda q, d: Batch(q, d[..., :5]), "differ in layers or width"),
        (lambda q, d: Batch(q, d, layers=(1, 2)), "must name the 3 rows"),
        (lambda q, d: Batch(q, d, layers=(1, 3, 2)), "increasing"),
        (lambda q, d: Batch(q, d, labels=torch.ones(2)), "one per query"),
        (lambda q, d: Batch(q, d, temperature=0.0), "temperature 0.0"),
        (lambda q, d: contrastive(Batch(q, d, layers=(1, 2, 4)), [3], [2]), "layer 3 is not in this batch"),
        (lambda q, d: contrastive(Batch(q), [1], [2]), "no documents"),
        (lambda q, d: contrastive(Batch(q, d), [1], [13]), "dimension 13"),
        (lambda q, d: TERMS["cosent"](Batch(q, d), [1], [2]), "graded label"),
        (lambda q, d: TERMS["cosent"](Batch(q, d, labels=torch.ones(3)), [1], [2]), "pairs need as many"),
        (lambda q, d: TERMS["kl-features"](Batch(q, d), [1], [2], teacher="full"), "kl-features cannot have teacher"),
        (lambda q, d: kl_scores(Batch(q, d), [1], [2], teacher="best"), "unknown teacher 'best'"),
        (lambda q, d: align(Batch(q, d), [1], [2], target="svd"), "unknown alignment target"),
        (lambda q, d: TERMS["classification"](Batch(q, labels=torch.ones(3).long()), [1], [2]), "needs heads"),
        (
            lambda q, d: TERMS["classification"](Batch(q, classifier=NestedClassifier(12, [2], 3)), [1], [2]),
            "integer class labels",
        ),
        (lambda q, d: NestedClassifier(12, [2, 4], 3)(q, [1, 2, 3], [3]), "no head for dimension 3"),
        (lambda q, d: NestedClassifier(12, [2, 4], 3, n_layers=2)(q, [1, 2, 3], [2]), "no head for layer 3"),
        (lambda q, d: NestedClassifier(12, [2], 1), "at least 2"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(*inputs())
