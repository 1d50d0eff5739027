"""The state of a training run on disk: written whole or not at all, as safetensors and json."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mrl_tutorial import files
from mrl_tutorial.recipes.recipe import Recipe, term_name


@dataclass
class Run:
    """How far a run has come. history: the total loss of each step. sums, counts: term -> (L, M), running loss tables."""

    step: int = 0
    seconds: float = 0.0
    history: list[float] = field(default_factory=list)
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, total: float, tables: dict[str, np.ndarray], keep: float = 0.9) -> None:
        """Count one step: tables are averaged with a memory of about 1 / (1 - keep) steps; NaN is no observation."""
        self.step += 1
        self.history.append(total)
        for name, table in tables.items():
            seen = np.isfinite(table)
            self.sums[name] = np.where(
                seen, keep * self.sums.get(name, 0.0) + np.nan_to_num(table), self.sums.get(name, 0.0)
            )
            self.counts[name] = np.where(seen, keep * self.counts.get(name, 0.0) + 1, self.counts.get(name, 0.0))

    def losses(self) -> dict[str, np.ndarray]:
        """Recent mean loss of each term, (L, M); NaN where training never looked."""
        with np.errstate(invalid="ignore"):
            return {
                name: self.sums[name] / np.where(self.counts[name] > 0, self.counts[name], np.nan) for name in self.sums
            }


@contextmanager
def unbroken() -> Iterator[None]:
    """Hold a Ctrl-C (or kernel stop) back until the block has ended: half an update is no state to go on from."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # interrupts reach the main thread alone
        return
    held: list[tuple] = []
    signal.signal(signal.SIGINT, lambda *arguments: held.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        before(*held[0])


def save_run(
    folder: Path, run: Run, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, done: bool
) -> None:
    """Write the run so that `load_run` goes on as if nothing had happened (a finished one without optimiser moments)."""
    tensors: dict[str, Tensor] = {f"parameter.{k}": p.detach().contiguous() for k, p in parameters.items()}
    if not done:
        for name, p in parameters.items():
            for moment in ("exp_avg", "exp_avg_sq", "step"):
                if p in optimizer.state:
                    tensors[f"{moment}.{name}"] = optimizer.state[p][moment].contiguous()
    tables = {"sums": run.sums, "counts": run.counts}
    for kind, group in tables.items():
        tensors |= {f"{kind}.{name}": torch.from_numpy(np.ascontiguousarray(table)) for name, table in group.items()}
    notes = {"step": run.step, "seconds": run.seconds, "history": run.history, "done": done}
    # one file holds all of it (notes ride in the header), so that no crash can pair one step's weights with another's notes
    with files.whole_file(folder / "run.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"notes": json.dumps(notes)})


def load_run(
    folder: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> tuple[Run, bool] | None:
    """Fill parameters and optimiser from `folder` and return (run, done); None where there is nothing usable."""
    path = folder / "run.safetensors"
    if not path.exists():
        return None
    try:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            notes = json.loads((file.metadata() or {})["notes"])
        tensors = load_file(path)
        values = {name: tensors[f"parameter.{name}"] for name in parameters}
    except Exception:  # a damaged file is no checkpoint: start again
        return None
    if any(values[name].shape != p.shape for name, p in parameters.items()):
        return None
    with torch.no_grad():
        for name, p in parameters.items():
            p.copy_(values[name])
            if f"exp_avg.{name}" in tensors:
                optimizer.state[p] = {m: tensors[f"{m}.{name}"] for m in ("step", "exp_avg", "exp_avg_sq")}
    run = Run(step=notes["step"], seconds=notes["seconds"], history=notes["history"])
    for kind, table in (("sums", run.sums), ("counts", run.counts)):
        table |= {k.split(".", 1)[1]: v.numpy() for k, v in tensors.items() if k.startswith(kind + ".")}
    return run, notes["done"]


def recipe_key(recipe: Recipe) -> list:
    """What makes two recipes the same run: names, grids, options; a function counts by `function_key`."""
    terms = [
        [term_name(key), "" if isinstance(key, str) else function_key(key), np.asarray(grid).tolist()]
        for key, grid in recipe.weights.items()
    ]
    options = {
        term_name(key): {name: _value_key(value, ()) for name, value in given.items()}
        for key, given in recipe.options.items()
    }
    drawn = function_key(recipe.sampler) if recipe.sampler else ""
    learned = [recipe.learned.rate] if recipe.learned else []
    return [recipe.name, list(recipe.layers), list(recipe.dims), terms, options, drawn, *learned]


def function_key(f: Callable, above: tuple = ()) -> str:
    """What a function computes: code, defaults, closure and the globals that it reads, functions beside it included.
    So that a term which was edited, or reads a number that was, is not taken for the run before."""
    inner = getattr(f, "__code__", None)
    if inner is None:
        return repr(f)
    if f in above:
        return f.__qualname__
    code, names = _code_key(inner)
    above = (*above, f)
    read = [(name, f.__globals__[name]) for name in sorted(names) if name in f.__globals__]
    cells = [(name, cell.cell_contents) for name, cell in zip(inner.co_freevars, f.__closure__ or (), strict=False)]
    given = [("defaults", f.__defaults__), ("keywords", f.__kwdefaults__)]
    return files.key(code, [[name, _value_key(value, above)] for name, value in (*read, *cells, *given)])


def _code_key(code: CodeType) -> tuple[list, set[str]]:
    """Instructions and constants, without addresses and places in a file; and the names that they use."""
    parts, names = [code.co_code.hex(), list(code.co_names)], set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a comprehension, a function inside
            inside, used = _code_key(constant)
            parts.append(inside)
            names |= used
        else:  # a set prints in another order in another process
            parts.append(sorted(map(repr, constant)) if isinstance(constant, frozenset) else repr(constant))
    return parts, names


def _value_key(value: object, above: tuple) -> str:
    if torch.is_tensor(value):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return files.key(value)
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, (list, tuple)):
        return files.key([_value_key(item, above) for item in value])
    if isinstance(value, dict):
        return files.key([[repr(name), _value_key(item, above)] for name, item in value.items()])
    if isinstance(value, FunctionType):
        package = value.__module__ or ""
        near = not above or package == above[0].__module__
        return function_key(value, above) if near else f"{package}.{value.__qualname__}"
    return repr(value)
