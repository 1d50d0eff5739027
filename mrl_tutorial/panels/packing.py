"""Tables for the browser: numbers, words and arrays packed into one piece of bytes, read by `web/tables.js`.

The piece is gzip over: the length of a JSON text (4 bytes, little-endian), that text, then the arrays, each at a
multiple of 8 bytes. In the text an array stands as {"$": [kind, shape, offset]}.
"""

from __future__ import annotations

import gzip
import json
import struct
from typing import Any

import numpy as np

KINDS = ("f4", "f8", "i2", "i4", "u1", "u2", "u4")


def pack(value: Any) -> bytes:
    """Dicts, lists, numbers, words and arrays as bytes. Raises TypeError for an array of another kind than `KINDS`,
    and for whole numbers beyond 32 bits.

    >>> unpack(pack({"layers": 6, "quality": np.zeros((2, 3), np.float32)}))["quality"].shape
    (2, 3)
    """
    arrays: list[bytes] = []
    size = 0

    def plain(x: Any) -> Any:
        nonlocal size
        if isinstance(x, dict):
            return {str(key): plain(item) for key, item in x.items()}
        if isinstance(x, list | tuple):
            return [plain(item) for item in x]
        if not isinstance(x, np.ndarray):
            return x.item() if isinstance(x, np.generic) else x
        kind = {"b1": "u1", "i8": "i4"}.get(x.dtype.str[1:], x.dtype.str[1:])
        if kind not in KINDS:
            raise TypeError(f"an array of {x.dtype} cannot be packed: make it one of {', '.join(KINDS)}")
        if x.dtype.kind == "i" and x.size and not -(2**31) <= x.min() <= x.max() < 2**31:
            raise TypeError(f"whole numbers from {x.min()} to {x.max()} cannot be packed: make them float64")
        data = np.ascontiguousarray(x).astype(f"<{kind}").tobytes()
        start, size = size, size + _whole(len(data))
        arrays.append(data.ljust(_whole(len(data)), b"\0"))
        return {"$": [kind, list(x.shape), start]}

    words = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    head = struct.pack("<I", len(words)) + words
    return gzip.compress(b"".join([head.ljust(_whole(len(head)), b"\0"), *arrays]), 6, mtime=0)


def unpack(packed: bytes) -> Any:
    """What was packed, as `web/tables.js` reads it."""
    raw = gzip.decompress(packed)
    (length,) = struct.unpack_from("<I", raw)
    start = _whole(4 + length)

    def read(item: dict[str, Any]) -> Any:
        if set(item) != {"$"}:
            return item
        kind, shape, offset = item["$"]
        return np.frombuffer(raw, f"<{kind}", int(np.prod(shape)), start + offset).reshape(shape)

    return json.loads(raw[4 : 4 + length], object_hook=read)


def fitting(rows: np.ndarray) -> np.ndarray:
    """Whole numbers in the smallest unsigned kind that holds them."""
    top = int(rows.max(initial=0))
    return rows.astype(np.uint8 if top < 2**8 else np.uint16 if top < 2**16 else np.uint32)


def _whole(size: int) -> int:
    return -(-size // 8) * 8
