"""The stored retrieval benchmark as lesson 11 shows it: milliseconds of one query, exact, by a prefix, by an index."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrl_tutorial.files import data_file

EXACT, SCANNED = "exact search", "a prefix, scanned"
PREFIX, WHOLE = "a prefix, in an index", "all numbers, in an index"
SCANS = ("float32", "topk", "torch", "faiss-flat", "int8", "binary")  # engines that look at every document


def parts(path: Path | None = None) -> list[dict[str, Any]]:
    """The collections that were measured, with the rows that were timed alone."""
    stored = json.loads((path or data_file("results") / "retrieval.json").read_text(encoding="utf-8"))
    timed = [part | {"rows": [row for row in part["rows"] if "p50" in row]} for part in stored["parts"].values()]
    return [part for part in timed if part["rows"]]


def milliseconds(part: dict[str, Any], recalls: Sequence[float]) -> dict[str, np.ndarray]:
    """Median milliseconds of one query, for each recall that is asked for: of exact search in float32, of the quickest
    scan of a prefix and the quickest index over one, both with a rerank, and of the quickest index over all numbers.
    Ways are chosen on the tuning queries and timed on others; NaN where none reaches the recall."""
    width, rows = part["width"], part["rows"]
    exact = next(row["p50"] for row in rows if (row["engine"], row["dim"]) == ("float32", width))
    found = {EXACT: np.full(len(recalls), exact)}
    for name, prefix, scanned in ((SCANNED, True, True), (PREFIX, True, False), (WHOLE, False, False)):
        own = [row for row in rows if (row["dim"] < width, row["engine"].startswith(SCANS)) == (prefix, scanned)]
        found[name] = np.array([_quickest(own, recall) for recall in recalls])
    return found


def _quickest(rows: list[dict[str, Any]], recall: float) -> float:
    enough = [row for row in rows if row["tune"]["recall"] >= recall]
    return float(min(enough, key=lambda row: row["tune"]["single"])["p50"]) if enough else float("nan")


def table(recall: float, path: Path | None = None) -> pd.DataFrame:
    """Milliseconds of one query at a recall, a row for each collection."""
    rows = {}
    for part in parts(path):
        name = re.split(",|:| from ", part["name"])[0]
        ms = milliseconds(part, [recall]).items()
        rows[f"{name}, {part['documents']:,} x {part['width']:,}"] = {way: values[0] for way, values in ms}
    return pd.DataFrame(rows).T
