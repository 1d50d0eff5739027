"""The quality grid: a measure of every (layer, dimension) cell from one encoding of the task."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any, overload

import numpy as np

from mrl_tutorial.errors import with_changes
from mrl_tutorial.evaluation.embeddings import Progress, check_embeddings, check_finite, embed_task, meant, task_inputs
from mrl_tutorial.evaluation.measures import GridConfig, Measure, Tables, Vectors, check_metrics, choose_measure
from mrl_tutorial.evaluation.metrics import by_cosine, one_thread
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
    Vectors without judgments: their 10 nearest at the last layer and full width count as relevant.
    Raises InputError, before any encoding, for an unknown setting, metric, split or cell, for nothing to judge and
    embeddings of the wrong shape; then for NaN.

    >>> from mrl_tutorial.tasks.load import load_task
    >>> grid = evaluate_grid(load_task("digits"), metric="1nn", dims=[8, 64])
    >>> grid.layers, grid.dims, grid.at(1, 64) > grid.at(1, 8)
    ((1,), (8, 64), True)
    """
    task, encoder = meant(task, encoder)
    config = with_changes(config or GridConfig(), changes)
    config = replace(config, cosine=by_cosine(config.cosine, encoder))
    task = _split_of(task, encoder, config.split)
    names = check_metrics(task.kind, metric)
    sizes = {part: _count(items) for part, items in task_inputs(task, config.split).items()}
    given = None if embeddings is None else check_embeddings(embeddings, sizes)
    if given is None and (encoder is None or task.kind == "vectors"):
        given = embed_task(task, None, config.split)
    shape = (encoder.n_layers, encoder.width) if given is None else next(iter(given.values())).shape[::2]
    layers, dims = check_cells(config.layers, config.dims, *shape)
    config = replace(config, layers=layers, dims=dims)
    measure = choose_measure(task, names, dims, config)
    needed = sorted({*layers, shape[0]} if config.fixed_document or task.kind == "vectors" else layers)
    seconds, began = {"encode": 0.0}, time.perf_counter()

    def compute() -> Tables:
        parts, known = given, list(range(1, shape[0] + 1))
        if parts is None:
            some = needed if len(needed) < shape[0] else None
            found = embed_task(task, encoder, config.split, config.precision, layers=some, progress=progress)
            parts, known = check_embeddings(found, sizes), needed
        by_layer = {layer: {part: x[known.index(layer)] for part, x in parts.items()} for layer in needed}
        seconds["encode"] = time.perf_counter() - began
        return _fill(by_layer, layers, measure, config.fixed_document, progress)

    place = _key(task, encoder, embeddings and given, names, needed, config) if config.cache else ""
    tables = remembered("grids", place, compute) if config.cache else compute()
    seconds["score"] = time.perf_counter() - began - seconds["encode"]
    model = getattr(encoder, "name", None) or ("vectors" if task.kind == "vectors" else "embeddings")
    about = what_is_scored(task, config.split)
    if config.max_queries and config.max_queries < about["items"]:
        about |= {"items": config.max_queries, "seed": config.seed}  # and which of them they are
    prompts = dict(getattr(encoder, "prompts", {}))
    about |= {"similarity": "cosine" if config.cosine else "dot"} | ({"prompts": prompts} if prompts else {})
    grids = {}
    for name, items in tables.items():
        values = items.mean(-1, dtype=np.float64)
        grids[name] = Grid(task.name, model, name, config.split, layers, dims, values, items, seconds, about)
    return grids[names[0]] if metric is None or isinstance(metric, str) else grids


def _split_of(task: Any, encoder: Any, split: str) -> Any:
    """The task with what `split` needs, apart from what the encoder was trained on; pairs as retrieval."""
    known = getattr(encoder, "trained_on", ())
    seen = known and isinstance(task, Task) and task.fingerprint() in known
    task = prepared(task, *(["train"] if seen else []), split)
    return task.as_retrieval(split) if task.kind == "pairs" else task


def what_is_scored(task: Any, split: str) -> dict[str, Any]:
    """The number of items, of documents, of queries of the split that have no judgment, and where the split came from.

    >>> from mrl_tutorial.tasks.load import load_task
    >>> what_is_scored(load_task("pydocs"), "dev")
    {'items': 586, 'documents': 6306, 'dropped': 0, 'split_from': 'as given'}
    """
    counts = {part: _count(items) for part, items in task_inputs(task, split).items()}
    items = next(counts[part] for part in ("queries", "first", "test") if part in counts)
    found: dict[str, Any] = {"items": items}
    if "documents" in counts:
        found["documents"] = counts["documents"]
        found["dropped"] = len(task.splits[split]) - items if task.kind == "retrieval" else 0
    return found | {"split_from": getattr(task, "cuts", {}).get(split, "as given")}


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
    """The measures of every chosen layer: metric -> (len(layers), M, items) float32."""
    check_finite(by_layer)
    last, measured = by_layer[max(by_layer)], []
    for i, layer in enumerate(layers):
        here = {**by_layer[layer], "documents": last["documents"]} if fixed_document else by_layer[layer]
        with one_thread():
            measured.append({name: table.astype(np.float32) for name, table in measure(here, last).items()})
        if progress is not None:
            progress(i + 1, len(layers), "scoring")
    return {name: np.stack([tables[name] for tables in measured]) for name in measured[0]}


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
    source += ["twins"] if task.kind == "vectors" else []  # rank like the truth since then
    return key(VERSION, LIBRARIES, task.fingerprint(), names, asdict(replace(config, precision="")), *source)
