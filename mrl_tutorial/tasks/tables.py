"""Tables of texts: what the columns of a header mean, and the complete rows of a file or of data in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks import formats

FIRST = {"anchor", "query", "question", "sentence1", "text1", "premise"}
SECOND = {"positive", "pos", "document", "answer", "sentence2", "text2", "passage"}
SCORE = {"score", "similarity", "similarity_score"}
TEXT = {"text", "sentence", "document", "query", "utterance"}
LABEL = {"label", "category", "class", "intent", "target"}
GRADE = LABEL | {"relevance", "grade"}  # of a pair
NEGATIVE = re.compile(r"neg(?!.*(score|label|grade|id$|ids$|otiat)).*")
TRUTH = {"true": "1", "false": "0"}

Columns = Sequence[str] | Mapping[str, str]


class Table(NamedTuple):
    """The complete rows of a file, by kind: "classification" (text, label), "sts" and "labeled" (first, second, float),
    "pairs" (anchor, positive, *negatives) or "sets" (texts that mean the same)."""

    kind: str
    rows: list[tuple[Any, ...]]
    warnings: list[str]


def instructed(record: formats.Record, keep: bool = True) -> formats.Record:
    """A row of MEDI, {"query": ["instruction", "text"], "pos": …, "neg": …} with one or a list of such, as texts that
    begin with their instruction (keep=False: without it); of a list the first. Any other record as it is.

    >>> instructed({"query": ["Find the answer:", "why?"], "pos": [["A reason:", "so"], ["A reason:", "thus"]]})
    {'query': 'Find the answer: why?', 'pos': 'A reason: so'}
    """
    if not (isinstance(record.get("query"), list) and isinstance(record.get("pos"), list)):
        return record
    found: formats.Record = {name: record[name] for name in ("query", "pos", "neg") if name in record}
    for name, value in found.items():
        while isinstance(value, list) and value and isinstance(value[0], list):
            value = value[0]
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            found[name] = " ".join(" ".join(value if keep else value[-1:]).split())
    return found


def read_table(path: Path, reshape: formats.Reshape = instructed, columns: Columns | None = None) -> Table:
    """A file of `formats.TABLES`; its header (or its objects' names) says what the rows are. Raises InputError naming
    file and line.

    reshape: gives what to read instead of each object, or None to skip it. columns: see `named`.
    """
    if formats.parts_of(path)[1] not in (".csv", ".tsv"):
        objects = ((number, reshape(record)) for number, record in formats.read_records(path))
        return table_of(path, formats.rows_of_records(objects, str(path), partial(_needed, columns)), columns)

    def fit(fields: list[str]) -> int:
        """How well these fit as a header: whether it is known, or how many of the columns asked for it names."""
        if not columns:
            return bool(of_header(fields)[0])
        return len({_plain(name) for name in asked(columns)} & {_plain(name) for name in fields})

    return table_of(path, formats.rows_of_text(path, fit), columns)


def table_in_memory(data: Any, place: str, columns: Columns | None = None) -> Table:
    """As `read_table`, for data of a form that `formats.records_of` takes; columns: the names of values without."""
    records = [instructed(record) for record in formats.records_of(data, place, asked(columns) if columns else None)]
    numbered = enumerate(records, start=1)
    return table_of(Path(place), formats.rows_of_records(numbered, place, partial(_needed, columns)), columns)


def table_of(path: Path, body: list[formats.Row], columns: Columns | None = None) -> Table:
    """The table of (line, fields), the header first; path: how messages name it. Raises InputError naming the line."""
    if not body:
        raise InputError(f"{path}: is empty; give a header and rows")
    header = body[0][1]
    warnings: list[str] = []
    found: list[tuple[Any, ...]] = []
    empty = []
    kind, places = named(path, body, columns, warnings) if columns else of_header(header)
    if not kind:
        raise InputError(
            f"{path}:1: columns {', '.join(header[:6]).lower()} are not known; separate by commas and name them "
            "text,label or anchor,positive (and negative…) or sentence1,sentence2,score, or say which is which: columns"
        )
    graded = kind in ("sts", "labeled")
    for number, fields in body[1:]:
        if not any(field.strip() for field in fields):
            empty.append(f"line {number}")
            continue
        if len(fields) != len(header):
            problem = f"{len(fields)} fields where line 1 has {len(header)}"
            raise InputError(f"{path}:{number}: {problem}; quote texts with separators")
        values = [fields[place].strip() for place in places]
        if graded:
            values[2] = TRUTH.get(values[2].lower(), values[2])
            if not formats.is_number(values[2]):
                what, how = ("score", "a number") if kind == "sts" else ("label", "1 (a pair), 0 or a score")
                raise InputError(f"{path}:{number}: {what} {values[2]!r} is not a number; give {how}")
        if "" in (values[:2] if kind == "pairs" else values):
            empty.append(f"line {number}")
        elif graded:
            found.append((*values[:2], float(values[2])))
        else:
            found.append(tuple(value for value in values if value))
    warnings += formats.dropped(path, empty, "row with an empty field", "rows with an empty field")
    if not found:
        raise InputError(f"{path}: holds no complete row below its header; give some")
    return Table(kind, found, warnings)


def of_header(header: Sequence[str]) -> tuple[str, list[int]]:
    """What the columns of a header hold, and which of them to take; ("", []) for a header that is not known."""
    header = [_plain(name) for name in header]

    def place(names: set[str]) -> int | None:
        return next((index for index, name in enumerate(header) if name in names), None)

    first, second, score, text, grade = map(place, (FIRST, SECOND, SCORE, TEXT, GRADE))
    label = place({"label_text"} if "label_text" in header else LABEL)  # beside it, "label" is its number
    if first is not None and second is not None:
        if score is not None:
            return "sts", [first, second, score]
        if grade is not None:
            return "labeled", [first, second, grade]
        return "pairs", [first, second, *(i for i, name in enumerate(header) if NEGATIVE.fullmatch(name))]
    if text is not None and label is not None:
        return "classification", [text, label]
    if len(header) > 1 and all(name.startswith("cap") for name in header):
        return "sets", list(range(len(header)))
    return "", []


def named(path: Path, body: list[formats.Row], columns: Columns, warnings: list[str]) -> tuple[str, list[int]]:
    """What the columns of these names hold, as `of_header`. columns: a mapping from names that are known to those of
    the file, {"text": "body", "label": "topic"}; or names alone: a text, one that belongs to it, and perhaps a score,
    where the third column holds numbers, or else negatives. Raises InputError for a name that is not there."""
    header, names = [_plain(name) for name in body[0][1]], asked(columns)
    for name in names:
        if _plain(name) not in header:
            raise InputError(f"{path}:1: has no column {name!r}; it has {', '.join(body[0][1])}")
    places = [header.index(_plain(name)) for name in names]
    kind, of_names = of_header(list(columns))
    if kind and (isinstance(columns, Mapping) or len(of_names) == len(names)):
        return kind, [places[i] for i in of_names]
    if isinstance(columns, Mapping):
        raise InputError(f"{path}: columns {', '.join(columns)} are not known; e.g. text,label or anchor,positive")
    if len(places) < 2:
        raise InputError(f"{path}: one column is not a task; name two texts that belong together, and perhaps a score")
    third = [fields[places[2]].strip() for _, fields in body[1:] if len(places) == 3 and len(fields) == len(header)]
    if any(third) and all(formats.is_number(value) for value in third if value):
        return "sts", places
    negatives = f", {len(places) - 2} of negatives" if len(places) > 2 else ""
    warnings.append(f"{path.name}: {names[0]} and {names[1]} are read as texts that belong together{negatives}")
    return "pairs", places


def asked(columns: Columns) -> list[str]:
    """The names in the file that `columns` asks for. Raises InputError for one string."""
    if isinstance(columns, str):
        raise InputError(f"columns is one string: give a list of names, as in columns={columns.split(',')}")
    return list(columns.values() if isinstance(columns, Mapping) else columns)


def _needed(columns: Columns | None, name: str) -> bool:
    """Whether a column is asked for, or, where none is, known."""
    plain = _plain(name)
    if columns:
        return plain in map(_plain, asked(columns))
    return plain in FIRST | SECOND | SCORE | TEXT | GRADE or plain.startswith("cap") or bool(NEGATIVE.fullmatch(plain))


def _plain(name: str) -> str:
    return name.strip().lower().lstrip("#").strip()
