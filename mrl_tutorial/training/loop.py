"""The training loop: a batch, its embeddings, the recipe's loss, a step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrl_tutorial import files
from mrl_tutorial.errors import InputError, with_changes
from mrl_tutorial.evaluation.embeddings import meant
from mrl_tutorial.losses.classification import NestedClassifier
from mrl_tutorial.models.encoder import Encoder, Progress
from mrl_tutorial.progress import Ticker
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.tasks.task import Task
from mrl_tutorial.training import processes
from mrl_tutorial.training.checkpoints import EVERY, Run, defer_interrupt, recipe_key
from mrl_tutorial.training.config import NOT_IN_KEY, TrainConfig
from mrl_tutorial.training.examples import Examples, examples, schedule
from mrl_tutorial.training.gradient import NonFiniteLoss as NonFiniteLoss
from mrl_tutorial.training.gradient import backward, check_finite
from mrl_tutorial.training.trainables import FrozenLayers, FullBackbone, Known, Trainable, make_batch

VERSION = 3  # of what a run computes: counts up when that changes, so that no older cached run is taken for a new one
OnStep = Callable[[int, int, float], bool | None]


@dataclass
class Curve:
    """A learning curve: score(the encoder as it is then) after every so many steps; points: (step, score). key: stands
    for `score`; a run whose curve has none is neither cached nor resumed."""

    every: int
    score: Callable[[Encoder], float]
    key: str | None = None
    points: list[tuple[int, float]] = field(default_factory=list)


@dataclass
class TrainResult:
    """What training gave.

    history: the loss of each step. seconds: of training, encoding excluded. finished: False if it was canceled.
    classifier: what was trained along with the model on a classification task. layer_weights: what learned ones arrived
    at, one for each row of the grids.
    """

    encoder: Encoder
    history: list[float]
    seconds: float
    steps: int
    finished: bool
    recipe: Recipe
    classifier: NestedClassifier | None = None
    layer_weights: np.ndarray | None = None


def train(
    encoder: Encoder,
    task: Any,
    recipe: str | Recipe,
    config: TrainConfig | None = None,
    *,
    known: Known | None = None,
    progress: Progress | None = None,
    on_step: OnStep | None = None,
    curve: Curve | None = None,
    **changes: Any,
) -> TrainResult:
    """Train a recipe on a task's training split and return the trained encoder; the one given is not changed.

    config, changes: a `TrainConfig`, and its settings by name. AdamW, a warm-up over a tenth of the steps, then linear
    decay; no dropout. The same arguments give the same run: it is cached, checkpointed every 30 s and when it is
    interrupted, and goes on where it stopped (with functions of your own in the recipe, where it has a `key`).
    known: text -> (L, D), raw embeddings computed before at the same precision, for heads. on_step(step, steps, loss)
    may return False to stop early. curve: to be filled on the way. Where `accelerate launch` or `torchrun` has started
    several processes, they share each batch, for the same numbers, and the first writes. Raises InputError before any
    work on bad arguments, and NonFiniteLoss.

    >>> from mrl_tutorial.tasks.types import PairsTask
    >>> pairs = [("add numbers", "the sum"), ("open a file", "read from disk"), ("join words", "concatenate strings")]
    >>> task = PairsTask("toy", "made up", {"train": pairs})
    >>> result = train(Encoder.load(), task, "mrl", steps=5, batch_size=3, cache=False)
    >>> result.steps, result.history[-1] < result.history[0]
    (5, True)
    """
    processes.join()
    first = processes.place()[0] == 0
    task, encoder = meant(task, encoder)
    config = with_changes(config or TrainConfig(), changes).with_defaults(task.kind, encoder.device)
    encoder = encoder.on(config.device or "auto")
    recipe = get_recipe(recipe, encoder.n_layers, encoder.width) if isinstance(recipe, str) else recipe
    recipe = recipe.validate(encoder.n_layers, encoder.width)
    data = examples(task, config.split).with_prompts(encoder)
    check_recipe(recipe, config.what, data, task.name)
    with closing(Ticker(progress if first else lambda *_: None)) as ticker:
        model: Trainable
        if config.what == "full":
            model = FullBackbone(encoder, recipe, config)
        else:
            model = FrozenLayers(encoder, data, config, known, ticker)
        training = Training(model, data, recipe, config, _folder(encoder, task, data, recipe, config, curve))
        training.loop(ticker, on_step, curve)
    result = training.result(config.name or f"{encoder.name} + {recipe.name} ({config.what})")
    if isinstance(task, Task):
        result.encoder.trained_on = (*encoder.trained_on, task.fingerprint())
    if config.out is not None and first:
        _write(result, config, task.name)
    return result


class Training:
    """One run: what is trained, by which optimizer, how far it has come, and where its state is kept."""

    def __init__(
        self, model: Trainable, data: Examples, recipe: Recipe, config: TrainConfig, folder: Path | None
    ) -> None:
        self.model, self.data, self.recipe, self.config = model, data, recipe, config
        self.classifier: NestedClassifier | None = None
        parameters = {f"model.{name}": p for name, p in model.module.named_parameters() if p.requires_grad}
        if data.classes:
            width, n_layers = model.encoder.width, model.encoder.n_layers
            with seeded(config.seed):
                self.classifier = NestedClassifier(width, recipe.dims, data.classes, n_layers, config.tied)
            parameters |= {f"classifier.{name}": p for name, p in self.classifier.named_parameters()}
        self.options: dict[str, Any] = {"temperature": config.temperature, "symmetric": config.symmetric}
        self.options |= {"classifier": self.classifier, "cosine": model.encoder.similarity == "cosine"}
        groups: list[dict[str, Any]] = [{"params": list(parameters.values()), "rate": config.lr}]
        self.learned = recipe.layer_weights()
        if recipe.learned is not None and self.learned is not None:
            parameters["layers.theta"] = self.learned.theta
            groups.append({"params": [self.learned.theta], "rate": recipe.learned.rate, "weight_decay": 0.0})
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        self.run = Run(folder, parameters, self.optimizer, config.steps)
        processes.agree(self.run.step)

    def loop(self, report: Progress, on_step: OnStep | None, curve: Curve | None = None) -> None:
        """Go through the steps that are left; stop early where `on_step` says so. An interrupted run is kept."""
        config, run = self.config, self.run
        batches = schedule(self.data, config.batch_size, config.steps, config.seed)
        began = time.monotonic() - run.seconds
        if curve is not None:
            curve.points = run.points = [(at, score) for at, score in run.points]
            if run.step and run.step % curve.every == 0 and run.step not in dict(curve.points):
                self.measure(curve)  # it was interrupted there
        try:
            for step in range(run.step, config.steps):
                loss = self.backward(step, batches[step])
                for group in self.optimizer.param_groups:
                    group["lr"] = group["rate"] * learning_rate(step, config.steps)
                with defer_interrupt():
                    self.optimizer.step()
                    run.history.append(loss)
                    run.seconds = time.monotonic() - began
                if curve is not None and run.step % curve.every == 0:
                    self.measure(curve)
                    began = time.monotonic() - run.seconds
                report(run.step, config.steps, f"training {self.recipe.name}, loss {loss:.3f}")
                if on_step is not None and on_step(run.step, config.steps, loss) is False:
                    break
                run.save(EVERY)
        except KeyboardInterrupt:
            run.save()
            raise
        run.save()

    def measure(self, curve: Curve) -> None:
        """Add the point of where the run is."""
        found = float(curve.score(copy.deepcopy(self.model).result("unfinished", ())))
        curve.points.append((self.run.step, found))

    def backward(self, step: int, chosen: np.ndarray) -> float:
        """The loss of the examples `chosen`, whose gradient is then with the parameters."""
        # a generator for each step: nothing to store, and a resumed run samples what an uninterrupted one would
        rng = np.random.default_rng([self.config.seed, step])
        weights = self.recipe.step_weights(rng)
        self.optimizer.zero_grad()
        batch = make_batch(self.model, self.data, chosen, **self.options)
        with seeded(int(rng.integers(2**63))):  # for terms that sample, such as the target "code-pca"
            try:
                loss, tables = backward(self.recipe, batch, weights, self.learned)
            except torch.linalg.LinAlgError as error:  # of principal axes of what is not a number
                raise NonFiniteLoss(f"step {step + 1}: {error}: lower the learning rate") from error
        check_finite(loss, tables, weights, self.recipe, step)
        processes.sum_gradients(self.model.module.parameters())
        return float(loss)

    def result(self, name: str) -> TrainResult:
        """What the run has come to so far."""
        pushed = np.any([np.asarray(grid).any(axis=0) for grid in self.recipe.weights.values()], axis=0)
        dims = tuple(int(d) for d, on in zip(self.recipe.dims, pushed, strict=True) if on)
        encoder, run = self.model.result(name, dims), self.run
        learned = None if self.learned is None else self.learned().detach().numpy()
        finished = run.step == self.config.steps
        return TrainResult(encoder, run.history, run.seconds, run.step, finished, self.recipe, self.classifier, learned)


def learning_rate(step: int, steps: int) -> float:
    """Warm-up over a tenth of the steps, then linear decay to zero: a share of the highest learning rate.

    >>> [round(learning_rate(step, 20), 2) for step in (0, 1, 10, 19)]
    [0.5, 1.0, 0.53, 0.05]
    """
    warm = max(1, steps // 10)
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm + 1))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator inside the block, and restore the generator's state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


def check_recipe(recipe: Recipe, what: str, data: Examples, task: str) -> None:
    """Raises InputError where the recipe needs what heads or the task do not have."""
    who = f"recipe {recipe.name!r}"
    if recipe.embeddings and data.classes:
        raise InputError(
            f"{who} trains the embedding table's output, which no classifier reads: choose mrl or all-cells"
        )
    if recipe.embeddings and what == "heads":
        raise InputError(f"{who} trains the embedding table's output, which has no head: use what='full'")
    if recipe.needs_documents and data.positives is None:
        raise InputError(f"{who} compares queries with documents, which {task} lacks: choose mrl or all-cells")


def _folder(
    encoder: Encoder, task: Any, data: Examples, recipe: Recipe, config: TrainConfig, curve: Curve | None
) -> Path | None:
    """Where this run is kept: a name made of all that shapes it. None where it is not kept."""
    recipe_parts = recipe_key(recipe, config.key)
    if not config.cache or recipe_parts is None or (curve is not None and curve.key is None):
        return None
    settings = {name: value for name, value in asdict(config).items() if name not in NOT_IN_KEY}
    more: list[Any] = [] if data.labels is None else [data.labels, *([data.classes] if data.classes else [])]
    more += ["negatives wait"] if data.negatives else []
    more += [] if curve is None else [curve.every, curve.key]
    texts = [task.name, data.anchors, data.positives, data.negatives]
    key = files.key(VERSION, encoder.fingerprint(), encoder.similarity, *texts, recipe_parts, settings, *more)
    return files.cache_dir("training") / key


def _write(result: TrainResult, config: TrainConfig, task: str) -> None:
    """The model's folder, with a note on how it was trained."""
    folder = result.encoder.save(config.out or "")
    run = {"out": str(folder), "recipe": result.recipe.name, "task": task, "steps": result.steps}
    run |= {"seconds": round(result.seconds, 1), "history": result.history}
    run["layer_weights"] = None if result.layer_weights is None else result.layer_weights.tolist()
    files.write_json(folder / "train.json", {**asdict(config), **run})
