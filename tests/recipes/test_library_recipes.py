"""2dmse-v1-st and CoSENT against sentence-transformers itself: losses and gradients."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mrl_tutorial.losses import Batch
from mrl_tutorial.losses.contrastive import cosent
from mrl_tutorial.models import layers as bb
from mrl_tutorial.recipes.registry import get_recipe
from tests.helpers.tiny import SENTENCES, save_tiny
from tests.losses.test_losses import library
from tests.recipes.test_published_recipes import DIMS, WIDTH, L, vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "bert")


def theirs_and_ours(folder, columns, recipe, weights, seed=None, **options):
    """Matryoshka2dLoss and the recipe on one model: both losses, and their gradients in every parameter."""
    from sentence_transformers import SentenceTransformer, losses
    from sentence_transformers.models import Pooling, Transformer

    model = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(WIDTH, "mean")], device="cpu").eval()
    inner = losses.MultipleNegativesRankingLoss(model)
    loss = losses.Matryoshka2dLoss(model, inner, **options)
    bert = model[0].auto_model
    leaves = [p for name, p in bert.named_parameters() if "pooler" not in name]
    features = [dict(model.tokenize(column)) for column in columns]
    random.seed(seed)
    theirs = loss(features, torch.zeros(len(columns[0])))
    rows = []
    for column in columns:
        tokens = model.tokenize(column)
        hidden = bb.EarlyExit(bert, range(4))(tokens["input_ids"], tokens["attention_mask"])
        rows.append(torch.stack([bb.pool(h, tokens["attention_mask"], "mean") for h in hidden]))
    batch = Batch(rows[0], torch.cat(rows[1:], 1), layers=range(4))
    ours, _ = recipe.loss(batch, weights)
    return *(float(x.detach()) for x in (theirs, ours)), *(
        torch.cat([g.flatten() for g in torch.autograd.grad(x, leaves, allow_unused=True) if g is not None])
        for x in (theirs, ours)
    )


COLUMNS = [SENTENCES[:3], SENTENCES[3:6], SENTENCES[6:9]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("columns", "dims", "seed"),
    [
        *((COLUMNS[:2], None, seed) for seed in range(5)),
        *((COLUMNS, (8, 16), seed) for seed in range(3)),  # with hard negatives; the KL is at full width all the same
        (COLUMNS, (8, 16, 24, 32), 5),
        (COLUMNS, (16,), 6),  # one width, which is not sampled
    ],
)
def test_2dmse_v1_st_is_matryoshka2dloss(folder, columns, dims, seed):
    recipe = get_recipe("2dmse-v1-st", 3, WIDTH, dims=dims)
    assert recipe.embeddings and recipe.layers == (0, 1, 2, 3)
    weights = recipe.step_weights(np.random.default_rng(seed))
    state = int(np.random.default_rng(seed).integers(2**32))  # as the recipe says it seeds
    found = theirs_and_ours(folder, columns, recipe, weights, state, matryoshka_dims=list(dims or DIMS))
    theirs, ours, their_gradient, our_gradient = found
    assert ours == pytest.approx(theirs, rel=2e-6)
    assert float((their_gradient - our_gradient).norm()) <= 2e-5 * float(their_gradient.norm()) > 0


def test_2dmse_v1_st_samples_what_its_mean_says():
    for dims in (None, (8, 16)):
        recipe = get_recipe("2dmse-v1-st", L, WIDTH, dims=dims)
        rng, mean, steps = np.random.default_rng(0), dict.fromkeys(recipe.weights, 0.0), 2000
        for _ in range(steps):
            for key, grid in recipe.step_weights(rng).items():
                mean[key] = mean[key] + grid / steps
        for key, grid in recipe.weights.items():
            np.testing.assert_allclose(mean[key], grid, atol=0.05)


@pytest.mark.filterwarnings("ignore")
def test_cosent_has_the_librarys_value_and_gradient():
    q, d = (vectors(8, 12, seed=s, dtype=torch.float32).requires_grad_() for s in (0, 1))
    labels = torch.tensor([0.0, 0.5, 0.5, 1.0, 0.2, 0.2, 0.2, 0.9])  # ties are not ordered pairs
    theirs = library("CoSENTLoss", q, d, labels=labels)
    ours = cosent(Batch(q[None], d[None], labels=labels), [1], [2, 5, 11, 12]).sum()
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
    for a, b in zip(torch.autograd.grad(ours, (q, d)), torch.autograd.grad(theirs, (q, d)), strict=True):
        assert float((a - b).norm()) <= 1e-5 * float(b.norm()) > 0
