"""Files: where caches live, keys of everything that shaped a result, and whole-or-nothing writing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import platformdirs
from safetensors import SafetensorError

from mrl_tutorial.errors import InputError

STALE = 3600.0  # seconds after which a half file is that of a process that was killed
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class NotWritten(InputError, OSError):
    """A file or folder that could not be written; what was there before still is."""

    def __init__(self, path: Path, error: Exception) -> None:
        number = getattr(error, "errno", None)
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        remedy = "give a place that can be written" if number in DENIED else "free some space, or give another place"
        super().__init__(f"{path} could not be written ({reason}): {remedy}")


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
        except Exception:
            pass  # damaged, however that shows: it is written again
    found: dict[str, Any] = dict(compute())
    with contextlib.suppress(OSError), whole_file(path) as temporary:
        np.savez_compressed(temporary, **found)
    return found


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Write to the temporary path that this yields; it replaces `path` only when the block ends without an error.

    Raises NotWritten, which is an InputError, where the disk is full or the folder cannot be written.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with whole_file(path) as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> path.read_text()
    'all of it'
    """
    path = Path(path)
    # same folder, so that the rename is atomic; same suffix, for writers that add one of their own
    temporary = path.with_name(f".{path.stem}.{uuid4().hex}{path.suffix}")
    try:
        with _saying(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _forget_stale(path, path.stem, path.suffix)
            temporary.touch()  # a folder that cannot be written shows before any work
            mode = temporary.stat().st_mode  # some writers make files that only their owner can read
            yield temporary
            temporary.chmod(mode)
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Fill the temporary folder that this yields; it becomes `path` (replacing an old one) only without an error.

    Raises NotWritten as `whole_file` does."""
    path = Path(path)
    temporary, old = (path.with_name(f".{path.name}.{uuid4().hex}") for _ in range(2))
    aside = old / path.name
    try:
        with _saying(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _forget_stale(path, path.name, "")
            temporary.mkdir()
            yield temporary
            try:
                old.mkdir()
                if path.exists():
                    os.replace(path, aside)
                os.replace(temporary, path)
            except BaseException:  # an interruption between the two is no reason to lose the old one
                if aside.exists() and not path.exists():
                    os.replace(aside, path)
                raise
    finally:
        for rubbish in (temporary, old):
            shutil.rmtree(rubbish, ignore_errors=True)


@contextlib.contextmanager
def _saying(path: Path) -> Iterator[None]:
    """Errors of writing `path` as NotWritten."""
    try:
        yield
    except NotWritten:
        raise
    except OSError as error:
        raise NotWritten(path, error) from error
    except SafetensorError as error:
        if "I/O error" not in str(error):
            raise
        raise NotWritten(path, error) from error


def _forget_stale(path: Path, before: str, after: str) -> None:
    """Remove the half files or folders of `path` that a killed process left, but not the only copy of a folder."""
    half = re.compile(re.escape(f".{before}.") + "[0-9a-f]{32}" + re.escape(after))
    with contextlib.suppress(OSError):
        for found in [item for item in os.scandir(path.parent) if half.fullmatch(item.name)]:
            only = found.is_dir() and not path.exists() and (Path(found) / path.name).exists()
            if time.time() - found.stat().st_mtime > STALE and not only:
                shutil.rmtree(found) if found.is_dir() else os.unlink(found)


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
