"""One cell of the grid as a sentence-transformers folder: the blocks it needs, pooling, head, cut, unit length."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid, check_cells
from mrl_tutorial.models.card import model_card
from mrl_tutorial.models.dense import Dense, linear_dense, write_modules
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.folders import pooling_settings, quiet
from mrl_tutorial.models.layers import EarlyExit, shortened


def export(
    encoder: Encoder, folder: str | Path, layer: int | None = None, dim: int | None = None, grid: Grid | None = None
) -> Path:
    """Write one cell (default: last layer, full width) as a folder that plain `SentenceTransformer(folder)` loads.

    Blocks after `layer` are left out. Its `encode` gives what `encoder.encode(texts, layer=layer, dim=dim)` gives in
    fp32, (N, dim), with the same prompts and similarity. A head, and the cut, are a Dense module (y = A x + b,
    `Heads.affine`, first `dim` rows), because `truncate_dim` would cut after the normalization and is not stored in a
    folder. Weights are safetensors. grid: a measured one, for the model card, README.md. `Encoder.load` reads the
    folder again; there the Dense module is part of every layer. Raises InputError for a cell that the model lacks, an
    early layer of a model that normalizes after its last block (the folder would do so after `layer`), and a folder
    that holds files.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     written = export(Encoder.load(), Path(place) / "small", layer=2, dim=64)
    ...     sorted(path.name for path in written.iterdir() if path.is_dir())
    ['1_Pooling', '2_Dense', '3_Normalize']
    """
    layer, dim = encoder.n_layers if layer is None else layer, encoder.width if dim is None else dim
    check_cells([layer], [dim], encoder.n_layers, encoder.width)
    folder, after = Path(folder), [*(encoder.after or ()), *_linear(encoder, layer, dim)]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):  # an export never writes over anything
        raise InputError(f"{folder} exists and is not an empty folder: choose a new one")
    _check_end(encoder, layer)
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.padding_side = "right"  # as Encoder pads: absolute positions start at the first token
    with files.whole_folder(folder) as temporary:
        with quiet():
            shortened(encoder.model, layer).save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
        for path, settings in _settings(encoder).items():
            files.write_json(temporary / path, settings)
        write_modules(temporary, pooling_settings(encoder), after, encoder.similarity != "dot")
        (temporary / "README.md").write_text(model_card(encoder, folder.name, layer, dim, grid), encoding="utf-8")
    return folder


@torch.inference_mode()
def _check_end(encoder: Encoder, layer: int) -> None:
    ids = torch.tensor(encoder.tokenize(["a"]), device=next(encoder.model.parameters()).device)
    cut = shortened(encoder.model, layer)(input_ids=ids).last_hidden_state
    if not torch.allclose(cut, EarlyExit(encoder.model, [layer])(ids)[0], atol=1e-6):
        raise InputError(
            f"{encoder.name} normalizes once more after its last block, so layer {layer} cannot stand alone: "
            f"export layer {encoder.n_layers}"
        )


def _linear(encoder: Encoder, layer: int, dim: int) -> list[Dense]:
    """What stands between the encoder's own modules and normalization: a head, a cut, or nothing."""
    if encoder.heads is not None:
        weight, bias = encoder.heads.affine(layer)
        return [linear_dense(weight[:dim], bias[:dim])]
    return [] if dim == encoder.width else [linear_dense(torch.eye(encoder.width)[:dim], None)]


def _settings(encoder: Encoder) -> dict[str, Any]:
    """The folder's json files on length, prompts and similarity."""
    prompts = dict(encoder.prompts)
    # a tokenizer that lowers its texts does so by its own file
    network: dict[str, Any] = {"max_seq_length": encoder.max_length, "do_lower_case": False}
    if getattr(encoder.model, "pooler", "none of that name") is None:
        network["model_args"] = {"add_pooling_layer": False}  # else loading reports random weights for it
    return {
        "sentence_bert_config.json": network,
        "config_sentence_transformers.json": {
            "prompts": prompts,
            "default_prompt_name": "default" if "default" in prompts else None,
            "similarity_fn_name": encoder.similarity,
        },
    }
