"""What one step of full training costs, recipe by recipe: seconds, and the memory that waits for the backward pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import key, remembered
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.examples import Examples, examples, schedule
from mrl_tutorial.training.sweep_file import environment
from mrl_tutorial.training.trainables import FullBackbone, make_batch

SEED = 0  # of the batch, and of what a recipe samples in its step
VERSION = 2  # of recipes and of how their steps are measured: what the cache holds from another one is not read


class StepCost(NamedTuple):
    """seconds: of forward, loss and backward (median). loss_seconds: of computing the loss terms and their own backward
    pass, the backbone's left out. kept_bytes: tensors that the forward pass keeps for the backward pass. repeats: the
    seconds of each repeat."""

    seconds: float
    loss_seconds: float
    kept_bytes: int
    repeats: tuple[float, ...]


def measure(
    encoder: Encoder,
    task: Any,
    recipes: Sequence[str],
    *,
    batch_size: int = 32,
    max_tokens: int = 64,
    repeats: int = 3,
    cache: bool = False,
    progress: Callable[[str], object] | None = None,
) -> dict[str, StepCost]:
    """One training step of each recipe on the same batch, without an update: name -> StepCost.

    The recipes take turns, so that what else the machine does falls on all of them. cache: what this machine has
    measured before, with the same libraries, is read from the cache. progress: told the recipe's name after each step.
    Raises InputError for an unknown recipe, or fewer than 1 repeat.
    """
    if repeats < 1:
        raise InputError(f"{repeats} repeats measure nothing: give 1 or more")

    def measured() -> dict[str, np.ndarray]:
        data, config = examples(task), TrainConfig(what="full", precision="fp32", max_tokens=max_tokens)
        (chosen,) = schedule(data, batch_size, 1, SEED)
        steps = {name: Step(encoder, data, chosen, name, config) for name in recipes}
        return {"costs": np.array(_in_turn(steps, repeats, progress), dtype=np.float64)}

    options = [list(recipes), batch_size, repeats, "fp32", max_tokens, SEED]
    name = key(VERSION, encoder.fingerprint(), task.fingerprint(), options, environment())
    table = (remembered("step-costs", name, measured) if cache else measured())["costs"]
    return {
        name: StepCost(float(a), float(b), int(c), tuple(map(float, each)))
        for name, (a, b, c, *each) in zip(recipes, table, strict=True)
    }


class Step:
    """One training step of a recipe, as often as it is asked for."""

    def __init__(self, encoder: Encoder, data: Examples, chosen: np.ndarray, recipe: str, config: TrainConfig) -> None:
        self.recipe = get_recipe(recipe, encoder.n_layers, encoder.width)
        self.weights = self.recipe.step_weights(np.random.default_rng(SEED))
        self.encoder, self.data, self.chosen, self.config = encoder, data, chosen, config

    def model(self) -> FullBackbone:
        """A fresh copy of the backbone: copies of all recipes at once would fill a small machine's memory."""
        return FullBackbone(self.encoder, self.recipe, self.config)

    def kept_bytes(self) -> int:
        """What the forward pass keeps for the backward pass."""
        model = self.model()
        return kept_bytes(lambda: self.recipe.loss(make_batch(model, self.data, self.chosen), self.weights)[0])

    def seconds(self) -> tuple[float, float]:
        """Of the whole step, and of the loss by itself on embeddings that are cut off from the backbone."""
        model = self.model()
        began = time.perf_counter()
        batch = make_batch(model, self.data, self.chosen)
        self.recipe.loss(batch, self.weights)[0].backward()
        whole = time.perf_counter() - began
        documents = None if batch.documents is None else batch.documents.detach().requires_grad_()
        alone = replace(batch, queries=batch.queries.detach().requires_grad_(), documents=documents)
        began = time.perf_counter()
        self.recipe.loss(alone, self.weights)[0].backward()
        return whole, time.perf_counter() - began


def _in_turn(steps: dict[str, Step], repeats: int, progress: Callable[[str], object] | None) -> list[tuple[float, ...]]:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    kept = {}
    for turn in range(repeats + 1):  # the first warms up, and is the one that counts bytes
        for name, step in steps.items():
            if turn == 0:
                kept[name] = step.kept_bytes()
            else:
                seconds[name].append(step.seconds())
            if progress is not None:
                progress(name)
    return [(*np.median(seconds[name], axis=0), kept[name], *(whole for whole, _ in seconds[name])) for name in steps]


def kept_bytes(forward: Callable[[], torch.Tensor]) -> int:
    """Bytes of the distinct storages that autograd saves while `forward` runs, parameters left out."""
    found: dict[int, int] = {}

    def save(x: torch.Tensor) -> torch.Tensor:
        if not isinstance(x, torch.nn.Parameter) and x.device.type == "cpu":
            storage = x.untyped_storage()
            found[storage.data_ptr()] = max(found.get(storage.data_ptr(), 0), storage.nbytes())
        return x.detach()  # the tensor itself would keep its own graph alive

    with torch.autograd.graph.saved_tensors_hooks(save, lambda x: x):
        loss = forward()
    del loss
    return sum(found.values())
