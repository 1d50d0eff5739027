"""Token ids to layer-wise embeddings in micro-batches, and where they are kept on disk."""

from __future__ import annotations

import contextlib
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.models import layers as running
from mrl_tutorial.progress import Ticker

Progress = Callable[[int, int, str], None]
TOKENS = 1024  # padded tokens in an encoding micro-batch: what a block makes of them stays in the processor's cache
CHECKSUM = 4  # bytes


def encode_tokens(
    model: Any, token_ids: Sequence[Sequence[int]], pad_id: int, layers: Sequence[int], pooling: str, precision: str,
    progress: Progress | None = None,
) -> np.ndarray:  # fmt: skip
    """Pooled vectors of each text after each of `layers` (0: the embedding table): (len(layers), N, D) float32."""
    if without := [i for i, ids in enumerate(token_ids) if not len(ids)]:
        raise InputError(f"text {without[0]} has no tokens, so it has no vector: leave it out")
    out = np.empty((len(layers), len(token_ids), model.config.hidden_size), dtype=np.float32)
    ticker, done, run = Ticker(progress), 0, running.EarlyExit(model, layers)
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            for group in running.micro_batches([len(ids) for ids in token_ids], TOKENS):
                ids, mask = running.pad([token_ids[i] for i in group], pad_id)
                for row, hidden in enumerate(run(ids, mask)):
                    out[row, group] = running.pool(hidden, mask, pooling).numpy()
                done += len(group)
                ticker(done, len(token_ids), "encoding")
    finally:
        ticker.close()
    return out


def kept(name: str, shape: Sequence[int], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of `shape` that `compute()` gives, kept in the cache as `name` and memory-mapped when it is asked for
    again. A file that is damaged, or of another shape, is made again."""
    path = files.cache_dir("embeddings") / f"{name}.npy"
    if path.exists():
        try:
            return _sound(path, shape)
        except Exception:  # damaged, however that shows
            with contextlib.suppress(OSError):
                path.unlink()
    out = compute()
    try:
        with files.whole_file(path) as temporary, open(temporary, "wb") as file:
            np.save(file, out)
            file.write(zlib.crc32(out.data).to_bytes(CHECKSUM, "little"))  # behind the array, where readers of .npy stop
    except OSError as error:
        warnings.warn(f"embeddings were not cached: {error} as MRL_CACHE", stacklevel=4)
    return out


def _sound(path: Path, shape: Sequence[int]) -> np.ndarray:
    """The array of a file, memory-mapped. Raises ValueError, or what numpy raises, where it is not what was written.
    Files of earlier versions have no checksum."""
    array = np.load(path, mmap_mode="r")
    if array.shape != tuple(shape) or array.dtype != np.float32:
        raise ValueError(f"{array.dtype} {array.shape}")
    with open(path, "rb") as file:
        file.seek(array.offset + array.nbytes)
        checksum = file.read()
    if checksum and int.from_bytes(checksum, "little") != zlib.crc32(array.data):
        raise ValueError("its checksum differs")
    return array


def listed(texts: Iterable[str]) -> list[str]:
    """The texts as a list. Raises InputError for what holds anything but strings."""
    if isinstance(texts, str):
        raise InputError("texts is one string: give a list of strings")
    if not isinstance(texts, Iterable):
        raise InputError(f"{texts!r:.60} cannot be encoded: give a list of strings")
    found = list(texts)
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise InputError(f"text {i} is {type(text).__name__}, not a string: {text!r:.60}")
    return found
