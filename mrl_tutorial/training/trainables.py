"""The two things that can be trained: heads on frozen embeddings, in seconds, or the whole backbone, in minutes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import Batch
from mrl_tutorial.models import layers as running
from mrl_tutorial.models.encoder import Encoder, Progress
from mrl_tutorial.models.heads import Heads
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.training import processes
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.examples import Examples
from mrl_tutorial.training.memory import tokens_that_fit

Known = Mapping[str, np.ndarray]  # text -> (L, D)
GROUP = 18  # texts of mean length that go through the backbone together; more are not faster on a CPU
MANY = 1024  # texts whose embeddings and gradients take a share of the memory too


class FrozenLayers:
    """Heads over embeddings that are computed once, or taken from `known` (computed before, at the same precision)."""

    def __init__(
        self, encoder: Encoder, data: Examples, config: TrainConfig, known: Known | None, progress: Progress | None
    ) -> None:
        texts, found = data.texts(), dict(known or {})
        self.place = {text: i for i, text in enumerate(texts)}
        self.encoder = encoder.with_heads(None)
        fresh = [text for text in texts if text not in found]
        # no prompts: the texts of `data` have theirs
        new = self.encoder.encode_layers(fresh, prompt="", precision=config.precision, progress=progress)
        found |= zip(fresh, new.transpose(1, 0, 2), strict=True)
        raw = np.stack([found[text] for text in texts], axis=1)  # (L, texts, D)
        self.raw = torch.from_numpy(raw)
        self.layers = tuple(range(1, encoder.n_layers + 1))
        self.module = Heads(encoder.n_layers, encoder.width, config.heads)
        if encoder.heads is not None and encoder.heads.kind == config.heads:
            self.module.load_state_dict(encoder.heads.state_dict())  # training goes on from the heads that are there
            return
        self.module.standardize_on(raw)
        if config.start == "closed-form" and data.positives is not None:
            anchors, positives = ([self.place[text] for text in side] for side in (data.anchors, data.positives))
            self.module.fit_pairs(raw[:, anchors], raw[:, positives])

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Through the heads: (L, N, D)."""
        return self.module(self.raw[:, [self.place[text] for text in texts]])

    def result(self, name: str, dims: tuple[int, ...]) -> Encoder:
        """The backbone as it was, with the trained heads."""
        return self.encoder.with_heads(self.module.requires_grad_(False), name=name, trained_dims=dims)


class FullBackbone:
    """A copy of the backbone, in length-sorted micro-batches so that short texts are not padded to the longest.

    What the backward pass needs stays in memory where it takes at most half of what is left (`tokens_that_fit`, asked
    once, at the start). Where it would take more, as on a Binder server of 2 GB, each micro-batch is as large as fits,
    and is computed once more in the backward pass: the same loss and gradient, for about a third more time.
    """

    def __init__(self, encoder: Encoder, recipe: Recipe, config: TrainConfig) -> None:
        if encoder.heads is not None and recipe.embeddings:
            raise InputError(f"{encoder.name} has heads, but {recipe.name} trains layer 0, which has none")
        self.encoder = encoder.trainable_copy()
        model, after, self.device = self.encoder.model, self.encoder.after, encoder.device
        self.heads = self.encoder.heads = copy.deepcopy(encoder.heads)  # they stay where the loss is made
        rest = [part for part in (None if after is None else after.to(self.device), self.heads) if part is not None]
        self.module = nn.ModuleList([model.to(self.device), *rest]) if rest else model.to(self.device)
        self.precision, self.max_tokens = config.precision, min(config.max_tokens, encoder.max_length)
        # explicit attention: its backward is cheaper than the fused kernel's on short texts on a CPU
        model.set_attn_implementation("eager")
        self.module.requires_grad_(True)
        getattr(model, "embeddings", model.get_input_embeddings()).requires_grad_(recipe.embeddings)
        deepest = encoder.n_layers if recipe.needs_last_layer else recipe.deepest_layer
        self.layers = tuple(range(0 if recipe.embeddings else 1, deepest + 1))
        self._run = running.EarlyExit(model, self.layers)
        left = torch.cuda.mem_get_info()[0] if self.device == "cuda" else None
        self.fits = tokens_that_fit(model.config, deepest, self.max_tokens, left)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Through the blocks up to the deepest that the recipe needs: (L, N, D), on the CPU, where the loss is made."""
        ids = self.encoder.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        lengths = [len(i) for i in ids]
        groups = running.micro_batches(lengths, int(GROUP * np.mean(lengths)))
        again = self.fits is not None and sum(len(g) * lengths[g[0]] for g in groups) > self.fits
        if again:  # of many texts the embeddings and their gradients take a share of the memory too
            groups = running.micro_batches(lengths, (self.fits or 0) // (2 if len(texts) > MANY else 1))
        entry, parts = torch.ones((), requires_grad=True), []  # the gradient enters a micro-batch again through `entry`
        with running.arithmetic(self.encoder.model, self.device, self.precision):
            for group in groups:
                rows = [ids[i] for i in group]
                if again:  # reentrant: no graph at first, whose many small parts would break up the free memory
                    parts.append(checkpoint(self._group, rows, entry, use_reentrant=True, preserve_rng_state=False))
                else:
                    parts.append(self._group(rows))
        out = torch.cat(parts, 1)[:, torch.from_numpy(np.argsort(np.concatenate(groups)))]
        return out if self.heads is None else self.heads(out, self.layers)

    def _group(self, ids: list[list[int]], entry: Tensor | None = None) -> Tensor:
        """One micro-batch: (L, b, D)."""
        padded, mask = running.pad(ids, self.encoder.pad_id, self.device)
        return torch.stack([self.encoder.pooled(hidden, mask) for hidden in self._run(padded, mask)]).cpu()

    def result(self, name: str, dims: tuple[int, ...]) -> Encoder:
        """The trained copy."""
        self.module.requires_grad_(False)
        with suppress(ValueError):  # families without it, such as DeBERTa, stay as they are
            self.encoder.model.set_attn_implementation("sdpa")
        self.encoder.name, self.encoder.trained_dims = name, dims
        return self.encoder


Trainable = FrozenLayers | FullBackbone  # embed(texts) -> (L, N, D) with a gradient; module holds the parameters


def make_batch(model: Trainable, data: Examples, chosen: np.ndarray, **options: Any) -> Batch:
    """The examples `chosen` (B indices), embedded, with their labels; options: further fields of `Batch`. Of several
    processes each embeds its share and gets the whole batch. Raises InputError where they are more than the texts."""
    sides = data.sides(chosen)
    texts = [text for side in sides for text in side]
    rank, count = processes.place()
    if count > len(texts):
        raise InputError(f"a batch of {len(texts)} texts cannot be shared by {count} processes: start fewer")
    out = processes.gathered(model.embed(texts[rank::count]), len(texts))  # (L, B + N, D)
    documents = out[:, len(chosen) :] if len(sides) > 1 else None
    labels = None if data.labels is None else torch.from_numpy(data.labels[chosen])
    return Batch(out[:, : len(chosen)], documents, model.layers, labels=labels, **options)
