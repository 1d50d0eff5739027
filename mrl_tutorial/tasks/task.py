"""What every task has, and how its splits are found: as its files name them, else cut by hash where one is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.splits import SPLITS, in_fifths, in_tenths, joined, normalized, take


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
        """The task with these splits, which do not overlap; "all" is everything. What it is given as stays whole unless
        a part is needed: then the part is cut by hash, and `cuts` says so. Of a file without a name (its split is
        "all") that is 80, 10 and 10 %; a dev split is a fifth of train, else of test. Raises InputError for a split
        that there is not.

        >>> from mrl_tutorial.tasks.types import PairsTask
        >>> task = PairsTask("tiny", "here", {"test": [(text, "b") for text in "abcde"]})
        >>> task.with_splits("dev", "test").size, task.with_splits("test").size
        ('dev 2, test 3', 'test 5')
        """
        have: dict[str, Any] = vars(self)["splits"]
        needed = {*wanted, *self._learns_from(wanted)}
        if needed <= have.keys():
            return self
        if unknown := sorted(needed - {*SPLITS, "all", *have}):
            raise InputError(f"{self.name} has no split {unknown[0]!r}; it has {', '.join(have)}")
        if "all" in needed:
            return self._with({"all": joined(list(have.values()))}, {"all": f"all of {', '.join(have)}"})
        source = next(iter(have)) if len(have) == 1 else ""
        if source == "all" and needed == {"test"}:
            return self._with({"test": have["all"]}, {"test": "all of it"})
        if source == "all" or (source == "test" and "train" in self._learns_from(wanted)):
            return self.in_tenths(source, needed)
        source = next((split for split in ("train", "test") if split in have), "")
        if missing := sorted(needed - have.keys() - ({"dev"} if source else set())):
            raise InputError(f"{self.name} has no split {missing[0]!r}; it has {', '.join(have)}")
        dev, rest = in_fifths(self._texts(have[source]))
        if not (dev and rest):
            raise InputError(f"{self.name}: {source} is too small to give a fifth of it to dev; give a dev split")
        cut = {source: take(have[source], rest), "dev": take(have[source], dev)}
        said = {"dev": f"a fifth of {source}, by hash"}
        if source == "test":
            said["test"] = "the four fifths of test that are not dev, by hash"
        splits = {**dict.fromkeys(split for split in SPLITS if split in {**have, **cut}), **have, **cut}
        return self._with(splits, said)

    def with_dev(self) -> Self:
        """With a dev split that is cut from train, where that is large enough."""
        with contextlib.suppress(InputError):
            return self.with_splits("dev")
        return self

    def in_tenths(self, source: str, needed: Collection[str] = SPLITS) -> Self:
        """80, 10 and 10 % of a split by hash as train, dev and test. Raises InputError where a needed one is empty."""
        items = vars(self)["splits"][source]
        parts = in_tenths(self._texts(items))
        if empty := [split for split in parts if split in needed and not parts[split]]:
            few = f"{sum(map(len, parts.values()))} rows are too few to cut by hash (no {empty[0]})"
            raise InputError(f"{self.origin}: {few}; give train.csv and test.csv")
        said = {split: f"{'80' if split == 'train' else '10'} % of {source}, by hash" for split in parts}
        return self._with({split: take(items, rows) for split, rows in parts.items()}, said)

    def _with(self, splits: dict[str, Any], cuts: dict[str, str]) -> Self:
        return replace(self, splits=splits, cuts={**self.cuts, **cuts})  # type: ignore[call-arg]  # each kind has them

    def _learns_from(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """What must be there besides for the splits that are wanted."""
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
