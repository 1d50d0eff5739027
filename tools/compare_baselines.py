"""The baselines of lesson 06 at equal budget: every baseline, reduction, dimension and measure, with 3 seeds.

    python -m tools.compare_baselines                        train or load, score, write data/results/baselines*.csv
    python -m tools.compare_baselines --baselines plain,mrl  only these: the csv files then hold these alone

Training is `train(..., what="full")` on pydocs, batches of 64, 50 steps in all: about 100 s a run on one quiet core,
scoring about as long. Every run and every score is cached (`$MRL_CACHE`), so the command goes on where it stopped.
baselines.csv holds means; baselines_paired.csv holds differences between two baselines, seeds averaged, with bounds
from resampling the test items. Scored are the last layer's unit vectors. The reductions are fitted on the training
split's texts alone. Needs `$MRL_DATA` for banking77 and stsbenchmark.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrl_tutorial import Encoder, InputError, files, load_task, train
from mrl_tutorial.evaluation.embeddings import task_inputs
from mrl_tutorial.evaluation.measures import few_shot_rows
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.evaluation.reduction import pca, random_dims
from mrl_tutorial.training.sweep_file import environment
from tools.baseline_tables import BASELINES, Run, Scores, difference_table, value_table

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"
SEEDS, STEPS, BATCH = 3, 50, 64
HEAD_STEPS = 150
TASKS = ("pydocs", "pydocs:package", "banking77", "stsbenchmark")
VERSION = 1  # of what is scored: counts up when a cached score no longer is what this file would compute

# -- training ------------------------------------------------------------------------------------------------------


def trained(name: str, seed: int, plain: Encoder, task: Any) -> tuple[Encoder, float]:
    """The encoder of a baseline, trained or loaded, and the seconds that its training took."""
    baseline = BASELINES[name]
    if baseline.what == "none":
        return plain, 0.0
    if baseline.what != "two stages":
        steps = HEAD_STEPS if baseline.what == "heads" else STEPS
        result = train(plain, task, baseline.recipe, what=baseline.what, steps=steps, batch_size=BATCH, seed=seed)
        return result.encoder, result.seconds
    first = train(plain, task, "full-size", what="full", steps=STEPS // 2, batch_size=BATCH, seed=seed)
    # another order of the pairs, so that the second stage does not see the first one's batches again
    second = train(first.encoder, task, "mrl", what="full", steps=STEPS // 2, batch_size=BATCH, seed=seed + 100)
    return second.encoder, first.seconds + second.seconds


def measured_here(name: str, seed: int, plain: Encoder, task: Any) -> dict[str, float | None]:
    """Train in this process: seconds, and its processor seconds and peak memory (null where the run was cached).

    Other programs on the machine lengthen the seconds, not the processor's (which hold the loading too).
    """
    began = time.monotonic()
    _, seconds = trained(name, seed, plain, task)
    fresh = time.monotonic() - began > 0.5 * seconds > 0
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime) if fresh else None,
        "peak_gb": round(peak, 2) if fresh else None,
    }


def measured_apart(name: str, seed: int) -> dict[str, float | None]:
    """`measured_here` in a process of its own, once. A head is trained when it is scored: its seconds are the
    notebook's to measure."""
    if BASELINES[name].what in ("none", "heads"):
        return dict.fromkeys(("seconds", "cpu_seconds", "peak_gb"))
    note = files.cache_dir("baselines") / f"{files.key(name, seed, STEPS, BATCH)}.json"
    if not note.exists():
        command = [sys.executable, "-m", "tools.compare_baselines", "--train", name, "--seed", str(seed)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        files.write_json(note, json.loads(done.stdout.splitlines()[-1]))
    return json.loads(note.read_text())


# -- scoring -------------------------------------------------------------------------------------------------------


def reductions(name: str, seed: int, sample: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """name -> function (N, D) -> (N, D) whose first k columns are the k kept; fitted on `sample` (N, D)."""
    found: dict[str, Callable[[np.ndarray], np.ndarray]] = {"prefix": lambda x: x}
    if BASELINES[name].reduced:
        found |= {"random": random_dims(sample.shape[1], seed).apply, "pca": pca(sample).apply}
    return found


def score(name: str, encoder: Encoder, seed: int, tasks: Mapping[str, Any]) -> Scores:
    """The scores of one encoder on every task, computed once."""
    baseline = BASELINES[name]
    key = files.key(encoder.fingerprint(), seed, baseline.reduced, tasks_key(tasks), baseline.dims, VERSION)
    return files.remembered("baselines", key, lambda: _scored(name, encoder, seed, tasks))


def _scored(name: str, encoder: Encoder, seed: int, tasks: Mapping[str, Any]) -> Scores:
    inputs = {task_name: task_inputs(task, "test") for task_name, task in tasks.items()}
    few: np.ndarray = np.zeros(0, int)
    if "banking77" in tasks:  # only the training texts that a few-shot sample takes are encoded
        texts, labels = tasks["banking77"].splits["train"]
        few = np.unique(np.concatenate(few_shot_rows(np.asarray(labels), 8, 10, 0)))
        inputs["banking77"]["train"] = [texts[i] for i in few]
    pairs = tasks["pydocs"].pairs("train")
    given = [*pairs, *(x for parts in inputs.values() for x in parts.values())]
    texts = list(dict.fromkeys(text for part in given for text in part))
    row = {text: i for i, text in enumerate(texts)}
    keep = name == "plain" or encoder.heads is not None  # these share the frozen network's vectors
    vectors = encoder.encode_layers(texts, layers=[encoder.n_layers], cache=keep)[0]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Scores = {}
    for how, apply in reductions(name, seed, vectors[[row[text] for side in pairs for text in side]]).items():
        reduced = np.asarray(apply(vectors), np.float32)
        for task_name, task in tasks.items():
            if how != "prefix" and task.kind == "classification":
                continue  # 80 logistic regressions each
            parts = {part: reduced[[row[text] for text in items]][None] for part, items in inputs[task_name].items()}
            if task_name == "banking77":  # back to their places among all training texts
                rows = np.zeros((1, len(labels), reduced.shape[1]), np.float32)
                rows[:, few] = parts["train"]
                parts["train"] = rows
            grid = evaluate_grid(task, embeddings=parts, split="test", layers=[1], dims=BASELINES[name].dims)
            found[f"{task_name}|{grid.metric}|{how}"] = grid.values[0] if grid.per_item is None else grid.per_item[0]
    return found


def tasks_key(tasks: Mapping[str, Any]) -> list[str]:
    """What stands for the tasks in a cache key."""
    return [f"{name} {task.fingerprint()}" for name, task in tasks.items()]


# -- tables --------------------------------------------------------------------------------------------------------


def write(name: str, frame: pd.DataFrame, header: Mapping[str, str]) -> None:
    """'# name: value' lines, then the rows; whole or not at all."""
    lines = "".join(f"# {key}: {value}\n" for key, value in header.items())
    with files.whole_file(RESULTS / f"{name}.csv") as temporary:
        temporary.write_text(lines + frame.to_csv(index=False, lineterminator="\n"), encoding="utf-8")


# -- the command ---------------------------------------------------------------------------------------------------


def settings() -> argparse.Namespace:
    """The command line; an unknown baseline ends the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baselines", default=",".join(BASELINES), help="names, comma between (default: all)")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--train", choices=list(BASELINES), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--stop-after-training", action="store_true", help="score nothing, write nothing")
    args = parser.parse_args()
    args.baselines = [name.strip() for name in args.baselines.split(",")]
    if unknown := [name for name in args.baselines if name not in BASELINES]:
        parser.error(f"no such baseline: {', '.join(unknown)}; there are {', '.join(BASELINES)}")
    return args


def load_tasks() -> dict[str, Any]:
    """The tasks that this machine has."""
    tasks = {}
    for name in TASKS:
        try:
            tasks[name] = load_task(name)
        except InputError as error:
            print(f"left out: {error}")
    return tasks


def main() -> None:
    """Train, score and write."""
    args = settings()
    plain, task = Encoder.load("all-MiniLM-L6-v2"), load_task("pydocs")
    if args.train:
        print(json.dumps(measured_here(args.train, args.seed, plain, task)))
        return
    # without training, the seed changes nothing but the random coordinates
    runs = [(b, seed) for seed in range(args.seeds) for b in args.baselines if BASELINES[b].what != "none" or seed == 0]
    costs = {}
    for name, seed in runs:
        costs[name, seed] = measured_apart(name, seed)
        print(f"{name}, seed {seed}: {costs[name, seed]}", flush=True)
    if args.stop_after_training:
        return
    tasks = load_tasks()
    header = {
        "command": shlex.join(["python", "-m", "tools.compare_baselines", *sys.argv[1:]]),
        "model": f"{plain.name} {plain.fingerprint()}",
        "tasks": ", ".join(tasks_key(tasks)),
        "layer": "6",
        "training": f"pydocs, {STEPS} steps of {BATCH} pairs in all (heads: {HEAD_STEPS} steps), {args.seeds} seeds",
        **environment(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
    }
    found: dict[Run, Scores] = {}
    for name, seed in runs:
        began = time.monotonic()
        found[name, seed] = score(name, trained(name, seed, plain, task)[0], seed, tasks)
        write("baselines", value_table(found, costs), header)  # whole, after every run
        print(f"scored {name}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    note = {"difference": "a - b, seeds averaged; low, high: 95 % bootstrap over items"}
    write("baselines_paired", difference_table(found), {**header, **note})
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
