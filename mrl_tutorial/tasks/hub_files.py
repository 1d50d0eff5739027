"""Files of repositories on the Hugging Face hub: those of a whole set, or none.

huggingface_hub downloads files into its own cache. Ours keeps the list of those that make a set whole, written before
the download begins, so that half of a set is never taken for all of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mrl_tutorial import files
from mrl_tutorial.errors import InputError

ANSWER_SECONDS = 5.0  # how long a hub may take to answer before we say that it does not


@dataclass(frozen=True)
class Source:
    """Files of one repository, by patterns, at one revision."""

    repository: str
    revision: str
    patterns: tuple[str, ...]

    def wanted(self, offered: Sequence[str]) -> list[str]:
        """Those of the offered files that match a pattern. Raises InputError where a pattern has none, or a file lacks
        some of its shards.

        >>> Source("me/mine", "main", ("triplet/*.parquet",)).wanted(["a.md", "triplet/dev-00000-of-00001.parquet"])
        ['triplet/dev-00000-of-00001.parquet']
        """
        found = {
            pattern: [name for name in offered if fnmatch(name, pattern) and name.count("/") == pattern.count("/")]
            for pattern in self.patterns
        }
        absent = [pattern for pattern, names in found.items() if not names]
        wanted = sorted(name for names in found.values() for name in names)
        for name in wanted:
            if shard := re.fullmatch(r"(.*-)\d{5}(-of-(\d{5})\..*)", name):
                shards = [other for other in wanted if other.startswith(shard[1]) and other.endswith(shard[2])]
                absent += [name] * (len(shards) != int(shard[3]))
        if absent:
            raise InputError(f"{self.repository} has no complete {absent[0]} at {self.revision[:7]}")
        return wanted


def cached(name: str, sources: Sequence[Source]) -> list[list[Path]] | None:
    """The set's files, a list for each source, if all of them were fetched before and are still there."""
    try:
        names = json.loads(_listing(name, sources).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return _in_cache(sources, names)


def fetch(name: str, sources: Sequence[Source], remedy: str) -> list[list[Path]]:
    """The set's files, a list for each source, downloaded if they are not here.

    Raises InputError, with the remedy, where the hub has no such files or does not answer, or is off limits.
    """
    if found := cached(name, sources):
        return found
    from huggingface_hub import HfApi, constants

    api = HfApi(endpoint=(os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/"))
    listing = _listing(name, sources)

    def offered(source: Source) -> list[str]:
        # asked once, to be answered soon: a download is more patient
        info = api.dataset_info(source.repository, revision=source.revision, timeout=ANSWER_SECONDS)
        return [file.rfilename for file in info.siblings or ()]

    def snapshot(source: Source, **options: Any) -> Path:
        options |= {"repo_type": "dataset", "revision": source.revision}
        return Path(api.snapshot_download(source.repository, **options))

    def here(source: Source) -> list[str]:
        folder = snapshot(source, local_files_only=True)
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*")]

    try:
        if constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        names = [source.wanted(offered(source)) for source in sources]
        files.write_json(listing, names)
        for source, its in zip(sources, names, strict=True):
            snapshot(source, allow_patterns=its, etag_timeout=ANSWER_SECONDS)
        reason, found = "not every file came", _in_cache(sources, names)
    except InputError as error:
        raise InputError(f"{name}: {error}; {remedy}") from error
    except Exception as error:  # the client's errors differ between its versions; all say that we have no files
        response = getattr(error, "response", None)
        reason = f"no answer: {' '.join(str(error).split())[:160]}"
        if response is not None:
            reason = f"HTTP {response.status_code} for {response.url}"
        if not listing.exists():  # no list of ours says that they are incomplete: another program may have them whole
            with contextlib.suppress(Exception):
                found = _in_cache(sources, [source.wanted(here(source)) for source in sources])
    if not found:
        problem = f"cannot be downloaded from {api.endpoint} ({reason})"
        raise InputError(f"{name}: {problem}; {remedy}, or try again with a network")
    return found


def _listing(name: str, sources: Sequence[Source]) -> Path:
    return files.cache_dir("hub") / f"{name}-{files.key([astuple(source) for source in sources])}.json"


def _in_cache(sources: Sequence[Source], names: Sequence[Sequence[str]]) -> list[list[Path]] | None:
    """The files of these names in the hub's own cache, a list for each source; None if one is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = [
        [try_to_load_from_cache(source.repository, name, repo_type="dataset", revision=source.revision) for name in its]
        for source, its in zip(sources, names, strict=True)
    ]
    complete = all(isinstance(path, str) for its in found for path in its)
    return [[Path(str(path)) for path in its] for its in found] if complete else None
