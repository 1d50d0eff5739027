"""Public data sets from the Hugging Face hub, rewritten once to the layouts that readers.py knows.

A set is fetched at a pinned revision, converted, and kept in the cache as one folder, whole or not at all; afterwards
no network is asked. `$HF_ENDPOINT`, `$HF_HUB_OFFLINE` and the hub's own cache are respected.
"""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.hub_layouts import LAYOUTS

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
    "scifact": (
        "beir",
        (
            Source(
                "BeIR/scifact", "b3b5335604bf5ee3c4447671af975ea25143d4f5", ("corpus/*.parquet", "queries/*.parquet")
            ),
            Source("BeIR/scifact-qrels", "2938d17dc3b09882fdb8c12bbbe2e2dc0e75a029", ("*.tsv",)),
        ),
    ),
    "nfcorpus": (
        "beir",
        (
            Source(
                "BeIR/nfcorpus", "b5026a0e96e8a7ac4f95f482a596389289d46269", ("corpus/*.parquet", "queries/*.parquet")
            ),
            Source("BeIR/nfcorpus-qrels", "a451b3b26d3ae1358f259c1a3a4dd61fcea35a65", ("*.tsv",)),
        ),
    ),
    "fiqa": (
        "beir",
        (
            Source("BeIR/fiqa", "979c07a7cb5ccc6ca009792241fa1250b98055dd", ("corpus/*.parquet", "queries/*.parquet")),
            Source("BeIR/fiqa-qrels", "252958f2d646e22cab6d0c72dd3f0d5de6d0655a", ("*.tsv",)),
        ),
    ),
    "stsbenchmark": (
        "sts",
        (Source("mteb/stsbenchmark-sts", "b0fddb56ed78048fa8b90373c8a3cfc37b684831", ("*.jsonl.gz",)),),
    ),
    "banking77": (
        "classification",
        (Source("mteb/banking77", "0fd18e25b25c072e09e0d92ab615fda904d66300", ("*.jsonl",)),),
    ),
    "captions": (
        "sets",
        (
            Source(
                f"{_FLAT}/embedding-training-data",
                "d04b167f2c7dfb6ac247a4b5781364ffd9a74bc2",
                ("flickr30k_captions.jsonl.gz",),
            ),
        ),
    ),
    "all-nli": (
        "pairs",
        (Source(f"{_FLAT}/all-nli", "d482672c8e74ce18da116f430137434ba2e52fab", ("triplet/*.parquet",)),),
    ),
    "msmarco": (
        "pairs",
        (Source(f"{_FLAT}/msmarco-bm25", "6b1596a63475a7bf6d4d397d6b9f599ef3fc8d29", ("triplet/*.parquet",)),),
    ),
    "medi": ("pairs", (Source("GritLM/MEDI", "2cc8d9af4ae3e394e72278d8cdc10199044204f4", ("*.jsonl",)),)),
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
    return files.cache_dir("hub") / f"{name}-{files.key(VERSION, sources)}"


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
        raise InputError(
            f"{name}: the hub has no copy that we know of; {place} (corpus.jsonl, queries.jsonl, qrels/test.tsv)"
        )
    layout, _ = SETS[name]
    with files.whole_folder(_folder(name)) as target:
        fetched = [(source.files, _snapshot(name, source, place)) for source in _sources(name)]
        try:
            LAYOUTS[layout](fetched, target)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
            raise InputError(f"{name}: {describe(name)} is not as we know it ({error!r}); {place}") from error
    return _folder(name)


def _snapshot(name: str, source: Source, remedy: str) -> Path:
    """The source's files in the hub's own cache; downloaded where that is allowed and the hub answers."""
    from huggingface_hub import constants, snapshot_download

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    offline = constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
    silent = "" if offline else _silence(endpoint, source, constants)
    options: dict[str, Any] = {
        "repo_type": "dataset",
        "revision": source.revision,
        "allow_patterns": list(source.files),
    }
    reason = "HF_HUB_OFFLINE is set" if offline else silent
    try:
        folder = Path(
            snapshot_download(
                source.repository,
                **options,
                endpoint=endpoint,
                etag_timeout=ANSWER_SECONDS,
                max_workers=4,
                local_files_only=bool(reason),
            )
        )
    except Exception as error:  # the client's errors differ between its versions; all say that we have no files
        reason = reason or " ".join(str(error).split())[:160]
        raise InputError(
            f"{name}: cannot be had from {endpoint} ({reason}); {remedy}, or try again with a network"
        ) from error
    if missing := _missing(folder, source):
        raise InputError(
            f"{name}: {source.repository} has no complete {missing} at {source.revision[:7]}"
            f"{f' in the local cache ({reason})' if reason else ''}; {remedy}"
        )
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
