"""Networks whose classifiers make a cascade, trained on several tasks, and their answers on held-out and test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from evidence.cascade_search import cheapest_thresholds
from evidence.labeled_sets import held
from mrl_tutorial import Encoder, files, load_task
from mrl_tutorial.classification import cascade
from mrl_tutorial.classification.small_networks import NetworkConfig, train_networks
from mrl_tutorial.evaluation.statistics import Difference, paired

KINDS = {"MRL": (False, "all"), "MRL-E": (True, "all"), "full size alone": (False, "last")}
SEEDS = (0, 1, 2)
Part = tuple[np.ndarray, np.ndarray, np.ndarray, int]  # training, held-out and tested rows, and the seed
Runs = dict[str, list[dict[str, Any]]]


def trained(x: np.ndarray, y: np.ndarray, parts: Sequence[Part], plan: NetworkConfig) -> Runs:
    """kind -> a list of runs {held, test: Answers; items: rows tested}, trained once and then read from the cache."""
    runs, classes = {}, int(y.max()) + 1
    for kind, (tied, sizes) in KINDS.items():
        here = replace(plan, tied=tied)
        rows, seeds = [rows for part in parts for rows in part[:3]], [part[3] for part in parts]
        key = files.key(1, x, y, *rows, seeds, asdict(here), sizes)
        kept = files.remembered("cascades", key, partial(_answered, x, y, parts, here, sizes))
        runs[kind] = [
            {s: cascade.Answers(plan.dims, kept[f"{g}-{s}-confidence"], kept[f"{g}-{s}-right"], classes)
             for s in ("held", "test")} | {"items": part[2]}
            for g, part in enumerate(parts)
        ]  # fmt: skip
    return runs


def _answered(
    x: np.ndarray, y: np.ndarray, parts: Sequence[Part], plan: NetworkConfig, sizes: str
) -> dict[str, np.ndarray]:
    weights = np.ones(len(plan.dims)) if sizes == "all" else np.eye(len(plan.dims))[-1]
    seeds = [part[3] for part in parts]
    nets = train_networks(x, y, [part[0] for part in parts], np.tile(weights, (len(parts), 1)), seeds, plan)
    assert nets is not None  # nothing has cancelled it
    found: dict[str, np.ndarray] = {}
    for g, (_, held_out, test, _) in enumerate(parts):
        for name, rows in (("held", held_out), ("test", test)):
            a = cascade.answers(nets.pick([g]).probabilities(x[rows])[0], y[rows], plan.dims)
            found |= {f"{g}-{name}-confidence": a.confidence, f"{g}-{name}-right": a.right}
    return found


def fivefold(task: Any, seeds: Sequence[int] = SEEDS) -> list[Part]:
    """The parts of a task with folds: a fifth is tested, and of the rest a fifth is held out for the thresholds."""
    parts = []
    for seed in seeds:
        for train, test in task.fold_indices(seed):
            train = np.random.default_rng(seed).permutation(train)
            parts.append((train[len(train) // 5 :], train[: len(train) // 5], test, seed))
    return parts


def text_plan(fast: bool = False) -> NetworkConfig:
    """A linear layer from an encoder's vectors to 256 numbers."""
    return NetworkConfig(
        dims=(8, 16, 32, 64, 128, 256), width=256, hidden=0, epochs=2 if fast else 12, batch=256, lr=2e-3
    )


def text_runs(
    x: np.ndarray, y: np.ndarray, split: Sequence[np.ndarray], plan: NetworkConfig, seeds: Sequence[int] = SEEDS
) -> Runs:
    """`trained` behind an encoder: x (N, F) is standardized by its training rows; split: train, dev and test rows."""
    x = np.asarray(x, dtype=np.float32)
    train, dev, test = split
    spread = x[train].std(0)
    x = (x - x[train].mean(0)) / np.where(spread > 0, spread, 1)
    return trained(x, y, [(train, dev, test, seed) for seed in seeds], plan)


def split_of(task: Any) -> list[np.ndarray]:
    """Rows of a retrieval task's documents for training, dev and test, as its queries are split."""
    parts = [set(task.splits[s]) for s in ("train", "dev", "test")]
    return [np.array([i for i, query in enumerate(task.queries) if query in part]) for part in parts]


def banking(encoder: Encoder, fast: bool = False) -> Runs | None:
    """Banking77's runs, None where `$MRL_DATA` does not have it."""
    bank = held("banking77")
    if bank is None:
        return None
    step = 10 if fast else 1
    pieces = [
        (list(bank.splits[s][0])[::step], np.asarray(bank.splits[s][1])[::step]) for s in ("train", "dev", "test")
    ]
    ends = np.cumsum([0, *(len(labels) for _, labels in pieces)])
    vectors = np.concatenate([encoder.encode_layers(texts, layers=[encoder.n_layers])[0] for texts, _ in pieces])
    labels = np.concatenate([labels for _, labels in pieces])
    return text_runs(vectors, labels, [np.arange(a, b) for a, b in pairwise(ends)], text_plan(fast))


def all_runs(fast: bool = False) -> dict[str, Runs]:
    """task -> runs on digits, pydocs' modules and packages, and Banking77 where it is there: those of lesson 05."""
    digits, task = load_task("digits"), load_task("pydocs")
    task = task.smaller(500) if fast else task
    x, y = digits.splits["all"]
    found = {"digits": trained(x, y, fivefold(digits), NetworkConfig(epochs=3 if fast else 30))}
    encoder = Encoder.load("all-MiniLM-L6-v2")
    vectors = encoder.encode_layers(list(task.corpus.values()))[-1]
    for level in ("module", "package"):
        labels = np.unique(task.labels[level], return_inverse=True)[1]
        found[level] = text_runs(vectors, labels, split_of(task), text_plan(fast))
    bank = banking(encoder, fast)
    return found if bank is None else found | {"banking77": bank}


def by_seed(found: Sequence[Mapping[str, Any]], right: Sequence[np.ndarray]) -> np.ndarray:
    """Whether each item was right, a row for each seed: (S, N); folds are put together."""
    items = np.concatenate([run["items"] for run in found])
    values = np.concatenate([np.asarray(r, dtype=float) for r in right])
    return values[np.argsort(items, kind="stable")].reshape(len(np.unique(items)), -1).T


def against_own_full_size(found: Sequence[Mapping[str, Any]]) -> tuple[Difference, np.ndarray, np.ndarray]:
    """The cascade of one threshold minus its own largest size on test; its expected size in each run; and the share of
    items that each size answers. The threshold is chosen on the held-out items."""
    outcomes = [cascade.run(run["test"], cheapest_thresholds(run["held"], shared=True)) for run in found]
    full = by_seed(found, [run["test"].right[-1] for run in found])
    gap = paired(by_seed(found, [o.right for o in outcomes]), full)
    return gap, np.array([o.final for o in outcomes]), np.mean([o.shares for o in outcomes], axis=0)
