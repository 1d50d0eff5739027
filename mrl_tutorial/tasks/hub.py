"""Public data sets from the Hugging Face hub, at pinned revisions.

huggingface_hub downloads files into its own cache, and no network is needed from then on. Our cache keeps the list of
those that make a set whole, written before the download, so that half of a set is never taken for all of it.
`datasets.load_dataset` would give the revision that it read last where there is no network, and cannot read lines that
are bare lists (captions).
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.beir import read_beir
from mrl_tutorial.tasks.folders import task_of_tables
from mrl_tutorial.tasks.formats import SPLIT_NAMES, Record, Reshape
from mrl_tutorial.tasks.tables import Table, instructed, read_table
from mrl_tutorial.tasks.task import Task

ANSWER_SECONDS = 5.0  # how long a hub may take to answer before we say that it does not


class Source(NamedTuple):
    """Files of one repository, by patterns, at one revision."""

    repository: str
    revision: str
    patterns: tuple[str, ...]


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
    "medi-instructed": _tables("GritLM/MEDI", "2cc8d9af4ae3e394e72278d8cdc10199044204f4", "*.jsonl"),
}


def describe(name: str) -> str:
    """Where the set comes from: the hub's repositories and revisions, or a folder where the hub has none."""
    if name not in SETS:
        return f"$MRL_DATA/{name}"
    return "hub: " + ", ".join(f"{source.repository}@{source.revision[:7]}" for source in SETS[name])


def task_from_hub(name: str, limit: int | None = None) -> Task:
    """The task of a set, fetched if it is not here; limit as for `task_from_path`. Raises InputError in one line where
    the hub has no such set or does not answer, where the network is off limits, and for a damaged file."""
    remedy = f"put the files in $MRL_DATA/{name}"
    if name not in SETS:
        needed = "corpus.jsonl, queries.jsonl, qrels/test.tsv"
        raise InputError(f"{name}: the hub has no copy that we know of; {remedy} ({needed})")
    paths, *judgments = cached(name) or fetch(name, remedy)
    try:
        if judgments:
            corpus, queries = ([path for path in paths if path.parent.name == part] for part in ("corpus", "queries"))
            return read_beir(corpus, queries, judgments[0], name, describe(name))
        tables: dict[str, list[Table]] = defaultdict(list)
        for path in paths:  # train.jsonl, test-00000-of-00001.parquet; what names no split is training data
            split = SPLIT_NAMES.get(re.split(r"[.-]", path.name)[0], "train")
            tables[split].append(read_table(path, RESHAPED.get(name, one_line)))
        return task_of_tables(tables, name, describe(name), limit)
    except InputError as error:
        problem = str(error).rpartition(";")[0] or error
        again = "delete the file and what it links to, so that it is fetched again"
        raise InputError(f"{name}: {problem}; {again}, or {remedy}") from error


def cached(name: str) -> list[list[Path]] | None:
    """The set's files, a list for each source, if all of them were fetched before and are still there."""
    try:
        listing = json.loads(_listing(name).read_text(encoding="utf-8"))
        from huggingface_hub import try_to_load_from_cache

        look: Any = partial(try_to_load_from_cache, repo_type="dataset")
        return [
            [Path(look(source.repository, file, revision=source.revision)) for file in names]
            for source, names in zip(SETS[name], listing, strict=True)
        ]
    except (KeyError, OSError, ValueError, TypeError):  # the last where a path is None
        return None


def fetch(name: str, remedy: str) -> list[list[Path]]:
    """Download the set; the files as `cached` gives them. Raises InputError, with the remedy, where the hub has no such
    files or does not answer, or is off limits."""
    from huggingface_hub import HfApi

    from mrl_tutorial.models.download import first_remedy, offline

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or None)
    problem = "no answer: "
    try:
        if offline():
            raise ConnectionError("HF_HUB_OFFLINE is set; unset it")
        wanted = [_wanted(api, source) for source in SETS[name]]
        files.write_json(_listing(name), wanted)
        problem = "broken off: "
        for (repository, revision, _), names in zip(SETS[name], wanted, strict=True):
            options: dict[str, Any] = {"revision": revision, "allow_patterns": names, "etag_timeout": ANSWER_SECONDS}
            api.snapshot_download(repository, repo_type="dataset", **options)
        found = cached(name)
        if found is None:
            raise ConnectionError("not every file came")
        return found
    except InputError as error:
        raise InputError(f"{name}: {error}; {remedy}") from error
    except Exception as error:  # the client's errors differ between its versions; all say that we have no files
        response, first = getattr(error, "response", None), first_remedy(error)
        reason = f"{'' if first else problem}{' '.join(str(error).split())[:160]}"
        if response is not None:
            reason = f"HTTP {response.status_code} for {response.url}"
        remedy = f"{first + ', or ' if first else ''}{remedy}, or try again with a network"
        raise InputError(f"{name}: cannot be downloaded from {api.endpoint} ({reason}); {remedy}") from error


def _wanted(api: Any, source: Source) -> list[str]:
    """The files of the hub that match the patterns. Raises InputError where a pattern has none."""
    # asked once, to be answered soon: a download is more patient
    info = api.dataset_info(source.repository, revision=source.revision, timeout=ANSWER_SECONDS)
    wanted = []
    for pattern in source.patterns:
        names = [file.rfilename for file in info.siblings or ()]
        names = [name for name in names if fnmatch(name, pattern) and name.count("/") == pattern.count("/")]
        if not names:
            raise InputError(f"{source.repository} has no {pattern} at {source.revision[:7]}")
        wanted += names
    return sorted(wanted)


def _listing(name: str) -> Path:
    """Where the list of a set's files is kept."""
    return files.cache_dir("hub") / f"{name}-{files.key(SETS[name])}.json"


def one_line(record: Record) -> Record:
    """The record with each run of white space in its texts as one space, which is how a tokenizer takes it."""
    return {name: " ".join(value.split()) if isinstance(value, str) else value for name, value in record.items()}


def _five_captions(record: Record) -> Record | None:
    """The captions of an image that has five of them."""
    captions = record.get("set") or []
    return one_line({f"cap{i}": text for i, text in enumerate(captions)}) if len(captions) == 5 else None


RESHAPED: dict[str, Reshape] = {
    "captions": _five_captions,
    "medi": partial(instructed, keep=False),
    "medi-instructed": instructed,
}
