"""Lesson 13: a small language model whose hidden states, with the table that reads them, can be cut to a prefix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor, nn

from mrl_tutorial.tasks.pydocs import read_corpus

END, IGNORED = 0, -100  # the token between two texts; a target that does not count
Cells = list[tuple[int, int]]  # (layer, width), both counted from 1


@dataclass(frozen=True)
class Plan:
    """The size of a model and of its training: `steps` batches of `batch` windows of `context` tokens."""

    vocabulary: int = 512
    width: int = 32
    n_layers: int = 3
    heads: int = 4
    context: int = 64
    dims: tuple[int, ...] = (4, 8, 16, 32)
    steps: int = 300
    batch: int = 16


class Text(NamedTuple):
    """train: (N,) token ids in one stream; dev and test: (texts, context + 1), the beginning of each text."""

    tokenizer: ByteLevelBPETokenizer
    train: Tensor
    dev: Tensor
    test: Tensor


def load_text(plan: Plan) -> Text:
    """pydocs as tokens. The vocabulary is learned from the training texts; a row of dev or test is one text, from the
    token END to its first `context` tokens, and IGNORED after its end."""
    texts: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for row in read_corpus()[0]:
        texts[row["split"]].append(f"{row['query']} {row['document']}")
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        texts["train"], plan.vocabulary, min_frequency=2, special_tokens=["<end>"], show_progress=False
    )
    ids = {split: [[END, *found.ids] for found in tokenizer.encode_batch(rows)] for split, rows in texts.items()}
    stream = torch.tensor([token for row in ids["train"] for token in row])
    return Text(tokenizer, stream, *(_rows(ids[split], plan.context + 1) for split in ("dev", "test")))


def _rows(texts: Sequence[list[int]], length: int) -> Tensor:
    out = torch.full((len(texts), length), IGNORED)
    for row, ids in zip(out, texts, strict=True):
        whole = torch.tensor([*ids, END])[:length]
        row[: len(whole)] = whole
    return out


class Block(nn.Module):
    """One transformer layer: attention to what came before, then a feed-forward network. (B, T, D) -> (B, T, D)."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        d = plan.width
        self.heads, self.before, self.between = plan.heads, nn.LayerNorm(d), nn.LayerNorm(d)
        self.attend, self.mix = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.feed = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.attend(self.before(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, T, D / heads)
        x = x + self.mix(mixed.transpose(1, 2).flatten(2))
        return x + self.feed(self.between(x))


class LanguageModel(nn.Module):
    """A decoder whose table of embeddings (V, D) also reads the hidden states: tied, with one bias for all widths.

    >>> model = LanguageModel(Plan(vocabulary=10, width=8, heads=2, dims=(2, 8)))
    >>> states = model(torch.zeros(3, 5, dtype=torch.long))
    >>> states.shape, model.logits(states[-1], 2).shape
    (torch.Size([3, 3, 5, 8]), torch.Size([3, 5, 10]))
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.scale = plan.width**0.5
        self.table = nn.Parameter(torch.randn(plan.vocabulary, plan.width) * 0.5 / self.scale)
        self.places = nn.Parameter(torch.randn(plan.context, plan.width) * 0.1)
        self.bias = nn.Parameter(torch.zeros(plan.vocabulary))
        self.blocks = nn.ModuleList(Block(plan) for _ in range(plan.n_layers))
        self.norm = nn.LayerNorm(plan.width)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (B, T) to the states after each layer, (L, B, T, D), all through the one last LayerNorm."""
        x = self.table[ids] * self.scale + self.places[: ids.shape[1]]
        states = []
        for block in self.blocks:
            x = block(x)
            states.append(self.norm(x))
        return torch.stack(states)

    def logits(self, states: Tensor, dim: int) -> Tensor:
        """Scores of every token from the first `dim` coordinates alone: (…, D) -> (…, V)."""
        return states[..., :dim] @ self.table[:, :dim].T + self.bias


def cells_of(arm: str, plan: Plan) -> Callable[[torch.Generator], Cells]:
    """Which cells an arm trains at a step: "plain" the full model, "separate:8" one width, "nested" every width of the
    last layer, "exits" the same and, each time anew, one earlier layer at full width and at one other width."""
    last, widths = plan.n_layers, {"plain": plan.dims[-1:], "nested": plan.dims, "exits": plan.dims}
    dims = (int(arm.split(":")[1]),) if arm.startswith("separate:") else widths[arm]

    def draw(rng: torch.Generator) -> Cells:
        cells = [(last, dim) for dim in dims]
        if arm == "exits":
            layer = 1 + int(torch.randint(last - 1, (), generator=rng))
            other = int(torch.randint(len(dims) - 1, (), generator=rng))
            cells += [(layer, dims[-1]), (layer, dims[other])]
        return cells

    return draw


def loss_of(model: LanguageModel, windows: Tensor, cells: Cells) -> Tensor:
    """The sum over `cells` of the mean cross-entropy of the next token; windows: (B, T + 1)."""
    states, targets = model(windows[:, :-1]).flatten(1, 2), windows[:, 1:].flatten()
    return torch.stack([F.cross_entropy(model.logits(states[a - 1], d), targets) for a, d in cells]).sum()


def train(
    arm: str, plan: Plan, text: Text, rate: float, seed: int, told: Callable[[int, LanguageModel], None] | None = None
) -> LanguageModel:
    """Train an arm with AdamW; the rate rises over the first tenth of the steps and then falls to 0 along a cosine.
    told: called with the step and the model ten times on the way."""
    torch.manual_seed(seed)
    rng, model, draw = torch.Generator().manual_seed(seed), LanguageModel(plan), cells_of(arm, plan)
    frequent = torch.bincount(text.train, minlength=plan.vocabulary) + 1.0
    model.bias.data = (frequent / frequent.sum()).log()  # the start: a guess without any context
    optimizer = torch.optim.AdamW(model.parameters(), rate, (0.9, 0.98), weight_decay=0.05, fused=True)
    warm = max(1, plan.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * max(0, s - warm) / (plan.steps - warm)))
    )
    offsets = torch.arange(plan.context + 1)
    for step in range(1, plan.steps + 1):
        starts = torch.randint(len(text.train) - plan.context, (plan.batch, 1), generator=rng)
        optimizer.zero_grad(set_to_none=True)
        loss_of(model, text.train[starts + offsets], draw(rng)).backward()
        optimizer.step()
        schedule.step()
        if told and step % max(1, plan.steps // 10) == 0:
            told(step, model)
    return model


Reader = Callable[[Tensor, int], Tensor]  # states (…, D), width -> logits (…, V)


@torch.no_grad()
def losses(model: LanguageModel, rows: Tensor, cells: Cells, read: Reader | None = None) -> Tensor:
    """The mean loss of each text in each cell, in nats a token: (cells, texts). rows: as `load_text` gives them.
    read: reads the logits off the states in another way, as `rotated` does."""
    read, found = read or model.logits, []
    for part in rows.split(64):
        states, targets = model(part[:, :-1].clamp_min(END)), part[:, 1:]
        each = [F.cross_entropy(read(states[a - 1], d).mT, targets, reduction="none") for a, d in cells]
        found.append(torch.stack(each).sum(-1) / (targets != IGNORED).sum(-1))
    return torch.cat(found, 1)


def rotated(table: Tensor, bias: Tensor, states: Tensor, weights: Tensor) -> Reader:
    """The best that a plain model gives without training: turn states and table so that the first m coordinates make
    the best approximation of rank m to the logits, by least squares. At full width nothing changes.

    table: (V, D), bias: (V,), states: (N, D) to fit on, weights: (V,) how much each token counts. The mean of the
    states goes into the bias, which every width adds in full.
    """
    e, h, w = table.double(), states.double(), weights.double() / weights.sum()
    center, middle = h.mean(0), w @ e
    a, b = _root((h - center).T @ (h - center) / len(h)), _root(((e - middle) * w[:, None]).T @ (e - middle))
    u, s, vt = torch.linalg.svd(a @ b)
    turn = (torch.linalg.inv(a) @ u * s.sqrt()).to(table.dtype)
    turned = ((e - middle) @ torch.linalg.inv(b) @ vt.T * s.sqrt()).to(table.dtype)
    shifted = bias + (e @ center).to(table.dtype)
    return lambda x, dim: (x - center.to(x.dtype)) @ turn[:, :dim] @ turned[:, :dim].T + shifted


def _root(square: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(square)
    return vectors * values.clamp_min(1e-12).sqrt() @ vectors.T
