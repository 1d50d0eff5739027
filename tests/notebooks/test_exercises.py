"""The checks of lessons 08 and 10: what they say to a typical wrong answer to each exercise."""

from __future__ import annotations

import numpy as np
import pytest
from exercises import reduction, two_dimensions


def axes(x):
    """Right singular vectors of the centered rows, one a row."""
    return np.linalg.svd(x - x.mean(0), full_matrices=False)[2]


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
