"""The ledger for people: LEDGER.md, and the claims in the README. `mrl-tutorial ledger` writes them in a clone."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mrl_tutorial.cli.ledger import MARKS, facts, notebook_of
from mrl_tutorial.errors import InputError
from mrl_tutorial.files import whole_file

MEANING = (
    "shown here", "shown for some of the sizes, layers or tasks that the claim names",
    "the opposite is shown here", "too few items, seeds or steps; the row says what would do",
    "contradicts a formula, which arithmetic shows", "needs data that only the network has",
)  # fmt: skip
#: the claims that the README tells, and where
TOLD = ("M4", "M5", "Z6", "Z3", "R1")
PLACE = ("<!-- ledger: begin (mrl-tutorial ledger --readme README.md) -->\n", "<!-- ledger: end -->")
ARXIV = re.compile(r"arXiv (\d{4}\.\d{5})")


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
    place = notebook_of(row)
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
