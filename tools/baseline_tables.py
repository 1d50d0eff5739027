"""The baselines of lesson 06: how each is trained, and the tables of their scores and differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mrl_tutorial.evaluation.statistics import paired

DIMS = (8, 16, 32, 64, 77, 128, 256, 384)  # 77 of 384: four fifths cut off

Scores = dict[str, np.ndarray]
"""One run's scores: "task|measure|reduction" -> (M, items), or (M,) for a correlation; M widths."""
Run = tuple[str, int]
"""A baseline's name and a seed."""


@dataclass(frozen=True)
class Baseline:
    """How a baseline is trained. what: "none", "heads", "full", or "two stages" (full size first, then mrl); dim: the
    one width that it is trained for and scored at; reduced: whether random coordinates and PCA are scored too."""

    what: str
    recipe: str = ""
    dim: int | None = None
    reduced: bool = False

    @property
    def dims(self) -> list[int]:
        """The widths that it is scored at."""
        return [self.dim] if self.dim else list(DIMS)


BASELINES = {
    "plain": Baseline("none", reduced=True),
    "separate 32": Baseline("full", "separate:6,32", dim=32),
    "separate 128": Baseline("full", "separate:6,128", dim=128),
    "fixed then mrl": Baseline("two stages"),
    "heads fixed": Baseline("heads", "full-size"),
    "heads mrl": Baseline("heads", "mrl"),
    "fixed": Baseline("full", "full-size", reduced=True),
    "mrl": Baseline("full", "mrl", reduced=True),
}
#: (a, its reduction, b, its reduction): a - b, at every width that both have
PAIRS = (
    ("mrl", "prefix", "fixed", "prefix"),
    ("fixed then mrl", "prefix", "mrl", "prefix"),
    ("fixed then mrl", "prefix", "fixed", "prefix"),
    ("mrl", "prefix", "plain", "prefix"),
    ("fixed", "prefix", "plain", "prefix"),
    ("fixed", "pca", "fixed", "prefix"),
    ("fixed", "random", "fixed", "prefix"),
    ("mrl", "prefix", "fixed", "pca"),
    ("mrl", "pca", "mrl", "prefix"),
    ("separate 32", "prefix", "mrl", "prefix"),
    ("separate 128", "prefix", "mrl", "prefix"),
    ("mrl", "prefix", "heads mrl", "prefix"),
    ("heads mrl", "prefix", "plain", "prefix"),
    ("heads mrl", "prefix", "heads fixed", "prefix"),
)
MEASURED = ("task", "measure", "dim", "seeds", "items", "mean", "low", "high", "spread")


def value_table(found: Mapping[Run, Scores], costs: Mapping[Run, Mapping[str, float | None]]) -> pd.DataFrame:
    """baselines.csv: a row a mean, with the seconds and the memory of its run."""
    rows = []
    for (name, seed), scores in found.items():
        for place, values in scores.items():
            task, measure, how = place.split("|")
            means = values if values.ndim == 1 else values.mean(1, dtype=np.float64)
            same = {"baseline": name, "seed": seed, "reduction": how, "task": task, "measure": measure}
            items = values.shape[-1] if values.ndim > 1 else ""
            rows += [
                {**same, "dim": dim, "value": round(float(mean), 6), "items": items, **costs[name, seed]}
                for dim, mean in zip(BASELINES[name].dims, means, strict=True)
            ]
    return pd.DataFrame(rows)


def difference_table(found: Mapping[Run, Scores]) -> pd.DataFrame:
    """baselines_paired.csv: each of PAIRS over the seeds that both have; plain has none and counts for every seed."""
    rows = []
    for a, how_a, b, how_b in PAIRS:
        of_a, of_b = ({seed: s for (name, seed), s in found.items() if name == side} for side in (a, b))
        seeds = sorted(of_a if b == "plain" else set(of_a) & set(of_b))
        if not seeds or not of_b:
            continue
        for place, first in of_a[seeds[0]].items():
            task, measure, how = place.split("|")
            other = f"{task}|{measure}|{how_b}"
            if how != how_a or other not in next(iter(of_b.values())) or first.ndim == 1:
                continue
            x = [of_a[seed][place] for seed in seeds]  # each (M, items)
            y = [of_b[0 if b == "plain" else seed][other] for seed in seeds]
            for dim in [d for d in BASELINES[a].dims if d in BASELINES[b].dims]:
                i, j = BASELINES[a].dims.index(dim), BASELINES[b].dims.index(dim)
                difference = paired(np.stack([values[i] for values in x]), np.stack([values[j] for values in y]))
                rows.append(
                    {"a": a, "reduction_a": how_a, "b": b, "reduction_b": how_b, "task": task, "measure": measure}
                    | {"dim": dim, "seeds": len(seeds), "items": first.shape[1]}
                    | {k: round(v, 6) for k, v in difference._asdict().items()}
                )
    return pd.DataFrame(rows, columns=["a", "reduction_a", "b", "reduction_b", *MEASURED])
