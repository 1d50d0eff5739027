"""Running a Hugging Face encoder: its blocks, an exact early exit, pooling, and micro-batches that waste no padding.

tests/models/test_families.py has a table of the families that people bring, and what each can do.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Sequence
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mrl_tutorial.errors import InputError
from mrl_tutorial.topk import on_threads

#: poolings, and what sentence-transformers calls them in a folder
POOLINGS = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
    "max": "pooling_mode_max_tokens",
}
FP32 = ("deberta",)  # families whose code overflows in bf16


def find_blocks(model: nn.Module) -> nn.ModuleList:
    """The model's transformer blocks.

    Raises InputError for a model without exactly one list of `num_hidden_layers` blocks (an encoder-decoder, say).
    """
    if getattr(model.config, "conv_kernel_size", 0) and hasattr(model, "encoder"):
        what = "works on with a convolution after its first block, which no layer here has"
        raise InputError(f"{type(model).__name__} {what}: give a model without one, such as DeBERTa-v3")
    n = getattr(model.config, "num_hidden_layers", None)
    found = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == n}
    top = [m for name, m in found.items() if not any(name.startswith(f"{other}.") for other in found)]
    if len(top) != 1:
        remedy = "give an encoder such as BERT, RoBERTa, MPNet or DistilBERT"
        raise InputError(f"{type(model).__name__} has no single stack of transformer blocks: {remedy}")
    return top[0]


def shortened(model: nn.Module, n_blocks: int) -> Any:
    """A view of `model` that consists of its first `n_blocks` blocks only, and whose configuration says so.

    It shares every parameter with `model`, which is left as it is; so are the blocks' parts, but not the blocks.
    """
    blocks = list(find_blocks(model))
    parts = [part for block in blocks for part in block.children()]
    shared = (*model.parameters(), *model.buffers(), *parts, *blocks[n_blocks:])
    view: Any = copy.deepcopy(model, {id(one): one for one in shared})
    del find_blocks(view)[n_blocks:]
    view.config.num_hidden_layers = n_blocks
    if view.config.model_type == "albert":
        view.config.num_hidden_groups = n_blocks
    if getattr(view.config, "layer_types", None):  # a model whose blocks differ names the kind of each
        view.config.layer_types = list(view.config.layer_types)[:n_blocks]
    return view


def unshare(model: Any) -> None:
    """Give each layer of an ALBERT a block of its own, alike at first, so that it can be cut and trained apart."""
    groups, config = model.encoder.albert_layer_groups, model.config
    layers_of_group = config.num_hidden_layers / len(groups)
    blocks = [copy.deepcopy(groups[int(i / layers_of_group)]) for i in range(config.num_hidden_layers)]
    model.encoder.albert_layer_groups = nn.ModuleList(blocks)
    config.num_hidden_groups = len(blocks)


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
        self.layers, deepest = tuple(layers), max(1, *layers)
        self._view = shortened(model, deepest)
        self._kept: dict[int, Tensor] = {}
        # A model that normalizes once more after its last block does so for layer L only. What that would make of an
        # earlier block's output is not that layer's embedding, however far the forward pass goes.
        self._last = deepest if deepest == len(find_blocks(model)) else None
        blocks = find_blocks(self._view)
        for layer in self.layers:
            if layer == 0:
                blocks[0].register_forward_pre_hook(self._keep_input, with_kwargs=True)
            elif layer != self._last:
                blocks[layer - 1].register_forward_hook(partial(self._keep_output, layer))

    def __call__(self, input_ids: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        """The embeddings after each of `layers`, (B, T, D) each.

        input_ids: (B, T). mask: (B, T), 1 on real tokens, or None where nothing is padded.
        """
        out = self._view(input_ids=input_ids, attention_mask=mask).last_hidden_state
        if self._last:
            self._kept[self._last] = out
        return [self._kept.pop(layer) for layer in self.layers]

    def _keep_output(self, layer: int, module: nn.Module, args: tuple, output: Any) -> None:
        self._kept[layer] = output[0] if isinstance(output, tuple) else output

    def _keep_input(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        self._kept[0] = args[0] if args else kwargs["hidden_states"]


def pool(hidden: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """Token embeddings (B, T, D) and mask (B, T) to text embeddings (B, D) float32: the mean, the first or the last
    real token, or each coordinate's largest value.
    """
    hidden = hidden.float()
    weights = hidden.new_ones(*hidden.shape[:2], 1) if mask is None else mask.unsqueeze(-1).float()  # (B, T, 1)
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[torch.arange(len(hidden)), weights.sum((1, 2)).long() - 1]
    if pooling == "max":
        return hidden.masked_fill(weights == 0, -torch.inf).amax(1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def micro_batches(lengths: Sequence[int] | np.ndarray, budget: int, most: int | None = None) -> list[np.ndarray]:
    """Index arrays of texts of like length, longest first, each of at most `budget` padded tokens and `most` texts."""
    order, groups = np.argsort(-np.asarray(lengths), kind="stable"), []
    while len(order):
        size = max(1, min(budget // max(1, int(lengths[order[0]])), most or len(order)))
        groups.append(order[:size])
        order = order[size:]
    return groups


def pad(token_ids: Sequence[Sequence[int]], pad_id: int, device: str = "cpu") -> tuple[Tensor, Tensor | None]:
    """Token ids of unequal length to input_ids (B, T) and mask (B, T); the mask is None where nothing was padded."""
    rows = [torch.tensor(tokens, dtype=torch.long) for tokens in token_ids]
    ids = pad_sequence(rows, batch_first=True, padding_value=pad_id)
    mask = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return ids.to(device), None if mask.all() else mask.to(device)


def resolve_device(device: str) -> str:
    """ "auto" to "cuda" where this machine has it, else "mps", else "cpu". Raises InputError for one that it lacks."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    chosen = next(name for name in there if there[name]) if device == "auto" else device
    if not there.get(chosen):
        raise InputError(f"device {device!r} is not there: choose auto or cpu, or cuda or mps where PyTorch has it")
    return chosen


def bf16_is_fast(device: str = "cpu") -> bool:
    """Whether bf16 pays on this device: an NVIDIA GPU from Ampere on, a processor with AMX, or one with AVX512-BF16 on
    which a linear layer is measured to be faster. (Of two such processors one took twice as long in bf16, and the other
    a fourth of the time.)"""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    # PyTorch versions that cannot tell compute in float32
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)() if device == "cpu" else {}
    return bool(capabilities.get("amx_bf16") or (capabilities.get("avx512_bf16") and bf16_speed() > 1.5))


@cache
def bf16_speed(repeats: int = 20) -> float:
    """How many times as fast a linear layer of a block is in bf16 on this processor: the best of several, in turns."""
    best = dict.fromkeys((torch.bfloat16, torch.float32), math.inf)
    with on_threads(1):
        for _, kind in product(range(repeats), best):
            x, weight = torch.ones(256, 384, dtype=kind), torch.ones(1536, 384, dtype=kind)
            began = time.perf_counter()
            nn.functional.linear(x, weight)
            best[kind] = min(best[kind], time.perf_counter() - began)
    return best[torch.float32] / best[torch.bfloat16]


def arithmetic(model: Any, device: str, precision: str) -> torch.autocast:
    """The context in which `model` computes at a precision."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16" and model.config.model_type not in FP32)


def resolve_precision(precision: str, device: str = "cpu") -> str:
    """ "auto" to $MRL_PRECISION, else to "bf16" where that is faster on `device`, else "fp32". Raises InputError on any
    other word. The variable is for machines that differ: what one has cached, another finds only at the same precision.
    """
    if precision == "auto":
        precision = os.environ.get("MRL_PRECISION") or "auto"
    if precision == "auto":
        precision = "bf16" if bf16_is_fast(device) else "fp32"
    if precision not in ("fp32", "bf16"):
        raise InputError(f"precision or $MRL_PRECISION {precision!r} is unknown: choose auto, fp32 or bf16")
    return precision
