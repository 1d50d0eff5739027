"""Folders of sentence-transformers: what they do after pooling, read and written, and one cell of the grid as such a
folder: the blocks it needs, pooling, head, cut, unit length."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid, check_cells
from mrl_tutorial.models.folders import kind_of, quiet, read_json
from mrl_tutorial.models.layers import POOLINGS, EarlyExit, shortened

if TYPE_CHECKING:
    from mrl_tutorial.models.encoder import Encoder

IDENTITY, TANH = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Tanh"
KINDS = (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid)
ACTIVATIONS = {f"{kind.__module__}.{kind.__name__}": kind for kind in KINDS}
#: modules of a sentence-transformers folder that an Encoder does itself
MODULES = ("Transformer", "Pooling", "Dense", "Normalize", "Dropout")


class Dense(nn.Module):
    """activation(A x + b): (..., in) to (..., out). settings: what config.json says of it in a sentence-transformers
    folder. Raises InputError for an activation that is not in `ACTIVATIONS`.
    """

    def __init__(self, width: int, out: int, bias: bool = True, activation: str = TANH) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            known = ", ".join(kind.__name__ for kind in KINDS)
            raise InputError(f"a Dense module with the activation {activation!r} is not read: it has to be {known}")
        self.linear, self.act = nn.Linear(width, out, bias=bias), ACTIVATIONS[activation]()
        self.settings = {"in_features": width, "out_features": out, "bias": bias, "activation_function": activation}

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return self.act(self.linear(x))


class Unit(nn.Module):
    """Vectors of unit length, (..., D)."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return nn.functional.normalize(x, dim=-1)


def read_after(folder: Path, width: int) -> nn.Sequential | None:
    """The modules of a folder between pooling and the last normalization, None where there are none.

    width: of the pooled vectors. An Encoder normalizes its vectors itself, so a Normalize module at the end is not
    among them. Raises InputError for a module that an Encoder cannot stand for, or that cannot be read.
    """
    steps: list[nn.Module] = []
    for i, module in enumerate(read_json(folder / "modules.json")):
        kind = kind_of(module)
        if kind not in MODULES or (kind == "Dense" and i < 2):
            remedy = "give a model whose modules are Transformer, Pooling, Dense and Normalize"
            raise InputError(f"{folder} has a {kind} module as its number {i + 1}, which is not read here: {remedy}")
        if kind == "Normalize":
            steps.append(Unit())
        elif kind == "Dense":
            dense = _read_dense(folder / module.get("path", ""), width)
            steps.append(dense)
            width = dense.linear.out_features
    while steps and isinstance(steps[-1], Unit):
        steps.pop()
    return nn.Sequential(*steps).eval() if steps else None


def _read_dense(folder: Path, width: int) -> Dense:
    """The Dense module of a folder, which takes `width` values."""
    config = read_json(folder / "config.json")
    places = {config.get(name, "sentence_embedding") for name in ("module_input_name", "module_output_name")}
    if config.get("use_residual") or places - {"sentence_embedding", None}:
        remedy = "give a model whose Dense modules are plain"
        raise InputError(f"{folder} works on tokens or adds its input again, which is not read here: {remedy}")
    if not (folder / "model.safetensors").exists():
        remedy = "load the model in sentence-transformers and save it again"
        raise InputError(f"{folder} has no model.safetensors, and pickled weights are not loaded: {remedy}")
    dense = Dense(width, config["out_features"], config.get("bias", True), config.get("activation_function", TANH))
    try:
        dense.load_state_dict({name: x.float() for name, x in load_file(folder / "model.safetensors").items()})
    except RuntimeError as error:
        problem = f"do not fit its config.json or the {width} values that come in"
        raise InputError(f"the weights in {folder} {problem}: save the model again") from error
    return dense


def write_modules(folder: Path, encoder: Any, after: Sequence[nn.Module]) -> None:
    """modules.json and a folder for each module, in names that sentence-transformers 2 to 6 all understand: an
    encoder's pooling, `after`, and a normalization, unless it compares by dot product.
    """
    pooling = {"word_embedding_dimension": encoder.model.config.hidden_size}
    pooling |= {mode: name == encoder.pooling for name, mode in POOLINGS.items()}
    steps = [*after, *([] if encoder.similarity == "dot" else [Unit()])]
    modules: list[tuple[str, dict[str, Any], dict[str, Tensor]]] = [("Transformer", {}, {}), ("Pooling", pooling, {})]
    modules += [("Dense", x.settings, x.state_dict()) if isinstance(x, Dense) else ("Normalize", {}, {}) for x in steps]
    entries = []
    for i, (kind, config, weights) in enumerate(modules):
        path = f"{i}_{kind}" if i else ""
        entries.append({"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"})
        if path:
            files.write_json(folder / path / "config.json", config)
        if weights:
            tensors = {name: x.detach().cpu().contiguous() for name, x in weights.items()}
            save_file(tensors, folder / path / "model.safetensors", metadata={"format": "pt"})
    files.write_json(folder / "modules.json", entries)


def export(
    encoder: Encoder, folder: str | Path, layer: int | None = None, dim: int | None = None, grid: Grid | None = None
) -> Path:
    """Write one cell (default: last layer, full width) as a folder that plain `SentenceTransformer(folder)` loads.

    Blocks after `layer` are left out. Its `encode` gives what `encoder.encode(texts, layer=layer, dim=dim)` gives in
    fp32, (N, dim), with the same prompts and similarity. A head, and the cut, are a Dense module (`Heads.affine`, first
    `dim` rows), because `truncate_dim` would cut after the normalization. grid: a measured one, for the model card.
    `Encoder.load` reads the folder again; there the Dense module is part of every layer. Raises InputError for a cell
    that the model lacks, an early layer of a model that normalizes after its last block, and a folder that holds files.

    >>> import tempfile
    >>> from mrl_tutorial.models.encoder import Encoder
    >>> with tempfile.TemporaryDirectory() as place:
    ...     written = export(Encoder.load(), Path(place) / "small", layer=2, dim=64)
    ...     sorted(path.name for path in written.iterdir() if path.is_dir())
    ['1_Pooling', '2_Dense', '3_Normalize']
    """
    layer, dim = encoder.n_layers if layer is None else layer, encoder.width if dim is None else dim
    check_cells([layer], [dim], encoder.n_layers, encoder.width)
    folder, network = Path(folder), shortened(encoder.model, layer)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):  # an export never writes over anything
        raise InputError(f"{folder} exists and is not an empty folder: choose a new one")
    ids = torch.tensor(encoder.tokenize(["a"]), device=network.device)
    with torch.inference_mode():
        alone, wanted = network(input_ids=ids).last_hidden_state, EarlyExit(encoder.model, [layer])(ids)[0]
    if not torch.allclose(alone, wanted, atol=1e-6):
        problem = f"normalizes once more after its last block, so layer {layer} cannot stand alone"
        raise InputError(f"{encoder.name} {problem}: export layer {encoder.n_layers}")
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.padding_side = "right"  # as Encoder pads: absolute positions start at the first token
    with files.whole_folder(folder) as temporary:
        with quiet():
            network.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        for name, settings in _settings(encoder).items():
            files.write_json(temporary / f"{name}.json", settings)
        write_modules(temporary, encoder, [*(encoder.after or ()), *_linear(encoder, layer, dim)])
        (temporary / "README.md").write_text(_card(encoder, folder.name, layer, dim, grid), encoding="utf-8")
    return folder


def _linear(encoder: Encoder, layer: int, dim: int) -> list[Dense]:
    """What stands between the encoder's own modules and normalization: a head, a cut, or nothing."""
    if encoder.heads is None and dim == encoder.width:
        return []
    weight, bias = (torch.eye(encoder.width), None) if encoder.heads is None else encoder.heads.affine(layer)
    dense = Dense(encoder.width, dim, bias is not None, IDENTITY)
    dense.linear.weight.data = weight[:dim]
    if bias is not None:
        dense.linear.bias.data = bias[:dim]
    return [dense]


def _settings(encoder: Encoder) -> dict[str, Any]:
    """The folder's json files on length, prompts and similarity."""
    # a tokenizer that lowers its texts does so by its own file
    network: dict[str, Any] = {"max_seq_length": encoder.max_length, "do_lower_case": False}
    if getattr(encoder.model, "pooler", "none of that name") is None:
        network["model_args"] = {"add_pooling_layer": False}  # else loading reports random weights for it
    whole = {
        "prompts": dict(encoder.prompts),
        "default_prompt_name": "default" if "default" in encoder.prompts else None,
        "similarity_fn_name": encoder.similarity,
    }
    return {"sentence_bert_config": network, "config_sentence_transformers": whole}


def _card(encoder: Encoder, name: str, layer: int, dim: int, grid: Grid | None) -> str:
    """README.md: what the folder holds, and how to use it. grid: measured before, with or without this cell."""
    head = f" and its {encoder.heads.kind} head" if encoder.heads else ""
    unit = "" if encoder.similarity == "dot" else ", normalized to unit length"
    methods = {"query": "encode_query", "document": "encode_document"}
    method = "encode_query" if "query" in encoder.prompts else "encode"
    lines = [f"- {side}: {text!r}, by `{methods.get(side, 'encode')}`\n" for side, text in encoder.prompts.items()]
    prompts = "\nIt puts a prompt before each text:\n\n" + "".join(lines) if lines else ""
    measured = ""
    if grid is not None:
        here = layer in grid.layers and dim in grid.dims
        cell = f"This cell: {grid.at(layer, dim):.4f}.\n\n" if here else ""
        title = f"## Measured: {grid.metric} on {grid.task} ({grid.split})"
        measured = f"{title}\n\n{cell}```\n{grid.as_text()}\n```\n\n"
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

vectors = SentenceTransformer("{name}").{method}(["solve a linear system"])  # (1, {dim})
```
{prompts}
Shorter vectors: `SentenceTransformer(..., truncate_dim=d)` cuts after the normalization, so its vectors are not of
unit length. Compare them by cosine, or normalize them again: `encode(texts, normalize_embeddings=True)`.

{measured}Written by mrl-tutorial.
"""
