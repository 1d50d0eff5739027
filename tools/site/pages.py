"""The pages around the lessons' texts: frame, navigation, home page, documents, style and search index."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pygments.formatters import HtmlFormatter

from mrl_tutorial.errors import InputError
from tools.site.lesson import LOOK
from tools.site.links import INDEX
from tools.site.text import Section, sections

ROOT = Path(__file__).resolve().parents[2]
# as far as they exist
DOCUMENTS = {"GLOSSARY.md": "Glossary", "LEDGER.md": "The ledger", "TEACHING.md": "For teachers"}
LIGHT, DARK = "vs", "github-dark"  # of pygments, for code
DARKENED = ':root[data-theme="dark"] .highlight'


@dataclass
class Page:
    """A page of the site. number: of a lesson; minutes, optional and about: what the README says of it."""

    name: str
    title: str
    body: str
    number: str = ""
    minutes: str = ""
    optional: bool = False
    about: str = ""
    fast: bool = False
    sections: list[Section] = field(init=False)

    def __post_init__(self) -> None:
        self.sections = sections(self.body)

    @property
    def url(self) -> str:
        """Its address in the site."""
        return f"{self.name}.html"


def lesson(stem: str, body: str, readme: str, fast: bool) -> Page:
    """The page of a notebook. Raises InputError where the README's table does not tell its minutes."""
    row = next((line for line in readme.splitlines() if line.startswith("|") and f"notebooks/{stem}.ipynb" in line), "")
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    minutes = next((cell for cell in cells[1:] if re.fullmatch(r"\d+(–\d+)?", cell)), "")
    if not minutes:
        raise InputError(f"README.md has no row with the minutes of notebooks/{stem}.ipynb")
    named = re.search(rf"\[([^\]]+)\]\(notebooks/{stem}\.ipynb\)", row)
    assert named  # the row was found by this address
    return Page(stem, named[1], body, stem[:2], minutes, ", optional" in row, cells[-1], fast)


def evidence(stem: str, body: str) -> Page:
    """The page of an evidence notebook, called as its first heading says."""
    found = re.search(r"<h1[^>]*>(.*?)</h1>", body, re.S)
    assert found  # every notebook begins with one
    return Page(stem, html.unescape(re.sub(r"<[^>]+>", "", found[1])).strip(" ¶#"), body)


def leads(names: Iterable[str], stems: Iterable[str]) -> dict[str, str]:
    """File of the repository -> page of the site."""
    return {f"notebooks/{stem}.ipynb": f"{Path(stem).name}.html" for stem in stems} | {
        name: f"{Path(name).stem.lower()}.html" for name in names
    }


def lead(url: str, known: dict[str, str]) -> str | None:
    """Where a link of a notebook or document leads in the site; None for a file that the site does not show."""
    if url.startswith(("https://", "http://", "mailto:", "#")):
        return url
    path, mark, place = url.partition("#")
    path = path.removeprefix("../")
    for name in (path, f"notebooks/{path}", f"notebooks/evidence/{path}"):
        if name in known:
            return known[name] + mark + place
    return None


def write(site: Path, lessons: list[Page], documents: list[Page]) -> None:
    """All pages, with style, scripts and search index."""
    look = Environment(loader=FileSystemLoader(LOOK), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    first = re.search(r'<figure class="panel">.*?</figure>', "".join(page.body for page in lessons), re.S)
    home = Page("index", "Matryoshka embeddings, hands on", "", fast=any(page.fast for page in lessons))
    fill = {"lessons": lessons, "documents": documents, "panel": first[0] if first else ""}
    home.body = look.get_template("home.html").render(**fill)
    home.sections = sections(home.body)
    row = [home, *lessons]
    frame = look.get_template("page.html")
    for page in [*row, *documents]:
        place = row.index(page) if page in row else None
        before = row[place - 1] if place else None
        after = row[place + 1] if place is not None and place + 1 < len(row) else None
        text = frame.render(**fill, page=page, home=page is home, before=before, after=after)
        (site / page.url).write_text(text, encoding="utf-8")
    entries = [entry for page in [*lessons, *documents] for entry in _entries(page)]
    (site / INDEX).write_text(f"window.COURSE_INDEX = {json.dumps(entries, ensure_ascii=False)};\n", encoding="utf-8")
    (site / "style.css").write_text((LOOK / "style.css").read_text(encoding="utf-8") + _code_style(), encoding="utf-8")
    for name in ("course.js", "search.js"):
        shutil.copy(LOOK / name, site / name)


def _entries(page: Page) -> list[dict[str, str]]:
    where = f"{page.number} · {page.title}" if page.number else page.title
    return [
        {"url": f"{page.url}#{s.id}", "page": where, "title": html.unescape(s.title), "text": s.text}
        for s in page.sections
    ]


def _code_style() -> str:
    """Colors of code, for both themes."""
    dark = HtmlFormatter(style=DARK)
    automatic = dark.get_style_defs(':root[data-theme="auto"] .highlight')
    return "\n".join([
        HtmlFormatter(style=LIGHT).get_style_defs(".highlight"),
        dark.get_style_defs(DARKENED),
        f"@media (prefers-color-scheme: dark) {{\n{automatic}\n}}\n",
    ])  # fmt: skip
