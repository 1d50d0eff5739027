"""One step of full training against sentence-transformers' `Matryoshka2dLoss` over the same layers and widths."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import Matryoshka2dLoss, MultipleNegativesRankingLoss
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks import as_text, interleave, ratios, spread
from mrl_tutorial.files import write_json
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.layers import bf16_is_fast, find_blocks
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.examples import Examples, examples, schedule
from mrl_tutorial.training.trainables import FullBackbone, make_batch

MAX_TOKENS = 64


def run(json: str | None = None, quick: bool = False) -> dict:
    """Print the table and return it; write it to `json`. quick: 8 pairs, to see that it runs.

    Same pairs, trainable parameters (blocks; token embeddings frozen), precision, optimizer; no dropout in either.
    """
    encoder, data = Encoder.load(), examples(load_task("pydocs"))
    recipe = get_recipe("all-cells", encoder.n_layers, encoder.width)
    size, repeats = (8, 1) if quick else (64, 5)
    batches = schedule(data, size, repeats + 1, seed=0)
    precisions = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if bf16_is_fast() else {})
    steps: dict[str, Callable[[], object]] = {}
    for precision in precisions:
        steps[f"ours {precision}"] = _ours(encoder, data, recipe, precision, batches)
        steps[f"sentence-transformers {precision}"] = _theirs(encoder, data, precision, batches)
    seconds = interleave(steps, repeats)
    tokens = _tokens(encoder, data, batches[-1])
    work = 6 * block_parameters(encoder) * tokens  # forward, and backward twice as much; a multiply-add is two FLOPs
    result: dict = {
        "pairs": size, "tokens": tokens, "TFLOP a step": work / 1e12, "threads": torch.get_num_threads(),
        "seconds a step": {name: spread(runs) for name, runs in seconds.items()}, "times as fast": {},
        "share of matmul peak": {}, "where the time goes": {},
    }  # fmt: skip
    for precision, dtype in precisions.items():
        ours, peak = seconds[f"ours {precision}"], _matmul_peak(dtype, 512 if quick else 2048)
        result["times as fast"][precision] = ratios(seconds[f"sentence-transformers {precision}"], ours)
        result["share of matmul peak"][precision] = {"GFLOP/s peak": peak / 1e9, "share": work / min(ours) / peak}
        result["where the time goes"][precision] = _profile(steps[f"ours {precision}"])
    _show(result, repeats)
    if json:
        write_json(json, result)
    return result


def _show(result: dict, repeats: int) -> None:
    work = result["TFLOP a step"] * 1000
    print(f"{result['pairs']} pairs, {result['tokens']} tokens without padding, {work:.0f} GFLOP")
    print(f"median (min to max) of {repeats} steps")
    for name, value in result["seconds a step"].items():
        print(f"  {name:<28} {as_text(value, ' s')}")
    for precision, value in result["times as fast"].items():
        peak = result["share of matmul peak"][precision]
        measured = f"{peak['share']:.0%} of the measured {peak['GFLOP/s peak']:.0f} GFLOP/s"
        print(f"  {precision}: {as_text(value, ' x')} as fast; {measured}")
        print("    " + ", ".join(f"{op} {share:.0%}" for op, share in result["where the time goes"][precision].items()))


def block_parameters(encoder: Encoder) -> int:
    """Weights of the transformer blocks' matrices: the multiply-adds of one token, attention scores left out."""
    return sum(p.numel() for b in find_blocks(encoder.model) for p in b.parameters() if p.ndim == 2)


def _ours(
    encoder: Encoder, data: Examples, recipe: Recipe, precision: str, batches: list[np.ndarray]
) -> Callable[[], None]:
    side = FullBackbone(encoder, recipe, TrainConfig(what="full", precision=precision, max_tokens=MAX_TOKENS))
    return _steps(side.module, lambda chosen: recipe.loss(make_batch(side, data, chosen))[0], batches)


def _theirs(encoder: Encoder, data: Examples, precision: str, batches: list[np.ndarray]) -> Callable[[], None]:
    model = SentenceTransformer(str(encoder.folder), device="cpu")
    model.max_seq_length = MAX_TOKENS
    base = MultipleNegativesRankingLoss(model)
    loss = Matryoshka2dLoss(model, base, list(encoder.dims), n_layers_per_step=-1, n_dims_per_step=-1)
    model.eval().requires_grad_(True)
    model.get_submodule("0.auto_model.embeddings").requires_grad_(False)

    def value(chosen: np.ndarray) -> torch.Tensor:
        features = [model.preprocess([texts[i] for i in chosen]) for texts in (data.anchors, data.positives or [])]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return loss(features, None)

    return _steps(model, value, batches)


def _steps(
    model: nn.Module, loss: Callable[[np.ndarray], torch.Tensor], batches: list[np.ndarray]
) -> Callable[[], None]:
    """A function that takes one step of training, on one batch after another."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    turn = cycle(batches)

    def step() -> None:
        value = loss(next(turn))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def _tokens(encoder: Encoder, data: Examples, chosen: np.ndarray) -> int:
    texts = [text for side in data.sides(chosen) for text in side]
    return sum(min(MAX_TOKENS, len(ids)) for ids in encoder.tokenize(texts))


def _matmul_peak(dtype: torch.dtype, n: int) -> float:
    """FLOP/s of an n x n x n product, the best of several."""
    a, b = (torch.randn(n, n).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best


def _profile(step: Callable[[], object]) -> dict[str, float]:
    """Share of processor time of the eight most expensive operations in one step."""
    with profile(activities=[ProfilerActivity.CPU]) as record:
        step()
    events = [e for e in record.key_averages() if e.self_cpu_time_total > 0]
    total = sum(e.self_cpu_time_total for e in events)
    top = sorted(events, key=lambda e: -e.self_cpu_time_total)[:8]
    return {e.key: e.self_cpu_time_total / total for e in top}
