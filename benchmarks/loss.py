"""The contrastive loss of every cell, forward and backward: the fused form against the plain one and loops over cells
(seconds), and against an einsum that keeps the coordinate axis (memory). Same inputs, same loss, same gradients, which
is checked first."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import as_text, interleave, ratios, spread
from mrl_tutorial.files import write_json
from mrl_tutorial.grid import default_dims
from mrl_tutorial.losses import Batch
from mrl_tutorial.losses.contrastive import contrastive, cross_entropies

TEMPERATURE = 0.05
Loss = Callable[[Tensor, Tensor, tuple[int, ...]], Tensor]


def one_pass(queries: Tensor, documents: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Ours as it trains, fused. queries (L, B, D), documents (L, N, D) -> scalar."""
    batch = Batch(queries, documents, temperature=TEMPERATURE)
    return contrastive(batch, batch.layers, dims).sum()


def plain(queries: Tensor, documents: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The form to read, `contrastive.cross_entropies`: running sums of block products, and PyTorch's own backward."""
    return cross_entropies(queries, documents, dims, TEMPERATURE).sum()


def cell_loop(queries: Tensor, documents: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Cut, normalize, multiply, cross-entropy: a loop over layers and dimensions."""
    right = torch.arange(queries.shape[1])
    total = queries.new_zeros(())
    for q, d in zip(queries, documents, strict=True):
        for dim in dims:
            scores = F.normalize(q[:, :dim], dim=-1) @ F.normalize(d[:, :dim], dim=-1).T
            total = total + F.cross_entropy(scores / TEMPERATURE, right)
    return total


def dim_loop(queries: Tensor, documents: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The same with all layers in one batched product: a loop over dimensions alone."""
    layers, b = queries.shape[:2]
    right = torch.arange(b).repeat(layers)
    total = queries.new_zeros(())
    for dim in dims:
        scores = F.normalize(queries[..., :dim], dim=-1) @ F.normalize(documents[..., :dim], dim=-1).mT
        total = total + F.cross_entropy((scores / TEMPERATURE).flatten(0, 1), right) * layers
    return total


def coordinate_axis(queries: Tensor, documents: Tensor, dims: tuple[int, ...]) -> Tensor:
    """No loop: products of every query, document and coordinate, (L, B, N, D), then running sums over the last."""
    columns = [d - 1 for d in dims]
    products = torch.einsum("lbd,lnd->lbnd", queries, documents)
    scores = products.cumsum(-1)[..., columns].permute(0, 3, 1, 2)  # (L, M, B, N)
    q, d = (x.square().cumsum(-1)[..., columns].sqrt().mT for x in (queries, documents))  # (L, M, B), (L, M, N)
    scores = scores / (q[..., None] * d[..., None, :]) / TEMPERATURE
    right = torch.arange(queries.shape[1]).repeat(len(queries) * len(dims))
    return F.cross_entropy(scores.flatten(0, 2), right, reduction="sum") / queries.shape[1]


#: what is compared at the full batch; the coordinate axis would not fit there, and is compared with ours at a small one
WAYS: dict[str, Loss] = {
    "one pass": one_pass,
    "plain form": plain,
    "loop over cells": cell_loop,
    "loop over dimensions": dim_loop,
}
SMALL_WAYS: dict[str, Loss] = {"one pass": one_pass, "coordinate axis": coordinate_axis}


def run(json: str | None = None, quick: bool = False) -> dict:
    """Print the table and return it; write it to `json`. quick: a small shape, to see that it runs."""
    layers, width, batch, small, group, repeats = (3, 64, 16, 8, 4, 2) if quick else (12, 768, 128, 32, 8, 7)
    dims, few = default_dims(width), min(repeats, 3)
    inputs, small_inputs = (_inputs(layers, size, group, width) for size in (batch, small))
    difference = max(_agreement(ways, *small_inputs, dims) for ways in (WAYS, SMALL_WAYS))
    steps, small_steps = _steps(WAYS, *inputs, dims), _steps(SMALL_WAYS, *small_inputs, dims)
    seconds, small_seconds = interleave(steps, repeats), interleave(small_steps, few)
    small_memory = {name: [float(peak_bytes(step)) for _ in range(few)] for name, step in small_steps.items()}
    result = {
        "bench": "loss",
        "layers": layers,
        "width": width,
        "dims": list(dims),
        "documents_per_query": group,
        "threads": torch.get_num_threads(),
        "repeats": repeats,
        "largest_relative_difference": difference,
        "batch": batch,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "times_faster": {name: ratios(seconds[name], seconds["one pass"]) for name in WAYS if name != "one pass"},
        "peak_bytes": {name: peak_bytes(step) for name, step in steps.items()},
        "small_batch": small,
        "small_seconds": {name: spread(values) for name, values in small_seconds.items()},
        "small_peak_bytes": {name: spread(values) for name, values in small_memory.items()},
        "times_less_memory": ratios(small_memory["coordinate axis"], small_memory["one pass"]),
        "coordinate_axis_bytes_at_batch": 4 * layers * batch * batch * group * width,
    }
    _print(result)
    if json:
        write_json(json, result)
    return result


def peak_bytes(step: Callable[[], object]) -> int:
    """Most bytes of tensors that `step` holds at once beyond what was there before, by PyTorch's allocator."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def _inputs(layers: int, batch: int, group: int, width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    queries, documents = (
        torch.randn(layers, n, width, generator=generator).requires_grad_() for n in (batch, batch * group)
    )
    return queries, documents


def _steps(
    ways: dict[str, Loss], queries: Tensor, documents: Tensor, dims: tuple[int, ...]
) -> dict[str, Callable[[], object]]:
    """Forward and backward of each way."""

    def step(loss: Loss) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(queries, documents, dims), (queries, documents))

    return {name: step(loss) for name, loss in ways.items()}


def _agreement(ways: dict[str, Loss], queries: Tensor, documents: Tensor, dims: tuple[int, ...]) -> float:
    """Largest relative difference from ours, of the loss and of both gradients."""
    results = []
    for loss in ways.values():
        value = loss(queries, documents, dims)
        results.append([value.detach(), *torch.autograd.grad(value, (queries, documents))])
    ours = results[0]
    return max(float((a - b).norm() / b.norm()) for theirs in results[1:] for a, b in zip(ours, theirs, strict=True))


def _print(r: dict) -> None:
    documents, mib = r["documents_per_query"], 2**20
    print(
        f"contrastive loss of {r['layers']} layers x {len(r['dims'])} dimensions ({r['dims'][0]} to {r['width']}), "
        f"forward + backward, {documents} documents per query, {r['threads']} threads\n"
        f"all ways agree to {r['largest_relative_difference']:.1e} (loss and gradients, relative)\n"
    )
    print(f"{'batch ' + str(r['batch']):<24}{'seconds, median (range)':<32}{'ours is faster':<28}{'peak MiB':>9}")
    for name, seconds in r["seconds"].items():
        faster = as_text(r["times_faster"][name], " x") if name in r["times_faster"] else ""
        print(f"{name:<24}{as_text(seconds):<32}{faster:<28}{r['peak_bytes'][name] / mib:>9.0f}")
    print(f"\n{'batch ' + str(r['small_batch']):<24}{'seconds, median (range)':<32}{'':<28}{'peak MiB':>9}")
    for name, seconds in r["small_seconds"].items():
        print(f"{name:<24}{as_text(seconds):<32}{'':<28}{r['small_peak_bytes'][name]['median'] / mib:>9.0f}")
    print(
        f"one pass needs {as_text(r['times_less_memory'], ' x')} less memory; at batch {r['batch']} one (L, B, N, D) "
        f"array alone would be {r['coordinate_axis_bytes_at_batch'] / 2**30:.1f} GiB"
    )
