"""The loss lab's work: train a recipe file at a small budget, measure it layer by layer, and keep what came out."""

from __future__ import annotations

import inspect
import json
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import embed_task, meant
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.losses import Batch, Term
from mrl_tutorial.losses.term import options_of, term_name
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.recipe_file import TRAINING, RecipeFile, painted
from mrl_tutorial.tasks.task import prepared
from mrl_tutorial.training.config import RATES, TrainConfig
from mrl_tutorial.training.examples import examples
from mrl_tutorial.training.loop import TrainResult, seeded, train

#: the lab's budget: shared heads from the whitened start
PREVIEW = {"what": "heads", "heads": "shared", "start": "whitened", "steps": 100, "batch_size": 128, "seed": 0}
#: a few steps of full training: nearer to its order on sentence similarity (H1), but every text is encoded again
QUICK: dict[str, Any] = {"what": "full", "start": "plain", "steps": 4, "batch_size": 32}
CONFIRM = {"what": "full", "start": "plain", "steps": 150, "batch_size": 64}
Watch = Callable[[dict[str, np.ndarray]], object]
Layer = Callable[[int, np.ndarray], object]


@dataclass(frozen=True)
class Watched(Recipe):
    """A recipe that tells `watch` what each term came to in each step."""

    watch: Watch = lambda tables: None

    def loss(self, *given: Any, **more: Any) -> tuple[torch.Tensor, dict[str, np.ndarray]]:
        """As `Recipe.loss`."""
        total, tables = super().loss(*given, **more)
        self.watch(tables)
        return total, tables


def recipe_file(name: str, encoder: Encoder) -> RecipeFile:
    """A file's recipe, or one of the registry, by what the reader typed. Raises InputError for neither."""
    return RecipeFile.read(name) if name.endswith(".json") else painted(name, encoder.n_layers, encoder.width)


def train_recipe(
    encoder: Encoder,
    task: Any,
    recipe: RecipeFile,
    *,
    terms: Iterable[Term] = (),
    watch: Watch | None = None,
    **changes: Any,
) -> TrainResult:
    """Train a recipe file by its own settings, and by those of `PREVIEW` where it has none; changes: other settings,
    and what else `train` takes.

    terms: functions of your own that it names; what is cached knows them by `terms_key`. watch(tables): called with
    what each term came to in each step. The whitened start is fitted on the training texts, without their pairs. Raises
    InputError as `train` does.
    """
    asked, own = {name: changes.pop(name) for name in [*changes] if name in TRAINING}, list(terms)
    settings = {**with_settings(recipe, **asked).training, **changes}
    full = settings["what"] == "full"
    settings["heads"] = "shared" if full else settings["heads"]
    found = recipe.recipe(encoder.n_layers, encoder.width, own)
    if watch is not None:
        found = Watched(**vars(found), watch=watch)
    if settings.pop("start") == "whitened":
        encoder = whitened_start(encoder, task, settings["heads"])
    if settings.setdefault("cache", full):
        settings.setdefault("key", terms_key(own, encoder.n_layers, encoder.dims))
    return train(encoder, task, found, TrainConfig(start="zero"), **settings)


def whitened_start(encoder: Encoder, task: Any, heads: str = "shared") -> Encoder:
    """The encoder with whitening heads ("shared" or "per-layer"), fitted on the texts of the training split."""
    task, encoder = meant(task, encoder)
    plain, texts = encoder.with_heads(None), examples(task).with_prompts(encoder).texts()
    raw = plain.encode_layers(texts, prompt="")  # as training asks for them: read from the cache
    return plain.with_heads(Heads(encoder.n_layers, encoder.width, heads).whiten_on(raw))


def terms_key(terms: Iterable[Term], n_layers: int, dims: Sequence[int]) -> str | None:
    """A `key` for terms of your own: what their source says, and what they give on a few random vectors, which changes
    where a function or a number that they use does. None without terms, and where one cannot be read or tried."""
    found: list[Any] = []
    for function in terms:
        with seeded(0):  # a term may draw
            both = torch.randn(n_layers, 8, dims[-1])
            try:
                source = inspect.getsource(function)
                table = function(Batch(both[:, :4], both[:, 4:]), list(range(1, n_layers + 1)), list(dims))
                found += [term_name(function), source, [f"{x:.3g}" for x in table.flatten().tolist()]]
            except Exception:  # no file of its own, or a reader's code that fails in its own way
                return None
    return files.key(*found) if found else None


def check_term(function: Any, encoder: Encoder) -> str:
    """The name of a term of your own, after a trial on a small batch of random vectors. Raises InputError where it is
    no term, fails, or returns another shape, infinity, or what cannot be learned from."""
    if not callable(function):
        raise InputError(f"{function!r} is not a term: give a function of (batch, layers, dims)")
    name, layers, dims = term_name(function), list(range(1, encoder.n_layers + 1)), list(encoder.dims)
    both = torch.randn(encoder.n_layers, 8, encoder.width, generator=torch.Generator().manual_seed(0))
    both.requires_grad_()
    try:
        options_of(function)
        table = function(Batch(both[:, :4], both[:, 4:]), layers, dims)
        if getattr(table, "shape", None) != (len(layers), len(dims)):
            got = f"shape {tuple(table.shape)}" if torch.is_tensor(table) else type(table).__name__
            what = f"for {len(layers)} layers and {len(dims)} dimensions: expected shape {(len(layers), len(dims))}"
            raise InputError(f"term {name!r} returned {got} {what}")
        if not torch.isfinite(table).all():
            raise InputError(f"term {name!r} is NaN or infinite on random vectors: guard its logs and divisions")
        if not table.requires_grad:
            raise InputError(f"term {name!r} has no gradient: compute in torch, without .detach() and .item()")
        table.sum().backward()
        if both.grad is not None and not torch.isfinite(both.grad).all():
            raise InputError(f"the gradient of term {name!r} is NaN or infinite: guard roots and divisions, also of 0")
    except InputError:
        raise
    except Exception as error:  # whatever the reader's own code raises is shown to its author
        raise InputError(f"term {name!r} fails with {type(error).__name__}: {error}") from error
    return name


def measure(
    encoder: Encoder, task: Any, split: str, on_layer: Layer | None = None, *, fixed_document: bool = False
) -> np.ndarray:
    """What each item of a split comes to in every cell, (L, M, items) float32; on_layer(layer, values) after each.

    fixed_document: documents from the last layer, where the task has documents."""
    task, encoder = meant(task, encoder)
    task = prepared(task, "train", split)  # what it was trained on stays out
    task = task.as_retrieval(split) if task.kind == "pairs" else task
    given: dict[str, Any] = {"embeddings": embed_task(task, encoder, split, progress=lambda *_: None)}
    given |= {"split": split, "cache": False, "cosine": encoder.similarity != "dot"}
    given |= {"fixed_document": fixed_document and task.kind == "retrieval"}
    found = []
    for layer in range(1, encoder.n_layers + 1):
        grid = evaluate_grid(task, layers=layer, **given)
        found.append(np.stack([grid.items(layer, dim) for dim in grid.dims]))
        if on_layer is not None:
            on_layer(layer, grid.values[0])
    return np.stack(found)


@dataclass(frozen=True)
class LabRun:
    """What one training came to. dev, test: (L, M, items), what each item came to; test is None until it is asked for.
    recipe: with the settings that it was trained with. key: of its file."""

    name: str
    recipe: RecipeFile
    dev: np.ndarray
    seconds: float = 0.0
    test: np.ndarray | None = None
    made: float = field(default_factory=time.time)
    key: str = field(default_factory=lambda: uuid4().hex)

    @property
    def full(self) -> bool:
        """Whether the whole backbone was trained, for more than `QUICK`'s few steps."""
        return self.recipe.training.get("what") == "full" and self.recipe.training["steps"] > QUICK["steps"]


class LabStore:
    """The runs of one model on one task, a file for each, in a folder that several labs may share."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def of(cls, encoder: Encoder, task: Any) -> LabStore:
        """Where this model's runs on this task are kept."""
        return cls(files.cache_dir("lab") / files.key(encoder.fingerprint(), task.fingerprint()))

    def save(self, run: LabRun) -> None:
        """Write a run whole or not at all, under a key that no other run has. Raises NotWritten."""
        arrays = {"dev": run.dev} | ({} if run.test is None else {"test": run.test})
        notes = {"name": run.name, "recipe": run.recipe.as_json(), "seconds": run.seconds, "made": run.made}
        tensors = {name: np.ascontiguousarray(x, dtype=np.float32) for name, x in arrays.items()}
        with files.whole_file(self._path(run)) as temporary:
            save_file(tensors, temporary, metadata={"notes": json.dumps(notes), "folder": self.folder.name})

    def load(self) -> list[LabRun]:
        """All runs, oldest first; names that occur twice get a number. A damaged file is left out with a warning."""
        found: list[LabRun] = []
        for path in self.folder.glob("[!.]*.safetensors"):  # with a dot: half a file of a process that was killed
            try:
                with safe_open(path, "np") as file:
                    notes = json.loads(file.metadata()["notes"])
                    arrays = {name: file.get_tensor(name) for name in list(file.keys())}
                notes["recipe"] = RecipeFile.of(notes["recipe"])
                found.append(LabRun(dev=arrays["dev"], test=arrays.get("test"), key=path.stem, **notes))
            except Exception as error:  # damaged, however that shows
                warnings.warn(f"{path} is not a run of the lab ({error}): delete it", stacklevel=2)
        return renamed(sorted(found, key=lambda run: (run.made, run.key)))

    def delete(self, run: LabRun) -> None:
        """Remove a run's file."""
        self._path(run).unlink(missing_ok=True)

    def _path(self, run: LabRun) -> Path:
        return self.folder / f"{run.key}.safetensors"


def renamed(runs: Sequence[LabRun]) -> list[LabRun]:
    """The runs with names that are all different: the second "mine" becomes "mine (2)"."""
    found: dict[str, LabRun] = {}
    for run in runs:
        name, number = run.name, 1
        while name in found:
            number += 1
            name = f"{run.name} ({number})"
        found[name] = replace(run, name=name)
    return list(found.values())


def with_settings(recipe: RecipeFile, **changes: Any) -> RecipeFile:
    """The recipe file with all settings that `train_recipe` trains it with: it gives the same numbers elsewhere.

    changes: settings instead of the file's; with what="full", `CONFIRM` stands for the preview's budget."""
    own = {**PREVIEW, **recipe.training}
    given = own | {name: value for name, value in changes.items() if value is not None}
    if (given["what"], given["heads"]) != (own["what"], own["heads"]) and changes.get("lr") is None:
        given.pop("lr", None)  # it was chosen for other parameters
    if given["what"] == "full" != own["what"]:
        given |= {name: value for name, value in CONFIRM.items() if changes.get(name) is None}
    given.setdefault("lr", RATES["full" if given["what"] == "full" else given["heads"]])
    return replace(recipe, training=given)
