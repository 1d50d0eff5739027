"""The exercises on paper: all of them, with what a student needs, and solutions apart."""

from __future__ import annotations

import pytest

from tools import build_notebooks as build
from tools import exercise_sheet

LESSON = """# %% [markdown]
# # 01 · Cuts
#
# Nothing to do here.

# %%
unrelated = 1

# %% [markdown]
# Before it, some text. **Exercises** are below.
#
# **Exercise 1 · Halves** (5 minutes, easy). Write `half(x)`, see [the glossary](../GLOSSARY.md), with $x < 1$.

# %%
def half(x):
    raise NotImplementedError  # x < 1


check.half(half)

# %% [markdown]
# <details><summary>Solution</summary>
#
# A half is `x / 2`.
#
# ```python
# def half(x):
#     return x / 2
#
# check.half(half)
# ```
#
# </details>
"""


def test_statement_stub_minutes_and_solution_are_there(tmp_path):
    source = tmp_path / "01_cuts.py"
    source.write_text(LESSON)
    title, (one,) = exercise_sheet.exercises(source)
    assert title == "01 · Cuts" and one.minutes == 5 and one.statement.startswith("**Exercise 1 · Halves**")
    front, back = exercise_sheet.sheet([source]).split("<h1 class=")
    assert (
        "Halves</strong>" in front and "raise NotImplementedError  # x &lt; 1" in front and "(5 minutes)</h2>" in front
    )
    assert "A half is" not in front and "A half is" in back and "check" in back
    assert "GLOSSARY" not in front and "the glossary" in front and "<math" in front and "some text" not in front


@pytest.mark.parametrize("source", build.sources(), ids=lambda p: p.stem)
def test_no_exercise_of_a_lesson_is_left_out(source):
    cells = build.read(source).cells
    stubs = [c.source for c in cells if c.source.split("\n")[-1].startswith("check.")]
    found = exercise_sheet.exercises(source)[1]
    assert [one.stub for one in found] == stubs and all(one.minutes for one in found)


def test_the_command_writes_one_file_that_loads_nothing(tmp_path, capsys):
    out = tmp_path / "sheet.html"
    assert exercise_sheet.main(["--out", str(out)]) == 0
    text = out.read_text(encoding="utf-8")
    assert "src=" not in text and "href=" not in text and text.count("<h1") == 2
    assert "exercises, solutions on the last pages" in capsys.readouterr().out
