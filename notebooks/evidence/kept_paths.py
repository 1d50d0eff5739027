"""The cheapest path of search that keeps full quality on dev, and what it keeps on test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mrl_tutorial import InputError, Stage, embed_splits, measure_path, shortlist
from mrl_tutorial.evaluation.statistics import MARGIN, paired
from mrl_tutorial.files import key, remembered
from mrl_tutorial.models.layers import resolve_precision
from mrl_tutorial.retrieval import costs

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
