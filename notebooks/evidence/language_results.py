"""Lesson 13: models kept once trained, early layers in closed form, tokens one by one, the table's differences."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from evidence.language_model import END, IGNORED, LanguageModel, Plan, Reader, Text, rotated, train
from mrl_tutorial.classification import cascade
from mrl_tutorial.evaluation.statistics import paired
from mrl_tutorial.files import data_file, key, remembered

WAYS = {"nested": "nested", "separate": "a model for each width", "rotated": "plain, rotated", "cut": "plain, cut"}


def trained(arm: str, plan: Plan, text: Text, rate: float) -> LanguageModel:
    """A model of seed 0; once trained it is kept in the cache."""
    name = key("language model", 1, arm, asdict(plan), rate, text.train.numpy())
    stored = remembered(
        "language", name, lambda: {k: v.numpy() for k, v in train(arm, plan, text, rate, 0).state_dict().items()}
    )
    model = LanguageModel(plan)
    model.load_state_dict({k: torch.from_numpy(v) for k, v in stored.items()})
    return model


@torch.no_grad()
def closed_form_readers(model: LanguageModel, text: Text, windows: int = 400) -> list[Reader]:
    """A reader for each layer of a model that was trained for its full size only: the linear map of the layer's states
    that comes closest to the last layer's, by least squares, then `rotated`. Fitted on training windows."""
    plan = model.plan
    states = model(text.train[: windows * plan.context].view(windows, -1)).flatten(1, 2).double()  # (L, N, D)
    counts = torch.bincount(text.train, minlength=plan.vocabulary) + 1.0
    readers = []
    for layer in states:
        ones = torch.ones(len(layer), 1, dtype=layer.dtype)
        found = torch.linalg.lstsq(torch.cat([layer, ones], 1), states[-1]).solution
        matrix, shift = found[:-1].float(), found[-1].float()
        fitted = rotated(model.table, model.bias, layer.float() @ matrix + shift, counts)
        readers.append(_mapped(matrix, shift, fitted))
    return readers


def _mapped(matrix: torch.Tensor, shift: torch.Tensor, read: Reader) -> Reader:
    return lambda states, dim: read(states @ matrix + shift, dim)


@torch.no_grad()
def each_token(model: LanguageModel, rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """For every next token of `rows`, at each width of the last layer: the largest probability, and the loss of the
    token that came. Both (widths, tokens)."""
    confidence, loss = [], []
    for part in rows.split(64):
        targets = part[:, 1:]
        states, wanted = model(part[:, :-1].clamp_min(END))[-1][targets != IGNORED], targets[targets != IGNORED]
        logs = [F.log_softmax(model.logits(states, dim), -1) for dim in model.plan.dims]
        confidence.append(torch.stack([x.max(-1).values.exp() for x in logs]))
        loss.append(torch.stack([F.nll_loss(x, wanted, reduction="none") for x in logs]))
    return torch.cat(confidence, 1).numpy(), torch.cat(loss, 1).numpy()


def adaptive(confidence: np.ndarray, loss: np.ndarray, dims: tuple[int, ...], threshold: float) -> tuple[float, float]:
    """The smallest width that is sure enough answers, else the last: expected width, and perplexity.

    confidence, loss: (widths, tokens), as `each_token` gives them.

    >>> adaptive(np.array([[0.9, 0.3], [0.1, 0.2]]), np.log([[2.0, 9.0], [5.0, 8.0]]), (4, 8), 0.5)
    (6.0, 4.0)
    """
    stop = cascade.stops(confidence, [threshold] * (len(dims) - 1))
    spent, lost = np.array(dims)[stop], loss[stop, np.arange(len(stop))]
    return float(spent.mean()), float(np.exp(lost.mean()))


@torch.no_grad()
def write(model: LanguageModel, text: Text, prompt: str, dim: int, *, length: int = 30, seed: int = 0) -> str:
    """Continue a prompt with the first `dim` coordinates, token by token, drawn at temperature 0.7."""
    rng, ids = torch.Generator().manual_seed(seed), [END, *text.tokenizer.encode(prompt).ids]
    for _ in range(length):
        state = model(torch.tensor([ids[-model.plan.context :]]))[-1, 0, -1]
        ids.append(int(torch.multinomial((model.logits(state, dim) / 0.7).softmax(-1), 1, generator=rng)))
        if ids[-1] == END:
            break
    return " ".join(text.tokenizer.decode(ids).split())


class Results:
    """The table that `python -m tools.language_models` wrote: losses of each test text, in nats a token."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or data_file("results") / "language-model.csv"
        self.rows = pd.read_csv(self.path, comment="#")
        measured = self.rows[self.rows.way != "search"]
        self.dims = tuple(sorted(int(d) for d in measured.dim.unique()))
        done = [set(rows.seed) for _, rows in measured.groupby("arm")]
        self.seeds = tuple(sorted(int(s) for s in set.intersection(*done)))  # those of every arm

    def items(self, way: str, dim: int) -> np.ndarray:
        """Losses (seeds, texts) of "nested", "separate", "cut" or "rotated" at a width."""
        alone = "plain" if dim == self.dims[-1] else f"separate-{dim}"
        arm = {"nested": "nested", "separate": alone}.get(way, "plain")
        inside = "cut" if arm == "plain" and way == "separate" else "trained" if arm != "plain" else way
        at = 0 if arm.startswith("separate") else self.dims.index(dim)
        found = []
        for seed in self.seeds:
            with np.load(self.path.with_suffix("") / f"{arm}-{seed}.npz") as stored:
                found.append(stored[inside][at].astype(np.float32))
        return np.stack(found)

    def perplexity(self, way: str) -> np.ndarray:
        """exp of the mean loss at each width, (widths,): the mean over texts and seeds."""
        return np.array([np.exp(self.items(way, dim).mean()) for dim in self.dims])

    def compared(self, other: str) -> pd.Series:
        """How many nats a token nested is better by than another way at each width, with its 95 % interval."""
        found = {dim: str(paired(-self.items("nested", dim), -self.items(other, dim))) for dim in self.dims}
        return pd.Series(found).rename_axis("width")
