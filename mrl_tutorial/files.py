"""Files: where caches live, keys of everything that shaped a result, and whole-or-nothing writing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import platformdirs

from mrl_tutorial.errors import InputError


def cache_dir(*parts: str) -> Path:
    """The cache folder, created; `parts` name a folder in it.

    It is `$MRL_CACHE`, else what the system keeps for that: `~/.cache/mrl-tutorial` (or `$XDG_CACHE_HOME`) on Linux.
    Raises InputError where it cannot be made.
    """
    base = os.environ.get("MRL_CACHE") or platformdirs.user_cache_path("mrl-tutorial", appauthor=False)
    folder = Path(base).expanduser().joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "set MRL_CACHE to a folder that can be written"
        raise InputError(f"the cache {folder} cannot be made ({error.strerror}): {remedy}") from error
    return folder


def key(*parts: Any) -> str:
    """A 16-character key of everything given: strings, numbers, lists, dicts and numpy arrays.

    >>> key("model", [1, 2]) == key("model", [1, 2]) != key("model", [1, 3])
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def remembered(folder: str, name: str, compute: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays that `compute()` gives; kept in the cache's `folder` as `name`, and from then on read there.

    name: a `key` of everything that shapes them. A file that cannot be read or written is computed anew.
    """
    path = cache_dir(folder) / f"{name}.npz"
    if path.exists():
        try:
            with np.load(path) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
            pass  # damaged: it is written again
    found: dict[str, Any] = dict(compute())
    with contextlib.suppress(OSError), whole_file(path) as temporary:
        np.savez_compressed(temporary, **found)
    return found


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Write to the temporary path that this yields; it replaces `path` only when the block ends without an error.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with whole_file(path) as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> path.read_text()
    'all of it'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # same folder, so that the rename is atomic; same suffix, for writers that add one of their own
    temporary = path.with_name(f".{path.stem}.{uuid4().hex}{path.suffix}")
    temporary.touch()  # a folder that cannot be written shows before any work
    mode = temporary.stat().st_mode  # some writers make files that only their owner can read
    try:
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Fill the temporary folder that this yields; it becomes `path` (replacing an old one) only without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (path.with_name(f".{path.name}.{uuid4().hex}") for _ in range(2))
    temporary.mkdir()
    try:
        yield temporary
        old.mkdir()
        if path.exists():
            os.replace(path, old / path.name)
        try:
            os.replace(temporary, path)
        except OSError:
            if (old / path.name).exists():
                os.replace(old / path.name, path)
            old.rmdir()
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented json, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def data_file(name: str) -> Path:
    """A file or folder of the course's data, e.g. "ledger.csv" or "published": beside the package in a wheel, in the
    folder `data/` of a clone.

    Raises InputError where it is in neither.
    """
    package = Path(__file__).resolve().parent
    places = (package / "data" / name, package.parent / "data" / name)
    for place in places:
        if place.exists():
            return place
    raise InputError(f"the course's data has no {name!r} (looked for {' and '.join(map(str, places))})")
