"""Tables of texts: what the columns of a header mean, and the complete rows of a file or of objects."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.formats import Record, dropped, is_number, read_lines, read_records, suffix_of, text_of

FIRST = {"anchor", "query", "question", "sentence1", "text1", "premise"}
SECOND = {"positive", "pos", "document", "answer", "sentence2", "text2", "passage"}
SCORE = {"score", "similarity", "similarity_score"}
TEXT = {"text", "sentence", "document", "query", "utterance"}
LABEL = {"label", "category", "class", "intent", "target"}
GRADE = LABEL | {"relevance", "grade"}  # of a pair
TRUTH = {"true": "1", "false": "0"}
HEADER = 10_000  # characters in which a header is looked for

Reshape = Callable[[Record], Record | None]
Row = tuple[int, list[str]]
Columns = Sequence[str] | Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """The complete rows of a file, by kind: "classification" (text, label), "sts" and "labeled" (first, second, float),
    "pairs" (anchor, positive, *negatives) or "sets" (texts that mean the same)."""

    kind: str
    rows: list[tuple[Any, ...]]
    warnings: list[str]


def read_table(path: Path, reshape: Reshape | None = None, columns: Columns | None = None) -> Table:
    """A file of `TABLES`; its header (or its objects' names) says what the rows are, and a csv or tsv of two columns
    without a known header holds pairs. Raises InputError naming file and line.

    reshape: gives what to read instead of each object, or None to skip it. columns: see `named`.
    """
    separated = suffix_of(path) in (".csv", ".tsv")
    if separated:
        body = _separated_rows(path, columns)
    else:
        body = rows_of_records(((n, reshape(item) if reshape else item) for n, item in read_records(path)), str(path))
    return table_of(path, body, columns, headless=separated)


def table_of(path: Path, body: list[Row], columns: Columns | None = None, headless: bool = False) -> Table:
    """The table of (line, fields), the header first; path: how messages name it; headless: two columns may have none.
    Raises InputError naming the line."""
    if not body:
        raise InputError(f"{path}: is empty; give a header and rows")
    header = body[0][1]
    warnings: list[str] = []
    found: list[tuple[Any, ...]] = []
    empty: list[str] = []
    kind, places = named(path, body, columns, warnings) if columns else of_header(header)
    if kind:
        del body[0]
    elif headless and len(header) == 2:
        kind, places = "pairs", [0, 1]
        warnings.append(f"{path.name}: no known header, so the first line is data; read as anchor,positive")
    else:
        raise InputError(
            f"{path}:1: columns {', '.join(header[:6]).lower()} are not known; separate by commas and name them "
            "text,label or anchor,positive (and negative…) or sentence1,sentence2,score, or say which is which: columns"
        )
    for number, fields in body:
        if not any(field.strip() for field in fields):
            empty.append(f"line {number}")
            continue
        if len(fields) != len(header):
            problem = f"{len(fields)} fields where line 1 has {len(header)}"
            raise InputError(f"{path}:{number}: {problem}; quote texts with separators")
        values = [fields[place].strip() for place in places]
        if kind in ("sts", "labeled") and not is_number(TRUTH.get(values[2].lower(), values[2])):
            what, how = ("score", "correct the line") if kind == "sts" else ("label", "give 1 (a pair), 0 or a score")
            raise InputError(f"{path}:{number}: {what} {values[2]!r} is not a number; {how}")
        if "" in (values[:2] if kind == "pairs" else values):
            empty.append(f"line {number}")
        elif kind in ("sts", "labeled"):
            found.append((values[0], values[1], float(TRUTH.get(values[2].lower(), values[2]))))
        else:
            found.append(tuple(value for value in values if value))
    warnings += dropped(path, empty, "row with an empty field", "rows with an empty field")
    if not found:
        raise InputError(f"{path}: holds no complete row below its header; give some")
    return Table(kind, found, warnings)


def of_header(header: list[str]) -> tuple[str, list[int]]:
    """What the columns of a header hold, and which of them to take; ("", []) for a header that is not known."""
    header = [_plain(name) for name in header]

    def place(names: set[str]) -> int | None:
        return next((index for index, name in enumerate(header) if name in names), None)

    first, second, score, text = map(place, (FIRST, SECOND, SCORE, TEXT))
    label = place({"label_text"} if "label_text" in header else LABEL)  # beside it, "label" is its number
    if first is not None and second is not None:
        grade = place(GRADE)
        if score is not None or grade is not None:
            return ("labeled", [first, second, grade or 0]) if score is None else ("sts", [first, second, score])
        return "pairs", [first, second, *(i for i, name in enumerate(header) if name.startswith("neg"))]
    if text is not None and label is not None:
        return "classification", [text, label]
    if len(header) > 1 and all(name.startswith("cap") for name in header):
        return "sets", list(range(len(header)))
    return "", []


def named(path: Path, body: list[Row], columns: Columns, warnings: list[str]) -> tuple[str, list[int]]:
    """What the columns of these names hold, as `of_header`. columns: a mapping from names that are known to those of
    the file, {"text": "body", "label": "topic"}; or names alone: a text, one that belongs to it, and perhaps a score,
    where the third column holds numbers, or else negatives. Raises InputError for a name that is not there."""
    header = [_plain(name) for name in body[0][1]]
    names = asked(columns)
    for name in names:
        if _plain(name) not in header:
            raise InputError(f"{path}:1: has no column {name!r}; it has {', '.join(body[0][1])}")
    places = [header.index(_plain(name)) for name in names]
    if isinstance(columns, Mapping):
        kind, of_names = of_header(list(columns))
        if not kind:
            raise InputError(f"{path}: columns {', '.join(columns)} are not known; e.g. text,label or anchor,positive")
        return kind, [places[i] for i in of_names]
    if len(places) < 2:
        raise InputError(f"{path}: one column is no task; name two texts that belong together, and perhaps a score")
    third = [fields[places[2]].strip() for _, fields in body[1:] if len(places) == 3 and len(fields) == len(header)]
    if any(third) and all(is_number(value) for value in third if value):
        return "sts", places
    negatives = f", {len(places) - 2} of negatives" if len(places) > 2 else ""
    warnings.append(f"{path.name}: {names[0]} and {names[1]} are read as texts that belong together{negatives}")
    return "pairs", places


def asked(columns: Columns) -> list[str]:
    """The names in the file that `columns` asks for. Raises InputError for one string."""
    if isinstance(columns, str):
        raise InputError(f"columns is one string: give a list of names, as in columns={columns.split(',')}")
    return list(columns.values() if isinstance(columns, Mapping) else columns)


def _plain(name: str) -> str:
    return name.strip().lower().lstrip("#").strip()


def _separated_rows(path: Path, columns: Columns | None) -> list[Row]:
    """(line on which it begins, fields) of every row that is not empty, separated by what makes the header known. By
    the csv module: pandas gives no line numbers, and accepts a stray quote and a short row in silence."""
    text = "\n".join(line for _, line in read_lines(path))
    if "\0" in text:
        raise InputError(f"{path}: holds zero bytes, so it is not a text file; export it as UTF-8 csv")
    own = "\t" if suffix_of(path) == ".tsv" else ","
    first = text.lstrip("\n").partition("\n")[0][:HEADER]
    signs = dict.fromkeys([own, *",;\t|", *(sign for sign in first if not sign.isalnum() and sign not in " _-.\"'#\r")])
    # max takes the first of equals
    delimiter = max(signs, key=lambda by: _fit(next(csv.reader([first], delimiter=by), []), columns))
    try:
        rows = _parsed(path, text, delimiter=delimiter, strict=True)  # a stray quote is no field of half the file
        if delimiter == "\t" and any(len(fields) != len(rows[0][1]) for _, fields in rows):
            raise InputError("quotes that are part of the texts")
    except InputError:
        if delimiter != "\t":
            raise
        rows = _parsed(path, text, delimiter="\t", quoting=csv.QUOTE_NONE)  # as many write them
    return rows


def _parsed(path: Path, text: str, **dialect: Any) -> list[Row]:
    begin, rows, limit = 1, [], csv.field_size_limit(2**31 - 1)
    try:
        reader = csv.reader(io.StringIO(text), **dialect)
        for fields in reader:
            if len(fields) > 1 or any(field.strip() for field in fields):  # not a line that is empty
                rows.append((begin, fields))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{begin}: {error}; close the quote, and write a quote inside a text twice") from error
    finally:
        csv.field_size_limit(limit)
    return rows


def _fit(fields: list[str], columns: Columns | None) -> int:
    """How well these fields fit a header: whether it is known, or how many of the columns asked for it names."""
    if not columns:
        return int(bool(of_header(fields)[0]))
    return len({_plain(name) for name in asked(columns)} & {_plain(name) for name in fields})


def rows_of_records(records: Iterable[tuple[int, Record | None]], place: str) -> list[Row]:
    """The names in the objects, in the order in which they appear, then (line, values) of every object; a name that one
    lacks is an empty field. None is skipped. place: how messages name where they are."""
    kept = [(number, instructed(record)) for number, record in records if record is not None]
    header = list(dict.fromkeys(name for _, record in kept for name in record))
    body = [(n, [text_of(record, name, f"{place}:{n}") for name in header]) for n, record in kept]
    return [(1, [str(name) for name in header]), *body] if kept else []


def instructed(record: Record, keep: bool = True) -> Record:
    """A row of MEDI, {"query": ["instruction", "text"], "pos": …, "neg": …} with one or a list of such, as texts that
    begin with their instruction (keep=False: without it); of a list the first. Any other record as it is.

    >>> instructed({"query": ["Find the answer:", "why?"], "pos": [["A reason:", "so"], ["A reason:", "thus"]]})
    {'query': 'Find the answer: why?', 'pos': 'A reason: so'}
    """
    if not (isinstance(record.get("query"), list) and isinstance(record.get("pos"), list)):
        return record
    found: Record = {name: record[name] for name in ("query", "pos", "neg") if name in record}
    for name, value in found.items():
        while isinstance(value, list) and value and isinstance(value[0], list):
            value = value[0]
        if isinstance(value, list) and all(isinstance(text, str) for text in value):
            found[name] = " ".join(" ".join(value if keep else value[-1:]).split())
    return found
