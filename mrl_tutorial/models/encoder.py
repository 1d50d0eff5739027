"""Texts to layer-wise embeddings (L, N, D): load, encode with early exit, cache, save and load again."""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mrl_tutorial import files
from mrl_tutorial.errors import InputError, with_changes
from mrl_tutorial.grid import check_cells, default_dims
from mrl_tutorial.models import download
from mrl_tutorial.models.encoding import Progress as Progress
from mrl_tutorial.models.encoding import encode_tokens, kept, listed
from mrl_tutorial.models.folders import (
    NOTED,
    NOTES,
    SIDES,
    Settings,
    check_model_folder,
    longest,
    quiet,
    read_network,
    read_settings,
)
from mrl_tutorial.models.heads import Heads, load_heads, save_heads
from mrl_tutorial.models.layers import find_blocks, resolve_precision


class Encoder:
    """A transformer encoder seen as a grid: one embedding per layer, each cut to any dimension.

    n_layers L, width D; the other attributes are those of `folders.Settings`, which are given as one or by name.

    >>> encoder = Encoder.load()  # all-MiniLM-L6-v2
    >>> encoder
    Encoder(all-MiniLM-L6-v2: 6 layers x 384, mean pooling)
    >>> encoder.encode_layers(["sort a list", "a graph"], cache=False).shape
    (6, 2, 384)
    >>> encoder.encode(["sort a list"], layer=2, dim=32).shape
    (1, 32)
    """

    name: str
    pooling: str
    max_length: int
    similarity: str
    prompts: Mapping[str, str]
    trained_dims: tuple[int, ...]
    trained_on: tuple[str, ...]

    def __init__(
        self, model: Any, tokenizer: Any, settings: Settings | None = None, heads: Heads | None = None, **changes: Any
    ) -> None:
        vars(self).update(vars(with_changes(settings or Settings(), changes)))
        self.model, self.tokenizer, self.heads = model.eval(), tokenizer, heads
        self.folder: Path | None = None
        self.keeps = True  # whether `encode_layers` may keep embeddings on disk: see `uncached`
        self.n_layers = len(find_blocks(model)[1])
        self.width: int = model.config.hidden_size

    @classmethod
    def load(cls, source: Any = download.DEFAULT_MODEL, *, revision: str | None = None, **changes: Any) -> Encoder:
        """Load an encoder by name or folder (see `download.locate` for where it is looked for), or take over a
        `SentenceTransformer`.

        A folder written by `save`, a sentence-transformers folder and a plain Hugging Face encoder all work; pooling,
        length, prompts and similarity are read from it where it states them, else mean, 256, none and cosine.
        changes: `folders.Settings` by name, as in `load(name, prompts={"query": "query: "})`. Raises InputError where
        it cannot be used.
        """
        if type(source).__module__.startswith("sentence_transformers."):
            with tempfile.TemporaryDirectory() as place, quiet():
                source.save_pretrained(str(Path(place) / "model"), create_model_card=False)
                encoder = cls.load(Path(place) / "model", **changes)
            encoder.folder = None
            return encoder
        folder = download.locate(source, revision)
        model, tokenizer = read_network(folder)
        name = Path(source).name if Path(source).is_dir() else str(source).split("/")[-1]
        settings, kind = read_settings(folder, longest(model), {"name": name}, changes)
        encoder = cls(model, tokenizer, settings)
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
            kind = self.heads.kind if self.heads else None
            files.write_json(temporary / NOTES, {**{name: getattr(self, name) for name in NOTED}, "heads": kind})
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
        """A key of all that shapes `encode_layers`: weights, pooling, length, prompts and heads. Takes about 0.1 s."""
        heads = [] if self.heads is None else [t.detach().numpy() for t in self.heads.state_dict().values()]
        return files.key(self._backbone_key(), *heads, *([dict(self.prompts)] if self.prompts else []))

    def _backbone_key(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return files.key(digest.hexdigest(), self.model.config.model_type, self.pooling, self.max_length)

    def encode_layers(
        self,
        texts: Iterable[str],
        *,
        layers: Sequence[int] | None = None,
        prompt: str | None = None,
        embeddings: bool = False,
        precision: str = "auto",
        cache: bool = True,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Raw pooled vectors after each layer, after any head: (L, N, D) float32, in the order of `texts`.

        layers: the (1-based) layers wanted, default all; the forward pass stops after the deepest. prompt: which of the
        model's prompts to put before each text, "query" or "document"; None is the "default" one, "" none.
        embeddings=True prepends row 0, the embedding table's output (never through a head). precision: "fp32", "bf16",
        or "auto" (bf16 where the processor has it). cache: what comes out of the backbone is kept on disk, and
        memory-mapped when it is asked for again; False neither reads nor writes. No texts give (L, 0, D). Raises
        InputError for non-strings, an unknown layer, prompt or precision.
        """
        chosen = list(check_cells(layers, [self.width], self.n_layers, self.width)[0])
        rows = ([0] if embeddings else []) + chosen
        precision = resolve_precision(precision)
        texts = self.prompted(texts, prompt)
        if not texts:
            return np.empty((len(rows), 0, self.width), dtype=np.float32)

        def run() -> np.ndarray:
            token_ids, pad_id = self.tokenize(texts), self.tokenizer.pad_token_id or 0
            return encode_tokens(self.model, token_ids, pad_id, rows, self.pooling, precision, progress)

        shape = (len(rows), len(texts), self.width)
        name = files.key(self._backbone_key(), texts, rows, precision) if cache and self.keeps else None
        raw = run() if name is None else kept(name, shape, run)
        if self.heads is None:
            return raw
        through = self.heads.apply_to(raw[int(embeddings) :], chosen)
        return np.concatenate([raw[:1], through]) if embeddings else through

    def encode(
        self,
        texts: Iterable[str],
        *,
        layer: int | None = None,
        dim: int | None = None,
        cache: bool = False,
        **options: Any,
    ) -> np.ndarray:
        """Vectors of one cell (default: last layer, full width): (N, dim) float32, of unit length unless the model
        compares by dot product. Runs `layer` blocks, no more.

        cache, options: as in `encode_layers` (prompt, precision, progress).
        """
        layer, dim = self.n_layers if layer is None else layer, self.width if dim is None else dim
        check_cells([layer], [dim], self.n_layers, self.width)
        vectors = self.encode_layers(texts, layers=[layer], cache=cache, **options)[0, :, :dim]
        if self.similarity == "dot":
            return np.array(vectors)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def tokenize(self, texts: Iterable[str]) -> list[list[int]]:
        """Token ids of each text, cut to `max_length`, special tokens included. Raises InputError on non-strings."""
        texts = listed(texts)
        return self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"] if texts else []

    def prompted(self, texts: Iterable[str], prompt: str | None = None) -> list[str]:
        """The texts as the tokenizer gets them, with one of the model's prompts before each: see `encode_layers`."""
        if prompt not in (None, "", *SIDES):
            raise InputError(f"prompt {prompt!r} is unknown: choose one of {', '.join(SIDES)}")
        before = self.prompts.get("default" if prompt is None else prompt, "")
        return [before + text for text in listed(texts)] if before else listed(texts)

    def share_cut(self, texts: Iterable[str], prompt: str | None = None) -> float:
        """The share of the texts that are longer than `max_length` tokens, so that their ends are not seen."""
        texts = self.prompted(texts, prompt)
        full = [text for text, ids in zip(texts, self.tokenize(texts), strict=True) if len(ids) == self.max_length]
        if not full:
            return 0.0
        with quiet():
            return sum(len(ids) > self.max_length for ids in self.tokenizer(full)["input_ids"]) / len(texts)

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
        said = [f"{self.heads.kind} heads"] if self.heads else []
        said += ["dot product"] if self.similarity == "dot" else []
        said += (
            ["prompts: " + ", ".join(f"{name} {text!r}" for name, text in self.prompts.items())] if self.prompts else []
        )
        rest = "".join(f", {part}" for part in said)
        return f"Encoder({self.name}: {self.n_layers} layers x {self.width}, {self.pooling} pooling{rest})"
