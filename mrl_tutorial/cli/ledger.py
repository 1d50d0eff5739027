"""The ledger, read and shown: what the course found out about each claim. The notebooks write it, one row per claim."""

from __future__ import annotations

import csv
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import data_file, whole_file

COLUMNS = (
    "id", "claim", "source", "notebook", "cell", "test", "seeds", "number", "published", "verdict", "why", "needs_data",
)  # fmt: skip
MARKS = ("<!-- ledger: begin (mrl-tutorial ledger --readme README.md) -->", "<!-- ledger: end -->")


class Row(dict[str, Any]):
    """One settled claim, with the `COLUMNS` as keys; it prints as a short paragraph."""

    def __repr__(self) -> str:
        return (
            f"{self['id']}: {self['claim']}\n  source    {self['source']}\n"
            f"  measured  {self['number']}\n  on        {self['test']}, {_seeds(self['seeds'])}\n"
            + (f"  published {self['published']}\n" if self["published"] else "")
            + f"  verdict   {self['verdict']}: {self['why']}"
        )


class Rows(list[Row]):
    """Several rows; in a notebook they show as a table."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "no claims settled yet"

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{x}</th>" for x in ("claim", "measured", "on", "verdict"))
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:left;vertical-align:top'>{x}</td>" for x in _cells(row)) + "</tr>"
            for row in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def read(path: str | Path | None = None) -> Rows:
    """The rows of a ledger file (default: the course's). Raises InputError where the file is not a ledger.

    >>> read()[0]["id"]
    'M1'
    """
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


def origin(row: Row) -> str:
    """A row in full and where its number comes from: the notebook's cell, the committed measurements that the cell
    reads (data/claims.csv names them), and the commands that make both again.

    >>> print(origin(read()[0]).splitlines()[-1].strip())
    again     make notebooks NOTEBOOK_ARGS='--only 01'
    """
    said = [repr(row), f"  cell      {row['cell']} in {_notebook(row)}"]
    with data_file("claims.csv").open(encoding="utf-8", newline="") as file:
        rests = {claim["id"]: claim["results"].split() for claim in csv.DictReader(file)}
    for name in rests.get(row["id"], []):
        said += [f"  rests on  data/results/{name}", f"            made by: {_command(name)}"]
    if row["needs_data"] == "yes":
        said.append("  needs     data sets that are downloaded, or found in $MRL_DATA")
    said.append(f"  again     make notebooks NOTEBOOK_ARGS='--only {row['notebook']}'")
    return "\n".join(said)


def _notebook(row: Row) -> str:
    """Where a row's cell stands in its notebook's source, where this is a clone."""
    for path in data_file("ledger.csv").parent.parent.glob(f"notebooks/source/{row['notebook']}_*.py"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if line.startswith("# %%") and f'"{row["cell"]}"' in line:
                return f"notebooks/{path.stem}.ipynb (notebooks/source/{path.name}, line {number})"
    return f"notebook {row['notebook']}"


def _command(name: str) -> str:
    """The command that a measurement names in its first lines."""
    try:
        text = data_file(f"results/{name}").read_text(encoding="utf-8")
    except InputError:
        return "see the file, which the repository has and this installation has not"
    return next(line for line in text.splitlines() if "command" in line).split(": ", 1)[1].strip('",')


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The ledger as a markdown table, for the README."""
    lines = ["| | claim | measured here | verdict | where |", "|---|---|---|---|---|"]
    for r in rows:
        data = " (with `$MRL_DATA`)" if r["needs_data"] == "yes" else ""
        cells = (
            r["id"],
            f"{r['claim']} ({r['source']})",
            f"{r['number']}; {r['test']}, {_seeds(r['seeds'])}",
            f"**{r['verdict']}**",
            f"{r['notebook']}, `{r['cell']}`{data}",
        )
        lines.append("| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in cells) + " |")
    return "\n".join(lines)


def into_readme(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put the table between a file's `MARKS`. Raises InputError where they are missing."""
    path = Path(path)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = text.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (begin and end):
        raise InputError(f"{path} has no place for the ledger: put the lines {MARKS[0]} and {MARKS[1]} into it")
    with whole_file(path) as temporary:
        temporary.write_text(f"{before}{begin}\n{markdown(rows)}\n{end}{after}", encoding="utf-8")


def _cells(row: Mapping[str, Any]) -> list[str]:
    e = {k: html.escape(str(v)) for k, v in row.items()}
    published = f"<br>published: {e['published']}" if row["published"] else ""
    return [
        f"<b>{e['id']}</b> {e['claim']}",
        e["number"] + published,
        f"{e['test']}, {_seeds(row['seeds'])}",
        f"<b>{e['verdict']}</b>: {e['why']}",
    ]


def _seeds(n: int) -> str:
    return "no training" if int(n) == 0 else f"{n} seed" + "s" * (int(n) != 1)
