"""Token ids to layer-wise embeddings in micro-batches, and where they are kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.models import layers as running
from mrl_tutorial.models.dense import Dense
from mrl_tutorial.progress import Ticker

Progress = Callable[[int, int, str], None]
TOKENS = 1024  # padded tokens in an encoding micro-batch: what a block makes of them stays in the processor's cache
TOKENS_ON_GPU = 2**15  # there, large products are the fast ones
CHECKSUM = 4  # bytes
SHARD_TEXTS, SHARD_BYTES = 2**13, 2**28  # texts that are tokenized and kept together, and what their vectors may take


@dataclass(frozen=True)
class Reader:
    """What turns token ids into pooled vectors: the network, its pooling, the modules after it, and where it runs."""

    model: Any
    pad_id: int
    pooling: str
    after: nn.Sequential | None = None
    device: str = "cpu"

    @property
    def width(self) -> int:
        """D, the size of the vectors."""
        last = None if self.after is None else self.after[-1]
        return last.linear.out_features if isinstance(last, Dense) else int(self.model.config.hidden_size)

    @property
    def intermediate(self) -> int:
        """Width of the blocks' feed-forward part."""
        config = self.model.config
        found = (getattr(config, name, None) for name in ("intermediate_size", "hidden_dim", "d_ff"))
        return next((int(width) for width in found if width), 4 * int(config.hidden_size))

    def parts(self) -> list[str]:
        """Keys of all that shapes its vectors, wherever it runs."""
        digest = hashlib.sha256()
        for module in (self.model, self.after):
            for name, tensor in module.state_dict().items() if module is not None else ():
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        after = "" if self.after is None else str(self.after)
        return [digest.hexdigest(), self.model.config.model_type, self.pooling, after]

    def texts(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Token embeddings (B, T, H) of one layer to text embeddings (B, D)."""
        pooled = running.pool(hidden, mask, self.pooling)
        return pooled if self.after is None else self.after(pooled).float()


def encode_tokens(
    reader: Reader,
    token_ids: Sequence[Sequence[int]],
    layers: Sequence[int],
    precision: str,
    progress: Progress | None = None,
    batch_size: int | None = None,
) -> np.ndarray:
    """Vectors of each text after each of `layers` (0: the embedding table): (len(layers), N, D) float32.

    batch_size: the most texts in a micro-batch. Raises InputError where it is no whole number from 1 up.
    """
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise InputError(f"batch_size {batch_size!r} is impossible: give a whole number from 1 up, or leave it out")
    if without := [i for i, ids in enumerate(token_ids) if not len(ids)]:
        raise InputError(f"text {without[0]} has no tokens, so it has no vector: leave it out")
    out = np.empty((len(layers), len(token_ids), reader.width), dtype=np.float32)
    for module in (reader.model, reader.after):
        if module is not None:
            module.to(reader.device)
    tokens = TOKENS if reader.device == "cpu" else TOKENS_ON_GPU
    ticker, done, run = Ticker(progress), 0, running.EarlyExit(reader.model, layers)
    try:
        with torch.inference_mode(), running.arithmetic(reader.model, reader.device, precision):
            for group in running.micro_batches([len(ids) for ids in token_ids], tokens, batch_size):
                ids, mask = running.pad([token_ids[i] for i in group], reader.pad_id)
                mask = None if mask is None else mask.to(reader.device)
                for row, hidden in enumerate(run(ids.to(reader.device), mask)):
                    out[row, group] = reader.texts(hidden, mask).cpu().numpy()
                done += len(group)
                ticker(done, len(token_ids), "encoding")
    finally:
        ticker.close()
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


def encode_options(show: bool | None, prompt_name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """What `Encoder.encode` hands on to `encode_layers`. Raises InputError for an option that it does not have."""
    known = ("prompt", "batch_size", "precision", "progress", "cache")
    if wrong := sorted(set(given) - set(known)):
        others = "layer, dim, normalize, convert_to_tensor, show_progress_bar, device, prompt_name"
        raise InputError(f"encode has no option {wrong[0]!r}: choose from {others}, {', '.join(known)}")
    named = {} if prompt_name is None else {"prompt": prompt_name}
    shown = {None: None, True: Ticker(always=True), False: lambda *_: None}
    return {"cache": False, "progress": shown[show], **given, **named}


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
    starts, ticker = range(0, count, size), Ticker(progress)

    def shard(start: int) -> np.ndarray:
        return run(start, min(start + size, count), lambda done, _, label: ticker(start + done, count, label))

    def part(start: int) -> np.ndarray:
        of_part = (rows, min(size, count - start), width)
        return shard(start) if count <= size else kept(f"{name}-{start}", of_part, lambda: [shard(start)])

    try:
        if name is not None:
            found = kept(name, shape, lambda: [part(start) for start in starts])
        else:
            found = np.empty(shape, dtype=np.float32)
            for start in starts:
                found[:, start : start + size] = shard(start)
    finally:
        ticker.close()
    for start in starts if name and count > size and _place(name).exists() else ():
        with contextlib.suppress(OSError):
            _place(f"{name}-{start}").unlink(missing_ok=True)
    return found


def kept(name: str, shape: Sequence[int], compute: Callable[[], Sequence[np.ndarray]]) -> np.ndarray:
    """The array (rows, N, D) of `shape` that `compute()` gives, in parts along N; kept in the cache as `name`, and
    memory-mapped. A file that is damaged, or of another shape, is made again."""
    path = _place(name)
    if path.exists():
        try:
            return _sound(path, shape)
        except Exception:  # damaged, however that shows
            with contextlib.suppress(OSError):
                path.unlink()
    parts = compute()
    try:
        with files.whole_file(path) as temporary, open(temporary, "wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
            np.lib.format.write_array_header_1_0(file, header)
            checksum = 0
            for data in (np.ascontiguousarray(part[row]).data for row in range(shape[0]) for part in parts):
                file.write(data)
                checksum = zlib.crc32(data, checksum)
            file.write(checksum.to_bytes(CHECKSUM, "little"))  # behind the array, where readers of .npy stop
        return np.load(path, mmap_mode="r")
    except OSError as error:
        warnings.warn(f"embeddings were not cached: {error} as MRL_CACHE", stacklevel=4)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)


def _place(name: str) -> Path:
    return files.cache_dir("embeddings") / f"{name}.npy"


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
    if not isinstance(texts, Iterable) or isinstance(texts, Mapping | bytes):
        raise InputError(f"{texts!r:.60} cannot be encoded: give a list of strings")
    found = list(texts)
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise InputError(f"text {i} is {type(text).__name__}, not a string: {text!r:.60}")
    return found
