"""A path -> a task: a folder in BEIR layout, a folder of tables, one table, or a `.npy` of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.beir import read_beir
from mrl_tutorial.tasks.formats import SPLIT_NAMES, TABLES, columns_of_scores, read_stsb, read_table
from mrl_tutorial.tasks.splits import cut_by_hash, limit_train, normalized, with_dev
from mrl_tutorial.tasks.types import ClassificationTask, PairsTask, STSTask
from mrl_tutorial.tasks.vectors import task_of_vectors


def task_from_path(path: Path, name: str, origin: str, limit: int | None = None) -> Any:
    """The task that a file or folder holds, by its layout. Raises InputError naming file, line and remedy.

    limit: at most so many training rows of a task of pairs."""
    if path.is_file():
        if path.suffix == ".npy":
            return task_of_vectors(path, name, origin)
        if path.suffix in TABLES:
            return task_from_tables({"all": path}, name, origin, limit)
        raise InputError(f"{path}: cannot be read as a task; give a {', '.join(TABLES)} or .npy, or a folder")
    if (path / "corpus.jsonl").exists() or (path / "queries.jsonl").exists():
        return read_beir(path, name, origin)
    if any(path.glob("sts-*.csv")):
        return STSTask(name, origin, read_stsb(path))
    tables = {
        SPLIT_NAMES[file.stem]: file
        for file in sorted(path.iterdir())
        if file.suffix in TABLES and file.stem in SPLIT_NAMES
    }
    if not tables:
        raise InputError(
            f"{path}: no task in this folder; it needs corpus.jsonl, queries.jsonl, qrels/, or train.csv, test.csv"
        )
    return task_from_tables(tables, name, origin, limit)


def task_from_tables(paths: dict[str, Path], name: str, origin: str, limit: int | None) -> Any:
    """A task of tables by split; a single one is cut by the hash of its text, or of its set of texts."""
    tables = {split: read_table(path) for split, path in paths.items()}
    warnings = [warning for table in tables.values() for warning in table.warnings]
    kind, *others = {table.kind: None for table in tables.values()}
    if others:
        mixed = ", ".join(f"{paths[split].name} {table.kind}" for split, table in tables.items())
        raise InputError(f"{origin}: different kinds of files ({mixed}); give one kind")

    def text(row: Sequence[Any]) -> str:
        return " | ".join(map(str, row)) if kind == "sets" else normalized(str(row[0]))

    splits = {split: table.rows for split, table in tables.items()}
    if len(splits) == 1:
        rows = next(iter(splits.values()))
        splits = cut_by_hash(rows, text)
        if empty := [split for split, found in splits.items() if not found]:
            raise InputError(
                f"{origin}: {len(rows)} rows are too few to cut by hash (no {empty[0]}); give train.csv and test.csv"
            )
    splits = with_dev(splits, text)
    if kind == "classification":
        return _classification(splits, name, origin, warnings)
    if kind == "sts":
        scored = {split: columns_of_scores(rows) for split, rows in splits.items()}
        return STSTask(name, origin, scored, warnings=warnings)
    if kind == "sets":
        splits = {split: pairs_of_sets(rows, split) for split, rows in splits.items()}
    return PairsTask(name, origin, limit_train(splits, limit, warnings), warnings=warnings)


def pairs_of_sets(rows: Sequence[Sequence[str]], split: str) -> list[tuple[Any, ...]]:
    """(anchor, positive) of texts that mean the same: the 1st and 2nd, 3rd and 4th, … to train on; of a held-out set
    the 1st and 2nd alone, so that an anchor has one positive.

    >>> pairs_of_sets(["abcde"], "train"), pairs_of_sets(["abcde"], "test")
    ([('a', 'b'), ('c', 'd')], [('a', 'b')])
    """
    return [(row[i], row[i + 1]) for row in rows for i in (range(0, len(row) - 1, 2) if split == "train" else (0,))]


def _classification(
    splits: dict[str, list[tuple[Any, ...]]], name: str, origin: str, warnings: list[str]
) -> ClassificationTask:
    """The task of rows (text, label). Raises InputError where there is only one label."""
    classes = sorted({row[1] for rows in splits.values() for row in rows})
    if len(classes) < 2:
        raise InputError(f"{origin}: only one label ({classes[0]!r}); a classification task needs two or more")
    number = {label: index for index, label in enumerate(classes)}
    if unseen := sorted(set(classes) - {row[1] for row in splits.get("train", ())}):
        warnings.append(f"{len(unseen)} labels are not in train (first: {unseen[0]!r}), so they are never predicted")
    labelled = {
        split: ([row[0] for row in rows], np.array([number[row[1]] for row in rows], np.int64))
        for split, rows in splits.items()
    }
    return ClassificationTask(name, origin, labelled, classes, warnings=warnings)
