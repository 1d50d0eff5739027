"""Sentences of the documentation that is installed anyway: every docstring of every library and of Python itself."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from joblib import Parallel, delayed

from mrl_tutorial.files import cache_dir, key, write_json
from mrl_tutorial.tasks.task import normalized
from tools.harvest.libraries import LONGEST
from tools.harvest.sentences import reads_as_english, split_sentences, strip_markup

CHUNK = 400  # files that a process reads at a time


def load_sentences(every: int = 1) -> list[str]:
    """Sentences of 4 to 60 words, none twice, in order of file and place, of each `every`-th source file; from the
    cache, or read now by two processes."""
    sources = list_sources()[::every]
    path = cache_dir("bench") / f"sentences-{key([(str(file), file.stat().st_size) for file in sources])}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    chunks = [sources[start : start + CHUNK] for start in range(0, len(sources), CHUNK)]
    found: dict[str, str] = {}
    for sentences in Parallel(n_jobs=min(2, len(chunks)))(delayed(read_sentences)(chunk) for chunk in chunks):
        for sentence in sentences:
            found.setdefault(normalized(sentence), sentence)
    write_json(path, list(found.values()))
    return list(found.values())


def list_sources() -> list[Path]:
    """Python source files of the standard library and the installed packages, in a fixed order, tests left out."""
    roots = dict.fromkeys(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib"))
    found = set()
    for root in roots:
        for file in root.rglob("*.py"):
            if not {"test", "tests", "idlelib"} & set(file.relative_to(root).parts):
                found.add(file.resolve())
    return sorted(file for file in found if file.stat().st_size < LONGEST)


def read_sentences(sources: Sequence[Path]) -> list[str]:
    """Sentences of the docstrings, private ones too, of files that can be read; they are parsed, never run."""
    sentences = []
    for file in sources:
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, SyntaxError, RecursionError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                for paragraph in paragraphs(ast.get_docstring(node, clean=False) or ""):
                    for sentence in split_sentences(strip_markup(paragraph)):
                        if 4 <= len(sentence.split()) <= 60 and reads_as_english(sentence):
                            sentences.append(sentence)
    return sentences


def paragraphs(docstring: str) -> Iterator[str]:
    """Runs of lines at one indentation: texts, and what is said of each parameter. Code is left to
    `reads_as_english`.

    >>> list(paragraphs("One\\nparagraph.\\n\\nx : int\\n    The other."))
    ['One paragraph.', 'x : int', 'The other.']
    """
    lines = inspect.cleandoc(docstring).expandtabs().split("\n")
    for (blank, _), run in itertools.groupby(lines, lambda line: (not line.strip(), len(line) - len(line.lstrip()))):
        if not blank:
            yield " ".join(line.strip() for line in run)
