"""The small files that come with the course: measurements too heavy for a notebook."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import data_file


def table(name: str) -> pd.DataFrame:
    """A measurement in data/results/NAME.csv; its first lines, '# name: value', are in `.attrs`.

    Raises InputError where there is none of that name. A sweep's file is read by `training.sweep_file.load_sweep`.
    """
    path = result_file(name)
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line[2:] for line in lines if line.startswith("# ")]
    frame = pd.read_csv(path, comment="#")
    frame.attrs.update(line.split(": ", 1) for line in head if ": " in line)
    return frame


def result_file(name: str) -> Path:
    """The path of data/results/NAME.csv. Raises InputError, with the names there are, where it does not exist."""
    folder = data_file("results")
    path = folder / f"{name}.csv"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.csv"))) or "none yet"
        raise InputError(f"no measurement is called {name!r}: there are {there}")
    return path
