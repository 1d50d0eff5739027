"""How much memory a training step may take: what is left to this process, and what a text's tokens cost in it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

SYSTEM = Path("/")
#: control groups, by where they are: this process's own in /proc/self/cgroup, the files of its limit and of what it
#: uses, and the line of memory.stat with what it could give up
GROUPS = {
    "sys/fs/cgroup": (r"^0::/(.*)$", "memory.max", "memory.current", "inactive_file"),  # version 2
    "sys/fs/cgroup/memory": (  # version 1
        r"^\d+:(?:.*,)?memory(?:,.*)?:/(.*)$",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}


def memory_left(system: Path = SYSTEM) -> int | None:
    """Bytes that this process may still take: what the machine has available, or less where a control group (a
    container's, a Binder server's) or one around it allows less. None on a system that does not say (only Linux does).
    """
    found = [1024 * int(n) for n in re.findall(r"^MemAvailable: +(\d+)", _text(system / "proc/meminfo"), re.M)]
    for mount, (own, limit, usage, spare) in GROUPS.items():
        inner = Path(*re.findall(own, _text(system / "proc/self/cgroup"), re.M)[:1])
        for group in (system / mount / part for part in (inner, *inner.parents)):
            allowed, used = _text(group / limit).strip(), _text(group / usage).strip()
            if allowed.isdigit() and used.isdigit():  # else there is no such group, or its limit is "max"
                stat = dict(line.split() for line in _text(group / "memory.stat").splitlines())
                found.append(int(allowed) - int(used) + int(stat.get(spare, 0)))
    return max(0, min(found)) if found else None


def bytes_per_token(config: Any, layers: int, max_tokens: int) -> int:
    """What a token's way through `layers` blocks leaves in memory for the backward pass, in float32, roughly: for each
    block 14 vectors of the model's width, 3 of the feed-forward's, and 4 rows of attention for each head.

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
    """How many padded tokens a backward pass may hold: half of the memory left; weights, optimizer and loss have the
    other half. left: bytes, a GPU's, say; default: this process's share among those of its launcher. None: no limit is
    known."""
    if left is None and (left := memory_left()) is not None:
        left //= int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return None if left is None else left // 2 // bytes_per_token(config, layers, max_tokens)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
