"""The ledger written: what a notebook found out about each claim, collected into one file after it has run."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mrl_tutorial import InputError, files
from mrl_tutorial.cli.ledger import COLUMNS, Row, Rows, read

VERDICTS = ("holds", "holds only if ", "does not hold here", "not testable offline: ")


@cache
def claims() -> dict[str, tuple[str, str]]:
    """id -> (the claim in our words, its source), in the order of the ledger."""
    with files.data_file("claims.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: (row["claim"], row["source"]) for row in csv.DictReader(file)}


class Ledger:
    """The claims that one notebook settles. notebook: its number, e.g. "01"."""

    def __init__(self, notebook: str):
        self.notebook = notebook
        self.rows: dict[str, Row] = {}

    def settle(
        self, id: str, *, number: str, test: str, seeds: int, verdict: str, why: str, published: str = "",
        needs_data: bool = False,
    ) -> None:  # fmt: skip
        """Record what the cell `claim-ID` found, and print it; with FAST=1 it is only printed.

        number: the measured numbers with their spread, as text. test: what was tested on, and how large it is. seeds:
        how many trainings (0: nothing was trained). verdict: "holds", "holds only if …", "does not hold here" or "not
        testable offline: …". needs_data: whether it took `$MRL_DATA`. Raises InputError for an unknown id or another
        verdict, and where a verdict that rests on training has fewer than 3 seeds.
        """
        if id not in claims():
            raise InputError(f"no claim is called {id!r}: there are {', '.join(claims())}")
        if not (verdict in (VERDICTS[0], VERDICTS[2]) or verdict.startswith((VERDICTS[1], VERDICTS[3]))):
            raise InputError(f"verdict {verdict!r} of {id}: give one of {', '.join(VERDICTS)}")
        quick = os.environ.get("FAST") == "1"
        if seeds in (1, 2) and not quick:
            many = f"{seeds} random seed" + "s" * (seeds > 1)
            raise InputError(f"{id} rests on {many}: train with at least 3, or 0 if nothing is trained")
        claim, source = claims()[id]
        row = Row(
            id=id, claim=claim, source=source, notebook=self.notebook, cell=f"claim-{id}", test=test, seeds=int(seeds),
            number=number, published=published, verdict=verdict, why=why, needs_data="yes" if needs_data else "no",
        )  # fmt: skip
        if not quick:
            files.write_json(_folder(self.notebook) / f"{id}.json", row)
        self.rows[id] = row
        print(row)

    def table(self) -> Rows:
        """The rows settled so far, in the ledger's order; shows itself as a table."""
        return Rows(self.rows[id] for id in claims() if id in self.rows)


def forget(notebook: str) -> None:
    """Drop a notebook's stored rows, before it runs again."""
    for path in _folder(notebook).glob("*.json"):
        path.unlink()


def collect(notebook: str, path: str | Path) -> int:
    """Replace a notebook's rows in the csv file `path` by those that its last run stored; returns how many."""
    new = [Row(json.loads(p.read_text(encoding="utf-8"))) for p in _folder(notebook).glob("*.json")]
    old = read(path) if Path(path).exists() else []
    taken = {row["id"] for row in new}
    write(path, [*(r for r in old if r["notebook"] != notebook and r["id"] not in taken), *new])
    return len(new)


def write(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a ledger file in the ledger's order, whole or not at all."""
    order = list(claims())
    with files.whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        out.writeheader()
        out.writerows(sorted(rows, key=lambda r: order.index(r["id"])))


def _folder(notebook: str) -> Path:
    return files.cache_dir("ledger", notebook)
