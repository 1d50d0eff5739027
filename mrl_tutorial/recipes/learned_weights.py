"""Layer weights that are trained along with the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mrl_tutorial.errors import InputError


@dataclass(frozen=True)
class Learned:
    """A choice of layer weights, by name "learned": w_l for l < L is trained, the last layer counts 1.

    w = (number of those layers) * softmax(theta), so that they average 1 and cannot all shrink to nothing; theta starts
    at 0, which is `uniform`. rate: theta's own learning rate. Raises InputError where that is not positive.
    """

    rate: float = 0.01

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"learning rate {self.rate} of the layer weights is impossible: give a positive number")

    def __call__(self, n_layers: int) -> np.ndarray:
        """Where training starts: 1 for every layer. Returns (n_layers,)."""
        return np.ones(n_layers)


class LayerWeights(nn.Module):
    """Trainable w_l for the rows of weight grids. used: (rows,) which rows have any weight; of these the last is the
    last layer and keeps 1. A row without weight takes no share.

    Raises InputError where no row lies below the last.
    """

    def __init__(self, used: Sequence[bool]):
        super().__init__()
        below = np.flatnonzero(used)
        below = below[below < len(used) - 1]
        if not len(below):
            raise InputError("learned layer weights need a weighted layer below the last: this recipe has none")
        self.rows, self.below = len(used), torch.from_numpy(below)
        self.theta = nn.Parameter(torch.zeros(len(below)))

    def forward(self) -> Tensor:
        """The weight of each row, (rows,)."""
        shares = self.theta.softmax(0) * len(self.below)
        return torch.ones(self.rows).index_put((self.below,), shares)

    def scale(self, grids: Mapping[object, np.ndarray]) -> dict[object, Tensor]:
        """Grids (rows, M) times the rows' weights; zero stays zero."""
        weights = self()[:, None]
        return {key: weights * torch.as_tensor(np.asarray(grid), dtype=weights.dtype) for key, grid in grids.items()}
