"""Loss terms: values and gradients against float64 loops, sentence-transformers and scikit-learn; properties; edges."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from mrl_tutorial.losses import TERMS, Batch, NestedClassifier
from mrl_tutorial.losses.contrastive import contrastive, cross_entropies
from mrl_tutorial.losses.distillation import align, kl_scores, principal_axes
from mrl_tutorial.losses.fused import FusedCrossEntropies
from tests.helpers import reference

LAYERS, DIMS, WIDTH = (1, 3), (2, 5, 11), 12


def vectors(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(b=3, n=7, seed=0, dtype=torch.float64, layers=3):
    queries, documents = (
        vectors(layers, b, WIDTH, seed=seed, dtype=dtype),
        vectors(layers, n, WIDTH, seed=seed + 1, dtype=dtype),
    )
    return queries.requires_grad_(), documents.requires_grad_()


def assert_same_as_loop(table, cell, leaves, rtol=1e-10):
    """Every cell's value, and the gradient of a random mix of the cells, against `cell(layer, d)` in a loop."""
    expected = torch.stack([torch.stack([cell(layer - 1, d) for d in DIMS]) for layer in LAYERS])
    torch.testing.assert_close(table.double(), expected, rtol=rtol, atol=rtol)
    mix = vectors(*table.shape, seed=9)
    found = torch.autograd.grad((table * mix).sum(), leaves, retain_graph=True)
    right = torch.autograd.grad((expected * mix).sum(), leaves)
    assert max(g.abs().max() for g in right) > 1e-3
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("n", [3, 7])
def test_the_plain_contrastive_loss(cosine, symmetric, n):
    q, d = inputs(n=n)
    rows = [layer - 1 for layer in LAYERS]
    table = cross_entropies(q[rows], d[rows], DIMS, 0.3, symmetric, cosine)
    assert_same_as_loop(table, lambda i, k: reference.contrastive(q[i], d[i], k, 0.3, cosine, symmetric), (q, d))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("n", [3, 7])
def test_the_fused_form_is_the_plain_one(cosine, symmetric, n):
    q, d = inputs(n=n)
    mix, settings = vectors(3, len(DIMS), seed=9), (DIMS, 0.3, symmetric, cosine)
    plain, quick = cross_entropies(q, d, *settings), FusedCrossEntropies.apply(q, d, *settings)
    torch.testing.assert_close(quick, plain, rtol=1e-12, atol=1e-12)
    right, found = (torch.autograd.grad((table * mix).sum(), (q, d)) for table in (plain, quick))
    assert max(g.abs().max() for g in right) > 1e-3
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("n", [3, 7])
def test_contrastive(cosine, symmetric, n):
    q, d = inputs(n=n)
    table = contrastive(Batch(q, d, cosine=cosine, symmetric=symmetric, temperature=0.3), LAYERS, DIMS)
    assert_same_as_loop(table, lambda i, k: reference.contrastive(q[i], d[i], k, 0.3, cosine, symmetric), (q, d))


def test_contrastive_in_float32_at_the_usual_temperature():
    q, d = inputs(b=6, n=24, dtype=torch.float32)
    table = contrastive(Batch(q, d), LAYERS, DIMS)
    assert_same_as_loop(table, lambda i, k: reference.contrastive(q[i], d[i], k), (q, d), rtol=2e-4)


def test_contrastive_with_the_document_of_the_last_layer():
    q, d = inputs()
    table = contrastive(Batch(q, d), LAYERS, DIMS, fixed_document=True, temperature=0.5)
    assert_same_as_loop(table, lambda i, k: reference.contrastive(q[i], d[2], k, 0.5), (q, d))


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

    assert_same_as_loop(table, cell, (q, d))


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

    assert_same_as_loop(table, cell, (q, d))


def test_kl_over_scores_with_the_document_of_the_last_layer():
    q, d = inputs()
    table = kl_scores(Batch(q, d), LAYERS, DIMS, fixed_document=True, temperature=0.5)

    def cell(i, k):
        return reference.kl(reference.scores(q[2], d[2], WIDTH).detach() / 0.5, reference.scores(q[i], d[2], k) / 0.5)

    assert_same_as_loop(table, cell, (q, d))


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
    assert_same_as_loop(table, lambda i, k: reference.cosent(q[i], d[i], labels, k, 0.3), (q, d))
    assert (TERMS["cosent"](Batch(q, d, labels=torch.ones(5)), LAYERS, DIMS) == 0).all()


def test_align_to_the_principal_components():
    q, d = inputs()

    def cell(i, k):
        x = torch.cat([q, d], 1)[i]
        fitted = PCA(k).fit(x.detach().numpy())
        basis = torch.tensor(fitted.components_.T)
        basis = basis * (basis * principal_axes(x, k)).sum(0).sign()  # scikit-learn's signs are its own
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

    assert_same_as_loop(table, cell, (q, d))
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

    assert_same_as_loop(table, cell, (x, *(w for w in heads.parameters() if own or w.shape[0] == 1)))
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
