"""Exercises of the notebooks: their folded solutions pass the checks, their stubs fail them."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from exercises.verdict import Verdict

import mrl_tutorial as mrl

SOURCES = sorted((Path(__file__).parents[2] / "notebooks" / "source").glob("[0-9][0-9]_*.py"))
SOLUTION = re.compile(r"<summary>Solution</summary>.*?```python\n(.*?)```", re.S)


def cells(source: Path) -> list[str]:
    return re.split(r"^# %%.*\n", source.read_text(encoding="utf-8"), flags=re.M)


def solutions(source: Path) -> list[str]:
    plain = re.sub(r"^# ?", "", source.read_text(encoding="utf-8"), flags=re.M)
    return SOLUTION.findall(plain)


def own_checks(source: Path) -> ModuleType:
    """The module that a notebook imports as `check`."""
    found = re.search(r"^from exercises import (\w+) as check$", source.read_text(encoding="utf-8"), re.M)
    assert found, f"{source.name} imports nothing as check"
    return import_module(f"exercises.{found[1]}")


def run(code: str, module: ModuleType) -> Verdict:
    """What the check on the last line says of the code above it."""
    *body, last = code.strip().splitlines()
    scope = {"np": np, "torch": torch, "F": torch.nn.functional, "mrl": mrl, "Recipe": mrl.Recipe, "check": module}
    exec("\n".join(body), scope)
    return eval(last, scope)


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_solutions_pass_and_stubs_fail(source):
    stubs = [cell for cell in cells(source) if (cell.strip().splitlines() or [""])[-1].startswith("check.")]
    solved, module = solutions(source), own_checks(source)
    assert len(stubs) == len(solved) >= 2
    for stub, solution in zip(stubs, solved, strict=True):
        assert stub.strip().splitlines()[-1] == solution.strip().splitlines()[-1]  # the same check
        unsolved, right = run(stub, module), run(solution, module)
        assert not unsolved and str(unsolved).startswith("Not yet: ")
        assert right, right
