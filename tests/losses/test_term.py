"""What a term declares itself to need, and that the registry is filled from the declarations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl_tutorial.losses import TERMS, Batch, term
from mrl_tutorial.losses.term import needs_last_layer, options_of, term_name
from mrl_tutorial.recipes.recipe import Recipe

SIMILAR = {"contrastive", "cosent", "kl-scores", "score-align"}  # compare queries with documents


def test_the_registry_has_each_term_under_its_name():
    known = SIMILAR | {"classification", "kl-features", "align"}
    assert known <= set(TERMS)
    for name, function in TERMS.items():
        assert term_name(function) == term_name(name) == name
    for name in known:
        assert TERMS[name].needs_documents == (name in SIMILAR)


@pytest.mark.parametrize(
    ("name", "options", "needed"),
    [
        ("contrastive", {}, False),
        ("contrastive", {"fixed_document": True}, True),
        ("cosent", {"fixed_document": True}, True),
        ("classification", {}, False),
        ("align", {"target": "pca"}, False),
        ("kl-features", {}, True),
        ("kl-scores", {}, True),
        ("kl-scores", {"teacher": "last-layer"}, True),
        ("kl-scores", {"teacher": "full-width"}, False),
        ("kl-scores", {"teacher": "full-width", "fixed_document": True}, True),
        ("score-align", {}, False),
        ("score-align", {"teacher": "full"}, True),
    ],
)
def test_whether_a_term_looks_at_the_last_layer(name, options, needed):
    assert needs_last_layer(TERMS[name], options) is needed
    if name == "classification":
        return  # it has heads in place of a teacher
    # and so it does: another last layer changes its number, or it does not
    queries, documents = (torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    tables = []
    for shift in (0, 1):
        changed = [torch.cat([x[:2], x[2:].roll(shift, 1) + shift * x[2:]]) for x in (queries, documents)]
        labels = torch.tensor([0.1, 0.9, 0.4, 0.2])
        tables.append(TERMS[name](Batch(*changed, labels=labels), [1, 2], [4, 8], **options))
    assert torch.allclose(*tables) is not needed


def test_a_plain_function_is_taken_to_need_the_last_layer():
    def mine(batch, layers, dims, *, power=2):
        return torch.stack([batch.query_rows(layers)[..., :d].pow(power).mean((1, 2)) for d in dims], 1)

    grid = np.zeros((3, 2))
    grid[0, 0] = 1
    assert term_name(mine) == "mine" and options_of(mine) == {"power": 2}
    recipe = Recipe("r", {mine: grid}, dims=(4, 8))
    assert needs_last_layer(mine) and recipe.needs_last_layer and not recipe.needs_documents


def test_a_decorated_function_is_taken_at_its_word():
    @term("size", needs_documents=True, needs_last_layer=lambda options: options["power"] > 1)
    def mine(batch, layers, dims, *, power=1):
        return torch.stack([batch.pair_rows(layers)[1][..., :d].pow(power).mean((1, 2)) for d in dims], 1)

    grid = np.ones((3, 2))
    recipe = Recipe("r", {mine: grid}, dims=(4, 8))
    assert recipe.needs_documents and not recipe.needs_last_layer
    assert Recipe("r", {mine: grid}, dims=(4, 8), options={mine: {"power": 2}}).needs_last_layer
    batch = Batch(torch.ones(3, 2, 8), torch.full((3, 2, 8), 0.5))
    total, tables = recipe.validate(3, 8).loss(batch)
    assert float(total) == 3.0 and np.array_equal(tables["size"], np.full((3, 2), 0.5))
