"""Many small networks trained at once: G copies of one architecture, each with its own data, seed and loss weights.

A network is vector -> (hidden layer, ReLU) -> features of `width` coordinates -> a linear classifier for every size m,
which sees the first m features only. Which sizes count is a row of weights c_m: all ones is MRL, a single one is a
network of a fixed size. So all of them are one computation, a batched matrix product in which no network sees another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.prefixes import check_dims

Report = Callable[[float, str], bool]  # report(share done, label) -> False to cancel
Layer = tuple[Tensor, Tensor]  # weight (G, inputs, outputs), bias (G, 1, outputs)


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of the networks and how they are trained: Adam in batches, lr falling to 0 along a half cosine.

    dims: the sizes that have a classifier. hidden=0: no hidden layer. tied: one classifier whose columns are sliced
    (MRL-E). slimmable: size m uses only the first hidden * m / width hidden units. Raises InputError for bad numbers.
    """

    dims: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    width: int = 64
    hidden: int = 64
    tied: bool = False
    slimmable: bool = False
    epochs: int = 30
    batch: int = 128
    lr: float = 0.02

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", check_dims(self.dims, self.width))
        if min(self.epochs, self.batch) < 1 or self.hidden < 0 or not self.lr > 0:
            raise InputError(f"{self}: epochs and batch are 1 or more, hidden 0 or more, lr above 0")
        if self.slimmable and (self.tied or not self.hidden):
            raise InputError("a slimmable network needs a hidden layer, and a classifier of its own for every width")
        if self.slimmable and not round(self.dims[0] / self.width * self.hidden):
            raise InputError(f"{self.hidden} hidden units leave none for size {self.dims[0]}: give more")

    def classifier_parameters(self, classes: int) -> int:
        """Numbers in the classifiers, biases included."""
        return sum(classes * (m + 1) for m in ((self.width,) if self.tied else self.dims))


@dataclass(frozen=True)
class Networks:
    """G trained networks. layers: one or two of the encoder, then a classifier for each size, or one where tied."""

    config: NetworkConfig
    layers: tuple[Layer, ...]

    @property
    def encoder(self) -> tuple[Layer, ...]:
        """The layers from vector to features."""
        return self.layers[: 2 if self.config.hidden else 1]

    @property
    def heads(self) -> tuple[Layer, ...]:
        """The classifiers."""
        return self.layers[len(self.encoder) :]

    def features(self, x: np.ndarray | Tensor, dim: int | None = None) -> Tensor:
        """x (N, F) or (G, N, F) -> (G, N, dim or width), not normalized.

        Only a slimmable network computes something else for another `dim`: by its narrowest part with so many features.
        """
        part = self.config.width
        if self.config.slimmable and dim is not None:
            part = next((m for m in self.config.dims if m >= dim), part)
        x = torch.as_tensor(x, dtype=torch.float32)
        x = x.expand(len(self.layers[0][0]), *x.shape[-2:])
        for i, (weight, bias) in enumerate(self.encoder):
            units = round(part / self.config.width * weight.shape[2])
            x = torch.baddbmm(bias[..., :units], x.relu() if i else x, weight[:, : x.shape[2], :units])
        return x[..., :dim]

    def logits(self, x: np.ndarray | Tensor) -> Tensor:
        """What the classifiers say at every size, before the softmax: (G, M, N, C)."""
        full, said = self.features(x), []
        for j, m in enumerate(self.config.dims):
            weight, bias = self.heads[0 if self.config.tied else j]
            features = self.features(x, m) if self.config.slimmable else full[..., :m]
            said.append(torch.baddbmm(bias, features, weight[:, :m]))
        return torch.stack(said, 1)

    def probabilities(self, x: np.ndarray | Tensor) -> np.ndarray:
        """Class probabilities at every size: (G, M, N, C)."""
        return self.logits(x).softmax(-1).numpy()

    def predict(self, x: np.ndarray | Tensor) -> np.ndarray:
        """The classifiers' answers at every size: (G, M, N) class numbers."""
        return self.logits(x).argmax(-1).numpy()

    def pick(self, groups: Sequence[int]) -> Networks:
        """Only these networks."""
        rows = list(groups)
        return Networks(self.config, tuple((weight[rows], bias[rows]) for weight, bias in self.layers))

    def nested_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of every network at every size, unweighted: x (G, B, F), y (G, B) -> (G, M)."""
        said = self.logits(x)
        wanted = y[:, None].expand(said.shape[:-1])  # (G, M, B)
        each = F.cross_entropy(said.flatten(0, 2), wanted.flatten(), reduction="none")
        return each.view(wanted.shape).mean(-1)


def train_networks(
    x: np.ndarray,
    labels: np.ndarray,
    rows: Sequence[np.ndarray],
    weights: np.ndarray | Sequence[Sequence[float]],
    seeds: Sequence[int],
    config: NetworkConfig = NetworkConfig(),
    *,
    report: Report | None = None,
) -> Networks | None:
    """Train G networks on sum_m c_m CE_m, the nested cross-entropy (arXiv 2205.13147, equation 1).

    x (N, F) and labels (N,) are shared; rows: for each network the rows it is trained on; weights (G, M): its c_m;
    seeds (G,): first weights and order of its data, so that networks of one seed and the same rows differ in their loss
    alone. report(share, label) -> False cancels, which returns None. Adam hardly reacts to the loss's scale: only the
    ratios of the weights matter. Raises InputError where shapes disagree, or a network has no weight above 0.

    >>> x, labels = np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1])
    >>> config = NetworkConfig(dims=(1, 2), width=2, hidden=0, epochs=1, batch=4)
    >>> train_networks(x, labels, [np.arange(4)] * 3, np.ones((3, 2)), range(3), config).predict(x).shape
    (3, 2, 4)
    """
    c = torch.as_tensor(np.atleast_2d(np.asarray(weights, dtype=np.float32)))
    if c.shape != (len(rows), len(config.dims)) or len(seeds) != len(rows):
        counts = f"{len(seeds)} seeds for {len(rows)} networks of {len(config.dims)} sizes"
        raise InputError(f"weights {tuple(c.shape)} and {counts}")
    if not all(len(r) for r in rows):
        raise InputError("a network has no training rows: give each some")
    if (c < 0).any() or not (c > 0).any(1).all() or not c.isfinite().all():
        raise InputError("all weights of a network are 0, or one is negative: give one above 0, and none below")
    inputs, y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(labels).long()
    count = min(len(r) for r in rows)
    batch = min(config.batch, count)
    orders = [np.random.default_rng([int(s), 1]) for s in seeds]
    nets = Networks(config, _start(config, inputs.shape[1], int(y.max()) + 1, seeds))
    optimizer = torch.optim.Adam([p for layer in nets.layers for p in layer], lr=config.lr, fused=True)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * (count // batch))
    for epoch in range(config.epochs):
        taken = torch.from_numpy(np.stack([g.permutation(r)[:count] for g, r in zip(orders, rows, strict=True)]))
        for here in taken[:, : count // batch * batch].split(batch, dim=1):  # (G, B)
            optimizer.zero_grad(set_to_none=True)
            (nets.nested_loss(inputs[here], y[here]) * c).sum().backward()
            optimizer.step()
            cosine.step()
        if report is not None and not report((epoch + 1) / config.epochs, "training"):
            return None
    return Networks(config, tuple((weight.detach(), bias.detach()) for weight, bias in nets.layers))


def _start(config: NetworkConfig, inputs: int, classes: int, seeds: Sequence[int]) -> tuple[Layer, ...]:
    """First weights of all layers, uniform within 1/sqrt(inputs) as torch.nn.Linear's; the same for one seed."""
    widths = [inputs, *([config.hidden] if config.hidden else []), config.width]
    sizes = [*pairwise(widths), *((m, classes) for m in ((config.width,) if config.tied else config.dims))]
    chance = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def uniform(rows: int, columns: int, fan_in: int) -> Tensor:
        drawn = torch.stack([torch.rand(rows, columns, generator=one) for one in chance])
        return ((drawn * 2 - 1) / fan_in**0.5).requires_grad_()

    return tuple((uniform(rows, columns, rows), uniform(1, columns, rows)) for rows, columns in sizes)
