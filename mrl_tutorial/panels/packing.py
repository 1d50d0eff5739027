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

WHOLE = ("u1", "u2", "u4", "i2", "i4")  # the kinds of whole numbers, smallest first


def pack(value: Any) -> bytes:
    """Dicts, lists, numbers, words and arrays as bytes; whole numbers in the smallest kind that holds them all.

    Raises TypeError for an array of another kind than `WHOLE`, bool, float32 and float64, or with larger numbers.

    >>> unpack(pack({"layers": 6, "quality": np.zeros((2, 3), np.float32)}))["quality"].shape
    (2, 3)
    """
    arrays = bytearray()

    def as_json(x: Any) -> Any:
        if not isinstance(x, np.ndarray):
            return x.item()  # a number of numpy
        kind, start = _kind(x), len(arrays)
        arrays.extend(_padded(np.ascontiguousarray(x, f"<{kind}").tobytes()))
        return {"$": [kind, x.shape, start]}

    text = json.dumps(value, default=as_json, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return gzip.compress(_padded(struct.pack("<I", len(text)) + text) + arrays, 6, mtime=0)


def unpack(packed: bytes) -> Any:
    """What was packed, as `web/tables.js` reads it."""
    raw = gzip.decompress(packed)
    (length,) = struct.unpack_from("<I", raw)
    start = 4 + length + -(4 + length) % 8

    def read(item: dict[str, Any]) -> Any:
        if set(item) != {"$"}:
            return item
        kind, shape, offset = item["$"]
        return np.frombuffer(raw, f"<{kind}", int(np.prod(shape)), start + offset).reshape(shape)

    return json.loads(raw[4 : 4 + length], object_hook=read)


def _kind(x: np.ndarray) -> str:
    if x.dtype in (np.float32, np.float64):
        return x.dtype.str[1:]
    if x.dtype.kind not in "biu":
        raise TypeError(f"an array of {x.dtype} cannot be packed: make it float32, float64 or whole numbers")
    low, high = int(x.min(initial=0)), int(x.max(initial=0))
    for kind in WHOLE:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    raise TypeError(f"whole numbers from {low} to {high} cannot be packed: make them float64")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
