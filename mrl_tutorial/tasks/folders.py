"""Paths -> a task: a folder in BEIR layout, a folder of tables, one table, or a `.npy` of vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.beir import read_beir
from mrl_tutorial.tasks.formats import SPLIT_NAMES, TABLES, is_number, read_lines, stem_of, suffix_of
from mrl_tutorial.tasks.tables import Columns, Reshape, Table, read_table
from mrl_tutorial.tasks.task import Task
from mrl_tutorial.tasks.types import ClassificationTask, PairsTask, STSTask, VectorsTask


def task_from_path(
    path: Path, name: str, origin: str, limit: int | None = None, columns: Columns | None = None
) -> Task:
    """The task that a file or folder holds, by its layout; limit: at most this many training rows of a task of pairs;
    columns: as for `tables.named`. Raises InputError naming file, line and remedy."""
    corpus, queries = (_packed(path / part) for part in ("corpus.jsonl", "queries.jsonl"))
    if columns and (path.suffix.lower() == ".npy" or corpus.exists() or queries.exists()):
        raise InputError(f"{path}: holds no table: leave columns out")
    if path.is_file():
        if suffix_of(path) in TABLES:
            return task_from_tables({"all": [path]}, name, origin, limit, columns=columns)
        if path.suffix.lower() == ".npy":
            return _task_of_vectors(path, name, origin)
        raise InputError(f"{path}: cannot be read as a task; give a {', '.join(TABLES)} or .npy, or a folder")
    if corpus.exists() or queries.exists():
        qrels = [file for pattern in ("qrels/*", "qrels*") for file in sorted(path.glob(pattern)) if file.is_file()]
        qrels = [file for file in qrels if suffix_of(file) in (".tsv", ".jsonl")]
        if not qrels:
            raise InputError(f"{path}: no qrels/*.tsv; give query-id, corpus-id, score, e.g. in qrels/test.tsv")
        return read_beir([corpus], [queries], qrels, name, origin)
    if released := sorted(path.glob("sts-*.csv")):
        splits = {file.stem.removeprefix("sts-"): columns_of_scores(_read_stsb(file)) for file in released}
        return STSTask(name, origin, {SPLIT_NAMES.get(split, split): scored for split, scored in splits.items()})
    tables = [file for file in sorted(path.iterdir()) if suffix_of(file) in TABLES]
    tables = [file for file in tables if not file.name.startswith(".")]  # what others hide, or have not yet finished
    found: dict[str, list[Path]] = {}
    for file in tables:
        found.setdefault(SPLIT_NAMES.get(stem_of(file).lower(), ""), []).append(file)
    unread = [f"{file.name} is not read: name it after its split (train, dev, test)" for file in found.pop("", [])]
    if not found:
        needed = "corpus.jsonl, queries.jsonl, qrels/, or train.csv, test.csv"
        raise InputError(f"{path}: no task in this folder; it needs {needed}")
    for split, files in found.items():
        if len(files) > 1:
            raise InputError(f"{path}: two files of {split} ({', '.join(file.name for file in files)}); keep one")
    task = task_from_tables(found, name, origin, limit, columns=columns)
    task.warnings.extend(unread)
    return task


def _packed(path: Path) -> Path:
    """The path, or where only that is there, the same with .gz."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.exists() and not path.exists() else path


def task_from_tables(
    paths: Mapping[str, Sequence[Path]],
    name: str,
    origin: str,
    limit: int | None,
    reshape: Reshape | None = None,
    columns: Columns | None = None,
) -> Task:
    """A task of files by split, "all" for a file without a name: as `task_of_tables`; reshape, columns, errors: as
    `read_table`."""
    tables = {split: [read_table(path, reshape, columns) for path in its] for split, its in paths.items()}
    return task_of_tables(tables, name, origin, limit)


def task_of_tables(tables: Mapping[str, Sequence[Table]], name: str, origin: str, limit: int | None) -> Task:
    """A task of tables by split, "all" for one without a name. Training data alone are cut into train, dev and test;
    a train split without a dev split gives it a fifth. limit: as for `task_from_path`. Raises InputError for tables of
    different kinds."""
    warnings = [warning for its in tables.values() for table in its for warning in table.warnings]
    kind, *others = {table.kind: None for its in tables.values() for table in its}
    if others:
        mixed = ", ".join(f"{split} {its[0].kind}" for split, its in tables.items())
        raise InputError(f"{origin}: different kinds of files ({mixed}); give one kind")
    splits: dict[str, Any] = {split: [row for table in its for row in table.rows] for split, its in tables.items()}
    if kind == "labeled":
        kind, splits = _by_labels(origin, splits, warnings)
    if kind == "classification":
        return _cut(ClassificationTask.of_rows(name, origin, splits, warnings))
    if kind == "sts":
        scored = {split: columns_of_scores(rows) for split, rows in splits.items()}
        return _cut(STSTask(name, origin, scored, warnings=warnings))
    if kind == "sets":
        whole = _cut(_Sets(name, origin, splits))
        splits = {split: pairs_of_sets(rows, split) for split, rows in whole.splits.items()}
        return PairsTask(name, origin, splits, limit, warnings=warnings, cuts=whole.cuts).with_splits()
    return replace(_cut(PairsTask(name, origin, splits, warnings=warnings)), limit=limit).with_splits()


def _by_labels(origin: str, splits: dict[str, Any], warnings: list[str]) -> tuple[str, dict[str, Any]]:
    """Pairs with labels as graded pairs, or, where every label is 0 or 1, as pairs; says which in `warnings`.

    A pair that is labeled 0 gives a negative to its first text, where that has a pair; else it is left out."""
    labels = [label for rows in splits.values() for *_, label in rows]
    if set(labels) - {0, 1}:
        warnings.append(
            f"labels from {min(labels):g} to {max(labels):g} are read as scores, a higher one for a closer meaning"
        )
        return "sts", splits
    found: dict[str, Any] = {}
    used = 0
    for split, rows in splits.items():
        pairs = [[first, second] for first, second, label in rows if label]
        of_anchor = {pair[0]: pair for pair in reversed(pairs)}
        for first, second, label in rows:
            if not label and first in of_anchor:
                of_anchor[first].append(second)
                used += 1
        found[split] = [tuple(pair) for pair in pairs]
    if empty := [split for split, pairs in found.items() if not pairs]:
        raise InputError(f"{origin}: no pair is labeled 1 (in {empty[0]}); label pairs that belong together with 1")
    zeros = labels.count(0)
    if zeros:
        kept = f"{len(labels) - zeros:,} of {len(labels):,} pairs are labeled 1 and kept"
        warnings.append(
            f"{kept}; labeled 0: {used:,} negatives of a first text that has a pair, {zeros - used:,} left out"
        )
    return "pairs", found


class _Sets(PairsTask):
    """Texts that mean the same, a row for each set, before they become pairs."""

    def _texts(self, items: list[tuple[str, ...]]) -> list[str]:
        return [" | ".join(row) for row in items]


AnyTask = TypeVar("AnyTask", bound=Task)


def _cut(task: AnyTask) -> AnyTask:
    """With the splits that are cut from train at once."""
    have = vars(task)["splits"].keys()
    if have == {"train"}:
        return task.in_tenths("train")
    return task.with_dev() if "train" in have else task


def pairs_of_sets(rows: Sequence[Sequence[str]], split: str) -> list[tuple[Any, ...]]:
    """(anchor, positive) of texts that mean the same: the 1st and 2nd, 3rd and 4th, … to train on; of a held-out set
    the 1st and 2nd alone, so that an anchor has one positive."""
    return [(row[i], row[i + 1]) for row in rows for i in (range(0, len(row) - 1, 2) if split == "train" else (0,))]


def columns_of_scores(rows: Sequence[tuple[Any, ...]]) -> tuple[list[str], list[str], np.ndarray]:
    """Rows (first, second, score) as three columns, the scores (N,) float64."""
    return [row[0] for row in rows], [row[1] for row in rows], np.array([row[2] for row in rows], np.float64)


def _read_stsb(path: Path) -> list[tuple[str, str, float]]:
    """(first, second, score) of a file of STS-B as released: tab-separated, no header, no quoting; field 5 is the score
    (0 to 5), 6 and 7 the sentences, some lines have two more."""
    rows = []
    for number, line in read_lines(path):
        fields = [field.strip() for field in line.split("\t")]
        if fields == [""]:
            continue
        if len(fields) < 7 or not is_number(fields[4]) or not fields[5] or not fields[6]:
            problem = "field 5 must be a score, 6 and 7 sentences, separated by tabs"
            raise InputError(f"{path}:{number}: {problem}; correct the line")
        rows.append((fields[5], fields[6], float(fields[4])))
    if not rows:
        raise InputError(f"{path}: is empty; give score and sentences in fields 5 to 7")
    return rows


def _task_of_vectors(path: Path, name: str, origin: str) -> VectorsTask | ClassificationTask:
    """The task of a `.npy`: classification in 5 folds where there are labels beside it, else a fifth of the vectors (at
    most 1,000) as queries. Raises InputError for fewer than 20 vectors, and as the readers do."""
    vectors, labels = _read_vectors(path), _read_labels(path)
    count = vectors.shape[1]
    if labels is not None:
        if len(labels) != count:
            raise InputError(f"{path}: {count} vectors but {len(labels)} labels beside it; give one label per vector")
        return ClassificationTask.in_folds(name, origin, vectors if len(vectors) > 1 else vectors[0], labels)
    if count < 20:
        raise InputError(f"{path}: {count} vectors; at least 20 are needed to hold some out as queries")
    queries = np.sort(np.random.default_rng(0).permutation(count)[: min(1000, count // 5)])
    return VectorsTask(name, origin, vectors, queries)


def _read_vectors(path: Path) -> np.ndarray:
    """A `.npy` of shape (N, D) or (L, N, D) -> float32 (L, N, D). Never unpickles. Raises InputError for another shape
    or type, or non-finite values."""
    array = _load(path, "numbers")
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiu" or 0 in array.shape:
        raise InputError(f"{path}: shape {array.shape} of {array.dtype}; give numbers of shape (N, D) or (L, N, D)")
    vectors = np.ascontiguousarray(array if array.ndim == 3 else array[None], dtype=np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.argwhere(~np.isfinite(vectors))[0][1])
        raise InputError(f"{path}: row {row} is not finite in float32; correct or remove it")
    return vectors


def _read_labels(path: Path) -> list[str] | None:
    """The labels beside `path`: `<name>.labels.txt`, one per line, or `<name>.labels.npy`; None if there is neither."""
    if (text := path.with_suffix(".labels.txt")).exists():
        labels = [line.strip() for _, line in read_lines(text)]
        while labels and not labels[-1]:
            labels.pop()
        return labels
    if (numbers := path.with_suffix(".labels.npy")).exists():
        return [str(label) for label in np.atleast_1d(_load(numbers, "labels"))]
    return None


def _load(path: Path, what: str) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
        if isinstance(array, np.ndarray):
            return array
        raise ValueError("several arrays in one file")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a .npy of {what}; write it with numpy.save (no object arrays)") from error
