"""What each verb of the command line does with its parsed arguments. Heavy imports stay inside the functions."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrl_tutorial.cli.doctor import doctor as doctor
from mrl_tutorial.cli.explorer import page as page
from mrl_tutorial.cli.explorer import prepare as prepare
from mrl_tutorial.cli.lab import check_file, train_file
from mrl_tutorial.cli.lab import lab as lab
from mrl_tutorial.cli.panels import panel as panel
from mrl_tutorial.cli.support import say_warnings, score, table, writable
from mrl_tutorial.errors import InputError

if TYPE_CHECKING:
    from mrl_tutorial.models.encoder import Encoder
    from mrl_tutorial.tasks.task import Task

WIDTH = 110  # characters of a document that a search shows
BUDGET = ("what", "heads", "steps", "batch_size", "lr", "precision")


def tasks(args: argparse.Namespace) -> None:
    """List the tasks."""
    from mrl_tutorial.tasks.load import tasks as listed

    for t in listed():
        print(f"{t.name:<16} {t.kind:<15} {t.size:<35} {t.origin}{'' if t.available else ' (not on this machine)'}")


def recipes(args: argparse.Namespace) -> None:
    """List the recipes."""
    from mrl_tutorial.recipes.registry import RECIPES

    for name, (_, source, line) in RECIPES.items():
        print(f"{name:<16} {line}\n{'':<16} {source}")


def evaluate(args: argparse.Namespace) -> None:
    """Print the quality grid, and write it where `--json` says."""
    writable(args.json)
    from mrl_tutorial.evaluation.embeddings import share_cut
    from mrl_tutorial.evaluation.quality import evaluate_grid, in_words
    from mrl_tutorial.files import write_json
    from mrl_tutorial.tasks.task import prepared

    task, encoder = _load(args)
    grid = evaluate_grid(task, encoder, **_given(args, "metric", "split", "layers", "dims", "precision"))
    say_warnings(prepared(task, args.split))
    print(f"{grid.metric} on {grid.task} ({grid.split}), {grid.model}")
    print(in_words(grid.about, grid.split))
    if encoder is not None:
        grid.about["texts_cut"] = round(share_cut(task, encoder, grid.split), 6)
        print(f"{grid.about['texts_cut']:.1%} of the texts are cut at {encoder.max_length} tokens; {encoder!r}")
    print(table(grid))
    print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in grid.seconds.items()))
    if args.json:
        write_json(args.json, {**grid.as_json(), "warnings": task.warnings})


def train(args: argparse.Namespace) -> None:
    """Train, write the folder, and say how to look at it."""
    writable(args.out, folder=True)
    from mrl_tutorial.recipes.registry import get_recipe
    from mrl_tutorial.tasks.load import load_task
    from mrl_tutorial.tasks.task import prepared
    from mrl_tutorial.training.loop import NonFiniteLoss
    from mrl_tutorial.training.loop import train as run
    from mrl_tutorial.training.processes import place

    # a name that is mistyped shows before a task is read
    encoder = _encoder(args)
    dims = list(range(1, encoder.width + 1)) if args.dims == "all" else args.dims
    recipe = None if check_file(args) else get_recipe(args.recipe, encoder.n_layers, encoder.width, dims=dims)
    task = load_task(args.task, columns=args.columns, limit=args.rows)
    if _holds_vectors(task):
        raise InputError(f"{args.task} holds vectors, no texts: there is no encoder to train; choose a task with texts")
    given = _given(args, *BUDGET, "max_tokens", "temperature", "seed", "out")
    try:
        result = run(encoder, task, recipe, **given) if recipe else train_file(args, encoder, task)
    except NonFiniteLoss as error:
        sys.exit(f"mrl-tutorial train: {error}")  # status 1: the input was fine
    if place()[0]:  # the first of several processes speaks for all
        return
    say_warnings(prepared(task, "train"))
    if made := prepared(task, "train").cuts.get("train"):
        print(f"trained on {made}; evaluate scores this model on the rest")
    print(f"{result.steps} steps in {result.seconds:.1f} s, written to {args.out}")
    print(f"look at it: mrl-tutorial evaluate --task {args.task} --model {args.out}")


def sweep(args: argparse.Namespace) -> None:
    """Train and score every recipe and seed, a line for each, and print what came out."""
    writable(args.out)
    import shlex

    from mrl_tutorial.evaluation.embeddings import share_cut
    from mrl_tutorial.tasks.load import load_task
    from mrl_tutorial.training.sweep import sweep as run
    from mrl_tutorial.training.sweep_file import read_sweep, summary

    encoder = _encoder(args)
    tasks = {
        name: load_task(name, columns=args.columns if name == args.task else None)
        for name in dict.fromkeys([args.task, *(args.eval_tasks or [])])
    }
    scored = [tasks[name] for name in args.eval_tasks or [args.task]]
    if args.documents:
        scored = [t.smaller(args.documents) if t.kind == "retrieval" else t for t in scored]
    given = _given(args, *BUDGET, "start", "out", "seeds", "metric", "split", "layers", "dims", "curve")
    command = shlex.join(["mrl-tutorial", *args.argv])
    report = partial(print, flush=True)
    frame = run(
        encoder,
        tasks[args.task],
        args.recipes,
        eval_tasks=scored,
        cache=not args.no_cache,
        command=command,
        report=report,
        **given,
    )
    print(f"{len(frame)} rows in {args.out}; the mean over seeds in the last layer at full width:")
    for read in tasks.values():
        say_warnings(read)
    print(read_sweep(args.out)[1]["scored"])
    cut = ", ".join(f"{t.name} {share_cut(t, encoder, args.split):.1%}" for t in scored)
    print(f"share of the texts that are cut at {encoder.max_length} tokens: {cut}; {encoder!r}")
    means = summary(frame)
    full = means[(means.layer == means.layer.max()) & (means.dim == means.dim.max())]
    print(full.drop(columns=["what", "heads", "split", "layer", "dim"]).to_string(index=False, float_format="%.4f"))


def export(args: argparse.Namespace) -> None:
    """Write one cell as a sentence-transformers folder."""
    writable(args.out, folder=True)
    from mrl_tutorial.models.export import export as write

    encoder = _encoder(args)
    layer, dim = args.layer or encoder.n_layers, args.dim or encoder.width
    write(encoder, args.out, layer, dim)
    print(f"layer {layer} of {encoder.n_layers}, {dim} of {encoder.width} dimensions, written to {args.out}")
    print(f"use it: SentenceTransformer({args.out!r}).encode(texts)")


def search(args: argparse.Namespace) -> None:
    """Print the documents nearest to the query in one cell of the grid."""
    import numpy as np

    from mrl_tutorial.grid import check_cells
    from mrl_tutorial.tasks.types import RetrievalTask

    if not args.query.strip():
        raise InputError("the query is empty: write what to look for, e.g. --query 'solve a linear system'")
    task, encoder = _load(args)
    if not isinstance(task, RetrievalTask) or encoder is None:
        raise InputError(f"{args.task} is a {task.kind} task: search needs documents, e.g. --task pydocs")
    layer, dim = args.layer or encoder.n_layers, args.dim or encoder.width
    check_cells([layer], [dim], encoder.n_layers, encoder.width)
    ids, texts = list(task.corpus), list(task.corpus.values())
    wanted = sorted({layer, encoder.n_layers} if args.compare else {layer})
    started = time.perf_counter()
    documents = encoder.encode_layers(texts, prompt="document", layers=wanted)  # (L, N, D)
    query = encoder.encode_layers([args.query], prompt="query", layers=wanted, cache=False)  # (L, 1, D)
    row = wanted.index(layer)
    cosine = encoder.similarity != "dot"
    scores = score(query[row], documents[row], dim, cosine)
    order = np.argsort(-scores, kind="stable")[: args.k]
    full = score(query[-1], documents[-1], encoder.width, cosine) if args.compare else None
    say_warnings(task)
    print(f"layer {layer} of {encoder.n_layers}, {dim} of {encoder.width} dimensions, {encoder!r}")
    for rank, i in enumerate(order, 1):
        move = "" if full is None else f"  full model: {1 + int((full > full[i]).sum())}"
        text = " ".join(texts[i].split())  # not textwrap: some languages write without spaces
        shown = text if len(text) <= WIDTH else text[: WIDTH - 1].rstrip() + "…"
        print(f"{rank:>3}  {scores[i]:.4f}  {ids[i]}{move}\n     {shown}")
    cut = f"{encoder.share_cut(texts, 'document'):.1%} of them cut at {encoder.max_length} tokens"
    print(f"{len(ids)} documents, {cut}, {time.perf_counter() - started:.1f} s")


def bench(args: argparse.Namespace) -> None:
    """Run one benchmark, which prints its own table."""
    writable(args.json)
    clone = Path(__file__).resolve().parents[2]
    if not (clone / "benchmarks" / "__init__.py").is_file():
        raise InputError(
            "the benchmarks are not part of the installed package: run this command in a clone of the repository"
        )
    sys.path.insert(0, str(clone))
    import_module(f"benchmarks.{args.name}").run(json=args.json, quick=args.quick)


def ledger(args: argparse.Namespace) -> None:
    """Print the ledger's rows, with `--id` what their numbers rest on, or write them as a page and into a README."""
    from mrl_tutorial.cli import ledger as course

    if (args.markdown or args.readme) and args.id:
        raise InputError("--markdown and --readme take the whole ledger: leave --id out")
    rows = {row["id"]: row for row in course.read()}
    for wanted in args.id or ():
        if wanted not in rows:
            raise InputError(f"the ledger has no claim {wanted!r}: it has {', '.join(rows) or 'none yet'}")
    chosen = [row for id, row in rows.items() if not args.id or id in args.id]
    if args.markdown:
        course.write_markdown(args.markdown, chosen)
    if args.readme:
        course.into_readme(args.readme, chosen)
    if not (args.markdown or args.readme):
        print("\n\n".join(map(course.origin if args.id else repr, chosen)) or "no claims settled yet")


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names}


def _load(args: argparse.Namespace) -> tuple[Task, Encoder | None]:
    """The task, and the encoder unless the task holds vectors already."""
    from mrl_tutorial.tasks.load import load_task

    task = load_task(args.task, columns=args.columns)
    if _holds_vectors(task):
        if args.model:
            raise InputError(f"{args.task} holds vectors, which no encoder makes: leave --model out")
        return task, None
    return task, _encoder(args)


def _encoder(args: argparse.Namespace) -> Encoder:
    from mrl_tutorial.models.download import DEFAULT_MODEL
    from mrl_tutorial.models.encoder import Encoder

    given: dict[str, Any] = {name: getattr(args, name, None) for name in ("similarity", "max_length", "pooling")}
    encoder = Encoder.load(args.model or DEFAULT_MODEL, **given)
    for side in ("query", "document"):
        if (prompt := getattr(args, f"{side}_prompt", None)) is not None:
            encoder.prompts = {**encoder.prompts, side: prompt}
    return encoder


def _holds_vectors(task: Task) -> bool:
    from mrl_tutorial.tasks.types import ClassificationTask, VectorsTask

    if isinstance(task, ClassificationTask):
        inputs, _ = next(iter(task.splits.values()))
        return not isinstance(inputs, list)
    return isinstance(task, VectorsTask)
