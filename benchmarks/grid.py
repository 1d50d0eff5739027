"""The quality grid from one encoding, against sentence-transformers' evaluator called once for each width.

Timed are the scoring of every cell from cached embeddings, and what encoding all layers adds to encoding the last one.
Both sides' figures agree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from benchmarks import as_text, interleave, ratios, spread
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import embed_task
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.files import write_json
from mrl_tutorial.grid import Grid
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.tasks.load import load_task

METRICS = ["ndcg@10", "mrr@10", "map", "map@10", "recall@100", "precision@10"]


def run(json: str | None = None, quick: bool = False) -> dict:
    """Print the table and return it; write it to `json`. quick: 300 documents of pydocs, to see that it runs.

    SciFact where `$MRL_DATA` has it, else pydocs. Raises InputError without sentence-transformers.
    """
    evaluator_class = _evaluator_class()
    encoder = Encoder.load()
    has_scifact = (Path(os.environ.get("MRL_DATA", "-")) / "scifact").is_dir()
    task = load_task("scifact" if has_scifact and not quick else "pydocs")
    task = _smaller(task, 300) if quick else task
    repeats, sample = (2, 8) if quick else (9, 32)
    embedded = embed_task(task, encoder, "test", "fp32")
    n_layers, dims = encoder.n_layers, encoder.dims

    def ours(**cells: Any) -> Callable[[], object]:
        return lambda: evaluate_grid(task, embeddings=embedded, metric=METRICS, **cells)

    theirs = _evaluators(evaluator_class, task, embedded, dims)
    difference = _difference(evaluate_grid(task, embeddings=embedded, layers=[n_layers], metric="mrr@10"), theirs())
    seconds = interleave(
        {"all cells": ours(), "last layer": ours(layers=[n_layers]), "evaluator": theirs,
         "every dimension": ours(layers=[n_layers], dims="all")}, repeats,
    )  # fmt: skip
    texts = list(task.corpus.values())[:: max(1, len(task.corpus) // sample)][:sample]
    encoding = interleave(
        {"all layers": lambda: encoder.encode_layers(texts, precision="fp32", cache=False),
         "last layer": lambda: encoder.encode_layers(texts, layers=[n_layers], precision="fp32", cache=False)},
        2 * repeats,
    )  # fmt: skip
    n_queries = len(task.judged("test"))
    scale = (len(task.corpus) + n_queries) / len(texts)
    result = {
        "bench": "grid", "task": task.name, "queries": n_queries, "documents": len(task.corpus), "layers": n_layers,
        "dims": list(dims), "metrics": METRICS, "threads": torch.get_num_threads(), "repeats": repeats,
        "cells": n_layers * len(dims), "largest_difference": difference, "encoded_sample": len(texts),
        "score_seconds": {name: spread(values) for name, values in seconds.items()},
        "encode_seconds": {name: spread(values) for name, values in encoding.items()},
        "all_layers_over_last_layer": ratios(encoding["all layers"], encoding["last layer"]),
        "times_faster": {
            "last layer, every width": ratios(seconds["evaluator"], seconds["last layer"]),
            "all layers, extrapolated": ratios([n_layers * s for s in seconds["evaluator"]], seconds["all cells"]),
        },
        # encoding once and scoring, with the sample scaled up to the task; theirs encodes anew for every layer
        "with_encoding_extrapolated": ratios(
            [n_layers * e + sum(range(1, n_layers + 1)) / n_layers * scale * t
             for e, t in zip(seconds["evaluator"], encoding["last layer"], strict=False)],
            [s + scale * t for s, t in zip(seconds["all cells"], encoding["all layers"], strict=False)],
        ),
    }  # fmt: skip
    _print(result)
    if json:
        write_json(json, result)
    return result


def _evaluator_class() -> Any:
    for home in ("sentence_transformers.sentence_transformer.evaluation", "sentence_transformers.evaluation"):
        try:
            return import_module(home).InformationRetrievalEvaluator  # moved in version 6
        except ImportError:
            continue
    raise InputError("bench grid compares with sentence-transformers: pip install sentence-transformers")


class _Encoded:
    """What the evaluator needs of a model, with every text encoded beforehand. vectors: part -> (N, D)."""

    similarity_fn_name = "cosine"

    def __init__(self, vectors: dict[str, torch.Tensor]):
        self.vectors = vectors
        self.model_card_data = SimpleNamespace(set_evaluation_metrics=lambda *args: None)

    def encode_query(self, texts: Any, *, truncate_dim: int | None = None, **options: Any) -> torch.Tensor:
        return self.vectors["queries"][:, :truncate_dim]

    def encode_document(self, texts: Any, *, truncate_dim: int | None = None, **options: Any) -> torch.Tensor:
        return self.vectors["documents"][:, :truncate_dim]

    @staticmethod
    def similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        from sentence_transformers.util import cos_sim

        return cos_sim(a, b)


def _evaluators(
    evaluator_class: Any, task: Any, embedded: dict[str, np.ndarray], dims: Sequence[int]
) -> Callable[[], list[dict]]:
    """One evaluator for each width, called in turn on the vectors (L, N, D) of the last layer, encoded once."""
    judged = task.judged("test")
    relevant = {q: {d for d, grade in task.qrels[q].items() if grade > 0} for q in judged}
    queries = {q: task.queries[q] for q in judged}
    evaluators = [evaluator_class(queries, task.corpus, relevant, truncate_dim=d, write_csv=False) for d in dims]
    model = _Encoded({part: torch.from_numpy(np.array(x[-1])) for part, x in embedded.items()})
    return lambda: [evaluator(model) for evaluator in evaluators]


def _difference(grid: Grid, theirs: list[dict]) -> float:
    """Largest difference in MRR@10, which both sides define alike, also on graded judgments."""
    return max(abs(grid.at(grid.layers[-1], d) - t["cosine_mrr@10"]) for d, t in zip(grid.dims, theirs, strict=True))


def _smaller(task: Any, n: int) -> Any:
    """The task on `n` documents: those that the first queries judge, then others."""
    chosen: list[str] = []
    wanted: dict[str, None] = {}
    for q in task.judged("test"):
        if len(wanted) + len(task.qrels[q]) > n // 2:
            break
        chosen.append(q)
        wanted.update(dict.fromkeys(task.qrels[q]))
    for document in task.corpus:
        if len(wanted) >= n:
            break
        wanted.setdefault(document)
    corpus = {d: text for d, text in task.corpus.items() if d in wanted}
    return SimpleNamespace(
        kind="retrieval", name=f"{task.name} ({len(corpus)} documents)", corpus=corpus, queries=task.queries,
        qrels=task.qrels, splits={"test": chosen}, judged=lambda split: chosen,
    )  # fmt: skip


def _print(r: dict) -> None:
    widths = len(r["dims"])
    print(
        f"{r['task']}: {r['queries']} queries x {r['documents']:,} documents, {r['layers']} layers x {widths} widths, "
        f"{len(r['metrics'])} measures, {r['threads']} threads; median (range) of {r['repeats']}\n"
        f"both sides agree to {r['largest_difference']:.1e} (MRR@10)\n"
    )
    s, e, faster = r["score_seconds"], r["encode_seconds"], r["times_faster"]
    rows = [
        ("scoring from cached embeddings, seconds", ""),
        (f"  all {r['cells']} cells", as_text(s["all cells"])),
        (f"  last layer, {widths} widths", as_text(s["last layer"])),
        (f"  last layer, every dimension 1 to {r['dims'][-1]}", as_text(s["every dimension"])),
        (f"  sentence-transformers, last layer, {widths} widths", as_text(s["evaluator"])),
        (f"encoding {r['encoded_sample']} documents (fp32), seconds", ""),
        ("  last layer", as_text(e["last layer"])),
        ("  all layers", as_text(e["all layers"])),
        ("all layers / last layer", as_text(r["all_layers_over_last_layer"], " x")),
        ("ours is faster at scoring: last layer, all widths", as_text(faster["last layer, every width"], " x")),
        ("  all layers (theirs extrapolated)", as_text(faster["all layers, extrapolated"], " x")),
        ("  with encoding (both extrapolated from the sample)", as_text(r["with_encoding_extrapolated"], " x")),
    ]
    for what, value in rows:
        print(f"{what:<56}{value}")
