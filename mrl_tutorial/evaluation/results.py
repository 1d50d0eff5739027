"""The small files that come with the course: published numbers, and measurements too heavy for a notebook."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import data_file
from mrl_tutorial.training.sweep_file import read_sweep

PUBLISHED = ("reproduction_sts", "reproduction_retrieval", "starbucks")


def published(name: str) -> pd.DataFrame:
    """Numbers from a paper, as data/published/NAME.csv holds them; cite the paper beside them (README.md there).

    Raises InputError for another name than those in `PUBLISHED`.
    """
    if name not in PUBLISHED:
        raise InputError(f"no published numbers are called {name!r}: there are {', '.join(PUBLISHED)}")
    return pd.read_csv(data_file(f"published/{name}.csv"))


def sweep(name: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows and header of data/results/NAME.csv, written by `mrl-tutorial sweep`. Raises InputError where it is none."""
    return read_sweep(_result(name))


def table(name: str) -> pd.DataFrame:
    """Any other measurement in data/results/NAME.csv; its first lines, '# name: value', are in `.attrs`.

    Raises InputError where it is not there.
    """
    path = _result(name)
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line[2:] for line in lines if line.startswith("# ")]
    frame = pd.read_csv(path, comment="#")
    frame.attrs.update(line.split(": ", 1) for line in head if ": " in line)
    return frame


def _result(name: str) -> Path:
    folder = data_file("results")
    path = folder / f"{name}.csv"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.csv"))) or "none yet"
        raise InputError(f"no measurement is called {name!r}: there are {there}")
    return path
