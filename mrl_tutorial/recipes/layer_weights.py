"""How much each layer counts: w_l for l < L, given or learned; the last layer always counts 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrl_tutorial.errors import InputError


@dataclass(frozen=True)
class Learned:
    """The layer weights "learned": they are trained as `LayerWeights`, at a learning rate of their own, from "uniform".

    Raises InputError where the rate is not positive."""

    rate: float = 0.01

    def __post_init__(self) -> None:
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise InputError(f"learning rate {self.rate} of the layer weights is impossible: give a positive number")

    def __call__(self, n_layers: int) -> np.ndarray:
        return np.ones(n_layers)


class LayerWeights(nn.Module):
    """Trainable w_l for the rows of weight grids. used: (rows,) which rows have any weight; the last one keeps 1.

    w = (number of used rows below the last) * softmax(theta): they average 1 and cannot all shrink to nothing. Raises
    InputError where there are none."""

    def __init__(self, used: Sequence[bool] | np.ndarray) -> None:
        super().__init__()
        below = np.flatnonzero(used[:-1])
        if not len(below):
            raise InputError("learned layer weights need a weighted layer below the last: this recipe has none")
        self.rows = len(used)
        self.below: Tensor
        self.register_buffer("below", torch.from_numpy(below), persistent=False)
        self.theta = nn.Parameter(torch.zeros(len(below)))

    def forward(self) -> Tensor:
        """The weight of each row, (rows,)."""
        shares = self.theta.softmax(0) * len(self.below)
        return shares.new_ones(self.rows).index_put((self.below,), shares)

    def scale(self, grids: Mapping[Any, np.ndarray]) -> dict[Any, Tensor]:
        """Grids (rows, M) times the rows' weights; zero stays zero."""
        weights = self()[:, None]
        return {
            key: weights * torch.as_tensor(np.asarray(grid), dtype=weights.dtype, device=weights.device)
            for key, grid in grids.items()
        }


#: what a recipe takes as layer weights: a name, n_layers numbers, or a function of n_layers
Choice = str | Sequence[float] | Callable[[int], Sequence[float] | np.ndarray]

#: name -> function of the number of layers L that gives w_l for l = 1..L, (L,) float64
LAYER_WEIGHTS: dict[str, Callable[[int], np.ndarray]] = {
    "uniform": np.ones,
    "inverse": lambda n: np.append(1 / np.arange(1, n), 1),  # 1 / l
    "log": lambda n: np.append(1 / (1 + np.log(np.arange(1, n))), 1),  # ESE, arXiv 2402.14776 v2, equation 2
    "linear": lambda n: np.arange(1, n + 1) / n,
    "exponential": lambda n: 2.0 ** (np.arange(1, n + 1) - n),
    "learned": Learned(),
}


def layer_weights(choice: Choice, n_layers: int) -> np.ndarray:
    """Weights (n_layers,) float64 from a name in LAYER_WEIGHTS; an array of n_layers numbers, or what a function of
    n_layers returns, is taken as it is. Raises InputError for an unknown name, a wrong length, a weight below 0.

    >>> layer_weights("exponential", 3), layer_weights([0, 2, 1], 3)
    (array([0.25, 0.5 , 1.  ]), array([0., 2., 1.]))
    """
    if isinstance(choice, str) and choice not in LAYER_WEIGHTS:
        raise InputError(f"unknown layer weights {choice!r}{suggestion(choice, LAYER_WEIGHTS)}")
    how = LAYER_WEIGHTS[choice] if isinstance(choice, str) else choice
    weights = as_numbers(how(n_layers) if callable(how) else how, "layer weights")
    if weights.shape != (n_layers,):
        raise InputError(f"layer weights have shape {weights.shape}: this model needs {n_layers} numbers, one a layer")
    check_weights(weights, "layer weights")
    return weights


def switch_of(layer_weights: Choice, default: str) -> list[str]:
    """The switch that layer weights add to a recipe's name: none where they are its own, or have no name."""
    return [layer_weights] if isinstance(layer_weights, str) and layer_weights != default else []


def as_numbers(given: Any, what: str) -> np.ndarray:
    """An array, nested lists or a tensor as float64. Raises InputError for what is none."""
    try:
        return np.asarray(given.detach().cpu() if torch.is_tensor(given) else given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{what} are not numbers in rows of one length") from None


def check_weights(weights: np.ndarray, what: str) -> None:
    """Raises InputError naming the first weight that is negative or not finite."""
    bad = np.argwhere(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        raise InputError(f"{what}: value {weights[at]} at index {at if len(at) > 1 else at[0]} must be finite and >= 0")


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: a close match, else all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f": give one of {', '.join(names)}"
