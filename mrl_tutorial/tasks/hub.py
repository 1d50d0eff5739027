"""Public data sets from the Hugging Face hub, at pinned revisions.

A set is downloaded by huggingface_hub, rewritten once to a layout that `folders.py` reads, and kept in the cache as one
folder, whole or not at all; after that no network is needed. `$HF_ENDPOINT`, `$HF_HUB_OFFLINE` and the hub's own cache
are respected.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.hub_layouts import CONVERTERS

VERSION = 1  # of the conversion
ANSWER_SECONDS = 5.0  # how long a hub may take to answer before we say that it does not


@dataclass(frozen=True)
class Source:
    """Files of one repository, by patterns, at one commit."""

    repository: str
    revision: str
    files: tuple[str, ...]


def _beir(name: str, texts: str, qrels: str) -> tuple[str, tuple[Source, ...]]:
    patterns = ("corpus/*.parquet", "queries/*.parquet")
    return "beir", (Source(f"BeIR/{name}", texts, patterns), Source(f"BeIR/{name}-qrels", qrels, ("*.tsv",)))


def _single(layout: str, repository: str, revision: str, pattern: str) -> tuple[str, tuple[Source, ...]]:
    return layout, (Source(repository, revision, (pattern,)),)


# name -> (layout, sources). The revisions are commits; with $MRL_HUB_REVISION=main the newest is taken instead.
_SBERT = "sentence-transformers"
SETS: dict[str, tuple[str, tuple[Source, ...]]] = {
    name: _beir(name, texts, qrels)
    for name, texts, qrels in (
        ("scifact", "b3b5335604bf5ee3c4447671af975ea25143d4f5", "2938d17dc3b09882fdb8c12bbbe2e2dc0e75a029"),
        ("nfcorpus", "b5026a0e96e8a7ac4f95f482a596389289d46269", "a451b3b26d3ae1358f259c1a3a4dd61fcea35a65"),
        ("fiqa", "979c07a7cb5ccc6ca009792241fa1250b98055dd", "252958f2d646e22cab6d0c72dd3f0d5de6d0655a"),
    )
} | {
    "stsbenchmark": _single("sts", "mteb/stsbenchmark-sts", "b0fddb56ed78048fa8b90373c8a3cfc37b684831", "*.jsonl.gz"),
    "banking77": _single("classification", "mteb/banking77", "0fd18e25b25c072e09e0d92ab615fda904d66300", "*.jsonl"),
    "captions": _single(
        "sets",
        f"{_SBERT}/embedding-training-data",
        "d04b167f2c7dfb6ac247a4b5781364ffd9a74bc2",
        "flickr30k_captions.jsonl.gz",
    ),
    "all-nli": _single("pairs", f"{_SBERT}/all-nli", "d482672c8e74ce18da116f430137434ba2e52fab", "triplet/*.parquet"),
    "msmarco": _single(
        "pairs", f"{_SBERT}/msmarco-bm25", "6b1596a63475a7bf6d4d397d6b9f599ef3fc8d29", "triplet/*.parquet"
    ),
    "medi": _single("pairs", "GritLM/MEDI", "2cc8d9af4ae3e394e72278d8cdc10199044204f4", "*.jsonl"),
}


def sources_of(name: str) -> tuple[Source, ...]:
    """The repositories of a set, each at its pinned revision or at `$MRL_HUB_REVISION`."""
    other = os.environ.get("MRL_HUB_REVISION")
    return tuple(replace(source, revision=other or source.revision) for source in SETS[name][1])


def describe(name: str) -> str:
    """Where the hub has the set: repositories and revisions, or that it has none.

    >>> describe("banking77")
    'hub: mteb/banking77@0fd18e2'
    """
    if name not in SETS:
        return f"$MRL_DATA/{name}"
    return "hub: " + ", ".join(f"{source.repository}@{source.revision[:7]}" for source in sources_of(name))


def _folder(name: str) -> Path:
    sources = [[source.repository, source.revision, source.files] for source in sources_of(name)]
    return files.cache_dir("hub") / f"{name}-{files.key(VERSION, sources)}"


def cached(name: str) -> Path | None:
    """The set's folder in our cache, if it was fetched before."""
    return folder if name in SETS and (folder := _folder(name)).is_dir() else None


def fetch(name: str) -> Path:
    """The set as a folder that `folders.py` reads, fetched at its pinned revision if it is not in the cache.

    Raises InputError in one line where the hub has no such set or does not answer, or where the network is off limits.
    """
    if folder := cached(name):
        return folder
    place = f"put the files in $MRL_DATA/{name}"
    if name not in SETS:
        raise InputError(
            f"{name}: the hub has no copy that we know of; {place} (corpus.jsonl, queries.jsonl, qrels/test.tsv)"
        )
    convert = CONVERTERS[SETS[name][0]]
    with files.whole_folder(_folder(name)) as target:
        folders = [(_snapshot(name, source, place), source.files) for source in sources_of(name)]
        try:
            convert(folders, target)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise InputError(f"{name}: {describe(name)} is not laid out as expected ({error!r}); {place}") from error
    return _folder(name)


def _snapshot(name: str, source: Source, remedy: str) -> Path:
    """The source's files in the hub's own cache; downloaded where that is allowed and the hub answers."""
    from huggingface_hub import constants, snapshot_download

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    offline = constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
    reason = "HF_HUB_OFFLINE is set" if offline else _why_silent(endpoint, source)
    try:
        folder = Path(
            snapshot_download(
                source.repository,
                repo_type="dataset",
                revision=source.revision,
                allow_patterns=list(source.files),
                endpoint=endpoint,
                etag_timeout=ANSWER_SECONDS,
                local_files_only=bool(reason),
            )
        )
    except Exception as error:  # the client's errors differ between its versions; all say that we have no files
        reason = reason or " ".join(str(error).split())[:160]
        raise InputError(
            f"{name}: cannot be downloaded from {endpoint} ({reason}); {remedy}, or try again with a network"
        ) from error
    if missing := _missing(folder, source):
        cache = f" in the local cache ({reason})" if reason else ""
        raise InputError(
            f"{name}: {source.repository} has no complete {missing} at {source.revision[:7]}{cache}; {remedy}"
        )
    return folder


def _why_silent(endpoint: str, source: Source) -> str:
    """Why the hub cannot be asked for the source, or "": one request that must be answered soon, before the patient
    retries of a download begin."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi(endpoint=endpoint).dataset_info(source.repository, revision=source.revision, timeout=ANSWER_SECONDS)
    except HfHubHTTPError as error:
        return f"HTTP {error.response.status_code} for {source.repository} at {source.revision[:7]}"
    except Exception as error:  # of whichever http library the client uses
        return f"no answer: {' '.join(str(error).split())[:160]}"
    return ""


def _missing(folder: Path, source: Source) -> str:
    """The first pattern without files, or the first file whose other shards are not here."""
    for pattern in source.files:
        found = sorted(folder.glob(pattern))
        if not found:
            return pattern
        for path in found:
            if (shard := re.search(r"(.*)-\d{5}-of-(\d{5})\.", path.name)) and len(
                list(path.parent.glob(f"{shard[1]}-*-of-{shard[2]}.*"))
            ) != int(shard[2]):
                return path.name
    return ""
