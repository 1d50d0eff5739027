"""Files as the hub holds them -> the layouts that readers.py knows."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.formats import SPLIT_NAMES


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a parquet, json-lines or gzipped json-lines file. Raises InputError naming file and line."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
        return
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path}:{number}: not json; delete the file, to have it fetched again") from error
            yield row if isinstance(row, dict) else {"set": row}


Fetched = Sequence[tuple[tuple[str, ...], Path]]  # of each repository: patterns of its files, folder


def _by_split(fetched: Fetched) -> dict[str, list[Path]]:
    """Split -> files: by file name (train.jsonl, test-00000-of-00001.parquet); what names no split is training data."""
    splits: dict[str, list[Path]] = {}
    for patterns, folder in fetched:
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                splits.setdefault(SPLIT_NAMES.get(re.split(r"[.-]", path.name)[0], "train"), []).append(path)
    return splits


def _write_table(path: Path, header: list[str], rows: Iterable[Iterable[Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        # a line break inside a text is a space to every tokenizer, and trouble to every reader of csv
        writer.writerows([" ".join(str(value).split()) for value in row] for row in rows)


def _to_beir(fetched: Fetched, target: Path) -> None:
    for part in ("corpus", "queries"):
        with open(target / f"{part}.jsonl", "w", encoding="utf-8") as file:
            for path in sorted((fetched[0][1] / part).glob("*")):
                for row in read_rows(path):
                    kept = {name: row.get(name) or "" for name in ("_id", "title", "text")}
                    file.write(json.dumps(kept, ensure_ascii=False) + "\n")
    (target / "qrels").mkdir()
    for path in fetched[1][1].glob("*.tsv"):
        (target / "qrels" / path.name).write_bytes(path.read_bytes())


def _to_sts(fetched: Fetched, target: Path) -> None:
    for split, paths in _by_split(fetched).items():
        rows = ((row["sentence1"], row["sentence2"], row["score"]) for path in paths for row in read_rows(path))
        _write_table(target / f"{split}.csv", ["sentence1", "sentence2", "score"], rows)


def _to_classification(fetched: Fetched, target: Path) -> None:
    for split, paths in _by_split(fetched).items():
        rows = ((row["text"], row["label_text"]) for path in paths for row in read_rows(path))
        _write_table(target / f"{split}.csv", ["text", "category"], rows)


def _to_sets(fetched: Fetched, target: Path) -> None:
    sets = [row["set"] for paths in _by_split(fetched).values() for path in paths for row in read_rows(path)]
    width = max(map(len, sets))
    _write_table(
        target / "train.csv", [f"cap{i + 1}" for i in range(width)], (row for row in sets if len(row) == width)
    )


def _to_pairs(fetched: Fetched, target: Path) -> None:
    def texts(row: dict[str, Any]) -> tuple[str, str, str] | None:
        """(anchor, positive, negative), the first of several; an instruction before a text (MEDI) is left out."""
        names = [
            next((name for name in names if name in row), None)
            for names in (("anchor", "query"), ("positive", "pos"), ("negative", "neg"))
        ]
        values = [_first(row[name]) if name else "" for name in names]
        return (values[0], values[1], values[2]) if values[0] and values[1] else None

    for split, paths in _by_split(fetched).items():
        rows = (found for path in paths for row in read_rows(path) if (found := texts(row)))
        _write_table(target / f"{split}.csv", ["anchor", "positive", "negative"], rows)


def _first(value: Any) -> str:
    """The text of "text", ["instruction", "text"] or [["instruction", "text"], …]."""
    if isinstance(value, list):
        if not value:
            return ""
        return _first(value[0]) if isinstance(value[0], list) else str(value[-1])
    return str(value or "")


LAYOUTS = {
    "beir": _to_beir,
    "sts": _to_sts,
    "classification": _to_classification,
    "sets": _to_sets,
    "pairs": _to_pairs,
}
