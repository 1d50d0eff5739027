"""Tasks by name or path: what is encoded, what counts as right, and which part is for training, choosing and reporting.

`load_task` looks for a name in the package (pydocs, digits), in `$MRL_DATA/<name>`, then on the hub; a path is read in
place. Choose on "dev", report on "test". Where a set has no dev split, 20 % of train by hash is dev, else 20 % of test.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks import hub, pydocs
from mrl_tutorial.tasks.folders import folded_task, task_from_path
from mrl_tutorial.tasks.types import ClassificationTask, PairsTask, RetrievalTask, STSTask, VectorsTask

__all__ = [
    "ClassificationTask", "PairsTask", "RetrievalTask", "STSTask", "TaskInfo", "VectorsTask", "load_task", "tasks",
]  # fmt: skip


@dataclass(frozen=True)
class TaskInfo:
    """One line of the list of tasks; `available` means without a network."""

    name: str
    kind: str
    size: str
    origin: str
    available: bool


# name -> (kind, size); those that the hub holds are in hub.SETS
NAMED = {
    "pydocs": ("retrieval", "about 6,000 documents and queries"),
    "pydocs:package": ("classification", "about 6,000 texts, 15 classes"),
    "pydocs:module": ("classification", "about 6,000 texts, 90 classes"),
    "digits": ("classification", "1,797 images, 10 classes, 5 folds"),
    "scifact": ("retrieval", "5,183 documents, 300 test queries"),
    "cranfield": ("retrieval", "1,400 documents, 225 queries"),
    "nfcorpus": ("retrieval", "3,633 documents, 323 test queries"),
    "fiqa": ("retrieval", "57,638 documents, 648 test queries"),
    "stsbenchmark": ("sts", "1,379 test pairs"),
    "banking77": ("classification", "13,083 texts, 77 classes"),
    "captions": ("pairs", "about 28,000 images of 5 captions"),
    "all-nli": ("pairs", "557,850 training triplets"),
    "msmarco": ("pairs", "502,931 training triplets"),
    "medi": ("pairs", "1.2 million training rows"),
}


def tasks() -> list[TaskInfo]:
    """Every named task with its kind, size, origin and whether it can be had without a network."""
    found = []
    for name, (kind, size) in NAMED.items():
        if name.startswith("pydocs"):
            libraries = pydocs.find_libraries()
            info = TaskInfo(name, kind, size, f"documentation of {len(libraries)} installed libraries", bool(libraries))
        elif name == "digits":
            info = TaskInfo(name, kind, size, "scikit-learn", True)
        elif folder := _data_folder(name):
            info = TaskInfo(name, kind, size, str(folder), True)
        else:
            info = TaskInfo(name, kind, size, hub.describe(name), hub.cached(name) is not None)
        found.append(info)
    return found


def _data_folder(name: str) -> Path | None:
    base = os.environ.get("MRL_DATA")
    folder = Path(base).expanduser() / name if base else None
    return folder if folder and folder.is_dir() else None


def load_task(
    name_or_path: str | Path, *, limit: int | None = 100_000, progress: Callable[[int, int, str], object] | None = None
) -> Any:
    """The task of that name (`tasks()` lists them) or path: a BEIR folder, a folder of csv files, a csv, a `.npy`.

    `limit`: at most so many training rows of a pairs task, chosen by hash (None: all). Raises InputError naming file,
    line and remedy.
    """
    name = str(name_or_path)
    if name in ("pydocs", "pydocs:package", "pydocs:module"):
        return _pydocs_task(name, pydocs.load_pydocs(progress))
    if name == "digits":
        return _digits()
    if name in NAMED:
        folder = _data_folder(name)
        return (
            task_from_path(folder, name, str(folder), limit)
            if folder
            else task_from_path(hub.fetch(name), name, hub.describe(name), limit)
        )
    path = Path(name).expanduser()
    if path.exists():
        return task_from_path(path, path.resolve().name if path.is_dir() else path.stem, str(path), limit)
    close = difflib.get_close_matches(name, NAMED, 1)
    raise InputError(
        f"no task or path {name!r}; " + (f"did you mean {close[0]!r}? " if close else "") + f"tasks: {', '.join(NAMED)}"
    )


def _pydocs_task(name: str, docs: pydocs.PyDocs) -> RetrievalTask | ClassificationTask:
    warnings = [f"not installed, so not in the corpus: {', '.join(docs.missing)}"] if docs.missing else []
    labels = {"package": docs.packages, "module": docs.modules}
    if ":" in name:
        level = labels[name.split(":")[1]]
        classes = sorted(set(level))
        number = {label: index for index, label in enumerate(classes)}
        splits = {}
        for split in ("train", "dev", "test"):
            rows = [row for row, where in enumerate(docs.splits) if where == split]
            splits[split] = (
                [docs.documents[row] for row in rows],
                np.array([number[level[row]] for row in rows], np.int64),
            )
        return ClassificationTask(name, str(docs), splits, classes, warnings=warnings)
    queries = [f"q:{document}" for document in docs.names]  # not the document's id: some evaluators skip equal ids
    return RetrievalTask(
        name,
        str(docs),
        corpus=dict(zip(docs.names, docs.documents, strict=True)),
        queries=dict(zip(queries, docs.queries, strict=True)),
        qrels={query: {document: 1} for query, document in zip(queries, docs.names, strict=True)},
        splits={
            split: [query for query, where in zip(queries, docs.splits, strict=True) if where == split]
            for split in ("train", "dev", "test")
        },
        labels=labels,
        warnings=warnings,
    )


def _digits() -> ClassificationTask:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return folded_task(
        "digits",
        "scikit-learn",
        (images / 16).astype(np.float32),
        labels.astype(np.int64),
        [str(digit) for digit in range(10)],
    )
