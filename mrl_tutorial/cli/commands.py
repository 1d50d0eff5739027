"""What each verb of the command line does with its parsed arguments. The first line of a docstring is its help.

Names of `mrl` are loaded when they are used, other heavy imports stay inside the functions.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import mrl_tutorial as mrl
from mrl_tutorial.cli.arguments import given, read_encoder, read_task, read_texts, say_warnings, writable
from mrl_tutorial.cli.doctor import doctor as doctor
from mrl_tutorial.cli.panels import page as page
from mrl_tutorial.cli.panels import panel as panel
from mrl_tutorial.cli.panels import prepare as prepare
from mrl_tutorial.errors import InputError

WIDTH = 110  # characters of a document that a search shows
COLUMNS = 14  # dimensions that a table shows side by side
BUDGET = ("what", "heads", "steps", "batch_size", "lr", "precision")
SETTINGS = (*BUDGET, "seed", "temperature", "max_tokens")


def tasks(args: argparse.Namespace) -> None:
    """List the tasks, their size and where they come from."""
    from mrl_tutorial.tasks.load import tasks as listed

    for t in listed():
        print(f"{t.name:<16} {t.kind:<15} {t.size:<35} {t.origin}{'' if t.available else ' (not on this machine)'}")


def recipes(args: argparse.Namespace) -> None:
    """List the training recipes and the papers they come from."""
    for name, (_, source, line) in mrl.RECIPES.items():
        print(f"{name:<16} {line}\n{'':<16} {source}")


def evaluate(args: argparse.Namespace) -> None:
    """Measure quality at every layer and dimension."""
    writable(args.json)
    from mrl_tutorial.evaluation.embeddings import share_cut
    from mrl_tutorial.evaluation.quality import in_words
    from mrl_tutorial.files import write_json
    from mrl_tutorial.tasks.task import prepared

    task, encoder = read_task(args)
    cosine = args.similarity != "dot" if encoder is None else None  # an encoder knows it
    chosen = given(args, "metric", "split", "layers", "dims", "precision")
    grid = mrl.evaluate_grid(task, encoder, cosine=cosine, **chosen)
    say_warnings(prepared(task, args.split))
    print(f"{grid.metric} on {grid.task} ({grid.split}), {grid.model}")
    print(in_words(grid.about, grid.split))
    if encoder is not None:
        grid.about["texts_cut"] = round(share_cut(task, encoder, grid.split), 6)
        print(f"{grid.about['texts_cut']:.1%} of the texts are cut at {encoder.max_length} tokens; {encoder!r}")
    print(in_blocks(grid.as_text()))
    print(", ".join(f"{name} {seconds:.1f} s" for name, seconds in grid.seconds.items()))
    if args.json:
        write_json(args.json, {**grid.as_json(), "warnings": task.warnings})


def in_blocks(text: str) -> str:
    """`Grid.as_text`, whose columns have 8 letters after the first of 11, in blocks of `COLUMNS` dimensions."""
    lines = text.splitlines()
    starts = range(11, len(lines[0]), 8 * COLUMNS)
    return "\n".join(line[:11] + line[i : i + 8 * COLUMNS] for i in starts for line in lines)


def train(args: argparse.Namespace) -> None:
    """Train a model by a recipe and write it to a folder."""
    writable(args.out, folder=True)
    from mrl_tutorial.tasks.task import prepared
    from mrl_tutorial.training.loop import NonFiniteLoss
    from mrl_tutorial.training.processes import place

    # a name that is mistyped shows before a task is read
    encoder = read_encoder(args)
    if args.recipe.endswith(".json"):
        own = mrl.RecipeFile.read(args.recipe)
        if args.dims:
            raise InputError(f"--dims: {args.recipe} names its own widths: leave --dims out")
        run = partial(mrl.train_recipe, recipe=own, cache=True, **_typed(args))  # so that it can go on
    else:
        dims = list(range(1, encoder.width + 1)) if args.dims == "all" else args.dims
        recipe = mrl.get_recipe(args.recipe, encoder.n_layers, encoder.width, dims=dims)
        run = partial(mrl.train, recipe=recipe, **given(args, *SETTINGS))
    task = read_texts(args.task, columns=args.columns, limit=args.rows)
    try:
        result = run(encoder=encoder, task=task, out=args.out)
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
    """Train recipes at equal budget with several seeds and write every cell's quality to a csv file."""
    writable(args.out)
    from mrl_tutorial.evaluation.embeddings import share_cut
    from mrl_tutorial.training.sweep import sweep as run
    from mrl_tutorial.training.sweep_file import read_sweep, summary

    encoder = read_encoder(args)
    tasks = {
        name: read_texts(name, columns=args.columns if name == args.task else None)
        for name in dict.fromkeys([args.task, *(args.eval_tasks or [])])
    }
    scored = [tasks[name] for name in args.eval_tasks or [args.task]]
    if args.documents:
        scored = [t.smaller(args.documents) if t.kind == "retrieval" else t for t in scored]
    options = given(args, *BUDGET, "start", "out", "seeds", "metric", "split", "layers", "dims", "curve")
    options |= {"command": shlex.join(["mrl-tutorial", *args.argv]), "report": partial(print, flush=True)}
    frame = run(encoder, tasks[args.task], args.recipes, eval_tasks=scored, cache=not args.no_cache, **options)
    print(f"{len(frame)} rows in {args.out}; the mean over seeds in the last layer at full width:")
    for read in tasks.values():
        say_warnings(read)
    print(read_sweep(args.out)[1]["scored"])
    cut = ", ".join(f"{t.name} {share_cut(t, encoder, args.split):.1%}" for t in scored)
    print(f"share of the texts that are cut at {encoder.max_length} tokens: {cut}; {encoder!r}")
    means = summary(frame[frame.split == args.split])  # not the runs that a learning rate was chosen by
    full = means[(means.layer == means.layer.max()) & (means.dim == means.dim.max())]
    print(full.drop(columns=["what", "heads", "split", "layer", "dim"]).to_string(index=False, float_format="%.4f"))


def lab(args: argparse.Namespace) -> None:
    """Train recipes as the loss lab does, in seconds each, and print its leaderboard."""
    from mrl_tutorial.evaluation.statistics import leaderboard
    from mrl_tutorial.training.lab import measure, recipe_file, whitened_start

    encoder = read_encoder(args)
    recipes = [recipe_file(name, encoder) for name in args.recipes]
    for recipe in recipes:  # what is wrong shows before anything is trained
        recipe.recipe(encoder.n_layers, encoder.width)
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names):
        raise InputError(f"two recipes are called alike ({', '.join(names)}): rename one in its file")
    task = read_texts(args.task, columns=args.columns)
    grids = {"whitened start": measure(whitened_start(encoder, task), task, args.split).mean(-1)}
    for recipe in recipes:
        result = mrl.train_recipe(encoder, task, recipe, progress=lambda *_: None, **_typed(args))
        items = measure(result.encoder, task, args.split, fixed_document=recipe.fixed_document)
        grids[recipe.name] = items.mean(-1)
        print(f"{recipe.name}: {result.steps} steps, {result.seconds:.1f} s", flush=True)
    say_warnings(task)
    print(f"{'recipe':<24}{'mean over cells':>16}{'cells won':>11}{'area under bytes':>18}   ({args.split})")
    for one in leaderboard(grids, encoder.dims):
        print(f"{one.name:<24}{one.mean:>16.4f}{one.won:>11}{one.area:>18.4f}")


def _typed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that stand on the command line, not the defaults: a file's own hold otherwise."""
    words = {word.split("=")[0] for word in args.argv}
    return given(args, *(name for name in SETTINGS if f"--{name.replace('_', '-')}" in words))


def export(args: argparse.Namespace) -> None:
    """Write one layer and dimension of a model as a sentence-transformers folder."""
    writable(args.out, folder=True)
    encoder = read_encoder(args)
    layer, dim = args.layer or encoder.n_layers, args.dim or encoder.width
    mrl.export(encoder, args.out, layer, dim)
    print(f"layer {layer} of {encoder.n_layers}, {dim} of {encoder.width} dimensions, written to {args.out}")
    print(f"use it: SentenceTransformer({args.out!r}).encode(texts)")


def search(args: argparse.Namespace) -> None:
    """Search a task's documents with one layer and dimension."""
    import torch

    from mrl_tutorial.grid import check_cells

    if not args.query.strip():
        raise InputError("the query is empty: write what to look for, e.g. --query 'solve a linear system'")
    task, encoder = read_task(args)
    if task.kind != "retrieval" or encoder is None:
        raise InputError(f"{args.task} is a {task.kind} task: search needs documents, e.g. --task pydocs")
    layer, dim = args.layer or encoder.n_layers, args.dim or encoder.width
    check_cells([layer], [dim], encoder.n_layers, encoder.width)
    ids, texts = list(task.corpus), list(task.corpus.values())
    wanted = sorted({layer, encoder.n_layers} if args.compare else {layer})
    started = time.perf_counter()
    documents = torch.tensor(encoder.encode_layers(texts, prompt="document", layers=wanted))  # (L, N, D)
    query = torch.tensor(encoder.encode_layers([args.query], prompt="query", layers=wanted, cache=False))
    cosine = encoder.similarity != "dot"
    scores = mrl.nested_scores(query[wanted.index(layer)], documents[wanted.index(layer)], [dim], cosine)[0, 0]
    full = mrl.nested_scores(query[-1], documents[-1], [encoder.width], cosine)[0, 0] if args.compare else None
    say_warnings(task)
    print(f"layer {layer} of {encoder.n_layers}, {dim} of {encoder.width} dimensions, {encoder!r}")
    for rank, i in enumerate(scores.argsort(descending=True, stable=True)[: args.k].tolist(), 1):
        move = "" if full is None else f"  full model: {1 + int((full > full[i]).sum())}"
        text = " ".join(texts[i].split())  # not textwrap: some languages write without spaces
        shown = text if len(text) <= WIDTH else text[: WIDTH - 1].rstrip() + "…"
        print(f"{rank:>3}  {scores[i]:.4f}  {ids[i]}{move}\n     {shown}")
    cut = f"{encoder.share_cut(texts, 'document'):.1%} of them cut at {encoder.max_length} tokens"
    print(f"{len(ids)} documents, {cut}, {time.perf_counter() - started:.1f} s")


def bench(args: argparse.Namespace) -> None:
    """Time the package against what one would otherwise run."""
    writable(args.json)
    _of_the_clone(f"benchmarks.{args.name}").run(json=args.json, quick=args.quick)


def ledger(args: argparse.Namespace) -> None:
    """What the course found out about each claim, and where its numbers come from."""
    from mrl_tutorial.cli.ledger import origin, read

    if (args.markdown or args.readme) and args.id:
        raise InputError("--markdown and --readme take the whole ledger: leave --id out")
    rows = {row["id"]: row for row in read()}
    for wanted in args.id or ():
        if wanted not in rows:
            raise InputError(f"the ledger has no claim {wanted!r}: it has {', '.join(rows) or 'none yet'}")
    if args.markdown:
        _of_the_clone("tools.ledger_pages").write_markdown(args.markdown, list(rows.values()))
    if args.readme:
        _of_the_clone("tools.ledger_pages").into_readme(args.readme, list(rows.values()))
    if not (args.markdown or args.readme):
        chosen = [origin(row) if args.id else repr(row) for id, row in rows.items() if id in (args.id or rows)]
        print("\n\n".join(chosen) or "no claims settled yet")


def _of_the_clone(module: str) -> Any:
    """A module that the repository has and the installed package has not."""
    clone, room = Path(__file__).resolve().parents[2], module.partition(".")[0]
    if not (clone / room / "__init__.py").is_file():
        raise InputError(
            f"the {room} are not part of the installed package: run this command in a clone of the repository"
        )
    sys.path.insert(0, str(clone))
    return import_module(module)
