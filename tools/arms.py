"""The arms of notebook 03 at equal budget: every arm, reduction, dimension and measure, 3 seeds.

    python tools/arms.py                      train or load, score, write data/results/arms.csv and arms_paired.csv
    python tools/arms.py --arms plain,mrl     only these arms: the csv files then hold these alone

Training is `train(..., what="full")` on pydocs, batches of 64, 50 steps in all: about 100 s a run on one quiet core,
scoring about as long. Every run and every score is cached (`$MRL_CACHE`), so the command goes on where it stopped.
arms.csv holds means; arms_paired.csv holds differences between two arms, seeds averaged, with bounds from resampling
the test items. Scored are the last layer's unit vectors. The reductions are fitted on the training split's texts alone.
Needs `$MRL_DATA` for banking77 and stsbenchmark.
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
from pathlib import Path

import numpy as np
import pandas as pd

from mrl_tutorial import Encoder, InputError, files, load_task, train
from mrl_tutorial.evaluation.embeddings import task_inputs
from mrl_tutorial.evaluation.probes import few_shot_draws
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.evaluation.reduction import pca, random_dims
from mrl_tutorial.evaluation.statistics import paired
from mrl_tutorial.training.examples import unique_texts
from mrl_tutorial.training.sweep_file import environment

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"
DIMS = (8, 16, 32, 64, 77, 128, 256, 384)  # 77 of 384: four fifths cut off
SEEDS, STEPS, BATCH = 3, 50, 64
HEAD_STEPS = 150
TASKS = ("pydocs", "pydocs:package", "banking77", "stsbenchmark")
#: arm -> (recipe, what, the one width it is scored at or None)
ARMS = {
    "plain": ("", "none", None),
    "separate 32": ("separate:6,32", "full", 32),
    "separate 128": ("separate:6,128", "full", 128),
    "fixed then mrl": ("", "two stages", None),
    "heads fixed": ("full-size", "heads", None),
    "heads mrl": ("mrl", "heads", None),
    "fixed": ("full-size", "full", None),
    "mrl": ("mrl", "full", None),
}
REDUCED = ("plain", "fixed", "mrl")  # arms that are also reduced by random coordinates and by PCA
#: (a, its reduction, b, its reduction): a - b, at every width that both have
PAIRS = [
    ("mrl", "prefix", "fixed", "prefix"), ("fixed then mrl", "prefix", "mrl", "prefix"),
    ("fixed then mrl", "prefix", "fixed", "prefix"), ("mrl", "prefix", "plain", "prefix"),
    ("fixed", "prefix", "plain", "prefix"), ("fixed", "pca", "fixed", "prefix"), ("fixed", "random", "fixed", "prefix"),
    ("mrl", "prefix", "fixed", "pca"), ("mrl", "pca", "mrl", "prefix"), ("separate 32", "prefix", "mrl", "prefix"),
    ("separate 128", "prefix", "mrl", "prefix"), ("mrl", "prefix", "heads mrl", "prefix"),
    ("heads mrl", "prefix", "plain", "prefix"), ("heads mrl", "prefix", "heads fixed", "prefix"),
]  # fmt: skip
PAIR_COLUMNS = [
    "a", "reduction_a", "b", "reduction_b", "task", "measure", "dim", "seeds", "items", "mean", "low", "high", "spread",
]  # fmt: skip
NOT_MEASURED = {"cpu_seconds": None, "peak_gb": None}
VERSION = 1  # of what is scored: counts up when a cached score no longer is what this file would compute


def trained(arm: str, seed: int, plain: Encoder, task) -> tuple[Encoder, float]:
    """The encoder of an arm, trained or loaded, and the seconds that its training took."""
    recipe, what, _ = ARMS[arm]
    if what == "none":
        return plain, 0.0
    if what == "heads":
        result = train(plain, task, recipe, what="heads", steps=HEAD_STEPS, batch_size=BATCH, seed=seed)
        return result.encoder, result.seconds
    if what == "full":
        result = train(plain, task, recipe, what="full", steps=STEPS, batch_size=BATCH, seed=seed)
        return result.encoder, result.seconds
    first = train(plain, task, "full-size", what="full", steps=STEPS // 2, batch_size=BATCH, seed=seed)
    # another order of the pairs, so that the second stage does not see the first one's batches again
    second = train(first.encoder, task, "mrl", what="full", steps=STEPS // 2, batch_size=BATCH, seed=seed + 100)
    return second.encoder, first.seconds + second.seconds


def in_a_process(arm: str, seed: int) -> dict:
    """Train in a process of its own: {seconds, cpu_seconds, peak_gb}, the last two null where the run was cached. Other
    programs on the machine lengthen the seconds, not the seconds of processor time (which hold loading too).
    A head is trained when it is scored: its seconds are the notebook's to measure."""
    if ARMS[arm][1] in ("none", "heads"):
        return {"seconds": None, **NOT_MEASURED}
    note = files.cache_dir("arms") / f"{files.key(arm, seed, STEPS, BATCH)}.json"
    if not note.exists():
        command = [sys.executable, __file__, "--train", arm, "--seed", str(seed)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        files.write_json(note, json.loads(done.stdout.splitlines()[-1]))
    return {"seconds": None, **NOT_MEASURED, **json.loads(note.read_text())}


def reductions(arm: str, seed: int, sample: np.ndarray) -> dict:
    """name -> function (N, D) -> (N, D) whose first k columns are the k kept; fitted on `sample` (N, D)."""
    found = {"prefix": lambda x: x}
    if arm in REDUCED:
        found |= {"random": random_dims(sample.shape[1], seed).apply, "pca": pca(sample).apply}
    return found


def score(arm: str, encoder: Encoder, seed: int, tasks: dict) -> dict[str, np.ndarray]:
    """ "task|measure|reduction" -> (M, items), or (M,) for a correlation; M = len(DIMS), or 1 for a separate model."""
    width = ARMS[arm][2]
    dims, out = [width] if width else DIMS, {}
    key = files.key(encoder.fingerprint(), seed, arm in REDUCED, tasks_key(tasks), dims, VERSION)
    place = files.cache_dir("arms") / f"{key}.npz"
    if place.exists():
        with np.load(place) as saved:
            return dict(saved)
    inputs = {name: task_inputs(task, "test") for name, task in tasks.items()}
    if "banking77" in tasks:  # only what a draw takes is looked at
        texts, labels = tasks["banking77"].splits["train"]
        used = np.unique(np.concatenate(few_shot_draws(np.asarray(labels), 8, 10, 0)))
        inputs["banking77"]["train"] = [texts[i] for i in used]
    pairs = tasks["pydocs"].pairs("train")
    texts, row = unique_texts(*pairs, *(x for parts in inputs.values() for x in parts.values()))
    keep = arm == "plain" or encoder.heads is not None  # these share the frozen network's vectors
    vectors = encoder.encode_layers(texts, layers=[encoder.n_layers], cache=keep)[0]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    sample = vectors[[row[text] for side in pairs for text in side]]
    for how, apply in reductions(arm, seed, sample).items():
        turned = np.asarray(apply(vectors), np.float32)
        for name, task in tasks.items():
            if how != "prefix" and task.kind == "classification":
                continue  # 80 logistic regressions each
            parts = {part: turned[[row[text] for text in items]][None] for part, items in inputs[name].items()}
            if name == "banking77":
                train_part = np.zeros((1, len(labels), turned.shape[1]), np.float32)
                train_part[:, used] = parts["train"]
                parts["train"] = train_part
            grid = evaluate_grid(task, embeddings=parts, split="test", layers=[1], dims=dims)
            out[f"{name}|{grid.metric}|{how}"] = grid.values[0] if grid.per_item is None else grid.per_item[0]
    with files.whole_file(place) as temporary:
        np.savez_compressed(temporary, **out)
    return out


def tasks_key(tasks: dict) -> list[str]:
    """What stands for the tasks in a cache key."""
    return [f"{name} {task.fingerprint()}" for name, task in tasks.items()]


def value_rows(found: dict, notes: dict) -> list[dict]:
    """Rows of arms.csv from {(arm, seed): scores} and {(arm, seed): seconds and memory}."""
    rows = []
    for (arm, seed), scores in found.items():
        for name, values in scores.items():
            task, measure, how = name.split("|")
            means = values if values.ndim == 1 else values.mean(1, dtype=np.float64)
            rows += [
                {"arm": arm, "seed": seed, "reduction": how, "task": task, "measure": measure, "dim": d,
                 "value": round(float(v), 6),
                 "items": values.shape[-1] if values.ndim > 1 else "", **notes[arm, seed]}
                for d, v in zip(widths(arm), means, strict=True)
            ]  # fmt: skip
    return rows


def difference_rows(found: dict) -> list[dict]:
    """Rows of arms_paired.csv: each of PAIRS over the seeds that both arms have; plain, without seeds, stands for all."""
    differences = []
    for a, how_a, b, how_b in PAIRS:
        sides = [{seed: s for (arm, seed), s in found.items() if arm == side} for side in (a, b)]
        seeds = sorted(set(sides[0]) if b == "plain" else set(sides[0]) & set(sides[1]))
        if not seeds or not sides[1]:
            continue
        sides = [
            [by_seed[0 if arm == "plain" else seed] for seed in seeds]
            for by_seed, arm in zip(sides, (a, b), strict=True)
        ]
        for name in sides[0][0]:
            task, measure, how = name.split("|")
            other = f"{task}|{measure}|{how_b}"
            if how != how_a or other not in sides[1][0] or sides[0][0][name].ndim == 1:
                continue
            for d in [d for d in widths(a) if d in widths(b)]:
                x = np.stack([scores[name][widths(a).index(d)] for scores in sides[0]])  # (seeds, items)
                y = np.stack([scores[other][widths(b).index(d)] for scores in sides[1]])
                differences.append({"a": a, "reduction_a": how_a, "b": b, "reduction_b": how_b, "task": task,
                                    "measure": measure, "dim": d, "seeds": len(seeds), "items": x.shape[1],
                                    **{k: round(v, 6) for k, v in paired(x, y)._asdict().items()}})  # fmt: skip
    return differences


def widths(arm: str) -> list[int]:
    """The widths that an arm is scored at."""
    return [ARMS[arm][2]] if ARMS[arm][2] else list(DIMS)


def write(name: str, frame: pd.DataFrame, header: dict[str, str]) -> None:
    """'# name: value' lines, then the rows; whole or not at all."""
    lines = "".join(f"# {key}: {value}\n" for key, value in header.items())
    with files.whole_file(RESULTS / f"{name}.csv") as temporary:
        temporary.write_text(lines + frame.to_csv(index=False, lineterminator="\n"), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default=",".join(ARMS), help="arms, comma between (default: all)")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--train", choices=list(ARMS), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--stop-after-training", action="store_true", help="score nothing, write nothing")
    args = parser.parse_args()
    plain, task = Encoder.load("all-MiniLM-L6-v2"), load_task("pydocs")
    if args.train:
        began = time.monotonic()
        _, seconds = trained(args.train, args.seed, plain, task)
        fresh = time.monotonic() - began > 0.5 * seconds > 0
        used = resource.getrusage(resource.RUSAGE_SELF)
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
        measured = (
            {"cpu_seconds": round(used.ru_utime + used.ru_stime), "peak_gb": round(peak, 2)} if fresh else NOT_MEASURED
        )
        print(json.dumps({"seconds": round(seconds, 1), **measured}))
        return
    arms = [arm.strip() for arm in args.arms.split(",")]
    if unknown := [arm for arm in arms if arm not in ARMS]:
        parser.error(f"no such arm: {', '.join(unknown)}; there are {', '.join(ARMS)}")
    runs = [(arm, seed) for seed in range(args.seeds) for arm in arms if ARMS[arm][1] != "none" or seed == 0]
    notes = {}
    for arm, seed in runs:
        notes[arm, seed] = in_a_process(arm, seed)
        print(f"{arm}, seed {seed}: {notes[arm, seed]}", flush=True)
    if args.stop_after_training:
        return
    tasks = {}
    for name in TASKS:
        try:
            tasks[name] = task if name == "pydocs" else load_task(name)
        except InputError as error:
            print(f"left out: {error}")
    header = {
        "command": shlex.join(["python", *sys.argv]), "model": f"{plain.name} {plain.fingerprint()}",
        "tasks": ", ".join(tasks_key(tasks)), "layer": "6",
        "training": f"pydocs, {STEPS} steps of {BATCH} pairs in all (heads: {HEAD_STEPS} steps), {args.seeds} seeds",
        **environment(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
    }  # fmt: skip
    told = {**header, "difference": "a - b, seeds averaged; low, high: 95 % bootstrap over items"}
    found: dict = {}
    for arm, seed in runs:
        began = time.monotonic()
        encoder, _ = trained(arm, seed, plain, task)
        # without training only the random coordinates depend on the seed
        found[arm, seed] = score(arm, encoder, seed, tasks)
        values = pd.DataFrame(value_rows(found, notes))
        write("arms", values, header)  # whole, after every run
        print(f"scored {arm}, seed {seed}: {time.monotonic() - began:.0f} s; {len(values)} rows", flush=True)
    differences = pd.DataFrame(difference_rows(found), columns=PAIR_COLUMNS)
    write("arms_paired", differences, told)
    print(f"{len(values)} and {len(differences)} rows in {RESULTS}")


if __name__ == "__main__":
    main()
