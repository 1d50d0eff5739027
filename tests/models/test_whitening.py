"""Whitening heads: no covariance is left, the widest directions come first, as in PCA(whiten=True) of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import shrunk_covariance
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads, whitened
from tests.helpers.tiny import SENTENCES, save_tiny


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, 500, 6)) @ rng.normal(size=(2, 6, 6)) + 3


def test_whitened_vectors_are_those_of_scikit_learn(x):
    found = Heads(2, 6, "per-layer").whiten_on(x, shrinkage=0).apply_to(x)
    for layer, rows in enumerate(x):
        want = PCA(whiten=True).fit_transform(rows)
        sign = np.sign((want * found[layer]).sum(0))  # a direction may point either way
        np.testing.assert_allclose(found[layer] * sign, want, atol=1e-3)


def test_shrinkage_is_that_of_a_shrunk_covariance(x):
    heads = Heads(2, 6, "per-layer").whiten_on(x, shrinkage=0.3)
    for layer, rows in enumerate(x):
        a, b = (t.double().numpy() for t in heads.affine(layer + 1))
        covariance = shrunk_covariance(np.cov(rows.T), 0.3)
        np.testing.assert_allclose(a @ covariance @ a.T, np.eye(6), atol=1e-4)
        np.testing.assert_allclose(a @ rows.mean(0) + b, 0, atol=1e-4)


def test_shared_heads_whiten_the_mean_covariance(x):
    heads = Heads(2, 6, "shared").whiten_on(x, shrinkage=0)
    a = heads.affine(1)[0].double().numpy()
    np.testing.assert_allclose(a @ np.mean([np.cov(rows.T) for rows in x], 0) @ a.T, np.eye(6), atol=1e-4)


def test_fewer_texts_than_dimensions_stay_finite_and_one_text_is_refused(x):
    few = Heads(2, 6, "per-layer").whiten_on(x[:, :3]).apply_to(x)
    assert np.isfinite(few).all() and np.abs(few).max() < 1e3
    with pytest.raises(InputError, match="1 texts have no covariance"):
        Heads(2, 6).whiten_on(x[:, :1])


def test_lower_layers_are_led_to_what_the_last_head_makes(x):
    heads = Heads(2, 6, "per-layer").whiten_on(x)
    last = heads.apply_to(x)[1]
    found = heads.map_to_last(x, shrinkage=0.05).apply_to(x)
    np.testing.assert_array_equal(found[1], last)
    z = StandardScaler().fit_transform(x[0]) * np.sqrt(499 / 500)  # heads standardize with N - 1
    want = Ridge(alpha=0.05 * 500, fit_intercept=False).fit(z, last).predict(z)
    np.testing.assert_allclose(found[0], want, atol=1e-4)
    related = np.stack([last @ np.triu(np.ones((6, 6))) + 2, x[1]])  # a layer from which the last can be computed
    heads = Heads(2, 6, "per-layer").whiten_on(related).map_to_last(related, shrinkage=1e-6)
    np.testing.assert_allclose(heads.apply_to(related)[0], heads.apply_to(related)[1], atol=1e-3)
    with pytest.raises(InputError, match="make them per-layer"):
        Heads(2, 6).map_to_last(x)


def test_an_encoder_is_whitened_behind_its_backbone(tmp_path):
    encoder = Encoder.load(save_tiny(tmp_path, layers=2))
    white = whitened(encoder, SENTENCES * 5)
    raw = encoder.encode_layers(SENTENCES)
    want = Heads(2, encoder.width, "per-layer").whiten_on(np.concatenate([raw] * 5, 1)).apply_to(raw)
    np.testing.assert_allclose(white.encode_layers(SENTENCES), want, atol=2e-3)
    assert encoder.heads is None and white.fingerprint() != encoder.fingerprint()
    np.testing.assert_allclose(
        whitened(encoder, np.concatenate([raw] * 5, 1)).encode_layers(SENTENCES), want, atol=2e-3
    )
    again = whitened(white, SENTENCES * 5)  # whitening does not pile up
    np.testing.assert_allclose(again.encode_layers(SENTENCES), want, atol=2e-3)
    mapped = whitened(encoder, SENTENCES * 5, mapped=True).encode_layers(SENTENCES)
    z = StandardScaler().fit_transform(np.concatenate([raw[0]] * 5))
    ridge = Ridge(alpha=0.01 * len(z), fit_intercept=False).fit(z, np.concatenate([want[1]] * 5))
    np.testing.assert_allclose(mapped[1], want[1], atol=2e-3)
    np.testing.assert_allclose(mapped[0], ridge.predict(z[: len(SENTENCES)]), atol=5e-3)
