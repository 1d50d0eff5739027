"""The plan of the house: ten rooms, imports that point down, files and functions that a reader takes in."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mrl_tutorial"
# from the bottom up: a file may import from what stands before its own room, never from what stands after it
ORDER = (
    "errors", "progress", "files", "grid", "prefixes", "topk",
    "losses", "recipes", "models", "tasks", "evaluation", "training", "retrieval", "classification", "panels", "cli",
)  # fmt: skip
ROOMS = ORDER[6:]
FILES = sorted(PACKAGE.rglob("*.py"))
CODE = [*FILES, *sorted((ROOT / "benchmarks").rglob("*.py")), *sorted((ROOT / "tools").rglob("*.py"))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def imported(path: Path) -> set[str]:
    """The rooms and root files of the package that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mrl_tutorial":
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found & set(ORDER)


def test_the_rooms_are_those_of_the_plan():
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    assert rooms == set(ROOMS)
    tests = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir() and any(p.glob("test_*.py"))}
    assert set(ROOMS) <= tests, "each room has its tests in a folder of the same name"


@pytest.mark.parametrize("path", [p for p in FILES if p.parent != PACKAGE or p.stem in ORDER], ids=name)
def test_imports_point_down(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    above = set(ORDER[ORDER.index(parts[0]) + 1 :])
    assert not imported(path) & above


@pytest.mark.parametrize("path", CODE, ids=name)
def test_a_reader_takes_it_in(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 260, f"{lines} lines: is it still one room with one job?"
    if name(path) == "mrl_tutorial/cli/parser.py":
        return  # the command line is one long list
    for function in functions(path):
        length = function.end_lineno - function.lineno + 1
        assert length <= 60, f"{function.name} has {length} lines"
        given = function.args
        count = len([a for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg not in ("self", "cls")])
        assert count <= 8, f"{function.name} takes {count} parameters: give it a dataclass"


def test_no_proxies_and_no_suppressed_rules_in_bulk():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        proxies = [f for f in functions(path) if f.name == "__getattr__"]
        assert not proxies or path == PACKAGE / "__init__.py", name(path)
        assert "ruff: noqa" not in text and "mypy: ignore-errors" not in text, name(path)
