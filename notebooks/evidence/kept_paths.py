"""The cheapest path of search that keeps full quality on dev, and what it keeps on test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mrl_tutorial import InputError, Retriever, Stage, embed_splits, shortlist
from mrl_tutorial.evaluation.statistics import MARGIN, paired
from mrl_tutorial.files import key, remembered
from mrl_tutorial.models.layers import resolve_precision
from mrl_tutorial.retrieval import costs
from mrl_tutorial.retrieval.planner import Judged

DEPTHS = (10, 20, 50, 100, 200, 400, 800)


class Kept(NamedTuple):
    """dim, depth: of the shortlist. fewer: how many times fewer multiply-adds. full, part: nDCG@10 of every test query
    by exact search and by the path, (Q,) each."""

    dim: int
    depth: int
    fewer: float
    full: np.ndarray
    part: np.ndarray


def kept_path(task: Any, encoder: Any, embedded: Mapping[str, Mapping[str, np.ndarray]] | None = None) -> Kept:
    """A shortlist by a prefix of the last layer, reranked at full width: the cheapest whose difference to exact search
    on *dev* has its whole 95 % interval above -0.01, measured on test, and read from the cache the next time.
    embedded: what `embed_splits` gives, where it is there already. Raises InputError where no shortlist keeps it."""
    width = encoder.width

    def measured() -> dict[str, np.ndarray]:
        parts = embedded or embed_splits(task, encoder)
        last = {s: {part: np.ascontiguousarray(x[-1:]) for part, x in parts[s].items()} for s in ("dev", "test")}
        n = last["dev"]["documents"].shape[1]
        exact = {split: measure_path(task, last, [Stage(width)], split) for split in last}
        ways = [(costs.adaptive_flops(n, d, k, width), d, k) for d in encoder.dims[:-1] for k in DEPTHS if k < n]
        for flops, d, k in sorted(ways):
            path = shortlist(d, width, k)
            if paired(measure_path(task, last, path, "dev"), exact["dev"]).low > -MARGIN:
                fewer = costs.search_flops(n, width) / flops
                found = measure_path(task, last, path, "test")
                return {"path": np.array([d, k, fewer]), "full": exact["test"], "part": found}
        raise InputError(f"no shortlist of up to {DEPTHS[-1]} documents keeps the quality of exact search on dev")

    name = key(2, task.fingerprint(), encoder.fingerprint(), resolve_precision("auto"), DEPTHS, encoder.dims)
    found = remembered("paths", name, measured)
    dim, depth, fewer = found["path"]
    return Kept(int(dim), int(depth), float(fewer), found["full"], found["part"])


def measure_path(task: Any, embeddings: Mapping[str, Any], stages: Sequence[Stage], split: str) -> np.ndarray:
    """nDCG@10 of every query of `split` when it goes down a path: (Q,), to be averaged or compared in pairs.

    embeddings: as `embed_splits` gives them, at least for that split. Raises InputError as Judged.of and Retriever."""
    part = Judged.of(task, embeddings, split, "ndcg@10")
    return part.items(Retriever(part.documents, stages, cosine=True).search(part.queries, part.k).rows)
