"""What some sentence-transformers folders do after pooling: Dense modules, and a Normalize before them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.models.layers import POOLINGS

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
    modules: list[tuple[str, dict[str, Any]]] = [("Transformer", {}), ("Pooling", pooling)]
    modules += [("Dense", step.settings) if isinstance(step, Dense) else ("Normalize", {}) for step in after]
    modules += [] if encoder.similarity == "dot" else [("Normalize", {})]
    paths = [f"{i}_{kind}" if i else "" for i, (kind, _) in enumerate(modules)]
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, (kind, _)) in enumerate(zip(paths, modules, strict=True))
    ]
    files.write_json(folder / "modules.json", entries)
    for path, (_, config) in list(zip(paths, modules, strict=True))[1:]:
        files.write_json(folder / path / "config.json", config)
    for path, step in zip(paths[2:], after, strict=False):
        if isinstance(step, Dense):
            tensors = {name: x.detach().cpu().contiguous() for name, x in step.state_dict().items()}
            save_file(tensors, folder / path / "model.safetensors", metadata={"format": "pt"})


def kind_of(module: dict[str, Any]) -> str:
    """The class name of an entry of modules.json."""
    return str(module.get("type", "")).rsplit(".", 1)[-1]


def read_json(path: Path) -> Any:
    """What a json file holds, {} where there is no such file. Raises InputError where it is not json."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno} is not json: correct or delete it") from error
