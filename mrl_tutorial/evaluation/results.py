"""The small files that come with the course: measurements too heavy for a notebook."""

from __future__ import annotations

from pathlib import Path

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import data_file


def result_file(name: str) -> Path:
    """The path of data/results/NAME.csv. Raises InputError, with the names there are, where it does not exist."""
    folder = data_file("results")
    path = folder / f"{name}.csv"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.csv"))) or "none yet"
        raise InputError(f"no measurement is called {name!r}: there are {there}")
    return path
