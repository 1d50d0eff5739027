"""How one layer of a task is measured, at every dimension at once: a function for each kind of task."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics, probes
from mrl_tutorial.evaluation.embeddings import task_labels
from mrl_tutorial.evaluation.ranks import relevant_ranks
from mrl_tutorial.prefixes import pair_scores
from mrl_tutorial.topk import top_k

DEFAULT_METRICS = {"retrieval": "ndcg@10", "vectors": "recall@10", "sts": "spearman", "classification": "accuracy"}
CHOICES = {"sts": ("spearman",), "classification": ("accuracy", "1nn")}
NEIGHBORS = 10  # relevant documents of a query where vectors come without judgments

Vectors = Mapping[str, np.ndarray]  # part -> (N, D) of one layer
Tables = dict[str, np.ndarray]  # metric -> (M, items)
Measure = Callable[[Vectors, Vectors], Tables]  # of one layer's vectors, and those of the last layer


@dataclass(frozen=True)
class GridConfig:
    """Where and how `evaluate_grid` measures.

    layers, dims: the cells. Default: all layers, `default_dims`; "all" takes every one.
    fixed_document: take the documents' vectors from the last layer, cut to the query's dimension.
    cosine: False for dot products of raw prefixes. Default: what the encoder says, else cosine.
    max_queries: measure at most that many items, always the same ones for one seed.
    samples_per_label, n_experiments: accuracy is the mean of n_experiments logistic regressions, each trained on
    samples_per_label texts per class (MTEB's protocol); for a cross-validated task, of one on all the other folds.
    cache: read what was measured before from the cache; the grid's seconds are then those of reading.
    """

    split: str = "test"
    layers: Sequence[int] | str | None = None
    dims: Sequence[int] | str | None = None
    fixed_document: bool = False
    cosine: bool | None = None
    precision: str = "auto"
    max_queries: int | None = None
    samples_per_label: int = 8
    n_experiments: int = 10
    seed: int = 0
    cache: bool = False


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


def choose_measure(task: Any, names: Sequence[str], dims: Sequence[int], config: GridConfig) -> Measure:
    """How one layer of this task is measured; whatever can be checked or sampled beforehand is done here.

    Raises InputError where there is nothing to measure: no queries, no judgments, constant labels, a single class.
    """
    if config.max_queries is not None and config.max_queries < 1:
        raise InputError(f"max_queries {config.max_queries} leaves nothing to measure: give 1 or more, or None for all")
    searched = task.kind in ("retrieval", "vectors")
    if config.fixed_document and not searched:
        raise InputError(f"fixed_document needs queries and documents, which {task.name!r} ({task.kind}) does not have")
    cosine = bool(config.cosine)
    if task.kind == "retrieval":
        ids = task.judged(config.split)
    else:
        ids = [str(i) for i in range(len(task.queries_index if searched else task_labels(task, config.split)))]
    keep = subsample(ids, config.max_queries, config.seed)
    if searched:
        judged = None  # of vectors: found with the first layer that is measured
        if task.kind == "retrieval":
            judged = metrics.judge([ids[i] for i in keep], list(task.corpus), task.qrels)

        def by_ranks(here: Vectors, last: Vectors) -> Tables:
            nonlocal judged
            judged = judged or _neighbors(last["queries"][keep], last["documents"], cosine)
            ranks = relevant_ranks(here["queries"][keep], here["documents"], dims, judged, cosine=cosine)
            return {name: metrics.retrieval_metric(name, ranks, judged) for name in names}

        return by_ranks
    if task.kind == "sts":
        gold = task_labels(task, config.split)[keep]
        metrics.spearman(gold, gold)  # refuses a constant before anything is encoded
        return lambda here, last: {
            "spearman": metrics.spearman(sts_scores(here["first"][keep], here["second"][keep], dims, cosine), gold)
        }
    probe = probes.few_shot(task, keep, names, dims, config)
    return lambda here, last: probe(here)


def subsample(ids: Sequence[str], most: int | None, seed: int = 0) -> np.ndarray:
    """Positions of at most `most` of `ids`, in order, chosen by a hash of each id: adding others disturbs few."""
    if most is None or len(ids) <= most:
        return np.arange(len(ids))
    digests = [hashlib.sha256(f"{seed}:{x}".encode()).digest() for x in ids]
    return np.sort(np.array(sorted(range(len(ids)), key=digests.__getitem__)[:most]))


def sts_scores(first: np.ndarray, second: np.ndarray, dims: Sequence[int], cosine: bool = True) -> np.ndarray:
    """Similarity of paired vectors (N, D) at every dimension: (len(dims), N) float32, summed in float64."""
    # coordinates first in memory: a block of coordinates is then one stretch
    a, b = (torch.from_numpy(np.array(x.T, np.float64, order="C")).T for x in (first, second))
    return pair_scores(a, b, dims, cosine=cosine).float().numpy()


def _neighbors(queries: np.ndarray, documents: np.ndarray, cosine: bool) -> metrics.Judgments:
    """The nearest documents of each query, at the last layer and full width, as its relevant ones."""
    if not len(queries) or not len(documents):
        raise InputError("vectors need at least one query and one document: give more rows")
    ids = [f"{i:012d}" for i in range(len(documents))]
    rows, _ = top_k(queries, documents, NEIGHBORS, cosine=cosine)
    qrels = {str(q): {ids[i]: 1 for i in row} for q, row in enumerate(rows)}
    return metrics.judge(list(qrels), ids, qrels)
