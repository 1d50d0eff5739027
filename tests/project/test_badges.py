"""The repository's address stands in one place, and gets from there into README and notebooks."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import nbformat
import pytest

from tools import badges
from tools import build_notebooks as build

ROOT = Path(__file__).parents[2]

SOURCES = build.sources()
BUILT, WRITTEN = "[0-9][0-9]_*.ipynb", "[0-9][0-9]_*.py"


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
    for old in (tmp_path / "notebooks").glob(BUILT):
        old.unlink()
    for source in SOURCES[:2]:  # built notebooks in step with their sources, with an output in each cell
        notebook = build.read(source)
        code = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
        for number, cell in enumerate(code, start=1):
            cell.execution_count = number
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"{number}\n")]
        (tmp_path / "notebooks" / f"{source.stem}.ipynb").write_text(nbformat.writes(notebook) + "\n")
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(clone: Path, *args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tools.badges", *args], cwd=clone, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def test_badges_are_written_everywhere_and_written_again_for_another_address(clone):
    before = (clone / "README.md").read_text()
    first = clone / "notebooks" / f"{SOURCES[0].stem}.ipynb"
    outputs = [c.get("outputs") for c in nbformat.read(first, as_version=4).cells]
    for repo in ("someone/first", "else-where/The.Course"):
        done = run(clone, repo)
        assert done.returncode == 0, done.stderr
        files = [
            clone / "README.md",
            *(clone / "notebooks" / "source").glob(WRITTEN),
            *(clone / "notebooks").glob(BUILT),
        ]
        for path in files:
            text = path.read_text(encoding="utf-8")
            assert text.count("mybinder.org/v2/") == text.count("colab.research.google.com/github/") == 1, path
            assert f"/{repo}/" in text and (repo == "someone/first") == ("someone/first" in text), path
            stem = SOURCES[0].stem if path.name == "README.md" else path.stem
            assert f"labpath=notebooks%2F{stem}.ipynb" in text and f"/blob/main/notebooks/{stem}.ipynb" in text
            if path.suffix == ".py":
                assert told(text) == f"https://github.com/{repo}"
        told_by_pyproject = tomllib.loads((clone / "pyproject.toml").read_text())["project"]["urls"]
        assert told_by_pyproject == {"Repository": f"https://github.com/{repo}"}
    after = nbformat.read(first, as_version=4)
    assert [c.get("outputs") for c in after.cells] == outputs
    readme = (clone / "README.md").read_text()
    assert [x for x in readme.splitlines() if x and "mybinder" not in x] == [
        x for x in before.splitlines() if x and "mybinder" not in x
    ]
    assert run(clone).returncode == 0 and (clone / "README.md").read_text() == readme  # read from pyproject.toml


def test_without_an_address_there_are_no_badges(clone):
    assert run(clone, "someone/first").returncode == 0
    text = (clone / "pyproject.toml").read_text()
    (clone / "pyproject.toml").write_text(re.sub(r'\nRepository = ".*"', "", text))
    done = run(clone, "")
    assert done.returncode == 0 and "names no repository yet" in done.stdout and "REPO=owner/name" in done.stdout
    for path in (clone / "README.md", *clone.glob("notebooks/*.ipynb"), *clone.glob(f"notebooks/source/{WRITTEN}")):
        text = path.read_text(encoding="utf-8")
        assert "mybinder.org/v2" not in text and "/blob/main/notebooks" not in text, path
        assert path.suffix != ".py" or told(text) == ""


@pytest.mark.parametrize("repo", ["no-owner", "a/b/c", "https://example.org/a/b"])
def test_what_is_no_address_changes_nothing(clone, repo):
    names = ("README.md", "pyproject.toml")
    before = [(clone / name).read_bytes() for name in names]
    done = run(clone, repo)
    assert done.returncode != 0 and "REPO=owner/name" in done.stderr
    assert [(clone / name).read_bytes() for name in names] == before
    (clone / "pyproject.toml").write_text(f'[project.urls]\nRepository = "{repo}"\n')
    done = run(clone)
    assert done.returncode != 0 and "REPO=owner/name" in done.stderr and (clone / names[0]).read_bytes() == before[0]


def test_a_notebook_that_differs_from_its_source_keeps_its_code_and_outputs(clone):
    source, built = (clone / "notebooks" / x for x in (f"source/{SOURCES[1].name}", f"{SOURCES[1].stem}.ipynb"))
    source.write_text(source.read_text() + "\n# %%\nprint('not built yet')\n")
    before = built.read_bytes()
    done = run(clone, "someone/first")
    assert done.returncode == 0 and built.name not in done.stdout and built.read_bytes() == before
    assert "someone/first" in source.read_text()


def body(repo: str | None) -> str:
    return badges.setup_cell(repo).split("\n", 1)[1]


def test_elsewhere_the_cell_does_nothing(monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    scope: dict = {}
    exec(body("a/b"), scope)
    assert set(scope) <= {"sys", "__builtins__"}


@pytest.fixture
def colab(monkeypatch):
    """What the cell does on Colab: commands, folders entered, switches of widgets."""
    did = types.SimpleNamespace(ran=[], moved=[], widgets=[])
    module = types.ModuleType("google.colab")
    module.output = types.SimpleNamespace(enable_custom_widget_manager=lambda: did.widgets.append(1))
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(subprocess, "run", lambda command, check: did.ran.append(command))
    monkeypatch.setattr("os.chdir", did.moved.append)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return did


def test_on_colab_it_fetches_installs_and_switches_widgets_on(colab):
    exec(body("a/b"), {})
    clone, install = colab.ran
    assert "https://github.com/a/b" in clone and install[1:4] == ["-m", "pip", "install"]
    assert colab.moved == ["/content/course/notebooks"] and colab.widgets == [1]
    assert sys.path[:2] == ["/content/course", "/content/course/notebooks"]


def test_on_colab_without_an_address_it_says_what_to_do_and_does_nothing_else(colab):
    with pytest.raises(RuntimeError, match=r"address of its repository.*unzip the course into /content/course"):
        exec(body(None), {})
    assert colab.ran == colab.moved == colab.widgets == []


def test_on_colab_a_course_that_was_put_there_by_hand_needs_no_address(colab, monkeypatch):
    monkeypatch.setattr("os.path.isdir", lambda path: path == "/content/course")
    exec(body(None), {})
    (install,) = colab.ran
    assert install[-1] == "/content/course[panels,ann]" and colab.widgets == [1]
