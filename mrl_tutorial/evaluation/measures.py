"""How one layer of a task is measured, at every dimension at once: a function for each kind of task."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.evaluation.embeddings import cross_validated, task_labels
from mrl_tutorial.evaluation.metrics import relevant_ranks, score_blocks
from mrl_tutorial.prefixes import pair_scores
from mrl_tutorial.topk import top_k, unit

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
        spearman(gold, gold)  # refuses a constant before anything is encoded
        return lambda here, last: {
            "spearman": spearman(sts_scores(here["first"][keep], here["second"][keep], dims, cosine), gold)
        }
    return few_shot(task, keep, names, dims, config)


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
    ids = [f"{i:012d}" for i in range(len(documents), 0, -1)]  # equal scores rank by falling id, here as in `top_k`
    rows, _ = top_k(queries, documents, NEIGHBORS, cosine=cosine)
    qrels = {str(q): {ids[i]: 1 for i in row} for q, row in enumerate(rows)}
    return metrics.judge(list(qrels), ids, qrels)


def spearman(scores: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of every row of `scores` (..., N) with `gold` (N,), ties at their mean rank, as a
    mean over the items: (..., N), for a bootstrap that takes each item with its value.

    A value is the correlation plus the item's influence on it (how much more of that item would move it): through its
    own two ranks, and through the ranks that it gives to the others. 0 where a row is constant.
    Raises InputError for fewer than two items, NaN or a constant `gold`.

    >>> spearman(np.array([[1, 2, 3], [3, 2, 1], [0, 0, 0]]), np.array([0.1, 0.5, 2.0])).mean(-1).round(6).tolist()
    [1.0, -1.0, 0.0]
    """
    if len(gold) < 2 or np.ptp(gold) == 0:
        raise InputError("the gold scores do not differ: a rank correlation needs at least two unequal ones")
    for what, values in (("gold scores", gold), ("scores", scores)):
        if np.isnan(values).any():
            raise InputError(f"the {what} hold NaN, which has no rank: correct or leave out those pairs")
    a, b = rankdata(scores, axis=-1), rankdata(gold)
    a, b = a - a.mean(-1, keepdims=True), b - b.mean()
    norms = np.sqrt((a * a).mean(-1) * (b * b).mean())[..., None]
    pairs = zip(np.reshape(scores, (-1, len(gold))), a.reshape(-1, len(gold)), strict=True)
    given = np.reshape([_sums_above(x, b) + _sums_above(gold, ranks) for x, ranks in pairs], a.shape)
    items = a * b + given - 2 * (a * b).mean(-1, keepdims=True)
    return np.divide(items, norms, out=np.zeros(items.shape), where=norms > 0)


def _sums_above(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """For each x (N,) the sum of those y (N,) whose own x is larger, and half of those whose x is equal."""
    order = np.argsort(x)
    rest = np.append(np.cumsum(y[order][::-1])[::-1], 0)
    return (rest[np.searchsorted(x[order], x, "left")] + rest[np.searchsorted(x[order], x, "right")]) / 2


def few_shot(task: Any, keep: np.ndarray, names: Sequence[str], dims: Sequence[int], config: GridConfig) -> Measure:
    """How a classification task is measured on the items `keep` of a split: for each name ("accuracy", "1nn") the share
    of right answers to each item, (len(dims), len(keep)).

    MTEB's protocol: random samples of the training split. A cross-validated task: its folds, each tested by a model of
    all the others (on dev: one model of all of train). Raises InputError where nothing can be fitted.
    """
    if config.samples_per_label < 1 or config.n_experiments < 1:
        counts = f"samples_per_label {config.samples_per_label}, n_experiments {config.n_experiments}"
        raise InputError(f"{counts}: give 1 or more of each")
    labels = test_labels = task_labels(task, config.split)
    part, samples = "test", None  # where the training rows are; those of each experiment, None: all of them, once
    if cross_validated(task, config.split):
        place = np.full(len(labels), -1)
        place[keep] = np.arange(len(keep))
        folds = [(train, test[place[test] >= 0]) for train, test in task.fold_indices(config.seed)]
        # rows of the training part, rows tested, which of the items to measure these are
        rounds = [(train, test, place[test]) for train, test in folds if len(test)]
    else:
        part, labels = "train", np.asarray(task.splits["train"][1])
        if len(np.unique(labels)) < 2:
            raise InputError(f"the training split of {task.name!r} has a single class: nothing can be told apart")
        if not task.folds:
            samples = few_shot_rows(labels, config.samples_per_label, config.n_experiments, config.seed)
        rounds = [(np.arange(len(labels)), keep, np.arange(len(keep)))]

    def measure(here: Vectors, last: Vectors) -> Tables:
        tables = {name: np.zeros((len(dims), len(keep)), dtype=np.float32) for name in names}
        for train, test, items in rounds:
            x, y, asked, right = here[part][train], labels[train], here["test"][test], test_labels[test]
            if "1nn" in names:  # ties: the first
                for rows, m, scores in score_blocks(asked, x, dims, cosine=bool(config.cosine)):
                    tables["1nn"][m, items[rows]] = y[scores.argmax(1).numpy()] == right[rows]
            for m, d in enumerate(dims if "accuracy" in names else ()):
                # cut, then normalized, because the regression's penalty (C = 1) sees the scale
                found = logistic_answers(unit(x[:, :d]), y, unit(asked[:, :d]), samples or [np.arange(len(y))])
                tables["accuracy"][m, items] = np.mean(found == right, axis=0, dtype=np.float32)
        return tables

    return measure


def few_shot_rows(labels: np.ndarray, samples_per_label: int, n_experiments: int, seed: int) -> list[np.ndarray]:
    """The training rows of every experiment, at most `samples_per_label` of each label, as MTEB samples them: the order
    is shuffled anew before each experiment, starting from the one before, and the first of each label are taken."""
    rng = np.random.default_rng(seed)
    order, samples = np.arange(len(labels)), []
    for _ in range(n_experiments):
        rng.shuffle(order)
        taken = [order[labels[order] == label][:samples_per_label] for label in np.unique(labels)]
        samples.append(np.sort(np.concatenate(taken)))
    return samples


def logistic_answers(x: np.ndarray, y: np.ndarray, asked: np.ndarray, samples: Sequence[np.ndarray]) -> np.ndarray:
    """What each item of `asked` (n, d) is taken for by a regression on each of `samples`, rows of x (N, d) with labels
    y: (len(samples), n)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations are the protocol
        return np.stack([LogisticRegression(max_iter=100).fit(x[rows], y[rows]).predict(asked) for rows in samples])
