"""One step of full training against sentence-transformers' `Matryoshka2dLoss` over the same layers and widths."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks import as_text, interleave, ratios, spread
from mrl_tutorial.errors import InputError
from mrl_tutorial.files import write_json
from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.models import layers as bb
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.training.examples import examples, schedule
from mrl_tutorial.training.loop import Backbone

MAX_TOKENS = 64


def run(json: str | None = None, quick: bool = False) -> dict:
    """Print the table and return it; write it to `json`. quick: 8 pairs, to see that it runs.

    Same pairs, trainable parameters (blocks; token embeddings frozen), precision, optimiser; no dropout in either.
    Raises InputError without sentence-transformers.
    """
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.losses import Matryoshka2dLoss, MultipleNegativesRankingLoss
    except ImportError as error:
        raise InputError(
            "bench train compares with sentence-transformers 6: pip install sentence-transformers"
        ) from error
    encoder = Encoder.load()
    data = examples(load_task("pydocs"))
    recipe = get_recipe("all-cells", encoder.n_layers, encoder.width)
    size, repeats = (8, 1) if quick else (64, 5)
    batches = schedule(data, size, repeats + 1, seed=0)
    arms: dict[str, Callable[[], object]] = {}
    for precision in ("fp32", "bf16") if bb.bf16_is_fast() else ("fp32",):
        arms[f"ours {precision}"] = _ours(encoder, data, recipe, precision, batches)
        model = SentenceTransformer(str(encoder.folder), device="cpu")
        model.max_seq_length = MAX_TOKENS
        loss = Matryoshka2dLoss(
            model, MultipleNegativesRankingLoss(model), list(encoder.dims), n_layers_per_step=-1, n_dims_per_step=-1
        )
        arms[f"sentence-transformers {precision}"] = _theirs(model, loss, data, precision, batches)
    seconds = interleave(arms, repeats)
    tokens = _tokens(encoder, data, batches[-1])
    work = 6 * block_parameters(encoder) * tokens  # forward, and backward twice as much; a multiply-add is two FLOPs
    result: dict = {"pairs": size, "tokens": tokens, "TFLOP a step": work / 1e12, "threads": torch.get_num_threads(),
                    "seconds a step": {name: spread(runs) for name, runs in seconds.items()}, "times as fast": {},
                    "share of matmul peak": {}, "where the time goes": {}}  # fmt: skip
    for precision in ("fp32", "bf16"):
        if f"ours {precision}" in seconds:
            mine = seconds[f"ours {precision}"]
            result["times as fast"][precision] = ratios(seconds[f"sentence-transformers {precision}"], mine)
            peak = _matmul_peak(torch.bfloat16 if precision == "bf16" else torch.float32, 512 if quick else 2048)
            result["share of matmul peak"][precision] = {"GFLOP/s peak": peak / 1e9, "share": work / min(mine) / peak}
            result["where the time goes"][precision] = _profile(arms[f"ours {precision}"])
    print(
        f"{size} pairs, {tokens} tokens without padding, {work / 1e9:.0f} GFLOP; median (min to max) of {repeats} steps"
    )
    for name, value in result["seconds a step"].items():
        print(f"  {name:<28} {as_text(value, ' s')}")
    for precision, value in result["times as fast"].items():
        peak = result["share of matmul peak"][precision]
        print(
            f"  {precision}: {as_text(value, ' x')} as fast; {peak['share']:.0%} of the measured {peak['GFLOP/s peak']:.0f} GFLOP/s"
        )
        print("    " + ", ".join(f"{op} {share:.0%}" for op, share in result["where the time goes"][precision].items()))
    if json:
        write_json(json, result)
    return result


def block_parameters(encoder: Encoder) -> int:
    """Weights of the transformer blocks' matrices: the multiply-adds of one token, attention scores left out."""
    return sum(p.numel() for b in bb.find_blocks(encoder.model)[1] for p in b.parameters() if p.ndim == 2)


def _ours(encoder, data, recipe, precision, batches) -> Callable[[], None]:
    side = Backbone(encoder, data, recipe, precision, MAX_TOKENS)
    optimizer = torch.optim.AdamW([p for p in side.module.parameters() if p.requires_grad], lr=1e-5)
    turn = iter(range(10**6))

    def step() -> None:
        queries, documents, _ = side.embed(batches[next(turn) % len(batches)])
        loss, _ = recipe.loss(Batch(queries, documents, side.layers))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _theirs(model, loss, data, precision, batches) -> Callable[[], None]:
    model.eval().requires_grad_(True)
    model[0].auto_model.embeddings.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    turn = iter(range(10**6))

    def step() -> None:
        chosen = batches[next(turn) % len(batches)]
        features = [model.preprocess([texts[i] for i in chosen]) for texts in (data.anchors, data.positives)]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            value = loss(features, None)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()

    return step


def _tokens(encoder, data, chosen: np.ndarray) -> int:
    texts = [side[i] for side in (data.anchors, data.positives) for i in chosen]
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
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as record:
        step()
    events = [e for e in record.key_averages() if e.self_cpu_time_total > 0]
    total = sum(e.self_cpu_time_total for e in events)
    top = sorted(events, key=lambda e: -e.self_cpu_time_total)[:8]
    return {e.key: e.self_cpu_time_total / total for e in top}
