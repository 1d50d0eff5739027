"""A small course for the tests of the web site: two made notebooks, one with a panel, and their pages."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import nbformat
from PIL import Image

from mrl_tutorial.panels.size_calculator import SizeCalculator
from tools import build_notebooks as build
from tools.site import lesson, pages
from tools.site.runs import Run

README = """| 00 | [A first look](notebooks/00_first.ipynb) | 3 | one model; a grid |
| 01 | [A second look](notebooks/01_second.ipynb), optional | 12 | what it costs |
"""
FIRST = """# 00 · First

Intro with $x_l$ and a [link](01_second.ipynb), [one](../data/README.md) elsewhere, ![a badge](https://a.org/b.svg).

## Marmalade

![A drawing](images/explorer.webp)

Only here stands the word quince.

$$\\frac{a}{b}$$"""
SOLUTION = "<details><summary>Solution</summary>\n\n```python\nanswer = 42\n```\n\n</details>\n\n## Marmalade\n\nAgain."


def picture(width: int = 30, height: int = 20) -> str:
    """A base64 PNG."""
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, "png")
    return base64.b64encode(out.getvalue()).decode()


def code(source: str, *outputs: nbformat.NotebookNode, tags: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    """A cell that has run."""
    return nbformat.v4.new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def shown(**data: object) -> nbformat.NotebookNode:
    """An output; the keys are mime types with "_" for "/"."""
    return nbformat.v4.new_output("display_data", {key.replace("_", "/", 1): value for key, value in data.items()})


def printed(text: str) -> nbformat.NotebookNode:
    """A printed output."""
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def course(folder: Path) -> list[Run]:
    """The runs of two notebooks."""
    figure = {**shown(image_png=picture()).data, lesson.FIGURE: {"layout": {"title": {"text": "Fine <b>figure</b>"}}}}
    first = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell(FIRST),
        code("import colab", tags=("setup",)),
        code("import os", printed("one\n"), printed("two\n")),
        code("panel", shown(text_plain=build.LIVE, image_png=picture(1000, 700))),
        code("figure", nbformat.v4.new_output("display_data", figure)),
        code("def answer(): ...\ncheck.answer(answer)", shown(text_plain="Not yet: the stub is still there")),
        nbformat.v4.new_markdown_cell(SOLUTION),
    ])  # fmt: skip
    long = "\n".join(f"x{i} = {i}" for i in range(40))
    second = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell("# 01 · Second"), code("1"), code(long, tags=("claim-M1",)),
    ])  # fmt: skip
    for name, notebook in (("00_first", first), ("01_second", second)):
        nbformat.write(notebook, folder / f"{name}.ipynb")
    SizeCalculator().save_page(folder / "000.html")
    return [Run(folder / "00_first.ipynb", (folder / "000.html",)), Run(folder / "01_second.ipynb", (), fast=True)]


def made_site(folder: Path) -> Path:
    """The site of the small course, with a document that links to a claim."""
    site = folder / "site"
    site.mkdir()
    runs = course(folder)
    known = pages.leads(["LEDGER.md"], [run.stem for run in runs])

    def lead(url: str) -> str | None:
        return pages.lead(url, known)

    lessons = [pages.lesson(run.stem, lesson.article(run, site, lead), README, run.fast) for run in runs]
    text = lesson.to_html("# Found\n\n[where](notebooks/01_second.ipynb#claim-M1)", lead, set())
    pages.write(site, lessons, [pages.Page("ledger", "The ledger", text)])
    return site
