"""Which part of a data set is for training, choosing and reporting, where its files do not say.

The cut is by hash, so that it is the same on every machine and an item never changes sides when others are added.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

SPLITS = ("train", "dev", "test")


def normalized(text: str) -> str:
    """Lower-case words only: texts that differ in case and punctuation alone become equal."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_of(text: str, dev: float, test: float) -> str:
    """The split of an item by the hash of its text: the first `test` of [0, 1), then `dev`, then train."""
    place = hash_fraction(text)
    return "test" if place < test else "dev" if place < test + dev else "train"


def in_tenths(texts: Sequence[str]) -> dict[str, list[int]]:
    """Row numbers of train (80 %), dev and test (10 % each), by hash: rows of equal text stay together."""
    where = [split_of(text, dev=0.1, test=0.1) for text in texts]
    return {split: [row for row, its in enumerate(where) if its == split] for split in SPLITS}


def in_fifths(texts: Sequence[str]) -> tuple[list[int], list[int]]:
    """Row numbers of a fifth of the texts by hash, and of the others."""
    inside = [hash_fraction(f"dev {text}") < 0.2 for text in texts]
    return [i for i, its in enumerate(inside) if its], [i for i, its in enumerate(inside) if not its]


def take(items: Any, rows: Sequence[int]) -> Any:
    """These rows of a split: of a list, an array, or each of several columns."""
    if isinstance(items, tuple):
        return tuple(take(column, rows) for column in items)
    return items[np.asarray(rows, dtype=int)] if isinstance(items, np.ndarray) else [items[row] for row in rows]


def joined(parts: Sequence[Any]) -> Any:
    """Several splits as one: lists, arrays, or tuples of columns, one after another."""
    if isinstance(parts[0], tuple):
        return tuple(joined(columns) for columns in zip(*parts, strict=True))
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else [item for part in parts for item in part]


def stratified_folds(labels: np.ndarray, folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, test) indices into `labels` (N,), one pair a fold, each fold with its share of every class."""
    from sklearn.model_selection import StratifiedKFold

    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels))
