"""The lessons as a reader meets them: short, in one form, with links that lead somewhere and plain English."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import build_notebooks as build
from tools import lesson_table

LESSONS = (
    "01_the_doll",
    "02_the_nested_loss",
    "03_does_it_work",
    "04_weights_and_traps",
    "05_adaptive_classification",
    "06_your_own_model",
    "07_the_grid",
    "08_two_dimensions",
    "09_detective_story",
    "10_pca_and_truncation",
    "11_adaptive_retrieval",
    "12_the_loss_lab",
    "13_language_models",
)
SOURCES = build.HERE / "source"
GLOSSARY = build.HERE.parent / "GLOSSARY.md"
LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:)[^)\s]+|(?<=src=\")(?!https?://|data:)[^\"]+")
EXERCISE = re.compile(r"^\*\*Exercise \d+ · [^*]+\*\* \(\d+ minutes(, [a-z ]+)?\)", re.M)
# turns that nobody says; where a rotation is meant, "rotated"
AWKWARD = re.compile(
    r"\b(whoever|for certain|beyond chance|mends|goes along|turned(?!( \w+){0,4} (into|off|on|out|to|up|down)\b))\b",
    re.I,
)


@pytest.fixture(params=LESSONS)
def lesson(request) -> Path:
    return SOURCES / f"{request.param}.py"


def texts(source: Path) -> list[str]:
    """The markdown cells."""
    return [cell.source for cell in build.read(source).cells if cell.cell_type == "markdown"]


def test_it_is_short(lesson):
    assert lesson_table.length(lesson).too_long() == []


def test_it_begins_with_its_title_and_the_setup_cell(lesson):
    first, second = build.read(lesson).cells[:2]
    assert re.match(rf"# {lesson.stem[:2]} · \S", first.source), first.source[:80]
    assert "setup" in second.metadata.get("tags", ())


def test_its_first_cell_and_the_readme_agree(lesson):
    """On the minutes that it takes, and on whether it is optional."""
    first, readme = build.read(lesson).cells[0].source, (build.HERE.parent / "README.md").read_text(encoding="utf-8")
    (row,) = (line for line in readme.splitlines() if f"notebooks/{lesson.stem}.ipynb" in line)
    assert re.search(r"(\d+) minutes", first)[1] == row.split("|")[3].strip()
    assert ("optional" in first.lower()) == (", optional" in row)


def test_it_leads_to_the_next_lesson_and_to_the_glossary(lesson):
    links = {link.partition("#")[0] for text in texts(lesson) for link in LINK.findall(text)}
    after = LESSONS[LESSONS.index(lesson.stem) + 1 :][:1]
    assert {f"{stem}.ipynb" for stem in after} | {"../GLOSSARY.md"} <= links


def test_it_has_exercises_where_their_ideas_are(lesson):
    named = [found[0] for text in texts(lesson) for found in EXERCISE.finditer(text)]
    assert 2 <= len(named) <= 5, "write **Exercise 1 · Name** (5 minutes, easy)."
    assert [name.split()[1] for name in named] == [str(i) for i in range(1, len(named) + 1)]


def leads_somewhere(link: str) -> bool:
    """Whether a relative link of a lesson has a file; of the glossary, also a place in it."""
    path, _, place = link.partition("#")
    if Path(path).stem in LESSONS:  # built from its source, which may come later
        return path == f"{Path(path).stem}.ipynb"
    known = re.findall(r'id="([^"]+)"', GLOSSARY.read_text(encoding="utf-8"))
    return (build.HERE / path).exists() and (not place or Path(path).name != GLOSSARY.name or place in known)


def test_its_links_lead_somewhere(lesson):
    links = [link for text in texts(lesson) for link in LINK.findall(text)]
    assert [link for link in links if not leads_somewhere(link)] == []


def test_its_english_is_plain(lesson):
    prose = "\n".join(lesson_table.FENCED.sub("", text) for text in texts(lesson))
    assert [prose[max(0, m.start() - 40) : m.end() + 30] for m in AWKWARD.finditer(prose)] == []


def test_the_glossary_explains_each_word_once_and_names_lessons():
    text = GLOSSARY.read_text(encoding="utf-8")
    entries = re.findall(r'^<a id="([^"]+)"></a>\*\*([^*]+)\.\*\* (.*?)\n\n', text, re.S | re.M)
    assert len({name for name, _, _ in entries}) == len(entries) == text.count('id="') >= 40
    for name, _, said in entries:
        assert 1 <= len(re.findall(r"[.!?](?=\s|$)", said)) <= 2 and re.search(r"\[\d\d\]$", said), name
    leads = dict(re.findall(r"^\[(\d\d)\]: notebooks/(.*)\.ipynb$", text, re.M))
    assert leads == {stem[:2]: stem for stem in LESSONS}


def test_every_lesson_is_in_the_list():
    assert [source.stem for source in build.sources()] == list(LESSONS)


def test_what_is_too_long_is_named(capsys):
    assert lesson_table.Length(33, 10, 10, 26).too_long() == [
        "33 cells, at most 32",
        "26 lines in one code cell, at most 25",
    ]
    first = build.sources()[0]
    status = lesson_table.main(["--only", first.stem])
    out, err = capsys.readouterr()
    assert f"| {first.stem} |" in out and "| at most | 32 | 1,450 | 130 | 25 |" in out
    assert (status == 1) == bool(err) == bool(lesson_table.length(first).too_long())
