"""Token ids to layer-wise embeddings in micro-batches, and where they are kept on disk."""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.models import layers as running
from mrl_tutorial.progress import Ticker

if TYPE_CHECKING:
    from mrl_tutorial.models.encoder import Encoder

Progress = Callable[[int, int, str], None]
TOKENS = 1024  # padded tokens in an encoding micro-batch: what a block makes of them stays in the processor's cache
TOKENS_ON_GPU = 2**15  # there, large products are the fast ones
SHARD_TEXTS, SHARD_BYTES = 2**13, 2**28  # texts that are tokenized and kept together, and what their vectors may take


def encode_tokens(
    encoder: Encoder,
    token_ids: Sequence[Sequence[int]],
    layers: Sequence[int],
    precision: str,
    progress: Progress,
    batch_size: int | None = None,
) -> np.ndarray:
    """Vectors of each text after each of `layers` (0: the embedding table): (len(layers), N, D) float32.

    batch_size: the most texts in a micro-batch. Raises InputError for one below 1, and for a text without tokens.
    """
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size {batch_size} is impossible: give a whole number from 1 up, or leave it out")
    if [] in token_ids:
        raise InputError(f"text {token_ids.index([])} has no tokens, so it has no vector: leave it out")
    out = np.empty((len(layers), len(token_ids), encoder.width), dtype=np.float32)
    model, device, done = encoder.model.to(encoder.device), encoder.device, 0
    if encoder.after is not None:
        encoder.after.to(device)
    lengths, budget = [len(ids) for ids in token_ids], TOKENS if device == "cpu" else TOKENS_ON_GPU
    run = running.EarlyExit(model, layers)
    with torch.inference_mode(), running.arithmetic(model, device, precision):
        for group in running.micro_batches(lengths, budget, batch_size):
            ids, mask = running.pad([token_ids[i] for i in group], encoder.pad_id, device)
            for row, hidden in enumerate(run(ids, mask)):
                out[row, group] = encoder.pooled(hidden, mask).cpu().numpy()
            done += len(group)
            progress(done, len(token_ids), "encoding")
    return out


def token_ids(tokenizer: Any, texts: Sequence[str], longest: int) -> Iterator[list[int]]:
    """The ids of each text, cut to `longest`; a few texts at a time, because a tokenizer notes much beside the ids."""
    for start in range(0, len(texts), 1024):
        yield from tokenizer(texts[start : start + 1024], truncation=True, max_length=longest)["input_ids"]


def tokenizer_key(tokenizer: Any) -> str:
    """A key of what a tokenizer makes of a text: vocabulary, normalization, splitting, special tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return files.key(type(tokenizer).__name__, tokenizer.get_vocab())
    rules = json.loads(backend.to_str())
    # truncation and padding are what the last call happened to ask for
    return files.key({name: rule for name, rule in rules.items() if name not in ("truncation", "padding")})


def sharded(
    name: str | None,
    shape: tuple[int, int, int],
    run: Callable[[int, int, Progress], np.ndarray],
    progress: Progress | None,
) -> np.ndarray:
    """The array (rows, N, D) of `shape` that `run(start, stop, tick)` gives for texts start to stop, a shard at a time.

    With a `name` it is kept in the cache, and comes memory-mapped. Of a large one each shard is kept as soon as it is
    done, so that no more than a shard is in memory, and a process that was killed goes on where it stopped.
    """
    rows, count, width = shape
    size = max(1, min(SHARD_TEXTS, SHARD_BYTES // (4 * rows * width)))
    starts, place = range(0, count, size), files.cache_dir("embeddings") if name else Path()

    def shard(start: int) -> np.ndarray:
        return run(start, min(start + size, count), lambda done, _, label: ticker(start + done, count, label))

    def part(start: int) -> np.ndarray:
        of_part = (rows, min(size, count - start), width)
        return shard(start) if count <= size else kept(place / f"{name}-{start}.npy", of_part, lambda: [shard(start)])

    with closing(Ticker(progress)) as ticker:
        if name is None:
            found = np.empty(shape, dtype=np.float32)
            for start in starts:
                found[:, start : start + size] = shard(start)
            return found
        found = kept(place / f"{name}.npy", shape, lambda: [part(start) for start in starts])
    if count > size and isinstance(found, np.memmap):  # the whole is there: its shards are not needed any more
        with suppress(OSError):
            for path in place.glob(f"{name}-*.npy"):
                path.unlink(missing_ok=True)
    return found


def kept(path: Path, shape: Sequence[int], compute: Callable[[], Sequence[np.ndarray]]) -> np.ndarray:
    """The array (rows, N, D) of `shape` that `compute()` gives, in parts along N; kept as `path`, and memory-mapped. A
    file that is damaged, or of another shape, is made again."""
    with suppress(Exception):  # not there, or damaged, however that shows
        return _sound(path, shape)
    parts = compute()
    try:
        with files.whole_file(path) as temporary, open(temporary, "wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
            np.lib.format.write_array_header_1_0(file, header)
            checksum = 0
            for data in (np.ascontiguousarray(part[row]).data for row in range(shape[0]) for part in parts):
                file.write(data)
                checksum = zlib.crc32(data, checksum)
            file.write(checksum.to_bytes(4, "little"))  # behind the array, where readers of .npy stop
        return np.load(path, mmap_mode="r")
    except OSError as error:
        warnings.warn(f"embeddings were not cached: {error} as MRL_CACHE", stacklevel=4)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)


def cut_out(name: str | None, n_layers: int, shape: tuple[int, int, int], rows: Sequence[int]) -> np.ndarray | None:
    """Layers `rows` cut out of the kept array `name` of all layers, (n_layers, N, D). None where none is kept, or where
    the rows are not neighbors from layer 1 on."""
    first, last = rows[0], rows[-1]
    if name is None or list(rows) != list(range(max(1, first), last + 1)):
        return None
    with suppress(Exception):
        return _sound(files.cache_dir("embeddings") / f"{name}.npy", (n_layers, *shape[1:]))[first - 1 : last]
    return None


def _sound(path: Path, shape: Sequence[int]) -> np.ndarray:
    """The array of a file, memory-mapped. Raises ValueError, or what numpy raises, where it is not what was written."""
    array = np.load(path, mmap_mode="r")
    with open(path, "rb") as file:
        file.seek(array.offset + array.nbytes)
        checksum = file.read()  # files of earlier versions have none
    sound = not checksum or int.from_bytes(checksum, "little") == zlib.crc32(array.data)
    if array.shape != tuple(shape) or array.dtype != np.float32 or not sound:
        raise ValueError(f"{array.dtype} {array.shape}, or its checksum differs")
    return array


def listed(texts: Iterable[str]) -> list[str]:
    """The texts as a list. Raises InputError for what holds anything but strings."""
    if isinstance(texts, str | bytes | Mapping) or not isinstance(texts, Iterable):
        raise InputError(f"{texts!r:.60} cannot be encoded: give a list of strings")
    found = list(texts)
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise InputError(f"text {i} is {type(text).__name__}, not a string: {text!r:.60}")
    return found
