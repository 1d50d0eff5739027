"""What a model's folder says: network, tokenizer, pooling, length, and the notes that this course writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.layers import POOLINGS

NOTES = "mrl_tutorial.json"
NOTED = ("name", "pooling", "max_length", "similarity", "trained_dims")  # of an Encoder, in that file
#: modules of a sentence-transformers folder that an Encoder does itself
MODULES = ("Transformer", "Pooling", "Normalize", "Dropout")
#: families whose pooling layer, unused here, has to be left out by an option
WITH_POOLER = ("bert", "roberta", "mpnet", "xlm-roberta")
#: sentence-transformers' names of poolings
NAMES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}


def read_network(folder: Path) -> tuple[Any, Any]:
    """The network (float32, from safetensors, no code of the folder's own) and the tokenizer of a folder.

    Raises InputError where they cannot be loaded.
    """
    with quiet():
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            options = {"add_pooling_layer": False} if config.model_type in WITH_POOLER else {}
            model = AutoModel.from_pretrained(
                folder, config=config, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, **options
            )
            return model, AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"model folder {folder} could not be loaded ({reason}): give a text encoder with its tokenizer"
            ) from error


def read_notes(folder: Path, pooling: str | None = None) -> dict[str, Any]:
    """What `Encoder.save` noted (`NOTED`, and the kind of heads), or sentence-transformers; pooling as given, if it is.

    Raises InputError for json that cannot be read, and for modules that an Encoder lacks.
    """
    for module in read_json(folder / "modules.json"):
        kind = str(module.get("type", "")).rsplit(".", 1)[-1]
        if kind not in MODULES:
            raise InputError(
                f"{folder} ends in a {kind} module, which changes pooled vectors and is not read here: give a model "
                "whose modules are Transformer, Pooling and Normalize, or a folder that this course saved"
            )
    length = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    notes = {"max_length": length, **read_json(folder / NOTES)}
    notes["pooling"] = pooling or notes.get("pooling") or _pooling(folder)
    return {name: value for name, value in notes.items() if name in (*NOTED, "heads")}


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
