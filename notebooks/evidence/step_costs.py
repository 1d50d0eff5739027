"""What one step of full training costs, recipe by recipe: seconds, and the memory that waits for the backward pass."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import key, remembered
from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training.examples import examples, schedule
from mrl_tutorial.training.loop import Backbone
from mrl_tutorial.training.sweep_file import environment

VERSION = 1  # of recipes and of how their steps are measured: what the cache holds from another one is not read


class StepCost(NamedTuple):
    """seconds: of forward, loss and backward (median). loss_seconds: of computing the loss terms and their own backward
    pass, the backbone's left out. kept_bytes: tensors that the forward pass keeps for the backward pass."""

    seconds: float
    loss_seconds: float
    kept_bytes: int


def measure(
    encoder: Any, task: Any, recipes: Sequence[str], *, batch_size: int = 32, repeats: int = 3, precision: str = "fp32",
    max_tokens: int = 64, seed: int = 0, cache: bool = False, progress: Callable[[str], object] | None = None,
) -> dict[str, StepCost]:  # fmt: skip
    """One training step of each recipe on the same batch, without an update: name -> StepCost.

    Token embeddings stay frozen, as in training. The recipes take turns, so that what else the machine does falls on
    all of them. cache: what this machine has measured before, with the same libraries, is read from the cache. Raises
    InputError for an unknown recipe, or fewer than 1 repeat.
    """
    if repeats < 1:
        raise InputError(f"{repeats} repeats measure nothing: give 1 or more")
    options = [list(recipes), batch_size, repeats, precision, max_tokens, seed]

    def measured() -> dict[str, np.ndarray]:
        return {"costs": np.array(_measure(encoder, task, *options, progress), dtype=np.float64)}

    if cache:
        name = key(VERSION, encoder.fingerprint(), task.fingerprint(), options, environment())
        table = remembered("step-costs", name, measured)
    else:
        table = measured()
    return {name: StepCost(float(a), float(b), int(c)) for name, (a, b, c) in zip(recipes, table["costs"], strict=True)}


def _measure(encoder, task, recipes, batch_size, repeats, precision, max_tokens, seed, progress) -> list[StepCost]:
    data = examples(task)
    (chosen,) = schedule(data, batch_size, 1, seed)
    plans = {name: get_recipe(name, encoder.n_layers, encoder.width) for name in recipes}
    shared = Backbone(encoder, data, next(iter(plans.values())), precision, max_tokens)
    shared.module.embeddings.requires_grad_(False)
    sides = {}
    for name, recipe in plans.items():
        side = copy.copy(shared)  # the model is the same for all
        deepest = encoder.n_layers if recipe.needs_last_layer else recipe.deepest_layer
        side.layers = tuple(range(0 if recipe.embeddings else 1, deepest + 1))
        sides[name] = recipe, side
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in recipes}
    kept = {}
    for turn in range(repeats + 1):  # the first warms up, and is the one that counts bytes
        for name, (recipe, side) in sides.items():
            weights = recipe.step_weights(np.random.default_rng(seed))
            if turn == 0:
                step = partial(_forward, side, chosen, recipe, weights)
                kept[name] = _kept(lambda step=step: step()[0])
            else:
                seconds[name].append(_timed(side, chosen, recipe, weights))
            side.module.zero_grad(set_to_none=True)
            if progress is not None:
                progress(name)
    return [StepCost(*np.median(seconds[name], axis=0), kept[name]) for name in recipes]


def _forward(side: Backbone, chosen: np.ndarray, recipe, weights) -> tuple[torch.Tensor, Batch]:
    queries, documents, labels = side.embed(chosen)
    batch = Batch(queries, documents, side.layers, labels=labels)
    return recipe.loss(batch, weights)[0], batch


def _timed(side: Backbone, chosen: np.ndarray, recipe, weights) -> tuple[float, float]:
    """Seconds of the whole step and of the loss by itself, on embeddings that are cut off from the backbone."""
    began = time.perf_counter()
    loss, batch = _forward(side, chosen, recipe, weights)
    loss.backward()
    whole = time.perf_counter() - began
    parts = [x.detach().requires_grad_() for x in (batch.queries, batch.documents) if x is not None]
    alone = Batch(*parts, layers=batch.layers, labels=batch.labels)
    began = time.perf_counter()
    recipe.loss(alone, weights)[0].backward()
    return whole, time.perf_counter() - began


def _kept(forward: Callable[[], torch.Tensor]) -> int:
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
