"""What several commands need: places that can be written, the encoder and the task, warnings."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mrl_tutorial as mrl
from mrl_tutorial.errors import InputError

if TYPE_CHECKING:
    from mrl_tutorial.tasks.task import Task


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
    above = target.absolute().parents  # a folder's are made on the way: the first that exists decides
    parent = next(p for p in above if p.exists()) if folder else above[0]
    if not parent.is_dir():
        raise InputError(f"{parent} is no folder: make it first, or write {target.name} elsewhere")
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise InputError(f"cannot write in {parent}: {error.strerror}; give another place") from None


def say_warnings(task: Task) -> None:
    """What was dropped or decided when the task was read, one line each, on stderr, apart from the results."""
    for warning in task.warnings:
        print(f"{task.name}: {warning}", file=sys.stderr)


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Some of the options, as a function takes them."""
    return {name: getattr(args, name) for name in names}


def read_task(args: argparse.Namespace) -> tuple[Any, mrl.Encoder | None]:
    """The task, and the encoder unless the task holds vectors already."""
    task = mrl.load_task(args.task, columns=args.columns)
    if not holds_vectors(task):
        return task, read_encoder(args)
    if args.model:
        raise InputError(f"{args.task} holds vectors, which no encoder makes: leave --model out")
    return task, None


def read_encoder(args: argparse.Namespace) -> mrl.Encoder:
    """The encoder with what was typed of it."""
    from mrl_tutorial.models.download import DEFAULT_MODEL

    changes: dict[str, Any] = {name: getattr(args, name, None) for name in ("similarity", "max_length", "pooling")}
    encoder = mrl.Encoder.load(args.model or DEFAULT_MODEL, **changes)
    for side in ("query", "document"):
        if (prompt := getattr(args, f"{side}_prompt", None)) is not None:
            encoder.prompts = {**encoder.prompts, side: prompt}
    return encoder


def holds_vectors(task: Any) -> bool:
    """Whether there is nothing to encode in the task."""
    if task.kind == "classification":
        inputs, _ = next(iter(task.splits.values()))
        return not isinstance(inputs, list)
    return task.kind == "vectors"
