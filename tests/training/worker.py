"""What test_processes.py runs in one process, and a launcher in several: a step or two of every kind of training."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training import processes
from mrl_tutorial.training.loop import train
from tests.training.test_training import pairs_task

OPTIONS = {"steps": 2, "batch_size": 9, "precision": "fp32", "lr": 1e-4}  # 27 texts: the shares are not equal
RECIPES = ("all-cells", "2dmse-v1", "retrieval-2dmse+dims+score", "starbucks:1,8+2,16+3,32", "mrl")


def results(encoder: Encoder) -> dict[str, torch.Tensor]:
    """The losses of two steps, the gradient of the first and the weights after the second, by what is trained."""
    found: dict[str, torch.Tensor] = {}
    gradients: list[torch.Tensor] = []

    def keep(optimizer, *_):
        given = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients.append(torch.cat(given).clone())

    hook = register_optimizer_step_pre_hook(keep)
    for name in RECIPES:
        for what in ("heads", "full"):
            weights = "learned" if name == "all-cells" else None
            recipe = get_recipe(name, encoder.n_layers, encoder.width, layer_weights=weights)
            gradients.clear()
            result = train(encoder, pairs_task(negatives=1), recipe, what=what, cache=False, **OPTIONS)
            found[f"loss {what} {name}"] = torch.tensor(result.history, dtype=torch.float64)
            found[f"gradient {what} {name}"] = gradients[0]
    hook.remove()
    return found


if __name__ == "__main__":
    model, out = sys.argv[1:]
    encoder = Encoder.load(model)
    # a run that is stopped half-way, for the test to go on with
    train(encoder, pairs_task(), "mrl", steps=4, batch_size=6, precision="fp32", on_step=lambda step, *_: step < 2)
    found = results(encoder)
    if processes.place() == (0, 2):
        save_file(found, Path(out))
