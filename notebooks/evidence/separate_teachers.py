"""One model for all cells that learns from models trained for single cells (R16).

`python -m evidence.separate_teachers`, run in the folder of the notebooks, trains the teachers and then the shared
model, and goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.learning_curves import best_rate
from mrl_tutorial import Encoder, files, load_task
from mrl_tutorial.losses import Batch
from mrl_tutorial.losses.distillation import kl
from mrl_tutorial.losses.term import term
from mrl_tutorial.prefixes import nested_scores
from mrl_tutorial.recipes.methods import all_cells, recipe
from mrl_tutorial.recipes.recipe import Recipe, weight_grid
from mrl_tutorial.training.examples import examples, schedule
from mrl_tutorial.training.loop import train
from mrl_tutorial.training.sweep import sweep
from mrl_tutorial.training.sweep_config import SweepConfig

NAME = "all-cells-taught"
#: cell -> the recipe that trains its teacher, and the sweep whose best learning rate it gets
TEACHERS = {
    (1, 8): ("separate:1,8", "sts-separate"),
    (1, 16): ("separate:1,16", "sts-separate"),
    (1, 384): ("separate:1,384", "sts-separate"),
    (5, 256): ("separate:5,256", "sts-separate"),
    (6, 8): ("separate:6,8", "sts-separate"),
    (6, 384): ("full-size", "sts-trained"),
}
FILE = files.data_file("results") / "sts-taught.csv"
# without 1e-3, which damages the last layer of a shared model (E3, "A training that trains")
CONFIG = SweepConfig(
    what="full",
    steps=160,
    batch_size=32,
    lr=(3e-5, 1e-4, 3e-4),
    precision="fp32",
    curve=4,
    metric=("spearman",),
    cache=False,
    command="python -m evidence.separate_teachers",
)


class Teachers:
    """Looks up what the separate models make of the current batch. Call `at` before each step."""

    def __init__(self, encoder: Encoder, task: Any) -> None:
        self.encoder, self.task = encoder, task
        self.data = examples(task).with_prompts(encoder)
        self.place = {text: i for i, text in enumerate(dict.fromkeys(self.data.texts()))}
        self.now: dict[tuple[int, int], list[Tensor]] = {}  # cell -> queries (B, d), documents (N, d)

    def at(self, seed: int, step: int) -> None:
        """Look up the batch of this step of a training with this seed."""
        rows = [[self.place[text] for text in side] for side in self.data.sides(self.batches(seed)[step])]
        self.now = {cell: [self.vectors(seed, cell)[side] for side in rows] for cell in TEACHERS}

    @cache  # noqa: B019  there is one of these, and it lives as long as the program
    def batches(self, seed: int) -> list[np.ndarray]:
        """The examples of each step of a training with this seed."""
        return schedule(self.data, CONFIG.batch_size, CONFIG.steps, seed)

    @cache  # noqa: B019
    def vectors(self, seed: int, cell: tuple[int, int]) -> Tensor:
        """All texts by the model that was trained for this cell alone with this seed: (texts, d)."""
        name, measured = TEACHERS[cell]
        config = replace(CONFIG.training(best_rate(measured, name)), seed=seed, cache=True)
        trained = train(self.encoder, self.task, name, config).encoder.uncached()
        print(f"teacher {name}, seed {seed}", flush=True)
        layer, dim = cell
        found = trained.encode_layers(list(self.place), layers=[layer], prompt="", precision="fp32")[0]
        return torch.from_numpy(np.array(found[:, :dim]))

    @term("separate-scores", needs_documents=True)
    def scores(self, batch: Batch, layers: Sequence[int], dims: Sequence[int]) -> Tensor:
        """(len(layers), len(dims)): the mean over queries of KL(the model for this cell alone || this cell)."""
        students, rows = nested_scores(*batch.pair_rows(layers), dims, batch.cosine), []
        for layer, of_layer in zip(layers, students, strict=True):
            row = []
            for dim, student in zip(dims, of_layer, strict=True):
                queries, documents = self.now[layer, dim]
                teacher = nested_scores(queries[None], documents[None], [dim], batch.cosine)[0, 0]
                row.append(kl(teacher, student, batch.temperature))
            rows.append(torch.stack(row))
        return torch.stack(rows)


def taught(teachers: Teachers) -> Callable[..., Recipe]:
    """The recipe's builder: all cells, and the teachers' scores in theirs."""

    def build(n_layers: int, width: int, dims: Sequence[int] | None = None) -> Recipe:
        plain = all_cells(n_layers, width, dims)
        grids = {**plain.weights, teachers.scores: weight_grid(n_layers, plain.dims, list(TEACHERS))}

        def sampler(rng: np.random.Generator) -> dict[Any, np.ndarray]:
            seeds = rng.bit_generator.seed_seq
            assert isinstance(seeds, np.random.SeedSequence) and isinstance(seeds.entropy, list)
            teachers.at(*seeds.entropy)  # the loop seeds each step's generator with [seed, step]
            return grids

        return replace(plain, name=NAME, weights=grids, sampler=sampler)

    return build


def main() -> None:
    """Train and score the shared model with three seeds, each with teachers of its own seed."""
    encoder, task = Encoder.load(), load_task("stsbenchmark")
    line = "every cell, and six of them pulled toward the models trained for them alone"
    recipe(NAME, "arXiv 2410.13230", line)(taught(Teachers(encoder, task)))
    sweep(encoder, task, [NAME], CONFIG, out=FILE, report=print)


if __name__ == "__main__":
    main()
