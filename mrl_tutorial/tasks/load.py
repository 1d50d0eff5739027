"""Tasks by name or path: what is encoded, what counts as right, and which part is for training, choosing and reporting.

`load_task` looks for a name in the package (pydocs, digits), in `$MRL_DATA/<name>`, in the cache, then on the hub; a
path is read in place. Choose on "dev", report on "test": all of what its files call test, or of the one file that they
are, unless a command needs a further split (`Task.with_splits`).
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks import hub, pydocs
from mrl_tutorial.tasks.folders import task_from_memory, task_from_path
from mrl_tutorial.tasks.formats import parts_of
from mrl_tutorial.tasks.tables import Columns
from mrl_tutorial.tasks.task import Task
from mrl_tutorial.tasks.types import ClassificationTask


class TaskInfo(NamedTuple):
    """One line of the list of tasks; `available` means without a network."""

    name: str
    kind: str
    size: str
    origin: str
    available: bool


# name -> (kind, size)
NAMED = {
    "pydocs": ("retrieval", "6,306 documents and queries"),
    "pydocs:package": ("classification", "6,306 texts, 15 classes"),
    "pydocs:module": ("classification", "6,306 texts, 89 classes"),
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
    "medi-instructed": ("pairs", "the same, instructions kept"),
}


def tasks() -> list[TaskInfo]:
    """Every named task with its kind, size, origin and whether it is available without a network.

    >>> [info.name for info in tasks() if info.origin.startswith("comes with")]
    ['pydocs', 'pydocs:package', 'pydocs:module', 'digits']
    """
    found = []
    for name, (kind, size) in NAMED.items():
        folder = _data_folder(name)
        package = {"pydocs": "comes with the course", "digits": "comes with scikit-learn"}.get(name.split(":")[0])
        origin = package or str(folder or hub.describe(name))
        found.append(TaskInfo(name, kind, size, origin, bool(package or folder or hub.cached(name))))
    return found


def _data_folder(name: str) -> Path | None:
    """`$MRL_DATA/<name>`, if there is such a folder."""
    folder = Path(os.environ.get("MRL_DATA", "")).expanduser() / name
    return folder if os.environ.get("MRL_DATA") and folder.is_dir() else None


def load_task(data: Any, *, limit: int | None = 100_000, columns: Columns | None = None, name: str = "data") -> Any:
    """The task of a name (`tasks()` lists them), of a path (a BEIR folder, a folder of tables, a table, a `.npy`), or
    of data in memory: a DataFrame, a `datasets.Dataset`, a list of dicts or of pairs, or {split: any of these}.

    limit: at most this many training rows of a task of pairs, chosen by hash (None: all). columns: which columns of a
    table to read, where their names are not known: ("text_a", "text_b", "similarity"), or {"text": "body", "label":
    "topic"}. name: what data in memory are called. Raises InputError naming file, line and remedy.

    >>> print(load_task("pydocs"))
    pydocs (retrieval): 6,306 documents; queries: train 4,455, dev 586, test 1,265; \
from pydocs: 6,306 documents of 15 libraries, fingerprint 6ab77ab2d2465bf1
    >>> load_task([{"text_a": "a cat", "text_b": "a pet"}], columns=("text_a", "text_b")).kind
    'pairs'
    """
    if isinstance(data, Task):
        return data
    if not isinstance(data, (str, Path)):
        return task_from_memory(data, name, limit, columns)
    name = str(data)
    if columns and name in NAMED:
        raise InputError(f"the columns of {name} are known: leave columns out")
    if name == "pydocs":
        return pydocs.load_retrieval()
    if name in ("pydocs:package", "pydocs:module"):
        return pydocs.load_classification(name.split(":")[1])
    if name == "digits":
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        return ClassificationTask.in_folds(name, "scikit-learn", (images / 16).astype(np.float32), labels)
    if name in NAMED:
        folder = _data_folder(name)
        return task_from_path(folder, name, str(folder), limit) if folder else hub.task_from_hub(name, limit)
    path = Path(os.path.expanduser(name))  # leaves ~nobody as it is
    if os.path.exists(path):  # says no, too, where a name is too long for a path
        called = path.resolve().name if path.is_dir() else parts_of(path)[0]
        return task_from_path(path, called, str(path), limit, columns)
    close = difflib.get_close_matches(name, NAMED, 1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        meant = f"of the hub's sets, give load_task(datasets.load_dataset({name!r}, revision=...)); "
    raise InputError(f"no task or path {name!r}; {meant}tasks: {', '.join(NAMED)}")
