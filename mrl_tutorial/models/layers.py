"""Running a Hugging Face encoder: its blocks, stopping early, pooling, and micro-batches that waste no padding."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mrl_tutorial.errors import InputError

POOLINGS = ("mean", "cls", "last")


def find_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The model's transformer blocks and the dotted name under which it holds them.

    Raises InputError for a model without exactly one list of `num_hidden_layers` blocks (an encoder-decoder, say).
    """
    n = getattr(model.config, "num_hidden_layers", None) or getattr(model.config, "n_layers", None)
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == n]
    top = [(name, m) for name, m in found if not any(name.startswith(other + ".") for other, _ in found)]
    if len(top) != 1:
        raise InputError(
            f"{type(model).__name__} has no single stack of transformer blocks: give an encoder such as BERT, RoBERTa, MPNet or DistilBERT"
        )
    return top[0]


def shortened(model: nn.Module, n_blocks: int) -> nn.Module:
    """A view of `model` that runs its first `n_blocks` blocks only. Shares every parameter; `model` is unchanged."""
    path, blocks = find_blocks(model)
    if n_blocks == len(blocks):
        return model
    view = parent = _shallow(model)
    *outer, last = path.split(".")
    for name in outer:
        child = _shallow(getattr(parent, name))
        parent._modules[name] = child
        parent = child
    parent._modules[last] = nn.ModuleList(list(blocks)[:n_blocks])
    return view


def _shallow(module: nn.Module) -> nn.Module:
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def layer_outputs(model: nn.Module, input_ids: Tensor, mask: Tensor | None, layers: Sequence[int]) -> list[Tensor]:
    """Token embeddings after each of `layers` (0 = the embedding table), each (B, T, D), from one forward pass that
    stops after the deepest.

    input_ids: (B, T). mask: (B, T), 1 on real tokens, or None where nothing is padded.
    """
    _, blocks = find_blocks(model)
    deepest, last = max(1, *layers), len(blocks)
    kept: dict[int, Tensor] = {}

    def keep(number: int):
        def hook(module, args, output):
            kept[number] = output[0] if isinstance(output, tuple) else output

        return hook

    def keep_input(module, args, kwargs):
        kept[0] = args[0] if args else kwargs["hidden_states"]

    # hooks live for this call only: the model is left as it was, also when it fails
    hooks = [blocks[layer - 1].register_forward_hook(keep(layer)) for layer in layers if 0 < layer < last]
    if 0 in layers:
        hooks.append(blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True))
    try:
        out = shortened(model, deepest)(input_ids=input_ids, attention_mask=mask).last_hidden_state
        if deepest == last:
            # a model that normalises after its last block does so here, not in the block's output; what it would make
            # of an earlier block is not that layer's embedding, however far the forward pass goes
            kept[last] = out
    finally:
        for hook in hooks:
            hook.remove()
    return [kept[layer] for layer in layers]


def pool(hidden: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """Token embeddings (B, T, D) and mask (B, T) to text embeddings (B, D) float32: mean, first or last real token."""
    hidden = hidden.float()
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        if mask is None:
            return hidden[:, -1]
        return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]
    if mask is None:
        return hidden.mean(1)
    weights = mask.unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def micro_batches(
    lengths: Sequence[int], budget: int, *, most: int = 1024, parts: int | None = None
) -> list[np.ndarray]:
    """Group texts of like length: index arrays, longest texts first, each at most `budget` padded tokens.

    With `parts`, instead cut the sorted texts into that many groups with the least padding in all (for training, where
    the whole batch stays in memory anyway and few, large products are faster).
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    if parts is not None:
        edges = _least_padding(np.asarray(lengths)[order], min(parts, len(order)))
        return np.split(order, edges)
    groups, start = [], 0
    while start < len(order):
        size = max(1, min(most, budget // max(1, int(lengths[order[start]]))))
        groups.append(order[start : start + size])
        start += size
    return groups


def _least_padding(lengths: np.ndarray, parts: int) -> list[int]:
    """Where to cut decreasing `lengths` (N,) into `parts` runs so that the sum of (run's longest x run's size) is least."""
    n = len(lengths)
    best = np.append(0.0, np.full(n, np.inf))  # best[j]: padded tokens of the first j texts in k runs
    cuts = []
    for _ in range(parts):
        # cost[i, j]: the first i as before, then one run from i to j
        cost = best[:n, None] + lengths[:, None] * (np.arange(n + 1)[None] - np.arange(n)[:, None])
        cost[np.arange(n + 1)[None] <= np.arange(n)[:, None]] = np.inf
        cuts.append(cost.argmin(0))
        best = cost.min(0)
    edges, end = [], n
    for cut in reversed(cuts):
        end = int(cut[end])
        edges.append(end)
    return edges[::-1][1:]  # the first run starts at 0


def pad(token_ids: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor | None]:
    """Token ids of unequal length to input_ids (B, T) and mask (B, T); the mask is None where nothing was padded."""
    longest = max(map(len, token_ids))
    ids = np.full((len(token_ids), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(token_ids), longest), dtype=np.int64)
    for row, tokens in enumerate(token_ids):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return torch.from_numpy(ids), None if mask.all() else torch.from_numpy(mask)


def bf16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 natively (AVX512-BF16 or AMX), so that bf16 pays."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)


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
