"""Checks of lesson 04: a search that normalizes too early, the weighted nested loss, weights for small sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

from exercises.mistakes import recognize, unit
from exercises.verdict import Verdict, exercise
from mrl_tutorial import load_task
from mrl_tutorial.classification.labeled_vectors import LabeledVectors, Trained, from_task, train_with
from mrl_tutorial.classification.small_networks import NetworkConfig

CONFIG, SEEDS = NetworkConfig(epochs=20), (0, 1, 2)  # as in the lesson's panel
GAIN, COST = 1.5, 0.5  # points of accuracy


@exercise("cut, then normalize. Nothing else in the four lines had to change.")
def search(function: Callable[[np.ndarray, np.ndarray, int], np.ndarray]) -> str | None:
    """Exercise "find the bug": query (D,), documents (N, D), d -> rows of the documents, best first."""
    rng = np.random.default_rng(4)
    query, documents = rng.normal(size=12), rng.normal(size=(9, 12)) * rng.uniform(0.2, 5, (9, 1))
    before = query.copy(), documents.copy()
    got = function(query, documents, 3)
    if not all(map(np.array_equal, before, (query, documents))):
        return "the vectors that were passed in have changed: make new arrays, somebody else may still need these."
    if np.shape(got) != (9,):
        return f"9 documents need 9 rows, best first; the result has shape {np.shape(got)}."

    def order(scores: np.ndarray) -> np.ndarray:
        return np.argsort(-scores)

    good = unit(documents[:, :3]) @ unit(query[:3])
    mistakes = {
        "the vectors are still normalized first and cut afterwards. A piece of a vector of length 1 is shorter than 1, "
        "and each document's piece has a different length.": order(unit(documents)[:, :3] @ query[:3]),
        "nothing is normalized now: the longest vectors win, whatever they say.": order(documents[:, :3] @ query[:3]),
        "nothing is cut now: use the first d numbers only.": order(unit(documents) @ query),
        "the order is upside down: the highest score comes first.": order(-good),
    }
    if hint := recognize(got, mistakes):
        return hint
    return None if np.array_equal(got, order(good)) else f"best first it should be {order(good)}, yours is {got}."


@exercise("each weight multiplies the loss of its size. The features are never scaled.")
def weighted_loss(function: Callable[..., torch.Tensor]) -> str | None:
    """Exercise "weighted nested loss": features (B, D), labels (B,), sizes, heads, weights -> one tensor."""
    torch.manual_seed(0)
    sizes, weights = (2, 4, 8), (4.0, 1.0, 0.5)
    heads = [torch.nn.Linear(m, 5) for m in sizes]
    features, labels = torch.randn(6, 8, requires_grad=True), torch.tensor([0, 4, 1, 1, 2, 3])
    got = function(features, labels, sizes, heads, weights)
    if not isinstance(got, torch.Tensor) or got.ndim:
        return f"the result must be a tensor with one number, yours is {got!r:.60}."

    def each(scale: Sequence[float] = (1, 1, 1)) -> torch.Tensor:
        said = [head(s * features[:, :m]) for s, head, m in zip(scale, heads, sizes, strict=True)]
        return torch.stack([F.cross_entropy(z, labels) for z in said])

    losses, c = each(), torch.tensor(weights)
    mistakes = {
        "the weights are not used: multiply each size's loss by its weight before you add.": losses.sum(),
        "the weights multiply your features. They belong in front of the losses.": each(weights).sum(),
        "take the sum over the sizes, not the mean.": (c * losses).mean(),
        "the weights need not sum to 1: do not divide by their sum.": (c * losses).sum() / c.sum(),
    }
    if hint := recognize(got.detach().numpy(), {hint: wrong.detach().numpy() for hint, wrong in mistakes.items()}):
        return hint
    want = float((c * losses).sum().detach())
    if not np.isclose(float(got.detach()), want, rtol=1e-4):
        return f"for the check's numbers the loss is {want:.4f}, yours is {float(got.detach()):.4f}."
    return None if got.requires_grad else "no gradient flows back: stay with torch, without .item() or numpy."


@cache
def _digits() -> tuple[LabeledVectors, list[Trained]]:
    """The digits, and for each seed what equal weights give."""
    data = from_task(load_task("digits"))
    return data, [_trained(data, [1.0] * len(CONFIG.dims), seed) for seed in SEEDS]


def _trained(data: LabeledVectors, weights: Sequence[float], seed: int) -> Trained:
    found = train_with(data, CONFIG, weights, seed=seed)
    assert found is not None  # nobody cancels it
    return found


@exercise("")
def _painted(weights: Mapping[int, float], gains: list[float]) -> str | None:
    """What is wrong with the weights; fills `gains` with the points that every size gains."""
    if not isinstance(weights, Mapping) or set(weights) != set(CONFIG.dims):
        return f"give a dictionary with a weight for each of the sizes {list(CONFIG.dims)}."
    if min(weights.values()) <= 0:
        return "a size with weight 0 is not trained at all, so nobody can say what it lost: stay above 0."
    if len(set(weights.values())) == 1:
        return "all weights are equal, and only their ratios count: raise one of them."
    data, base = _digits()
    chosen = [float(weights[m]) for m in CONFIG.dims]
    found = [_trained(data, chosen, seed) for seed in SEEDS]
    gains += np.mean([100 * (a.accuracy - b.accuracy) for a, b in zip(found, base, strict=True)], axis=0).tolist()
    lost = int(np.argmin(gains[1:])) + 1
    if gains[0] < GAIN:
        return f"size 2 gains {gains[0]:+.1f} points over three seeds; {GAIN:g} or more is wanted."
    if gains[lost] < -COST:
        return (
            f"size 2 gains {gains[0]:+.1f} points, but size {CONFIG.dims[lost]} pays {gains[lost]:+.1f}; "
            f"no size may lose more than {COST:g}."
        )
    return None


def painted(weights: Mapping[int, float]) -> Verdict:
    """Exercise "paint": size -> weight. Trains with three seeds, and says what every size gains over equal weights."""
    gains: list[float] = []
    verdict = _painted(weights, gains)
    said = ", ".join(f"{m}: {gain:+.1f}" for m, gain in zip(CONFIG.dims, gains, strict=False))
    return Verdict(True, f"points gained by size, three seeds: {said}.") if verdict else verdict
