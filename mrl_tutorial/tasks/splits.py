"""Which part of a data set is for training, choosing and reporting, where its files do not say.

The cut is by hash, so that it is the same on every machine and an item never changes sides when others are added.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from mrl_tutorial import files

Item = TypeVar("Item")
SPLITS = ("train", "dev", "test")


def normalized(text: str) -> str:
    """Lower-case words only: texts that differ in case and punctuation alone become equal.

    >>> normalized("Don't PANIC!")
    'don t panic'
    """
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_of(text: str, dev: float, test: float) -> str:
    """The split of an item by the hash of its text: the first `test` of [0, 1), then `dev`, then train."""
    place = hash_fraction(text)
    return "test" if place < test else "dev" if place < test + dev else "train"


def cut_by_hash(rows: Sequence[Item], text: Callable[[Item], str]) -> dict[str, list[Item]]:
    """train, dev (10 %) and test (10 %) of rows that came in one file, by hash: rows of equal `text` stay together."""
    where = [split_of(text(row), dev=0.1, test=0.1) for row in rows]
    return {split: [row for row, its in zip(rows, where, strict=True) if its == split] for split in SPLITS}


def with_dev(splits: Mapping[str, list[Item]], text: Callable[[Item], str]) -> dict[str, list[Item]]:
    """Splits in the order train, dev, test; where there is no dev, 20 % of train by hash, else 20 % of test.

    >>> with_dev({"test": list("abcde")}, str)
    {'dev': ['b', 'e'], 'test': ['a', 'c', 'd']}
    """
    cut = dict(splits)
    if "dev" not in cut and (source := next((split for split in ("train", "test") if split in cut), None)):
        parts: dict[bool, list[Item]] = {False: [], True: []}
        for item in cut[source]:
            parts[hash_fraction(f"dev {text(item)}") < 0.2].append(item)
        if all(parts.values()):
            cut[source], cut["dev"] = parts[False], parts[True]
    return {split: cut[split] for split in SPLITS if split in cut}


def limit_train(splits: Mapping[str, list[Any]], limit: int | None, warnings: list[str]) -> dict[str, list[Any]]:
    """The splits with at most `limit` training rows, those with the lowest hash, said in `warnings`; None keeps all."""
    rows = splits.get("train", [])
    if limit is None or len(rows) <= limit:
        return dict(splits)
    lowest = sorted(range(len(rows)), key=lambda row: files.key(rows[row]))[:limit]
    warnings.append(f"train: {limit:,} of {len(rows):,} rows, by hash; limit=None takes all")
    return {**splits, "train": [rows[row] for row in sorted(lowest)]}


def stratified_folds(labels: np.ndarray, folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, test) indices into `labels` (N,), one pair a fold, each fold with its share of every class."""
    from sklearn.model_selection import StratifiedKFold

    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels))
