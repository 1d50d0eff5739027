"""The paragraphs of a docstring: reStructuredText, numpydoc, Google style and Markdown without code, lists of
parameters and tables."""

from __future__ import annotations

import inspect
import re

# sections of a docstring that do not say what the thing does
_SECTIONS = (
    "parameters;other parameters;parameter;args;arguments;kwargs;keyword args;keyword arguments;optional arguments;"
    "call arguments;expected arguments;type parameters;constructor options;inputs;input;outputs;output;shape;returns;"
    "return;return value;yields;receives;raises;warns;attributes;methods;class methods;properties;functions;classes;"
    "api;routine listings;contents;subclassing;users;usage;example;examples;example usage;see also;links;reference;"
    "references;citation;citations;bibliography;further reading;author;authors;license;copyright;todo;todos"
)
SKIPPED_SECTIONS = set(_SECTIONS.split(";"))
_BLOCKS = "note notes warning warnings tip important caution attention hint description details remark"
KEPT_BLOCKS = set(_BLOCKS.split())
UNDERLINE = re.compile(r"([-=~^*#\"+])\1{2,}")
TABLE = re.compile(r"=+(?: +=+)+")
RULER = re.compile(r"[|+]([-=| ]|$)|#|[-=~^+*_ ]+$")
DIRECTIVE = re.compile(r"\.\. ?([\w:-]+?)::(.*)")
# ":param x:", "@param", "x, y : int", "`x` (int): the …"
FIELD = re.compile(r":\w[^:`]*:(?!`)|@\w+|\*{0,2}\w+(, \*{0,2}\w+)* : |[`*]{0,2}\w+[`*]{0,2} \([^)]*\)\s*(:|--?)( |$)")
SECTION = re.compile(r"([A-Z][\w ]{2,30}?)\s*:{1,2}$")
SECTION_WITH_TEXT = re.compile(r"([A-Z][\w ]{2,24}?)\s*:")
LIST_ITEM = re.compile(r"(?:[-*+•]|\d+[.)]|\(\w+\)) +(?=\S)")


def parse_blocks(docstring: str) -> list[tuple[str, str]]:
    """The paragraphs of a docstring as ("text" or "item", paragraph) pairs, without code, parameter lists and tables.

    >>> parse_blocks("Sort the rows.\\n\\n    >>> sort(x)\\n\\n- by name\\n\\nArgs:\\n    x: the rows")
    [('text', 'Sort the rows.'), ('item', 'by name')]
    """
    return _Parser(docstring).parse()


class _Parser:
    """Reads a docstring line by line and gathers the paragraph that is open."""

    def __init__(self, docstring: str) -> None:
        self.lines = inspect.cleandoc(docstring).expandtabs().split("\n")
        self.position = 0
        self.blocks: list[tuple[str, str]] = []
        self.kind, self.paragraph = "text", list[str]()
        self.start = 0  # indentation of the open paragraph
        self.skipped_below: int | None = None  # lines indented more than this are left out
        self.in_skipped_section = False

    def parse(self) -> list[tuple[str, str]]:
        while self.position < len(self.lines):
            line, text = self.lines[self.position], self.lines[self.position].strip()
            indent = len(line) - len(line.lstrip())
            self.position += 1
            if not text:
                self.close()
                continue
            if self.skipped_below is not None:
                if indent > self.skipped_below:
                    continue
                self.skipped_below = None
            if self.is_heading(text):
                self.in_skipped_section = text.lower().rstrip(":") in SKIPPED_SECTIONS
                self.position += 1
            elif not (self.in_skipped_section or self.skips_code(text) or self.skips_fields(text, indent)):
                self.add(text, indent)
        self.close()
        return self.blocks

    def close(self) -> None:
        """End the open paragraph, and keep it unless it is a ruler."""
        text = " ".join(self.paragraph)
        if text and not re.search(r"[-=]{4,}", text):
            if text.endswith("::"):
                self.skipped_below, text = self.start, text[:-1]
            self.blocks.append((self.kind, text))
        self.kind, self.paragraph = "text", []

    def is_heading(self, text: str) -> bool:
        below = self.lines[self.position].strip() if self.position < len(self.lines) else ""
        return bool(UNDERLINE.fullmatch(below)) and not re.match(r"[-=]{3}", text) and not self.paragraph

    def skips_code(self, text: str) -> bool:
        """Whether the line begins code or a table; if so, the whole of it is passed over."""
        if fence := re.match(r"(```|~~~)", text):
            self.close()
            while self.position < len(self.lines) and not self.lines[self.position].strip().startswith(fence[1]):
                self.position += 1
            self.position += 1
        elif text.startswith((">>>", "In [")) or TABLE.fullmatch(text):
            self.close()
            while self.position < len(self.lines) and self.lines[self.position].strip():
                self.position += 1
        elif RULER.match(text):
            self.close()
        else:
            return False
        return True

    def skips_fields(self, text: str, indent: int) -> bool:
        """Whether the line begins a directive, a comment, a field or a section of them, which is left out with what is
        indented below it; a note or a warning is kept."""
        if directive := DIRECTIVE.match(text):
            self.close()
            if directive[1].lower() in KEPT_BLOCKS:
                self.start = indent
                self.paragraph = [directive[2].strip()] if directive[2].strip() else []
                return True
        elif (text.startswith("..") and not text.startswith("...")) or FIELD.match(text):
            self.close()
        elif (section := SECTION.match(text)) and not self.paragraph:
            if section[1].lower() in KEPT_BLOCKS:
                return True
        elif (section := SECTION_WITH_TEXT.match(text)) and section[1].lower() in SKIPPED_SECTIONS:
            self.close()
        else:
            return False
        self.skipped_below = indent
        return True

    def add(self, text: str, indent: int) -> None:
        """Open a paragraph or a list item with the line, or add it to the open one."""
        if item := LIST_ITEM.match(text):
            self.close()
            self.kind, self.start, self.paragraph = "item", indent, [text[item.end() :]]
            return
        if not self.paragraph:
            if self.blocks and self.blocks[-1][1].endswith(":") and indent > self.start:
                self.skipped_below = self.start  # an indented block after a colon is code or a formula
                return
            self.start = indent
        self.paragraph.append(text)
