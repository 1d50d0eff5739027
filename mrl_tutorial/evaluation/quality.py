"""The quality grid: a measure of every (layer, dimension) cell from one encoding of the task."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any, overload

import numpy as np

from mrl_tutorial.errors import InputError, with_changes
from mrl_tutorial.evaluation.embeddings import Progress, check_embeddings, check_finite, embed_task, meant, task_inputs
from mrl_tutorial.evaluation.measures import GridConfig, Measure, Tables, Vectors, check_metrics, choose_measure
from mrl_tutorial.evaluation.ranks import one_thread
from mrl_tutorial.files import key, remembered
from mrl_tutorial.grid import Grid, check_cells
from mrl_tutorial.models.layers import resolve_precision
from mrl_tutorial.tasks.task import Task, prepared

VERSION = 2  # of how cells are measured: what the cache holds from another one is not read
LIBRARIES = [np.__version__, version("scikit-learn")]


@overload
def evaluate_grid(
    task: Any, encoder: Any = None, config: GridConfig | None = None, *, metric: str | None = None, **changes: Any
) -> Grid: ...
@overload
def evaluate_grid(
    task: Any, encoder: Any = None, config: GridConfig | None = None, *, metric: list[str], **changes: Any
) -> dict[str, Grid]: ...
def evaluate_grid(
    task: Any, encoder: Any = None, config: GridConfig | None = None, *, metric: str | list[str] | None = None,
    embeddings: Mapping[str, np.ndarray] | None = None, progress: Progress | None = None, **changes: Any,
) -> Grid | dict[str, Grid]:  # fmt: skip
    """Measure every chosen cell of a task: a Grid, or for a list of metrics {metric: Grid}.

    metric: retrieval, pairs and vectors ndcg@k, mrr@k, map, map@k, recall@k, precision@k; STS spearman; classification
    accuracy and 1nn. Default: ndcg@10, recall@10 for vectors, spearman, accuracy.
    config, changes: a `GridConfig`, and its settings by name, as in `evaluate_grid(task, encoder, dims="all")`.
    embeddings: what `embed_task` gives for this split, in place of `encoder`; row 0 is layer 1.
    progress: called as progress(done, total, label) after each encoded batch and each scored layer.
    Vectors without judgments: the 10 nearest documents at the last layer and full width count as relevant.
    Raises InputError before any encoding for an unknown setting, metric, split or cell, and for nothing to judge; then
    for embeddings that are missing, of the wrong shape, or not finite.

    >>> from mrl_tutorial.tasks.load import load_task
    >>> grid = evaluate_grid(load_task("digits"), metric="1nn", dims=[8, 64])
    >>> grid.layers, grid.dims, grid.at(1, 64) > grid.at(1, 8)
    ((1,), (8, 64), True)
    """
    task, encoder = meant(task, encoder)
    config = with_changes(config or GridConfig(), changes)
    if config.cosine is None:
        config = replace(config, cosine=getattr(encoder, "similarity", "cosine") != "dot")
    task = _split_of(task, encoder, config.split)
    names = check_metrics(task.kind, metric)
    sizes = {part: _count(items) for part, items in task_inputs(task, config.split).items()}
    given = None if embeddings is None else check_embeddings(embeddings, sizes)
    n_layers, width = _shape(task, config.split, encoder, given)
    layers, dims = check_cells(config.layers, config.dims, n_layers, width)
    config = replace(config, layers=layers, dims=dims)
    measure = choose_measure(task, names, dims, config)
    uses_last = config.fixed_document or task.kind == "vectors"
    needed = sorted({*layers, n_layers}) if uses_last else list(layers)
    seconds, began = {"encode": 0.0}, time.perf_counter()

    def compute() -> Tables:
        parts, rows = given, [layer - 1 for layer in needed]
        if parts is None:
            some = needed if len(needed) < n_layers else None
            found = embed_task(task, encoder, config.split, config.precision, layers=some, progress=progress)
            parts, rows = check_embeddings(found, sizes), list(range(len(needed)))
        by_layer = {layer: {part: x[row] for part, x in parts.items()} for layer, row in zip(needed, rows, strict=True)}
        check_finite(by_layer)
        seconds["encode"] = time.perf_counter() - began
        return _fill(by_layer, layers, measure, config.fixed_document, progress)

    cached = _key(task, encoder, given, names, needed, config) if config.cache else None
    tables = compute() if cached is None else remembered("grids", cached, compute)
    seconds["score"] = time.perf_counter() - began - seconds["encode"]
    model = getattr(encoder, "name", None) or ("vectors" if task.kind == "vectors" else "embeddings")
    about, grids = _about(task, encoder, config), {}
    for name in names:
        items = tables[name] if tables[name].ndim == 3 else None
        values = tables[name].astype(np.float64) if items is None else items.mean(-1, dtype=np.float64)
        grids[name] = Grid(task.name, model, name, config.split, layers, dims, values, items, seconds, about)
    return grids[names[0]] if metric is None or isinstance(metric, str) else grids


def _split_of(task: Any, encoder: Any, split: str) -> Any:
    """The task with what `split` needs, apart from what the encoder was trained on; pairs as retrieval."""
    seen = isinstance(task, Task) and task.fingerprint() in getattr(encoder, "trained_on", ())
    task = prepared(task, *(["train"] if seen else []), split)
    return task.as_retrieval(split) if task.kind == "pairs" else task


def what_is_scored(task: Any, split: str, most: int | None = None) -> dict[str, Any]:
    """The number of items, of documents, of queries of the split that have no judgment, and where the split came from.

    >>> from mrl_tutorial.tasks.load import load_task
    >>> what_is_scored(load_task("pydocs"), "dev")
    {'items': 586, 'documents': 6306, 'dropped': 0, 'split_from': 'as given'}
    """
    inputs = {part: _count(items) for part, items in task_inputs(task, split).items()}
    items = next(inputs[part] for part in ("queries", "first", "test") if part in inputs)
    found: dict[str, Any] = {"items": items if most is None else min(items, most)}
    if "documents" in inputs:
        dropped = len(task.splits[split]) - items if task.kind == "retrieval" else 0
        found |= {"documents": inputs["documents"], "dropped": dropped}
    return found | {"split_from": getattr(task, "cuts", {}).get(split, "as given")}


def _about(task: Any, encoder: Any, config: GridConfig) -> dict[str, Any]:
    about = what_is_scored(task, config.split, config.max_queries)
    prompts = dict(getattr(encoder, "prompts", {}))
    return about | {"similarity": "cosine" if config.cosine else "dot"} | ({"prompts": prompts} if prompts else {})


def _count(items: Any) -> int:
    return items.shape[-2] if isinstance(items, np.ndarray) else len(items)


def in_words(about: Mapping[str, Any], split: str) -> str:
    """What `what_is_scored` found, for a line of output.

    >>> in_words({"items": 1265, "documents": 6306, "dropped": 0, "split_from": "as given"}, "test")
    '1,265 queries, 6,306 documents; test as given'
    """
    said = f"{about['items']:,} items"
    if "documents" in about:
        dropped = f" ({about['dropped']:,} without judgments left out)" if about["dropped"] else ""
        said = f"{about['items']:,} queries{dropped}, {about['documents']:,} documents"
    return f"{said}; {split} {about['split_from']}"


def _fill(
    by_layer: Mapping[int, Vectors], layers: Sequence[int], measure: Measure, fixed_document: bool,
    progress: Progress | None,
) -> Tables:  # fmt: skip
    """The measures of every chosen layer: metric -> (len(layers), M, items) or (len(layers), M)."""
    last = by_layer[max(by_layer)]
    tables: Tables = {}
    for i, layer in enumerate(layers):
        here = {**by_layer[layer], "documents": last["documents"]} if fixed_document else by_layer[layer]
        with one_thread():
            measured = measure(here, last)
        for name, table in measured.items():
            tables.setdefault(name, np.empty((len(layers), *table.shape), dtype=np.float32))[i] = table
        if progress is not None:
            progress(i + 1, len(layers), "scoring")
    return tables


def _shape(task: Any, split: str, encoder: Any, given: Mapping[str, np.ndarray] | None) -> tuple[int, int]:
    """Layers and width of what will be measured."""
    inputs = task_inputs(task, split) if given is None else given
    array = next((x for x in inputs.values() if isinstance(x, np.ndarray)), None)
    if array is not None and (encoder is None or given is not None or task.kind == "vectors"):
        return (array.shape[0] if array.ndim == 3 else 1), array.shape[-1]
    if encoder is None:
        raise InputError(f"task {task.name!r} holds texts: give an encoder, or its embeddings")
    return encoder.n_layers, encoder.width


def _key(
    task: Any, encoder: Any, given: Mapping[str, np.ndarray] | None, names: Sequence[str], needed: Sequence[int],
    config: GridConfig,
) -> str:  # fmt: skip
    """Stands for everything that shapes the measures; needed: the layers that are read; config: with the cells."""
    if given is None:
        precision = resolve_precision(config.precision, getattr(encoder, "device", "cpu"))
        source = [encoder.fingerprint() if encoder is not None else "", precision]
    else:
        source = [x[layer - 1] for _, x in sorted(given.items()) for layer in needed]
    return key(VERSION, LIBRARIES, task.fingerprint(), names, asdict(replace(config, precision="")), *source)
