"""The verbs that train: a model, a sweep of recipes, and the loss lab's leaderboard."""

from __future__ import annotations

import argparse
import shlex
import sys
from functools import partial
from typing import Any

import mrl_tutorial as mrl
from mrl_tutorial.cli.support import given, holds_vectors, read_encoder, say_warnings, writable
from mrl_tutorial.errors import InputError

BUDGET = ("what", "heads", "steps", "batch_size", "lr", "precision")
SETTINGS = (*BUDGET, "seed", "temperature", "max_tokens")


def train(args: argparse.Namespace) -> None:
    """Train a model by a recipe and write it to a folder."""
    writable(args.out, folder=True)
    from mrl_tutorial.tasks.task import prepared
    from mrl_tutorial.training.loop import NonFiniteLoss
    from mrl_tutorial.training.processes import place

    # a name that is mistyped shows before a task is read
    encoder = read_encoder(args)
    recipe: Any
    if in_file := args.recipe.endswith(".json"):
        recipe = mrl.RecipeFile.read(args.recipe)
        if args.dims:
            raise InputError(f"--dims: {args.recipe} names its own widths: leave --dims out")
    else:
        dims = list(range(1, encoder.width + 1)) if args.dims == "all" else args.dims
        recipe = mrl.get_recipe(args.recipe, encoder.n_layers, encoder.width, dims=dims)
    task = mrl.load_task(args.task, columns=args.columns, limit=args.rows)
    if holds_vectors(task):
        raise InputError(f"{args.task} holds vectors, no texts: there is no encoder to train; choose a task with texts")
    try:
        if in_file:
            result = mrl.train_recipe(encoder, task, recipe, out=args.out, **_typed(args))
        else:
            result = mrl.train(encoder, task, recipe, **given(args, *SETTINGS, "out"))
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
        name: mrl.load_task(name, columns=args.columns if name == args.task else None)
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
    task = mrl.load_task(args.task, columns=args.columns)
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
