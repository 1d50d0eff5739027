"""The ledger written: what an evidence notebook found out about each claim, collected into a file after it has run."""

from __future__ import annotations

import csv
import html
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mrl_tutorial import InputError, files
from mrl_tutorial.cli.ledger import MARKS, Row, read
from mrl_tutorial.evaluation.statistics import CANNOT_TELL, MARGIN, VERDICTS, Difference


@dataclass(frozen=True)
class Measured:
    """The one pair of numbers of a claim. what: the measure, the set, the size; ours and theirs: a name and its value;
    found: (mean, low, high) of the difference where there is an interval; test: on what, and how large it is; seeds:
    how many trainings, 0 where nothing is trained; margin: what "not worse" allows, None in units of another kind."""

    what: str
    ours: tuple[str, float | str]
    theirs: tuple[str, float | str]
    test: str
    seeds: int = 0
    found: Sequence[float] | None = None
    margin: float | None = MARGIN

    @property
    def pair(self) -> str:
        """The pair in words."""
        if not self.what:
            return ""
        (a, x), (b, y) = ((name, v if isinstance(v, str) else f"{v:.3f}") for name, v in (self.ours, self.theirs))
        return f"{self.what}: {x} ({a}) against {y} ({b})"

    def columns(self) -> dict[str, str]:
        """The ledger's columns that tell it."""
        out = dict.fromkeys(("difference", "margin", "smallest"), "")
        if self.found is not None:
            mean, low, high = self.found[:3]
            found = Difference(mean, low, high, float("nan"))
            out = {"difference": str(found), "margin": str(self.margin or ""), "smallest": f"{found.smallest:.3f}"}
        return out | {"pair": self.pair, "test": self.test, "seeds": str(self.seeds)}


COLUMNS = (
    "id", "claim", "source", "verdict", "sentence", "pair", "difference", "margin", "smallest", "test", "seeds",
    "remedy", "published", "more", "notebook", "results",
)  # fmt: skip
NOTHING = Measured("", ("", ""), ("", ""), "")


class Rows(list[Row]):
    """Several rows; in a notebook they show as a table."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "no claims settled yet"

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{x}</th>" for x in ("", "claim", "verdict", "in a sentence"))
        body = ""
        for row in self:
            e = {k: html.escape(v) for k, v in row.items()}
            cells = (f"<b>{e['id']}</b>", e["claim"], f"{MARKS[row['verdict']]} <b>{e['verdict']}</b>", e["sentence"])
            body += (
                "<tr>" + "".join(f"<td style='text-align:left;vertical-align:top'>{x}</td>" for x in cells) + "</tr>"
            )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@cache
def claims() -> dict[str, tuple[str, str]]:
    """id -> (the claim in our words, its source), in the order of the ledger."""
    with files.data_file("claims.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: (row["claim"], row["source"]) for row in csv.DictReader(file)}


class Ledger:
    """The claims that one evidence notebook settles. notebook: the start of its name, e.g. "E1"."""

    def __init__(self, notebook: str):
        self.notebook = notebook
        self.rows: dict[str, Row] = {}

    def settle(
        self, id: str, verdict: str, sentence: str, measured: Measured | None, *, remedy: str = "", published: str = "",
        more: Iterable[str] = (), results: Iterable[str] = (),
    ) -> None:  # fmt: skip
        """Record what the cell `claim-ID` found, and print it; with FAST=1 it is only printed.

        verdict: one of the six, as `statistics.verdict` draws it. sentence: plain, with its condition. measured: None
        where nothing was measured yet. remedy: what would do, kept where it cannot be told here. more: further figures.
        results: files of data/results that it rests on. Raises InputError for an unknown id or verdict, a verdict on
        fewer than 3 seeds of training, and where "cannot tell here" comes without its remedy.
        """
        if id not in claims():
            raise InputError(f"no claim is called {id!r}: there are {', '.join(claims())}")
        if verdict not in VERDICTS:
            raise InputError(f"verdict {verdict!r} of {id}: give one of {', '.join(VERDICTS)}")
        remedy = remedy if verdict == CANNOT_TELL else ""
        if verdict == CANNOT_TELL and not remedy:
            raise InputError(f"{id} cannot be told here: say in `remedy` what would do")
        quick = os.environ.get("FAST") == "1"
        if measured and measured.seeds in (1, 2) and verdict != CANNOT_TELL and not quick:
            raise InputError(f"{id} rests on {measured.seeds} of the 3 random seeds that a verdict needs: train more")
        claim, source = claims()[id]
        row = Row(
            id=id, claim=claim, source=source, verdict=verdict, sentence=sentence, remedy=remedy, published=published,
            more="; ".join(more), notebook=self.notebook, results=" ".join(results), **(measured or NOTHING).columns(),
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


def write(path: str | Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write a ledger file in the ledger's order, whole or not at all."""
    order = list(claims())
    with files.whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        out.writeheader()
        out.writerows(sorted(rows, key=lambda r: order.index(r["id"])))


def _folder(notebook: str) -> Path:
    return files.cache_dir("ledger", notebook)
