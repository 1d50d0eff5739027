"""Docstrings as plain English: (first sentence, the rest) of everything public in a Python source file.

Nothing is imported but the standard library, and the files that are read are never run: they are parsed with `ast`.
The file is also a program, `python -I docstrings.py`: a json list of [package, root folder, file] comes in, records go
out. That is how pydocs.py uses all cores on every system, from a notebook or a script with no `__main__` guard.
"""

from __future__ import annotations

import ast
import gc
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# sections of a docstring that hold no prose about what the thing does
SKIPPED_SECTIONS = set(
    "parameters;other parameters;returns;return;return value;yields;receives;raises;warns;examples;example;see also;references;"
    "reference;attributes;methods;args;arguments;kwargs;keyword args;keyword arguments;shape;inputs;input;outputs;"
    "output;usage;parameter;todo;todos;author;authors;license;copyright;contents;routine listings;functions;classes;"
    "api;type parameters;constructor options;class methods;properties;subclassing;users;optional arguments;"
    "citation;citations;links;bibliography;further reading;example usage;call arguments;expected arguments".split(";")
)
KEPT_BLOCKS = set("note notes warning warnings tip important caution attention hint description details remark".split())
ABBREVIATIONS = re.compile(r"(?:\b(?:e\.g|i\.e|etc|cf|vs|al|eq|eqs|fig|sec|ref|refs|resp|approx|no|dr|prof|ch|vol|pp?|w\.r\.t|viz)"
                           r"|\b[A-Z])\.$", re.I)
NOT_PROSE = re.compile(r"[\\{}$`\x00|~<>@#]|%\(|__|==|->|:=| [=+*/^] |\w=|=\w|\*\*|\w\(\w*[,)=]|https?:|\]\[|\.\.\.?,|\w\[|\d\*|--|:[a-z]+:"
                       r"|\b(?:license|copyright|todo|fixme|xxx)\b", re.I)
# sentences that point elsewhere, and the tail of one whose formula was cut
POINTERS = re.compile(
    r"Read more|See (?:the|also)\b|See \w+ for (?:more|details|further)|For (?:more|further|details|an? .*example|general information)\b"
    r"|For guidance on|Refer to|Example \d|(?:where|and|or|with|from|for|then|which|is|are|to|of|in|if|but|as)\b"
)
COMMON = re.compile(r"\b(?:the|a|an|of|to|is|are|and|or|in|on|for|with|be|by|if|this|that|it|as|from|not|at|when|can)\b", re.I)


def parse_blocks(docstring: str) -> list[tuple[str, str]]:
    """The prose of a docstring as ("text" or "item", paragraph) pairs; code, lists of parameters and tables are gone."""
    lines = inspect.cleandoc(docstring).expandtabs().split("\n")
    blocks: list[tuple[str, str]] = []
    current: list[str] = []
    kind, start, skipped_below, in_skipped, position = "text", 0, None, False, 0

    def flush() -> None:
        nonlocal current, kind, skipped_below
        text = " ".join(current)
        if text and not re.search(r"[-=]{4,}", text):
            if text.endswith("::"):
                skipped_below, text = start, text[:-1]
            blocks.append((kind, text))
        current, kind = [], "text"

    while position < len(lines):
        line, stripped = lines[position], lines[position].strip()
        indent = len(line) - len(line.lstrip())
        after = lines[position + 1].strip() if position + 1 < len(lines) else ""
        position += 1
        if not stripped:
            flush()
            continue
        if skipped_below is not None:
            if indent > skipped_below:
                continue
            skipped_below = None
        if re.fullmatch(r"([-=~^*#\"+])\1{2,}", after) and not re.match(r"[-=]{3}", stripped) and not current:
            in_skipped = stripped.lower().rstrip(":") in SKIPPED_SECTIONS
            position += 1
        elif in_skipped:
            continue
        elif match := re.match(r"(```|~~~)", stripped):
            flush()
            while position < len(lines) and not lines[position].strip().startswith(match[1]):
                position += 1
            position += 1
        elif stripped.startswith((">>>", "In [")):
            flush()
            while position < len(lines) and lines[position].strip():
                position += 1
        elif match := re.match(r"\.\. ?([\w:-]+?)::(.*)", stripped):
            flush()
            if match[1].lower() in KEPT_BLOCKS:
                current, start = [match[2].strip()] if match[2].strip() else [], indent
            else:
                skipped_below = indent
        elif stripped.startswith("..") and not stripped.startswith("..."):
            flush()
            skipped_below = indent
        elif re.match(r":\w[^:`]*:(?!`)|@\w+|\*{0,2}\w+(, \*{0,2}\w+)* : |[`*]{0,2}\w+[`*]{0,2} \([^)]*\)\s*(:|--?)( |$)", stripped):
            flush()
            skipped_below = indent
        elif (match := re.match(r"([A-Z][\w ]{2,30}?)\s*:{1,2}$", stripped)) and not current:
            flush()
            if match[1].lower() not in KEPT_BLOCKS:
                skipped_below = indent
        elif (match := re.match(r"([A-Z][\w ]{2,24}?)\s*:", stripped)) and match[1].lower() in SKIPPED_SECTIONS:
            flush()
            skipped_below = indent
        elif re.match(r"[|+]([-=| ]|$)|#", stripped) or re.fullmatch(r"[-=~^+*_ ]+", stripped):
            flush()
        elif match := re.match(r"(?:[-*+•]|\d+[.)]|\(\w+\)) +(?=\S)", stripped):
            flush()
            kind, start, current = "item", indent, [stripped[match.end() :]]
        else:
            if not current:
                if blocks and blocks[-1][1].endswith(":") and indent > start:
                    skipped_below = start  # an indented block after a colon is code or a formula
                    continue
                start = indent
            current.append(stripped)
    flush()
    return blocks


_INLINE = [(re.compile(pattern, re.S), new) for pattern, new in (
    (r"\\ ", ""), (r"\\([*_`|])", r"\1"),
    (r"\[(`[^`]+`)\](\([^)]*\))?", r"\1"),  # [`Trainer`], Markdown cross-references
    (r"!?\[([^\]]+)\]\((?:https?:|\.|/)[^)]*\)", r"\1"),
    (r"\s*\[#?[\w+]*\d*\]_", ""), (r"\s*\[\d+(?:, ?\d+)*\](?=[\s.,;]|$)", ""),
    (r":math:`([\w ,.'()-]*)`", r"\1"), (r":math:`[^`]*`", "\x00"),  # a formula takes its sentence with it
    (r"(?::[\w-]+){1,2}:`([^`<]+?)\s*<[^>`]*>`", r"\1"), (r"(?::[\w-]+){1,2}:`[~!]?\.?([^`]*)`", r"`\1`"),
    (r"`([^`<]+?)\s*<[^>`]+>`_{0,2}", r"\1"), (r"``(.+?)``", r"\1"), (r"`~([^`]*)`", r"`\1`"),
    (r"`([A-Za-z_]\w*(?:\.\w+)*)\(\)`", r"\1"),
    (r"`(?:[A-Za-z_]\w*\.)+(\w+)`", r"\1"),  # a dotted path: its last name
    (r"`([^`]*)`_{0,2}", r"\1"), (r"\*\*([^*]+)\*\*", r"\1"), (r"(?<![\w*])\*([^*\s](?:[^*]*[^*\s])?)\*(?!\w)", r"\1"),
    (r"</?[a-zA-Z][^<>]*>", ""), (r"(?<=\w)\(\)", ""), (r"\|(\w+)\|", r"\1"),
    (r"\s+", " "), (r" ([.,;:)])(?=\s|$)", r"\1"), (r"\( ", "("),
)]


def strip_markup(text: str) -> str:
    """Plain text of reStructuredText or Markdown; what has no plain form keeps a character that is_prose refuses."""
    for pattern, new in _INLINE:
        text = pattern.sub(new, text)
    return text.strip()


def split_sentences(text: str) -> list[str]:
    """Sentences of a paragraph; common abbreviations do not end one."""
    sentences: list[str] = []
    for piece in re.split(r"(?<=[.!?])(?<!\.\.)[\"')\]]*\s+(?=[\"'(]?[A-Z0-9])|(?<=[.!?][)\"'])\s+(?=[A-Z])", text):
        if sentences and ABBREVIATIONS.search(sentences[-1]):
            sentences[-1] += " " + piece
        else:
            sentences.append(piece)
    return sentences


def is_prose(sentence: str) -> bool:
    """Whether a sentence reads as English rather than as code, a formula, a template or a name."""
    if NOT_PROSE.search(sentence) or not COMMON.search(sentence) or len(sentence.split()) < 3:
        return False
    if sentence.count("(") != sentence.count(")") or sentence.count('"') % 2 or not sentence.isascii():
        return False
    letters = sum(character.isalpha() for character in sentence)
    return letters >= 0.82 * len(sentence.replace(" ", "")) and not sentence[0].isdigit()


def split_docstring(docstring: str, longest: int = 150) -> tuple[str, str] | None:
    """(query, document) of a docstring: its first sentence, and the prose that follows (whole sentences, at most
    `longest` words); None where the first is shorter than 4 words or the second than 12."""
    # C functions begin with their signature
    docstring = re.sub(r"\A\s*[\w.]+\([^\n]*\)(?:[ \t]*->[^\n]*)?[ \t]*(?=\n)", "", docstring)
    blocks = [(kind, strip_markup(text)) for kind, text in parse_blocks(docstring)]
    if not blocks or blocks[0][0] == "item":
        return None
    query, *_ = split_sentences(blocks[0][1])
    if not 4 <= len(query.split()) <= 40 or not is_prose(query) or query.endswith(":") or not query[0].isalpha():
        return None
    seen, kept, words = {normal(query)}, [], 0
    for number, (kind, text) in enumerate(blocks):
        for place, sentence in enumerate(split_sentences(text)):
            if number == 0 and place == 0 or not is_prose(sentence) or POINTERS.match(sentence):
                continue
            if sentence.endswith((":", ",")) and not (number + 1 < len(blocks) and blocks[number + 1][0] == "item"):
                continue  # it introduces code or a formula that is not here
            if not sentence.endswith((".", "!", "?", ":", ")", ";")):
                sentence += "."
            if normal(sentence) in seen or normal(query) in normal(sentence):
                continue
            if not sentence[0].isupper() and kind == "text" and sentence[0].isalpha() and place:
                continue  # the tail of something that was cut
            if words + len(sentence.split()) > longest:
                break
            seen.add(normal(sentence))
            kept.append(sentence)
            words += len(sentence.split())
        else:
            continue
        break
    while kept and kept[-1].endswith(":"):
        kept.pop()
    document = " ".join(kept)
    if len(document.split()) < 12:
        return None
    return query if query[-1] in ".!?" else query + ".", document


def normal(text: str) -> str:
    """Lower-case words only: two texts with the same `normal` say the same."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


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
            yield str(target.value) if isinstance(target, ast.Constant) else ast.unparse(target).split(".", 1)[-1], text.value

    tree = ast.parse(source)
    if text := ast.get_docstring(tree, clean=False):
        yield "", text
    yield from walk(tree, "")


def read_sources(files: list[tuple[str, str, str]]) -> list[list[str]]:
    """Records [name, module, package, query, document] of (package, root folder, file in it); files that cannot be read
    are passed over. Private parts of a path (`sklearn.linear_model._ridge`) are where the code is, not what it is called."""
    records = []
    for package, root, relative in files:
        try:
            source = (Path(root) / relative).read_text(encoding="utf-8")
            if '"""' not in source and "'''" not in source:
                continue
            found = list(find_docstrings(source))
        except (OSError, UnicodeDecodeError, SyntaxError, RecursionError, ValueError):
            continue
        parts = [package, *relative.removesuffix(".py").split("/")]
        module = ".".join(part for part in parts if not part.startswith("_"))
        for name, docstring in found:
            if pair := split_docstring(docstring):
                records.append([f"{module}.{name}".rstrip("."), module, package, *pair])
    return records


if __name__ == "__main__":
    gc.disable()  # syntax trees are many small objects and no cycles: a third of the time otherwise
    json.dump(read_sources(json.load(sys.stdin)), sys.stdout)
