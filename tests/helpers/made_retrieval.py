"""A small retrieval task with embeddings of three layers, made of random numbers, for paths and the panels on them."""

from __future__ import annotations

import numpy as np

from mrl_tutorial.tasks.types import RetrievalTask

LAYERS, DOCUMENTS, QUERIES, WIDTH = 3, 90, 24, 32


def made_task() -> RetrievalTask:
    corpus = {f"lib.mod.d{i}": f"document {i} <b>" for i in range(DOCUMENTS)}
    queries = {f"q{i}": f"query {i} <i>" for i in range(2 * QUERIES)}
    qrels = {f"q{i}": {f"lib.mod.d{i}": 1} for i in range(2 * QUERIES)}
    qrels["q0"] = {"lib.mod.d0": 2, "lib.mod.d70": 1}
    splits = {"dev": [f"q{i}" for i in range(QUERIES)], "test": [f"q{i}" for i in range(QUERIES, 2 * QUERIES)]}
    return RetrievalTask("toy", "here", corpus, queries, qrels, splits)


def made_embeddings() -> dict[str, dict[str, np.ndarray]]:
    """split -> {"queries", "documents"}, (L, N, D) each; documents 4 and 5 are the same."""
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(LAYERS, DOCUMENTS, WIDTH)) * np.linspace(2, 0.5, WIDTH)
    documents[:, 5] = documents[:, 4]  # an exact tie
    noise = rng.normal(size=(2, LAYERS, QUERIES, WIDTH)) * np.array([3, 2, 1.0])[:, None, None]
    parts = {}
    for i, split in enumerate(("dev", "test")):
        own = documents[:, i * QUERIES : (i + 1) * QUERIES]
        parts[split] = {"queries": (own + noise[i]).astype(np.float32), "documents": documents.astype(np.float32)}
    return parts
