"""The arms of a comparison on labelled vectors: Matryoshka networks against every other way to a smaller embedding.

An outcome is one array (S, M, N): random seed, size, tested item; so that a mean over seeds, their spread and a paired
bootstrap over items all come from the same place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from mrl_tutorial import files
from mrl_tutorial.classification.small_networks import Nets, Plan, Report, train_nets
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.prefix_quality import METRICS, quality

VERSION = 3  # of what is cached
NAMES = {
    "MRL": "MRL", "MRL-E": "MRL-E (tied)", "alone": "trained for this size alone", "prefix": "plain, prefix",
    "random": "plain, random coordinates", "pca": "plain, PCA", "slim": "slimmable",
}  # fmt: skip


@dataclass(frozen=True)
class Data:
    """Labelled vectors and how they are tested. x (N, F) float32, labels (N,) int64; rounds: (training rows, tested
    rows) pairs, one a fold."""

    name: str
    x: np.ndarray
    labels: np.ndarray
    rounds: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def tested(self) -> np.ndarray:
        """The tested rows, in the order of every outcome's last axis."""
        return np.concatenate([test for _, test in self.rounds])

    def key(self) -> str:
        """Stands for everything in it."""
        return files.key(self.x, self.labels, *(part for pair in self.rounds for part in pair))


def from_task(task, vectors: Mapping[str, np.ndarray] | None = None, split: str = "test") -> Data:
    """A classification task as Data: by its folds where it has some, else trained on "train" and tested on `split`.

    vectors: part -> (N, F) for "train" and `split`, where the task holds texts. Raises InputError without.
    """
    if task.folds:
        return scaled(task.name, *task.splits["all"], task.fold_indices(0))
    if vectors is None:
        raise InputError(f"{task.name!r} holds texts: give the vectors of 'train' and {split!r}")
    labels = np.concatenate([task.splits["train"][1], task.splits[split][1]])
    x, n = np.concatenate([vectors["train"], vectors[split]]), len(vectors["train"])
    return scaled(task.name, x, labels, [(np.arange(n), np.arange(n, len(x)))])


def from_corpus(task, vectors: np.ndarray, level: str, split: str = "test") -> Data:
    """The documents of a retrieval task, vectors (N, F), with their labels of that level, cut as its queries are."""
    names = np.array(task.labels[level])
    labels = np.unique(names, return_inverse=True)[1]
    place = {document: row for row, document in enumerate(task.corpus)}
    rows = [np.array([place[d] for q in task.splits[s] for d in task.qrels[q]]) for s in ("train", split)]
    return scaled(f"{task.name}:{level}", vectors, labels, [tuple(rows)])


def scaled(name: str, x: np.ndarray, labels: np.ndarray, rounds) -> Data:
    """Data whose coordinates are centred on the mean over all training rows, and scaled by one common factor."""
    seen = np.unique(np.concatenate([train for train, _ in rounds]))
    x = x - x[seen].mean(0)
    x *= 0.25 / (x[seen].std() + 1e-12)
    return Data(name, np.asarray(x, np.float32), np.asarray(labels, np.int64), tuple(rounds))


def nets(data: Data, plan: Plan, weights: Sequence[float], seeds: Sequence[int], report: Report | None = None) -> Nets:
    """Networks of one loss for every seed and round (seed-major), trained, or loaded where they have been before.

    weights (M,): c_m. Two calls with the same seeds start from the same weights and see the data in the same order.
    """
    c = [float(w) for w in weights]
    name = files.key(
        "nets", VERSION, data.key(), asdict(plan), c, list(map(int, seeds)), torch.get_default_dtype().__str__()
    )
    rows = [train for _ in seeds for train, _ in data.rounds]
    ids = [100 * int(s) + r for s in seeds for r in range(len(data.rounds))]

    def make() -> dict[str, np.ndarray]:
        found = train_nets(data.x, data.labels, rows, np.tile(c, (len(rows), 1)), ids, plan, report=report)
        if found is None:
            raise InputError("training was cancelled: nothing to measure")
        parts = {f"e{i}": p.numpy() for i, p in enumerate(found.encoder)}
        return parts | {
            f"h{i}{ab}": p.numpy() for i, head in enumerate(found.heads) for ab, p in zip("wb", head, strict=True)
        }

    parts = {k: torch.from_numpy(v) for k, v in files.remembered("small-nets", name, make).items()}
    count = 1 if plan.tied else len(plan.dims)
    encoder = tuple(parts[f"e{i}"] for i in range(4 if plan.hidden else 2))
    return Nets(plan, encoder, tuple((parts[f"h{i}w"], parts[f"h{i}b"]) for i in range(count)))


def measure(
    data: Data, features: Tensor, dims: Sequence[int], n_seeds: int, metrics: Sequence[str] = METRICS
) -> dict[str, np.ndarray]:
    """Quality of prefixes: features (S * R, N, D), seed-major, -> metric -> (S, M, tested items).

    Training rows are what a probe is fitted on, and the database that is searched; tested rows are the queries.
    """
    rounds, count = data.rounds, min(len(train) for train, _ in data.rounds)
    out = {m: np.zeros((n_seeds, len(dims), len(data.tested)), np.float32) for m in metrics}
    start = 0
    for r, (train, test) in enumerate(rounds):
        mine = features[r :: len(rounds)]  # (S, N, D)
        train = train[:count]
        found = quality(mine[:, train], data.labels[train], mine[:, test], data.labels[test], dims, metrics)
        for m in metrics:
            out[m][:, :, start : start + len(test)] = found[m]
        start += len(test)
    return out


def own_heads(data: Data, networks: Nets, n_seeds: int) -> np.ndarray:
    """Whether each network's own classifiers are right: (S, M, tested items)."""
    answers = networks.predict(data.x)  # (S * R, M, N)
    parts = [answers[r :: len(data.rounds)][:, :, test] == data.labels[test] for r, (_, test) in enumerate(data.rounds)]
    return np.concatenate(parts, axis=2).astype(np.float32).reshape(n_seeds, answers.shape[1], -1)


def compare_arms(
    data: Data, plan: Plan, seeds: Sequence[int], arms: Sequence[str] = tuple(NAMES), report: Report | None = None,
    metrics: Sequence[str] = METRICS,
) -> dict[str, dict[str, np.ndarray]]:  # fmt: skip
    """Train and measure the arms named (`NAMES`): arm -> metric -> (S, M, tested items); trained or measured only once.

    "prefix", "random" and "pca" are three ways to shorten the features of the network that was trained at full width
    only; "slim" is trained jointly at 25, 50, 75 and 100 % width, a size in between being the first features of the
    next wider one. Raises InputError for an unknown arm.
    """
    for arm in arms:
        if arm not in NAMES:
            raise InputError(f"no arm {arm!r}: there are {', '.join(NAMES)}")
    what = [data.key(), asdict(plan), list(seeds), *([list(metrics)] if tuple(metrics) != METRICS else [])]
    return {arm: files.remembered("small-nets", files.key("arm", VERSION, arm, *what),
                                  partial(_arm, arm, data, plan, seeds, report, metrics)) for arm in arms}  # fmt: skip


def _arm(arm, data: Data, plan: Plan, seeds: Sequence[int], report: Report | None, metrics) -> dict[str, np.ndarray]:
    dims, n = plan.dims, len(seeds)
    ones, eye = np.ones(len(dims)), np.eye(len(dims))
    if arm == "alone":
        each = []
        for j, m in enumerate(dims):
            network = nets(data, plan, eye[j], seeds, report)
            each.append(
                measure(data, network.features(data.x, m), [m], n, metrics)
                | {"head": own_heads(data, network, n)[:, [j]]}
            )
        return {metric: np.concatenate([e[metric] for e in each], 1) for metric in each[0]}
    if arm == "slim":
        quarter = plan.width // 4
        plan = Plan(**{**asdict(plan), "slim": True, "dims": tuple(quarter * i for i in (1, 2, 3, 4))})
        network = nets(data, plan, np.ones(4), seeds, report)
        each = [measure(data, network.features(data.x, m), [m], n, metrics) for m in dims]
        return {metric: np.concatenate([e[metric] for e in each], 1) for metric in each[0]}
    if arm in ("MRL", "MRL-E"):
        plan = Plan(**{**asdict(plan), "tied": arm == "MRL-E"})
        network = nets(data, plan, ones, seeds, report)
        return measure(data, network.features(data.x), dims, n, metrics) | {"head": own_heads(data, network, n)}
    full = nets(data, plan, eye[-1], seeds, report).features(data.x)
    return measure(data, shorten(data, full, arm), dims, n, metrics)


def shorten(data: Data, features: Tensor, how: str) -> Tensor:
    """features (S * R, N, D) with their coordinates as they are ("prefix"), shuffled by chance, anew in each network
    ("random"), or turned to the principal components of the round's training rows, largest variance first ("pca")."""
    if how == "prefix":
        return features
    out = torch.empty_like(features)
    for g in range(len(features)):
        if how == "random":
            out[g] = features[g][:, np.random.default_rng([g, 7]).permutation(features.shape[-1])]
        else:
            seen = features[g, data.rounds[g % len(data.rounds)][0]].double()
            values, vectors = torch.linalg.eigh((seen - seen.mean(0)).T @ (seen - seen.mean(0)))
            out[g] = ((features[g].double() - seen.mean(0)) @ vectors.flip(1)).float()
    return out


def spread(outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds and items, and standard deviation over seeds: (S, ..., N) -> (...), (...)."""
    by_seed = outcome.mean(-1)
    return by_seed.mean(0), by_seed.std(0, ddof=1) if len(by_seed) > 1 else np.zeros(by_seed.shape[1:])


def difference(a: np.ndarray, b: np.ndarray, *, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of a - b and its 95 % interval, from a paired bootstrap that draws items and seeds: a, b (S, N).

    Raises InputError where the shapes differ.
    """
    if a.shape != b.shape:
        raise InputError(f"outcomes {a.shape} and {b.shape} are not of the same seeds and items")
    d = np.asarray(a, np.float64) - b
    which, items = _drawn(len(d), draws, seed), _drawn(d.shape[1], draws, seed + 1)
    means = ((items @ d.T) * which).sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(d.mean()), float(low), float(high)


@lru_cache(maxsize=4)
def _drawn(n: int, draws: int, seed: int) -> np.ndarray:
    """How often each of n is drawn, as a share: (draws, n). The same draws serve every comparison."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), draws) / n
