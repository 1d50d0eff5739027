"""What several commands need: checks before any work, tables, warnings, scores of one query."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mrl_tutorial.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from mrl_tutorial.grid import Grid
    from mrl_tutorial.tasks.task import Task

COLUMNS = 14  # dimensions that a table shows side by side


def say_warnings(task: Task) -> None:
    """What was dropped or decided when the task was read, one line each, on stderr, apart from the results."""
    for warning in task.warnings:
        print(f"{task.name}: {warning}", file=sys.stderr)


def writable(path: str | None, *, folder: bool = False) -> None:
    """Check, before any work, that `path` can be written. Raises InputError naming it."""
    if path is None:
        return
    target = Path(path)
    if target.exists() and target.is_dir() != folder:
        is_, give = ("a file", "folder") if folder else ("a folder", "file")
        raise InputError(f"{path} is {is_}: give the name of a {give}")
    if folder and target.exists() and any(target.iterdir()) and not (target / "mrl_tutorial.json").exists():
        raise InputError(f"{path} holds files that are not a saved model: give a new or an empty folder")
    parent = target.absolute().parent
    if folder:  # the folders above it are made on the way: the first that exists decides
        parent = next(p for p in target.absolute().parents if p.exists())
    elif not parent.is_dir():
        raise InputError(f"{parent} is no folder: make it first, or write {target.name} elsewhere")
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise InputError(f"cannot write in {parent}: {error.strerror}; give another place") from None


def table(grid: Grid) -> str:
    """The grid as text, in blocks of at most `COLUMNS` dimensions."""
    starts = range(0, len(grid.dims), COLUMNS)
    blocks = (
        replace(grid, dims=grid.dims[i : i + COLUMNS], values=grid.values[:, i : i + COLUMNS], per_item=None)
        for i in starts
    )
    return "\n".join(block.as_text() for block in blocks)


def score(query: np.ndarray, documents: np.ndarray, dim: int, cosine: bool) -> np.ndarray:
    """Scores of one query (1, D) with documents (N, D), both cut to `dim`: (N,). Zero vectors score 0."""
    import torch

    from mrl_tutorial.prefixes import nested_scores

    return nested_scores(torch.from_numpy(query), torch.from_numpy(documents), [dim], cosine)[0, 0].numpy()
