"""The ledger: what the course found out about each claim, a row a claim, written by the notebooks themselves."""

from __future__ import annotations

import csv
import html
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.files import data_file

COLUMNS = (
    "id", "claim", "source", "notebook", "cell", "test", "seeds", "number", "published", "verdict", "why", "needs_data",
)  # fmt: skip
VERDICTS = ("holds", "holds only if ", "does not hold here", "not testable offline: ")


@cache
def claims() -> dict[str, tuple[str, str]]:
    """id -> (the claim in our words, its source), in the order of the ledger."""
    with data_file("claims.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: (row["claim"], row["source"]) for row in csv.DictReader(file)}


class Row(dict):
    """One claim settled; shows itself as text and as html."""

    def __repr__(self) -> str:
        return (
            f"{self['id']}: {self['claim']}\n  source    {self['source']}\n"
            f"  measured  {self['number']}\n  on        {self['test']}, {_seeds(self['seeds'])}\n"
            + (f"  published {self['published']}\n" if self["published"] else "")
            + f"  verdict   {self['verdict']}: {self['why']}"
        )


class Rows(list):
    """Several rows as a table."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "no claims settled yet"

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{x}</th>" for x in ("claim", "measured", "on", "verdict"))
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:left;vertical-align:top'>{x}</td>" for x in _cells(row)) + "</tr>"
            for row in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(row: Mapping[str, Any]) -> list[str]:
    e = {k: html.escape(str(v)) for k, v in row.items()}
    published = f"<br>published: {e['published']}" if row["published"] else ""
    return [
        f"<b>{e['id']}</b> {e['claim']}", e["number"] + published, f"{e['test']}, {_seeds(row['seeds'])}",
        f"<b>{e['verdict']}</b>: {e['why']}",
    ]  # fmt: skip


def _seeds(n: int) -> str:
    return "no training" if int(n) == 0 else f"{n} seed" + "s" * (int(n) != 1)


def settle(
    id: str, notebook: str, *, number: str, test: str, seeds: int, verdict: str, why: str, published: str = "",
    needs_data: bool = False,
) -> None:  # fmt: skip
    """Record what cell `claim-ID` of a notebook found, and print it; with FAST=1 it is only printed.

    number: the measured numbers with their spread, formatted. test: what was tested on and how large it is. seeds: how
    many trainings (0: nothing was trained). verdict: "holds", "holds only if …", "does not hold here" or "not testable
    offline: …". needs_data: whether it took `$MRL_DATA`. Raises InputError for an unknown id or another verdict, and
    where a verdict that rests on training has fewer than 3 seeds.
    """
    if id not in claims():
        raise InputError(f"no claim is called {id!r}: there are {', '.join(claims())}")
    if not (verdict in (VERDICTS[0], VERDICTS[2]) or verdict.startswith((VERDICTS[1], VERDICTS[3]))):
        raise InputError(f"verdict {verdict!r} of {id}: give one of {', '.join(VERDICTS)}")
    if seeds in (1, 2) and os.environ.get("FAST") != "1":
        raise InputError(
            f"{id} rests on {seeds} random seed{'s' * (seeds > 1)}: train with at least 3, or 0 if nothing is trained"
        )
    claim, source = claims()[id]
    row = Row(
        id=id, claim=claim, source=source, notebook=notebook, cell=f"claim-{id}", test=test, seeds=int(seeds),
        number=number, published=published, verdict=verdict, why=why, needs_data="yes" if needs_data else "no",
    )  # fmt: skip
    if os.environ.get("FAST") != "1":
        files.write_json(_folder(notebook) / f"{id}.json", row)
    _session.setdefault(notebook, {})[id] = row
    print(row)


_session: dict[str, dict[str, Row]] = {}  # what this kernel settled, for the closing table


def table(notebook: str) -> Rows:
    """The rows that this session settled in a notebook, in the ledger's order, as a table."""
    found = _session.get(notebook, {})
    return Rows(found[id] for id in claims() if id in found)


def _folder(notebook: str) -> Path:
    return files.cache_dir("ledger", notebook)


def forget(notebook: str) -> None:
    """Drop a notebook's cached rows, before it is executed again."""
    for path in _folder(notebook).glob("*.json"):
        path.unlink()


def collect(notebook: str, path: str | Path) -> int:
    """Replace a notebook's rows in the csv file `path` by those that its last run left in the cache; returns how many."""
    new = [Row(json.loads(p.read_text(encoding="utf-8"))) for p in _folder(notebook).glob("*.json")]
    old = read(path) if Path(path).exists() else []
    taken = {row["id"] for row in new}
    write(path, [*(r for r in old if r["notebook"] != notebook and r["id"] not in taken), *new])
    return len(new)


def read(path: str | Path | None = None) -> Rows:
    """The rows of a ledger file (default: the course's). Raises InputError where it is none."""
    if path is None:
        path = data_file("ledger.csv")
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise InputError(f"{path} is no ledger: make notebooks writes one")
            return Rows(Row({**r, "seeds": int(r["seeds"])}) for r in rows)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): make notebooks writes it") from None


def write(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a ledger file in the ledger's order, whole or not at all."""
    order = list(claims())
    with files.whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        out.writeheader()
        out.writerows(sorted(rows, key=lambda r: order.index(r["id"])))


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The ledger as a markdown table, for the README."""
    lines = ["| | claim | measured here | verdict | where |", "|---|---|---|---|---|"]
    for r in rows:
        data = " (with `$MRL_DATA`)" if r["needs_data"] == "yes" else ""
        cells = (
            r["id"], f"{r['claim']} ({r['source']})", f"{r['number']}; {r['test']}, {_seeds(r['seeds'])}",
            f"**{r['verdict']}**", f"{r['notebook']}, `{r['cell']}`{data}",
        )  # fmt: skip
        lines.append("| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in cells) + " |")
    return "\n".join(lines)


MARKS = ("<!-- ledger: begin (mrl-tutorial ledger --readme README.md) -->", "<!-- ledger: end -->")


def into_readme(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put the table between a file's `MARKS`. Raises InputError where they are missing."""
    path = Path(path)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (begin and end):
        raise InputError(f"{path} has no place for the ledger: put the lines {MARKS[0]} and {MARKS[1]} into it")
    with files.whole_file(path) as temporary:
        temporary.write_text(f"{before}{begin}\n{markdown(rows)}\n{end}{after}", encoding="utf-8")
