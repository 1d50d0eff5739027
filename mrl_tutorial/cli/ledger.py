"""The ledger, read: what the course found out about each claim. The evidence notebooks write it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import VERDICTS
from mrl_tutorial.files import data_file

MARKS = dict(zip(VERDICTS, "✔◐✘?≠○", strict=True))


class Row(dict[str, str]):
    """One settled claim, with the file's columns as keys; it prints as a short paragraph."""

    def __repr__(self) -> str:
        lines = [f"{self['id']}: {self['claim']}", f"  {MARKS[self['verdict']]} {self['verdict']}: {self['sentence']}"]
        return "\n".join(lines + [f"  {name:<16} {text}" for name, text in facts(self)])


def facts(row: Mapping[str, str]) -> list[tuple[str, str]]:
    """What a row knows besides its verdict, as (name, text), without what is empty."""
    margin = row["margin"] and f"margin {row['margin']}, "
    smallest = f"{row['difference']}; {margin}the smallest that this test can show: {row['smallest']}"
    seeds = "no training" if row["seeds"] == "0" else f"{row['seeds']} seed" + "s" * (row["seeds"] != "1")
    named = [
        ("measured", row["pair"]),
        ("difference", row["difference"] and smallest),
        ("tested on", row["test"] and f"{row['test']}; {seeds}"),
        ("what would do", row["remedy"]),
        *((name, row[name]) for name in ("published", "more", "source")),
    ]
    return [(name, text) for name, text in named if text]


def read(path: str | Path | None = None) -> list[Row]:
    """The rows of a ledger file (default: the course's).

    >>> read()[0]["id"]
    'M1'
    """
    with Path(path or data_file("ledger.csv")).open(encoding="utf-8", newline="") as file:
        return list(map(Row, csv.DictReader(file)))


def origin(row: Row) -> str:
    """A row in full and where its numbers come from: the notebook's cell, the committed measurements that it reads,
    and the commands that make both again.

    >>> print(origin(read()[0]).splitlines()[-1].strip())
    again            make notebooks NOTEBOOK_ARGS='--only E1'
    """
    said = [repr(row), f"  {'cell':<16} claim-{row['id']} in {notebook_of(row) or 'notebook ' + row['notebook']}"]
    for name in row["results"].split():
        said.append(f"  {'rests on':<16} data/results/{name}, made by: {_command(name)}")
    said.append(f"  {'again':<16} make notebooks NOTEBOOK_ARGS='--only {row['notebook']}'")
    return "\n".join(said)


def notebook_of(row: Mapping[str, str]) -> str:
    """A row's notebook, where this is a clone: an installed package has none."""
    root = data_file("ledger.csv").parent.parent
    found = [*root.glob(f"notebooks/evidence/source/{row['notebook']}_*.py")]
    return f"notebooks/evidence/{found[0].stem}.ipynb" if found else ""


def _command(name: str) -> str:
    """The command that a measurement names in its first lines."""
    try:
        text = data_file(f"results/{name}").read_text(encoding="utf-8")
    except InputError:
        return "see the file, which the repository has and this installation has not"
    return next(line for line in text.splitlines() if "command" in line).split(": ", 1)[1].strip('",')
