"""Files of one table or array: csv, tsv, json lines, parquet; STS-B as released; `.npy` of vectors.

Every problem names file and line and says what to do: an InputError where a result would be wrong without the line, a
counted warning where it is right to drop it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
SPLIT_NAMES = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev", "test": "test"}
FIRST = {"anchor", "query", "question", "sentence1", "text1", "premise"}
SECOND = {"positive", "pos", "document", "answer", "sentence2", "text2", "passage"}
SCORE = {"score", "similarity", "similarity_score"}
TEXT = {"text", "sentence", "document", "query", "utterance"}
LABEL = {"label", "category", "class", "intent", "label_text", "target"}


@dataclass(frozen=True)
class Table:
    """The complete rows of a file, and what they are.

    kind: "classification" (text, label) · "sts" (first, second, float) · "pairs" (anchor, positive, *negatives) ·
    "sets" (texts that mean the same).
    """

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
        raise InputError(
            f"{path}: cannot be read ({getattr(error, 'strerror', '') or error}); check the file"
        ) from error


def read_records(path: Path, remedy: str = "correct or remove the line") -> Iterator[tuple[int, dict[str, Any]]]:
    """(line or row, object) of a `.jsonl`, `.jsonl.gz`, `.json` (a list of objects) or `.parquet` file. A line that is
    a bare list stands for {"set": the list}. Raises InputError naming file, line and remedy."""
    if path.suffix == ".parquet":
        yield from enumerate(_parquet_rows(path), start=1)
        return
    whole = path.suffix == ".json"
    for number, text in [(1, "\n".join(line for _, line in read_lines(path)))] if whole else read_lines(path):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InputError(
                f"{path}:{getattr(error, 'lineno', 1) + number - 1}: not a json object; {remedy}"
            ) from error
        if whole and not isinstance(value, list):
            raise InputError(f"{path}: not a list; give a list of objects")
        for place, item in enumerate(value, start=1) if whole else [(number, value)]:
            if not isinstance(item, (dict, list)):
                raise InputError(f"{path}:{place}: not a json object; {remedy}")
            yield place, item if isinstance(item, dict) else {"set": item}


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """By pyarrow, a batch of rows at a time: pandas turns whole numbers beside missing ones into fractions."""
    import pyarrow.parquet

    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a parquet file ({' '.join(str(error).split())}); write it again") from error


def read_table(path: Path) -> Table:
    """A file of `TABLES`; its header (or its objects' names) says what the rows are. A csv or tsv of two columns
    without a known header holds pairs. Raises InputError naming file and line for a malformed row."""
    separated = path.suffix in (".csv", ".tsv")
    rows = _separated_rows(path) if separated else _object_rows(path)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path}: is empty; give a header and rows")
    header = [name.strip().lower().lstrip("#").strip() for name in first[1]]
    kind, columns = _columns(header)
    warnings: list[str] = []
    found: list[tuple[Any, ...]] = []
    dropped: list[int] = []
    body = list(rows)
    if not kind and separated and len(header) == 2:
        kind, columns, body = "pairs", [0, 1], [first, *body]
        warnings.append(f"{path.name}: no known header, so the first line is data; read as anchor,positive")
    if not kind:
        raise InputError(
            f"{path}:1: columns {', '.join(header[:6])} are not known; separate by commas and name them "
            "text,label or anchor,positive (and negative…) or sentence1,sentence2,score"
        )
    for number, fields in body:
        if len(fields) != len(header):
            raise InputError(
                f"{path}:{number}: {len(fields)} fields where line 1 has {len(header)}; quote texts with separators"
            )
        values = [fields[column].strip() for column in columns]
        if kind == "sts" and not is_number(values[2]):
            raise InputError(f"{path}:{number}: score {values[2]!r} is not a number; correct the line")
        if "" in (values[:2] if kind == "pairs" else values):
            dropped.append(number)
        elif kind == "sts":
            found.append((values[0], values[1], float(values[2])))
        else:
            found.append(tuple(value for value in values if value))
    if dropped:
        rows_dropped = count_of(len(dropped), "row", "rows")
        warnings.append(f"{path.name}: dropped {rows_dropped} with an empty field (first: line {dropped[0]})")
    if not found:
        raise InputError(f"{path}: holds no complete row below its header; give some")
    return Table(kind, found, warnings)


def _columns(header: list[str]) -> tuple[str, list[int]]:
    """What the columns of a header hold, and which of them to take; ("", []) for a header that is not known."""

    def place(names: set[str]) -> int | None:
        return next((index for index, name in enumerate(header) if name in names), None)

    first, second, score, text, label = map(place, (FIRST, SECOND, SCORE, TEXT, LABEL))
    if first is not None and second is not None:
        if score is not None:
            return "sts", [first, second, score]
        return "pairs", [first, second, *(i for i, name in enumerate(header) if name.startswith("neg"))]
    if text is not None and label is not None:
        return "classification", [text, label]
    if len(header) > 1 and all(name.startswith("cap") for name in header):
        return "sets", list(range(len(header)))
    return "", []


def _separated_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, fields) of every row of a csv or tsv that is not empty.

    By the csv module: pandas gives no line numbers, and accepts a stray quote and a short row in silence."""
    text = "\n".join(line for _, line in read_lines(path))
    if "\0" in text:
        raise InputError(f"{path}: holds zero bytes, so it is not a text file; export it as UTF-8 csv")
    if path.suffix == ".tsv":
        reader = csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(io.StringIO(text), strict=True)  # a stray quote is an error, not a field of half the file
    begin = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield begin, fields
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{begin}: {error}; close the quote, and write a quote inside a text twice") from error


def _object_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The names of the first object, then (line, values) of every object; a name that one lacks is an empty field."""
    header: list[str] = []
    for number, record in read_records(path):
        if not header:
            header = list(record)
            yield 1, [str(name) for name in header]
        for name in header:
            if isinstance(record.get(name), (dict, list)):
                raise InputError(f"{path}:{number}: {name!r} is not a text or a number; correct or remove the line")
        yield number, ["" if record.get(name) is None else str(record[name]) for name in header]


def read_stsb(folder: Path) -> dict[str, tuple[list[str], list[str], np.ndarray]]:
    """STS-B as released: sts-{train,dev,test}.csv, tab-separated, no header, no quoting; field 5 is the score (0 to 5),
    6 and 7 the sentences, some lines have two more. -> split -> (first, second, scores (N,) float64)."""
    splits: dict[str, tuple[list[str], list[str], np.ndarray]] = {}
    for path in sorted(folder.glob("sts-*.csv")):
        rows = []
        for number, line in read_lines(path):
            fields = [field.strip() for field in line.split("\t")]
            if fields == [""]:
                continue
            if len(fields) < 7 or not is_number(fields[4]) or not fields[5] or not fields[6]:
                raise InputError(
                    f"{path}:{number}: field 5 must be a score, 6 and 7 sentences, separated by tabs; correct the line"
                )
            rows.append((fields[5], fields[6], float(fields[4])))
        if not rows:
            raise InputError(f"{path}: is empty; give score and sentences in fields 5 to 7")
        split = path.stem.removeprefix("sts-")
        splits[SPLIT_NAMES.get(split, split)] = columns_of_scores(rows)
    return splits


def columns_of_scores(rows: Sequence[tuple[str, str, float]]) -> tuple[list[str], list[str], np.ndarray]:
    """Rows (first, second, score) as three columns, the scores (N,) float64."""
    return [row[0] for row in rows], [row[1] for row in rows], np.array([row[2] for row in rows], np.float64)


def is_number(text: str) -> bool:
    """Whether the text is a finite number.

    >>> is_number("2.5"), is_number("nan"), is_number("high")
    (True, False, False)
    """
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def count_of(count: int, one: str, many: str) -> str:
    """A number with its noun.

    >>> count_of(1, "entry", "entries"), count_of(2, "entry", "entries")
    ('1 entry', '2 entries')
    """
    return f"{count} {one if count == 1 else many}"
