"""Loss terms: values and gradients against float64 loops, sentence-transformers and scikit-learn; properties; edges."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import nn

from mrl_tutorial import contrastive as contrastive_module
from mrl_tutorial import nesting
from mrl_tutorial.bench.loss import peak_bytes
from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import TERMS, Batch, NestedClassifier, align, contrastive, kl_scores, pca_basis

LAYERS, DIMS, WIDTH = (1, 3), (2, 5, 11), 12


def vectors(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(b=3, n=7, seed=0, dtype=torch.float64, layers=3):
    queries, documents = (
        vectors(layers, b, WIDTH, seed=seed, dtype=dtype),
        vectors(layers, n, WIDTH, seed=seed + 1, dtype=dtype),
    )
    return queries.requires_grad_(), documents.requires_grad_()


def same_as_loop(table, cell, leaves, rtol=1e-10):
    """Every cell's value, and the gradient of a random mix of the cells, against `cell(layer, d)` in a loop."""
    expected = torch.stack([torch.stack([cell(layer - 1, d) for d in DIMS]) for layer in LAYERS])
    torch.testing.assert_close(table.double(), expected, rtol=rtol, atol=rtol)
    mix = vectors(*table.shape, seed=9)
    found = torch.autograd.grad((table * mix).sum(), leaves, retain_graph=True)
    right = torch.autograd.grad((expected * mix).sum(), leaves)
    assert max(g.abs().max() for g in right) > 1e-3
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("group", [1, 1 << 20])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("n", [3, 7])
def test_contrastive(cosine, symmetric, n, group, monkeypatch):
    monkeypatch.setattr(nesting, "GROUP", group)
    q, d = inputs(n=n)
    table = contrastive(Batch(q, d, cosine=cosine, symmetric=symmetric, temperature=0.3), LAYERS, DIMS)
    same_as_loop(table, lambda i, k: reference.contrastive(q[i], d[i], k, 0.3, cosine, symmetric), (q, d))


def test_contrastive_in_float32_at_the_usual_temperature():
    q, d = inputs(b=6, n=24, dtype=torch.float32)
    table = contrastive(Batch(q, d), LAYERS, DIMS)
    same_as_loop(table, lambda i, k: reference.contrastive(q[i], d[i], k), (q, d), rtol=2e-4)


def test_contrastive_with_the_document_of_the_last_layer():
    q, d = inputs()
    table = contrastive(Batch(q, d), LAYERS, DIMS, fixed_document=True, temperature=0.5)
    same_as_loop(table, lambda i, k: reference.contrastive(q[i], d[2], k, 0.5), (q, d))


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_contrastive_passes_gradcheck(cosine, symmetric):
    def table(q, d):
        return contrastive(Batch(q, d, cosine=cosine, symmetric=symmetric, temperature=0.4), LAYERS, DIMS)

    assert torch.autograd.gradcheck(table, inputs(b=2, n=4), fast_mode=True)


@pytest.mark.parametrize("detach", [True, False])
def test_kl_over_features(detach):
    q, d = inputs()
    table = TERMS["kl-features"](Batch(q, d), LAYERS, DIMS, temperature=0.7, detach=detach)

    def cell(i, k):
        texts = torch.cat([q, d], 1)[..., :k] / 0.7
        return reference.kl(texts[2].detach() if detach else texts[2], texts[i])

    same_as_loop(table, cell, (q, d))


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("teacher", ["last-layer", "full-width", "full"])
def test_kl_over_scores(teacher, detach, cosine):
    q, d = inputs()
    table = kl_scores(Batch(q, d, cosine=cosine, temperature=0.5), LAYERS, DIMS, teacher=teacher, detach=detach)

    def cell(i, k):
        layer, dim = {"last-layer": (2, k), "full-width": (i, WIDTH), "full": (2, WIDTH)}[teacher]
        right = reference.scores(q[layer], d[layer], dim, cosine) / 0.5
        return reference.kl(right.detach() if detach else right, reference.scores(q[i], d[i], k, cosine) / 0.5)

    same_as_loop(table, cell, (q, d))


def test_kl_over_scores_with_the_document_of_the_last_layer():
    q, d = inputs()
    table = kl_scores(Batch(q, d), LAYERS, DIMS, fixed_document=True, temperature=0.5)

    def cell(i, k):
        return reference.kl(reference.scores(q[2], d[2], WIDTH).detach() / 0.5, reference.scores(q[i], d[2], k) / 0.5)

    same_as_loop(table, cell, (q, d))


def test_kl_has_the_direction_teacher_to_student():
    q, d = inputs()
    found = kl_scores(Batch(q, d, temperature=1.0), [1], [5])[0, 0]
    teacher, student = reference.scores(q[2], d[2], WIDTH), reference.scores(q[0], d[0], 5)
    torch.testing.assert_close(found, reference.kl(teacher, student))
    assert abs((found - reference.kl(student, teacher)).item()) > 1e-3


def test_cosent():
    q, d = inputs(b=5, n=5)
    labels = torch.tensor([0.1, 0.9, 0.9, 0.4, 0.0])
    table = TERMS["cosent"](Batch(q, d, labels=labels, temperature=0.3), LAYERS, DIMS)
    same_as_loop(table, lambda i, k: reference.cosent(q[i], d[i], labels, k, 0.3), (q, d))
    assert (TERMS["cosent"](Batch(q, d, labels=torch.ones(5)), LAYERS, DIMS) == 0).all()


def test_align_to_the_principal_components():
    q, d = inputs()

    def cell(i, k):
        x = torch.cat([q, d], 1)[i]
        fitted = PCA(k).fit(x.detach().numpy())
        basis = torch.tensor(fitted.components_.T)
        basis = basis * (basis * pca_basis(x, k)).sum(0).sign()  # scikit-learn's signs are its own
        return reference.align(x[:, :k], ((x - x.mean(0)) @ basis).detach())

    shallow = tuple(d for d in DIMS if d <= 9)  # 10 texts have 9 components
    table = align(Batch(q, d), LAYERS, DIMS)
    expected = torch.stack([torch.stack([cell(layer - 1, k) for k in shallow]) for layer in LAYERS])
    torch.testing.assert_close(table[:, : len(shallow)], expected)
    grad, right = (torch.autograd.grad(t.sum(), (q, d)) for t in (table[:, : len(shallow)], expected))
    torch.testing.assert_close(grad, right)


def test_align_to_a_target_of_ones_own():
    q, d = inputs()
    seen = []

    def target(x, layer, k):
        seen.append((layer, k))
        return x[:, -k:] * layer

    table = align(Batch(q, d), LAYERS, DIMS, target=target)

    def cell(i, k):
        x = torch.cat([q, d], 1)[i]
        return reference.align(x[:, :k], (x[:, -k:] * (i + 1)).detach())

    same_as_loop(table, cell, (q, d))
    assert seen == [(layer, k) for layer in LAYERS for k in DIMS]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_classification_heads(tied, own):
    torch.manual_seed(0)
    heads = NestedClassifier(WIDTH, DIMS, 4, n_layers=3 if own else 1, tied=tied).double()
    x, _ = inputs(b=6)
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    table = TERMS["classification"](Batch(x, labels=labels, classifier=heads), LAYERS, DIMS)

    def cell(i, k):
        j, head = 0 if tied else DIMS.index(k), i if own else 0
        weight, bias = heads.weight[j][head], heads.bias[j][head]  # MRL-E: the first k columns, the bias in full
        logits = [weight[:, :k] @ row[:k] + bias for row in x[i]]
        return sum(-torch.log(torch.softmax(z, 0)[y]) for z, y in zip(logits, labels, strict=True)) / len(labels)

    same_as_loop(table, cell, (x, *(w for w in heads.parameters() if own or w.shape[0] == 1)))
    sizes = WIDTH if tied else sum(DIMS)
    assert sum(w.numel() for w in heads.parameters()) == (3 if own else 1) * 4 * (sizes + (1 if tied else len(DIMS)))


class Given(nn.Module):
    """A sentence-transformers module whose texts are their embeddings."""

    def forward(self, features, **kwargs):
        return {"sentence_embedding": features["given"]}

    def get_sentence_embedding_dimension(self):
        return WIDTH


def library(loss, *columns, labels=None):
    from sentence_transformers import SentenceTransformer, losses

    model = SentenceTransformer(modules=[Given()], device="cpu")
    inner = getattr(losses, loss)(model, scale=20.0)  # 1 / temperature
    wrapped = losses.MatryoshkaLoss(model, inner, [*DIMS, WIDTH])
    return wrapped([{"given": x} for x in columns], labels)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("negatives", [0, 1, 3])
def test_matryoshka_loss_of_sentence_transformers(negatives):
    q, positive, *others = columns = [vectors(8, WIDTH, seed=s).float().requires_grad_() for s in range(2 + negatives)]
    theirs = library("MultipleNegativesRankingLoss", *columns)
    ours = contrastive(Batch(q[None], torch.cat([positive, *others])[None]), [1], [*DIMS, WIDTH]).sum()
    assert abs(float(ours - theirs)) <= 1e-5 * abs(float(theirs))
    for a, b in zip(torch.autograd.grad(ours, columns), torch.autograd.grad(theirs, columns), strict=True):
        assert float((a - b).norm()) <= 1e-5 * float(b.norm())


@pytest.mark.filterwarnings("ignore")
def test_cosent_loss_of_sentence_transformers():
    q, d = (vectors(8, WIDTH, seed=s).float() for s in (0, 1))
    labels = torch.rand(8, generator=torch.Generator().manual_seed(0))
    theirs = library("CoSENTLoss", q, d, labels=labels)
    ours = TERMS["cosent"](Batch(q[None], d[None], labels=labels), [1], [*DIMS, WIDTH]).sum()
    assert abs(float(ours - theirs)) <= 1e-5 * abs(float(theirs))


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
    assert contrastive_module._Contrastive.apply(q, d, (8,), 0.05, False, True).requires_grad is False


@pytest.mark.parametrize(("n", "width"), [(40, 12), (12, 40), (12, 12)])
def test_pca_is_scikit_learns_up_to_sign(n, width):
    x = vectors(n, width) * torch.linspace(3, 0.5, width) + 5  # off centre
    k = min(n - 1, width)
    found, right = pca_basis(x, k).numpy(), PCA(k, svd_solver="full").fit(x.numpy()).components_.T
    np.testing.assert_allclose(np.abs((found * right).sum(0)), 1, atol=1e-9)
    np.testing.assert_allclose(found.T @ found, np.eye(k), atol=1e-9)
    largest = np.abs(found).argmax(0)
    assert (found[largest, range(k)] > 0).all()
    np.testing.assert_allclose(pca_basis(x, 3).numpy(), found[:, :3])


def test_pca_with_fewer_texts_than_components():
    x = vectors(4, 12)
    basis = pca_basis(x, 8)
    assert basis.shape == (12, 8) and (basis[:, 3:] == 0).all()
    torch.testing.assert_close(basis[:, :3].T @ basis[:, :3], torch.eye(3, dtype=x.dtype))
    assert (pca_basis(torch.ones(5, 12), 4) == 0).all()
    q, d = inputs(b=1, n=1)
    assert torch.isfinite(align(Batch(q, d), LAYERS, DIMS)).all()
    with pytest.raises(InputError, match="13 principal components of 12"):
        pca_basis(x, 13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q, d: Batch(q[0], d[0]), "must be .layers, batch, width."),
        (lambda q, d: Batch(q, d[:, :2]), "2 documents for 3 queries"),
        (lambda q, d: Batch(q, d[..., :5]), "differ in layers or width"),
        (lambda q, d: Batch(q, d, layers=(1, 2)), "must name the 3 rows"),
        (lambda q, d: Batch(q, d, layers=(1, 3, 2)), "increasing"),
        (lambda q, d: Batch(q, d, labels=torch.ones(2)), "one a query"),
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
