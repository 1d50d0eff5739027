"""The ledger, read and shown: what the course found out about each claim. The notebooks write it, one row per claim."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import data_file, whole_file

COLUMNS = (
    "id", "claim", "source", "notebook", "cell", "test", "seeds", "number", "published", "verdict", "why", "needs_data",
)  # fmt: skip
MARKS = {  # of verdicts, by how they begin
    "◐": "holds only",
    "✔": "holds",
    "✘": "does not hold here",
    "?": "not testable offline",
}
#: the claims that the README tells, and where
TOLD = ("M4", "R1", "C1", "M6", "R12")
PLACE = ("<!-- ledger: begin (mrl-tutorial ledger --readme README.md) -->\n", "<!-- ledger: end -->")
ARXIV = re.compile(r"arXiv (\d{4}\.\d{5})")


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
    """The ledger as a page for people: LEDGER.md. A line a claim, by source, with the figures folded below it."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["source"], []).append(row)
    marks = [_mark(row) for row in rows]
    holds, partly, fails = (marks.count(mark) for mark in "✔◐✘")
    lines = [
        "# The ledger",
        "",
        "Papers, articles and libraries claim things about Matryoshka embeddings. The notebooks put these claims to "
        "the test on data that you can run yourself, and this page lists what came out. Open a line for the figures, "
        "the reason for the verdict, and the cell that measured it. “Does not hold here” is worth as much as “holds”: "
        "it speaks of these data, these sizes and this budget.",
        "",
        f"Of {len(rows)} claims, ✔ {holds} held, ◐ {partly} held under a condition, and ✘ {fails} did not hold here.",
        "",
        "<!-- Written by `mrl-tutorial ledger --markdown LEDGER.md` from data/ledger.csv: edit neither by hand. -->",
    ]
    for source, group in groups.items():
        lines += ["", f"## {source[0].upper()}{source[1:]}", ""]
        if found := ARXIV.search(source):
            lines += [f"[The paper on arXiv](https://arxiv.org/abs/{found[1]})", ""]
        lines += ["\n\n".join(map(_folded, group))]
    return "\n".join(lines) + "\n"


def write_markdown(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `markdown` to a file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(markdown(rows), encoding="utf-8")


def into_readme(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Bring a few claims, those in `TOLD`, to a file's `PLACE`, a line each. Raises InputError where it has none."""
    path = Path(path)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = text.partition(PLACE[0])
    _, end, after = rest.partition(PLACE[1])
    if not (begin and end):
        raise InputError(f"{path} has no place for the ledger: put the lines {PLACE[0].strip()} and {PLACE[1]} into it")
    found = {row["id"]: row for row in rows}
    lines = ["| | claim | here |", "|---|---|---|"]
    lines += [f"| {_mark(r)} | {r['claim']} | {r['verdict']} |" for r in map(found.__getitem__, TOLD)]
    table = "\n".join(lines)
    with whole_file(path) as temporary:
        temporary.write_text(f"{before}{begin}{table}\n{end}{after}", encoding="utf-8")


def _mark(row: Mapping[str, Any]) -> str:
    return next(mark for mark, words in MARKS.items() if row["verdict"].startswith(words))


def _folded(row: Mapping[str, Any]) -> str:
    """One claim: its verdict in sight, and what it rests on behind it."""
    e = {k: html.escape(str(v), quote=False).replace("\n", " ") for k, v in row.items()}
    verdict = e["verdict"][0].upper() + e["verdict"][1:]
    cell = f"`{row['cell']}`" + (", with data sets from `$MRL_DATA`" if row["needs_data"] == "yes" else "")
    found = [*data_file("ledger.csv").parent.parent.glob(f"notebooks/source/{row['notebook']}_*.py")]
    place = f"notebook {row['notebook']}"
    if found:  # a clone has the notebooks, an installed package has not
        place = f"[{place}](notebooks/{found[0].stem}.ipynb#{row['cell']})"
    figures = [html.escape(part, quote=False) for part in _parts(row["number"])]
    measured = (
        [f"- **Measured:** {figures[0]}"] if len(figures) == 1 else ["- **Measured:**", *(f"  - {x}" for x in figures)]
    )
    return "\n".join([
        f'<details id="{e["id"]}"><summary><b>{e["id"]}</b> · {e["claim"]}<br>{_mark(row)} <b>{verdict}</b></summary>',
        "",
        *measured,
        f"- **On:** {e['test']}, {_seeds(row['seeds'])}",
        *([f"- **Published:** {e['published']}"] if row["published"] else []),
        f"- **Why this verdict:** {e['why']}",
        f"- **Where:** {place}, cell {cell}; `mrl-tutorial ledger --id {row['id']}` tells what the figures rest on",
        "",
        "</details>",
    ])  # fmt: skip


def _parts(text: str) -> list[str]:
    """Figures that stand in one line with semicolons between them, one by one; those in brackets stay together."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == ";" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


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
