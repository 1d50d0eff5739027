"""Plain English out of a docstring: reStructuredText, numpydoc, Google style and Markdown without code and markup."""

from __future__ import annotations

import inspect
import re

# sections of a docstring that hold no prose about what the thing does
SKIPPED_SECTIONS = set(
    "parameters;other parameters;parameter;args;arguments;kwargs;keyword args;keyword arguments;optional arguments;"
    "call arguments;expected arguments;type parameters;constructor options;inputs;input;outputs;output;shape;returns;"
    "return;return value;yields;receives;raises;warns;attributes;methods;class methods;properties;functions;classes;"
    "api;routine listings;contents;subclassing;users;usage;example;examples;example usage;see also;links;reference;"
    "references;citation;citations;bibliography;further reading;author;authors;license;copyright;todo;todos".split(";")
)
KEPT_BLOCKS = set("note notes warning warnings tip important caution attention hint description details remark".split())
ABBREVIATIONS = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|cf|vs|al|eq|eqs|fig|sec|ref|refs|resp|approx|no|dr|prof|ch|vol|pp?|w\.r\.t|viz)"
    r"|\b[A-Z])\.$",
    re.I,
)
NOT_PROSE = re.compile(
    r"[\\{}$`\x00|~<>@#]|%\(|__|==|->|:=| [=+*/^] |\w=|=\w|\*\*|\w\(\w*[,)=]|https?:|\]\[|\.\.\.?,|\w\[|\d\*|--"
    r"|:[a-z]+:|\b(?:license|copyright|todo|fixme|xxx)\b",
    re.I,
)
# sentences that point elsewhere, and the tail of one whose formula was cut
POINTERS = re.compile(
    r"Read more|See (?:the|also)\b|See \w+ for (?:more|details|further)"
    r"|For (?:more|further|details|an? .*example|general information)\b"
    r"|For guidance on|Refer to|Example \d|(?:where|and|or|with|from|for|then|which|is|are|to|of|in|if|but|as)\b"
)
COMMON = re.compile(
    r"\b(?:the|a|an|of|to|is|are|and|or|in|on|for|with|be|by|if|this|that|it|as|from|not|at|when|can)\b", re.I
)


def parse_blocks(docstring: str) -> list[tuple[str, str]]:
    """The prose of a docstring as ("text" or "item", paragraph) pairs, without code, parameter lists and tables."""
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
        elif re.match(
            r":\w[^:`]*:(?!`)|@\w+|\*{0,2}\w+(, \*{0,2}\w+)* : |[`*]{0,2}\w+[`*]{0,2} \([^)]*\)\s*(:|--?)( |$)",
            stripped,
        ):
            flush()
            skipped_below = indent
        elif (match := re.match(r"([A-Z][\w ]{2,30}?)\s*:{1,2}$", stripped)) and not current:
            flush()
            if match[1].lower() not in KEPT_BLOCKS:
                skipped_below = indent
        elif (match := re.match(r"([A-Z][\w ]{2,24}?)\s*:", stripped)) and match[1].lower() in SKIPPED_SECTIONS:
            flush()
            skipped_below = indent
        elif re.fullmatch(r"=+(?: +=+)+", stripped):
            flush()
            while position < len(lines) and lines[position].strip():
                position += 1
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


_INLINE = [
    (re.compile(pattern, re.S), new)
    for pattern, new in (
        (r"\\ ", ""),
        (r"\\([*_`|])", r"\1"),
        (r"\[(`[^`]+`)\](\([^)]*\))?", r"\1"),  # [`Trainer`], Markdown cross-references
        (r"!?\[([^\]]+)\]\((?:https?:|\.|/)[^)]*\)", r"\1"),
        (
            r"\b(?:in|see|by|from|of|to|and|with|on|at|per|also|following) +\[#?[\w+]*\d*\]_",
            "\x00",
        ),  # so does a reference that is a word of it
        (r"\s*\[#?[\w+]*\d*\]_", ""),
        (r"\s*\[\d+(?:, ?\d+)*\](?=[\s.,;]|$)", ""),
        (r":math:`([\w ,.'()-]*)`", r"\1"),
        (r":math:`[^`]*`", "\x00"),  # a formula takes its sentence with it
        (r"(?::[\w-]+){1,2}:`([^`<]+?)\s*<[^>`]*>`", r"\1"),
        (r"(?::[\w-]+){1,2}:`[~!]?\.?([^`]*)`", r"`\1`"),
        (r"`([^`<]+?)\s*<[^>`]+>`_{0,2}", r"\1"),
        (r"``(.+?)``", r"\1"),
        (r"`~([^`]*)`", r"`\1`"),
        (r"`([A-Za-z_]\w*(?:\.\w+)*)\(\)`", r"\1"),
        (r"`(?:[A-Za-z_]\w*\.)+(\w+)`", r"\1"),  # a dotted path: its last name
        (r"`([^`]*)`_{0,2}", r"\1"),
        (r"\*\*([^*]+)\*\*", r"\1"),
        (r"(?<![\w*])\*([^*\s](?:[^*]*[^*\s])?)\*(?!\w)", r"\1"),
        (r"</?[a-zA-Z][^<>]*>", ""),
        (r"(?<=\w)\(\)", ""),
        (r"\|(\w+)\|", r"\1"),
        (r"\s+", " "),
        (r" ([.,;:)])(?=\s|$)", r"\1"),
        (r"\( ", "("),
        (r" ?\(\s*\)", ""),
    )
]


def strip_markup(text: str) -> str:
    """Plain text of reStructuredText or Markdown; what has no plain form keeps a character that is_prose refuses."""
    if not re.search(r"[\\`*\[|<(:]| [.,;]", text):
        return " ".join(text.split())  # nothing to strip: most sentences
    for pattern, new in _INLINE:
        text = pattern.sub(new, text)
    return text.strip()


def split_sentences(text: str) -> list[str]:
    """Sentences of a paragraph; common abbreviations do not end one."""
    sentences: list[str] = []
    for piece in re.split(
        r"(?<=[.!?])(?<!\.\.)\s+(?=[\"'(]?[A-Z0-9])|(?<=[.!?][)\"'])\s+(?=[A-Z])|(?<=\w{4}\.)\s+(?=[a-z_]+ )", text
    ):
        if sentences and ABBREVIATIONS.search(sentences[-1]):
            sentences[-1] += " " + piece
        else:
            sentences.append(piece)
    return sentences


def is_prose(sentence: str, title: bool = False) -> bool:
    """Whether a sentence reads as English rather than as code, a formula, a template or a name. A `title` ("Principal
    component analysis") may do without the words that hold a sentence together."""
    if NOT_PROSE.search(sentence) or len(sentence.split()) < 3 or not (title or COMMON.search(sentence)):
        return False
    if sentence.count("(") != sentence.count(")") or sentence.count('"') % 2 or not sentence.isascii():
        return False
    letters = sum(character.isalpha() for character in sentence)
    return letters >= 0.82 * len(sentence.replace(" ", "")) and not sentence[0].isdigit()


def normal(text: str) -> str:
    """Lower-case words only: two texts with the same `normal` say the same."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))
