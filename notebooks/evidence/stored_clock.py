"""The stored retrieval benchmark as lesson 11 shows it: milliseconds of one query, exact, by a prefix, by an index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrl_tutorial.files import data_file

EXACT, PREFIX, WHOLE = "exact search", "a prefix, then all numbers", "all numbers, quickest way"


def parts(path: Path | None = None) -> list[dict[str, Any]]:
    """The collections that were measured, smallest first, with the rows that were timed alone."""
    stored = json.loads((path or data_file("results") / "retrieval.json").read_text(encoding="utf-8"))
    timed = [part | {"rows": [row for row in part["rows"] if "p50" in row]} for part in stored["parts"].values()]
    return sorted((part for part in timed if part["rows"]), key=lambda part: part["documents"] * part["width"])


def milliseconds(part: dict[str, Any], recalls: Sequence[float]) -> dict[str, np.ndarray]:
    """Median milliseconds of one query, for each recall that is asked for: of exact search in float32, and of the
    quickest way that searches a prefix first and of the quickest that does not. Ways are chosen on the tuning queries
    and timed on others; NaN where none reaches the recall."""
    width = part["width"]
    exact = next(row["p50"] for row in part["rows"] if (row["engine"], row["dim"]) == ("float32", width))
    found = {EXACT: np.full(len(recalls), exact)}
    for name, prefix in ((PREFIX, True), (WHOLE, False)):
        rows = [row for row in part["rows"] if (row["dim"] < width) == prefix]
        found[name] = np.array([_quickest(rows, recall) for recall in recalls])
    return found


def _quickest(rows: list[dict[str, Any]], recall: float) -> float:
    enough = [row for row in rows if row["tune"]["recall"] >= recall]
    return float(min(enough, key=lambda row: row["tune"]["single"])["p50"]) if enough else float("nan")


def table(recall: float, path: Path | None = None) -> pd.DataFrame:
    """Milliseconds of one query at a recall, a row for each collection."""
    rows = {
        f"{part['documents']:,} vectors of {part['width']:,}": {
            name: ms[0] for name, ms in milliseconds(part, [recall]).items()
        }
        for part in parts(path)
    }
    return pd.DataFrame(rows).T
