"""What every task has, and how its splits are found: as its files name them, else cut by hash where one is needed.

A cut by hash is the same on every machine, and an item never changes sides when others are added.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError

SPLITS = ("train", "dev", "test")


def normalized(text: str) -> str:
    """Lower-case words only: texts that differ in case and punctuation alone become equal. Other letters than a to z
    count where a text has more of them.

    >>> normalized("A naïve Bayes, in 2 lines!"), normalized("Норма вектора?")
    ('a na ve bayes in 2 lines', 'норма вектора')
    """
    words = re.findall(r"[a-z0-9]+", text.lower())
    if not text.isascii() and sum(map(str.isalnum, text)) > 2 * sum(map(len, words)):
        words = re.findall(r"\w+", text.lower())
    return " ".join(words)


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_of(text: str, dev: float = 0.1, test: float = 0.1) -> str:
    """The split of an item by the hash of its text: the first `test` of [0, 1), then `dev`, then train."""
    place = hash_fraction(text)
    return "test" if place < test else "dev" if place < test + dev else "train"


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


@dataclass(frozen=True)
class Task:
    """What every task has: a name, where it came from, warnings about what was dropped while it was read, and `cuts`:
    where a split came from that its files do not name."""

    name: str
    origin: str
    warnings: list[str] = field(default_factory=list, kw_only=True)
    cuts: dict[str, str] = field(default_factory=dict, kw_only=True)
    kind: ClassVar[str] = ""

    def __str__(self) -> str:
        # the origin of pydocs names the corpus's fingerprint, which is the same whether its labels or its queries count
        mark = "" if "fingerprint" in self.origin else f"; fingerprint {self.fingerprint()}"
        return f"{self.name} ({self.kind}): {self.size}{mark}; from {self.origin}"

    @property
    def size(self) -> str:
        """How much is in it, in words."""
        splits = vars(self)["splits"].items()
        return ", ".join(f"{split} {len(its[-1] if isinstance(its, tuple) else its):,}" for split, its in splits)

    def with_splits(self, *wanted: str) -> Self:
        """The task with these splits, which do not overlap; "all" is everything. What is given stays whole unless a
        part is needed: that is cut by hash, and `cuts` says so. Of a file without a name ("all") it is 80, 10 and 10 %;
        a dev split is a fifth of train, else of test. Raises InputError for a split that there is not.

        >>> from mrl_tutorial.tasks.types import PairsTask
        >>> task = PairsTask("tiny", "here", {"test": [(text, "b") for text in "abcde"]})
        >>> task.with_splits("dev", "test").size, task.with_splits("test").size
        ('dev 2, test 3', 'test 5')
        """
        have: dict[str, Any] = vars(self)["splits"]
        to_learn = self._learns_from()
        needed = {*wanted, *to_learn}
        if needed <= have.keys():
            return self
        if "all" in needed:
            return self._with({"all": joined(list(have.values()))}, {"all": f"all of {', '.join(have)}"})
        if have.keys() == {"all"} and needed == {"test"}:
            return self._with({"test": have["all"]}, {"test": "all of it"})
        source = next((split for split in ("train", "test") if split in have), "")
        in_tenths = next(iter(have)) if have.keys() == {"all"} or (have.keys() == {"test"} and to_learn) else ""
        cut = SPLITS if in_tenths else ("dev",) if source else ()
        if missing := sorted(needed - {*have, *cut}):
            raise InputError(f"{self.name} has no split {missing[0]!r}; it has {', '.join(have)}")
        if in_tenths:
            return self.in_tenths(in_tenths, needed)
        parts = self._parts(source, lambda text: "dev" if hash_fraction(f"dev {text}") < 0.2 else source)
        if not (parts["dev"][1] and parts[source][1]):
            raise InputError(f"{self.name}: {source} is too small to give a fifth of it to dev; give a dev split")
        said = {"dev": f"a fifth of {source}, by hash"}
        if source == "test":
            said["test"] = "the four fifths of test that are not dev, by hash"
        splits = {**have, **{split: parts[split][0] for split in ("dev", source)}}
        return self._with({split: splits[split] for split in (*SPLITS, *splits) if split in splits}, said)

    def with_dev(self) -> Self:
        """With a dev split that is cut from train, where there is one that is large enough."""
        with contextlib.suppress(InputError):
            return self.with_splits("dev") if "train" in vars(self)["splits"] else self
        return self

    def with_cuts_of_train(self) -> Self:
        """As `with_dev`; a task that has train alone is cut in tenths."""
        return self.in_tenths("train") if vars(self)["splits"].keys() == {"train"} else self.with_dev()

    def in_tenths(self, source: str, needed: Collection[str] = SPLITS) -> Self:
        """80, 10 and 10 % of a split by hash as train, dev and test. Raises InputError where a needed one is empty."""
        parts = self._parts(source, split_of)
        if empty := [split for split in SPLITS if split in needed and not parts[split][1]]:
            few = f"{sum(count for _, count in parts.values())} rows are too few to cut by hash (no {empty[0]})"
            raise InputError(f"{self.origin}: {few}; give train.csv and test.csv")
        said = {split: f"{'80' if split == 'train' else '10'} % of {source}, by hash" for split in SPLITS}
        return self._with({split: items for split, (items, _) in parts.items()}, said)

    def _parts(self, source: str, of: Callable[[str], str]) -> dict[str, tuple[Any, int]]:
        """The items of a split, and how many, by where each belongs: rows of equal text stay together."""
        items = vars(self)["splits"][source]
        where = [of(text) for text in self._texts(items)]
        rows = {split: [row for row, its in enumerate(where) if its == split] for split in SPLITS}
        return {split: (take(items, its), len(its)) for split, its in rows.items()}

    def _with(self, splits: dict[str, Any], cuts: dict[str, str]) -> Self:
        return replace(self, splits=splits, cuts={**self.cuts, **cuts})  # type: ignore[call-arg]  # each kind has them

    def _learns_from(self) -> tuple[str, ...]:
        """What must be there besides the splits that are wanted."""
        return ()

    def _texts(self, items: Any) -> list[str]:
        """What a split is cut by, for each item."""
        return [normalized(text) for text in (items[0] if isinstance(items, tuple) else [row[0] for row in items])]

    def _split(self, split: str) -> Any:
        return vars(self.with_splits(split))["splits"][split]

    def fingerprint(self) -> str:
        """16 characters that stand for everything in the task but its name, origin, warnings and cuts."""
        skipped = ("name", "origin", "warnings", "cuts", "limit")
        return files.key(self.kind, *_flat([value for name, value in self.__dict__.items() if name not in skipped]))


def prepared(task: Any, *splits: str) -> Any:
    """`task.with_splits(*splits)`; vectors, and tasks of your own classes, stay as they are."""
    return task.with_splits(*splits) if isinstance(task, Task) and "splits" in vars(task) else task


def _flat(value: Any) -> list[Any]:
    """Nested containers as a flat list that files.key takes, arrays kept as arrays."""
    if isinstance(value, dict):
        return [part for name, item in value.items() for part in (name, *_flat(item))]
    if isinstance(value, (list, tuple)) and any(isinstance(item, (list, tuple, dict, np.ndarray)) for item in value):
        return [part for item in value for part in _flat(item)]
    return [value]
