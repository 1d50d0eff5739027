"""Encoding against `SentenceTransformer.encode`: same texts, threads and precision; bf16; layer 1 against the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from benchmarks import as_text, interleave, ratios, spread
from mrl_tutorial.files import write_json
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.layers import bf16_is_fast
from mrl_tutorial.tasks.load import load_task


def run(json: str | None = None, quick: bool = False) -> dict:
    """Print the table and return it; write it to `json`. quick: a few texts, to see that it runs.

    Texts: queries and documents of pydocs, half and half.
    """
    encoder, repeats = Encoder.load(), 2 if quick else 5
    texts = _texts(8 if quick else 100)
    precisions = {"fp32": torch.float32} | ({"bf16": torch.bfloat16} if bf16_is_fast() else {})
    runs: dict[str, Callable[[], np.ndarray]] = {}
    for precision, dtype in precisions.items():
        runs[f"sentence-transformers {precision}"] = _theirs(encoder, dtype, texts)
        runs[f"ours {precision}"] = _ours(encoder, texts, precision=precision)
        runs[f"ours {precision}, layer 1"] = _ours(encoder, texts, precision=precision, layer=1)
    seconds = interleave(runs, repeats)
    versus: dict[str, dict[str, float]] = {}
    for precision in precisions:
        theirs, ours = seconds[f"sentence-transformers {precision}"], seconds[f"ours {precision}"]
        versus[f"ours / theirs, {precision}"] = ratios(theirs, ours)
        versus[f"layer 1 / last layer, {precision}"] = ratios(ours, seconds[f"ours {precision}, layer 1"])
    if "bf16" in precisions:
        versus["ours bf16 / theirs fp32"] = ratios(seconds["sentence-transformers fp32"], seconds["ours bf16"])
    difference = float(np.abs(runs["ours fp32"]() - runs["sentence-transformers fp32"]()).max())
    result: dict[str, Any] = {
        "texts": len(texts), "tokens": sum(map(len, encoder.tokenize(texts))), "threads": torch.get_num_threads(),
        "sentences per second": {name: spread([len(texts) / s for s in times]) for name, times in seconds.items()},
        "times as fast": versus, "largest difference from sentence-transformers, fp32": difference,
    }  # fmt: skip
    print(f"{len(texts)} texts, {result['tokens']} tokens, {result['threads']} threads")
    print(f"median (min to max) of {repeats} runs")
    for unit, table in ((" texts/s", result["sentences per second"]), (" x", versus)):
        for name, value in table.items():
            print(f"  {name:<30} {as_text(value, unit)}")
    print(f"  largest difference of a coordinate from theirs, fp32: {difference:.1e}")
    if json:
        write_json(json, result)
    return result


def _texts(half: int) -> list[str]:
    """`half` queries of pydocs, spread over it, and the documents that are relevant to them."""
    task = load_task("pydocs")
    chosen = list(task.queries)[:: max(1, len(task.queries) // half)][:half]
    return [task.queries[q] for q in chosen] + [task.corpus[d] for q in chosen for d in task.qrels[q]]


def _ours(encoder: Encoder, texts: list[str], **options: Any) -> Callable[[], np.ndarray]:
    return lambda: encoder.encode(texts, cache=False, progress=lambda *_: None, **options)


def _theirs(encoder: Encoder, dtype: torch.dtype, texts: list[str]) -> Callable[[], np.ndarray]:
    model = SentenceTransformer(str(encoder.folder), device="cpu", model_kwargs={"dtype": dtype})
    model.max_seq_length = encoder.max_length
    return lambda: model.encode(texts, show_progress_bar=False)
