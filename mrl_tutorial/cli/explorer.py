"""The grid explorer from the command line: its page, and what makes it open at once. Heavy imports stay inside."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from mrl_tutorial.cli.support import say_warnings, writable


def page(args: argparse.Namespace) -> None:
    """Write the explorer's page, and say how large it is."""
    writable(args.out)
    from mrl_tutorial import GridExplorer  # without the extra "notebooks", an InputError
    from mrl_tutorial.models.encoder import Encoder
    from mrl_tutorial.tasks.load import load_task

    wanted = {name if name == "plain" else Path(name).name: name for name in args.model or ["plain"]}
    encoders = {name: Encoder.load() if given == "plain" else Encoder.load(given) for name, given in wanted.items()}
    task = load_task(args.task, columns=args.columns)
    panel = GridExplorer(task, encoders, split=args.split, examples=args.queries)
    say_warnings(task)
    panel.save_page(args.out, title=f"{task.name}: every layer, every dimension")
    size = Path(args.out).stat().st_size / 1e6
    print(
        f"{args.out}: {', '.join(encoders)} on {task.name}, {panel.model.items}; {size:.2f} MB, opens by double click"
    )


def prepare(args: argparse.Namespace) -> None:
    """Fill the cache: pydocs, its embeddings, the explorer's grids, the training pairs."""
    from mrl_tutorial import GridExplorer  # without the extra "notebooks", an InputError
    from mrl_tutorial.evaluation.quality import evaluate_grid
    from mrl_tutorial.models.encoder import Encoder
    from mrl_tutorial.tasks.load import load_task
    from mrl_tutorial.training.loop import train as run

    began = time.perf_counter()
    task, encoder = load_task("pydocs"), Encoder.load(args.model) if args.model else Encoder.load()
    for split in ("dev", "test"):
        evaluate_grid(task, encoder, split=split)
    GridExplorer(task, encoder)
    run(encoder, task, "all-cells", steps=1, batch_size=2, cache=False)  # embeds the training pairs
    print(f"{task.name} and {encoder.name} are in the cache, {time.perf_counter() - began:.0f} s")
