"""The ledger, read and shown: what the course found out about each claim. The evidence notebooks write it."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import VERDICTS
from mrl_tutorial.files import data_file, whole_file

COLUMNS = (
    "id", "claim", "source", "verdict", "sentence", "pair", "difference", "margin", "smallest", "test", "seeds",
    "remedy", "published", "more", "notebook", "results",
)  # fmt: skip
MARKS = dict(zip(VERDICTS, "✔◐✘?≠○", strict=True))
MEANING = (
    "shown here", "shown for some of the sizes, layers or tasks that the claim names",
    "the opposite is shown here", "too few items, seeds or steps; the row says what would do",
    "contradicts a formula, which arithmetic shows", "needs data that only the network has",
)  # fmt: skip
#: the claims that the README tells, and where
TOLD = ("M4", "M5", "Z6", "Z3", "R1")
PLACE = ("<!-- ledger: begin (mrl-tutorial ledger --readme README.md) -->\n", "<!-- ledger: end -->")
ARXIV = re.compile(r"arXiv (\d{4}\.\d{5})")


class Row(dict[str, str]):
    """One settled claim, with the `COLUMNS` as keys; it prints as a short paragraph."""

    def __repr__(self) -> str:
        lines = [f"{self['id']}: {self['claim']}", f"  {MARKS[self['verdict']]} {self['verdict']}: {self['sentence']}"]
        return "\n".join(lines + [f"  {name:<16} {text}" for name, text in facts(self)])


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
        ("published", row["published"]),
        ("more", row["more"]),
        ("source", row["source"]),
    ]
    return [(name, text) for name, text in named if text]


def read(path: str | Path | None = None) -> Rows:
    """The rows of a ledger file (default: the course's). Raises InputError where the file is not a ledger.

    >>> read()[0]["id"]
    'M1'
    """
    path = path or data_file("ledger.csv")
    try:
        with Path(path).open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise InputError(f"{path} is no ledger: make notebooks writes one")
            return Rows(map(Row, rows))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): make notebooks writes it") from None


def origin(row: Row) -> str:
    """A row in full and where its numbers come from: the notebook's cell, the committed measurements that it reads,
    and the commands that make both again.

    >>> print(origin(read()[0]).splitlines()[-1].strip())
    again            make notebooks NOTEBOOK_ARGS='--only E1'
    """
    said = [repr(row), f"  {'cell':<16} claim-{row['id']} in {_notebook(row) or 'notebook ' + row['notebook']}"]
    for name in row["results"].split():
        said.append(f"  {'rests on':<16} data/results/{name}, made by: {_command(name)}")
    said.append(f"  {'again':<16} make notebooks NOTEBOOK_ARGS='--only {row['notebook']}'")
    return "\n".join(said)


def _notebook(row: Mapping[str, str]) -> str:
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


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """The ledger as a page for people: LEDGER.md. A few lines a claim, by source, with the figures folded below."""
    groups: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        groups.setdefault(row["source"], []).append(row)
    lines = [
        "# The ledger",
        "",
        "Papers, articles and libraries claim things about Matryoshka embeddings. Here is what became of these claims "
        "on data that you can run yourself. One rule draws every verdict, from 95 % intervals; open a line for them.",
        "",
        "| | verdict | claims | it means |",
        "|---|---|---|---|",
        *(
            f"| {mark} | {verdict} | {sum(row['verdict'] == verdict for row in rows)} | {meaning} |"
            for (verdict, mark), meaning in zip(MARKS.items(), MEANING, strict=True)
        ),
        "",
        "<!-- Written by `mrl-tutorial ledger --markdown LEDGER.md` from data/ledger.csv: edit neither by hand. -->",
    ]
    for source, group in groups.items():
        lines += ["", f"## {source[0].upper()}{source[1:]}", ""]
        if found := ARXIV.search(source):
            lines += [f"[The paper on arXiv](https://arxiv.org/abs/{found[1]})", ""]
        lines += ["\n\n".join(map(_folded, group))]
    return "\n".join(lines) + "\n"


def write_markdown(path: str | Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write `markdown` to a file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(markdown(rows), encoding="utf-8")


def into_readme(path: str | Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Bring a few claims, those in `TOLD`, to a file's `PLACE`, a line each. Raises InputError where it has none."""
    path = Path(path)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, begin, rest = text.partition(PLACE[0])
    _, end, after = rest.partition(PLACE[1])
    if not (begin and end):
        raise InputError(f"{path} has no place for the ledger: put the lines {PLACE[0].strip()} and {PLACE[1]} into it")
    found = {row["id"]: row for row in rows}
    lines = ["| | claim | verdict | here |", "|---|---|---|---|"]
    lines += [
        f"| {MARKS[r['verdict']]} | {r['claim']} | {r['verdict']} | {r['sentence']} |"
        for r in map(found.__getitem__, TOLD)
    ]
    table = "\n".join(lines)
    with whole_file(path) as temporary:
        temporary.write_text(f"{before}{begin}{table}\n{end}{after}", encoding="utf-8")


def _folded(row: Mapping[str, str]) -> str:
    """One claim: its verdict and its numbers in sight, and what they rest on behind them."""
    e = {k: html.escape(v, quote=False).replace("\n", " ") for k, v in row.items()}
    place = _notebook(row)
    where = f"[{Path(place).stem}]({place}#claim-{row['id']})" if place else f"notebook {row['notebook']}"
    rests = ", ".join(f"`data/results/{name}`" for name in row["results"].split())
    return "\n".join([
        f'<details id="{e["id"]}"><summary><b>{e["id"]}</b> · {e["claim"]}<br>'
        f"{MARKS[row['verdict']]} <b>{e['verdict'].capitalize()}.</b> {e['sentence']}"
        + (f"<br>{e['pair']}" if e["pair"] else "")
        + "</summary>",
        "",
        *(f"- **{name.capitalize()}:**{_listed(name, text)}" for name, text in facts(e)[bool(row["pair"]) : -1]),
        f"- **Where:** {where}" + (f", from {rests}" if rests else ""),
        "",
        "</details>",
    ])  # fmt: skip


def _listed(name: str, text: str) -> str:
    """Further figures, which have semicolons between them, as a list of their own."""
    parts = text.split("; ") if name == "more" else [text]
    return f" {text}" if len(parts) < 3 else "".join(f"\n  - {part}" for part in parts)
