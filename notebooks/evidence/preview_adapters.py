"""What two more of the previews (H1) train: low-rank adapters beside frozen weights, and a plain teacher's scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mrl_tutorial.losses import Batch
from mrl_tutorial.losses.distillation import kl
from mrl_tutorial.losses.term import term
from mrl_tutorial.models import layers as running
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.prefixes import nested_scores
from mrl_tutorial.recipes.recipe_file import RecipeFile
from mrl_tutorial.training.examples import Examples, schedule
from mrl_tutorial.training.loop import seeded

RANK, SCALE = 8, 2.0
TOKENS = 1024  # padded tokens that go through the lower blocks together


class LowRank(nn.Module):
    """A linear map with a trained one of low rank beside it, which adds nothing at first: LoRA, arXiv 2106.09685."""

    def __init__(self, plain: nn.Linear, rank: int = RANK) -> None:
        super().__init__()
        self.plain = plain
        self.down = nn.Parameter(torch.randn(rank, plain.in_features) / plain.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(plain.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """x (…, in_features) -> (…, out_features)."""
        return self.plain(x) + SCALE * (x @ self.down.T @ self.up.T)


class Recalled:
    """What the lowest blocks make of a text, token by token: computed once for each text, however often the model sees
    it. Copies of a model share it."""

    def __init__(self, encoder: Encoder, count: int) -> None:
        self.run, self.count = running.EarlyExit(encoder.model, range(1, count + 1)), count
        self.tokenize, self.pad = encoder.tokenize, encoder.pad_id
        self.texts: dict[tuple[int, ...], list[Tensor]] = {}  # token ids -> (T, D) after each block
        self.now: list[Tensor] = []  # of the batch that is running, (B, T, D) after each block

    def __deepcopy__(self, memo: Any) -> Recalled:
        return self

    def read(self, texts: Iterable[str]) -> None:
        """Compute it for these texts, where it was not."""
        ids = self.tokenize(texts)
        for group in running.micro_batches([len(i) for i in ids], TOKENS):
            self._add([tuple(ids[i]) for i in group])

    def recall(self, module: nn.Module, args: tuple, given: Mapping[str, Any]) -> None:
        """Before the embedding table runs, which alone sees the token ids."""
        ids = given["input_ids"] if "input_ids" in given else args[0]
        rows = [tuple(row[row != self.pad].tolist()) for row in ids]
        self._add(rows)
        blocks = zip(*(self.texts[row] for row in rows), strict=True)
        self.now = [pad_sequence(list(block), batch_first=True) for block in blocks]

    def _add(self, rows: Iterable[tuple[int, ...]]) -> None:
        new = list(dict.fromkeys(row for row in rows if row not in self.texts))
        if new:
            with torch.inference_mode(False), torch.no_grad():
                found = self.run(*running.pad(new, self.pad))
                for i, row in enumerate(new):
                    self.texts[row] = [hidden[i, : len(row)].clone() for hidden in found]


class RecalledBlock(nn.Module):
    """In the place of one of the lowest blocks (`layer` from 0)."""

    def __init__(self, recalled: Recalled, layer: int) -> None:
        super().__init__()
        self.recalled, self.layer = recalled, layer

    def forward(self, hidden: Tensor, *args: Any, **more: Any) -> Tensor:
        """What the block made of the texts that are running, (B, T, D)."""
        return self.recalled.now[self.layer]


def adapted(encoder: Encoder, recalled: Recalled | None = None, seed: int = 0) -> Encoder:
    """A copy with low-rank adapters beside all linear maps of its blocks, but for the lowest ones that are `recalled`.
    Nothing else in it can be trained: the model's own numbers become buffers."""
    found = encoder.trainable_copy()
    for module in list(found.model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    blocks = running.find_blocks(found.model)
    with seeded(seed):
        for block in blocks[recalled.count if recalled else 0 :]:
            for name, module in list(block.named_modules()):
                if isinstance(module, nn.Linear):
                    place, _, own = name.rpartition(".")
                    setattr(block.get_submodule(place), own, LowRank(module))
    if recalled:
        found.model.embeddings.register_forward_pre_hook(recalled.recall, with_kwargs=True)
        for layer in range(recalled.count):
            blocks[layer] = RecalledBlock(recalled, layer)
    return found


class Teacher:
    """The plain model's scores in its largest cell, as a target for each cell that a recipe trains: KL over scores.

    It follows the batches of a training with the same examples, batch size, steps and seed: `next` is its `on_step`.
    """

    def __init__(self, encoder: Encoder, data: Examples, *, batch_size: int, steps: int, seed: int) -> None:
        texts = data.texts()
        place = {text: i for i, text in enumerate(texts)}
        last = [encoder.n_layers]
        plain = np.array(encoder.encode_layers(texts, layers=last, prompt="", precision="fp32")[0])  # (texts, D)
        chosen = schedule(data, batch_size, steps, seed)
        self.batches = [
            [torch.from_numpy(plain[[place[text] for text in side]]) for side in data.sides(rows)] for rows in chosen
        ]
        self.step = 0

    def next(self, step: int, steps: int, loss: float) -> bool:
        """After each step of the training."""
        self.step = step
        return True

    @term("plain-scores", needs_documents=True)
    def scores(self, batch: Batch, layers: Sequence[int], dims: Sequence[int]) -> Tensor:
        """(len(layers), len(dims)): the mean over queries of KL(plain model at full width || this cell)."""
        queries, documents = self.batches[self.step]
        right = nested_scores(queries[None], documents[None], [batch.width], batch.cosine)
        return kl(right, nested_scores(*batch.pair_rows(layers), dims, batch.cosine), batch.temperature)


def taught(recipe: RecipeFile) -> RecipeFile:
    """The recipe with the teacher's term in the cells of its main loss, at the same weights."""
    main = next(one for one in recipe.terms if one["term"] == "main")
    return replace(recipe, terms=[*recipe.terms, {"term": "plain-scores", "weights": main["weights"]}])
