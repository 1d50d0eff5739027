"""Vectors that somebody else made: a `.npy` file, and labels beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.formats import read_lines
from mrl_tutorial.tasks.types import ClassificationTask, VectorsTask


def task_of_vectors(path: Path, name: str, origin: str) -> VectorsTask | ClassificationTask:
    """The task of a `.npy`: classification in 5 folds where there are labels beside it, else a fifth of the vectors (at
    most 1,000) as queries. Raises InputError for fewer than 20 vectors, and as the readers do."""
    vectors, labels = read_vectors(path), read_labels(path)
    count = vectors.shape[1]
    if labels is not None:
        if len(labels) != count:
            raise InputError(f"{path}: {count} vectors but {len(labels)} labels beside it; give one label a vector")
        return ClassificationTask.in_folds(name, origin, vectors if len(vectors) > 1 else vectors[0], labels)
    if count < 20:
        raise InputError(f"{path}: {count} vectors; at least 20 are needed to hold some out as queries")
    queries = np.sort(np.random.default_rng(0).permutation(count)[: min(1000, count // 5)])
    return VectorsTask(name, origin, vectors, queries)


def read_vectors(path: Path) -> np.ndarray:
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


def read_labels(path: Path) -> list[str] | None:
    """The labels beside `path`: `<name>.labels.txt`, one a line, or `<name>.labels.npy`; None if there is neither."""
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
