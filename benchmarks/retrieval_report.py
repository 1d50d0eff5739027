"""The table and the picture of the retrieval benchmark, drawn from its file."""

from __future__ import annotations

import os
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.panels import plots
from tools.chromium import REMEDY, find_chromium

TIMES = ("x exact", "x full")
ROOM = 0.003  # a standard error of the recall on the tuning queries: that much more is asked for there
COLUMNS = ("recall", "queries/s", *TIMES, "recall", "p50 ms", "p95 ms", *TIMES, "build s", "MB")


def chosen(rows: list[dict], way: str, race: str, target: float) -> dict[str, Any] | None:
    """Of one way's rows the quickest in a race ("single" or "batch") that reaches the target on the tuning queries, and
    a little more, so that it is reached on other queries too."""
    enough = [row for row in rows if row["way"] == way and row["tune"]["recall"] >= min(1, target + ROOM)]
    return min(enough, key=lambda row: row["tune"][race]) if enough else None


def compared(rows: list[dict], target: float) -> list[dict[str, Any]]:
    """Every way that reaches the target: its setting for each race, as it was scored on other queries, and how many
    times as quick it is as exact search and as the same engine at full width."""
    width, found = max(row["dim"] for row in rows), []
    exact = chosen(rows, f"float32, {width}", "batch", target)
    for way in dict.fromkeys(row["way"] for row in rows):
        many, one = (chosen(rows, way, race, target) for race in ("batch", "single"))
        if many is None or one is None or exact is None:
            continue
        own = {row["way"] for row in rows if row["engine"] == many["engine"] and row["dim"] == width}
        whole = [[row for w in own if (row := chosen(rows, w, race, target))] for race in ("batch", "single")]
        found.append({
            "way": way, "batch": many, "single": one,
            "batch_x_exact": many["per_second"] / exact["per_second"], "single_x_exact": exact["p50"] / one["p50"],
            "batch_x_full": many["per_second"] / max((row["per_second"] for row in whole[0]), default=np.nan),
            "single_x_full": min((row["p50"] for row in whole[1]), default=np.nan) / one["p50"],
        })  # fmt: skip
    return found


def table(rows: list[dict], targets: tuple[float, ...] = (0.98, 0.95)) -> str:
    """`compared` as text."""
    lines = []
    for target in targets:
        lines.append(f"{f'recall@10 >= {target}':<34}" + "".join(f"{name:>10}" for name in COLUMNS))
        for row in compared(rows, target):
            many, one = row["batch"], row["single"]
            numbers = (
                f"{many['recall']:.3f}", f"{many['per_second']:,.0f}", f"{row['batch_x_exact']:.1f}",
                f"{row['batch_x_full']:.1f}", f"{one['recall']:.3f}", f"{one['p50']:.3f}", f"{one['p95']:.3f}",
                f"{row['single_x_exact']:.1f}", f"{row['single_x_full']:.1f}", f"{many.get('build_seconds', 0):.1f}",
                f"{many['bytes'] / 1e6:,.0f}",
            )  # fmt: skip
            lines.append(f"{row['way']:<34}" + "".join(f"{number:>10}" for number in numbers))
    return "\n".join(lines)


ENGINES = {
    "topk": "torch.topk", "torch-bfloat16": "torch bf16", "torch-int8": "torch int8", "pq": "PQ FastScan",
    "hnsw": "HNSW", "hnsw-int8": "HNSW int8", "vamana-lvq": "Vamana LVQ", "leanvec": "LeanVec", "rabitq": "RaBitQ",
}  # fmt: skip
# engine and whether on the prefix -> a color in the picture; all others are gray
SHOWN = [("vamana-lvq", False), ("pq", True), ("hnsw-int8", False), ("torch-bfloat16", False), ("torch-int8", True),
         ("leanvec", False)]  # fmt: skip
RACES = {"per_second": "queries/s in batches of 256", "p50": "ms of a query alone"}


def named(row: dict[str, Any], width: int) -> str:
    """What a row's way is called."""
    return ENGINES.get(row["engine"], row["engine"]) + (" on the prefix" if row["dim"] < width else "")


def finding(part: dict[str, Any], target: float = 0.98) -> str:
    """One sentence: the quickest ways of a part at the target, for each race."""
    ways, width = compared(part["rows"], target), part["width"]
    many, one = (max(ways, key=lambda row: row[f"{race}_x_exact"]) for race in ("batch", "single"))
    batch, single = f"{many['batch_x_exact']:.0f} times", f"{one['single_x_exact']:.0f} times"
    who = named(many["batch"], width), named(one["single"], width)
    second = "and" if who[0] == who[1] else who[1]
    return f"At recall {target}, {who[0]} is {batch} as quick as exact search in batches, {second} {single} alone"


def roofline(part: dict[str, Any], machine: dict[str, Any], target: float = 0.98) -> str:
    """What exact search and scans in small types read and multiply for a query, over what one thread reads and
    multiplies in a second, beside what was measured."""
    rows, n, width = part["rows"], part["documents"], part["width"]
    columns = ("MB read", "least ms", "p50 ms", "M mult.", "most /s", "/s")
    lines = [f"{part['name'] + f': {n:,} x {width}':<60}" + "".join(f"{name:>10}" for name in columns)]
    for way in dict.fromkeys(row["way"] for row in rows if row["engine"].startswith(("float32", "torch"))):
        alone, batch = (chosen(rows, way, race, target) for race in ("single", "batch"))
        if alone is None or batch is None:
            continue
        kind, dim = alone["engine"].removeprefix("torch-"), alone["dim"]
        read = n * dim * {"float32": 4, "bfloat16": 2, "int8": 1}[kind] + 4 * alone["depth"] * width
        scan, again = n * dim, batch["depth"] * width
        peak, other = (machine[f"{of}_multiply_adds_per_second"] for of in (kind, "float32"))
        seconds = scan / peak + again / other
        numbers = (f"{read / 1e6:.1f}", f"{1e3 * read / machine['bytes_per_second']:.2f}", f"{alone['p50']:.2f}",
                   f"{(scan + again) / 1e6:.1f}", f"{1 / seconds:,.0f}", f"{batch['per_second']:,.0f}")  # fmt: skip
        lines.append(f"  {way:<58}" + "".join(f"{number:>10}" for number in numbers))
    return "\n".join(lines)


def picture(parts: list[dict[str, Any]], title: str) -> dict[str, Any]:
    """Recall against speed as a plotly figure, a row of two for each part: in batches and alone. Every way that was
    measured is a gray line, those in SHOWN are colored and named, exact search is a dashed line."""
    traces, notes = [], []
    layout = {**plots.style(title), "width": 1150, "height": 130 + 400 * len(parts)}
    for place, (part, (measure, axis)) in enumerate(product(parts, RACES.items()), start=1):
        rows, width = [row for row in part["rows"] if "p50" in row], part["width"]
        ways = {row["way"]: (row["engine"], row["dim"] < width) for row in rows}
        for way in sorted(ways, key=lambda way: ways[way] in SHOWN):
            of = sorted((row for row in rows if row["way"] == way), key=lambda row: row["recall"])
            color = plots.COLORS[SHOWN.index(ways[way])] if ways[way] in SHOWN else "#D0D0D0"
            bold = color != "#D0D0D0" and not way.endswith("int8")
            look = {"mode": "lines+markers", "line": {"color": color, "width": 3 if bold else 1},
                    "marker": {"color": color, "size": 7 if bold else 4}}  # fmt: skip
            name = named(of[0], width) if bold and place == 1 else ""
            x, y = [row["recall"] for row in of], [row[measure] for row in of]
            traces.append(plots.trace("scatter", x, y, name, place, **look))
        exact = next(row for row in rows if row["engine"] == "float32")[measure]
        look = {"mode": "lines", "line": {"color": plots.INK, "dash": "dash", "width": 2}}
        traces.append(plots.trace("scatter", [0.9, 1], [exact] * 2, "exact float32" * (place == 1), place, **look))
        left, top = 0.56 * ((place - 1) % 2), 1 - ((place - 1) // 2) / len(parts)
        rate = {"title": {"text": axis}, "type": "log", "showgrid": True, "dtick": 1,
                "domain": (top - 0.76 / len(parts), top - 0.04 / len(parts))}  # fmt: skip
        recall = {"title": {"text": "recall@10"}, "range": [0.9, 1.002], "showgrid": True}
        layout[f"xaxis{place}"] = {**recall, "domain": (left, left + 0.44), "anchor": f"y{place}"}
        layout[f"yaxis{place}"] = {**rate, "anchor": f"x{place}"}
        if measure == "per_second":
            notes.append(plots.heading(f"{part['name']}: {part['documents']:,} x {width}", 0.0, "left") | {"y": top})
    layout |= {"annotations": notes, "legend": {"orientation": "h", "y": 0.0}, "margin": {"t": 90}}
    return {"data": traces, "layout": layout}


def draw(parts: dict[str, dict[str, Any]], path: Path) -> None:
    """The picture of the real sentences and the widest million as a file, where a Chromium and kaleido are there."""
    shown = [parts[name] for name in ("real", "wide") if parts.get(name, {}).get("rows")]
    browser = find_chromium()
    if not browser or not find_spec("kaleido"):
        print(f"no picture: {REMEDY}, and kaleido: pip install kaleido")
        return
    os.environ.setdefault("BROWSER_PATH", browser)
    go.Figure(picture(shown, finding(shown[0]))).write_image(path, scale=1.5)
