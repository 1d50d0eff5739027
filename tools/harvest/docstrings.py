"""Docstrings as pairs of text: (first sentence, the rest) of everything public in a Python source file.

The files are parsed with `ast` and never run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mrl_tutorial.tasks.task import normalized
from tools.harvest.blocks import parse_blocks
from tools.harvest.libraries import SourceFile
from tools.harvest.sentences import POINTERS, reads_as_english, split_sentences, strip_markup


class Record(NamedTuple):
    """One docstring: the dotted name of what it documents, where that is, and its two texts."""

    name: str
    module: str
    package: str
    query: str
    document: str


class Sentence(NamedTuple):
    """A sentence of a document; `kind` is "text" or "item", `listed` whether a list follows its paragraph."""

    kind: str
    text: str
    listed: bool


def split_docstring(docstring: str, longest: int = 150) -> tuple[str, str] | None:
    """(query, document) of a docstring: its first sentence, and the prose that follows (whole sentences, at most
    `longest` words). None where the query is shorter than 4 words or the document shorter than 12.

    >>> split_docstring("Sort the rows in place.\\n\\nTies keep the order in which the rows came, "
    ...                 "so that it can be called twice.")
    ('Sort the rows in place.', 'Ties keep the order in which the rows came, so that it can be called twice.')
    """
    if len(docstring.split()) < 16:
        return None
    # C functions begin with their signature
    docstring = re.sub(r"\A\s*[\w.]+\([^\n]*\)(?:[ \t]*->[^\n]*)?[ \t]*(?=\n)", "", docstring)
    blocks = parse_blocks(docstring)
    if not blocks or blocks[0][0] == "item":
        return None
    query, *opening = split_sentences(strip_markup(blocks[0][1]))
    if not (4 <= len(query.split()) <= 40 and reads_as_english(query, title=True)):
        return None
    if not query[0].isalpha() or query[-1] == ":":
        return None
    sentences = [Sentence("text", text, _list_follows(blocks, 0)) for text in opening]
    for number, (kind, paragraph) in enumerate(blocks[1:], start=1):
        listed = _list_follows(blocks, number)
        sentences += [Sentence(kind, text, listed) for text in split_sentences(strip_markup(paragraph))]
    document = " ".join(_kept(sentences, query, longest))
    if len(document.split()) < 12:
        return None
    return query if query[-1] in ".!?" else query + ".", document


def _list_follows(blocks: list[tuple[str, str]], number: int) -> bool:
    return number + 1 < len(blocks) and blocks[number + 1][0] == "item"


def _kept(sentences: list[Sentence], query: str, longest: int) -> list[str]:
    """The sentences that read as English and say something new, until `longest` words."""
    asked = normalized(query)
    seen: set[str] = set()
    kept: list[str] = []
    for kind, text, listed in sentences:
        if not reads_as_english(text) or POINTERS.match(text):
            continue
        if text.endswith((":", ",")) and not listed:
            continue  # it introduces code or a formula that is not here
        if kind == "text" and text[-1].isalnum() and len(text.split()) < 6:
            continue  # a heading, or what is left before a block of code
        said = normalized(text)
        if said in seen or asked in said:
            continue
        if kept and kept[-1].endswith(":") and (kind != "item" or text.endswith(":")):
            kept.pop()  # it introduced a list of which nothing was kept
        if sum(len(before.split()) for before in kept) + len(text.split()) > longest:
            break
        seen.add(said)
        kept.append(text if text.rstrip("\"')").endswith((".", "!", "?", ":", ";")) else text + ".")
    return kept[:-1] if kept and kept[-1].endswith(":") else kept


def find_docstrings(source: str) -> Iterator[tuple[str, str]]:
    """(dotted name in the module, docstring) of the module ("") and its public classes and functions, and of the calls
    that give compiled functions theirs (`add_docstr`, `add_newdoc`). Raises SyntaxError for what is no Python.

    >>> list(find_docstrings("class A:\\n    'One.'\\n    def f(self): 'Two.'\\n    def _g(self): 'Three.'"))
    [('A', 'One.'), ('A.f', 'Two.')]
    """
    tree = ast.parse(source)
    if text := ast.get_docstring(tree, clean=False):
        yield "", text
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            yield from _added_docstring(statement.value)
        else:
            yield from _definitions([statement], "")


def _definitions(body: Iterable[ast.stmt], prefix: str) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            if text := ast.get_docstring(node, clean=False):
                yield prefix + node.name, text
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, f"{prefix}{node.name}.")


def _added_docstring(call: ast.Call) -> Iterator[tuple[str, str]]:
    """What `add_docstr(torch.abs, "…")` or `add_newdoc("numpy", "abs", "…")` documents, and the text."""
    function = getattr(call.func, "id", getattr(call.func, "attr", ""))
    if function not in ("add_docstr", "add_newdoc") or len(call.args) < 2:
        return
    target, text = call.args[-2], call.args[-1]
    while isinstance(text, (ast.Call, ast.BinOp)):  # "...".format(...), "..." + "..."
        text = getattr(text.func, "value", text.func) if isinstance(text, ast.Call) else text.left
    if isinstance(text, ast.Constant) and isinstance(text.value, str):
        name = str(target.value) if isinstance(target, ast.Constant) else ast.unparse(target).split(".", 1)[-1]
        yield name, text.value


def read_sources(files: Iterable[SourceFile]) -> list[Record]:
    """The records of source files; files that cannot be read are passed over. Private parts of a path
    (`sklearn.linear_model._ridge`) are where the code is, not its name."""
    records = []
    for package, root, relative in files:
        try:
            source = (root / relative).read_text(encoding="utf-8")
            found = list(find_docstrings(source)) if '"""' in source or "'''" in source else []
        except (OSError, UnicodeDecodeError, SyntaxError, RecursionError, ValueError):
            continue
        parts = [part for part in (package, *relative.with_suffix("").parts) if part != "__init__"]
        module = ".".join(part for part in parts if not part.startswith("_"))
        for name, docstring in found:
            if pair := split_docstring(docstring):
                # a module's own docstring keeps its full name: the private files of a folder would share the short one
                records.append(Record(f"{module}.{name}" if name else ".".join(parts), module, package, *pair))
    return records
