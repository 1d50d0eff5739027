"""The recipes of papers and public code in the training loop: layer 0, random targets, tasks without documents."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training.examples import examples, schedule
from mrl_tutorial.training.lab import Watched
from mrl_tutorial.training.loop import train
from tests.helpers import reference
from tests.helpers.tiny import SENTENCES, save_tiny
from tests.recipes.test_published_recipes import DIMS, WIDTH
from tests.training.test_training import OPTIONS, pairs_task, parameters


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "bert")


def recipes_with_layer_0():
    return [get_recipe("2dmse-v1-st", 3, WIDTH), get_recipe("ese-code", 3, WIDTH, dims=(8,))]


def test_full_training_sees_the_embedding_table(folder):
    encoder, task = Encoder.load(folder), pairs_task()
    recipe = replace(get_recipe("2dmse-v1-st", 3, WIDTH), sampler=None)  # its mean, every step
    tables = []
    watched = Watched(**vars(recipe), watch=tables.append)
    result = train(encoder, task, watched, what="full", steps=1, batch_size=6, precision="fp32", cache=False)
    data = examples(task)
    chosen = schedule(data, 6, 1, 0)[0]
    sides = ([texts[i] for i in chosen] for texts in (data.anchors, data.positives))
    q, d = (
        torch.from_numpy(np.array(encoder.encode_layers(x, embeddings=True, precision="fp32", cache=False))).double()
        for x in sides
    )
    expected = sum(reference.contrastive(q[3], d[3], k) for k in DIMS) / len(DIMS)
    for row in range(3):
        expected = expected + sum(reference.contrastive(q[row], d[row], k) for k in DIMS) / len(DIMS) / 3
        texts = torch.cat([q, d], 1)
        expected = expected + 0.3 * reference.kl(texts[3] / 0.3, texts[row] / 0.3) / 3
    assert result.history[0] == pytest.approx(float(expected), rel=1e-5)
    table = tables[0]["main"]
    assert table.shape == (4, 3) and table[0, 0] == pytest.approx(float(reference.contrastive(q[0], d[0], 8)), rel=1e-5)
    before, after = (e.model.embeddings.word_embeddings.weight for e in (encoder, result.encoder))
    assert not torch.equal(before, after)  # the table is what row 0 trains


@pytest.mark.parametrize("recipe", recipes_with_layer_0(), ids=lambda r: r.name)
def test_resume_is_exact_with_layer_0_and_random_targets(folder, recipe):
    encoder, task = Encoder.load(folder), pairs_task()
    whole = train(encoder, task, recipe, what="full", cache=False, **OPTIONS)
    torch.rand(7)  # the state of torch's generator is not an argument
    train(encoder, task, recipe, what="full", on_step=lambda step, steps, loss: step != 3, **OPTIONS)
    state = torch.random.get_rng_state()
    resumed = train(encoder, task, recipe, what="full", **OPTIONS)
    assert resumed.history == whole.history and len(resumed.history) == OPTIONS["steps"]
    assert torch.equal(parameters(resumed, "full"), parameters(whole, "full"))
    assert torch.equal(torch.random.get_rng_state(), state)  # nor does training disturb it


@pytest.mark.parametrize("recipe", recipes_with_layer_0(), ids=lambda r: r.name)
def test_heads_have_no_layer_0(folder, recipe):
    with pytest.raises(InputError, match="embedding table's output, which has no head: use what='full'"):
        train(Encoder.load(folder), pairs_task(), recipe, what="heads", **OPTIONS)


@pytest.mark.parametrize("name", ["starbucks:1,8+2,16+3,32", "retrieval-2dmse+dims+score+fixed-doc"])
def test_other_recipes_train_heads_and_say_when_a_task_has_no_documents(folder, name):
    encoder = Encoder.load(folder)
    result = train(encoder, pairs_task(), name, steps=40, batch_size=8, lr=3e-3, cache=False)
    assert np.mean(result.history[-8:]) < 0.9 * np.mean(result.history[:8])
    texts = SENTENCES * 3
    classes = SimpleNamespace(name="toy", kind="classification", classes=["a", "b"],
                              splits={"train": (texts, np.arange(len(texts)) % 2)})  # fmt: skip
    with pytest.raises(InputError, match="compares queries with documents, which toy lacks"):
        train(encoder, classes, name, **OPTIONS)
