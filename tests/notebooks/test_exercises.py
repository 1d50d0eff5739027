"""The checks of notebooks 01, 04 and 05: what they say to a typical wrong answer to each exercise."""

from __future__ import annotations

import numpy as np
import pytest
from exercises import nested_classifiers, reduction, two_dimensions


def cross_entropy(z, labels):
    """Of each row, without care for large logits."""
    return np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels]


def weighted(logits, labels, weights, of=np.mean):
    return sum(c * of(cross_entropy(z, labels)) for c, z in zip(weights, logits, strict=True))


def precisions(hits):
    """P(i) at the places that are right, 0 at the others."""
    return np.cumsum(hits) / np.arange(1, len(hits) + 1) * hits


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def axes(x):
    """Right singular vectors of the centered rows, one a row."""
    return np.linalg.svd(x - x.mean(0), full_matrices=False)[2]


def shortlist(query, documents, keep):
    return np.argsort(-((documents > 0) == (query > 0)).sum(1), kind="stable")[:keep]


def four_cells(layer, dim, n_layers, dims, slip=0, teacher=False):
    """A step of 2DMSE, with its layer `slip` rows too low, or with KL weights on the teacher's layer."""
    main = np.zeros((n_layers, len(dims)))
    main[np.ix_([layer - 1 + slip, n_layers - 1], [dims.index(dim), len(dims) - 1])] = 1
    kl = main.copy()
    kl[-1] *= teacher
    return {"main": main, "kl-features": kl}


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda logits, labels, weights: None, "one number"),
        (lambda logits, labels, weights: weighted(logits, labels, np.ones(3)), "weights are not used"),
        (lambda logits, labels, weights: weighted(logits, labels, weights) / 3, "mean over the sizes"),
        (lambda logits, labels, weights: weighted(logits, labels, weights, np.sum), "mean over the batch"),
        (lambda logits, labels, weights: -weighted(logits, labels, weights), "the sign"),
        (weighted, "overflow"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_the_nested_loss(wrong, hint):
    verdict = nested_classifiers.nested_loss(wrong)
    assert not verdict and hint in str(verdict)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda hits: None, "must be a number"),
        (lambda hits: hits.mean(), "how early they come"),
        (lambda hits: precisions(hits).sum() / max(hits.sum(), 1), "divides by k"),
        (lambda hits: 0.3, "AP is 0.2500"),
    ],
)
def test_average_precision(wrong, hint):
    verdict = nested_classifiers.average_precision(wrong)
    assert not verdict and hint in str(verdict)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda dims, classes, tied: sum((max(dims),) if tied else dims) * classes, "forgot the biases"),
        (lambda dims, classes, tied: sum(m * classes + classes for m in dims), "only one classifier"),
        (lambda dims, classes, tied: classes * ((max(dims) if tied else sum(dims)) + len(dims)), "one bias a class"),
        (lambda dims, classes, tied: 7, "yours says 7"),
    ],
)
def test_the_size_of_classifiers(wrong, hint):
    verdict = nested_classifiers.classifier_parameters(wrong)
    assert not verdict and hint in str(verdict)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda p, q: p * np.log(p / q), "one number"),
        (lambda p, q: (q * np.log(q / p)).sum(), "KL(q || p)"),
        (lambda p, q: (p * np.log(q / p)).sum(), "sign is wrong"),
        (lambda p, q: (p * np.log2(p / q)).sum(), "in bits"),
        (lambda p, q: 1.0, "yours is 1.0000"),
        (lambda p, q: (p * np.log(p / q)).sum(), "adds nothing"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_the_direction_of_kl(wrong, hint):
    verdict = two_dimensions.kl(wrong)
    assert not verdict and hint in str(verdict)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda *given: {"main": four_cells(*given)["main"]}, "return a dictionary"),
        (lambda *given: {name: grid.T for name, grid in four_cells(*given).items()}, "a row a layer"),
        (lambda layer, dim, n_layers, dims: four_cells(layer, dim, n_layers, dims, slip=1), "Python counts from 0"),
        (lambda *given: {name: 2 * grid for name, grid in four_cells(*given).items()}, "weight 1 in four cells"),
        (lambda *given: four_cells(*given, teacher=True), "last layer is the teacher"),
        (lambda *given: {**four_cells(*given), "kl-features": 0 * four_cells(*given)["main"]}, "where a student is"),
    ],
)
def test_one_step_of_2dmse(wrong, hint):
    verdict = two_dimensions.v1_step(wrong)
    assert not verdict and hint in str(verdict)
    assert two_dimensions.v1_step(four_cells)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda *case: "fine", "return one of"),
        (lambda *case: "healthy", "'one dimension' was called 'healthy'"),
        (lambda *case: "overfitting", "every cell gains"),
    ],
)
def test_the_signatures(wrong, hint):
    verdict = two_dimensions.diagnose(wrong)
    assert not verdict and hint in str(verdict)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda x, k: x, "shape (40, 3)"),
        (lambda x, k: x @ np.linalg.svd(x, full_matrices=False)[2][:k].T, "Center first"),
        (lambda x, k: x @ axes(x)[:k].T, "project the centered vectors"),
        (lambda x, k: np.linalg.svd(x - x.mean(0), full_matrices=False)[0][:, :k], "left singular vectors"),
        (lambda x, k: (x - x.mean(0)) @ axes(x)[-k:].T, "least variance"),
        (lambda x, k: np.subtract(x, x.mean(0), out=x) @ axes(x)[:k].T, "have changed"),
    ],
)
def test_pca_by_svd(wrong, hint):
    verdict = reduction.pca_by_svd(wrong)
    assert not verdict and hint in str(verdict)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda q, x: q - x.mean(0), "return two arrays"),
        (lambda q, x: (unit(q - q.mean(0)), unit(x - x.mean(0))), "lost their own mean"),
        (lambda q, x: (q - x.mean(0), x - x.mean(0)), "not of length 1"),
        (lambda q, x: (unit(q) - unit(x).mean(0), unit(x) - unit(x).mean(0)), "normalize after centering"),
    ],
)
def test_centering_both_sides(wrong, hint):
    verdict = reduction.center(wrong)
    assert not verdict and hint in str(verdict)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda q, x, keep, k: np.argsort(-(unit(x) @ unit(q))), "shape (10,)"),
        (lambda q, x, keep, k: np.argsort(-(unit(x) @ unit(q)))[:k], "exact search"),
        (lambda q, x, keep, k: shortlist(q, x, k), "order of its bits"),
        (lambda q, x, keep, k: np.argsort(-(unit(x[shortlist(q, x, keep)]) @ unit(q)))[:k], "places within"),
        (lambda q, x, keep, k: (s := shortlist(q, x, keep))[np.argsort(-(x[s] @ q))][:k], "long documents win"),
    ],
)
def test_bits_then_floats(wrong, hint):
    verdict = reduction.binary_search(wrong)
    assert not verdict and hint in str(verdict)


def spread(y):
    return y.std(0).max() / y.std(0).min()


def uncorrelated(y):
    return np.abs(np.corrcoef(y.T) - np.eye(y.shape[1])).max() < 1e-3


def centered(y):
    return np.abs(y.mean(0)).max() < 1e-3


@pytest.mark.parametrize(
    "chosen, hint",
    [
        (lambda x, shown: None, "return a number from 0 to 4"),
        (lambda x, shown: next(i for i, y in enumerate(shown) if not centered(y)), "not centered"),
        (lambda x, shown: next(i for i, y in enumerate(shown) if centered(y) and spread(y) < 1.001), "whitened"),
    ],
)
def test_which_of_these_is_pca(chosen, hint):
    verdict = reduction.which_is_pca(chosen)
    assert not verdict and hint in str(verdict)
    right = reduction.which_is_pca(
        lambda x, shown: next(i for i, y in enumerate(shown) if centered(y) and uncorrelated(y) and spread(y) > 1.001)
    )
    assert right
