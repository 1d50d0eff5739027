"""Files and data in memory as lines, objects, and rows of fields with the line on which each begins.

A problem is an InputError naming file, line and remedy where a result would be wrong without the line, and a counted
warning where it is right to drop it. (pandas gives no line numbers, and accepts a stray quote and a short row.)
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
DEV = ("dev", "valid", "validation", "val", "eval", "evaluation")
SPLIT_NAMES = {"train": "train", "test": "test"} | dict.fromkeys(DEV, "dev")
FORMS = "a path, a DataFrame, a Dataset, a list of dicts or of (anchor, positive), or {split: any of these}"

Record = dict[str, Any]
Reshape = Callable[[Record], Record | None]
Row = tuple[int, list[str]]


def parts_of(path: Path) -> tuple[str, str]:
    """The name and the kind of file that it says: ("a", ".csv") for a.csv and for a.CSV.gz."""
    named = Path(path.stem) if path.suffix.lower() == ".gz" else path
    return named.stem, named.suffix.lower()


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, line) of a UTF-8 text file, perhaps packed as `.gz`. Raises InputError where it cannot be read."""
    try:
        opened = gzip.open if path.suffix.lower() == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):
                yield number, str(line).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", "") or error
        raise InputError(f"{path}: cannot be read ({reason}); check the file") from error


def read_records(path: Path) -> Iterator[tuple[int, Record]]:
    """(line or row, object) of a `.jsonl`, `.json` (a list of objects) or `.parquet` file. A line that is a bare list
    stands for {"set": the list}. Raises InputError for what is none of these."""
    found: Iterable[tuple[int, Any]]
    suffix = parts_of(path)[1]
    if suffix == ".jsonl":
        found = ((number, _parsed(path, number, line)) for number, line in read_lines(path) if line.strip())
    else:
        items = _parquet(path) if suffix == ".parquet" else _parsed(path, 1, "\n".join(x for _, x in read_lines(path)))
        if not isinstance(items, list):
            raise InputError(f"{path}: not a list; give a list of objects")
        found = enumerate(items, start=1)
    for number, item in found:
        if not isinstance(item, (dict, list)):
            raise InputError(f"{path}:{number}: not a json object; correct or remove the line")
        yield number, item if isinstance(item, dict) else {"set": item}


def _parsed(path: Path, line: int, text: str) -> Any:
    """The value of json text that begins on this line."""
    try:
        return json.loads(text) if text.strip() else []
    except (ValueError, RecursionError) as error:  # the latter for brackets without end
        line += getattr(error, "lineno", 1) - 1
        raise InputError(f"{path}:{line}: not a json object; correct or remove the line") from error


def _parquet(path: Path) -> list[Record]:
    """The rows of a parquet file. By pyarrow, which keeps whole numbers whole beside missing ones."""
    import pyarrow.parquet  # takes half a second

    try:
        return pyarrow.parquet.ParquetFile(path).read().to_pylist()
    except (OSError, ValueError, OverflowError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: not a parquet file ({' '.join(str(error).split())}); write it again") from error


def text_of(record: Record, name: str, place: str) -> str:
    """One value of an object as text, "" where there is none. Raises InputError for a list, an object or bytes, and for
    half a character, which is not text."""
    value = record.get(name)
    if isinstance(value, (dict, list, tuple, bytes)):
        raise InputError(f"{place}: {name!r} is not a text or a number; correct or remove the line")
    missing = value is None or (isinstance(value, (float, np.floating)) and math.isnan(value))
    text = "" if missing else str(value)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"{place}: {name!r} holds half a character (a lone surrogate); correct or remove the line")
    return text


def is_number(text: str) -> bool:
    """Whether the text is a finite number; 1_000, which Python takes for one, is none."""
    try:
        return "_" not in text and math.isfinite(float(text))
    except ValueError:
        return False


def dropped(path: Path, what: Sequence[str], one: str, many: str) -> list[str]:
    """The warning that these were left out of a file, named in the singular or the plural; [] where there are none."""
    return [f"{path.name}: dropped {len(what)} {one if len(what) == 1 else many} (first: {what[0]})"] if what else []


def rows_of_records(
    records: Iterable[tuple[int, Record | None]], place: str, needed: Callable[[str], bool] = lambda name: True
) -> list[Row]:
    """The names in the objects, in the order in which they appear, then (line, values) of every object; a name that one
    lacks is an empty field. None is skipped. place: how messages name where they are. A name that is not `needed` is
    left out where it holds lists or objects."""
    kept = [(number, record) for number, record in records if record is not None]
    header = list(dict.fromkeys(name for _, record in kept for name in record))
    header = [
        name for name in header
        if needed(str(name)) or not any(isinstance(record.get(name), (dict, list, tuple, bytes)) for _, record in kept)
    ]  # fmt: skip
    body = [(n, [text_of(record, name, f"{place}:{n}") for name in header]) for n, record in kept]
    return [(1, [str(name) for name in header]), *body] if kept else []


def rows_of_text(path: Path, fit: Callable[[list[str]], int]) -> list[Row]:
    """(line on which it begins, fields) of every row of a csv or tsv that is not empty.

    The separator is the sign that makes the first line fit best as a header. Raises InputError naming the line."""
    text = "\n".join(line for _, line in read_lines(path))
    if "\0" in text:
        raise InputError(f"{path}: holds zero bytes, so it is not a text file; export it as UTF-8 csv")
    own = "\t" if parts_of(path)[1] == ".tsv" else ","
    first = text.lstrip("\n").partition("\n")[0][:10_000]
    signs = dict.fromkeys([own, *",;\t|", *(sign for sign in first if not sign.isalnum() and sign not in " _-.\"'#\r")])
    # max takes the first of equals
    delimiter = max(signs, key=lambda by: fit(next(csv.reader([first], delimiter=by), [])))
    if delimiter != "\t":
        return _split(path, text, delimiter=delimiter, strict=True)  # a stray quote is no field of half the file
    with contextlib.suppress(InputError):
        rows = _split(path, text, delimiter="\t", strict=True)
        if all(len(fields) == len(rows[0][1]) for _, fields in rows):
            return rows
    return _split(path, text, delimiter="\t", quoting=csv.QUOTE_NONE)  # as many write them


def _split(path: Path, text: str, **dialect: Any) -> list[Row]:
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


def records_of(data: Any, place: str, names: Sequence[str] | None = None) -> list[Record]:
    """The rows of data in memory as objects: a DataFrame, a `datasets.Dataset`, a table of pyarrow, columns, or a list
    of dicts or of tuples, whose values have the `names`. Raises InputError naming the row, and for none of these."""
    import pandas

    if isinstance(data, Mapping):
        try:
            data = pandas.DataFrame(data, dtype=object)
        except ValueError as error:
            raise InputError(f"{place}: columns of different lengths ({error}); give equal lists") from error
    if isinstance(data, pandas.DataFrame):  # what is missing there has several names
        data = data.astype(object).where(data.notna(), None).to_dict("records")
    elif hasattr(data, "to_pylist"):
        data = data.to_pylist()
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise InputError(f"{type(data).__name__} is not data: give {FORMS}")
    rows = list(data)
    if all(isinstance(row, Mapping) for row in rows):
        return [dict(row) for row in rows]
    for number, row in enumerate(rows, start=1):
        if isinstance(row, (str, bytes)) or not isinstance(row, Sequence) or len(row) < 2:
            raise InputError(f"{place}:{number}: {row!r:.60} is not a row: give {FORMS}")
        if names and len(row) > len(names):
            raise InputError(f"{place}:{number}: {len(row)} values for {', '.join(names)}; name each")
    return [dict(zip(names or _guessed(rows), row, strict=False)) for row in rows]


def _guessed(rows: list[Sequence[Any]]) -> list[str]:
    """What the values are: a number after one text is a label, after two a score; texts belong together."""
    counts = {len(row) for row in rows}
    if counts in ({2}, {3}) and all(isinstance(row[-1], (Real, np.number, np.bool_)) for row in rows):
        return ["text", "label"] if counts == {2} else ["sentence1", "sentence2", "score"]
    return ["anchor", "positive", *(f"negative_{i}" for i in range(1, max(counts) - 1))]
