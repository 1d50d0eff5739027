"""Sentences of plain English: markup taken off, paragraphs cut, code and formulas refused."""

from __future__ import annotations

import re

ABBREVIATIONS = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|cf|vs|al|eq|eqs|fig|sec|ref|refs|resp|approx|no|dr|prof|ch|vol|pp?|w\.r\.t|viz)"
    r"|\b[A-Z])\.$",
    re.I,
)
NOT_ENGLISH = re.compile(
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


MARKUP = [
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
    """Plain text of reStructuredText or Markdown; what has no plain form keeps a character that `reads_as_english`
    refuses.

    >>> strip_markup("Use :func:`~numpy.sort` or the *stable* [sort](https://x.org).")
    'Use sort or the stable sort.'
    """
    if not re.search(r"[\\`*\[|<(:]| [.,;]", text):
        return " ".join(text.split())  # nothing to strip: most sentences
    for pattern, new in MARKUP:
        text = pattern.sub(new, text)
    return text.strip()


def split_sentences(text: str) -> list[str]:
    """Sentences of a paragraph; common abbreviations do not end one.

    >>> split_sentences("Sorts, e.g. Rows. Then it stops.")
    ['Sorts, e.g. Rows.', 'Then it stops.']
    """
    sentences: list[str] = []
    for piece in re.split(
        r"(?<=[.!?])(?<!\.\.)\s+(?=[\"'(]?[A-Z0-9])|(?<=[.!?][)\"'])\s+(?=[A-Z])|(?<=\w{4}\.)\s+(?=[a-z_]+ )", text
    ):
        if sentences and ABBREVIATIONS.search(sentences[-1]):
            sentences[-1] += " " + piece
        else:
            sentences.append(piece)
    return sentences


def reads_as_english(sentence: str, title: bool = False) -> bool:
    """Whether a sentence reads as English rather than as code, a formula, a template or a name. A `title` ("Principal
    component analysis") may do without the words that hold a sentence together.

    >>> reads_as_english("The rows are sorted."), reads_as_english("x[i] = sort(y)")
    (True, False)
    """
    if NOT_ENGLISH.search(sentence) or len(sentence.split()) < 3 or not (title or COMMON.search(sentence)):
        return False
    if sentence.count("(") != sentence.count(")") or sentence.count('"') % 2 or not sentence.isascii():
        return False
    letters = sum(character.isalpha() for character in sentence)
    return letters >= 0.82 * len(sentence.replace(" ", "")) and not sentence[0].isdigit()
