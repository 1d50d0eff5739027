"""The quality of a path of search, measured on a task's judgments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.evaluation.embeddings import check_embeddings, embed_task, meant
from mrl_tutorial.retrieval.indexes import check_vectors
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import Stage
from mrl_tutorial.tasks.task import prepared

Progress = Callable[[int, int, str], None]


def embed_splits(task: Any, encoder: Any, *, precision: str = "auto", progress: Progress | None = None) -> dict:
    """{"dev": ..., "test": ...}, each as `embed_task` gives it: what `plan_retrieval` needs."""
    task, encoder = meant(task, encoder)
    task = prepared(task, "dev", "test")
    return {split: embed_task(task, encoder, split, precision, progress=progress) for split in ("dev", "test")}


def measure_path(
    task: Any,
    embeddings: Mapping[str, Mapping[str, np.ndarray]],
    stages: Sequence[Stage],
    split: str = "test",
    *,
    metric: str = "ndcg@10",
    cosine: bool = True,
    threads: int = 1,
) -> np.ndarray:
    """The measure of every query of `split` when it goes down a path: (Q,), to be averaged or compared in pairs.

    embeddings: as in `plan_retrieval`, at least for that split. Raises InputError as plan_retrieval and Retriever do.

    >>> from mrl_tutorial.tasks.types import RetrievalTask
    >>> documents, queries = {"a": "", "b": ""}, {"q": ""}
    >>> task = RetrievalTask("tiny", "made", documents, queries, {"q": {"b": 1}}, {"test": ["q"]})
    >>> x = np.array([[[1.0, 0.5], [1.0, -0.5]]])
    >>> parts = {"test": {"queries": x[:, 1:], "documents": x}}
    >>> [measure_path(task, parts, [Stage(dim)]).round(2).tolist() for dim in (1, 2)]
    [[0.63], [1.0]]
    """
    part = Judged.of(task, embeddings, split, metric)
    retriever = Retriever(part.documents, stages, cosine=cosine, threads=threads)
    return part.items(retriever.search(part.queries, part.k).rows)


@dataclass(frozen=True)
class Judged:
    """One split's vectors and judgments. queries (L, Q, D), documents (L, N, D); k: the metric's cut-off."""

    queries: np.ndarray
    documents: np.ndarray
    judgments: metrics.Judgments
    metric: str
    k: int

    @classmethod
    def of(cls, task: Any, embeddings: Mapping, split: str, metric: str) -> Judged:
        """A retrieval task's split. Raises InputError for another task, and embeddings that do not fit it."""
        if task.kind != "retrieval":
            raise InputError(f"a {task.kind!r} task has no documents to search: give a retrieval task")
        k = metrics.cutoff(metric)
        if split not in embeddings:
            raise InputError(f"embeddings lack the split {split!r}: give dev and test, as embed_splits does")
        task = prepared(task, *embeddings)  # splits that are used together do not overlap
        ids = task.judged(split)
        judgments = metrics.judge(ids, list(task.corpus), task.qrels)
        parts = check_embeddings(embeddings[split], {"queries": len(ids), "documents": len(task.corpus)})
        for layer, vectors in enumerate(parts["queries"], start=1):
            check_vectors(vectors, f"{split} queries, layer {layer}")
        return cls(parts["queries"], parts["documents"], judgments, metric, k)

    def items(self, rows: np.ndarray) -> np.ndarray:
        """The measure of each query, (Q,), where `rows` (Q, k) were found, best first."""
        return metrics.retrieval_metric(self.metric, metrics.found_ranks(rows, self.judgments), self.judgments)
