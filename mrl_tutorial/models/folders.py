"""What a model's folder says: network, tokenizer, pooling, length, and the notes that this course writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import normalizers
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer
from transformers.utils import logging as transformers_logging

from mrl_tutorial.errors import InputError, with_changes
from mrl_tutorial.models.dense import kind_of, read_after
from mrl_tutorial.models.layers import POOLINGS, unshare

NOTES = "mrl_tutorial.json"
#: modules of a sentence-transformers folder that an Encoder does itself
MODULES = ("Transformer", "Pooling", "Dense", "Normalize", "Dropout")
#: families whose pooling layer, unused here, has to be left out by an option
WITH_POOLER = ("albert", "bert", "roberta", "mpnet", "xlm-roberta")
#: families of encoder-decoders whose encoder can be loaded alone
T5 = ("t5", "mt5", "umt5")
#: sentence-transformers' names of poolings
NAMES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
}
#: positions of a network that numbers none, such as T5's, and tokens that are then read where nothing else is said
UNLIMITED, USUAL = 10**6, 512
#: kinds of texts that have a prompt, and the names that sentence-transformers knows it by
SIDES = {"query": ("query",), "document": ("document", "passage", "corpus"), "default": ()}


@dataclass(frozen=True)
class Settings:
    """How an Encoder makes and compares vectors. Raises InputError for a value that is impossible.

    pooling: "mean", "cls", "last" or "max". max_length: tokens, special ones included. similarity: "cosine" or "dot".
    prompts: what is put before a "query", a "document", and (as "default") any other text. trained_dims: the widths
    that training pushed on, none for a plain model. trained_on: fingerprints of the tasks that it was trained on.
    """

    name: str = "encoder"
    pooling: str = "mean"
    max_length: int = 256
    similarity: str = "cosine"
    prompts: Mapping[str, str] = field(default_factory=dict)
    trained_dims: tuple[int, ...] = ()
    trained_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, value, known in (("pooling", self.pooling, POOLINGS), ("similarity", self.similarity, SIMILARITIES)):
            if value not in known:
                raise InputError(f"{what} {value!r} is unknown: choose one of {', '.join(known)}")
        if wrong := sorted(set(self.prompts) - set(SIDES)):
            raise InputError(f"prompts are given for {wrong[0]!r}: choose from {', '.join(SIDES)}")
        object.__setattr__(self, "prompts", {side: text for side, text in self.prompts.items() if text})
        for name in ("trained_dims", "trained_on"):  # json knows lists alone
            object.__setattr__(self, name, tuple(getattr(self, name)))


SIMILARITIES = ("cosine", "dot")
NOTED = tuple(field.name for field in fields(Settings))


def read_network(folder: Path) -> tuple[Any, Any]:
    """The network (float32, from safetensors, no code of the folder's own) and the tokenizer of a folder.

    Raises InputError where they cannot be loaded.
    """
    with quiet():
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            options: dict[str, Any] = {"add_pooling_layer": False} if config.model_type in WITH_POOLER else {}
            kind = AutoModelForTextEncoding if config.model_type in T5 else AutoModel
            options |= {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False}
            model, found = kind.from_pretrained(folder, config=config, output_loading_info=True, **options)
            _check_weights(folder, model, found["missing_keys"])
            if config.model_type == "albert":
                unshare(model)
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except InputError:
            raise
        except SafetensorError as error:
            remedy = "it is damaged or cut short; download or copy it again"
            raise InputError(f"{folder / 'model.safetensors'} could not be read ({error}): {remedy}") from error
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            reason, remedy = str(error).strip().splitlines()[0], "give a text encoder with its tokenizer"
            if "trust_remote_code" in str(error):
                reason, remedy = "it needs Python code of its own", "give a model that transformers itself knows"
            if "ignore_mismatched_sizes" in reason:
                reason = "its weights have other sizes than config.json says"
            raise InputError(f"model folder {folder} could not be loaded ({reason}): {remedy}") from error
    if read_json(folder / "sentence_bert_config.json").get("do_lower_case"):
        _lower(tokenizer)
    return model, tokenizer


def _lower(tokenizer: Any) -> None:
    """Make a tokenizer lower its texts, as old sentence-transformers folders ask for."""
    backend = tokenizer.backend_tokenizer
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def _check_weights(folder: Path, model: Any, missing: Iterable[str]) -> None:
    """Raises InputError for weights that are not in the file, which would be random, or that are not finite."""
    path = folder / "model.safetensors"
    if lost := sorted(name for name in missing if "pooler" not in name):
        raise InputError(f"{path} lacks {len(lost)} weights that config.json asks for ({lost[0]}): download it again")
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise InputError(f"{path} holds NaN or infinity (in {name}): download it again, or train with a lower rate")


def longest(model: Any) -> int:
    """The most tokens that the network has positions for; `UNLIMITED` where it numbers none."""
    most = getattr(model.config, "max_position_embeddings", None) or UNLIMITED
    most = UNLIMITED if most < 0 else most
    offset = getattr(getattr(model, "embeddings", None), "padding_idx", None)  # RoBERTa's count from it on
    return most - (offset + 1 if isinstance(offset, int) else 0)


def read_settings(
    folder: Path, most: int, known: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[Settings, str | None]:
    """What `Encoder.save` or sentence-transformers wrote, and the kind of heads; `known` holds where they are silent,
    `given` in place of what they say. most: tokens that the network can take. Raises InputError for json that cannot
    be read, and for what an Encoder cannot do.
    """
    kinds = [kind_of(module) for module in read_modules(folder)]
    given = {name: value for name, value in given.items() if value is not None}
    own = read_json(folder / NOTES)
    heads = own.pop("heads", None)
    found = {**known, **{name: value for name, value in own.items() if name in NOTED}}
    if not own:
        found |= _of_sentence_transformers(folder, kinds, most, given)
    if "pooling" not in {**found, **given}:
        found["pooling"] = _pooling(folder)
    settings = with_changes(Settings(), {**found, **given})
    if not 2 < settings.max_length <= most:
        raise InputError(f"max_length {settings.max_length} is impossible: this model takes 3 to {most} tokens")
    return settings, heads


def read_modules(folder: Path) -> list[dict]:
    """The entries of modules.json, [] without one. Raises InputError for a module that an Encoder cannot stand for."""
    modules = list(read_json(folder / "modules.json"))
    for i, module in enumerate(modules):
        kind, early = kind_of(module), modules.index(module) < 2
        if kind not in MODULES or (kind == "Dense" and early):
            raise InputError(
                f"{folder} has a {kind} module as its number {i + 1}, which is not read here: give a model whose "
                "modules are Transformer, Pooling, Dense and Normalize, or a folder that this course saved"
            )
    return modules


def read_dense(folder: Path, width: int) -> nn.Sequential | None:
    """The folder's modules after pooling: see `read_after`. width: of the pooled vectors."""
    modules = [module for module in read_modules(folder)[2:] if kind_of(module) != "Dropout"]
    return read_after(folder, modules, [read_json(folder / m.get("path", "") / "config.json") for m in modules], width)


def _of_sentence_transformers(
    folder: Path, kinds: Sequence[str], most: int, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Length, similarity and prompts. Version 6 keeps the length with the tokenizer."""
    length = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    if length is None and kinds:
        length = read_json(folder / "tokenizer_config.json").get("model_max_length", most)
    config = read_json(folder / "config_sentence_transformers.json")
    similarity = str(config.get("similarity_fn_name") or "cosine")
    if kinds[-1:] == ["Normalize"]:
        similarity = "cosine"  # dot product and distances order unit vectors as their cosine does
    if similarity not in SIMILARITIES and "similarity" not in given:
        raise InputError(
            f"{folder} compares by {similarity}, which is not measured here: load it with similarity='cosine' or 'dot'"
        )
    written = config.get("prompts") or {}
    prompts = {side: next((written[name] for name in names if written.get(name)), "") for side, names in SIDES.items()}
    prompts["default"] = written.get(config.get("default_prompt_name") or "") or ""
    whole = read_json(folder / "1_Pooling" / "config.json").get("include_prompt", True)
    if not whole and any(prompts.values()) and "prompts" not in given:
        raise InputError(f"{folder} pools without its prompts (include_prompt): load it with prompts={{}}")
    length = min(length or 256, most)
    widths = read_json(folder / "config.json").get("matryoshka_dimensions") or ()
    found = {"similarity": similarity, "prompts": prompts, "trained_dims": widths}
    return {**found, "max_length": USUAL if length == UNLIMITED else length}


def check_model_folder(folder: Path) -> None:
    """Raises InputError where `folder` is a file, or holds files that are not a saved model."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose an empty or new folder")
    if folder.exists() and any(folder.iterdir()) and not (folder / NOTES).exists():
        raise InputError(f"{folder} holds files that are not a saved model: choose an empty or new folder")


def read_json(path: Path) -> Any:
    """What a json file holds, {} where there is no such file. Raises InputError where it is not json."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno} is not json: correct or delete it") from error


def _pooling(folder: Path) -> str:
    config = read_json(folder / "1_Pooling" / "config.json")
    # newer versions write one word, older ones a truth value for each mode
    chosen = [NAMES.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on]
    if "pooling_mode" in config:
        chosen = ["last" if config["pooling_mode"] == "lasttoken" else config["pooling_mode"]]
    chosen = chosen or ["mean"]
    if len(chosen) > 1 or chosen[0] not in POOLINGS:
        raise InputError(
            f"{folder} pools by {' and '.join(chosen)}: only {', '.join(POOLINGS)} are supported (give pooling=)"
        )
    return chosen[0]


def pooling_settings(encoder: Any) -> dict[str, Any]:
    """What config.json says of an Encoder's pooling, in the names of sentence-transformers 2 to 6."""
    modes = {key: name == encoder.pooling for key, name in NAMES.items()}
    return {"word_embedding_dimension": encoder.model.config.hidden_size, **modes}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from reporting parts that are left out on purpose, and from drawing a bar while it loads."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
