"""Files of texts: lines, records, and tables of csv, tsv, json lines or parquet.

A problem is an InputError naming file, line and remedy where a result would be wrong without the line, and a counted
warning where it is right to drop it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrl_tutorial.errors import InputError

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
DEV = ("dev", "valid", "validation", "val", "eval", "evaluation")
SPLIT_NAMES = {"train": "train", "test": "test", **dict.fromkeys(DEV, "dev")}
FIRST = {"anchor", "query", "question", "sentence1", "text1", "premise"}
SECOND = {"positive", "pos", "document", "answer", "sentence2", "text2", "passage"}
SCORE = {"score", "similarity", "similarity_score"}
TEXT = {"text", "sentence", "document", "query", "utterance"}
LABEL = {"label", "category", "class", "intent", "target"}
GRADE = LABEL | {"relevance", "grade"}  # of a pair
TRUTH = {"true": "1", "false": "0"}

Record = dict[str, Any]
Reshape = Callable[[Record], Record | None]


@dataclass(frozen=True)
class Table:
    """The complete rows of a file, by kind: "classification" (text, label), "sts" and "labeled" (first, second, float),
    "pairs" (anchor, positive, *negatives) or "sets" (texts that mean the same)."""

    kind: str
    rows: list[tuple[Any, ...]]
    warnings: list[str]


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, line) of a UTF-8 text file, without its line ends; `.gz` is unpacked. Raises InputError where it
    cannot be read."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):
                yield number, str(line).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", "") or error
        raise InputError(f"{path}: cannot be read ({reason}); check the file") from error


def read_records(path: Path) -> Iterator[tuple[int, Record]]:
    """(line or row, object) of a `.jsonl`, `.jsonl.gz`, `.json` (a list of objects) or `.parquet` file. A line that is
    a bare list stands for {"set": the list}. Raises InputError for what is none of these."""
    found: Iterable[tuple[int, Any]]
    if path.suffix.lower() == ".parquet":
        found = enumerate(_parquet_rows(path), start=1)
    elif path.suffix.lower() == ".json":
        text = "\n".join(line for _, line in read_lines(path))
        items = _parse(path, 1, text) if text.strip() else []
        if not isinstance(items, list):
            raise InputError(f"{path}: not a list; give a list of objects")
        found = enumerate(items, start=1)
    else:
        found = ((number, _parse(path, number, line)) for number, line in read_lines(path) if line.strip())
    for number, item in found:
        if not isinstance(item, (dict, list)):
            raise InputError(f"{path}:{number}: not a json object; correct or remove the line")
        yield number, item if isinstance(item, dict) else {"set": item}


def _parse(path: Path, line: int, text: str) -> Any:
    """The value of json text that begins on this line."""
    try:
        return json.loads(text)
    except ValueError as error:
        line += getattr(error, "lineno", 1) - 1
        raise InputError(f"{path}:{line}: not a json object; correct or remove the line") from error


def _parquet_rows(path: Path) -> list[Record]:
    """The rows of a parquet file, whole numbers kept whole beside missing ones. Raises InputError for another file."""
    import pyarrow.parquet  # takes half a second

    try:
        return pyarrow.parquet.ParquetFile(path).read().to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: not a parquet file ({' '.join(str(error).split())}); write it again") from error


def read_table(path: Path, reshape: Reshape | None = None) -> Table:
    """A file of `TABLES`; its header (or its objects' names) says what the rows are, and a csv or tsv of two columns
    without a known header holds pairs. Raises InputError naming file and line.

    reshape: gives what to read instead of each object, or None to skip it.
    """
    separated = path.suffix.lower() in (".csv", ".tsv")
    body = _separated_rows(path) if separated else list(_object_rows(path, reshape))
    if not body:
        raise InputError(f"{path}: is empty; give a header and rows")
    header = body[0][1]
    kind, columns = _columns(header)
    warnings: list[str] = []
    found: list[tuple[Any, ...]] = []
    empty: list[str] = []
    if kind:
        del body[0]
    elif separated and len(header) == 2:
        kind, columns = "pairs", [0, 1]
        warnings.append(f"{path.name}: no known header, so the first line is data; read as anchor,positive")
    else:
        raise InputError(
            f"{path}:1: columns {', '.join(header[:6]).lower()} are not known; separate by commas and name them "
            "text,label or anchor,positive (and negative…) or sentence1,sentence2,score"
        )
    for number, fields in body:
        if len(fields) != len(header):
            problem = f"{len(fields)} fields where line 1 has {len(header)}"
            raise InputError(f"{path}:{number}: {problem}; quote texts with separators")
        values = [fields[column].strip() for column in columns]
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


def _columns(header: list[str]) -> tuple[str, list[int]]:
    """What the columns of a header hold, and which of them to take; ("", []) for a header that is not known."""
    header = [name.strip().lower().lstrip("#").strip() for name in header]

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


def _separated_rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line on which it begins, fields) of every row that is not empty, separated by what makes the header known. By
    the csv module: pandas gives no line numbers, and accepts a stray quote and a short row in silence."""
    text = "\n".join(line for _, line in read_lines(path))
    if "\0" in text:
        raise InputError(f"{path}: holds zero bytes, so it is not a text file; export it as UTF-8 csv")
    own = "\t" if path.suffix.lower() == ".tsv" else ","
    first = text.lstrip("\n").partition("\n")[0]
    known = (by for by in (own, ",", ";", "\t") if _columns(next(csv.reader([first], delimiter=by), []))[0])
    delimiter = next(known, own)
    try:
        rows = _parsed(path, text, delimiter=delimiter, strict=True)  # a stray quote is no field of half the file
        if delimiter == "\t" and any(len(fields) != len(rows[0][1]) for _, fields in rows):
            raise InputError("quotes that are part of the texts")
    except InputError:
        if delimiter != "\t":
            raise
        rows = _parsed(path, text, delimiter="\t", quoting=csv.QUOTE_NONE)  # as many write them
    return rows


def _parsed(path: Path, text: str, **dialect: Any) -> list[tuple[int, list[str]]]:
    begin, rows, limit = 1, [], csv.field_size_limit(2**31 - 1)
    try:
        reader = csv.reader(io.StringIO(text), **dialect)
        for fields in reader:
            if any(field.strip() for field in fields):
                rows.append((begin, fields))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{begin}: {error}; close the quote, and write a quote inside a text twice") from error
    finally:
        csv.field_size_limit(limit)
    return rows


def _object_rows(path: Path, reshape: Reshape | None) -> Iterator[tuple[int, list[str]]]:
    """The names of the first object, then (line, values) of every object; a name that one lacks is an empty field."""
    header: list[str] = []
    for number, item in read_records(path):
        if (record := reshape(item) if reshape else item) is None:
            continue
        if not header:
            header = list(record)
            yield 1, header
        yield number, [text_of(record, name, f"{path}:{number}") for name in header]


def text_of(record: Record, name: str, place: str) -> str:
    """One value of an object as text, "" where there is none. Raises InputError for a list or an object."""
    value = record.get(name)
    if isinstance(value, (dict, list)):
        raise InputError(f"{place}: {name!r} is not a text or a number; correct or remove the line")
    return "" if value is None else str(value)


def is_number(text: str) -> bool:
    """Whether the text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def dropped(path: Path, what: Sequence[str], one: str, many: str) -> list[str]:
    """The warning that these were left out of a file, named in the singular or the plural; [] where there are none."""
    return [f"{path.name}: dropped {len(what)} {one if len(what) == 1 else many} (first: {what[0]})"] if what else []
