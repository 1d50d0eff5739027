"""One cell of the grid as a sentence-transformers folder: the blocks it needs, pooling, head, cut, unit length."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.folders import NAMES, quiet
from mrl_tutorial.models.layers import EarlyExit, shortened


def export(encoder: Encoder, folder: str | Path, layer: int | None = None, dim: int | None = None) -> Path:
    """Write one cell (default: last layer, full width) as a folder that plain `SentenceTransformer(folder)` loads.

    Blocks after `layer` are left out. Its `encode` gives what `encoder.encode(texts, layer=layer, dim=dim)` gives in
    fp32, (N, dim), with the same prompts and similarity. A head, and the cut, are a Dense module (y = A x + b,
    `Heads.affine`, first `dim` rows), because `truncate_dim` would cut after the normalization and is not stored in a
    folder. Weights are safetensors. Raises InputError for a cell that the model lacks, an early layer of a model that
    normalizes after its last block (the folder would do so after `layer`), and a folder that holds files.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     written = export(Encoder.load(), Path(place) / "small", layer=2, dim=64)
    ...     sorted(path.name for path in written.iterdir() if path.is_dir())
    ['1_Pooling', '2_Dense', '3_Normalize']
    """
    layer, dim = encoder.n_layers if layer is None else layer, encoder.width if dim is None else dim
    check_cells([layer], [dim], encoder.n_layers, encoder.width)
    check_export_folder(folder)
    _check_end(encoder, layer)
    folder, linear = Path(folder), _linear(encoder, layer, dim)
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.padding_side = "right"  # as Encoder pads: absolute positions start at the first token
    with files.whole_folder(folder) as temporary:
        with quiet():
            shortened(encoder.model, layer).save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        for path, settings in _settings(encoder, linear, dim).items():
            (temporary / path).parent.mkdir(exist_ok=True)
            files.write_json(temporary / path, settings)
        if linear is not None:
            save_file(linear, temporary / "2_Dense" / "model.safetensors", metadata={"format": "pt"})
        (temporary / "README.md").write_text(_card(encoder, folder.name, layer, dim), encoding="utf-8")
    return folder


def check_export_folder(folder: str | Path) -> None:
    """Raises InputError where `folder` is a file or holds files: an export never writes over anything."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder: choose a new one")


@torch.inference_mode()
def _check_end(encoder: Encoder, layer: int) -> None:
    ids = torch.tensor(encoder.tokenize(["a"]))
    cut = shortened(encoder.model, layer)(input_ids=ids).last_hidden_state
    if not torch.allclose(cut, EarlyExit(encoder.model, [layer])(ids)[0], atol=1e-6):
        raise InputError(
            f"{encoder.name} normalizes once more after its last block, so layer {layer} cannot stand alone: "
            f"export layer {encoder.n_layers}"
        )


def _linear(encoder: Encoder, layer: int, dim: int) -> dict[str, Tensor] | None:
    """What stands between pooling and normalization: weight (dim, D) and perhaps bias (dim,); None for nothing."""
    if encoder.heads is not None:
        weight, bias = encoder.heads.affine(layer)
        return {"linear.weight": weight[:dim].contiguous(), "linear.bias": bias[:dim].contiguous()}
    return None if dim == encoder.width else {"linear.weight": torch.eye(encoder.width)[:dim].contiguous()}


def _settings(encoder: Encoder, linear: dict[str, Tensor] | None, dim: int) -> dict[str, Any]:
    """The folder's json files, in names that sentence-transformers 2 to 6 all understand."""
    dot, prompts = encoder.similarity == "dot", dict(encoder.prompts)
    modules = ["Transformer", "Pooling", *(["Dense"] if linear else []), *([] if dot else ["Normalize"])]
    paths = ["", *(f"{i}_{name}" for i, name in enumerate(modules) if i)]
    network: dict[str, Any] = {"max_seq_length": encoder.max_length, "do_lower_case": False}
    if getattr(encoder.model, "pooler", "none of that name") is None:
        network["model_args"] = {"add_pooling_layer": False}  # else loading reports random weights for it
    modes = {key: name == encoder.pooling for key, name in NAMES.items()}
    found = {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
            for i, (path, name) in enumerate(zip(paths, modules, strict=True))
        ],
        "sentence_bert_config.json": network,
        "config_sentence_transformers.json": {
            "prompts": prompts, "default_prompt_name": "default" if "default" in prompts else None,
            "similarity_fn_name": encoder.similarity,
        },
        "1_Pooling/config.json": {"word_embedding_dimension": encoder.width, **modes},
    }  # fmt: skip
    if not dot:
        found[f"{paths[-1]}/config.json"] = {}
    if linear:
        found["2_Dense/config.json"] = {
            "in_features": encoder.width,
            "out_features": dim,
            "bias": "linear.bias" in linear,
            "activation_function": "torch.nn.modules.linear.Identity",
        }
    return found


def _card(encoder: Encoder, name: str, layer: int, dim: int) -> str:
    unit = "" if encoder.similarity == "dot" else ", normalized to unit length"
    head = f" and its {encoder.heads.kind} head" if encoder.heads else ""
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, sentence-similarity, feature-extraction]
---

# {name}

Layer {layer} of {encoder.n_layers}, {dim} of {encoder.width} dimensions of {encoder.name}: the first {layer} blocks,
{encoder.pooling} pooling{head}, cut to {dim} coordinates{unit}. Texts are cut to
{encoder.max_length} tokens. The license and the training data of the original model apply here too.

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("{name}").encode(["solve a linear system"])  # (1, {dim})
```

Written by mrl-tutorial.
"""
