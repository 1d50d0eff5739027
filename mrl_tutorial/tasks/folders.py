"""A path -> a task: folders in BEIR or csv layout, a single csv, a `.npy` of vectors; and the splits they lack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks import formats
from mrl_tutorial.tasks.prose import normal
from mrl_tutorial.tasks.pydocs import split_of
from mrl_tutorial.tasks.types import (
    ClassificationTask,
    PairsTask,
    RetrievalTask,
    STSTask,
    VectorsTask,
    stratified_folds,
)


def task_from_path(path: Path, name: str, origin: str, limit: int | None) -> Any:
    """The task that a file or folder holds, by its layout. Raises InputError naming file, line and remedy."""
    if path.is_file():
        if path.suffix == ".npy":
            return _vectors(path, name, origin)
        if path.suffix in (".csv", ".tsv"):
            return _from_tables({"all": path}, name, origin, limit)
        raise InputError(f"{path}: cannot be read as a task; give a .csv, .tsv or .npy, or a folder")
    if (path / "corpus.jsonl").exists() or (path / "queries.jsonl").exists():
        return _retrieval(path, name, origin)
    if any(path.glob("sts-*.csv")):
        return STSTask(name, origin, formats.read_stsb(path))
    files = {
        formats.SPLIT_NAMES[file.stem]: file
        for file in sorted(path.iterdir())
        if file.suffix in (".csv", ".tsv") and file.stem in formats.SPLIT_NAMES
    }
    if not files:
        raise InputError(
            f"{path}: no task in this folder; it needs corpus.jsonl, queries.jsonl, qrels/, or train.csv, test.csv"
        )
    return _from_tables(files, name, origin, limit)


def _retrieval(folder: Path, name: str, origin: str) -> RetrievalTask:
    corpus, queries, judged, warnings = formats.read_beir(folder)
    qrels: dict[str, dict[str, int]] = {}
    splits: dict[str, list[str]] = {}
    for split in ("test", "dev", "train"):  # a query that is judged in two belongs to the one that must stay unseen
        for query, grades in judged.get(split, {}).items():
            if query in qrels:
                warnings.append(f"query {query!r} is judged in two splits; taken out of {split}")
            else:
                qrels[query] = grades
                splits.setdefault(split, []).append(query)
    return RetrievalTask(name, origin, corpus, queries, qrels, _with_dev(splits, str), warnings=warnings)


def _with_dev(splits: dict[str, list[Any]], text: Callable[[Any], str]) -> dict[str, list[Any]]:
    """Splits in the order train, dev, test; where there is no dev, 20 % of train by hash, else 20 % of test."""
    if "dev" not in splits and (source := next((split for split in ("train", "test") if split in splits), None)):
        chosen = [split_of(f"dev {text(item)}", dev=0.2, test=0.0) == "dev" for item in splits[source]]
        if any(chosen) and not all(chosen):
            splits = {
                **splits,
                "dev": [item for item, dev in zip(splits[source], chosen, strict=True) if dev],
                source: [item for item, dev in zip(splits[source], chosen, strict=True) if not dev],
            }
    return {split: splits[split] for split in ("train", "dev", "test") if split in splits}


def _from_tables(files: dict[str, Path], name: str, origin: str, limit: int | None) -> Any:
    """A task of csv files by split; of a single one, 10 % by hash is dev and 10 % test (by the text, or the set of
    texts, so that equal ones stay together)."""
    kinds, splits, warnings = {}, {}, []
    for split, path in files.items():
        kinds[split], splits[split], found = formats.read_table(path)
        warnings += found
    if len(set(kinds.values())) > 1:
        mixed = ", ".join(f"{files[split].name} {kind}" for split, kind in kinds.items())
        raise InputError(f"{origin}: different kinds of files ({mixed}); give one kind")
    kind = next(iter(kinds.values()))

    def text(row: Sequence[Any]) -> str:
        return " | ".join(map(str, row)) if kind == "sets" else normal(str(row[0]))

    if len(splits) == 1:
        rows = next(iter(splits.values()))
        splits = {
            split: [row for row in rows if split_of(text(row), dev=0.1, test=0.1) == split]
            for split in ("train", "dev", "test")
        }
        if empty := [split for split, found in splits.items() if not found]:
            raise InputError(
                f"{origin}: {len(rows)} rows are too few to cut by hash (no {empty[0]}); give train.csv and test.csv"
            )
    splits = _with_dev(splits, text)
    if kind == "classification":
        return _labelled(splits, name, origin, warnings)
    if kind == "sts":
        graded = {
            split: ([row[0] for row in rows], [row[1] for row in rows], np.array([row[2] for row in rows]))
            for split, rows in splits.items()
        }
        return STSTask(name, origin, graded, warnings=warnings)
    if kind == "sets":
        splits = {split: _pairs_of_sets(rows, split) for split, rows in splits.items()}
    return PairsTask(name, origin, _limited(splits, limit, warnings), warnings=warnings)


def _pairs_of_sets(rows: list[Any], split: str) -> list[tuple[str, str]]:
    """(anchor, positive) of texts that mean the same: the 1st and 2nd, 3rd and 4th, … to train on; of a held-out
    set the 1st and 2nd alone, so that an anchor has one positive."""
    return [(row[i], row[i + 1]) for row in rows for i in (range(0, len(row) - 1, 2) if split == "train" else (0,))]


def _limited(splits: dict[str, list[Any]], limit: int | None, warnings: list[str]) -> dict[str, list[Any]]:
    """The splits with at most `limit` training rows, those with the lowest hash."""
    rows = splits.get("train", [])
    if limit is None or len(rows) <= limit:
        return splits
    lowest = sorted(range(len(rows)), key=lambda row: files.key(rows[row]))[:limit]
    warnings.append(f"train: {limit:,} of {len(rows):,} rows, by hash; limit=None takes all")
    return {**splits, "train": [rows[row] for row in sorted(lowest)]}


def _labelled(splits: dict[str, list[Any]], name: str, origin: str, warnings: list[str]) -> ClassificationTask:
    classes = sorted({str(row[1]) for rows in splits.values() for row in rows})
    if len(classes) < 2:
        raise InputError(f"{origin}: only one label ({classes[0]!r}); a classification task needs two or more")
    number = {label: index for index, label in enumerate(classes)}
    if unseen := sorted(set(classes) - {str(row[1]) for row in splits.get("train", ())}):
        warnings.append(f"{len(unseen)} labels are not in train (first: {unseen[0]!r}), so they are never predicted")
    made = {
        split: ([row[0] for row in rows], np.array([number[str(row[1])] for row in rows], np.int64))
        for split, rows in splits.items()
    }
    return ClassificationTask(name, origin, made, classes, warnings=warnings)


def _vectors(path: Path, name: str, origin: str) -> VectorsTask | ClassificationTask:
    vectors, labels = formats.read_vectors(path)
    if labels is not None:
        classes = sorted(set(labels))
        number = {label: index for index, label in enumerate(classes)}
        return folded_task(
            name,
            origin,
            vectors if len(vectors) > 1 else vectors[0],
            np.array([number[x] for x in labels], np.int64),
            classes,
        )
    count = vectors.shape[1]
    if count < 20:
        raise InputError(f"{path}: {count} vectors; at least 20 are needed to hold some out as queries")
    held_out = np.sort(np.random.default_rng(0).permutation(count)[: min(1000, count // 5)])
    return VectorsTask(name, origin, vectors, held_out)


def folded_task(
    name: str, origin: str, vectors: np.ndarray, labels: np.ndarray, classes: list[str]
) -> ClassificationTask:
    """Vectors (N, D) or (L, N, D) with 5 folds; "test" is the first fold, "dev" the second, "train" the others."""
    counts = np.bincount(labels)
    if counts.min() < 5:
        raise InputError(
            f"{name}: fewer than 5 vectors of class {classes[int(counts.argmin())]!r}, one a fold; add some"
        )
    parts = [test for _, test in stratified_folds(labels, 5)]
    index = {
        "train": np.sort(np.concatenate(parts[2:])),
        "dev": parts[1],
        "test": parts[0],
        "all": np.arange(len(labels)),
    }
    splits = {split: (vectors[..., rows, :], labels[rows]) for split, rows in index.items()}
    return ClassificationTask(name, origin, splits, classes, 5)
