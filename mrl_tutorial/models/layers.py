"""Running a Hugging Face encoder: its blocks, an exact early exit, pooling, and micro-batches that waste no padding."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mrl_tutorial.errors import InputError

POOLINGS = ("mean", "cls", "last")


def find_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The model's transformer blocks, and the dotted name under which it holds them.

    Raises InputError for a model without exactly one list of `num_hidden_layers` blocks (an encoder-decoder, say).
    """
    n = getattr(model.config, "num_hidden_layers", None)
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == n]
    top = [(name, m) for name, m in found if not any(name.startswith(other + ".") for other, _ in found)]
    if len(top) != 1:
        raise InputError(
            f"{type(model).__name__} has no single stack of transformer blocks: "
            "give an encoder such as BERT, RoBERTa, MPNet or DistilBERT"
        )
    return top[0]


def shortened(model: nn.Module, n_blocks: int) -> Any:
    """A view of `model` that consists of its first `n_blocks` blocks only, and whose configuration says so.

    It shares every parameter with `model`, which is left as it is; so are the blocks' parts, but not the blocks.
    """
    path, blocks = find_blocks(model)
    part: Any = nn.ModuleList(_twin(block) for block in list(blocks)[:n_blocks])
    while path:  # from the blocks outwards, every module that contains them
        path, _, name = path.rpartition(".")
        parent = _twin(model.get_submodule(path))
        setattr(parent, name, part)
        part = parent
    config: Any = copy.deepcopy(model.config)
    part.config = config
    config.num_hidden_layers = n_blocks
    kinds = getattr(config, "layer_types", None)  # a model whose blocks differ names the kind of each
    if kinds is not None:
        config.layer_types = list(kinds)[:n_blocks]
    return part


def _twin(module: nn.Module) -> Any:
    """Another module of the same children, parameters and buffers (the same objects, not copies)."""
    shared = [*module.children(), *module.parameters(), *module.buffers(), getattr(module, "config", None)]
    return copy.deepcopy(module, {id(part): part for part in shared})


class EarlyExit:
    """Token embeddings after some layers, from a forward pass that stops after the deepest of them.

    layers: numbers from 0 (what the embedding table gives) to L. The pass runs on a view (`shortened`), so that neither
    blocks nor hooks of `model` are touched and several threads can read one model.

    >>> from transformers import BertConfig, BertModel
    >>> sizes = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    >>> run = EarlyExit(BertModel(BertConfig(vocab_size=9, **sizes)), [0, 2])
    >>> [tuple(x.shape) for x in run(torch.tensor([[1, 2, 3]]))]  # layer 3 is not computed
    [(1, 3, 8), (1, 3, 8)]
    """

    def __init__(self, model: nn.Module, layers: Sequence[int]) -> None:
        depth = len(find_blocks(model)[1])
        self.layers, deepest = tuple(layers), max(1, *layers)
        self._model = shortened(model, deepest)
        # A model that normalizes once more after its last block does so for layer L only. What that would make of an
        # earlier block's output is not that layer's embedding, however far the forward pass goes.
        self._end = depth if deepest == depth else None
        self._kept: dict[int, Tensor] = {}
        blocks = find_blocks(self._model)[1]
        for layer in self.layers:
            if layer == 0:
                blocks[0].register_forward_pre_hook(self._keep_input, with_kwargs=True)
            elif layer != self._end:
                blocks[layer - 1].register_forward_hook(partial(self._keep_output, layer))

    def __call__(self, input_ids: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """The embeddings after each of `layers`, (B, T, D) each.

        input_ids: (B, T). mask: (B, T), 1 on real tokens, or None where nothing is padded.
        """
        out = self._model(input_ids=input_ids, attention_mask=mask).last_hidden_state
        kept, self._kept = self._kept, {}
        return [out if layer == self._end else kept[layer] for layer in self.layers]

    def _keep_output(self, layer: int, module: nn.Module, args: tuple, output: Any) -> None:
        self._kept[layer] = output[0] if isinstance(output, tuple) else output

    def _keep_input(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self._kept[0] = args[0] if args else kwargs["hidden_states"]


def pool(hidden: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """Token embeddings (B, T, D) and mask (B, T) to text embeddings (B, D) float32: mean, first or last real token."""
    hidden = hidden.float()
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[:, -1] if mask is None else hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
    if mask is None:
        return hidden.mean(1)
    weights = mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def micro_batches(lengths: Sequence[int] | np.ndarray, budget: int) -> list[np.ndarray]:
    """Index arrays of texts of like length, longest first, each at most `budget` padded tokens (or one text)."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    groups, start = [], 0
    while start < len(order):
        size = max(1, budget // max(1, int(lengths[order[start]])))
        groups.append(order[start : start + size])
        start += size
    return groups


def least_padding(lengths: Sequence[int] | np.ndarray, parts: int) -> list[np.ndarray]:
    """Group texts of like length into `parts` groups with the least padding in all: index arrays, longest texts first.

    For training, where the whole batch stays in memory anyway and few large products are faster than many small ones.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    longest, n = np.asarray(lengths)[order], len(order)
    best = np.append(0.0, np.full(n, np.inf))  # best[j]: padded tokens of the first j texts in k groups
    cuts = []
    for _ in range(min(parts, n)):
        # cost[i, j]: the first i texts as before, then one group from i to j
        cost = best[:n, None] + longest[:, None] * (np.arange(n + 1)[None] - np.arange(n)[:, None])
        cost[np.arange(n + 1)[None] <= np.arange(n)[:, None]] = np.inf
        cuts.append(cost.argmin(0))
        best = cost.min(0)
    edges, end = [], n
    for cut in reversed(cuts):
        end = int(cut[end])
        edges.append(end)
    return np.split(order, edges[::-1][1:])  # the first group starts at 0


def pad(token_ids: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor | None]:
    """Token ids of unequal length to input_ids (B, T) and mask (B, T); the mask is None where nothing was padded."""
    rows = [torch.tensor(tokens, dtype=torch.long) for tokens in token_ids]
    ids = pad_sequence(rows, batch_first=True, padding_value=pad_id)
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    return ids, None if mask.all() else mask


def bf16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 natively (AVX512-BF16 or AMX), so that bf16 pays."""
    # PyTorch versions that cannot tell compute in float32
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def resolve_precision(precision: str) -> str:
    """ "auto" to $MRL_PRECISION, else to "bf16" where that is faster, else "fp32". Raises InputError on any other word.

    The variable is for machines that are not all alike: what one has cached, another finds only at the same precision.
    """
    given = os.environ.get("MRL_PRECISION") or "auto"
    for name, value in (("precision", precision), ("$MRL_PRECISION", given)):
        if value not in ("auto", "fp32", "bf16"):
            raise InputError(f"{name} {value!r} is unknown: choose auto, fp32 or bf16")
    precision = given if precision == "auto" else precision
    if precision == "auto":
        return "bf16" if bf16_is_fast() else "fp32"
    return precision
