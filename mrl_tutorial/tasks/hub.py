"""Public data sets from the Hugging Face hub, at pinned revisions.

The files stay as the hub has them; once they are in its cache, no network is needed. `$HF_ENDPOINT`, `$HF_HUB_OFFLINE`
and the hub's own cache are respected; with `$MRL_HUB_REVISION=main` the newest revision is taken.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.beir import read_beir
from mrl_tutorial.tasks.folders import task_from_tables
from mrl_tutorial.tasks.formats import SPLIT_NAMES, Record
from mrl_tutorial.tasks.hub_files import Source, cached, fetch
from mrl_tutorial.tasks.types import Task


def _beir(name: str, texts: str, qrels: str) -> tuple[Source, ...]:
    patterns = ("corpus/*.parquet", "queries/*.parquet")
    return Source(f"BeIR/{name}", texts, patterns), Source(f"BeIR/{name}-qrels", qrels, ("*.tsv",))


def _tables(repository: str, revision: str, pattern: str) -> tuple[Source, ...]:
    return (Source(repository, revision, (pattern,)),)


_SBERT = "sentence-transformers"
# name -> texts and judgments in BEIR layout, or one source of tables; the revisions are commits
SETS: dict[str, tuple[Source, ...]] = {
    "scifact": _beir("scifact", "b3b5335604bf5ee3c4447671af975ea25143d4f5", "2938d17dc3b09882fdb8c12bbbe2e2dc0e75a029"),
    "nfcorpus": _beir(
        "nfcorpus", "b5026a0e96e8a7ac4f95f482a596389289d46269", "a451b3b26d3ae1358f259c1a3a4dd61fcea35a65"
    ),
    "fiqa": _beir("fiqa", "979c07a7cb5ccc6ca009792241fa1250b98055dd", "252958f2d646e22cab6d0c72dd3f0d5de6d0655a"),
    "stsbenchmark": _tables("mteb/stsbenchmark-sts", "b0fddb56ed78048fa8b90373c8a3cfc37b684831", "*.jsonl.gz"),
    "banking77": _tables("mteb/banking77", "0fd18e25b25c072e09e0d92ab615fda904d66300", "*.jsonl"),
    "captions": _tables(
        f"{_SBERT}/embedding-training-data", "d04b167f2c7dfb6ac247a4b5781364ffd9a74bc2", "flickr30k_captions.jsonl.gz"
    ),
    "all-nli": _tables(f"{_SBERT}/all-nli", "d482672c8e74ce18da116f430137434ba2e52fab", "triplet/*.parquet"),
    "msmarco": _tables(f"{_SBERT}/msmarco-bm25", "6b1596a63475a7bf6d4d397d6b9f599ef3fc8d29", "triplet/*.parquet"),
    "medi": _tables("GritLM/MEDI", "2cc8d9af4ae3e394e72278d8cdc10199044204f4", "*.jsonl"),
}


def sources_of(name: str) -> tuple[Source, ...]:
    """The repositories of a set, each at its pinned revision or at `$MRL_HUB_REVISION`."""
    other = os.environ.get("MRL_HUB_REVISION")
    return tuple(replace(source, revision=other or source.revision) for source in SETS[name])


def describe(name: str) -> str:
    """Where the hub has the set: repositories and revisions, or that it has none.

    >>> describe("banking77")
    'hub: mteb/banking77@0fd18e2'
    """
    if name not in SETS:
        return f"$MRL_DATA/{name}"
    return "hub: " + ", ".join(f"{source.repository}@{source.revision[:7]}" for source in sources_of(name))


def is_here(name: str) -> bool:
    """Whether the whole set was fetched before."""
    return name in SETS and cached(name, sources_of(name)) is not None


def task_from_hub(name: str, limit: int | None = None) -> Task:
    """The task of a set of `SETS`, fetched if it is not here.

    limit: at most so many training rows of a task of pairs. Raises InputError in one line where the hub has no such set
    or does not answer, where the network is off limits, and for a damaged file.
    """
    remedy = f"put the files in $MRL_DATA/{name}"
    if name not in SETS:
        needed = "corpus.jsonl, queries.jsonl, qrels/test.tsv"
        raise InputError(f"{name}: the hub has no copy that we know of; {remedy} ({needed})")
    paths, *judgments = fetch(name, sources_of(name), remedy)
    try:
        if judgments:
            corpus, queries = ([path for path in paths if path.parent.name == part] for part in ("corpus", "queries"))
            return read_beir(corpus, queries, judgments[0], name, describe(name))
        splits: dict[str, list[Path]] = defaultdict(list)
        for path in paths:  # train.jsonl, test-00000-of-00001.parquet; what names no split is training data
            splits[SPLIT_NAMES.get(re.split(r"[.-]", path.name)[0], "train")].append(path)
        return task_from_tables(splits, name, describe(name), limit, RESHAPED.get(name, one_line))
    except InputError as error:
        problem = str(error).rpartition(";")[0]
        again = "delete the file and what it links to, so that it is fetched again"
        raise InputError(f"{name}: {problem}; {again}, or {remedy}") from error


def one_line(record: Record) -> Record:
    """The record with each run of white space in its texts as one space, as a tokenizer takes it.

    >>> one_line({"text": "two\\nlines", "label": 1})
    {'text': 'two lines', 'label': 1}
    """
    return {name: " ".join(value.split()) if isinstance(value, str) else value for name, value in record.items()}


def _five_captions(record: Record) -> Record | None:
    """The captions of an image that has five of them."""
    captions = record.get("set") or []
    return one_line({f"cap{i}": text for i, text in enumerate(captions)}) if len(captions) == 5 else None


def _without_instructions(record: Record) -> Record:
    """Anchor, positive and the first negative, without the instruction before each text."""
    names = {"anchor": "query", "positive": "pos", "negative": "neg"}
    return one_line({name: _first_text(record.get(its)) for name, its in names.items()})


def _first_text(value: Any) -> str:
    """The text of "text", ["instruction", "text"] or [["instruction", "text"], …]."""
    while isinstance(value, list) and value:
        value = value[0] if isinstance(value[0], list) else value[-1]
    return str(value or "")


RESHAPED = {"captions": _five_captions, "medi": _without_instructions}
