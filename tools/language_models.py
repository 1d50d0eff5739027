"""Lesson 13's table: plain, nested and separately trained small language models, each width measured on pydocs.

python -m tools.language_models --out data/results/language-model.csv

Each arm takes the best of three learning rates, by dev loss after a quarter of the steps, the separate models that of
width 8; then it is trained with each seed. A plain model is also read in a second way, "rotated", without training.
Run again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mrl_tutorial import files
from mrl_tutorial.training.sweep_file import environment
from notebooks.evidence.language_model import LanguageModel, Plan, Reader, Text, load_text, losses, rotated, train

COLUMNS = ["arm", "seed", "way", "dim", "rate", "steps", "dev", "test", "seconds"]
RATES = (1.4e-2, 2.8e-2, 5.6e-2)


@dataclass
class Table:
    """The rows measured so far and their file; the test texts' own losses lie beside it, a file a run."""

    path: Path
    header: dict[str, str]
    rows: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=COLUMNS))

    def __post_init__(self) -> None:
        if self.path.exists():
            self.rows = pd.read_csv(self.path, comment="#")

    def has(self, **wanted: object) -> bool:
        """Whether a row with these values is there."""
        return bool(np.logical_and.reduce([self.rows[name] == value for name, value in wanted.items()]).any())

    def add(self, rows: list[dict[str, object]]) -> None:
        """Append rows and write the file, whole or not at all."""
        new = pd.DataFrame(rows, columns=COLUMNS)
        self.rows = pd.concat([self.rows, new], ignore_index=True) if len(self.rows) else new
        lines = [f"# {name}: {value}\n" for name, value in self.header.items()]
        with files.whole_file(self.path) as temporary:
            text = self.rows.to_csv(index=False, lineterminator="\n", float_format="%.6g")
            temporary.write_text("".join(lines) + text, encoding="utf-8")


def search(table: Table, arm: str, plan: Plan, text: Text) -> float:
    """The rate with the lowest dev loss, the mean over the arm's widths, after a quarter of the steps with seed 0."""
    short = replace(plan, steps=plan.steps // 4)
    for rate in RATES:
        if not table.has(arm=arm, way="search", rate=rate):
            begun = time.process_time()
            model = train(arm, short, text, rate, seed=0)
            dev = losses(model, text.dev, [(plan.n_layers, d) for d in widths(arm, plan)]).mean().item()
            seconds = time.process_time() - begun
            row = ("search", 0, rate, short.steps, dev, float("nan"), seconds)
            table.add([dict(zip(COLUMNS, (arm, 0, *row), strict=True))])
    tried = table.rows[(table.rows.arm == arm) & (table.rows.way == "search")]
    return float(tried.rate[tried.dev.astype(float).idxmin()])


def widths(arm: str, plan: Plan) -> tuple[int, ...]:
    """The widths that an arm is trained for."""
    if arm.startswith("separate:"):
        return (int(arm.split(":")[1]),)
    return plan.dims if arm == "nested" else plan.dims[-1:]


def ways(arm: str, model: LanguageModel, text: Text) -> dict[str, tuple[tuple[int, ...], Reader | None]]:
    """How a model is read: way -> widths, and the reader where it is not the model's own."""
    if arm != "plain":
        return {"trained": (widths(arm, model.plan), None)}
    windows = text.train[: 400 * model.plan.context].view(400, -1)
    with torch.no_grad():
        states = model(windows)[-1].flatten(0, 1)
        counts = torch.bincount(text.train, minlength=model.plan.vocabulary) + 1.0
        reader = rotated(model.table.detach(), model.bias.detach(), states, counts)
    return {"cut": (model.plan.dims, None), "rotated": (model.plan.dims, reader)}


def measure(table: Table, arm: str, seed: int, rate: float, plan: Plan, text: Text) -> None:
    """Train one model, measure it on dev and test, and keep both its rows and its losses."""
    begun, curve = time.process_time(), []
    last, some = plan.n_layers, text.dev[:128]

    def told(step: int, model: LanguageModel) -> None:
        curve.append(losses(model, some, [(last, d) for d in widths(arm, plan)]).mean().item())

    model = train(arm, plan, text, rate, seed, told)
    seconds, rows, items = time.process_time() - begun, [], {}
    for way, (dims, reader) in ways(arm, model, text).items():
        cells = [(last, d) for d in dims]
        dev, test = (losses(model, split, cells, reader).numpy() for split in (text.dev, text.test))
        items[way] = test.astype(np.float16)
        for d, x, y in zip(dims, dev.mean(1), test.mean(1), strict=True):
            rows.append(dict(zip(COLUMNS, (arm, seed, way, d, rate, plan.steps, x, y, round(seconds)), strict=True)))
    with files.whole_file(items_file(table.path, arm, seed)) as temporary:
        np.savez_compressed(temporary, curve=np.array(curve, np.float32), **items)
    table.add(rows)


def items_file(path: Path, arm: str, seed: int) -> Path:
    """Where the losses of a run lie: "curve", dev after each tenth of the steps, and way -> (widths, test texts)."""
    return path.with_suffix("") / f"{arm.replace(':', '-')}-{seed}.npz"


def main() -> None:
    """Train what the table lacks, a seed after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=Plan.steps)
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    plan = Plan(steps=args.steps)
    text = load_text(plan)
    command = f"python -m tools.language_models --out {args.out} --seeds {args.seeds} --steps {args.steps}"
    about = f"the first {plan.context} tokens of {len(text.test)} texts"
    header = {"command": command, "plan": str(plan), "test": about, **environment()}
    table = Table(args.out, header)
    rates = {arm: search(table, arm, plan, text) for arm in ("plain", "nested", "separate:8")}
    for seed in range(args.seeds):
        for arm in ("plain", "nested", *(f"separate:{d}" for d in plan.dims[:-1])):
            if not table.has(arm=arm, seed=seed, way="cut" if arm == "plain" else "trained"):
                measure(table, arm, seed, rates.get(arm, rates["separate:8"]), plan, text)
                print(table.rows.tail(1).to_string(header=False, index=False), flush=True)


if __name__ == "__main__":
    main()
