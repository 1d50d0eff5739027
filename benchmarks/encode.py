"""Encoding against `SentenceTransformer.encode`: same texts, threads and precision; bf16; layer 1 against the last."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks import as_text, interleave, ratios, spread
from mrl_tutorial.errors import InputError
from mrl_tutorial.files import write_json
from mrl_tutorial.models import layers as bb
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.tasks.load import load_task


def run(json: str | None = None, quick: bool = False) -> dict:
    """Print the table and return it; write it to `json`. quick: a few texts, to see that it runs.

    Texts: queries and documents of pydocs, half and half. Raises InputError without sentence-transformers.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise InputError(
            "bench encode compares with sentence-transformers: pip install sentence-transformers"
        ) from error
    encoder = Encoder.load()
    task = load_task("pydocs")
    half, repeats = (8, 2) if quick else (100, 5)
    chosen = list(task.queries)[:: max(1, len(task.queries) // half)][:half]
    documents = [text for query in chosen for text in (task.corpus[d] for d in task.qrels[query])]
    texts = [task.queries[query] for query in chosen] + documents
    theirs = SentenceTransformer(str(encoder.folder), device="cpu")
    theirs.max_seq_length = encoder.max_length
    theirs_bf16 = SentenceTransformer(str(encoder.folder), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    theirs_bf16.max_seq_length = encoder.max_length

    def ours(**options) -> Callable[[], np.ndarray]:
        return lambda: encoder.encode(texts, cache=False, progress=lambda *_: None, **options)

    arms = {
        "sentence-transformers fp32": lambda: theirs.encode(texts, show_progress_bar=False),
        "ours fp32": ours(precision="fp32"),
        "ours fp32, layer 1": ours(precision="fp32", layer=1),
    }
    if bb.bf16_is_fast():
        arms |= {
            "sentence-transformers bf16": lambda: theirs_bf16.encode(texts, show_progress_bar=False),
            "ours bf16": ours(precision="bf16"),
            "ours bf16, layer 1": ours(precision="bf16", layer=1),
        }
    seconds = interleave(arms, repeats)
    exact = arms["ours fp32"]()
    versus = {"ours / theirs, fp32": ratios(seconds["sentence-transformers fp32"], seconds["ours fp32"]),
              "layer 1 / last layer, fp32": ratios(seconds["ours fp32"], seconds["ours fp32, layer 1"])}  # fmt: skip
    if "ours bf16" in arms:
        versus |= {
            "ours / theirs, bf16": ratios(seconds["sentence-transformers bf16"], seconds["ours bf16"]),
            "ours bf16 / theirs fp32": ratios(seconds["sentence-transformers fp32"], seconds["ours bf16"]),
            "layer 1 / last layer, bf16": ratios(seconds["ours bf16"], seconds["ours bf16, layer 1"]),
        }
    result = {
        "texts": len(texts), "tokens": sum(map(len, encoder.tokenize(texts))), "threads": torch.get_num_threads(),
        "sentences per second": {name: spread([len(texts) / s for s in runs]) for name, runs in seconds.items()},
        "times as fast": versus,
        "largest difference from sentence-transformers, fp32": float(np.abs(exact - theirs.encode(texts)).max()),
    }  # fmt: skip
    print(
        f"{len(texts)} texts, {result['tokens']} tokens, {result['threads']} threads; median (min to max) of {repeats}"
    )
    for name, value in result["sentences per second"].items():
        print(f"  {name:<30} {as_text(value, ' texts/s')}")
    for name, value in versus.items():
        print(f"  {name:<30} {as_text(value, ' x')}")
    print(
        f"  largest difference of a coordinate from theirs, fp32: {result['largest difference from sentence-transformers, fp32']:.1e}"
    )
    if json:
        write_json(json, result)
    return result
