"""How much memory a training step may take: what is left to this process, and what a text's tokens cost in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SYSTEM = Path("/")
#: name of a control group's files: its limit, what it uses, and the line of memory.stat that it could give up
GROUPS = {
    "sys/fs/cgroup/memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
    "sys/fs/cgroup": ("memory.max", "memory.current", "inactive_file"),  # version 2
}


def memory_left(system: Path = SYSTEM) -> int | None:
    """Bytes that this process may still take: what the machine has available, or less where a control group (a
    container's, a Binder server's) allows less. None on a system that does not say (only Linux does). system: where the
    files of the system are.
    """
    found = [_available(system / "proc/meminfo")]
    for mount, names in GROUPS.items():
        for folder in _folders(system, mount):
            found.append(_left_in(folder, *names))
    known = [n for n in found if n is not None]
    return max(0, min(known)) if known else None


def bytes_per_token(config: Any, layers: int, max_tokens: int) -> int:
    """What a token's way through `layers` blocks leaves in memory for the backward pass, in float32, roughly.

    A block keeps about 14 vectors of the model's width, 3 of the feed-forward's, and 4 rows of attention for each head.

    >>> from types import SimpleNamespace
    >>> minilm = SimpleNamespace(hidden_size=384, intermediate_size=1536, num_attention_heads=12)
    >>> bytes_per_token(minilm, 6, 64)
    313344
    """
    width = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", 4 * width))
    heads = int(getattr(config, "num_attention_heads", 12))
    return 4 * layers * (14 * width + 3 * inner + 4 * heads * max_tokens)


def tokens_that_fit(config: Any, layers: int, max_tokens: int, left: int | None = None) -> int | None:
    """How many padded tokens a backward pass may hold: half of the memory left, so that weights, optimizer and loss
    have the other half. left: bytes, a GPU's, say; by default this process's. None where nothing is known of the
    memory: then there is no limit. Processes that a launcher has started on this machine share its memory.
    """
    if left is None and (left := memory_left()) is not None:
        left //= int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return None if left is None else left // 2 // bytes_per_token(config, layers, max_tokens)


def _available(meminfo: Path) -> int | None:
    lines = _text(meminfo).splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _folders(system: Path, mount: str) -> list[Path]:
    """The control group of this process below `mount`, and those around it."""
    controller = "memory" if mount.endswith("memory") else ""
    folders = [system / mount]
    for line in _text(system / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            inner = Path(path.lstrip("/"))
            folders += [system / mount / part for part in (inner, *inner.parents) if part != Path(".")]
    return folders


def _left_in(folder: Path, limit: str, usage: str, spare: str) -> int | None:
    allowed, used = _text(folder / limit).strip(), _text(folder / usage).strip()
    if not allowed.isdigit() or not used.isdigit():  # no such group, or "max"
        return None
    stat = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
    return int(allowed) - int(used) + int(stat.get(spare, 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
