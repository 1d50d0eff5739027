"""A recipe in SentenceTransformerTrainer: the loss and the gradient of the course's own loop, and a training run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.recipe_file import painted
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.tasks.types import PairsTask
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.examples import examples
from mrl_tutorial.training.loop import train
from mrl_tutorial.training.trainables import FullBackbone, make_batch
from mrl_tutorial.training.trainer_loss import RecipeLoss
from tests.helpers.tiny import SENTENCES, save_tiny

PAIRS = list(zip(SENTENCES[:5], SENTENCES[5:], strict=True))
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "bert")


def library(folder):
    """The same folder as a SentenceTransformer without dropout, as the course trains."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    model = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(32, "mean"), Normalize()], device="cpu")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize(
    "name", ["full-size", "mrl", "all-cells", "all-cells+kl-features", "starbucks:1,8+3,32", "2dmse-v1"]
)
def test_loss_and_gradient_are_those_of_our_loop(folder, name):
    recipe = get_recipe(name, 3, 32)
    model = library(folder)
    loss = RecipeLoss(model, recipe).eval()
    theirs = loss([dict(model.tokenize(list(side))) for side in zip(*PAIRS, strict=True)], None)
    theirs.backward()

    encoder = Encoder.load(str(folder), device="cpu")
    config = TrainConfig(what="full", precision="fp32").with_defaults("pairs")
    backbone = FullBackbone(encoder, recipe, config)
    data = examples(PairsTask("toy", "made up", {"train": PAIRS}))
    ours, _ = recipe.loss(make_batch(backbone, data, np.arange(5)), recipe.step_weights(np.random.default_rng([0, 0])))
    ours.backward()

    assert float(theirs) == pytest.approx(float(ours), rel=1e-5)
    here = {name: p.grad for name, p in backbone.encoder.model.named_parameters() if p.grad is not None}
    there = dict(model[0].auto_model.named_parameters())
    assert len(here) > 10
    scale = max(float(g.abs().max()) for g in here.values())
    for name, gradient in here.items():
        np.testing.assert_allclose(there[name].grad, gradient, atol=1e-5 * scale, err_msg=name)


def test_the_dot_product_of_normalized_vectors_is_their_cosine(folder):
    model, recipe = library(folder), get_recipe("all-cells", 3, 32)
    sides = [dict(model.tokenize(list(side))) for side in zip(*PAIRS, strict=True)]

    def loss():
        with torch.no_grad():
            return float(RecipeLoss(model, recipe).eval()(sides, None))

    cosine = loss()
    model.similarity_fn_name = "dot"
    assert loss() == cosine
    del model[-1]  # Normalize: now the lengths count
    assert loss() != cosine


def test_the_trainer_takes_it_and_its_first_loss_is_our_loops(folder, tmp_path):
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    model, recipe = library(folder), painted("all-cells", 3, 32).recipe(3, 32)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    args = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=5, learning_rate=1e-3, logging_steps=1,
        report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    data = Dataset.from_dict({"anchor": [a for a, _ in PAIRS], "positive": [b for _, b in PAIRS]})
    trainer = SentenceTransformerTrainer(model=model, args=args, train_dataset=data, loss=RecipeLoss(model, recipe))
    trainer.train()
    logged = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    task = PairsTask("toy", "made up", {"train": PAIRS})
    ours = train(
        Encoder.load(str(folder), device="cpu"), task, recipe, what="full", steps=2, batch_size=5, precision="fp32",
        cache=False,
    )  # fmt: skip
    assert logged[0] == pytest.approx(ours.history[0], rel=1e-4)  # the trainer rounds what it logs
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_what_it_cannot_train_is_said(folder):
    model = library(folder)
    loss = RecipeLoss(model, get_recipe("mrl", 3, 32))
    side = dict(model.tokenize(["a node"]))
    with pytest.raises(InputError, match="class labels"):
        loss([side, side], torch.tensor([1]))
    with pytest.raises(InputError, match="two columns"):
        loss([side], None)
    with pytest.raises(InputError, match="layers 1 to 3"):
        RecipeLoss(model, get_recipe("mrl", 6, 32))
