"""Queries sent down a path one stage after the other, from the scores of whole cells: the reference for the tree."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from mrl_tutorial.evaluation import metrics
from mrl_tutorial.retrieval.stages import check_stages


def walk(paths, name, stages) -> SimpleNamespace:
    """survivors of each stage, (Q, depth), best first; recall of the full model's ten; ndcg; kept: the share of
    relevant documents that each stage leaves."""
    stages = check_stages(stages, paths.n_layers, paths.width)
    rows, survivors = np.tile(np.arange(paths.n), (len(paths.ids), 1)), []
    for stage in stages:
        rows = np.sort(rows, axis=1)  # ties rank in the order of rows
        left = np.take_along_axis(paths.scores(name, stage.row + 1, stage.dim), rows, 1)
        order = np.argsort(-left, axis=1, kind="stable")[:, : stage.depth or 10]
        rows = np.take_along_axis(rows, order, 1)
        survivors.append(rows)
    recall = float((paths.full(name)[:, :, None] == rows[:, None, :10]).any(2).mean())
    kept = tuple(float((s[paths.judged.query] == paths.position[:, None]).any(1).mean()) for s in survivors)
    ranks = metrics.found_ranks(rows[:, :10], paths.judged)
    ndcg = float(metrics.retrieval_metric("ndcg@10", ranks, paths.judged).mean())
    return SimpleNamespace(stages=stages, survivors=tuple(survivors), recall=recall, ndcg=ndcg, kept=kept)
