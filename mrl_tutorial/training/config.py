"""The settings of a training run, checked when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.folders import check_model_folder
from mrl_tutorial.models.heads import KINDS
from mrl_tutorial.models.layers import resolve_device, resolve_precision

#: learning rates found on the dev queries of pydocs
RATES = {"shared": 3e-3, "per-layer": 3e-4, "full": 1e-4}
#: settings that do not change what a run computes
NOT_IN_KEY = ("out", "name", "cache", "split")
WORDS = {"what": ("heads", "full"), "heads": KINDS, "start": (None, "zero", "closed-form")}
LEAST = {"steps": 1, "batch_size": 2, "max_tokens": 3, "seed": 0}


@dataclass(frozen=True)
class TrainConfig:
    """What `train` trains, and how. Raises InputError for a value that is impossible.

    what: "heads" (linear heads on frozen embeddings) or "full" (every transformer block; token embeddings stay frozen,
    unless the recipe has layer 0). heads: "shared" or "per-layer". start: how new heads begin, "zero" (nothing but the
    recipe shapes them; default for shared heads) or "closed-form" (`Heads.fit_pairs`; default for per-layer heads where
    the task has pairs). lr: the highest learning rate (default: `RATES`). temperature, symmetric: of the contrastive
    loss. max_tokens: where texts are cut in full training. tied: on a classification task, one classifier whose columns
    are sliced (MRL-E). precision: "fp32", "bf16", or "auto" (bf16 where the device is fast at it). device: where full
    training and encoding run, "auto", "cpu", "cuda" or "mps" (default: the encoder's). split: the examples to train
    on. out: also write a folder that `Encoder.load` accepts. name: of the trained encoder. cache: keep the run's state
    and result on disk. key: what stands there for the recipe's functions of your own (see `checkpoints.recipe_key`).

    >>> TrainConfig(steps=10).with_defaults("retrieval").lr
    0.003
    """

    what: str = "heads"
    heads: str = "shared"
    start: str | None = None
    steps: int = 150
    batch_size: int = 64
    lr: float | None = None
    seed: int = 0
    temperature: float = 0.05
    symmetric: bool = False
    max_tokens: int = 64
    tied: bool = False
    precision: str = "auto"
    split: str = "train"
    out: str | Path | None = None
    name: str | None = None
    cache: bool = True
    key: str | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        for name, words in WORDS.items():
            if (word := getattr(self, name)) not in words:
                raise InputError(f"{name} {word!r} is unknown: choose {' or '.join(filter(None, words))}")
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value != int(value) or value < least:
                raise InputError(f"{name.replace('_', ' ')} {value} is impossible: give a whole number from {least} up")
        for name, number in (("learning rate", self.lr), ("temperature", self.temperature)):
            if number is not None and not (math.isfinite(number) and number > 0):
                raise InputError(f"{name} {number} is impossible: give a positive number")
        if self.out is not None:
            check_model_folder(Path(self.out))

    def with_defaults(self, kind: str, device: str = "cpu") -> TrainConfig:
        """The same settings with start, lr, device and precision filled in for a task of that kind. device: the
        encoder's, where none was asked for."""
        pairs = self.heads == "per-layer" and kind in ("retrieval", "pairs")
        device = resolve_device(self.device) if self.device else device
        return replace(
            self,
            start=self.start or ("closed-form" if pairs else "zero"),
            lr=self.lr or RATES[self.heads if self.what == "heads" else self.what],
            device=device,
            precision=resolve_precision(self.precision, device),
        )
