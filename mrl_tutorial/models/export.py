"""One cell of the grid as a sentence-transformers folder: the blocks it needs, pooling, head, cut, unit length."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells
from mrl_tutorial.models import layers as bb
from mrl_tutorial.models.encoder import Encoder, quiet

# names that sentence-transformers 2 to 6 all understand
TYPES = "sentence_transformers.models."
POOLINGS = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "last": "pooling_mode_lasttoken"}


def export(encoder: Encoder, folder: str | Path, layer: int | None = None, dim: int | None = None) -> Path:
    """Write one cell (default: last layer, full width) as a folder that plain `SentenceTransformer(folder)` loads.

    Blocks after `layer` are left out. Its `encode` gives what `encoder.encode(texts, layer=layer, dim=dim)` gives in
    fp32: (N, dim) of unit length. A head, and the cut, are a Dense module (y = A x + b, `Heads.affine`, first `dim`
    rows), because `truncate_dim` would cut after the normalisation and is not stored in a folder. Weights are
    safetensors. Raises InputError for a cell that the model lacks, an early layer of a model that normalises after its
    last block (the folder would do so after `layer`), and a folder that holds files.
    """
    layer, dim = encoder.n_layers if layer is None else layer, encoder.width if dim is None else dim
    check_cells([layer], [dim], encoder.n_layers, encoder.width)
    check_export_folder(folder)
    _check_end(encoder, layer)
    folder = Path(folder)
    linear = _linear(encoder, layer, dim)
    modules = ["Transformer", "Pooling", *(["Dense"] if linear else []), "Normalize"]
    paths = ["", *(f"{i}_{name}" for i, name in enumerate(modules) if i)]
    with files.whole_folder(folder) as temporary:
        with quiet():
            cut_model(encoder.model, layer).save_pretrained(temporary)
            tokenizer = copy.deepcopy(encoder.tokenizer)
            tokenizer.padding_side = "right"  # as Encoder pads: absolute positions start at the first token
            tokenizer.save_pretrained(temporary)
        for path in paths:
            (temporary / path).mkdir(exist_ok=True)
        files.write_json(temporary / "modules.json", [
            {"idx": i, "name": str(i), "path": path, "type": TYPES + name}
            for i, (path, name) in enumerate(zip(paths, modules, strict=True))
        ])  # fmt: skip
        settings: dict = {"max_seq_length": encoder.max_length, "do_lower_case": False}
        if getattr(encoder.model, "pooler", "none of that name") is None:
            settings["model_args"] = {"add_pooling_layer": False}  # else loading reports random weights for it
        files.write_json(temporary / "sentence_bert_config.json", settings)
        files.write_json(
            temporary / "config_sentence_transformers.json",
            {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
        )
        modes = {key: name == encoder.pooling for name, key in POOLINGS.items()}
        files.write_json(temporary / "1_Pooling" / "config.json", {"word_embedding_dimension": encoder.width, **modes})
        if linear:
            weight, bias = linear
            files.write_json(temporary / "2_Dense" / "config.json", {
                "in_features": encoder.width, "out_features": dim, "bias": bias is not None,
                "activation_function": "torch.nn.modules.linear.Identity",
            })  # fmt: skip
            tensors = {"linear.weight": weight} if bias is None else {"linear.weight": weight, "linear.bias": bias}
            save_file(tensors, temporary / "2_Dense" / "model.safetensors", metadata={"format": "pt"})
        files.write_json(temporary / paths[-1] / "config.json", {})
        (temporary / "README.md").write_text(_card(encoder, folder.name, layer, dim), encoding="utf-8")
    return folder


def check_export_folder(folder: str | Path) -> None:
    """Raises InputError where `folder` is a file or holds files: an export never writes over anything."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder: choose a new one")


def cut_model(model: nn.Module, n_blocks: int) -> nn.Module:
    """`backbone.shortened` with a configuration that says so, fit for `save_pretrained`. Shares every parameter."""
    view = copy.copy(bb.shortened(model, n_blocks))
    view.config = copy.deepcopy(model.config)
    view.config.num_hidden_layers = n_blocks
    kinds = getattr(view.config, "layer_types", None)  # a model whose blocks differ names the kind of each
    if kinds is not None:
        view.config.layer_types = list(kinds)[:n_blocks]
    return view


@torch.inference_mode()
def _check_end(encoder: Encoder, layer: int) -> None:
    ids = torch.tensor(encoder.tokenize(["a"]))
    cut = bb.shortened(encoder.model, layer)(input_ids=ids).last_hidden_state
    if not torch.allclose(cut, bb.layer_outputs(encoder.model, ids, None, [layer])[0], atol=1e-6):
        raise InputError(
            f"{encoder.name} normalises once more after its last block, so layer {layer} cannot stand alone: "
            f"export layer {encoder.n_layers}"
        )


def _linear(encoder: Encoder, layer: int, dim: int) -> tuple[Tensor, Tensor | None] | None:
    """What stands between pooling and normalisation: weight (dim, D) and bias (dim,) or None; None for nothing."""
    if encoder.heads is not None:
        weight, bias = encoder.heads.affine(layer)
        return weight[:dim].contiguous(), bias[:dim].contiguous()
    return None if dim == encoder.width else (torch.eye(encoder.width)[:dim].contiguous(), None)


def _card(encoder: Encoder, name: str, layer: int, dim: int) -> str:
    head = f" and its {encoder.heads.kind} head" if encoder.heads else ""
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- sentence-similarity
- feature-extraction
---

# {name}

Layer {layer} of {encoder.n_layers}, {dim} of {encoder.width} dimensions of {encoder.name}: the first {layer} blocks,
{encoder.pooling} pooling{head}, cut to {dim} coordinates, normalised to unit length. Texts are cut to
{encoder.max_length} tokens. The licence and training data of the model that this was taken from hold here too.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{name}")
vectors = model.encode(["solve a linear system"])  # (1, {dim})
```

Written by mrl-tutorial.
"""
