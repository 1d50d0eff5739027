"""Sentences of the documentation that is installed anyway: every docstring of every library and of Python itself."""

from __future__ import annotations

import ast
import gc
import inspect
import itertools
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mrl_tutorial.tasks.prose import is_prose, normal, split_sentences, strip_markup

LONGEST = 1_500_000  # bytes of a source file that is read
CHUNK = 400  # files a process reads


def load_sentences(every: int = 1) -> list[str]:
    """Sentences of 4 to 60 words, none twice, in order of file and place, of each `every`-th source file; from the
    cache, or read now by two processes."""
    files = list_sources()[::every]
    path = files.cache_dir("bench") / f"sentences-{files.key([(str(f), f.stat().st_size) for f in files])}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    chunks = [files[i : i + CHUNK] for i in range(0, len(files), CHUNK)]
    found: dict[str, str] = {}
    with ThreadPoolExecutor(2) as pool:
        for sentences in pool.map(_read_elsewhere, chunks):
            for sentence in sentences:
                found.setdefault(normal(sentence), sentence)
    files.write_json(path, list(found.values()))
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


def read_sentences(files: Sequence[str | Path]) -> list[str]:
    """Sentences of the docstrings, private ones too, of files that can be read; they are parsed, never run."""
    sentences = []
    for file in files:
        try:
            source = Path(file).read_text(encoding="utf-8")
            tree = ast.parse(source)
        except (OSError, UnicodeDecodeError, SyntaxError, RecursionError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                for paragraph in paragraphs(ast.get_docstring(node, clean=False) or ""):
                    for sentence in split_sentences(strip_markup(paragraph)):
                        if 4 <= len(sentence.split()) <= 60 and is_prose(sentence):
                            sentences.append(sentence)
    return sentences


def paragraphs(docstring: str) -> Iterator[str]:
    """Runs of lines at one indentation: texts, and what is said of each parameter. Code is left to `is_prose`."""
    lines = inspect.cleandoc(docstring).expandtabs().split("\n")
    for (blank, _), run in itertools.groupby(lines, lambda line: (not line.strip(), len(line) - len(line.lstrip()))):
        if not blank:
            yield " ".join(line.strip() for line in run)


def _read_elsewhere(files: Sequence[Path]) -> list[str]:
    home = str(Path(__file__).parents[1])
    code = f"import sys; sys.path.append({home!r}); from benchmarks.sentences import main; main()"
    command = [sys.executable, "-I", "-W", "ignore", "-X", "utf8", "-c", code]
    answer = subprocess.run(command, input=json.dumps([str(f) for f in files]).encode(), capture_output=True)
    return json.loads(answer.stdout) if answer.returncode == 0 else read_sentences(files)


def main() -> None:
    """Read the list of files on standard input, write their sentences to standard output."""
    gc.disable()
    json.dump(read_sentences(json.load(sys.stdin)), sys.stdout)
