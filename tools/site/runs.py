"""Which run of each notebook the site shows: one whose live panels are there, else a new one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.script import WEB, modules, stylesheet
from tools import build_notebooks as build

BUILD = build.HERE.parent / "build"
VIEW = re.compile(r'^standalone\((\w+), "', re.M)
SLACK = 3600  # seconds that a run may still take after its last panel: a notebook that is younger is of another run


@dataclass(frozen=True)
class Run:
    """An executed notebook and the pages of its panels, in the order in which its outputs show them. fast: it ran with
    small budgets, so its figures are rough."""

    notebook: Path
    pages: tuple[Path, ...]
    fast: bool = False

    @property
    def stem(self) -> str:
        """The notebook's name, e.g. "01_the_doll"."""
        return self.notebook.stem


def runs(only: list[str] | None = None) -> list[Run]:
    """A run of every notebook, or of those whose names start as `only` says.

    The committed notebooks, where `build/panels` has the pages of their panels. The others are executed, to
    `build/site-notebooks` (with FAST=1 to `build/site-notebooks-fast`), unless that was done since their last change.
    Raises InputError where a notebook fails.
    """
    fast = os.environ.get("FAST") == "1"
    folder = BUILD / ("site-notebooks-fast" if fast else "site-notebooks")
    found = {source: committed(source) or again(source, folder, fast) for source in build.sources(only)}
    missing = [source for source, run in found.items() if run is None]
    if missing:
        names, small = ", ".join(source.stem for source in missing), " with small budgets" * fast
        print(f"pages of live panels are missing or outdated, so these notebooks run now{small}: {names}", flush=True)
        chosen = [part for source in missing for part in ("--only", source.stem)]
        command = [sys.executable, "-m", "tools.build_notebooks", *chosen, "--out", str(folder)]
        if subprocess.run(command, cwd=build.HERE.parent, check=False).returncode:
            raise InputError("the notebooks above failed: see what make notebooks says of them")
    for source in missing:
        found[source] = with_panels(folder / f"{source.stem}.ipynb", pages_of(folder, source), fast)
        if found[source] is None:
            raise InputError(f"{source.stem} ran, but not every panel left a page in {pages_of(folder, source)}")
    return [run for run in found.values() if run]


def evidence() -> list[Run]:
    """The committed evidence notebooks, which have no panels."""
    found = [build.built(source, build.HERE) for source in build.sources(evidence=True) if source.stem.startswith("E")]
    return [Run(path, ()) for path in found if path.exists()]


def committed(source: Path) -> Run | None:
    """The committed notebook, if the pages of its panels are there and of the same run."""
    notebook = build.HERE / f"{source.stem}.ipynb"
    return with_panels(notebook, pages_of(build.HERE, source))


def again(source: Path, folder: Path, fast: bool) -> Run | None:
    """What an earlier run for the site has left, if neither the source nor the panels' code have changed since."""
    notebook = folder / f"{source.stem}.ipynb"
    if any("make notebooks" in line for line in build.problems(source, notebook)):
        return None
    run = with_panels(notebook, pages_of(folder, source), fast)
    return run if run and all(map(current, run.pages)) else None


def current(page: Path) -> bool:
    """Whether a panel's page holds the code that the panels have now."""
    text = page.read_text(encoding="utf-8")
    view = VIEW.search(text)
    if view is None or not (WEB / f"{view[1]}.js").exists():
        return False
    return stylesheet() in text and modules(view[1]).replace("</script", r"<\/script") in text


def with_panels(notebook: Path, pages: Path, fast: bool = False) -> Run | None:
    """The run whose panels are in the folder `pages`; None where some are missing or of another run."""
    if not notebook.exists():
        return None
    shown = [
        output for cell in nbformat.read(notebook, 4).cells for output in cell.get("outputs", ()) if is_panel(output)
    ]
    found = sorted(pages.glob("*.html"))
    if len(shown) != len(found):
        return None
    if found and notebook.stat().st_mtime > max(page.stat().st_mtime for page in found) + SLACK:
        return None
    return Run(notebook, tuple(found), fast)


def is_panel(output: nbformat.NotebookNode) -> bool:
    """Whether a live panel stood where this output is."""
    return output.get("data", {}).get("text/plain") == build.LIVE


def pages_of(folder: Path, source: Path) -> Path:
    """Where the run into `folder` has put the pages of a notebook's panels."""
    return build.PAGES / folder.resolve().name / source.stem
