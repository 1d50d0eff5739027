"""The web site: which run of a notebook is shown, when one runs anew, and how the site is published."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest

from mrl_tutorial import InputError
from mrl_tutorial.panels.size_calculator import SizeCalculator
from tests.helpers import site as small
from tools import build_notebooks as build
from tools.site import __main__ as command
from tools.site import links, runs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A repository with one source, whose notebook shows one panel."""
    here = tmp_path / "notebooks"
    (here / "source").mkdir(parents=True)
    source = here / "source" / "00_try.py"
    source.write_text("# %% [markdown]\n# # Try\n\n# %%\nx\n")
    monkeypatch.setattr(build, "HERE", here)
    monkeypatch.setattr(build, "PAGES", tmp_path / "build" / "panels")
    monkeypatch.setattr(runs, "BUILD", tmp_path / "build")
    monkeypatch.delenv("FAST", raising=False)
    return source


def run(source: Path, folder: Path, pages: int) -> None:
    """What the builder would leave in `folder`."""
    notebook = build.read(source)
    notebook.cells[1].outputs = [small.shown(text_plain=build.LIVE)]
    notebook.cells[1].execution_count = 1
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, folder / f"{source.stem}.ipynb")
    target = runs.pages_of(folder, source)
    target.mkdir(parents=True, exist_ok=True)
    for i in range(pages):
        SizeCalculator().save_page(target / f"{i:03d}.html")


def never(*args, **kwargs):
    raise AssertionError("no notebook should run")


def test_the_committed_notebook_is_shown_where_its_panels_are(workshop, monkeypatch):
    run(workshop, build.HERE, pages=1)
    monkeypatch.setattr(subprocess, "run", never)
    (found,) = runs.runs()
    assert found.notebook == build.HERE / "00_try.ipynb" and len(found.pages) == 1 and not found.fast


@pytest.mark.parametrize("fast", [False, True])
def test_otherwise_it_runs_once_and_says_so(workshop, monkeypatch, capsys, fast):
    run(workshop, build.HERE, pages=0)
    folder = runs.BUILD / ("site-notebooks-fast" if fast else "site-notebooks")
    asked = []

    def runner(line, **options):
        asked.append(line)
        run(workshop, folder, pages=1)
        return subprocess.CompletedProcess(line, 0)

    monkeypatch.setattr(subprocess, "run", runner)
    monkeypatch.setenv("FAST", "1" if fast else "")
    (found,) = runs.runs(["00"])
    said = capsys.readouterr().out
    assert "00_try" in said and ("small budgets" in said) == fast == found.fast
    assert asked[0][1:] == ["-m", "tools.build_notebooks", "--only", "00_try", "--out", str(folder)]
    assert found.notebook.parent == folder and runs.runs() == [found] and len(asked) == 1
    workshop.write_text(workshop.read_text() + "\n# %%\n2\n")
    runs.runs()
    assert len(asked) == 2
    (runs.pages_of(folder, workshop) / "000.html").unlink()
    monkeypatch.setattr(subprocess, "run", lambda line, **_: subprocess.CompletedProcess(line, 0))
    with pytest.raises(InputError, match="not every panel"):
        runs.runs()


def test_panels_with_older_code_are_made_again(workshop):
    folder = runs.BUILD / "site-notebooks"
    run(workshop, folder, pages=1)
    page = runs.pages_of(folder, workshop) / "000.html"
    now = page.read_text(encoding="utf-8")
    assert runs.again(workshop, folder, False) is not None
    for older in (now.replace("function mount", "function old"), now.replace(".mrl {", ".older {"), "<title>x</title>"):
        assert older != now
        page.write_text(older, encoding="utf-8")
        assert runs.again(workshop, folder, False) is None


def test_panels_of_another_run_are_not_shown(workshop):
    run(workshop, build.HERE, pages=1)
    assert runs.committed(workshop) is not None
    page = runs.pages_of(build.HERE, workshop) / "000.html"
    os.utime(page, (1, 1))
    assert runs.committed(workshop) is None
    run(workshop, build.HERE, pages=2)
    assert runs.committed(workshop) is None  # two pages, one panel


def test_a_failing_notebook_leaves_the_old_site_alone(workshop, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(subprocess, "run", lambda line, **_: subprocess.CompletedProcess(line, 1))
    old = tmp_path / "site"
    old.mkdir()
    (old / links.INDEX).write_text("old")
    assert command.main(["--out", str(old)]) == 1
    assert "failed" in capsys.readouterr().err and [p.name for p in old.iterdir()] == [links.INDEX]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    assert command.main(["--out", str(tmp_path / "other")]) == 1
    assert "no site of this course" in capsys.readouterr().err and (tmp_path / "other" / "thesis.txt").exists()


# -- publishing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda p: p.stem)
def test_workflows_run_what_exists(path):
    yaml = pytest.importorskip("yaml")
    text = path.read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = "\n".join(step.get("run", "") for step in steps)
    for target in re.findall(r"^make ([\w-]+)", lines, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for script in re.findall(r"^(\.ci/\w+)", lines, re.M):
        assert os.access(ROOT / script, os.X_OK)
    assert "make site" in lines or ".ci/run" in lines
    assert not re.search(r"https?://|index-url", text)


def test_the_checked_pythons_are_those_that_the_package_names():
    yaml = pytest.importorskip("yaml")
    checked = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["check"]["strategy"]["matrix"]
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert [f"Programming Language :: Python :: {version}" for version in checked["python"]] == [
        line for line in named if line.startswith("Programming Language")
    ]
