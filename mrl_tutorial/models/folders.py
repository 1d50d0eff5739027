"""What a model's folder says: network, tokenizer, pooling, length, and the notes that this course writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import normalizers
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer
from transformers.utils import logging as transformers_logging

from mrl_tutorial.errors import InputError, with_changes
from mrl_tutorial.models.layers import POOLINGS, unshare

NOTES = "mrl_tutorial.json"
SIMILARITIES = ("cosine", "dot")
#: families whose pooling layer, unused here, has to be left out by an option
WITH_POOLER = ("albert", "bert", "roberta", "mpnet", "xlm-roberta")
#: families of encoder-decoders whose encoder can be loaded alone
T5 = ("t5", "mt5", "umt5")
#: positions of a network that numbers none, such as T5's, and tokens that are then read where nothing else is said
UNLIMITED, USUAL = 10**6, 512
#: settings that change what a network computes, but not the shape of its weights; the smallest ones are left out
UNTOLD = re.compile("heads|_act|activation|rope|rotary|position_embedding_type|pos_att|attention_type|window|scale")
#: kinds of texts that have a prompt, and the names that sentence-transformers knows it by
SIDES = {"query": ("query",), "document": ("document", "passage", "corpus"), "default": ()}


@dataclass(eq=False)
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
                choice = f"{', '.join(known)}, as in {what}={next(iter(known))!r}"
                raise InputError(f"{what} {value!r} is unknown here: choose one of {choice}")
        if wrong := sorted(set(self.prompts) - set(SIDES)):
            raise InputError(f"prompts are given for {wrong[0]!r}: choose from {', '.join(SIDES)}")
        self.prompts = {side: text for side, text in self.prompts.items() if text}
        self.trained_dims, self.trained_on = tuple(self.trained_dims), tuple(self.trained_on)  # json knows lists alone


NOTED = tuple(field.name for field in fields(Settings))


def read_network(folder: Path) -> tuple[Any, Any]:
    """The network (float32, from safetensors, no code of the folder's own) and the tokenizer of a folder.

    Raises InputError where they cannot be loaded, and for weights that would be random or are not finite.
    """
    path = folder / "model.safetensors"
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            options: dict[str, Any] = {"add_pooling_layer": False} if config.model_type in WITH_POOLER else {}
            kind = AutoModelForTextEncoding if config.model_type in T5 else AutoModel
            options |= {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False}
            model, found = kind.from_pretrained(folder, config=config, output_loading_info=True, **options)
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except SafetensorError as error:
        remedy = "it is damaged or cut short; download or copy it again"
        raise InputError(f"{path} could not be read ({error}): {remedy}") from error
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        reason, remedy = str(error).strip().splitlines()[0], "give a text encoder with its tokenizer"
        if "trust_remote_code" in str(error):
            reason, remedy = "it needs Python code of its own", "give a model that transformers itself knows"
        if "ignore_mismatched_sizes" in reason:
            reason = "its weights have other sizes than config.json says"
        raise InputError(f"model folder {folder} could not be loaded ({reason}): {remedy}") from error
    written = {"tokenizer.json", *tokenizer.vocab_files_names.values()} - {"tokenizer_config.json"}
    if not any((folder / name).exists() for name in written):  # transformers then makes up one of five words
        remedy = "copy those of its tokenizer there (tokenizer.json)"
        raise InputError(f"model folder {folder} has none of {', '.join(sorted(written))}: {remedy}")
    if lost := sorted(name for name in found["missing_keys"] if "pooler" not in name):
        raise InputError(f"{path} lacks {len(lost)} weights that config.json asks for ({lost[0]}): download it again")
    if bad := [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]:
        raise InputError(f"{path} holds NaN or infinity (in {bad[0]}): download it again, or train with a lower rate")
    if config.model_type == "albert":
        unshare(model)
    if read_json(folder / "sentence_bert_config.json").get("do_lower_case"):  # as old folders ask for
        backend = tokenizer.backend_tokenizer
        own = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])
    return model, tokenizer


def unusual(config: Any) -> str:
    """What a network computes otherwise than others of its family, and its weights do not tell; "" for none."""
    usual, own = type(config)().to_dict(), config.to_dict()
    names = [name for name in sorted(own) if UNTOLD.search(name) and own[name] != usual.get(name, own[name])]
    return "; ".join(f"{name} {own[name]}" for name in names)


def longest(model: Any) -> int:
    """The most tokens that the network has positions for; `UNLIMITED` where it numbers none."""
    most = max(0, getattr(model.config, "max_position_embeddings", None) or 0) or UNLIMITED  # -1: none
    offset = getattr(getattr(model, "embeddings", None), "padding_idx", None)  # RoBERTa's count from it on
    return most - (offset + 1 if isinstance(offset, int) else 0)


def read_settings(folder: Path, name: str, most: int, given: Mapping[str, Any]) -> Settings:
    """What `Encoder.save` or sentence-transformers wrote; `given` in place of it, `name` where they are silent. most:
    tokens that the network can take. Raises InputError for broken json, and for what an Encoder cannot do.
    """
    given = {what: value for what, value in given.items() if value is not None}
    notes = {what: value for what, value in read_json(folder / NOTES).items() if what in NOTED}
    found = notes or _of_sentence_transformers(folder, most, given)
    settings = with_changes(Settings(), {"name": name, **found, **given})
    if not 2 < settings.max_length <= most:
        raise InputError(f"max_length {settings.max_length} is impossible: this model takes 3 to {most} tokens")
    return settings


def _of_sentence_transformers(folder: Path, most: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Pooling, length, similarity and prompts. Version 6 keeps the length with the tokenizer."""
    modules = list(read_json(folder / "modules.json"))
    place = next((str(module.get("path")) for module in modules if kind_of(module) == "Pooling"), "")
    pooling = read_json(folder / (place or "1_Pooling") / "config.json")
    if place and not pooling:
        raise InputError(f'{folder} names {place}, which is not there: download it again, or give pooling="mean"')
    # newer versions write one word, older ones a truth value for each mode
    modes = [key for key, on in pooling.items() if key.startswith("pooling_mode_") and on]
    modes = [pooling["pooling_mode"]] if "pooling_mode" in pooling else modes or ["mean"]
    names = {mode: name for name, mode in POOLINGS.items()} | {"lasttoken": "last"}
    length = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    if length is None and modules:
        length = read_json(folder / "tokenizer_config.json").get("model_max_length", most)
    length = min(length or 256, most)
    config = read_json(folder / "config_sentence_transformers.json")
    similarity = str(config.get("similarity_fn_name") or "cosine")
    if modules and kind_of(modules[-1]) == "Normalize":
        similarity = "cosine"  # dot product and distances order unit vectors as their cosine does
    written = config.get("prompts") or {}
    prompts = {side: next((written[name] for name in names if written.get(name)), "") for side, names in SIDES.items()}
    prompts["default"] = written.get(config.get("default_prompt_name") or "") or ""
    if not pooling.get("include_prompt", True) and any(prompts.values()) and "prompts" not in given:
        raise InputError(f"{folder} pools without its prompts (include_prompt): load it with prompts={{}}")
    return {
        "pooling": " and ".join(names.get(mode, mode) for mode in modes),
        "max_length": USUAL if length == UNLIMITED else length,
        "similarity": similarity,
        "prompts": prompts,
        "trained_dims": read_json(folder / "config.json").get("matryoshka_dimensions") or (),
    }


def kind_of(module: dict[str, Any]) -> str:
    """The class name of an entry of modules.json."""
    return str(module.get("type", "")).rsplit(".", 1)[-1]


def read_json(path: Path) -> Any:
    """What a json file holds, {} where there is no such file. Raises InputError where it is not json."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: correct or delete it") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno} is not json: correct or delete it") from error


def check_model_folder(folder: Path) -> None:
    """Raises InputError where `folder` is a file, or holds files that are not a saved model."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / NOTES).exists())):
        raise InputError(f"{folder} is a file or holds what is not a saved model: choose an empty or new folder")


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
