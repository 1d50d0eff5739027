"""The stored retrieval benchmark as lesson 11 shows it: milliseconds of one query, and what makes them few: a prefix,
fewer bits, or a graph that leaves most documents out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrl_tutorial.files import data_file

# Each way with its engines. LeanVec is in none: it shortens the vectors by itself, so it is neither whole nor a prefix.
WAYS = {
    "scan, float32": ("float32", "topk", "faiss-flat"),
    "scan, int8": ("torch-int8",),
    "scan, PQ (2 bits a number)": ("pq",),
    "graph, float32": ("hnsw",),
    "graph, compressed": ("hnsw-int8", "vamana-lvq"),
}
WIDTHS = {"all numbers": False, "128 numbers": True}
GRAPHS = ("graph, float32", "graph, compressed")


def parts(path: Path | None = None) -> list[dict[str, Any]]:
    """The collections that were measured, with the rows that were timed alone."""
    stored = json.loads((path or data_file("results") / "retrieval.json").read_text(encoding="utf-8"))
    timed = [part | {"rows": [row for row in part["rows"] if "p50" in row]} for part in stored["parts"].values()]
    return [part for part in timed if part["rows"]]


def milliseconds(part: dict[str, Any], recall: float, ways: Sequence[str], *, prefix: bool) -> float:
    """Median milliseconds of one query by the quickest of some `ways`, over all numbers or over a prefix with a rerank.
    Chosen on the tuning queries and timed on others; NaN where none reaches the recall."""
    engines = [engine for way in ways for engine in WAYS[way]]
    own = [row for row in part["rows"] if row["engine"] in engines and (row["dim"] < part["width"]) == prefix]
    enough = [row for row in own if row["tune"]["recall"] >= recall]
    return float(min(enough, key=lambda row: row["tune"]["single"])["p50"]) if enough else float("nan")


def quicker(part: dict[str, Any], recalls: Sequence[float]) -> dict[str, np.ndarray]:
    """How many times as quick as the scan of all numbers in float32, at each recall: a byte a number, the same on a
    prefix, and graphs over either."""
    exact = milliseconds(part, max(recalls), ["scan, float32"], prefix=False)
    found = {}
    for name, ways in (("int8", ["scan, int8"]), ("graph", GRAPHS)):
        for width, prefix in WIDTHS.items():
            found[f"{name}, {width}"] = np.array([exact / milliseconds(part, r, ways, prefix=prefix) for r in recalls])
    return found


def table(recall: float, path: Path | None = None) -> pd.DataFrame:
    """Milliseconds of one query at a recall: down, the ways; across, all numbers or a prefix of each collection."""
    columns = {}
    for part in parts(path):
        name = re.split(",|:| from ", part["name"])[0] + f", {part['documents']:,} x {part['width']:,}"
        for width, prefix in WIDTHS.items():
            columns[name, width] = {way: milliseconds(part, recall, [way], prefix=prefix) for way in WAYS}
    return pd.DataFrame(columns)
