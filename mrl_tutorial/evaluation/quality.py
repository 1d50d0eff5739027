"""The quality grid: a measure of every (layer, dimension) cell from one encoding of the task."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics, probes
from mrl_tutorial.evaluation.embeddings import (
    Progress,
    check_embeddings,
    check_finite,
    cross_validated,
    embed_task,
    task_inputs,
)
from mrl_tutorial.evaluation.ranks import nearest, one_thread, relevant_ranks
from mrl_tutorial.files import key, remembered
from mrl_tutorial.grid import Grid, check_cells
from mrl_tutorial.models import layers as bb

__all__ = ["DEFAULT_METRICS", "check_metrics", "embed_task", "evaluate_grid"]

DEFAULT_METRICS = {"retrieval": "ndcg@10", "vectors": "recall@10", "sts": "spearman", "classification": "accuracy"}
CHOICES = {"sts": ("spearman",), "classification": ("accuracy", "1nn")}
VERSION = 1  # of how cells are measured: what the cache holds from another one is not read
LIBRARIES = [np.__version__, version("scikit-learn")]
NEIGHBOURS = 10  # relevant documents of a query where vectors come without judgements

# metric -> values of each item (L, M, items); values (L, M) where a measure has no items
Tables = dict[str, np.ndarray]


def evaluate_grid(
    task: Any,
    encoder: Any = None,
    *,
    embeddings: Mapping[str, np.ndarray] | None = None,
    metric: str | Sequence[str] | None = None,
    split: str = "test",
    layers: Sequence[int] | str | None = None,
    dims: Sequence[int] | str | None = None,
    fixed_document: bool = False,
    cosine: bool | None = None,
    precision: str = "auto",
    max_queries: int | None = None,
    samples_per_label: int = 8,
    n_draws: int = 10,
    seed: int = 0,
    cache: bool = False,
    progress: Progress | None = None,
) -> Grid | dict[str, Grid]:
    """Measure every cell of `layers` x `dims` on `split`. A Grid, or for a list of metrics {metric: Grid}.

    embeddings: what `embed_task` gives for this split, in place of `encoder`; row 0 is layer 1.
    metric: retrieval, pairs and vectors ndcg@k, mrr@k, map, map@k, recall@k, precision@k; sts spearman; classification
    accuracy (MTEB's protocol: `n_draws` logistic regressions on `samples_per_label` texts a class; a cross-validated
    task: one on all the other folds) and 1nn. Default: ndcg@10, recall@10 for vectors, spearman, accuracy.
    dims: None for `default_dims`, "all" for 1..D. fixed_document: the document's vector comes from the last layer, cut
    to the query's dimension. cosine: False for dot products of raw prefixes; default: as the encoder says, else cosine.
    max_queries: at most that many items, always the same for one seed. progress(done, total, label) per encoded batch
    and scored layer. Vectors without judgements: relevant are the 10 nearest at the last layer and full width.
    cache: what was measured before is read from the cache (key: task, model or embeddings, and all options but
    progress); the grid's seconds are then those of reading.
    Raises InputError before any encoding for an unknown metric, split or cell, and nothing to judge; then for
    embeddings that are missing, of the wrong shape, or not finite.
    """
    if task.kind == "pairs":
        task = task.as_retrieval(split)
    names = check_metrics(task.kind, metric)
    if max_queries is not None and max_queries < 1:
        raise InputError(f"max_queries {max_queries} leaves nothing to measure: give 1 or more, or None for all")
    if fixed_document and task.kind not in ("retrieval", "vectors"):
        raise InputError(f"fixed_document needs queries and documents, which {task.name!r} ({task.kind}) has not")
    inputs = task_inputs(task, split)
    score = _scorer(task, split, names, inputs, max_queries, samples_per_label, n_draws, seed)
    if cosine is None:
        cosine = getattr(encoder, "similarity", "cosine") != "dot"

    sizes = {part: items.shape[-2] if isinstance(items, np.ndarray) else len(items) for part, items in inputs.items()}
    given = None if embeddings is None else check_embeddings(embeddings, sizes)
    n_layers, width = _shape(task, inputs, encoder, given)
    chosen, widths = check_cells(layers, dims, n_layers, width)
    teacher = fixed_document or task.kind == "vectors"  # these read the last layer too
    needed = sorted({*chosen, n_layers}) if teacher else list(chosen)
    started = time.perf_counter()
    seconds = {"encode": 0.0}

    def measure() -> Tables:
        """Embed what was not given, and score layer by layer."""
        parts, row = given, {layer: layer - 1 for layer in needed}
        if parts is None:
            some = needed if len(needed) < n_layers else None
            parts = check_embeddings(embed_task(task, encoder, split, precision, layers=some, progress=progress), sizes)
            row = {layer: i for i, layer in enumerate(needed)}
        check_finite(parts, row)
        seconds["encode"] = time.perf_counter() - started
        tables: Tables = {}
        for i, layer in enumerate(chosen):
            here = {part: x[row[layer]] for part, x in parts.items()}  # each (N, D)
            last = {part: x[row[n_layers]] for part, x in parts.items()} if teacher else {}
            if fixed_document:
                here["documents"] = last["documents"]
            with one_thread():
                measured = score(here, last, widths, cosine)
            for name, table in measured.items():
                tables.setdefault(name, np.empty((len(chosen), *table.shape), dtype=np.float32))[i] = table
            if progress is not None:
                progress(i + 1, len(chosen), "scoring")
        return tables

    if cache:
        if given is None:
            source = [encoder.fingerprint() if encoder is not None else "", bb.resolve_precision(precision)]
        else:
            source = [x[layer - 1] for _, x in sorted(given.items()) for layer in needed]
        options = [names, split, chosen, widths, fixed_document, cosine, max_queries, samples_per_label, n_draws, seed]
        tables = remembered("grids", key(VERSION, LIBRARIES, task.fingerprint(), options, *source), measure)
    else:
        tables = measure()
    seconds["score"] = time.perf_counter() - started - seconds["encode"]
    model = getattr(encoder, "name", None) or ("vectors" if task.kind == "vectors" else "embeddings")
    grids = {name: _grid(task, model, name, split, chosen, widths, tables[name], seconds) for name in names}
    return grids[names[0]] if metric is None or isinstance(metric, str) else grids


def check_metrics(kind: str, metric: str | Sequence[str] | None) -> list[str]:
    """The metrics asked of a task of that kind, as a list. Raises InputError for one that it cannot have."""
    if kind not in DEFAULT_METRICS:
        raise InputError(f"a {kind!r} task cannot be measured: choose one of {', '.join(DEFAULT_METRICS)}, pairs")
    names = [metric or DEFAULT_METRICS[kind]] if metric is None or isinstance(metric, str) else list(metric)
    if not names:
        raise InputError("no metric: give at least one, or None for the task's own")
    for name in names:
        if kind not in CHOICES:
            metrics.parse_metric(name)
        elif name not in CHOICES[kind]:
            raise InputError(f"measure {name!r} does not suit a {kind} task: choose {' or '.join(CHOICES[kind])}")
    return list(dict.fromkeys(names))


def subsample(ids: Sequence[str], most: int | None, seed: int = 0) -> np.ndarray:
    """Positions of at most `most` of `ids`, in order, chosen by a hash of each id: adding others disturbs few."""
    if most is None or len(ids) <= most:
        return np.arange(len(ids))
    digests = [hashlib.sha256(f"{seed}:{x}".encode()).digest() for x in ids]
    return np.sort(np.array(sorted(range(len(ids)), key=digests.__getitem__)[:most]))


def _scorer(task, split, names, inputs, most, samples_per_label, n_draws, seed) -> Callable[..., Tables]:
    """score(here, last, dims, cosine) -> Tables of one layer, with all that can be checked and drawn beforehand."""
    if task.kind == "retrieval":
        ids = task.judged(split)
        keep = subsample(ids, most, seed)
        judged = metrics.judge([ids[i] for i in keep], list(task.corpus), task.qrels)
        return lambda here, last, dims, cosine: _ranking(here, judged, keep, names, dims, cosine)
    if task.kind == "vectors":
        n, keep = inputs["queries"].shape[-2], None
        keep = subsample([str(i) for i in range(n)], most, seed)
        known: list[metrics.Judgements] = []  # the same at every layer: found once

        def score_vectors(here, last, dims, cosine):
            if not known:
                known.append(_neighbours(last["queries"][keep], last["documents"], cosine))
            return _ranking(here, known[0], keep, names, dims, cosine)

        return score_vectors
    whole = task.kind == "classification" and cross_validated(task, split)
    labels = task.splits["all" if whole else split][-1]
    keep = subsample([str(i) for i in range(len(labels))], most, seed)
    if task.kind == "sts":
        gold = np.asarray(labels)[keep]
        metrics.spearman(gold[None], gold)  # refuses a constant before anything is encoded
        return lambda here, last, dims, cosine: {
            "spearman": metrics.spearman(
                metrics.pair_scores(here["first"][keep], here["second"][keep], dims, cosine=cosine), gold
            )
        }
    plan = probes.plan(task, split, keep, samples_per_label, n_draws, seed)
    return lambda here, last, dims, cosine: {name: plan.measure(name, here, dims, cosine) for name in names}


def _ranking(here, judged: metrics.Judgements, keep, names, dims, cosine) -> Tables:
    ranks = relevant_ranks(here["queries"][keep], here["documents"], dims, judged, cosine=cosine)
    return {name: metrics.retrieval_metric(name, ranks, judged) for name in names}


def _neighbours(queries: np.ndarray, documents: np.ndarray, cosine: bool) -> metrics.Judgements:
    if not len(queries) or not len(documents):
        raise InputError("vectors need at least one query and one document: give more rows")
    ids = [f"{i:012d}" for i in range(len(documents))]
    found = nearest(queries, documents, min(NEIGHBOURS, len(ids)), cosine=cosine)
    qrels = {str(q): {ids[i]: 1 for i in row} for q, row in enumerate(found)}
    return metrics.judge(list(qrels), ids, qrels)


def _shape(task, inputs, encoder, given) -> tuple[int, int]:
    """Layers and width of what will be measured."""
    if given is not None:
        shape = next(iter(given.values())).shape
        return shape[0], shape[2]
    array = next((x for x in inputs.values() if isinstance(x, np.ndarray)), None)
    if array is not None and (encoder is None or task.kind == "vectors"):
        return (array.shape[0] if array.ndim == 3 else 1), array.shape[-1]
    if encoder is None:
        raise InputError(f"task {task.name!r} holds texts: give an encoder, or its embeddings")
    return encoder.n_layers, encoder.width


def _grid(task, model, name, split, layers, dims, table, seconds) -> Grid:
    items = table if table.ndim == 3 else None
    values = table.astype(np.float64) if items is None else table.mean(-1, dtype=np.float64)
    return Grid(task.name, model, name, split, layers, dims, values, items, seconds)
