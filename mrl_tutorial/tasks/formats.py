"""Files of texts: lines, records, and rows of csv, tsv, json lines or parquet, each perhaps packed as .gz.

A problem is an InputError naming file, line and remedy where a result would be wrong without the line, and a counted
warning where it is right to drop it.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mrl_tutorial.errors import InputError

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
DEV = ("dev", "valid", "validation", "val", "eval", "evaluation")
SPLIT_NAMES = {"train": "train", "test": "test", **dict.fromkeys(DEV, "dev")}
Record = dict[str, Any]


def suffix_of(path: Path) -> str:
    """The kind of file that its name says, in lower case: ".csv" for a.csv and for A.CSV.gz."""
    return Path(_unpacked(path)).suffix.lower()


def stem_of(path: Path) -> str:
    """The name without what says the kind of file: "a" for a.csv and a.csv.gz."""
    name = _unpacked(path)
    suffix = Path(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in (*TABLES, ".npy") else name


def _unpacked(path: Path) -> str:
    return path.stem if path.suffix.lower() == ".gz" else path.name


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, line) of a UTF-8 text file, without its line ends; `.gz` is unpacked. Raises InputError where it
    cannot be read."""
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
    """(line or row, object) of a `.jsonl`, `.jsonl.gz`, `.json` (a list of objects) or `.parquet` file. A line that is
    a bare list stands for {"set": the list}. Raises InputError for what is none of these."""
    found: Iterable[tuple[int, Any]]
    if suffix_of(path) == ".parquet":
        found = enumerate(_parquet_rows(path), start=1)
    elif suffix_of(path) == ".json":
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
    except (ValueError, RecursionError) as error:  # the latter for brackets without end
        line += getattr(error, "lineno", 1) - 1
        raise InputError(f"{path}:{line}: not a json object; correct or remove the line") from error


def _parquet_rows(path: Path) -> list[Record]:
    """The rows of a parquet file, whole numbers kept whole beside missing ones. Raises InputError for another file."""
    import pyarrow.parquet  # takes half a second

    if path.suffix.lower() == ".gz":
        raise InputError(f"{path}: parquet is packed already; unpack the file")

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
    text = "" if value is None else str(value)
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
