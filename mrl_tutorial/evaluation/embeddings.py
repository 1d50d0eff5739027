"""A task's texts as layer-wise embeddings, under the names that its measures need, and checks of such arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.tasks.task import prepared

Progress = Callable[[int, int, str], object]  # progress(done, total, label)
KINDS = ("retrieval", "pairs", "sts", "classification", "vectors")
SIDES = {"queries": "query", "documents": "document"}  # part -> which prompt is put before its texts


def embed_task(
    task: Any,
    encoder: Any = None,
    split: str = "test",
    precision: str = "auto",
    *,
    layers: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Encode what the task's measures compare, each part (L, N, D) float32.

    Parts: queries and documents (retrieval, vectors), first and second (STS), train and test (classification; test
    alone, and all of it, where `cross_validated`). A task of vectors needs no encoder.
    Raises InputError for an unknown split, and for texts without an encoder.

    >>> from mrl_tutorial.tasks.load import load_task
    >>> {part: x.shape for part, x in embed_task(load_task("digits"), split="dev").items()}
    {'train': (1, 1077, 64), 'test': (1, 360, 64)}
    """
    found = {}
    task, encoder = meant(task, encoder)
    for part, items in task_inputs(prepared(task, split), split).items():
        if isinstance(items, np.ndarray) and (encoder is None or task.kind == "vectors"):
            rows = slice(None) if layers is None else [layer - 1 for layer in layers]
            found[part] = np.asarray(items.reshape(-1, *items.shape[-2:])[rows], dtype=np.float32)
            continue
        if encoder is None:
            raise InputError(f"task {task.name!r} holds texts: give an encoder, or its embeddings")
        if not len(items):
            raise InputError(f"task {task.name!r} has no {part} in split {split!r}: choose another split")
        chosen: dict[str, Any] = {} if layers is None else {"layers": list(layers)}
        if getattr(encoder, "prompts", None):
            chosen["prompt"] = SIDES.get(part)
        found[part] = encoder.encode_layers(items, precision=precision, progress=progress, **chosen)
    return found


def meant(task: Any, encoder: Any) -> tuple[Any, Any]:
    """Task and encoder where their meaning is plain: a name or path of either, a SentenceTransformer, the two swapped.
    Raises InputError for anything else."""

    def plain(x: Any) -> bool:
        return type(x).__module__.startswith("sentence_transformers.")

    if plain(task) or hasattr(task, "encode_layers") or getattr(encoder, "kind", None) in KINDS:
        task, encoder = encoder, task
    task = load_task(task) if isinstance(task, (str, Path)) else task
    if getattr(task, "kind", None) is None:
        raise InputError(f"{type(task).__name__} is not a task: give one of load_task, its name or a path")
    encoder = Encoder.load(encoder) if isinstance(encoder, (str, Path)) or plain(encoder) else encoder
    if encoder is not None and not hasattr(encoder, "encode_layers"):
        raise InputError(f"{type(encoder).__name__} is not an encoder: give one of Encoder.load, its name or a folder")
    return task, encoder


def share_cut(task: Any, encoder: Any, split: str = "test") -> float:
    """The share of a task's texts that are longer than the encoder reads, so that their ends do not count."""
    task = prepared(task, split)
    inputs = task_inputs(task.as_retrieval(split) if task.kind == "pairs" else task, split)
    texts = {part: items for part, items in inputs.items() if isinstance(items, list)}
    cut = sum(len(items) * encoder.share_cut(items, SIDES.get(part)) for part, items in texts.items())
    return cut / max(1, sum(map(len, texts.values())))


def task_inputs(task: Any, split: str) -> dict[str, Any]:
    """The texts (lists) or vectors (arrays) behind each part of `embed_task`."""
    if task.kind == "vectors":
        rest = np.setdiff1d(np.arange(task.vectors.shape[-2]), task.queries_index)
        return {"queries": task.vectors[..., task.queries_index, :], "documents": task.vectors[..., rest, :]}
    check_split(task, split)
    if task.kind == "retrieval":
        return {"queries": [task.queries[q] for q in task.judged(split)], "documents": list(task.corpus.values())}
    if task.kind == "sts":
        return {"first": list(task.splits[split][0]), "second": list(task.splits[split][1])}
    if task.kind != "classification":
        kinds = "retrieval, vectors, sts, classification"
        raise InputError(f"tasks of kind {task.kind!r} cannot be embedded: choose one of {kinds}")
    if cross_validated(task, split):
        return {"test": task.splits["all"][0]}
    check_split(task, "train")
    return {"train": task.splits["train"][0], "test": task.splits[split][0]}


def task_labels(task: Any, split: str) -> np.ndarray:
    """The labels (classification) or gold scores (STS) of a split's items, (N,)."""
    return np.asarray(task.splits["all" if cross_validated(task, split) else split][-1])


def cross_validated(task: Any, split: str) -> bool:
    """Whether a task is measured by its folds, if it has any, so that every item is tested once."""
    return bool(getattr(task, "folds", None)) and split in ("test", "all")


def check_split(task: Any, split: str) -> None:
    """Raises InputError where the task has no such split."""
    if split not in task.splits:
        raise InputError(f"task {task.name!r} has no split {split!r}: choose one of {', '.join(task.splits)}")


def check_embeddings(embeddings: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The parts named in `sizes` as (L, N, D) float32 arrays of one L and D, N as `sizes` says.

    Raises InputError naming the part that is missing or of another shape."""
    checked = {}
    for part, n in sizes.items():
        if part not in embeddings:
            raise InputError(f"embeddings lack {part!r}: give {', '.join(sizes)}, each (layers, items, width)")
        checked[part] = x = np.asarray(embeddings[part], dtype=np.float32)
        if x.ndim != 3:
            raise InputError(f"embeddings of {part!r} have shape {x.shape}: give (layers, items, width)")
        if x.shape[1] != n:
            raise InputError(f"embeddings of {part!r} hold {x.shape[1]} items, the task has {n}: embed the same split")
    shapes = {part: f"{x.shape[0]} layers x {x.shape[2]}" for part, x in checked.items()}
    if len(set(shapes.values())) > 1:
        raise InputError(f"embeddings disagree: {shapes}; encode all with the same model")
    return checked


def check_finite(by_layer: Mapping[int, Mapping[str, np.ndarray]]) -> None:
    """Raises InputError naming layer, part and item of the first NaN or infinity in layer -> part -> (N, D)."""
    for layer, part, x in ((layer, part, x) for layer, parts in by_layer.items() for part, x in parts.items()):
        finite = np.isfinite(x).all(axis=1)
        if not finite.all():
            where = f"layer {layer}, item {int(np.argmin(finite))}"
            raise InputError(f"embeddings of {part!r} hold NaN or infinity ({where}): correct it, or leave it out")
