"""The loss lab from the command line: recipe files trained, and the leaderboard of several. Heavy imports inside."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mrl_tutorial.cli.support import say_warnings
from mrl_tutorial.errors import InputError

if TYPE_CHECKING:
    from mrl_tutorial.models.encoder import Encoder
    from mrl_tutorial.tasks.task import Task
    from mrl_tutorial.training.loop import TrainResult

SETTINGS = ("what", "heads", "steps", "batch_size", "lr", "seed", "temperature", "precision", "max_tokens")


def lab(args: argparse.Namespace) -> None:
    """Train each recipe at the lab's budget, or at its file's, and print who leads on dev."""
    from mrl_tutorial.evaluation.leaderboard import leaderboard
    from mrl_tutorial.models.download import DEFAULT_MODEL
    from mrl_tutorial.models.encoder import Encoder
    from mrl_tutorial.tasks.load import load_task
    from mrl_tutorial.training.lab import measure, recipe_file, train_recipe, whitened_start

    encoder = Encoder.load(args.model or DEFAULT_MODEL)
    recipes = [recipe_file(name, encoder) for name in args.recipes]
    for recipe in recipes:  # what is wrong shows before anything is trained
        recipe.recipe(encoder.n_layers, encoder.width)
    names = [recipe.name for recipe in recipes]
    if len(set(names)) < len(names):
        raise InputError(f"two recipes are called alike ({', '.join(names)}): rename one in its file")
    task = load_task(args.task, columns=args.columns)
    grids = {"whitened start": measure(whitened_start(encoder, task), task, args.split).mean(-1)}
    for recipe in recipes:
        result = train_recipe(encoder, task, recipe, progress=lambda *_: None, **typed(args))
        items = measure(result.encoder, task, args.split, fixed_document=recipe.fixed_document)
        grids[recipe.name] = items.mean(-1)
        print(f"{recipe.name}: {result.steps} steps, {result.seconds:.1f} s", flush=True)
    say_warnings(task)
    print(f"{'recipe':<24}{'mean over cells':>16}{'cells won':>11}{'area under bytes':>18}   ({args.split})")
    for one in leaderboard(grids, encoder.dims):
        print(f"{one.name:<24}{one.mean:>16.4f}{one.won:>11}{one.area:>18.4f}")


def check_file(args: argparse.Namespace) -> bool:
    """Whether `--recipe` is a file, which is read to see that nothing in it is wrong."""
    from mrl_tutorial.recipes.recipe_file import RecipeFile

    if not args.recipe.endswith(".json"):
        return False
    RecipeFile.read(args.recipe)
    if args.dims:
        raise InputError(f"--dims: {args.recipe} names its own widths: leave --dims out")
    return True


def train_file(args: argparse.Namespace, encoder: Encoder, task: Task) -> TrainResult:
    """Train a recipe file by its own settings, and those that were typed."""
    from mrl_tutorial.recipes.recipe_file import RecipeFile
    from mrl_tutorial.training.lab import train_recipe

    return train_recipe(encoder, task, RecipeFile.read(args.recipe), out=args.out, **typed(args))


def typed(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that stand on the command line, not the defaults: a file's own hold otherwise."""
    given = {word.split("=")[0] for word in args.argv}
    return {name: getattr(args, name) for name in SETTINGS if f"--{name.replace('_', '-')}" in given}
