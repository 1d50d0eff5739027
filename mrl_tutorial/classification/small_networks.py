"""Many small networks trained at once: G copies of one architecture, each with its own data, seed and loss weights.

A network is vector -> (hidden layer, ReLU) -> features of `width` coordinates -> a linear classifier for every size m,
which sees the first m features only. Which sizes count is a row of weights c_m: all ones is MRL, a single one is a
model of a fixed size. So all of them are one computation, a batched matrix product, and no network knows of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.prefixes import check_dims

Report = Callable[[float, str], bool]
TOGETHER = 16  # networks trained in one batched product


@dataclass(frozen=True)
class Plan:
    """What is trained. hidden=0: no hidden layer. dims: the sizes that have a classifier.

    tied: one classifier whose columns are sliced (MRL-E). slim: size m uses only the first hidden * m / width hidden
    units, as the networks of a slimmable network do. lr falls to 0 along a half cosine; Adam, batches of `batch`.
    Raises InputError where a number cannot be used.
    """

    dims: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    width: int = 64
    hidden: int = 64
    tied: bool = False
    slim: bool = False
    epochs: int = 30
    batch: int = 128
    lr: float = 0.02

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", check_dims(self.dims, self.width))
        if min(self.epochs, self.batch) < 1 or self.hidden < 0 or not self.lr > 0:
            raise InputError(f"{self}: epochs and batch are 1 or more, hidden 0 or more, lr above 0")
        if self.slim and (self.tied or not self.hidden):
            raise InputError("a slimmable network needs a hidden layer, and a classifier of its own for every width")

    def classifier_parameters(self, classes: int) -> int:
        """Numbers in the classifiers, biases included."""
        return sum(classes * (m + 1) for m in ((self.width,) if self.tied else self.dims))


@dataclass(frozen=True)
class Nets:
    """G trained networks. encoder: (w1, b1, w2, b2), each (G, ...), w1 and b1 missing without a hidden layer; heads:
    one (weight (G, m, C), bias (G, 1, C)) for each size, or a single one where tied."""

    plan: Plan
    encoder: tuple[Tensor, ...]
    heads: tuple[tuple[Tensor, Tensor], ...]

    def features(self, x: np.ndarray | Tensor, dim: int | None = None) -> Tensor:
        """x (N, F) or (G, N, F) -> (G, N, dim or width), raw. Only a slimmable network computes anything else for
        another `dim`: there, the narrowest of its networks that has so many features."""
        x = torch.as_tensor(x, dtype=torch.float32)
        x = x.expand(len(self.encoder[0]), *x.shape[-2:])
        share = 1.0
        if self.plan.slim and dim is not None:
            share = next(m for m in self.plan.dims if m >= dim) / self.plan.width
        with torch.no_grad():
            return _encode(self.encoder, x, share)[..., :dim]

    def logits(self, x: np.ndarray | Tensor) -> Tensor:
        """What the classifiers say at every size of the plan, before the softmax: (G, M, N, C)."""
        full, said = None if self.plan.slim else self.features(x), []
        for j, m in enumerate(self.plan.dims):
            features = self.features(x, m) if full is None else full[..., :m]
            weight, bias = self.heads[0 if self.plan.tied else j]
            said.append(features @ weight[:, :m] + bias)
        return torch.stack(said, 1)

    def predict(self, x: np.ndarray | Tensor) -> np.ndarray:
        """The classifiers' answers at every size of the plan: (G, M, N) class numbers."""
        return self.logits(x).argmax(-1).numpy()

    def pick(self, groups: Sequence[int]) -> Nets:
        """Only these networks."""
        rows = list(groups)
        return Nets(self.plan, tuple(p[rows] for p in self.encoder), tuple((w[rows], b[rows]) for w, b in self.heads))


def train_nets(
    x: np.ndarray, labels: np.ndarray, rows: Sequence[np.ndarray], weights: np.ndarray, seeds: Sequence[int],
    plan: Plan = Plan(), *, report: Report | None = None,
) -> Nets | None:  # fmt: skip
    """Train G networks on sum_m c_m CE_m, the nested cross-entropy (2205.13147, equation 1).

    x (N, F) and labels (N,) are shared; rows: for each network the rows it is trained on; weights (G, M): its c_m;
    seeds (G,): first weights and order of its data, so that networks of one seed and the same rows differ in their loss
    alone. report(share, label) -> False cancels, which returns None. Adam hardly minds the loss's scale: only the
    ratios of the weights matter. Raises InputError where shapes disagree, or a network has no weight above 0.
    """
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float32))
    groups = len(rows)
    if weights.shape != (groups, len(plan.dims)) or len(seeds) != groups:
        raise InputError(
            f"weights {weights.shape} and {len(seeds)} seeds for {groups} networks of {len(plan.dims)} sizes"
        )
    if (weights < 0).any() or not (weights > 0).any(1).all() or not np.isfinite(weights).all():
        raise InputError(
            "all weights of a network are 0, or one is negative: nothing would be learnt; give one above 0"
        )
    x, y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(labels).long()
    parts: list[Nets] = []
    for start in range(0, groups, TOGETHER):  # networks do not know of each other: a few at a time stay in the cache
        part = slice(start, start + TOGETHER)
        share = min(TOGETHER, groups - start) / groups
        tell = None if report is None else lambda s, at=start / groups, by=share: report(at + s * by, "training")
        nets = _train(x, y, rows[part], torch.from_numpy(weights[part]), seeds[part], plan, tell)
        if nets is None:
            return None
        parts.append(nets)
    encoder = tuple(torch.cat(p) for p in zip(*(n.encoder for n in parts), strict=True))
    heads = [tuple(torch.cat(p) for p in zip(*of, strict=True)) for of in zip(*(n.heads for n in parts), strict=True)]
    return Nets(plan, encoder, tuple(heads))


def _train(x, y, rows, c, seeds, plan, tell) -> Nets | None:
    count = min(len(r) for r in rows)
    batch = min(plan.batch, count)
    orders = [np.random.default_rng([int(s), 1]) for s in seeds]
    encoder, heads = _start(plan, x.shape[1], int(y.max()) + 1, seeds)
    optimiser = torch.optim.Adam([*encoder, *(p for head in heads for p in head)], lr=plan.lr, fused=True)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.epochs * (count // batch))
    for epoch in range(plan.epochs):
        taken = torch.from_numpy(np.stack([g.permutation(r)[:count] for g, r in zip(orders, rows, strict=True)]))
        for start in range(0, count - batch + 1, batch):
            here = taken[:, start : start + batch]  # (G, B)
            optimiser.zero_grad(set_to_none=True)
            losses = nested_loss(plan, encoder, heads, x[here], y[here])  # (G, M)
            (losses * c).sum().backward()
            optimiser.step()
            cosine.step()
        if tell and not tell((epoch + 1) / plan.epochs):
            return None
    return Nets(plan, tuple(p.detach() for p in encoder), tuple((w.detach(), b.detach()) for w, b in heads))


def nested_loss(plan: Plan, encoder, heads, x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of every network at every size, unweighted: x (G, B, F), y (G, B) -> (G, M)."""
    full = None if plan.slim else _encode(encoder, x)
    losses = []
    for j, m in enumerate(plan.dims):
        features = _encode(encoder, x, m / plan.width) if plan.slim else full
        logits = _classify(heads, features, 0 if plan.tied else j, m)  # (G, B, C)
        losses.append(F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).mean(1))
    return torch.stack(losses, 1)


def _encode(encoder: Sequence[Tensor], x: Tensor, share: float = 1.0) -> Tensor:
    """(G, B, F) -> (G, B, features), with this share of the hidden units and of the features."""
    if len(encoder) == 4:
        w1, b1, *last = encoder
        units = round(share * w1.shape[2])
        x = torch.baddbmm(b1[..., :units], x, w1[..., :units]).relu()
        encoder = [last[0][:, :units], last[1]]
    w2, b2 = encoder
    width = round(share * w2.shape[2])
    return torch.baddbmm(b2[..., :width], x, w2[..., :width])


def _classify(heads, features: Tensor, j: int, m: int) -> Tensor:
    weight, bias = heads[j]
    return torch.baddbmm(bias, features[..., :m], weight[:, :m])


def _start(plan: Plan, inputs: int, classes: int, seeds: Sequence[int]):
    """First weights, uniform within 1/sqrt(inputs) as torch.nn.Linear's; the same for the same seed."""
    sizes = [(inputs, plan.hidden), (plan.hidden, plan.width)] if plan.hidden else [(inputs, plan.width)]
    sizes += [(m, classes) for m in ((plan.width,) if plan.tied else plan.dims)]
    drawn: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for seed in map(int, seeds):
        if seed not in drawn:
            chance = torch.Generator().manual_seed(seed)
            drawn[seed] = [
                tuple((torch.rand(rows, n, generator=chance) * 2 - 1) / i**0.5 for rows in (i, 1)) for i, n in sizes
            ]
    stacked = [
        tuple(torch.stack([drawn[int(s)][k][part] for s in seeds]).requires_grad_() for part in (0, 1))
        for k in range(len(sizes))
    ]
    n = 2 if plan.hidden else 1
    return [p for layer in stacked[:n] for p in layer], stacked[n:]
