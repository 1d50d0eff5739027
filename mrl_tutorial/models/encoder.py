"""Texts to layer-wise embeddings (L, N, D): load, encode with early exit, cache, save and load again."""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells, default_dims
from mrl_tutorial.models import download, encoding, folders
from mrl_tutorial.models.encoding import Progress as Progress
from mrl_tutorial.models.encoding import listed
from mrl_tutorial.models.export import read_after, write_modules
from mrl_tutorial.models.heads import Heads, load_heads, save_heads
from mrl_tutorial.models.layers import find_blocks, pool, resolve_device, resolve_precision
from mrl_tutorial.progress import Ticker


class Encoder(folders.Settings):
    """A transformer encoder seen as a grid: one embedding per layer, each cut to any dimension.

    n_layers L, width D; device: where it computes; after: the Dense modules of its folder, through which every layer's
    pooled vectors go; the other attributes are those of `folders.Settings`. Made by `load`.

    >>> encoder = Encoder.load()  # all-MiniLM-L6-v2
    >>> encoder
    Encoder(all-MiniLM-L6-v2: 6 layers x 384, mean pooling)
    >>> encoder.encode_layers(["sort a list", "a graph"], cache=False).shape
    (6, 2, 384)
    >>> encoder.encode(["sort a list"], layer=2, dim=32).shape
    (1, 32)
    """

    def __init__(self, model: Any, tokenizer: Any, after: Any, settings: folders.Settings) -> None:
        super().__init__(**vars(settings))
        self.model, self.tokenizer, self.pad_id = model.eval(), tokenizer, tokenizer.pad_token_id or 0
        self.after: nn.Sequential | None = after
        self.n_layers, self.device = len(find_blocks(model)), "cpu"
        self.width: int = after[-1].linear.out_features if after else model.config.hidden_size
        self.folder: Path | None = None
        self.heads: Heads | None = None
        self.keeps = True  # whether `encode_layers` may keep embeddings on disk: see `uncached`

    @classmethod
    def load(
        cls, source: Any = download.DEFAULT_MODEL, *, revision: str | None = None, device: str = "auto", **changes: Any
    ) -> Encoder:
        """Load an encoder by name or folder (`download.locate` looks for it), or take over a `SentenceTransformer`.

        A folder written by `save`, a sentence-transformers folder and a plain Hugging Face encoder all work; pooling,
        length, prompts and similarity are what it states, else mean, 256, none and cosine. device: "cpu", "cuda",
        "mps", or "auto", the first of cuda, mps and cpu that is there. changes: `Settings` by name, as in
        `load(name, prompts={"query": "query: "})`. Raises InputError where it cannot be used.
        """
        if type(source).__module__.startswith("sentence_transformers."):
            with tempfile.TemporaryDirectory() as place, folders.quiet():
                source.save_pretrained(str(Path(place) / "model"), create_model_card=False)
                encoder = cls.load(Path(place) / "model", device=device, **changes)
            encoder.folder = None
            return encoder
        device, folder = resolve_device(device), download.locate(source, revision)
        model, tokenizer = folders.read_network(folder)
        settings = folders.read_settings(folder, Path(source).name, folders.longest(model), changes)
        encoder = cls(model, tokenizer, read_after(folder, model.config.hidden_size), settings)
        encoder.folder, encoder.device = folder, device
        if folders.read_json(folder / folders.NOTES).get("heads"):
            encoder.heads = load_heads(folder / "heads.safetensors", encoder.n_layers, encoder.width)
        return encoder

    def save(self, folder: str | Path) -> Path:
        """Write weights (safetensors), tokenizer, heads and notes; `load` gives back exactly the same vectors.

        Raises InputError for a file, and for a folder that holds anything but a saved model.
        """
        folder = Path(folder)
        folders.check_model_folder(folder)
        with files.whole_folder(folder) as temporary:
            with folders.quiet():
                self.model.save_pretrained(temporary)
                self.tokenizer.save_pretrained(temporary)
            if self.after is not None:
                write_modules(temporary, self, list(self.after))
            notes = {name: getattr(self, name) for name in folders.NOTED}
            files.write_json(temporary / folders.NOTES, {**notes, "heads": self.heads.kind if self.heads else None})
            if self.heads:
                save_heads(self.heads, temporary / "heads.safetensors")
            if (folder / "train.json").exists():
                shutil.copy2(folder / "train.json", temporary)
        self.folder = folder
        return folder

    def with_heads(self, heads: Heads | None, *, name: str | None = None, trained_dims: Sequence[int] = ()) -> Encoder:
        """The same backbone (shared, not copied) with other heads. Raises InputError for heads of another size."""
        if heads is not None and (heads.n_layers, heads.width) != (self.n_layers, self.width):
            which = f"{self.name}, which has {self.n_layers} x {self.width}"
            raise InputError(f"heads for {heads.n_layers} layers x {heads.width} do not fit {which}")
        return self._but(heads=heads, name=name or self.name, trained_dims=tuple(trained_dims))

    def trainable_copy(self) -> Encoder:
        """A copy whose backbone can be trained without touching this one."""
        return self._but(model=copy.deepcopy(self.model), after=copy.deepcopy(self.after), folder=None)

    def on(self, device: str) -> Encoder:
        """The same encoder, which computes on `device`: see `load`."""
        return self._but(device=resolve_device(device))

    def uncached(self) -> Encoder:
        """The same encoder, whose embeddings are not kept on disk: for a model that encodes its texts only once."""
        return self._but(keeps=False)

    def _but(self, **changed: Any) -> Encoder:
        twin = copy.copy(self)
        vars(twin).update(changed)
        return twin

    def fingerprint(self) -> str:
        """A key of all that shapes `encode_layers`: weights, tokenizer, length, prompts, heads. Takes about 0.1 s."""
        heads = [] if self.heads is None else [t.detach().numpy() for t in self.heads.state_dict().values()]
        return files.key(self._backbone_key(), *heads, *([dict(self.prompts)] if self.prompts else []))

    def _backbone_key(self) -> str:
        digest = hashlib.sha256()
        for module in (self.model, self.after):
            for name, tensor in module.state_dict().items() if module is not None else ():
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        config, after = self.model.config, "" if self.after is None else str(self.after)
        parts = [digest.hexdigest(), config.model_type, self.pooling, after, *filter(None, [folders.unusual(config)])]
        return files.key(*parts, encoding.tokenizer_key(self.tokenizer), self.max_length)

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
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Raw pooled vectors after each layer, after any head: (L, N, D) float32, in the order of `texts`.

        layers: the (1-based) layers wanted, default all; the forward pass stops after the deepest. prompt: which of the
        model's prompts to put before each text, "query" or "document"; None is the "default" one, "" none.
        embeddings=True prepends row 0, the embedding table's output (never through a head). precision: "fp32", "bf16",
        or "auto" (bf16 where that is fast). cache: keep what comes out of the backbone on disk, memory-mapped; of many
        texts a shard at a time, so that a process that is killed goes on at the next. batch_size: the most texts that
        are read at once; by default as many as are fast. Raises InputError for non-strings, and an unknown layer,
        prompt or precision.
        """
        chosen = list(check_cells(layers, [self.width], self.n_layers, self.width)[0])
        rows = ([0] if embeddings else []) + chosen
        precision = resolve_precision(precision, self.device)
        texts = self.prompted(texts, prompt)
        if not texts:
            return np.empty((len(rows), 0, self.width), dtype=np.float32)

        def run(start: int, stop: int, tick: Progress) -> np.ndarray:
            ids = self.tokenize(texts[start:stop])
            return encoding.encode_tokens(self, ids, rows, precision, tick, batch_size)

        shape, heads = (len(rows), len(texts), self.width), self.heads
        place = [] if self.device == "cpu" else [self.device]
        backbone = self._backbone_key() if cache and self.keeps else None
        name, every = (
            files.key(backbone, texts, which, precision, *place) if backbone else None
            for which in (rows, list(range(1, self.n_layers + 1)))
        )
        raw = None if name == every else encoding.cut_out(every, self.n_layers, shape, rows)
        raw = encoding.sharded(name, shape, run, progress) if raw is None else raw
        if heads is None:
            return raw

        def through(start: int, stop: int, tick: Progress) -> np.ndarray:
            part = raw[:, start:stop]
            return np.concatenate([part[: int(embeddings)], heads.apply_to(part[int(embeddings) :], chosen)])

        large = name is not None and len(texts) > encoding.SHARD_TEXTS  # what fits in memory is not kept twice
        return encoding.sharded(files.key(name, self.fingerprint()) if large else None, shape, through, None)

    def encode(
        self,
        texts: str | Iterable[str],
        *,
        layer: int | None = None,
        dim: int | None = None,
        normalize: bool | None = None,
        convert_to_tensor: bool = False,
        show_progress_bar: bool | None = None,
        **options: Any,
    ) -> Any:
        """Vectors of one cell (default: last layer, full width): (N, dim) float32, or (dim,) of a single string. Runs
        `layer` blocks, no more.

        normalize: to unit length; by default unless the model compares by dot product. convert_to_tensor: a torch
        tensor on the CPU, not an array. show_progress_bar: True or False; by default after a second, where someone sees
        it. options: prompt, batch_size, precision, progress as in `encode_layers`, and cache, False here.
        """
        layer, dim = self.n_layers if layer is None else layer, self.width if dim is None else dim
        check_cells([layer], [dim], self.n_layers, self.width)
        if show_progress_bar is not None:
            options["progress"] = Ticker(always=True) if show_progress_bar else lambda *_: None
        several, options = [texts] if isinstance(texts, str) else texts, {"cache": False, **options}
        vectors = np.array(self.encode_layers(several, layers=[layer], embeddings=False, **options)[0, :, :dim])
        if self.similarity != "dot" if normalize is None else normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        vectors = vectors[0] if isinstance(texts, str) else vectors
        return torch.from_numpy(vectors) if convert_to_tensor else vectors

    def pooled(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Token embeddings (B, T, H) of one layer to text embeddings (B, D), before any head."""
        pooled = pool(hidden, mask, self.pooling)
        return pooled if self.after is None else self.after(pooled).float()

    def tokenize(self, texts: Iterable[str]) -> list[list[int]]:
        """Token ids of each text, cut to `max_length`, special tokens included. Raises InputError on non-strings."""
        return list(encoding.token_ids(self.tokenizer, listed(texts), self.max_length))

    def prompted(self, texts: Iterable[str], prompt: str | None = None) -> list[str]:
        """The texts as the tokenizer gets them, with one of the model's prompts before each: see `encode_layers`."""
        if prompt not in (None, "", *folders.SIDES):
            own = "for text of your own, load the model with prompts={'query': text}"
            raise InputError(f"prompt {prompt!r} is unknown: choose one of {', '.join(folders.SIDES)}; {own}")
        before = self.prompts.get("default" if prompt is None else prompt, "")
        return [before + text for text in listed(texts)] if before else listed(texts)

    def share_cut(self, texts: Iterable[str], prompt: str | None = None) -> float:
        """The share of the texts that are longer than `max_length` tokens, so that their ends are not seen."""
        ids = encoding.token_ids(self.tokenizer, texts := self.prompted(texts, prompt), self.max_length + 1)
        return sum(len(found) > self.max_length for found in ids) / max(1, len(texts))

    @property
    def intermediate(self) -> int:
        """Width of the blocks' feed-forward part."""
        found = (getattr(self.model.config, name, None) for name in ("intermediate_size", "hidden_dim", "d_ff"))
        return next((int(width) for width in found if width), 4 * int(self.model.config.hidden_size))

    @property
    def dims(self) -> tuple[int, ...]:
        """The default widths of this model's grid."""
        return default_dims(self.width)

    def __repr__(self) -> str:
        said = [f"{self.n_layers} layers x {self.width}", f"{self.pooling} pooling"]
        said += [f"{self.heads.kind} heads"] if self.heads else []
        said += ["dot product"] if self.similarity == "dot" else []
        prompts = ", ".join(f"{name} {text!r}" for name, text in self.prompts.items())
        return f"Encoder({self.name}: {', '.join(said + ([f'prompts: {prompts}'] if prompts else []))})"
