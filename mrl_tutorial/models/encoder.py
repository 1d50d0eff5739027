"""Texts to layer-wise embeddings (L, N, D): load, encode with early exit, cache, save and load again."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells, default_dims
from mrl_tutorial.models import download
from mrl_tutorial.models import layers as bb
from mrl_tutorial.models.heads import Heads, load_heads, save_heads
from mrl_tutorial.progress import Ticker

Progress = Callable[[int, int, str], None]
NOTES = "mrl_tutorial.json"
TOKENS = 1024  # padded tokens in an encoding micro-batch: what a block makes of them stays in the processor's cache


class Encoder:
    """A transformer encoder seen as a grid: one embedding per layer, each cut to any dimension.

    n_layers L, width D. `trained_dims`: the widths that training pushed on (none for a plain model).
    """

    def __init__(self, model, tokenizer, *, name, pooling="mean", max_length=256, heads=None, similarity="cosine",
                 trained_dims=(), folder=None):  # fmt: skip
        if pooling not in bb.POOLINGS:
            raise InputError(f"pooling {pooling!r} is unknown: choose one of {', '.join(bb.POOLINGS)}")
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self.pooling, self.max_length, self.heads, self.similarity = pooling, max_length, heads, similarity
        self.trained_dims = tuple(trained_dims)
        self.folder = folder
        self.n_layers = len(bb.find_blocks(model)[1])
        self.width = model.config.hidden_size
        self._weights_key: tuple[tuple, str] | None = None

    # -- load and save -------------------------------------------------------------------------------------------
    @classmethod
    def load(cls, name_or_path: str | Path = download.DEFAULT_MODEL, *, max_length: int | None = None,
             pooling: str | None = None, revision: str | None = None) -> Encoder:  # fmt: skip
        """Load an encoder by name or folder (see `download.locate` for where it is looked for).

        A folder written by `save`, a sentence-transformers folder and a plain Hugging Face encoder all work; pooling and
        length are read from it where it says (else mean and 256). Raises InputError where the model cannot be used.
        """
        folder = download.locate(name_or_path, revision)
        notes = _read_json(folder / NOTES)
        st_pooling = _read_json(folder / "1_Pooling" / "config.json")
        st_length = _read_json(folder / "sentence_bert_config.json").get("max_seq_length")
        listed = _read_json(folder / "modules.json") or []
        kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in listed]
        if foreign := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize", "Dropout")]:
            raise InputError(
                f"{folder} ends in a {foreign[0]} module, which turns pooled vectors and is not read here: give a model "
                "whose modules are Transformer, Pooling and Normalize, or the folder that this course saved"
            )
        with quiet():
            try:
                config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
                options = (
                    {"add_pooling_layer": False}
                    if config.model_type in ("bert", "roberta", "mpnet", "xlm-roberta")
                    else {}
                )
                model = AutoModel.from_pretrained(folder, config=config, trust_remote_code=False, use_safetensors=True,
                                                  dtype=torch.float32, **options)  # fmt: skip
                tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            except (OSError, ValueError, KeyError, ImportError) as error:
                reason = str(error).strip().splitlines()[0]
                raise InputError(
                    f"model folder {folder} could not be loaded ({reason}): give a text encoder with its tokenizer"
                ) from error
        limit = getattr(config, "max_position_embeddings", 514) - 2
        length = max_length or notes.get("max_length") or st_length or min(256, limit)
        if not 2 < length <= limit + 2:
            raise InputError(f"max_length {length} is impossible: this model takes 3 to {limit + 2} tokens")
        encoder = cls(
            model, tokenizer, folder=folder, max_length=length,
            name=notes.get("name") or _short_name(name_or_path),
            pooling=pooling or notes.get("pooling") or _st_pooling(st_pooling, folder),
            similarity=notes.get("similarity", "cosine"), trained_dims=notes.get("trained_dims", ()),
        )  # fmt: skip
        if notes.get("heads"):
            encoder.heads = load_heads(folder / "heads.safetensors", encoder.n_layers, encoder.width, notes["heads"])
        return encoder

    def save(self, folder: str | Path) -> Path:
        """Write weights (safetensors), tokenizer, heads and notes; `load` gives back exactly the same vectors."""
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file: choose an empty or new folder")
        if folder.exists() and any(folder.iterdir()) and not (folder / NOTES).exists():
            raise InputError(f"{folder} holds files that are not a saved model: choose an empty or new folder")
        with files.whole_folder(folder) as temporary:
            with quiet():
                self.model.save_pretrained(temporary)
                self.tokenizer.save_pretrained(temporary)
            notes = {
                "name": self.name, "pooling": self.pooling, "max_length": self.max_length, "similarity": self.similarity,
                "trained_dims": list(self.trained_dims), "heads": self.heads.kind if self.heads else None,
            }  # fmt: skip
            files.write_json(temporary / NOTES, notes)
            if self.heads:
                save_heads(self.heads, temporary / "heads.safetensors")
            for extra in ("train.json",):
                if (folder / extra).exists():
                    shutil.copy2(folder / extra, temporary / extra)
        self.folder = folder
        return folder

    def with_heads(self, heads: Heads | None, *, name: str | None = None, trained_dims: Sequence[int] = ()) -> Encoder:
        """The same backbone (shared, not copied) with other heads."""
        if heads is not None and (heads.n_layers, heads.width) != (self.n_layers, self.width):
            raise InputError(
                f"heads for {heads.n_layers} layers x {heads.width} do not fit {self.name}, which has {self.n_layers} x {self.width}"
            )
        twin = copy.copy(self)
        twin.heads, twin.name, twin.trained_dims = heads, name or self.name, tuple(trained_dims)
        return twin

    def trainable_copy(self) -> Encoder:
        """A copy whose backbone can be trained without touching this one."""
        twin = copy.copy(self)
        twin.model, twin._weights_key, twin.folder = copy.deepcopy(self.model), None, None
        return twin

    def fingerprint(self) -> str:
        """A key of everything that shapes `encode_layers`: weights, pooling, length and heads."""
        heads = [] if self.heads is None else [t.detach().numpy() for t in self.heads.state_dict().values()]
        return files.key(self._backbone_key(), *heads)

    def _backbone_key(self) -> str:
        # _version counts in-place changes, so that hashing 90 MB happens once, and again after training
        seen = tuple((id(p), p._version) for p in self.model.parameters())
        if self._weights_key is None or self._weights_key[0] != seen:
            digest = hashlib.sha256()
            for name, tensor in self.model.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
            self._weights_key = (seen, digest.hexdigest())
        kind = self.model.config.model_type
        return files.key(self._weights_key[1], kind, self.pooling, self.max_length)

    # -- encode --------------------------------------------------------------------------------------------------
    def encode_layers(self, texts: Sequence[str], *, layers: Sequence[int] | None = None, embeddings: bool = False,
                      precision: str = "auto", cache: bool = True, progress: Progress | None = None) -> np.ndarray:  # fmt: skip
        """Raw pooled vectors after each layer, after any head: (L, N, D) float32, in the order of `texts`.

        layers: the (1-based) layers wanted, default all; the forward pass stops after the deepest. embeddings=True
        prepends row 0, the embedding table's output (never through a head). precision: "fp32", "bf16", or "auto" (bf16
        where the processor has it). Results without heads are cached on disk and memory-mapped on reuse.
        No texts give (L, 0, D). Raises InputError for non-strings, an unknown layer or precision.
        """
        chosen = list(check_cells(layers, [self.width], self.n_layers, self.width)[0])
        rows = ([0] if embeddings else []) + chosen
        raw = self._raw_layers(texts, rows, precision, cache, progress)
        if self.heads is None:
            return raw
        out = np.empty(raw.shape, dtype=np.float32)
        if embeddings:
            out[0] = raw[0]
        out[int(embeddings) :] = self.heads.apply_to(raw[int(embeddings) :], chosen)
        return out

    def encode(self, texts: Sequence[str], *, layer: int | None = None, dim: int | None = None, precision: str = "auto",
               cache: bool = False, progress: Progress | None = None) -> np.ndarray:  # fmt: skip
        """Unit vectors of one cell (default: last layer, full width): (N, dim) float32. Runs `layer` blocks and no more."""
        layer, dim = self.n_layers if layer is None else layer, self.width if dim is None else dim
        check_cells([layer], [dim], self.n_layers, self.width)
        vectors = self.encode_layers(texts, layers=[layer], precision=precision, cache=cache, progress=progress)[
            0, :, :dim
        ]
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(norms, 1e-12)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, cut to `max_length`, special tokens included. Raises InputError on non-strings."""
        _check_texts(texts)
        return (
            self.tokenizer(list(texts), truncation=True, max_length=self.max_length)["input_ids"] if len(texts) else []
        )

    def _raw_layers(self, texts, rows, precision, cache, progress) -> np.ndarray:
        precision = bb.resolve_precision(precision)
        _check_texts(texts)
        if not len(texts):
            return np.empty((len(rows), 0, self.width), dtype=np.float32)
        path = None
        if cache:
            name = files.key(self._backbone_key(), list(texts), rows, precision)
            path = files.cache_dir("embeddings") / f"{name}.npy"
            if path.exists():
                try:
                    return np.load(path, mmap_mode="r")
                except (OSError, ValueError):
                    path.unlink(missing_ok=True)
        ticker = Ticker(progress)
        try:
            out = self._run(self.tokenize(texts), rows, precision, ticker)
        finally:
            ticker.close()
        if path is not None:
            try:
                with files.whole_file(path) as temporary:
                    np.save(temporary, out)
            except OSError as error:
                warnings.warn(f"embeddings were not cached in {path.parent}: {error}", stacklevel=3)
        return out

    def _run(self, token_ids, rows, precision, progress) -> np.ndarray:
        out = np.empty((len(rows), len(token_ids), self.width), dtype=np.float32)
        done = 0
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            for group in bb.micro_batches([len(ids) for ids in token_ids], TOKENS):
                ids, mask = bb.pad([token_ids[i] for i in group], self.tokenizer.pad_token_id or 0)
                for row, hidden in enumerate(bb.layer_outputs(self.model, ids, mask, rows)):
                    out[row, group] = bb.pool(hidden, mask, self.pooling).numpy()
                done += len(group)
                progress(done, len(token_ids), "encoding")
        return out

    # -- what a cell costs ---------------------------------------------------------------------------------------
    @property
    def intermediate(self) -> int:
        """Width of the blocks' feed-forward part."""
        config = self.model.config
        return getattr(config, "intermediate_size", None) or getattr(config, "hidden_dim", 4 * self.width)

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


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno} is not json: mend or delete it") from error


def _short_name(name_or_path: str | Path) -> str:
    return Path(name_or_path).name if Path(name_or_path).is_dir() else str(name_or_path).split("/")[-1]


def _st_pooling(config: dict, folder: Path) -> str:
    names = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
    on = [key for key, value in config.items() if key.startswith("pooling_mode") and value is True]
    mode = (
        [config["pooling_mode"]] if isinstance(config.get("pooling_mode"), str) else [names.get(key, key) for key in on]
    )
    mode = ["last" if m == "lasttoken" else m for m in mode]
    if not mode:
        return "mean"
    if len(mode) > 1 or mode[0] not in bb.POOLINGS:
        raise InputError(
            f"{folder} pools by {' and '.join(mode)}: only {', '.join(bb.POOLINGS)} are supported (give pooling=)"
        )
    return mode[0]


@contextmanager
def quiet():
    """Loading prints a report and a progress bar about parts that are left out on purpose."""
    from transformers.utils import logging as hf

    level, bars = hf.get_verbosity(), getattr(hf, "is_progress_bar_enabled", lambda: True)()
    hf.set_verbosity_error()
    hf.disable_progress_bar()
    try:
        yield
    finally:
        hf.set_verbosity(level)
        if bars:
            hf.enable_progress_bar()
