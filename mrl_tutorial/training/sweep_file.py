"""The csv file of a sweep: '#' lines that say how it was made, then a row for each cell."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mrl_tutorial import __version__, files
from mrl_tutorial.errors import InputError

KEY = ["recipe", "what", "heads", "seed", "task", "split", "metric", "layer", "dim"]
COLUMNS = [*KEY, "value", "steps", "batch_size", "lr", "seconds"]
NUMBERS: dict[str, type] = dict.fromkeys(("value", "lr", "seconds"), float)
NUMBERS |= dict.fromkeys(("seed", "layer", "dim", "steps", "batch_size"), int)
FIRST = "# mrl-tutorial sweep"  # how every file of this kind begins


def read_sweep(path: str | Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of a sweep's file and its header: command, settings, environment. Raises InputError for another file."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): give a file that mrl-tutorial sweep wrote") from None
    n = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if not lines or not lines[0].startswith(FIRST) or lines[n : n + 1] != [",".join(COLUMNS)]:
        raise InputError(f"{path} is not a sweep: give a file that mrl-tutorial sweep wrote")
    header = dict(line[2:].split(": ", 1) for line in lines[1:n] if ": " in line)
    try:
        # only an empty number is missing: a task may well be called "null"
        frame = pd.read_csv(path, skiprows=n, keep_default_na=False, dtype=str)
        return frame.replace({"value": {"": "nan"}, "lr": {"": "nan"}}).astype(NUMBERS), header
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): correct the row, or delete the file") from None


def write(path: Path, header: dict[str, str], frame: pd.DataFrame) -> None:
    """Header and rows as one file, whole or not at all."""
    lines = [f"{FIRST}: one row for each cell\n", *(f"# {name}: {value}\n" for name, value in header.items())]
    with files.whole_file(path) as temporary:
        temporary.write_text("".join(lines) + frame.to_csv(index=False, lineterminator="\n"), encoding="utf-8")


def resume(path: Path, settings: Mapping[str, Any], command: str) -> tuple[dict[str, str], pd.DataFrame]:
    """Header and rows to go on from. Raises InputError where the file is that of another sweep."""
    given = {"command": command or "mrl_tutorial.training.sweep.sweep in Python", **settings}
    given = {name: " ".join(str(value).split()) for name, value in given.items()}  # a line each
    here = environment()
    if not path.exists():
        return given | here, pd.DataFrame(columns=COLUMNS)
    frame, header = read_sweep(path)
    for name in settings:
        if (before := header.get(name, "")) != given[name]:
            what = f"{path} holds a sweep with {name} {before!r}, this one has {given[name]!r}"
            raise InputError(f"{what}: write to another file")
    for name, value in here.items():
        if value not in header.get(name, "").split(" | "):  # rows from two environments are no secret
            header[name] = f"{header.get(name, '')} | {value}"
    return header, frame


def environment() -> dict[str, str]:
    """Versions, threads and processor of this machine, as a sweep's header says them."""
    said = [f"mrl-tutorial {__version__}", f"python {platform.python_version()}"]
    said += [f"{package} {version(package)}" for package in ("torch", "transformers", "numpy", "scikit-learn")]
    about = Path("/proc/cpuinfo")  # Linux alone has it
    found = re.search(r"^model name\s*:(.*)$", about.read_text("utf-8") if about.exists() else "", re.MULTILINE)
    processor = found[1].strip() if found else platform.processor() or platform.machine()
    return {
        "versions": ", ".join(said),
        "threads": str(torch.get_num_threads()),
        "processor": f"{processor}, {os.cpu_count()} cores, {platform.system()}",
    }


def write_items(path: Path, recipe: str, seed: int, items: Mapping[str, Any]) -> None:
    """Keep what a run gave for each item, "task metric" -> (layers, dims, items) float16, and its losses, beside the
    sweep's file: in the folder of its name, a file for each run."""
    with files.whole_file(_items_file(path, recipe, seed)) as temporary:
        np.savez_compressed(temporary, **dict(items))


def read_items(path: str | Path, recipe: str, task: str, metric: str) -> np.ndarray:
    """The values of each item in a sweep: (seeds, layers, dims, items) float32, in the order of the file's cells.

    Runs that diverged have none and are left out. Two of them, cell by cell, are what `statistics.paired` compares.
    Raises InputError where the sweep has no such run, or its values were not kept.
    """
    frame = read_sweep(path)[0]
    rows = frame[(frame.recipe == recipe) & (frame.task == task) & (frame.metric == metric)].dropna(subset="value")
    found = []
    for seed in rows.seed.unique():
        try:
            with np.load(_items_file(Path(path), recipe, seed)) as stored:
                found.append(stored[f"{task} {metric}"].astype(np.float32))
        except (OSError, KeyError):
            what = f"{path} lacks the values of {recipe}, seed {seed}"
            raise InputError(f"{what}: delete its rows and run it again") from None
    if not found:
        raise InputError(f"{recipe!r} on {task!r} by {metric} is not in {path}: run the sweep further")
    return np.stack(found)


def _items_file(path: Path, recipe: str, seed: int) -> Path:
    folder = path.with_suffix("") if path.suffix == ".csv" else path.with_name(f"{path.name}-items")
    return folder / f"{re.sub('[^a-z0-9]+', '-', recipe)}-{seed}.npz"


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread (sample standard deviation) over seeds of each cell, in the order of the file.

    One row for each recipe, what, heads, task, split, metric, layer and dim, with mean, spread (NaN for one seed),
    seeds (how many gave a value) and diverged (how many did not). All separate:l,d make one recipe, "separate".

    >>> rows = [dict.fromkeys(COLUMNS, 1) | {"recipe": "mrl", "seed": seed, "value": seed / 10} for seed in (1, 3)]
    >>> table = summary(pd.DataFrame(rows))
    >>> float(table["mean"][0].round(2)), float(table.spread[0].round(2)), int(table.seeds[0])
    (0.2, 0.14, 2)
    """
    frame = frame.assign(recipe=frame.recipe.str.replace(r"^separate:.*", "separate", regex=True))
    groups = frame.groupby([name for name in KEY if name != "seed"], sort=False)["value"]
    table = groups.agg(mean="mean", spread="std", seeds="count", diverged=lambda x: int(x.isna().sum()))
    return table.reset_index()
