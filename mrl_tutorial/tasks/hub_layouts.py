"""Files as the hub holds them -> the layouts that `folders.py` reads: a BEIR folder, or a csv for each split."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mrl_tutorial.tasks.formats import SPLIT_NAMES, read_records

Fetched = Sequence[tuple[Path, tuple[str, ...]]]  # of each repository: its folder, patterns of its files
Row = dict[str, Any]
REMEDY = "delete the file to have it fetched again"


def to_beir(fetched: Fetched, target: Path) -> None:
    """corpus/ and queries/ of the first repository as json lines, the qrels of the second as they are."""
    (texts, _), (qrels, _) = fetched
    for part in ("corpus", "queries"):
        with open(target / f"{part}.jsonl", "w", encoding="utf-8") as file:
            for path in sorted((texts / part).glob("*")):
                for _, row in read_records(path, REMEDY):
                    kept = {name: row.get(name) or "" for name in ("_id", "title", "text")}
                    file.write(json.dumps(kept, ensure_ascii=False) + "\n")
    (target / "qrels").mkdir()
    for path in qrels.glob("*.tsv"):
        shutil.copyfile(path, target / "qrels" / path.name)


def to_tables(header: Sequence[str], values: Callable[[Row], Sequence[Any] | None]) -> Callable[[Fetched, Path], None]:
    """A converter that writes a csv for each split: under the header, `values` of each row, none where that is None."""

    def convert(fetched: Fetched, target: Path) -> None:
        for split, paths in _by_split(fetched).items():
            with open(target / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(header)
                for row in _rows(paths):
                    if (found := values(row)) is not None:
                        # a line break inside a text is a space to every tokenizer, and trouble to every reader of csv
                        writer.writerow([" ".join(str(value).split()) for value in found])

    return convert


def _rows(paths: Sequence[Path]) -> Iterator[Row]:
    for path in paths:
        for _, row in read_records(path, REMEDY):
            yield row


def _by_split(fetched: Fetched) -> dict[str, list[Path]]:
    """Split -> files: by file name (train.jsonl, test-00000-of-00001.parquet); what names no split is training data."""
    splits: dict[str, list[Path]] = defaultdict(list)
    for folder, patterns in fetched:
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)):
                splits[SPLIT_NAMES.get(re.split(r"[.-]", path.name)[0], "train")].append(path)
    return splits


def _five_captions(row: Row) -> Sequence[str] | None:
    return row["set"] if len(row["set"]) == 5 else None


def _triplet(row: Row) -> Sequence[str] | None:
    """(anchor, positive, negative), the first of several; an instruction before a text (MEDI) is left out."""
    columns = (("anchor", "query"), ("positive", "pos"), ("negative", "neg"))
    values = [_first_text(next((row[name] for name in names if name in row), "")) for names in columns]
    return values if values[0] and values[1] else None


def _first_text(value: Any) -> str:
    """The text of "text", ["instruction", "text"] or [["instruction", "text"], …]."""
    if isinstance(value, list):
        if not value:
            return ""
        return _first_text(value[0]) if isinstance(value[0], list) else str(value[-1])
    return str(value or "")


CONVERTERS: dict[str, Callable[[Fetched, Path], None]] = {
    "beir": to_beir,
    "sts": to_tables(
        ("sentence1", "sentence2", "score"), lambda row: (row["sentence1"], row["sentence2"], row["score"])
    ),
    "classification": to_tables(("text", "category"), lambda row: (row["text"], row["label_text"])),
    "sets": to_tables(("cap1", "cap2", "cap3", "cap4", "cap5"), _five_captions),
    "pairs": to_tables(("anchor", "positive", "negative"), _triplet),
}
