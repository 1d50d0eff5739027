"""Paths and data in memory -> a task: a folder in BEIR layout or of tables, one table, a `.npy` of vectors, rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.beir import read_beir
from mrl_tutorial.tasks.formats import SPLIT_NAMES, TABLES, parts_of, read_lines
from mrl_tutorial.tasks.tables import Columns, Table, read_table, table_in_memory, table_of
from mrl_tutorial.tasks.task import Task
from mrl_tutorial.tasks.types import ClassificationTask, PairsTask, STSTask, VectorsTask


def task_from_path(
    path: Path, name: str, origin: str, limit: int | None = None, columns: Columns | None = None
) -> Task:
    """The task that a file or folder holds, by its layout; limit, columns, errors: as for `load_task`."""
    suffix = parts_of(path)[1]
    corpus, queries = (_packed(path / f"{part}.jsonl") for part in ("corpus", "queries"))
    retrieval = corpus.exists() or queries.exists()
    if columns and (retrieval or suffix == ".npy"):
        raise InputError(f"{path}: holds no table: leave columns out")
    if retrieval:
        files = [file for pattern in ("qrels/*", "qrels*") for file in sorted(path.glob(pattern))]
        files = [file for file in files if file.is_file() and not file.name.startswith(".")]
        qrels = [file for file in files if parts_of(file)[1] in (".tsv", ".jsonl")]
        if not qrels:
            raise InputError(f"{path}: no qrels/*.tsv; give query-id, corpus-id, score, e.g. in qrels/test.tsv")
        return read_beir([corpus], [queries], qrels, name, origin)
    if path.is_dir():
        return _task_of_folder(path, name, origin, limit, columns)
    if suffix == ".npy":
        return _task_of_vectors(path, name, origin)
    if suffix not in TABLES:
        raise InputError(f"{path}: cannot be read as a task; give a {', '.join(TABLES)} or .npy, or a folder")
    return task_of_tables({"all": [read_table(path, columns=columns)]}, name, origin, limit)


def _packed(path: Path) -> Path:
    """The path, or where only that is there, the same with .gz."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.exists() and not path.exists() else path


def _task_of_folder(path: Path, name: str, origin: str, limit: int | None, columns: Columns | None) -> Task:
    """The task of the tables in a folder that are named for their splits."""
    found: dict[str, list[Path]] = {}
    for file in sorted(path.iterdir()):
        stem, suffix = parts_of(file)
        if suffix in TABLES and not file.name.startswith("."):  # what others hide, or have not yet finished
            found.setdefault(SPLIT_NAMES.get(stem.lower().removeprefix("sts-"), ""), []).append(file)
    unread = [f"{file.name} is not read: name it after its split (train, dev, test)" for file in found.pop("", [])]
    if not found:
        needed = "corpus.jsonl, queries.jsonl, qrels/, or train.csv, test.csv"
        raise InputError(f"{path}: no task in this folder; it needs {needed}")
    tables = {}
    for split, files in found.items():
        if len(files) > 1:
            raise InputError(f"{path}: two files of {split} ({', '.join(file.name for file in files)}); keep one")
        released = files[0].match("sts-*.csv")
        tables[split] = [_read_stsb(files[0]) if released else read_table(files[0], columns=columns)]
    task = task_of_tables(tables, name, origin, limit)
    task.warnings.extend(unread)
    return task


def _read_stsb(path: Path) -> Table:
    """A file of STS-B as released: tab-separated, no header, no quoting; field 5 is the score (0 to 5), 6 and 7 are the
    sentences, and some lines have two more."""
    rows = [(number, line.split("\t")[4:7]) for number, line in read_lines(path) if line.strip()]
    return table_of(path, [(1, ["score", "sentence1", "sentence2"]), *rows])


def task_from_memory(data: Any, name: str, limit: int | None = None, columns: Columns | None = None) -> Task:
    """The task of data in memory, or of several by split, as if they came from files. limit, columns, errors: as for
    `load_task`; of rows that are tuples, columns names the values."""
    origin = f"a {type(data).__name__} in memory"
    if not (isinstance(data, Mapping) and data and all(str(split).lower() in SPLIT_NAMES for split in data)):
        return task_of_tables({"all": [table_in_memory(data, f"{name}, row", columns)]}, name, origin, limit)
    tables: dict[str, list[Table]] = {}
    for given, rows in sorted(data.items()):  # as the files of a folder are
        split = SPLIT_NAMES[str(given).lower()]
        if split in tables:
            raise InputError(f"{origin}: two splits of {split}; keep one")
        tables[split] = [table_in_memory(rows, f"{name}, {split}, row", columns)]
    return task_of_tables(tables, name, origin, limit)


def task_of_tables(tables: Mapping[str, Sequence[Table]], name: str, origin: str, limit: int | None) -> Task:
    """A task of tables by split, "all" for one without a name. Training data alone are cut into train, dev and test;
    a train split without a dev split gives it a fifth. Raises InputError for tables of different kinds."""
    warnings = [warning for its in tables.values() for table in its for warning in table.warnings]
    kind, *others = {table.kind: None for its in tables.values() for table in its}
    if others:
        mixed = ", ".join(f"{split} {its[0].kind}" for split, its in tables.items())
        raise InputError(f"{origin}: different kinds of files ({mixed}); give one kind")
    splits: dict[str, Any] = {split: [row for table in its for row in table.rows] for split, its in tables.items()}
    cuts: dict[str, str] = {}
    if kind == "labeled":
        kind, splits = _by_labels(origin, splits, warnings)
    if kind == "classification":
        return ClassificationTask.of_rows(name, origin, splits, warnings).with_cuts_of_train()
    if kind == "sts":
        columns = {split: list(zip(*rows, strict=True)) for split, rows in splits.items()}
        scored = {split: (list(a), list(b), np.array(scores)) for split, (a, b, scores) in columns.items()}
        return STSTask(name, origin, scored, warnings=warnings).with_cuts_of_train()
    if kind == "sets":  # 1st and 2nd, 3rd and 4th … to train on; held out the first two, so that one text is right
        whole = _Sets(name, origin, splits).with_cuts_of_train()
        cuts, splits = whole.cuts, dict(whole.splits)
        for split, rows in splits.items():
            starts = slice(0, -1, 2) if split == "train" else slice(1)
            splits[split] = [row[i : i + 2] for row in rows for i in range(len(row))[starts]]
    pairs = PairsTask(name, origin, splits, limit, warnings=warnings, cuts=cuts)
    return pairs.with_cuts_of_train().with_splits()


def _by_labels(origin: str, splits: dict[str, Any], warnings: list[str]) -> tuple[str, dict[str, Any]]:
    """Pairs with labels as graded pairs, or, where every label is 0 or 1, as pairs; says which in `warnings`.

    A pair that is labeled 0 gives a negative to its first text, where that has a pair; else it is left out."""
    labels = [label for rows in splits.values() for *_, label in rows]
    if set(labels) - {0, 1}:
        said = f"labels from {min(labels):g} to {max(labels):g} are read as scores"
        warnings.append(f"{said}, a higher one for a closer meaning")
        return "sts", splits
    found: dict[str, Any] = {}
    for split, rows in splits.items():
        pairs = [[first, second] for first, second, label in rows if label]
        if not pairs:
            raise InputError(f"{origin}: no pair is labeled 1 (in {split}); label pairs that belong together with 1")
        of_anchor = {pair[0]: pair for pair in reversed(pairs)}
        for first, second, label in rows:
            if not label and first in of_anchor:
                of_anchor[first].append(second)
        found[split] = [tuple(pair) for pair in pairs]
    if zeros := labels.count(0):
        used = sum(len(pair) - 2 for pairs in found.values() for pair in pairs)
        kept = f"{len(labels) - zeros:,} of {len(labels):,} pairs are labeled 1 and kept"
        of_zeros = f"{used:,} negatives of a first text that has a pair, {zeros - used:,} left out"
        warnings.append(f"{kept}; labeled 0: {of_zeros}")
    return "pairs", found


class _Sets(PairsTask):
    """Texts that mean the same, a row for each set, before they become pairs."""

    def _texts(self, items: list[tuple[str, ...]]) -> list[str]:
        return [" | ".join(row) for row in items]


def _task_of_vectors(path: Path, name: str, origin: str) -> VectorsTask | ClassificationTask:
    """The task of a `.npy` of shape (N, D) or (L, N, D): classification in 5 folds where there are labels beside it, a
    line each in `<name>.labels.txt`, else a fifth of the vectors (at most 1,000) as queries. Never unpickles. Raises
    InputError for another shape or type, non-finite values, and fewer than 20 vectors."""
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a .npy of numbers; write it with numpy.save (no object arrays)") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiu" or 0 in array.shape:
        raise InputError(f"{path}: shape {array.shape} of {array.dtype}; give numbers of shape (N, D) or (L, N, D)")
    vectors = np.ascontiguousarray(array if array.ndim == 3 else array[None], dtype=np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.argwhere(~np.isfinite(vectors))[0][1])
        raise InputError(f"{path}: row {row} is not finite in float32; correct or remove it")
    count = vectors.shape[1]
    beside = path.with_suffix(".labels.txt")
    if beside.exists():
        labels = "\n".join(line.strip() for _, line in read_lines(beside)).rstrip("\n").split("\n")
        if "" in labels:
            raise InputError(f"{beside}:{labels.index('') + 1}: no label; give one a line")
        if len(labels) != count:
            raise InputError(f"{path}: {count} vectors but {len(labels)} labels beside it; give one label per vector")
        return ClassificationTask.in_folds(name, origin, vectors if len(vectors) > 1 else vectors[0], labels)
    if count < 20:
        raise InputError(f"{path}: {count} vectors; at least 20 are needed to hold some out as queries")
    queries = np.sort(np.random.default_rng(0).permutation(count)[: min(1000, count // 5)])
    return VectorsTask(name, origin, vectors, queries)
