"""Matryoshka networks against every other way to a smaller vector, on labeled vectors.

An outcome is one array (S, M, N): random seed, size, tested item. So a mean over seeds, their spread and a bootstrap
over items all come from the same place. What has been trained or measured once is read from the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from evidence.linear_probe import linear_probe, probe_scores
from mrl_tutorial import InputError, files
from mrl_tutorial.classification.labeled_vectors import LabeledVectors, own_heads, scaled
from mrl_tutorial.classification.small_networks import NetworkConfig, Networks, Report, train_networks
from mrl_tutorial.losses.distillation import principal_axes
from mrl_tutorial.prefixes import check_dims

VERSION = 4  # of what is cached
NAMES = {
    "MRL": "MRL", "MRL-E": "MRL-E (tied)", "alone": "trained for this size alone", "prefix": "plain, prefix",
    "random": "plain, random coordinates", "pca": "plain, PCA", "slim": "slimmable",
}  # fmt: skip
METRICS = ("linear", "1nn", "map@10", "p@10")
K = 10


def from_corpus(task: Any, vectors: np.ndarray, level: str, split: str = "test") -> LabeledVectors:
    """The documents of a retrieval task, vectors (N, F), with their labels of that level, split as its queries are."""
    names = np.array(task.labels[level])
    labels = np.unique(names, return_inverse=True)[1]
    place = {document: row for row, document in enumerate(task.corpus)}
    train, test = (np.array([place[d] for q in task.splits[s] for d in task.qrels[q]]) for s in ("train", split))
    return scaled(f"{task.name}:{level}", vectors, labels, [(train, test)])


def networks(
    data: LabeledVectors, config: NetworkConfig, weights: Iterable[float], seeds: Sequence[int],
    report: Report | None = None,
) -> Networks:  # fmt: skip
    """Networks of one loss for every seed and round (seed-major), trained, or loaded where they have been before.

    weights (M,): c_m. Two calls with the same seeds start from the same weights and see the data in the same order.
    """
    c = [float(w) for w in weights]
    name = files.key("nets", VERSION, data.key(), asdict(config), c, list(map(int, seeds)))
    rows = [train for _ in seeds for train, _ in data.rounds]
    ids = [100 * int(s) + r for s in seeds for r in range(len(data.rounds))]

    def make() -> dict[str, np.ndarray]:
        found = train_networks(data.x, data.labels, rows, np.tile(c, (len(rows), 1)), ids, config, report=report)
        if found is None:
            raise InputError("training was cancelled: nothing to measure")
        named = [(f"e{i}", layer) for i, layer in enumerate(found.encoder)]
        named += [(f"h{i}", layer) for i, layer in enumerate(found.heads)]
        return {f"{at}{ab}": p.numpy() for at, layer in named for ab, p in zip("wb", layer, strict=True)}

    parts = {k: torch.from_numpy(v) for k, v in files.remembered("small-nets", name, make).items()}
    kinds = (("e", 2 if config.hidden else 1), ("h", 1 if config.tied else len(config.dims)))
    names = [f"{kind}{i}" for kind, n in kinds for i in range(n)]
    return Networks(config, tuple((parts[f"{at}w"], parts[f"{at}b"]) for at in names))


def quality(
    base: Tensor, base_labels: np.ndarray, queries: Tensor, query_labels: np.ndarray, dims: Sequence[int],
    metrics: Sequence[str] = METRICS,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Quality of every tested item at every size, for several networks: metric -> (G, M, t).

    base (G, n, D) with labels (n,): what a probe is fitted on, and the database that is searched; queries (G, t, D).
    "linear": 1 where logistic regression on the prefix is right. By cosine of the prefixes: "1nn", 1 where the nearest
    of the base has the label; "p@10", the share of the ten nearest that have it; "map@10", (1/10) sum over i <= 10 of
    P(i) rel_i, where P(i) is the precision of the first i: the denominator of the MRL paper's code, not trec_eval's.
    Raises InputError for another metric, a bad size, or fewer than ten items to search.
    """
    dims = check_dims(dims, base.shape[-1])
    for metric in metrics:
        if metric not in METRICS:
            raise InputError(f"no metric {metric!r}: there are {', '.join(METRICS)}")
    if base.shape[1] < K:
        raise InputError(f"{base.shape[1]} items to search: {METRICS[2]} needs at least {K}")
    out = {metric: np.zeros((base.shape[0], len(dims), queries.shape[1]), np.float32) for metric in metrics}
    y, wanted = torch.as_tensor(base_labels), torch.as_tensor(query_labels)
    for j, m in enumerate(dims):
        if "linear" in metrics:
            scores = probe_scores(linear_probe(base[..., :m], y), queries[..., :m])
            out["linear"][:, j] = (scores.argmax(-1) == wanted).numpy()
        if set(metrics) - {"linear"}:
            for g in range(len(base)):
                for metric, value in _search(base[g, :, :m], y, queries[g, :, :m], wanted).items():
                    if metric in metrics:
                        out[metric][g, j] = value
    return out


def _search(base: Tensor, y: Tensor, queries: Tensor, wanted: Tensor) -> dict[str, np.ndarray]:
    """The measures of the ten nearest of base (n, m), by cosine, for each query (t, m): metric -> (t,)."""
    a, b = (F.normalize(x, dim=-1) for x in (queries, base))
    hit = (y[(a @ b.T).topk(K, dim=1).indices] == wanted[:, None]).float().numpy()  # (t, 10)
    precision = hit.cumsum(1) / np.arange(1, K + 1)
    return {"1nn": hit[:, 0], "p@10": hit.mean(1), "map@10": (precision * hit).sum(1) / K}


def coarse_and_detail(
    base: Tensor, base_labels: np.ndarray, queries: Tensor, query_labels: np.ndarray, group_of: np.ndarray,
    blocks: Sequence[tuple[int, int]],
) -> dict[str, np.ndarray]:  # fmt: skip
    """How much a block of coordinates [start, stop) knows of a class's group, and how much of the class within it.

    group_of (C,): the coarse group of each class. One linear probe for each block, on the classes. "coarse": 1 where
    the answer is of the right group; "detail": 1 where the likeliest class *of the right group* is the right one, NaN
    where the group has a single class. Each (G, len(blocks), tested items).
    """
    groups = torch.as_tensor(group_of)
    y, wanted = torch.as_tensor(base_labels), torch.as_tensor(query_labels)
    known = int(y.max()) + 1
    out = {k: np.full((len(base), len(blocks), len(wanted)), np.nan, np.float32) for k in ("coarse", "detail")}
    inside = groups[:known] == groups[wanted][:, None]  # (t, C)
    several = (inside.sum(1) > 1).numpy()
    for j, (start, stop) in enumerate(blocks):
        logits = probe_scores(linear_probe(base[..., start:stop], y), queries[..., start:stop])  # (G, t, C)
        out["coarse"][:, j] = (groups[logits.argmax(-1)] == groups[wanted]).numpy()
        detail = logits.masked_fill(~inside, -torch.inf).argmax(-1) == wanted
        out["detail"][:, j, several] = detail.numpy()[:, several]
    return out


def measure(
    data: LabeledVectors, features: Tensor, dims: Sequence[int], n_seeds: int, metrics: Sequence[str] = METRICS
) -> dict[str, np.ndarray]:
    """Quality of prefixes: features (S * R, N, D), seed-major, -> metric -> (S, M, tested items).

    Training rows are what a probe is fitted on, and the database that is searched; tested rows are the queries.
    """
    rounds, count = data.rounds, min(len(train) for train, _ in data.rounds)
    parts = []
    for r, (train, test) in enumerate(rounds):
        mine, train = features[r :: len(rounds)], train[:count]  # (S, N, D)
        parts.append(quality(mine[:, train], data.labels[train], mine[:, test], data.labels[test], dims, metrics))
    return {m: np.concatenate([part[m] for part in parts], axis=2) for m in metrics}


def compare_baselines(
    data: LabeledVectors, config: NetworkConfig, seeds: Sequence[int], names: Sequence[str] = tuple(NAMES),
    report: Report | None = None, metrics: Sequence[str] = METRICS,
) -> dict[str, dict[str, np.ndarray]]:  # fmt: skip
    """Train and measure the ways that are named (`NAMES`), each only once: name -> metric -> (S, M, tested items).

    "prefix", "random" and "pca" are three ways to shorten the features of the network that was trained at full width
    only; "slim" is trained jointly at 25, 50, 75 and 100 % width, a size in between being the first features of the
    next wider one. Raises InputError for an unknown name.
    """
    for name in names:
        if name not in NAMES:
            raise InputError(f"no baseline {name!r}: there are {', '.join(NAMES)}")
    what = [data.key(), asdict(config), list(seeds), *([list(metrics)] if tuple(metrics) != METRICS else [])]
    return {
        name: files.remembered(
            "small-nets",
            files.key("baseline", VERSION, name, *what),
            partial(_baseline, name, data, config, seeds, report, metrics),
        )
        for name in names
    }


def _baseline(
    name: str, data: LabeledVectors, config: NetworkConfig, seeds: Sequence[int], report: Report | None,
    metrics: Sequence[str],
) -> Mapping[str, np.ndarray]:  # fmt: skip
    dims, n = config.dims, len(seeds)
    ones, eye = np.ones(len(dims)), np.eye(len(dims))
    each = []
    if name == "alone":
        for j, m in enumerate(dims):
            own = networks(data, config, eye[j], seeds, report)
            found = measure(data, own.features(data.x, m), [m], n, metrics)
            each.append(found | {"head": own_heads(data, own, n)[:, [j]]})
        return {metric: np.concatenate([e[metric] for e in each], 1) for metric in each[0]}
    if name == "slim":
        quarter = config.width // 4
        config = replace(config, slimmable=True, dims=tuple(quarter * i for i in (1, 2, 3, 4)))
        own = networks(data, config, np.ones(4), seeds, report)
        each = [measure(data, own.features(data.x, m), [m], n, metrics) for m in dims]
        return {metric: np.concatenate([e[metric] for e in each], 1) for metric in each[0]}
    if name in ("MRL", "MRL-E"):
        own = networks(data, replace(config, tied=name == "MRL-E"), ones, seeds, report)
        return measure(data, own.features(data.x), dims, n, metrics) | {"head": own_heads(data, own, n)}
    full = networks(data, config, eye[-1], seeds, report).features(data.x)
    return measure(data, shorten(data, full, name), dims, n, metrics)


def shorten(data: LabeledVectors, features: Tensor, how: str) -> Tensor:
    """features (S * R, N, D) in another order or basis, so that their prefixes are shorter vectors.

    "prefix": as they are. "random": coordinates in random order, another one for each network. "pca": rotated to the
    principal components of the round's training rows, largest variance first.
    """
    if how == "prefix":
        return features
    out = torch.empty_like(features)
    for g in range(len(features)):
        if how == "random":
            out[g] = features[g][:, np.random.default_rng([g, 7]).permutation(features.shape[-1])]
        else:
            seen = features[g, data.rounds[g % len(data.rounds)][0]].double()
            axes = principal_axes(seen, features.shape[-1])
            out[g] = ((features[g].double() - seen.mean(0)) @ axes).float()
    return out


def spread(outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds and items, and standard deviation over seeds: (S, ..., N) -> (...), (...)."""
    by_seed = outcome.mean(-1)
    return by_seed.mean(0), by_seed.std(0, ddof=1) if len(by_seed) > 1 else np.zeros(by_seed.shape[1:])
