"""Public data sets from the Hugging Face hub, rewritten once to the layouts that readers.py knows.

A set is fetched at a pinned revision, converted, and kept in the cache as one folder, whole or not at all; afterwards no
network is asked. `$HF_ENDPOINT`, `$HF_HUB_OFFLINE` and the hub's own cache are respected.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import store
from .errors import InputError
from .readers import SPLIT_NAMES

VERSION = 1  # of the conversion
ANSWER_SECONDS = 5.0  # how long a hub may take to answer before we say that it does not


@dataclass(frozen=True)
class Source:
    """Files of one repository at one commit."""

    repository: str
    revision: str
    files: tuple[str, ...]


# name -> (layout, sources). Revisions are commits named in public pins of these sets; with
# $MRL_HUB_REVISION=main the newest is taken instead.
_FLAT = "sentence-transformers"
SETS: dict[str, tuple[str, tuple[Source, ...]]] = {
    "scifact": ("beir", (
        Source("BeIR/scifact", "b3b5335604bf5ee3c4447671af975ea25143d4f5", ("corpus/*.parquet", "queries/*.parquet")),
        Source("BeIR/scifact-qrels", "2938d17dc3b09882fdb8c12bbbe2e2dc0e75a029", ("*.tsv",)))),
    "nfcorpus": ("beir", (
        Source("BeIR/nfcorpus", "b5026a0e96e8a7ac4f95f482a596389289d46269", ("corpus/*.parquet", "queries/*.parquet")),
        Source("BeIR/nfcorpus-qrels", "a451b3b26d3ae1358f259c1a3a4dd61fcea35a65", ("*.tsv",)))),
    "fiqa": ("beir", (
        Source("BeIR/fiqa", "979c07a7cb5ccc6ca009792241fa1250b98055dd", ("corpus/*.parquet", "queries/*.parquet")),
        Source("BeIR/fiqa-qrels", "252958f2d646e22cab6d0c72dd3f0d5de6d0655a", ("*.tsv",)))),
    "stsbenchmark": ("sts", (
        Source("mteb/stsbenchmark-sts", "b0fddb56ed78048fa8b90373c8a3cfc37b684831", ("*.jsonl.gz",)),)),
    "banking77": ("classification", (
        Source("mteb/banking77", "0fd18e25b25c072e09e0d92ab615fda904d66300", ("*.jsonl",)),)),
    "captions": ("sets", (
        Source(f"{_FLAT}/embedding-training-data", "d04b167f2c7dfb6ac247a4b5781364ffd9a74bc2", ("flickr30k_captions.jsonl.gz",)),)),
    "all-nli": ("pairs", (
        Source(f"{_FLAT}/all-nli", "d482672c8e74ce18da116f430137434ba2e52fab", ("triplet/*.parquet",)),)),
    "msmarco": ("pairs", (
        Source(f"{_FLAT}/msmarco-bm25", "6b1596a63475a7bf6d4d397d6b9f599ef3fc8d29", ("triplet/*.parquet",)),)),
    "medi": ("pairs", (
        Source("GritLM/MEDI", "2cc8d9af4ae3e394e72278d8cdc10199044204f4", ("*.jsonl",)),)),
}


def _sources(name: str) -> tuple[Source, ...]:
    other = os.environ.get("MRL_HUB_REVISION")
    return tuple(Source(s.repository, other or s.revision, s.files) for s in SETS[name][1])


def describe(name: str) -> str:
    """Where the hub has the set: repositories and revisions, or that it has none."""
    if name not in SETS:
        return f"$MRL_DATA/{name}"
    return "hub: " + ", ".join(f"{source.repository}@{source.revision[:7]}" for source in _sources(name))


def _folder(name: str) -> Path:
    sources = [[source.repository, source.revision, source.files] for source in _sources(name)]
    return store.cache_dir("hub") / f"{name}-{store.key(VERSION, sources)}"


def cached(name: str) -> Path | None:
    """The set's folder in our cache, if it was fetched before."""
    return folder if name in SETS and (folder := _folder(name)).is_dir() else None


def fetch(name: str) -> Path:
    """The set as a folder in a layout of readers.py, fetched at its pinned revision if it is not in the cache.

    Raises InputError in one line where the hub has no such set, does not answer, or must not be asked.
    """
    if folder := cached(name):
        return folder
    place = f"put the files in $MRL_DATA/{name}"
    if name not in SETS:
        raise InputError(f"{name}: the hub has no copy that we know of; {place} (corpus.jsonl, queries.jsonl, qrels/test.tsv)")
    layout, _ = SETS[name]
    with store.whole_folder(_folder(name)) as target:
        _CONVERT[layout]([(source, _snapshot(name, source, place)) for source in _sources(name)], target)
    return _folder(name)


def _snapshot(name: str, source: Source, remedy: str) -> Path:
    """The source's files in the hub's own cache; downloaded where that is allowed and the hub answers."""
    from huggingface_hub import constants, snapshot_download

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    offline = constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
    silent = "" if offline else _silence(endpoint, source, constants)
    options: dict[str, Any] = {"repo_type": "dataset", "revision": source.revision, "allow_patterns": list(source.files)}
    reason = "HF_HUB_OFFLINE is set" if offline else silent
    try:
        folder = Path(snapshot_download(source.repository, **options, endpoint=endpoint, etag_timeout=ANSWER_SECONDS,
                                        max_workers=4, local_files_only=bool(reason)))
    except Exception as error:  # the client's errors differ between its versions; all say that we have no files
        reason = reason or " ".join(str(error).split())[:160]
        raise InputError(f"{name}: cannot be had from {endpoint} ({reason}); {remedy}, or try again with a network") from error
    if missing := _missing(folder, source):
        raise InputError(f"{name}: {source.repository} has no complete {missing} at {source.revision[:7]}"
                         f"{f' in the local cache ({reason})' if reason else ''}; {remedy}")
    return folder


def _silence(endpoint: str, source: Source, constants: Any) -> str:
    """Why the hub cannot be asked for the source, or "": one request that must be answered soon, before the client's
    own patient retries begin."""
    request = urllib.request.Request(f"{endpoint}/api/datasets/{source.repository}/revision/{source.revision}")
    token = os.environ.get("HF_TOKEN")
    if token and endpoint == constants.ENDPOINT.rstrip("/"):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code} for {source.repository} at {source.revision[:7]}"
    except (OSError, ValueError) as error:
        return f"no answer: {getattr(error, 'reason', error)}"


def _missing(folder: Path, source: Source) -> str:
    """The first pattern without files, or the first file whose other shards are not here."""
    for pattern in source.files:
        found = sorted(folder.glob(pattern))
        if not found:
            return pattern
        for path in found:
            if match := re.search(r"(.*)-\d{5}-of-(\d{5})\.", path.name):
                if len(list(path.parent.glob(f"{match[1]}-*-of-{match[2]}.*"))) != int(match[2]):
                    return path.name
    return ""


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


Fetched = list[tuple[Source, Path]]


def _by_split(fetched: Fetched) -> dict[str, list[Path]]:
    """Split -> files: by file name (train.jsonl, test-00000-of-00001.parquet); what names no split is training data."""
    splits: dict[str, list[Path]] = {}
    for source, folder in fetched:
        for pattern in source.files:
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
    _write_table(target / "train.csv", [f"cap{i + 1}" for i in range(width)], (row for row in sets if len(row) == width))


def _to_pairs(fetched: Fetched, target: Path) -> None:
    def texts(row: dict[str, Any]) -> tuple[str, str, str] | None:
        """One (anchor, positive, negative); an instruction before a text (MEDI) is left out, of several the first is taken."""
        names = [next((name for name in names if name in row), None)
                 for names in (("anchor", "query"), ("positive", "pos"), ("negative", "neg"))]
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


_CONVERT = {"beir": _to_beir, "sts": _to_sts, "classification": _to_classification, "sets": _to_sets, "pairs": _to_pairs}
