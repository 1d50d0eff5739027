"""The training loop: heads on frozen embeddings in seconds, or the whole backbone in minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.losses.classification import NestedClassifier
from mrl_tutorial.models import layers as bb
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads
from mrl_tutorial.progress import Ticker
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training.checkpoints import Run, load_run, recipe_key, save_run, unbroken
from mrl_tutorial.training.examples import Examples, examples, schedule, unique_texts

#: learning rates found on pydocs' dev queries
RATES = {"shared": 3e-3, "per-layer": 3e-4, "full": 1e-4}
CHECKPOINT_EVERY = 30.0  # seconds
VERSION = 2  # of what a run computes: a change to it counts one up, so that no older cached run is taken for it


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or not a number; the message names step, term and cell."""


@dataclass
class TrainResult:
    """What training gave. losses: term -> (L, M), mean loss of each cell over the last steps, NaN where unweighted.
    history: total loss of each step. seconds: of training, encoding excluded. finished: False if it was cancelled.
    layer_weights: what a recipe with learned ones arrived at, one a row of its grids, else None."""

    encoder: Encoder
    losses: dict[str, np.ndarray]
    history: list[float]
    seconds: float
    steps: int
    finished: bool
    recipe: Recipe
    classifier: NestedClassifier | None = None
    layer_weights: np.ndarray | None = None


def train(
    encoder: Encoder, task, recipe: str | Recipe, *, what: str = "heads", heads: str = "shared", start: str | None = None, steps: int = 150,
    batch_size: int = 64, lr: float | None = None, seed: int = 0, temperature: float = 0.05, symmetric: bool = False,
    max_tokens: int = 64, tied: bool = False, precision: str = "auto", split: str = "train", out: str | Path | None = None,
    name: str | None = None, cache: bool = True, progress: Callable[[int, int, str], None] | None = None,
    on_step: Callable[[int, int, float], bool | None] | None = None,
) -> TrainResult:  # fmt: skip
    """Train a recipe on a task's training split and return the trained encoder; the one given is not changed.

    what="heads": linear heads ("shared" or "per-layer") on frozen embeddings, AdamW, from start="zero" (default for
    shared heads: nothing but the recipe shapes them) or "pairs" (default for per-layer heads: `Heads.start_on_pairs`). what="full": every transformer block
    (token embeddings stay frozen, unless the recipe has layer 0), AdamW, warm-up over a tenth of the steps, then linear
    decay; no dropout; texts cut to `max_tokens`; bf16 autocast where the processor has it (`precision`).
    The same arguments give the same run: it is cached, checkpointed every 30 s and on interruption, and goes on where it
    stopped; `cache=False` neither reads nor writes. `out`: also write a folder that `Encoder.load` accepts.
    on_step(step, steps, loss) may return False to stop early. Raises InputError before any work on bad arguments and
    NonFiniteLoss naming step, term and cell.
    """
    recipe = get_recipe(recipe, encoder.n_layers, encoder.width) if isinstance(recipe, str) else recipe
    recipe = recipe.validate(encoder.n_layers, encoder.width)
    start = start or ("pairs" if heads == "per-layer" and task.kind in ("retrieval", "pairs") else "zero")
    _check(what, heads, start, steps, batch_size, lr, temperature, max_tokens, recipe, out)
    precision = bb.resolve_precision(precision)
    lr = lr or RATES[heads if what == "heads" else what]
    data = examples(task, split)
    if data.positives is None and recipe.needs_documents:
        raise InputError(
            f"recipe {recipe.name!r} compares queries with documents, which {task.name} has not: choose mrl or all-cells"
        )
    ticker = Ticker(progress)
    if what == "full":
        side = Backbone(encoder, data, recipe, precision, max_tokens)
    else:
        side = Frozen(encoder, data, heads, start, ticker)
    classifier = None
    if data.classes:
        torch.manual_seed(seed)
        classifier = NestedClassifier(encoder.width, recipe.dims, data.classes, encoder.n_layers, tied)
    parameters = {f"model.{k}": p for k, p in side.module.named_parameters() if p.requires_grad}
    if classifier is not None:
        parameters |= {f"classifier.{k}": p for k, p in classifier.named_parameters()}
    groups = [{"params": list(parameters.values()), "rate": lr}]
    learned = recipe.layer_weights()
    if learned is not None:
        parameters["layers.theta"] = learned.theta
        groups.append({"params": [learned.theta], "rate": recipe.learned.rate, "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=0.01)
    run, done, folder = Run(), False, None
    if cache:
        folder = files.cache_dir("training") / files.key(
            encoder.fingerprint(), task.name, data.anchors, data.positives, data.negatives, recipe_key(recipe), what,
            [heads, start] if what == "heads" else precision, steps, batch_size, lr, seed, temperature, symmetric, max_tokens, tied, VERSION,
            *([] if encoder.similarity == "cosine" else [encoder.similarity]),
        )  # fmt: skip
        run, done = load_run(folder, parameters, optimizer) or (run, done)
    batches = schedule(data, batch_size, steps, seed)
    saved = began = time.monotonic() - run.seconds
    saved += run.seconds
    try:
        while run.step < steps and not done:
            step = run.step
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * _rate(step, steps)
            # one generator per step: nothing to store, and a resumed run draws what an uninterrupted one would
            rng = np.random.default_rng([seed, step])
            weights = recipe.step_weights(rng)
            if learned is not None:
                weights = learned.scale(weights)
            queries, documents, labels = side.embed(batches[step])
            batch = Batch(queries, documents, side.layers, labels=labels, classifier=classifier, temperature=temperature,
                          symmetric=symmetric, cosine=encoder.similarity == "cosine")  # fmt: skip
            with torch.random.fork_rng(devices=[]):  # for terms that draw, such as the target "code-pca"
                torch.random.default_generator.manual_seed(int(rng.integers(2**63)))
                loss, tables = recipe.loss(batch, weights)
            _check_finite(loss, tables, weights, recipe, step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            with unbroken():
                optimizer.step()
                run.seconds = time.monotonic() - began
                run.add(float(loss.detach()), tables)
            ticker(run.step, steps, f"training {recipe.name}, loss {run.history[-1]:.3f}")
            if on_step is not None and on_step(run.step, steps, run.history[-1]) is False:
                break
            if folder and what == "full" and time.monotonic() - saved > CHECKPOINT_EVERY:
                save_run(folder, run, parameters, optimizer, done=False)
                saved = time.monotonic()
    except KeyboardInterrupt:
        if folder and run.step:
            save_run(folder, run, parameters, optimizer, done=False)
        raise
    finally:
        ticker.close()
    if folder and not done and run.step:
        save_run(folder, run, parameters, optimizer, done=run.step == steps)
    trained = side.result(name or f"{encoder.name} + {recipe.name} ({what})", _trained_dims(recipe))
    result = TrainResult(
        trained, run.losses(), run.history, run.seconds, run.step, run.step == steps, recipe, classifier
    )
    if learned is not None:
        result.layer_weights = learned().detach().numpy()
    if out is not None:
        trained.save(out)
        files.write_json(Path(out) / "train.json", {
            "recipe": recipe.name, "task": task.name, "what": what, "heads": heads if what == "heads" else None,
            "steps": run.step, "batch_size": batch_size, "lr": lr, "seed": seed, "temperature": temperature,
            "precision": precision, "seconds": round(run.seconds, 1), "history": run.history,
            "layer_weights": None if learned is None else result.layer_weights.tolist(),
        })  # fmt: skip
    return result


class Frozen:
    """Heads over embeddings that were computed once."""

    def __init__(self, encoder: Encoder, data: Examples, kind: str, start: str, ticker):
        texts, self.place = unique_texts(data.anchors, data.positives, *(data.negatives or ()))
        self.encoder, self.data = encoder.with_heads(None), data
        raw = self.encoder.encode_layers(texts, progress=ticker)
        self.raw = torch.from_numpy(np.array(raw))  # (L, texts, D)
        # training again starts from the heads that are there
        if encoder.heads is not None and encoder.heads.kind == kind:
            self.module = Heads(encoder.n_layers, encoder.width, kind)
            self.module.load_state_dict(encoder.heads.state_dict())
        else:
            self.module = Heads(encoder.n_layers, encoder.width, kind).standardise_on(raw)
            if start == "pairs" and data.positives is not None:
                rows = ([self.place[text] for text in texts] for texts in (data.anchors, data.positives))
                self.module.start_on_pairs(*(raw[:, chosen] for chosen in rows))
        self.layers = tuple(range(1, encoder.n_layers + 1))

    def embed(self, chosen: np.ndarray) -> tuple[Tensor, Tensor | None, Tensor | None]:
        sides, labels = _sides(self.data, chosen)
        out = self.module(self.raw[:, [self.place[text] for side in sides for text in side]])
        return *_split(out, sides), labels

    def result(self, name: str, dims: tuple[int, ...]) -> Encoder:
        return self.encoder.with_heads(self.module.requires_grad_(False), name=name, trained_dims=dims)


class Backbone:
    """The backbone itself, in length-sorted micro-batches so that short texts are not padded to the longest."""

    def __init__(self, encoder: Encoder, data: Examples, recipe: Recipe, precision: str, max_tokens: int):
        self.encoder, self.data, self.precision = encoder.trainable_copy(), data, precision
        self.module = self.encoder.model
        deepest = encoder.n_layers if recipe.needs_last_layer else recipe.deepest_layer
        self.layers = tuple(range(0 if recipe.embeddings else 1, deepest + 1))
        self.max_tokens = max_tokens
        if encoder.heads is not None:
            raise InputError(
                f"{encoder.name} has heads: full training takes a model without (encoder.with_heads(None))"
            )
        # explicit attention: its backward is cheaper than the fused kernel's on short texts on a CPU
        self.module.set_attn_implementation("eager")
        self.module.requires_grad_(True)
        self.module.embeddings.requires_grad_(recipe.embeddings)

    def embed(self, chosen: np.ndarray) -> tuple[Tensor, Tensor | None, Tensor | None]:
        sides, labels = _sides(self.data, chosen)
        texts = [text for side in sides for text in side]
        ids = self.encoder.tokenizer(texts, truncation=True, max_length=min(self.max_tokens, self.encoder.max_length))[
            "input_ids"
        ]
        parts, order = [], []
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
            for group in bb.micro_batches([len(i) for i in ids], 0, parts=max(1, len(texts) // 21)):
                padded, mask = bb.pad([ids[i] for i in group], self.encoder.tokenizer.pad_token_id or 0)
                hidden = bb.layer_outputs(self.module, padded, mask, self.layers)
                parts.append(torch.stack([bb.pool(h, mask, self.encoder.pooling) for h in hidden]))  # (L, b, D)
                order.append(group)
        out = torch.cat(parts, 1)[:, torch.from_numpy(np.argsort(np.concatenate(order)))]
        return *_split(out, sides), labels

    def result(self, name: str, dims: tuple[int, ...]) -> Encoder:
        self.module.requires_grad_(False)
        self.module.set_attn_implementation("sdpa")
        self.encoder.name, self.encoder.trained_dims = name, dims
        return self.encoder


def _sides(data: Examples, chosen: np.ndarray) -> tuple[list[list[str]], Tensor | None]:
    """The texts of a batch: [anchors] or [anchors, positives + negatives], and its labels."""
    sides = [[data.anchors[i] for i in chosen]]
    if data.positives is not None:
        negatives = [text for i in chosen for text in data.negatives[i]] if data.negatives else []
        sides.append([data.positives[i] for i in chosen] + negatives)
    return sides, None if data.labels is None else torch.from_numpy(data.labels[chosen])


def _split(out: Tensor, sides: list[list[str]]) -> tuple[Tensor, Tensor | None]:
    size = len(sides[0])
    return out[:, :size], out[:, size:] if len(sides) > 1 else None


def _rate(step: int, steps: int) -> float:
    """Warm-up over a tenth of the steps, then linear decay to zero; a share of the learning rate."""
    warm = max(1, steps // 10)
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm + 1))


def _trained_dims(recipe: Recipe) -> tuple[int, ...]:
    pushed = np.zeros(len(recipe.dims), dtype=bool)
    for grid in recipe.weights.values():
        pushed |= np.asarray(grid).any(axis=0)
    return tuple(int(d) for d, on in zip(recipe.dims, pushed) if on)


def _check(what, heads, start, steps, batch_size, lr, temperature, max_tokens, recipe, out) -> None:
    if what not in ("heads", "full"):
        raise InputError(f"what={what!r} is unknown: choose heads or full")
    if what == "heads" and heads not in ("shared", "per-layer"):
        raise InputError(f"heads {heads!r} are unknown: choose shared or per-layer")
    if start not in ("zero", "pairs"):
        raise InputError(f"start={start!r} is unknown: choose zero or pairs")
    for label, value, least in (("steps", steps, 1), ("batch size", batch_size, 2), ("max_tokens", max_tokens, 3)):
        if value != int(value) or value < least:
            raise InputError(f"{label} {value} is impossible: give a whole number from {least} up")
    for label, number in (("learning rate", lr), ("temperature", temperature)):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise InputError(f"{label} {number} is impossible: give a positive number")
    if recipe.embeddings and what == "heads":
        raise InputError(
            f"recipe {recipe.name!r} trains the embedding table's output, which has no head: use what='full'"
        )
    if out is not None and Path(out).exists():
        out = Path(out)
        if not out.is_dir() or (any(out.iterdir()) and not (out / "mrl_tutorial.json").exists()):
            raise InputError(f"{out} exists and is not a saved model: choose a new folder")


def _check_finite(loss: Tensor, tables: dict[str, np.ndarray], weights, recipe: Recipe, step: int) -> None:
    if torch.isfinite(loss):
        return
    from mrl_tutorial.recipes.recipe import term_name

    for key, grid in weights.items():
        name = term_name(key)
        used = (grid.detach() if torch.is_tensor(grid) else torch.as_tensor(grid)).numpy() != 0
        bad = np.argwhere(used & ~np.isfinite(tables[name]))
        if len(bad):
            i, j = bad[0]
            raise NonFiniteLoss(
                f"step {step + 1}: term {name!r} is {tables[name][i, j]} in cell (layer {recipe.layers[i]}, dimension "
                f"{recipe.dims[j]}): lower the learning rate, raise the temperature, or look at that term"
            )
    raise NonFiniteLoss(f"step {step + 1}: the sum of all terms is {float(loss)}: lower the weights")
