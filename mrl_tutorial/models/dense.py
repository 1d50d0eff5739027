"""What some sentence-transformers folders do after pooling: Dense modules, and a Normalize before them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mrl_tutorial import files
from mrl_tutorial.errors import InputError

ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": nn.Identity,
    "torch.nn.modules.activation.Tanh": nn.Tanh,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
    "torch.nn.modules.activation.GELU": nn.GELU,
    "torch.nn.modules.activation.SiLU": nn.SiLU,
    "torch.nn.modules.activation.Sigmoid": nn.Sigmoid,
}


class Dense(nn.Module):
    """activation(A x + b): (..., in) to (..., out). Raises InputError for an activation that is not in `ACTIVATIONS`.

    >>> Dense(8, 2, activation="torch.nn.modules.linear.Identity")(torch.ones(3, 8)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self, width: int, out: int, bias: bool = True, activation: str = "torch.nn.modules.activation.Tanh"
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            known = ", ".join(name.rsplit(".", 1)[-1] for name in ACTIVATIONS)
            raise InputError(f"a Dense module with the activation {activation!r} is not read: it has to be {known}")
        self.linear, self.activation = nn.Linear(width, out, bias=bias), activation
        self.act = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return self.act(self.linear(x))

    def settings(self) -> dict[str, Any]:
        """What config.json says of it in a sentence-transformers folder."""
        shape = {"in_features": self.linear.in_features, "out_features": self.linear.out_features}
        return {**shape, "bias": self.linear.bias is not None, "activation_function": self.activation}


class Unit(nn.Module):
    """Vectors of unit length, (..., D)."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return nn.functional.normalize(x, dim=-1)


def read_after(folder: Path, modules: Sequence[dict], settings: Sequence[dict], width: int) -> nn.Sequential | None:
    """The modules of a folder between pooling and the last normalization, None where there are none.

    modules, settings: entries of modules.json, and the config.json of each. width: of the pooled vectors. An Encoder
    normalizes its vectors itself, so a Normalize module at the end is not among them. Raises InputError for a Dense
    module that cannot be read.
    """
    steps: list[nn.Module] = []
    for module, config in zip(modules, settings, strict=True):
        if kind_of(module) == "Normalize":
            steps.append(Unit())
        elif kind_of(module) == "Dense":
            dense = _read_dense(folder / module.get("path", ""), config)
            if dense.linear.in_features != width:
                raise InputError(f"{folder}: a Dense module takes {dense.linear.in_features} values, {width} come in")
            steps.append(dense)
            width = dense.linear.out_features
    while steps and isinstance(steps[-1], Unit):
        steps.pop()
    return nn.Sequential(*steps).eval() if steps else None


def _read_dense(folder: Path, config: dict) -> Dense:
    places = {config.get(name, "sentence_embedding") for name in ("module_input_name", "module_output_name")}
    if config.get("use_residual") or places - {"sentence_embedding", None}:
        remedy = "give a model whose Dense modules are plain"
        raise InputError(f"{folder} works on tokens or adds its input again, which is not read here: {remedy}")
    if not (folder / "model.safetensors").exists():
        remedy = "load the model in sentence-transformers and save it again"
        raise InputError(f"{folder} has no model.safetensors, and pickled weights are not loaded: {remedy}")
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    dense = Dense(config["in_features"], config["out_features"], config.get("bias", True), activation)
    tensors = {name: x.float() for name, x in load_file(folder / "model.safetensors").items()}
    try:
        dense.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"the weights in {folder} do not fit its config.json: save the model again") from error
    return dense


def linear_dense(weight: Tensor, bias: Tensor | None) -> Dense:
    """weight (out, in) and bias (out,) as a module without an activation."""
    dense = Dense(weight.shape[1], weight.shape[0], bias is not None, "torch.nn.modules.linear.Identity")
    with torch.no_grad():
        dense.linear.weight.copy_(weight)
        if bias is not None:
            dense.linear.bias.copy_(bias)
    return dense


def write_modules(folder: Path, pooling: dict, after: Sequence[nn.Module], unit: bool) -> None:
    """modules.json, the settings of pooling, and a folder for each module after it, in names that sentence-transformers
    2 to 6 all understand. unit: whether a normalization comes last.
    """
    steps = [*after, *([Unit()] if unit else [])]
    kinds = ["Transformer", "Pooling", *("Dense" if isinstance(step, Dense) else "Normalize" for step in steps)]
    paths = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds) if i)]
    entries = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]
    files.write_json(folder / "modules.json", entries)
    files.write_json(folder / paths[1] / "config.json", pooling)
    for path, step in zip(paths[2:], steps, strict=True):
        files.write_json(folder / path / "config.json", step.settings() if isinstance(step, Dense) else {})
        if isinstance(step, Dense):
            tensors = {name: x.detach().cpu().contiguous() for name, x in step.state_dict().items()}
            save_file(tensors, folder / path / "model.safetensors", metadata={"format": "pt"})


def kind_of(module: dict) -> str:
    """The class name of an entry of modules.json."""
    return str(module.get("type", "")).rsplit(".", 1)[-1]
