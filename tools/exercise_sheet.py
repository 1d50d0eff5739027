"""The exercises of the lessons on paper: statement and stub of each, and the solutions on the last pages.

python -m tools.exercise_sheet                         build/exercises.html: open it and print   (make sheet)
python -m tools.exercise_sheet --only 01 --out FILE    those of some lessons
"""

from __future__ import annotations

import argparse
import html
import re
import sys
from pathlib import Path
from typing import NamedTuple

from mrl_tutorial.files import whole_file
from tools import build_notebooks as build
from tools.site.text import to_html

OUT = build.HERE.parent / "build" / "exercises.html"
STATEMENT = re.compile(r"^\*\*Exercise \d+ · ", re.M)
SOLUTION = re.compile(r"<details><summary>Solution</summary>(.*)</details>", re.S)
MINUTES = re.compile(r"\((\d+) minutes")
STYLE = """
body { font: 11pt/1.45 Georgia, serif; max-width: 46em; margin: 2em auto; padding: 0 1em; }
pre { font: 9pt/1.4 monospace; border: 1px solid #999; padding: .6em .8em; white-space: pre-wrap; }
.stub { padding-bottom: 7em; }
h1 { font-size: 20pt; }
h2 { font-size: 14pt; margin-top: 2em; border-bottom: 1px solid #999; }
section { break-inside: avoid; }
.solutions { break-before: page; }
@page { margin: 18mm; }
@media print { body { max-width: none; margin: 0; padding: 0; } }
"""


class Exercise(NamedTuple):
    """statement and solution: markdown. stub: code, whose last line is the check. minutes: as the statement says."""

    statement: str
    stub: str
    solution: str

    @property
    def minutes(self) -> int:
        """Of a student's time; 0 where the statement does not tell."""
        found = MINUTES.search(self.statement)
        return int(found[1]) if found else 0


def exercises(source: Path) -> tuple[str, list[Exercise]]:
    """A lesson's title, and its exercises in order: those whose statement, stub and solution follow one another."""
    cells = build.read(source).cells
    texts = [(cell.cell_type, cell.source.strip()) for cell in cells]
    found = []
    for (_, before), (kind, stub), (_, after) in zip(texts, texts[1:], texts[2:], strict=False):
        begins, solution = list(STATEMENT.finditer(before)), SOLUTION.search(after)
        if kind == "code" and stub.split("\n")[-1].startswith("check.") and begins and solution:
            found.append(Exercise(before[begins[-1].start() :], stub, solution[1].strip()))
    return texts[0][1].split("\n")[0].lstrip("# "), found


def sheet(sources: list[Path]) -> str:
    """The page."""
    front, back = [], []
    for source in sources:
        title, found = exercises(source)
        if not found:
            continue
        heading = f"<h2>{html.escape(title)} ({sum(one.minutes for one in found)} minutes)</h2>"
        front.append(heading)
        back.append(heading)
        for one in found:
            name = one.statement.split("**")[1]
            front.append(f'<section>{markdown(one.statement)}<pre class="stub">{html.escape(one.stub)}</pre></section>')
            back.append(f"<section><h3>{html.escape(name)}</h3>{markdown(one.solution)}</section>")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Exercises</title><style>{STYLE}</style>'
        f"</head><body><h1>Matryoshka embeddings: exercises</h1>{''.join(front)}"
        f'<h1 class="solutions">Solutions</h1>{"".join(back)}</body></html>\n'
    )


def markdown(text: str) -> str:
    """Markdown as html; links are words alone, for paper."""
    return to_html(text, lambda _: None, set())


def main(argv: list[str] | None = None) -> int:
    """Write the sheet."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", action="append", metavar="NN", help="start of a lesson's name; may be repeated")
    p.add_argument("--out", type=Path, default=OUT, help="html file to write (default: build/exercises.html)")
    args = p.parse_args(argv)
    chosen = build.sources(args.only)
    with whole_file(args.out) as temporary:
        temporary.write_text(sheet(chosen), encoding="utf-8")
    count = sum(len(exercises(source)[1]) for source in chosen)
    print(f"{args.out}: {count} exercises, solutions on the last pages; open it in a browser and print")
    return 0


if __name__ == "__main__":
    sys.exit(main())
