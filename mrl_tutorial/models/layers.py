"""Running a Hugging Face encoder: its blocks, an exact early exit, pooling, and micro-batches that waste no padding.

Families that tests/models/test_families.py goes through, each as a folder of sentence-transformers. All of them load,
give sentence-transformers' vectors, exit early exactly, train (heads and full), and come back from an export:

    family                                                           bf16  an early layer as a folder of its own
    BERT, ALBERT, RoBERTa, XLM-R, MPNet, DistilBERT, DeBERTa-v2/v3,
    Nomic                                                            yes   yes
    DeBERTa (v1)                                                     no    yes
    ModernBERT, T5's encoder, Qwen3, Gemma3                          yes   no: they normalize after the last block

ALBERT's layers share one block; here each has a copy of it. A folder whose network needs Python code of its own, and a
convolution between blocks, are refused with an InputError.
"""

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

POOLINGS = ("mean", "cls", "last", "max")
FP32 = ("deberta",)
DEVICES = ("auto", "cpu", "cuda", "mps")


def find_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The model's transformer blocks, and the dotted name under which it holds them.

    Raises InputError for a model without exactly one list of `num_hidden_layers` blocks (an encoder-decoder, say).
    """
    if getattr(model.config, "conv_kernel_size", 0) and hasattr(model, "encoder"):
        what = "works on with a convolution after its first block, which no layer here has"
        raise InputError(f"{type(model).__name__} {what}: give a model without one, such as DeBERTa-v3")
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
    config: Any = copy.deepcopy(model.config)
    config.num_hidden_layers = n_blocks
    if config.model_type == "albert":
        config.num_hidden_groups = n_blocks
    kinds = getattr(config, "layer_types", None)  # a model whose blocks differ names the kind of each
    if kinds is not None:
        config.layer_types = list(kinds)[:n_blocks]
    part: Any = nn.ModuleList(_twin(block) for block in list(blocks)[:n_blocks])
    while path:  # from the blocks outwards, every module that contains them
        path, _, name = path.rpartition(".")
        parent = _twin(model.get_submodule(path))
        setattr(parent, name, part)
        if getattr(parent, "config", None) is model.config:
            parent.config = config
        part = parent
    return part


def unshare(model: Any) -> None:
    """Give each layer of an ALBERT a block of its own, alike at first, so that it can be cut and trained apart."""
    groups, config = model.encoder.albert_layer_groups, model.config
    layers_of_group = config.num_hidden_layers / len(groups)
    blocks = [copy.deepcopy(groups[int(i / layers_of_group)]) for i in range(config.num_hidden_layers)]
    model.encoder.albert_layer_groups = nn.ModuleList(blocks)
    config.num_hidden_groups = len(blocks)


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
    """Token embeddings (B, T, D) and mask (B, T) to text embeddings (B, D) float32: the mean, the first or the last
    real token, or each coordinate's largest value.
    """
    hidden = hidden.float()
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        rows = torch.arange(len(hidden), device=hidden.device)
        return hidden[:, -1] if mask is None else hidden[rows, mask.sum(1) - 1]
    if pooling == "max":
        seen = hidden if mask is None else hidden.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf)
        return seen.amax(1)
    if mask is None:
        return hidden.mean(1)
    weights = mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def micro_batches(lengths: Sequence[int] | np.ndarray, budget: int, most: int | None = None) -> list[np.ndarray]:
    """Index arrays of texts of like length, longest first, each at most `budget` padded tokens (or one text), and at
    most `most` texts.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    groups, start = [], 0
    while start < len(order):
        size = max(1, budget // max(1, int(lengths[order[start]])))
        size = min(size, most or size)
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


def resolve_device(device: str) -> str:
    """ "auto" to "cuda" where this machine has it, else "mps", else "cpu". Raises InputError for a device that is not
    there, and for any other word.
    """
    if device not in DEVICES:
        raise InputError(f"device {device!r} is unknown: choose one of {', '.join(DEVICES)}")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there[device]:
        raise InputError(f"device {device!r} is not there: choose auto or cpu, or install a PyTorch that supports it")
    return device


def bf16_is_fast(device: str = "cpu") -> bool:
    """Whether this device multiplies bfloat16 natively, so that bf16 pays: a processor with AVX512-BF16 or AMX, or an
    NVIDIA GPU from Ampere on.
    """
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability() >= (8, 0)
    if device != "cpu":
        return False
    # PyTorch versions that cannot tell compute in float32
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def arithmetic(model: Any, device: str, precision: str) -> torch.autocast:
    """The context in which `model` computes at a precision; fp32 for families whose code overflows in bf16."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bf16" and model.config.model_type not in FP32)


def resolve_precision(precision: str, device: str = "cpu") -> str:
    """ "auto" to $MRL_PRECISION, else to "bf16" where that is faster on `device`, which computes, else "fp32". Raises
    InputError on any other word.

    The variable is for machines that are not all alike: what one has cached, another finds only at the same precision.
    """
    given = os.environ.get("MRL_PRECISION") or "auto"
    for name, value in (("precision", precision), ("$MRL_PRECISION", given)):
        if value not in ("auto", "fp32", "bf16"):
            raise InputError(f"{name} {value!r} is unknown: choose auto, fp32 or bf16")
    precision = given if precision == "auto" else precision
    if precision == "auto":
        return "bf16" if bf16_is_fast(device) else "fp32"
    return precision
