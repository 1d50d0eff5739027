"""How long the lessons are: cells, words and lines of code of each, and its longest code cell.

python -m tools.lesson_table              a table in markdown, of all lessons
python -m tools.lesson_table --only 03    some of them
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

from nbformat import NotebookNode

from tools import build_notebooks as build

FENCED = re.compile(r"^```.*?^```", re.S | re.M)
UNREAD = re.compile(r"<[^>]+>|(?<=\])\([^)\s]*\)|\[!\[.*")  # html tags, addresses of links, badges


class Length(NamedTuple):
    """cells, of all kinds; words of markdown, without fenced code; lines of code, as `code_lines` counts them."""

    cells: int
    words: int
    lines: int
    longest: int

    def too_long(self) -> list[str]:
        """What is above its limit, a line each."""
        limits = dict(zip(("cells", "words", "lines of code", "lines in one code cell"), LIMITS, strict=True))
        pairs = zip(self, limits.items(), strict=True)
        return [f"{found:,} {what}, at most {most:,}" for found, (what, most) in pairs if found > most]


LIMITS = Length(cells=32, words=1450, lines=130, longest=25)


def is_setup(cell: NotebookNode) -> bool:
    """Whether it is the cell that fetches the course on Colab."""
    return "setup" in cell.metadata.get("tags", ())


def words(markdown: str) -> int:
    """Words that a reader reads.

    >>> words("**Two** [words](01_the_doll.ipynb) — <br>\\n```python\\nnot = this\\n```")
    2
    """
    text = UNREAD.sub(" ", FENCED.sub("", markdown))
    return sum(any(c.isalnum() for c in word) for word in text.split())


def code_lines(source: str) -> int:
    """Lines that hold more than a comment.

    >>> code_lines("# a comment\\n\\nx = 1  # one\\n")
    1
    """
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in source.splitlines())


def length(source: Path) -> Length:
    """How long a lesson is; the setup cell's code is not counted."""
    cells = build.read(source).cells
    code = [code_lines(c.source) for c in cells if c.cell_type == "code" and not is_setup(c)]
    text = sum(words(c.source) for c in cells if c.cell_type == "markdown")
    return Length(len(cells), text, sum(code), max(code, default=0))


def main(argv: list[str] | None = None) -> int:
    """Print the table. Exit status 1 where a lesson is above a limit."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", action="append", metavar="NN", help="start of a lesson's name; may be repeated")
    found = {source.stem: length(source) for source in build.sources(p.parse_args(argv).only)}
    print("| lesson | cells | words | lines of code | longest cell |\n|---|---|---|---|---|")
    for stem, row in found.items():
        print(f"| {stem} | {row.cells} | {row.words:,} | {row.lines} | {row.longest} |")
    print(f"| at most | {LIMITS.cells} | {LIMITS.words:,} | {LIMITS.lines} | {LIMITS.longest} |")
    over = [f"{stem}: {line}" for stem, row in found.items() for line in row.too_long()]
    print(*over, sep="\n", file=sys.stderr, end="\n" if over else "")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
