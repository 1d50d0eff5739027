"""Texts to layer-wise embeddings (L, N, D): load, encode with early exit, cache, save and load again."""

from __future__ import annotations

import copy
import hashlib
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells, default_dims
from mrl_tutorial.models import download
from mrl_tutorial.models import layers as running
from mrl_tutorial.models.folders import NOTED, NOTES, check_model_folder, quiet, read_network, read_notes
from mrl_tutorial.models.heads import Heads, load_heads, save_heads
from mrl_tutorial.progress import Ticker

Progress = Callable[[int, int, str], None]
TOKENS = 1024  # padded tokens in an encoding micro-batch: what a block makes of them stays in the processor's cache


class Encoder:
    """A transformer encoder seen as a grid: one embedding per layer, each cut to any dimension.

    n_layers L, width D. trained_dims: the widths that training pushed on (none for a plain model). similarity: "cosine"
    or "dot", how its vectors are compared.

    >>> encoder = Encoder.load()  # all-MiniLM-L6-v2
    >>> encoder
    Encoder(all-MiniLM-L6-v2: 6 layers x 384, mean pooling)
    >>> encoder.encode_layers(["sort a list", "a graph"], cache=False).shape
    (6, 2, 384)
    >>> encoder.encode(["sort a list"], layer=2, dim=32).shape
    (1, 32)
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        pooling: str = "mean",
        max_length: int = 256,
        heads: Heads | None = None,
        similarity: str = "cosine",
        trained_dims: Sequence[int] = (),
    ) -> None:
        if pooling not in running.POOLINGS:
            raise InputError(f"pooling {pooling!r} is unknown: choose one of {', '.join(running.POOLINGS)}")
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self.pooling, self.max_length, self.heads, self.similarity = pooling, max_length, heads, similarity
        self.trained_dims = tuple(trained_dims)
        self.folder: Path | None = None
        self.keeps = True  # whether `encode_layers` may keep embeddings on disk: see `uncached`
        self.n_layers = len(running.find_blocks(model)[1])
        self.width: int = model.config.hidden_size

    @classmethod
    def load(
        cls,
        name_or_path: str | Path = download.DEFAULT_MODEL,
        *,
        max_length: int | None = None,
        pooling: str | None = None,
        revision: str | None = None,
    ) -> Encoder:
        """Load an encoder by name or folder (see `download.locate` for where it is looked for).

        A folder written by `save`, a sentence-transformers folder and a plain Hugging Face encoder all work; pooling
        and length are read from it where it states them (else mean and 256). Raises InputError where it cannot be used.
        """
        folder = download.locate(name_or_path, revision)
        notes = read_notes(folder, pooling)
        kind = notes.pop("heads", None)
        model, tokenizer = read_network(folder)
        most = getattr(model.config, "max_position_embeddings", 514)
        notes["max_length"] = max_length or notes.get("max_length") or min(256, most - 2)
        if not 2 < notes["max_length"] <= most:
            raise InputError(f"max_length {notes['max_length']} is impossible: this model takes 3 to {most} tokens")
        short = Path(name_or_path).name if Path(name_or_path).is_dir() else str(name_or_path).split("/")[-1]
        encoder = cls(model, tokenizer, **{"name": short, **notes})
        encoder.folder = folder
        if kind:
            encoder.heads = load_heads(folder / "heads.safetensors", encoder.n_layers, encoder.width, kind)
        return encoder

    def save(self, folder: str | Path) -> Path:
        """Write weights (safetensors), tokenizer, heads and notes; `load` gives back exactly the same vectors.

        Raises InputError for a file, and for a folder that holds anything but a saved model.
        """
        folder = Path(folder)
        check_model_folder(folder)
        with files.whole_folder(folder) as temporary:
            with quiet():
                self.model.save_pretrained(temporary)
                self.tokenizer.save_pretrained(temporary)
            notes = {name: getattr(self, name) for name in NOTED}
            notes["heads"] = self.heads.kind if self.heads else None
            files.write_json(temporary / NOTES, notes)
            if self.heads:
                save_heads(self.heads, temporary / "heads.safetensors")
            if (folder / "train.json").exists():
                shutil.copy2(folder / "train.json", temporary)
        self.folder = folder
        return folder

    def with_heads(self, heads: Heads | None, *, name: str | None = None, trained_dims: Sequence[int] = ()) -> Encoder:
        """The same backbone (shared, not copied) with other heads. Raises InputError for heads of another size."""
        if heads is not None and (heads.n_layers, heads.width) != (self.n_layers, self.width):
            raise InputError(
                f"heads for {heads.n_layers} layers x {heads.width} do not fit {self.name}, "
                f"which has {self.n_layers} x {self.width}"
            )
        twin = copy.copy(self)
        twin.heads, twin.name, twin.trained_dims = heads, name or self.name, tuple(trained_dims)
        return twin

    def trainable_copy(self) -> Encoder:
        """A copy whose backbone can be trained without touching this one."""
        twin = copy.copy(self)
        twin.model, twin.folder = copy.deepcopy(self.model), None
        return twin

    def uncached(self) -> Encoder:
        """The same encoder, whose embeddings are not kept on disk: for a model that encodes its texts only once."""
        twin = copy.copy(self)
        twin.keeps = False
        return twin

    def fingerprint(self) -> str:
        """A key of everything that shapes `encode_layers`: weights, pooling, length and heads. Takes about 0.1 s."""
        heads = [] if self.heads is None else [t.detach().numpy() for t in self.heads.state_dict().values()]
        return files.key(self._backbone_key(), *heads)

    def _backbone_key(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return files.key(digest.hexdigest(), self.model.config.model_type, self.pooling, self.max_length)

    def encode_layers(
        self,
        texts: Sequence[str],
        *,
        layers: Sequence[int] | None = None,
        embeddings: bool = False,
        precision: str = "auto",
        cache: bool = True,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Raw pooled vectors after each layer, after any head: (L, N, D) float32, in the order of `texts`.

        layers: the (1-based) layers wanted, default all; the forward pass stops after the deepest. embeddings=True
        prepends row 0, the embedding table's output (never through a head). precision: "fp32", "bf16", or "auto" (bf16
        where the processor has it). cache: what comes out of the backbone is kept on disk, and memory-mapped when it is
        asked for again; False neither reads nor writes. No texts give (L, 0, D). Raises InputError for non-strings, an
        unknown layer or precision.
        """
        chosen = list(check_cells(layers, [self.width], self.n_layers, self.width)[0])
        rows = ([0] if embeddings else []) + chosen
        precision = running.resolve_precision(precision)
        _check_texts(texts)
        if not len(texts):
            return np.empty((len(rows), 0, self.width), dtype=np.float32)
        get = self._cached if cache and self.keeps else self._run
        raw = get(texts, rows, precision, progress)
        if self.heads is None:
            return raw
        through = self.heads.apply_to(raw[int(embeddings) :], chosen)
        return np.concatenate([raw[:1], through]) if embeddings else through

    def encode(
        self,
        texts: Sequence[str],
        *,
        layer: int | None = None,
        dim: int | None = None,
        cache: bool = False,
        **options: Any,
    ) -> np.ndarray:
        """Unit vectors of one cell (default: last layer, full width): (N, dim) float32. Runs `layer` blocks, no more.

        cache, options: as in `encode_layers` (precision, progress).
        """
        layer, dim = self.n_layers if layer is None else layer, self.width if dim is None else dim
        check_cells([layer], [dim], self.n_layers, self.width)
        vectors = self.encode_layers(texts, layers=[layer], cache=cache, **options)[0, :, :dim]
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut to `max_length`, special tokens included. Raises InputError on non-strings."""
        _check_texts(texts)
        if not len(texts):
            return []
        return self.tokenizer(list(texts), truncation=True, max_length=self.max_length)["input_ids"]

    def _cached(self, texts: Sequence[str], rows: list[int], precision: str, progress: Progress | None) -> np.ndarray:
        name = files.key(self._backbone_key(), list(texts), rows, precision)
        path = files.cache_dir("embeddings") / f"{name}.npy"
        if path.exists():
            try:
                return np.load(path, mmap_mode="r")
            except (OSError, ValueError):
                path.unlink(missing_ok=True)
        out = self._run(texts, rows, precision, progress)
        try:
            with files.whole_file(path) as temporary:
                np.save(temporary, out)
        except OSError as error:
            warnings.warn(f"embeddings were not cached in {path.parent}: {error}", stacklevel=3)
        return out

    def _run(self, texts: Sequence[str], rows: list[int], precision: str, progress: Progress | None) -> np.ndarray:
        out = np.empty((len(rows), len(texts), self.width), dtype=np.float32)
        token_ids, ticker, done = self.tokenize(texts), Ticker(progress), 0
        run = running.EarlyExit(self.model, rows)
        try:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                for group in running.micro_batches([len(ids) for ids in token_ids], TOKENS):
                    ids, mask = running.pad([token_ids[i] for i in group], self.tokenizer.pad_token_id or 0)
                    for row, hidden in enumerate(run(ids, mask)):
                        out[row, group] = running.pool(hidden, mask, self.pooling).numpy()
                    done += len(group)
                    ticker(done, len(texts), "encoding")
        finally:
            ticker.close()
        return out

    @property
    def intermediate(self) -> int:
        """Width of the blocks' feed-forward part."""
        config = self.model.config
        return int(getattr(config, "intermediate_size", 0) or getattr(config, "hidden_dim", 4 * self.width))

    @property
    def dims(self) -> tuple[int, ...]:
        """The default widths of this model's grid."""
        return default_dims(self.width)

    def __repr__(self) -> str:
        heads = f", {self.heads.kind} heads" if self.heads else ""
        return f"Encoder({self.name}: {self.n_layers} layers x {self.width}, {self.pooling} pooling{heads})"


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise InputError("texts is one string: give a list of strings")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text {i} is {type(text).__name__}, not a string: {text!r:.60}")
