"""Data in memory -> a task: a DataFrame, a `datasets.Dataset`, lists of dicts, of pairs, or columns; or each by split.

Nothing here imports pandas or datasets: what has the methods is taken for what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.folders import task_of_tables
from mrl_tutorial.tasks.formats import SPLIT_NAMES, Record
from mrl_tutorial.tasks.tables import Columns, Table, of_header, rows_of_records, table_of
from mrl_tutorial.tasks.task import Task

FORMS = "a path, a DataFrame, a Dataset, a list of dicts or of (anchor, positive), or {split: any of these}"


def task_from_memory(data: Any, name: str, limit: int | None = None, columns: Columns | None = None) -> Task:
    """The task of data that are in memory, as if they came from a file. limit, columns: as for `task_from_path`; for
    rows that are tuples, columns names their values. Raises InputError naming the row, and for what is none of these.

    >>> print(task_from_memory([("a cat", "a pet"), ("a rose", "a plant")], "mine").size)
    all 2
    """
    origin = f"a {type(data).__name__} in memory"
    if isinstance(data, Mapping) and data and all(str(split).lower() in SPLIT_NAMES for split in data):
        by_split: dict[str, Any] = {}
        for split, rows in sorted(data.items()):  # as the files of a folder are
            if SPLIT_NAMES[str(split).lower()] in by_split:
                raise InputError(f"{origin}: two splits of {SPLIT_NAMES[str(split).lower()]}; keep one")
            by_split[SPLIT_NAMES[str(split).lower()]] = rows
    else:
        by_split = {"all": data}
    tables = {split: [_table(rows, name, split, columns)] for split, rows in by_split.items()}
    return task_of_tables(tables, name, origin, limit)


def _table(data: Any, name: str, split: str, columns: Columns | None) -> Table:
    place = Path(f"{name}, row" if split == "all" else f"{name}, {split}, row")
    records, columns = _records(data, str(place), columns)
    return table_of(place, rows_of_records(enumerate(records, start=1), str(place)), columns)


def _records(data: Any, place: str, columns: Columns | None) -> tuple[list[Record], Columns | None]:
    """The rows as objects, and what is left to be said of their columns."""
    if hasattr(data, "to_dict") and hasattr(data, "iloc"):  # a DataFrame; what is missing there has several names
        data = data.astype(object).where(data.notna(), None).to_dict("records")
    elif hasattr(data, "to_pylist"):  # a table of pyarrow
        data = data.to_pylist()
    elif isinstance(data, Mapping):
        lists = {str(column): list(values) for column, values in data.items() if not isinstance(values, str)}
        if len({len(values) for values in lists.values()}) > 1 or len(lists) < len(data):
            raise InputError(f"{place}: columns of different lengths, or texts in place of lists; give equal lists")
        data = [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise InputError(f"{type(data).__name__} is no data: give {FORMS}")
    rows = list(data)
    if not rows or all(isinstance(row, Mapping) for row in rows):
        return [dict(row) for row in rows], columns
    return _of_tuples(rows, place, columns)


def _of_tuples(rows: list[Any], place: str, columns: Columns | None) -> tuple[list[Record], Columns | None]:
    """Rows that are tuples, all of one kind: texts that belong together, (text, label) or (text, text, score)."""
    for number, row in enumerate(rows, start=1):
        if isinstance(row, (str, bytes, Mapping)) or not isinstance(row, Sequence) or len(row) < 2:
            raise InputError(f"{place}:{number}: {row!r:.60} is not a row: give {FORMS}")
    longest = max(rows, key=len)
    if isinstance(columns, Mapping):
        raise InputError(f"{place}: rows without names take a list of columns, as in columns=['text', 'label']")
    header = list(columns) if columns else _guessed(rows, len(longest))
    if len(header) < len(longest):
        raise InputError(f"{place}:{rows.index(longest) + 1}: {len(longest)} values for {', '.join(header)}; name each")
    records = [dict(zip(header, row, strict=False)) for row in rows]
    return records, None if of_header(header)[0] else columns


def _guessed(rows: list[Any], count: int) -> list[str]:
    """What the values are: a number after one text is a label, after two a score; texts belong together."""
    last_is_number = all(isinstance(row[-1], (int, float)) for row in rows) and all(len(row) == count for row in rows)
    if last_is_number and count in (2, 3):
        return ["text", "label"] if count == 2 else ["sentence1", "sentence2", "score"]
    return ["anchor", "positive", *(f"negative_{i}" for i in range(1, count - 1))]
