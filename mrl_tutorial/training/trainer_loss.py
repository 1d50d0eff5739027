"""A recipe as a loss of sentence-transformers, for those who train with `SentenceTransformerTrainer`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import Batch
from mrl_tutorial.models import layers as running
from mrl_tutorial.recipes.recipe import Recipe

SKIPPED = ("Normalize",)  # the course's terms cut first, then normalize


class RecipeLoss(nn.Module):
    """The loss of a recipe at every layer and width that it weighs, for `SentenceTransformerTrainer(loss=…)`.

    model: a `SentenceTransformer` whose first module is a transformer. The columns of the data set are an anchor, its
    positive and, if there are more, negatives; a column "score" of floats makes them graded pairs. The model's dropout
    stays on while it trains, which the course's own loop leaves out: a model without dropout gives its numbers.
    One forward pass serves all layers. A recipe with a sampler draws anew at each step, from `seed`; learned layer
    weights are trained at the trainer's own rate, not at `Learned.rate`. Raises InputError
    for a recipe that does not fit the model, and for class labels.

    >>> from mrl_tutorial.recipes.registry import get_recipe
    >>> from sentence_transformers import SentenceTransformer
    >>> from mrl_tutorial.models.download import locate
    >>> model = SentenceTransformer(str(locate("sentence-transformers/all-MiniLM-L6-v2")), device="cpu")
    >>> loss = RecipeLoss(model, get_recipe("mrl", 6, 384))
    >>> sides = [model.tokenize(texts) for texts in (["add", "sort"], ["the sum", "in order"])]
    >>> loss(sides, None).ndim
    0
    """

    def __init__(
        self, model: Any, recipe: Recipe, *, temperature: float = 0.05, symmetric: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        if not hasattr(model[0], "auto_model"):
            raise InputError(f"{type(model[0]).__name__} has no layers: give a SentenceTransformer with a transformer")
        network = model[0].auto_model
        self.model, self.seed, self.step = model, seed, 0
        older = model.get_sentence_embedding_dimension  # the older name of the same method
        width = getattr(model, "get_embedding_dimension", older)
        self.recipe = recipe.validate(len(running.find_blocks(network)), width())
        deepest = network.config.num_hidden_layers if self.recipe.needs_last_layer else self.recipe.deepest_layer
        self.layers = tuple(range(0 if self.recipe.embeddings else 1, deepest + 1))
        self.weights = self.recipe.layer_weights()  # trained along, where the recipe learns them
        self.options: dict[str, Any] = {"temperature": temperature, "symmetric": symmetric}
        normalized = type(model[-1]).__name__ == "Normalize"  # the dot product of unit vectors is their cosine
        self.options["cosine"] = normalized or getattr(model, "similarity_fn_name", None) != "dot"

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """The loss of one batch, a scalar. sentence_features: tokens of each column."""
        if labels is not None and not labels.is_floating_point():
            raise InputError("RecipeLoss takes pairs, triplets or graded pairs: leave the column of class labels out")
        columns = [self.embed(features) for features in sentence_features]  # (L, B, D) each
        if len(columns) < 2:
            raise InputError("RecipeLoss needs two columns or more: an anchor and its positive")
        batch = Batch(columns[0], torch.cat(columns[1:], 1), self.layers, labels=labels, **self.options)
        weights = self.recipe.step_weights(np.random.default_rng([self.seed, self.step]))
        self.step += self.training  # an evaluation in between draws nothing new
        if self.weights is not None:
            weights = self.weights.scale(weights)
        return self.recipe.loss(batch, weights)[0]

    def embed(self, features: dict[str, Tensor]) -> Tensor:
        """One column at every layer: (L, B, D), not normalized."""
        found, mask = [], features["attention_mask"]
        for hidden in running.EarlyExit(self.model[0].auto_model, self.layers)(features["input_ids"], mask):
            out = {"token_embeddings": hidden, "attention_mask": mask}
            for module in list(self.model)[1:]:
                if type(module).__name__ not in SKIPPED:
                    out = module(out)
            found.append(out["sentence_embedding"])
        return torch.stack(found)

    def get_config_dict(self) -> dict[str, Any]:
        """What the model card says of the loss."""
        return {"recipe": self.recipe.name, **self.options}
