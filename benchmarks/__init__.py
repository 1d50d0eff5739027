"""Benchmarks against what one would otherwise run: in one process and run, as ratios with their spread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


def interleave(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of every way, `repeats` each after one warm-up, taken in turns so that a busy machine hurts all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: list[float]) -> dict[str, float]:
    """min, median and max."""
    ordered = sorted(values)
    half = len(ordered) // 2
    median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
    return {"min": ordered[0], "median": median, "max": ordered[-1]}


def ratios(theirs: list[float], ours: list[float]) -> dict[str, float]:
    """Spread of theirs / ours, turn by turn: above 1 where ours is cheaper."""
    return spread([a / b for a, b in zip(theirs, ours, strict=True)])


def as_text(value: Mapping[str, float], unit: str = "") -> str:
    """`median unit (min to max)`."""
    return f"{value['median']:.3g}{unit} ({value['min']:.3g} to {value['max']:.3g})"
