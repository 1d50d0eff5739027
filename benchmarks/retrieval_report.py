"""The table and the picture of the retrieval benchmark, drawn from its file."""

from __future__ import annotations

from typing import Any

import numpy as np

from mrl_tutorial.panels import plots

TIMES = ("x exact", "x full")
COLUMNS = ("recall", "queries/s", *TIMES, "recall", "p50 ms", "p95 ms", *TIMES, "build s", "MB")


def chosen(rows: list[dict], way: str, race: str, target: float) -> dict[str, Any] | None:
    """Of one way's rows the quickest in a race ("single" or "batch") that reaches the target on the tuning queries."""
    enough = [row for row in rows if row["way"] == way and row["tune"]["recall"] >= target]
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


# way -> its name in the picture; {0} is the full width; the first six have a color each, in this order
SHOWN = {
    "vamana-lvq, {0}": "Vamana LVQ",
    "pq, 128, rerank float32": "PQ FastScan on the prefix",
    "hnsw-int8, {0}, rerank float32": "HNSW int8",
    "torch-bfloat16, {0}, rerank float32": "torch bf16",
    "torch-int8, 128, rerank float32": "torch int8 on the prefix",
    "leanvec, {0}": "LeanVec",
}
RACES = {"per_second": "queries a second, in batches of 256", "p50": "milliseconds of a query alone, median"}


def picture(parts: list[dict[str, Any]], title: str) -> dict[str, Any]:
    """Recall against speed as a plotly figure, a row of two for each part: in batches and alone. Every way that was
    measured is a gray line, those in SHOWN are colored and named, exact search is a dashed line."""
    traces, layout, notes = [], {**plots.style(title), "width": 1150, "height": 120 + 420 * len(parts)}, []
    for p, (part, (measure, axis)) in enumerate((part, race) for part in parts for race in RACES.items()):
        place, rows, width = p + 1, part["rows"], part["width"]
        shown = {way.format(width): name for way, name in SHOWN.items()}
        top, left = 1 - (p // 2) / len(parts), 0.56 * (p % 2)
        for way in sorted(dict.fromkeys(row["way"] for row in rows), key=list(shown).__contains__):
            of = [row for row in rows if row["way"] == way and measure in row and row["dim"] > 0]
            color = plots.COLORS[list(shown).index(way)] if way in shown else "#D0D0D0"
            line = {"color": color, "width": 3 if way in shown else 1}
            x, y = [row["recall"] for row in of], [row[measure] for row in of]
            look = {"mode": "lines+markers", "line": line, "marker": {"color": color, "size": 7 if way in shown else 4}}
            traces.append(plots.trace("scatter", x, y, shown.get(way, "") if not p else "", place, **look))
        exact = next(row for row in rows if row["way"].startswith("float32"))[measure]
        look = {"mode": "lines", "line": {"color": plots.INK, "dash": "dash", "width": 2}}
        traces.append(plots.trace("scatter", [0.9, 1], [exact] * 2, "exact float32" if not p else "", place, **look))
        layout |= plots.subplot(
            place, (left, left + 0.44), {"title": {"text": "recall@10"}, "range": [0.9, 1.002], "showgrid": True},
            {"title": {"text": axis}, "type": "log", "showgrid": True, "dtick": 1,
             "domain": (top - 0.78 / len(parts), top - 0.04 / len(parts))},
        )  # fmt: skip
        if p % 2 == 0:
            notes.append(plots.heading(f"{part['name']}: {part['documents']:,} x {width}", 0.0, "left") | {"y": top})
    layout |= {"annotations": notes, "legend": {"orientation": "h", "y": -0.1}, "margin": {"t": 110}}
    return {"data": traces, "layout": layout}
