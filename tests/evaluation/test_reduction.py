"""Reductions against scikit-learn and numpy's own decompositions; their edges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import reduction as r
from mrl_tutorial.models.heads import Heads

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(200, 12)) * np.linspace(3, 0.1, 12)) @ RNG.normal(size=(12, 12)) + 5
OTHER = RNG.normal(size=(30, 12)) + 5


def assert_up_to_sign(a, b, atol=1e-4):
    signs = np.sign((a * b).sum(0))
    np.testing.assert_allclose(a, b * signs, atol=atol)


def test_pca_is_scikit_learns():
    want = PCA(svd_solver="full").fit(X)
    got = r.pca(X)
    assert_up_to_sign(got.apply(OTHER), want.transform(OTHER))
    np.testing.assert_allclose(got.explained, want.explained_variance_ratio_, atol=1e-12)
    np.testing.assert_allclose(r.spectrum(X), want.explained_variance_, rtol=1e-9)


def test_pca_without_centering_only_rotates():
    got = r.pca(X, center=False)
    np.testing.assert_allclose(got.apply(OTHER) @ got.apply(OTHER).T, OTHER @ OTHER.T, rtol=1e-4)
    np.testing.assert_array_equal(got.basis, r.pca(X).basis)
    assert not np.allclose(got.apply(OTHER), r.pca(X).apply(OTHER))


def test_whitening_is_scikit_learns_and_that_of_the_heads():
    got = r.whiten(X, shrinkage=0)
    assert_up_to_sign(got.apply(OTHER), PCA(whiten=True, svd_solver="full").fit(X).transform(OTHER), atol=1e-3)
    np.testing.assert_allclose(got.explained, r.pca(X).explained)
    layers = np.stack([X, X[:, ::-1] * 2])
    heads = Heads(2, 12, "per-layer").whiten_on(layers, shrinkage=0.2)
    np.testing.assert_allclose(r.whiten(layers, 0.2).apply(layers), heads.apply_to(layers), atol=1e-3)
    assert np.isfinite(r.whiten(X[:3]).apply(OTHER)).all()


def test_layers_have_a_basis_each():
    layers = np.stack([X, X[:, ::-1] * 2])
    got = r.pca(layers)
    np.testing.assert_allclose(got.apply(layers)[1], r.pca(layers[1]).apply(layers[1]), atol=1e-4)
    np.testing.assert_allclose(got.explained[0], r.pca(X).explained)
    with pytest.raises(InputError, match="layers"):
        got.apply(X)
    np.testing.assert_allclose(r.effective_rank(layers), [r.effective_rank(X), r.effective_rank(X[:, ::-1] * 2)])


def test_few_vectors_give_few_components():
    got = r.pca(X[:5])
    out = got.apply(OTHER)
    assert np.abs(out[:, :4]).sum(0).min() > 0 and not out[:, 4:].any()
    assert got.explained[:4].sum() == pytest.approx(1)
    assert_up_to_sign(out[:, :4], PCA(4).fit(X[:5]).transform(OTHER))


def test_plain_and_random_only_reorder():
    np.testing.assert_array_equal(r.plain(12).apply(OTHER), OTHER.astype(np.float32))
    a, b = r.random_dims(12, 0).apply(OTHER), r.random_dims(12, 1).apply(OTHER)
    np.testing.assert_array_equal(np.sort(a, 1), np.sort(OTHER.astype(np.float32), 1))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(a, r.random_dims(12, 0).apply(OTHER))
    assert np.isnan(r.plain(12).explained).all() and r.random_dims(12, 3).explained.shape == (12,)
    parts = r.random_dims(12, 0).apply_to({"queries": OTHER[None], "documents": X[None]})
    np.testing.assert_array_equal(parts["queries"][0], a)


def test_apply_leaves_what_it_was_given():
    given = OTHER.copy()
    out = r.plain(12).apply(given.astype(np.float32))
    out[:] = 0
    r.pca(X).apply(given)
    np.testing.assert_array_equal(given, OTHER)


def test_ranks_of_known_spectra():
    sphere = np.vstack([np.eye(6), -np.eye(6)])
    assert r.effective_rank(sphere) == pytest.approx(6)
    line = np.outer(np.arange(5.0), np.arange(4))
    assert r.effective_rank(line) == pytest.approx(1)
    share = np.array(PCA().fit(X).explained_variance_ratio_)
    assert r.effective_rank(X) == pytest.approx(np.exp(-(share * np.log(share)).sum()))


def test_refusals():
    for wrong, words in [(X[:1], "too small"), (X[0], "too small"), (np.ones((4, 3)), "the same"), (X * np.nan, "NaN")]:
        with pytest.raises(InputError, match=words):
            r.pca(wrong)
        with pytest.raises(InputError, match=words):
            r.whiten(wrong)
    with pytest.raises(InputError, match="variance"):
        r.effective_rank(np.ones((4, 3)))
    with pytest.raises(InputError, match=r"\(\.\.\., N, 12\)"):
        r.pca(X).apply(OTHER[:, :5])
