"""Docstrings as pairs of text: (first sentence, the rest) of everything public in a Python source file.

The files that are read are parsed with `ast` and never run. `main` is what pydocs.py starts in other processes: a json
list of [package, root folder, file] comes in, records go out.
"""

from __future__ import annotations

import ast
import gc
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mrl_tutorial.tasks.prose import POINTERS, is_prose, normal, parse_blocks, split_sentences, strip_markup


def split_docstring(docstring: str, longest: int = 150) -> tuple[str, str] | None:
    """(query, document) of a docstring: its first sentence, and the prose that follows (whole sentences, at most
    `longest` words); None where the first is shorter than 4 words or the second than 12."""
    if len(docstring.split()) < 16:
        return None
    # C functions begin with their signature
    docstring = re.sub(r"\A\s*[\w.]+\([^\n]*\)(?:[ \t]*->[^\n]*)?[ \t]*(?=\n)", "", docstring)
    blocks = parse_blocks(docstring)
    if not blocks or blocks[0][0] == "item":
        return None
    query, *opening = split_sentences(strip_markup(blocks[0][1]))
    if (
        not 4 <= len(query.split()) <= 40
        or not is_prose(query, title=True)
        or not query[0].isalpha()
        or query[-1] == ":"
    ):
        return None
    follows = len(blocks) > 1 and blocks[1][0] == "item"
    sentences = [
        ("text", sentence, follows) for sentence in opening
    ]  # kind, sentence, whether a list follows its block
    for number, (kind, text) in enumerate(blocks[1:], start=1):
        listed = number + 1 < len(blocks) and blocks[number + 1][0] == "item"
        sentences += [(kind, sentence, listed) for sentence in split_sentences(strip_markup(text))]
    document = " ".join(_keep(sentences, query, longest))
    if len(document.split()) < 12:
        return None
    return query if query[-1] in ".!?" else query + ".", document


def _keep(sentences: list[tuple[str, str, bool]], query: str, longest: int) -> list[str]:
    """The sentences that read as prose and say something new, until `longest` words."""
    asked = normal(query)
    seen: set[str] = set()
    kept: list[str] = []
    for kind, sentence, listed in sentences:
        if not is_prose(sentence) or POINTERS.match(sentence):
            continue
        if sentence.endswith((":", ",")) and not listed:
            continue  # it introduces code or a formula that is not here
        if kind == "text" and sentence[-1].isalnum() and len(sentence.split()) < 6:
            continue  # a heading, or what is left before a block of code
        same = normal(sentence)
        if same in seen or asked in same:
            continue
        if kept and kept[-1].endswith(":") and (kind != "item" or sentence.endswith(":")):
            kept.pop()  # it introduced a list of which nothing was kept
        if sum(len(before.split()) for before in kept) + len(sentence.split()) > longest:
            break
        seen.add(same)
        kept.append(sentence if sentence.rstrip("\"')").endswith((".", "!", "?", ":", ";")) else sentence + ".")
    return kept[:-1] if kept and kept[-1].endswith(":") else kept


def find_docstrings(source: str) -> Iterator[tuple[str, str]]:
    """(dotted name in the module, docstring) of the module ("") and its public classes and functions, and of the calls
    that give compiled functions theirs (`add_docstr`, `add_newdoc`)."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
        for child in node.body:  # type: ignore[attr-defined]
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                if child.name.startswith("_"):
                    continue
                if text := ast.get_docstring(child, clean=False):
                    yield prefix + child.name, text
                if isinstance(child, ast.ClassDef):
                    yield from walk(child, prefix + child.name + ".")
            elif isinstance(child, ast.Expr) and isinstance(child.value, ast.Call) and not prefix:
                yield from of_call(child.value)

    def of_call(call: ast.Call) -> Iterator[tuple[str, str]]:
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        if name not in ("add_docstr", "add_newdoc") or len(call.args) < 2:
            return
        target, text = call.args[-2], call.args[-1]
        while isinstance(text, (ast.Call, ast.BinOp)):  # "...".format(...), "..." + "..."
            text = getattr(text.func, "value", None) if isinstance(text, ast.Call) else text.left
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            yield (
                str(target.value) if isinstance(target, ast.Constant) else ast.unparse(target).split(".", 1)[-1],
                text.value,
            )

    tree = ast.parse(source)
    if text := ast.get_docstring(tree, clean=False):
        yield "", text
    yield from walk(tree, "")


def read_sources(files: list[tuple[str, str, str]]) -> list[list[str]]:
    """Records [name, module, package, query, document] of (package, root folder, file in it); files that cannot be read
    are passed over. Private parts of a path (`sklearn.linear_model._ridge`) are where the code is, not its name."""
    records = []
    for package, root, relative in files:
        try:
            source = (Path(root) / relative).read_text(encoding="utf-8")
            if '"""' not in source and "'''" not in source:
                continue
            found = list(find_docstrings(source))
        except (OSError, UnicodeDecodeError, SyntaxError, RecursionError, ValueError):
            continue
        parts = [package, *relative.removesuffix(".py").removesuffix("__init__").strip("/").split("/")]
        parts = [part for part in parts if part]
        module = ".".join(part for part in parts if not part.startswith("_"))
        for name, docstring in found:
            if pair := split_docstring(docstring):
                # a module's own docstring keeps its full name: the private files of a folder would share the short one
                records.append([f"{module}.{name}" if name else ".".join(parts), module, package, *pair])
    return records


def main() -> None:
    """Read the list of files on standard input, write their records to standard output."""
    gc.disable()  # syntax trees are many small objects and no cycles: a third of the time otherwise
    json.dump(read_sources(json.load(sys.stdin)), sys.stdout)
