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
import warnings
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


def cache_dir(*parts: str, make: bool = True) -> Path:
    """A folder in the cache: in `$MRL_CACHE`, else where the system keeps it (`~/.cache/mrl-tutorial` on Linux). It is
    made, unless make=False.

    Raises InputError where it cannot be made."""
    base = os.environ.get("MRL_CACHE") or platformdirs.user_cache_path("mrl-tutorial", appauthor=False)
    folder = Path(base).expanduser().joinpath(*parts)
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"the cache {folder} cannot be made ({error.strerror})"
        raise InputError(f"{problem}: set MRL_CACHE to a folder that can be written") from error
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


def remembered(
    folder: str, name: str, compute: Callable[[], Mapping[str, np.ndarray]], shipped: str | None = None
) -> dict[str, np.ndarray]:
    """The arrays that `compute()` gives; kept in the cache's `folder` as `name`, and from then on read there. What
    comes with the course, in the same folder of its data as `shipped` (default: `name`), is not computed even once.

    name: a `key` of everything that shapes them. What cannot be read is computed anew, and need not be kept.
    """
    path = cache_dir(folder, make=False) / f"{name}.npz"
    for place in (*_places(f"{folder}/{shipped or name}.npz"), path):
        # not there, or damaged, however that shows: written again
        with contextlib.suppress(Exception), np.load(place) as stored:
            return dict(stored)
    found: dict[str, Any] = dict(compute())
    try:
        with whole_file(path) as temporary:
            np.savez_compressed(temporary, **found)
    except OSError as error:  # a cache may be there to be read alone
        warnings.warn(f"{folder} were not cached: {error} as MRL_CACHE", stacklevel=2)
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
    with _beside(path, path.suffix) as temporary:  # the same suffix, for writers that add one of their own
        temporary.touch()  # a folder that cannot be written shows before any work
        mode = temporary.stat().st_mode  # some writers make files that only their owner can read
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Fill the temporary folder that this yields; it becomes `path` (replacing an old one) only without an error.

    Raises NotWritten as `whole_file` does, and InputError for the working directory."""
    path = Path(path).absolute()  # "." has no name
    if path == Path.cwd():
        raise InputError(f"{path} is the folder you work in, which cannot be replaced: give one inside it")
    with _beside(path) as temporary, _beside(path) as old:
        aside = old / path.name
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


@contextlib.contextmanager
def _beside(path: Path, suffix: str = "") -> Iterator[Path]:
    """A name in the folder of `path`, so that a rename is atomic, for what is gone when the block ends; what a killed
    process left under such a name goes as well. Errors of writing become NotWritten."""
    stem = path.name.removesuffix(suffix)
    temporary = path.with_name(f".{stem}.{uuid4().hex}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = re.compile(re.escape(f".{stem}.") + "[0-9a-f]{32}" + re.escape(suffix))
        with contextlib.suppress(OSError):
            for left in [item for item in path.parent.iterdir() if half.fullmatch(item.name)]:
                only_copy = (left / path.name).exists() and not path.exists()
                if time.time() - left.stat().st_mtime > STALE and not only_copy:
                    _remove(left)
        yield temporary
    except NotWritten:
        raise
    except (OSError, SafetensorError) as error:
        if isinstance(error, SafetensorError) and "I/O error" not in str(error):
            raise
        raise NotWritten(path, error) from error
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented json, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def data_file(name: str) -> Path:
    """A file or folder of the course's data, e.g. "ledger.csv": beside the package in a wheel, in `data/` of a clone.

    Raises InputError where it is in neither."""
    places = _places(name)
    for place in places:
        if place.exists():
            return place
    raise InputError(f"the course's data has no {name!r} (looked for {' and '.join(map(str, places))})")


def _places(name: str) -> list[Path]:
    package = Path(__file__).resolve().parent
    return [folder / "data" / name for folder in (package, package.parent)]
