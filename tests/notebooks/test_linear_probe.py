"""The probe of many networks at once against scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import torch
from evidence import linear_probe as probes
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def test_probe_is_scikit_learns_logistic_regression():
    rng = np.random.default_rng(1)
    y = np.arange(300) % 5
    x = (rng.normal(size=(2, 5, 7))[:, y] + 1.2 * rng.normal(size=(2, 300, 7))).astype(np.float32)
    weights, mean, scale = probes.linear_probe(torch.tensor(x), torch.tensor(y), steps=400)
    for g in range(2):
        standard = StandardScaler().fit_transform(x[g])
        want = LogisticRegression(max_iter=5000, tol=1e-8).fit(standard, y)
        got = weights[g, 1:].numpy()
        assert np.allclose(
            got - got.mean(1, keepdims=True), want.coef_.T - want.coef_.T.mean(1, keepdims=True), atol=0.02
        )
        mine = (np.c_[np.ones(300), standard] @ weights[g].numpy()).argmax(1)
        assert (mine == want.predict(standard)).mean() > 0.99
        scores = probes.probe_scores((weights, mean, scale), torch.tensor(x))[g]
        assert np.array_equal(scores.argmax(1).numpy(), mine)
