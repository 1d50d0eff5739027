"""How much each layer counts: w_l for l < L; the last layer always counts 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.recipes.learned_weights import Learned


def _layers(n: int) -> np.ndarray:
    return np.arange(1, n + 1, dtype=np.float64)


def uniform(n_layers: int) -> np.ndarray:
    """1 for every layer. Returns (n_layers,)."""
    return np.ones(n_layers)


def inverse(n_layers: int) -> np.ndarray:
    """1 / l, the last layer 1. Returns (n_layers,)."""
    return _last_is_one(1 / _layers(n_layers))


def log(n_layers: int) -> np.ndarray:
    """1 / (1 + ln l), the last layer 1. Returns (n_layers,). ESE, arXiv 2402.14776 v2, equation 2."""
    return _last_is_one(1 / (1 + np.log(_layers(n_layers))))


def linear(n_layers: int) -> np.ndarray:
    """l / L. Returns (n_layers,)."""
    return _layers(n_layers) / n_layers


def exponential(n_layers: int) -> np.ndarray:
    """2 ** (l - L). Returns (n_layers,)."""
    return 2.0 ** (_layers(n_layers) - n_layers)


def _last_is_one(weights: np.ndarray) -> np.ndarray:
    weights[-1] = 1.0
    return weights


LAYER_WEIGHTS: dict[str, Callable[[int], np.ndarray]] = {
    "uniform": uniform, "inverse": inverse, "log": log, "linear": linear, "exponential": exponential,
    "learned": Learned(),
}  # fmt: skip


def layer_weights(spec: str | Sequence[float] | Callable[[int], Sequence[float]], n_layers: int) -> np.ndarray:
    """Weights (n_layers,) float64 from a name in LAYER_WEIGHTS, an array of n_layers numbers, or a function of n_layers
    that returns one. An array or a function is taken as it is, its last value included.

    Raises InputError for an unknown name, a wrong length, a negative or a non-finite weight.
    """
    if isinstance(spec, str):
        if spec not in LAYER_WEIGHTS:
            raise InputError(f"unknown layer weights {spec!r}{suggestion(spec, LAYER_WEIGHTS)}")
        spec = LAYER_WEIGHTS[spec]
    given = spec(n_layers) if callable(spec) else spec
    try:
        weights = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"layer weights {given!r} are not numbers: give {n_layers} of them") from None
    if weights.shape != (n_layers,):
        raise InputError(f"layer weights have shape {weights.shape}: this model needs {n_layers} numbers, one a layer")
    check_weights(weights, "layer weights")
    return weights


def check_weights(weights: np.ndarray, what: str) -> None:
    """Raises InputError naming the first weight that is negative or not finite."""
    bad = np.argwhere(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        raise InputError(f"{what}: value {weights[at]} at index {at if len(at) > 1 else at[0]} must be finite and >= 0")


def suggestion(name: str, known) -> str:
    """The end of a message about an unknown name: a close match, else all of them."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f": give one of {', '.join(sorted(known))}"
