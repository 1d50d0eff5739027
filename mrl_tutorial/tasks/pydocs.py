"""pydocs, the text task that comes with the course: documentation of scientific Python libraries.

Query = the first sentence of a docstring, document = the rest, labels = package and module. The corpus was harvested
once (`python -m tools.harvest`) and is frozen in `data/pydocs/`, so that every machine has the same texts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.formats import read_records
from mrl_tutorial.tasks.task import SPLITS
from mrl_tutorial.tasks.types import ClassificationTask, RetrievalTask

COLUMNS = ("name", "package", "module", "query", "document", "group", "split")


def read_corpus() -> tuple[list[dict[str, Any]], str]:
    """The corpus, a dict of `COLUMNS` a document, and one line that says what it is. Raises InputError where a file is
    missing or damaged."""
    folder = files.data_file("pydocs")
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        rows = [row for _, row in read_records(folder / "corpus.jsonl.gz")]
        found, libraries = fingerprint(rows), len(about["versions"])
        if found != about["fingerprint"]:
            raise ValueError(f"fingerprint {found} where {about['fingerprint']} belongs")
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "restore the folder from the repository, or install the package again"
        raise InputError(f"{folder}: the corpus is damaged ({' '.join(str(error).split())}); {remedy}") from error
    return rows, f"pydocs: {len(rows):,} documents of {libraries} libraries, fingerprint {found}"


def fingerprint(rows: Sequence[dict[str, Any]]) -> str:
    """16 characters that stand for the names, labels, texts and splits of a corpus."""
    return files.key(*([row[column] for row in rows] for column in ("name", "module", "query", "document", "split")))


def load_retrieval() -> RetrievalTask:
    """The retrieval task: find the document that a first sentence belongs to, among those of all libraries."""
    rows, origin = read_corpus()
    # not the document's id: some evaluators skip a document with the id of its query
    ids = {row["name"]: f"q:{row['name']}" for row in rows}
    return RetrievalTask(
        "pydocs",
        origin,
        corpus={row["name"]: row["document"] for row in rows},
        queries={ids[row["name"]]: row["query"] for row in rows},
        qrels={query: {name: 1} for name, query in ids.items()},
        splits={split: [ids[row["name"]] for row in rows if row["split"] == split] for split in SPLITS},
        labels={level: [row[level] for row in rows] for level in ("package", "module")},
    )


def load_classification(level: str) -> ClassificationTask:
    """The classification task: which "package" or "module" does a document come from?"""
    rows, origin = read_corpus()
    splits = {split: [(row["document"], row[level]) for row in rows if row["split"] == split] for split in SPLITS}
    return ClassificationTask.of_rows(f"pydocs:{level}", origin, splits)
