"""The measures of lesson 10 against their definitions, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evidence import reduction_measures as m
from sklearn.decomposition import PCA, TruncatedSVD

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import reduction as r
from mrl_tutorial.losses.distillation import code_pca
from tests.evaluation.test_reduction import assert_up_to_sign

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(200, 12)) * np.linspace(3, 0.1, 12)) @ RNG.normal(size=(12, 12)) + 5
OTHER = RNG.normal(size=(30, 12)) + 5


def test_variance_kept_is_explained_variance_for_pca():
    y = r.pca(X).apply(X)
    for k in (1, 4, 12):
        assert m.variance_kept(X, y[:, :k]) == pytest.approx(PCA(k).fit(X).explained_variance_ratio_.sum(), rel=1e-5)
        assert m.variance_kept(X, X[:, :k]) <= m.variance_kept(X, y[:, :k]) + 1e-6
    assert m.variance_kept(X, np.zeros((200, 2))) == 0


def test_code_basis_is_the_codes():
    batch = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    torch.manual_seed(0)
    want = code_pca(torch.from_numpy(batch), 12).numpy()
    got = m.code_basis(batch).apply(batch)
    np.testing.assert_allclose(got, want * np.sign((got * want).sum(0)), atol=1e-3)


def test_refusals():
    with pytest.raises(InputError, match="does not vary"):
        m.variance_kept(np.ones((200, 3)), X)


def test_svd_is_scikit_learns():
    want = TruncatedSVD(11, algorithm="arpack", random_state=0).fit(X)
    got = m.svd(X)
    assert_up_to_sign(got.apply(OTHER)[:, :11], want.transform(OTHER))
    squares = want.singular_values_**2
    np.testing.assert_allclose(got.explained[:11], squares / (X**2).sum(), rtol=1e-9)
    assert (np.abs(got.basis).max(0) == got.basis.max(0)).all()
    layers = np.stack([X, X[:, ::-1] * 2])
    both = m.svd(layers)
    np.testing.assert_allclose(both.apply(layers)[1], m.svd(layers[1]).apply(layers[1]), atol=1e-4)
    np.testing.assert_allclose(both.explained[0], got.explained)
    with pytest.raises(InputError, match="zero"):
        m.svd(np.zeros((4, 3)))


def test_participation_ratio_of_known_spectra():
    assert m.participation_ratio(np.vstack([np.eye(6), -np.eye(6)])) == pytest.approx(6)
    assert m.participation_ratio(np.outer(np.arange(5.0), np.arange(4))) == pytest.approx(1)
    share = np.array(PCA().fit(X).explained_variance_ratio_)
    assert m.participation_ratio(X) == pytest.approx(1 / (share**2).sum())
