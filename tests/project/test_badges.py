"""The repository's address stands in one place, and gets from there into README and notebooks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest

from tools import badges

ROOT = Path(__file__).parents[2]

SOURCES = sorted((ROOT / "notebooks" / "source").glob("[0-9][0-9]_*.py"))


def told(text: str) -> str:
    """The address in a notebook's setup cell."""
    return re.search(r'repository, folder = "([^"]*)"', text)[1]


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_every_notebook_has_the_setup_cell(source):
    text = source.read_text(encoding="utf-8")
    (cell,) = badges.SETUP.findall(text)
    repo = told(text).removeprefix("https://github.com/")
    assert cell == badges.setup_cell(repo or None)
    assert told(text) == told(SOURCES[0].read_text(encoding="utf-8"))
    assert text.index(cell) < text.index("# %%\n")  # before any other code


@pytest.fixture
def clone(tmp_path):
    for name in ("tools", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("images", "__pycache__"))
    for extra in (tmp_path / "notebooks").glob("0[2-9]*.ipynb"):
        extra.unlink()
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def run(clone: Path, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tools.badges", *args], cwd=clone, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def test_badges_are_written_everywhere_and_written_again_for_another_address(clone):
    before = (clone / "README.md").read_text()
    outputs = [
        c.get("outputs") for c in nbformat.read(next((clone / "notebooks").glob("00*.ipynb")), as_version=4).cells
    ]
    for repo in ("someone/first", "else-where/The.Course"):
        done = run(clone, repo)
        assert done.returncode == 0, done.stderr
        files = [
            clone / "README.md",
            *(clone / "notebooks" / "source").glob("0*.py"),
            *(clone / "notebooks").glob("0*.ipynb"),
        ]
        for path in files:
            text = path.read_text(encoding="utf-8")
            assert text.count("mybinder.org/v2/") == text.count("colab.research.google.com/github/") == 1, path
            assert f"/{repo}/" in text and (repo == "someone/first") == ("someone/first" in text), path
            stem = "00_a_live_grid" if path.name == "README.md" else path.stem
            assert f"labpath=notebooks%2F{stem}.ipynb" in text and f"/blob/main/notebooks/{stem}.ipynb" in text
            if path.suffix == ".py":
                assert told(text) == f"https://github.com/{repo}"
    after = nbformat.read(next((clone / "notebooks").glob("00*.ipynb")), as_version=4)
    assert [c.get("outputs") for c in after.cells] == outputs
    readme = (clone / "README.md").read_text()
    assert [x for x in readme.splitlines() if x and "mybinder" not in x] == [
        x for x in before.splitlines() if x and "mybinder" not in x
    ]
    assert run(clone, "else-where/The.Course").returncode == 0 and (clone / "README.md").read_text() == readme


@pytest.mark.parametrize("args", [(), ("no-owner",), ("a/b/c",), ("https://example.org/a/b",)])
def test_what_is_no_address_changes_nothing(clone, args):
    before = (clone / "README.md").read_text()
    done = run(clone, *args)
    assert done.returncode != 0 and "REPO=owner/name" in done.stderr and (clone / "README.md").read_text() == before


def body(repo: str | None) -> str:
    return badges.setup_cell(repo).split("\n", 1)[1]


def test_elsewhere_the_cell_does_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    scope: dict = {}
    exec(body("a/b"), scope)
    assert set(scope) <= {"sys", "__builtins__"}


def test_on_colab_it_fetches_installs_and_switches_widgets_on(monkeypatch):
    ran, moved, widgets = [], [], []
    colab = types.ModuleType("google.colab")
    colab.output = types.SimpleNamespace(enable_custom_widget_manager=lambda: widgets.append(1))
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(command))
    monkeypatch.setattr("os.chdir", moved.append)
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(body("a/b"), {})
    assert "https://github.com/a/b" in ran[0] and ran[1][1:4] == ["-m", "pip", "install"] and len(ran) == 2
    assert moved == ["/content/course/notebooks"] and sys.path[:2] == ["/content/course", "/content/course/notebooks"]
    assert widgets == [1]
