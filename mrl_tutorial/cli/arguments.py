"""The words of the command line: a parser that says in one line what to type instead, kinds of values, the options, and
what they name: places that can be written, tasks, encoders."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import mrl_tutorial as mrl
from mrl_tutorial.errors import InputError

if TYPE_CHECKING:
    from mrl_tutorial.tasks.task import Task


class Parser(argparse.ArgumentParser):
    """argparse, but what is wrong is said in one line, with what to type instead."""

    def __init__(self, **settings: Any) -> None:
        settings |= {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        choice = re.match(r"argument (.+?): invalid choice: (.+?) \(choose from (.+)\)", message)
        missing = re.match(r"the following arguments are required: (.+)", message)
        if choice:
            value, options = choice[2].strip("'"), [x.strip(" '") for x in choice[3].split(",")]
            close = difflib.get_close_matches(value, options, 2, 0.5)
            remedy = f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(options)}"
            message = f"{'command' if choice[1] == 'COMMAND' else choice[1]}: there is no {value!r}: {remedy}"
        elif missing:
            message = f"{missing[1]} is missing"
        self.exit(2, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")

    def unknown(self, extras: list[str]) -> NoReturn:
        """Say which argument is not known, and the option that comes closest to it."""
        options = [o for action in self._actions for o in action.option_strings]
        word = extras[0].split("=")[0]
        close = difflib.get_close_matches(word, options, 1, 0.6) if word.startswith("-") else []
        self.error(f"{extras[0]!r} is not an option here" + (f": did you mean {close[0]}?" if close else ""))


def one_line(message: object) -> str:
    """`message` without line breaks."""
    return " ".join(str(message).split())


def whole_number(text: str, least: int = 1) -> int:
    """A whole number from `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
    return int(text)


def positive(text: str, what: str, example: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a {what}: write a number above 0, e.g. {example}")
    return value


def names(text: str, what: str = "names: write e.g. pydocs,scifact", comma: str = ",") -> list[str]:
    """Names separated by commas."""
    found = [x.strip() for x in re.split(comma, text)]
    if not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {what}")
    return found


seed = partial(whole_number, least=0)
learning_rate = partial(positive, what="learning rate", example="2e-5")
temperature = partial(positive, what="temperature", example="0.05")
# a comma before a bare number belongs to a recipe's name: separate:3,128
recipe_names = partial(
    names, what="recipes: write e.g. full-size,mrl,separate:3,128", comma=r",(?!\s*\d+\s*(?:[,+]|$))"
)


def rows(text: str) -> int | None:
    """`all`, or a whole number from 1."""
    return None if text == "all" else whole_number(text)


def cells(text: str) -> list[int] | str:
    """`all`, or whole numbers from 1 separated by commas."""
    if text == "all":
        return text
    try:
        return [whole_number(x.strip()) for x in text.split(",")]
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers: write all, or e.g. 1,3,6") from None


def learning_rates(text: str) -> list[float]:
    """Numbers above 0, separated by commas."""
    return [learning_rate(x) for x in text.split(",")]


def columns(text: str) -> list[str] | dict[str, str]:
    """Names of columns separated by commas, or pairs of a name that is known and the file's: text=body,label=topic."""
    found = names(text)
    if not any("=" in x for x in found):
        return found
    known = {ours.strip(): theirs.strip() for ours, _, theirs in (x.partition("=") for x in found)}
    if not all(known) or not all(known.values()):
        raise argparse.ArgumentTypeError(f"{text!r} names only some columns: write e.g. text=body,label=topic")
    return known


COUNT = {"type": whole_number, "metavar": "N"}
# what argparse is told of each option, unless a verb says otherwise
OPTIONS: dict[str, dict[str, Any]] = {
    "--task": {"required": True, "metavar": "NAME|PATH", "help": "a task of mrl-tutorial tasks, or a path to data"},
    "--columns": {"type": columns, "metavar": "NAMES",
                  "help": "columns of a table to read, where their names are others: text_a,text_b,similarity or "
                  "text=body,label=topic"},
    "--model": {"metavar": "NAME|PATH", "help": "encoder: a name, or a folder (default: all-MiniLM-L6-v2)"},
    "--query-prompt": {"metavar": "TEXT", "help": "put before each query (default: as the model's folder says)"},
    "--document-prompt": {"metavar": "TEXT", "help": "put before each document (default: as the model's folder says)"},
    "--similarity": {"choices": ("cosine", "dot"), "help": "how vectors are compared (default: as the folder says)"},
    "--max-length": {**COUNT, "help": "tokens that are read of a text (default: as the model's folder says)"},
    "--layers": {"type": cells, "default": "all", "help": "layers to score: all, or e.g. 1,3 (default: all)"},
    "--dims": {"type": cells, "help": "all, or e.g. 8,16,64 (default: powers of two and the full width)"},
    "--layer": {**COUNT, "help": "layer, from 1 (default: the last)"},
    "--dim": {**COUNT, "help": "dimension, from 1 (default: the full width)"},
    "--metric": {"help": "e.g. ndcg@10, mrr@10, map, recall@100, spearman, accuracy, 1nn (default: by task)"},
    "--split": {"default": "test", "help": "train, dev, test, or all (default: test)"},
    "--precision": {"choices": ("auto", "fp32", "bf16"), "default": "auto", "help": "arithmetic (default: auto)"},
    "--json": {"metavar": "FILE", "help": "write the figures here as well"},
    "--recipe": {"required": True, "metavar": "NAME",
                 "help": "what to train for: see mrl-tutorial recipes; or a recipe file of the loss lab, NAME.json, "
                 "with the settings in it"},
    "--recipes": {"required": True, "type": recipe_names, "metavar": "NAMES",
                  "help": "e.g. mrl,ese,separate:3,128; separate:* is one run for every cell, scored there alone; "
                  "plain, the untrained model, is always among them; whitened, whitened:200, closed-form: controls"},
    "--what": {"choices": ("heads", "full"), "help": "small heads (seconds), or the whole model"},
    "--heads": {"choices": ("shared", "per-layer"), "default": "shared", "help": "one head, or one per layer"},
    "--steps": {**COUNT, "default": 150, "help": "optimizer steps (default: 150)"},
    "--batch-size": {**COUNT, "default": 64, "help": "pairs in a step (default: 64)"},
    "--lr": {"type": learning_rate, "metavar": "X", "help": "learning rate (default: by what is trained)"},
    "--rows": {"type": rows, "default": 100_000, "metavar": "N|all",
               "help": "training pairs to read, chosen by hash (default: at most 100,000)"},
    "--max-tokens": {**COUNT, "default": 64, "help": "tokens that full training reads of a text (default: 64)"},
    "--temperature": {"type": temperature, "default": 0.05, "metavar": "X", "help": "of the scores (default: 0.05)"},
    "--pooling": {"choices": ("mean", "cls", "last", "max"), "help": "tokens to text (default: as the folder says)"},
    "--seed": {"type": seed, "default": 0, "metavar": "N", "help": "seed of order and initial weights (default: 0)"},
    "--start": {"choices": ("plain", "whitened", "closed-form"), "default": "plain", "help": "what is trained further"},
    "--seeds": {**COUNT, "default": 3, "help": "runs of each recipe (default: 3)"},
    "--eval-tasks": {"type": names, "metavar": "NAMES", "help": "tasks to score (default: the one trained on)"},
    "--documents": {**COUNT, "help": "score about N documents of each, and their queries"},
    "--curve": {"type": partial(whole_number, least=0), "default": 0, "metavar": "N",
                "help": "points of each run's learning curve on dev"},
    "--no-cache": {"action": "store_true", "help": "keep no trained models (they are large)"},
    "--out": {"required": True, "metavar": "DIR"},
    "--query": {"required": True, "metavar": "TEXT", "help": "what to look for"},
    "--queries": {**COUNT, "default": 24, "help": "how many queries can be looked at (default: 24)"},
    "-k": {**COUNT, "default": 10, "help": "how many documents (default: 10)"},
    "--compare": {"action": "store_true", "help": "show each document's rank with the full model too"},
    "--id": {"type": names, "metavar": "IDS", "help": "only these claims, e.g. M1,R3, and what their numbers rest on"},
    "--markdown": {"metavar": "FILE", "help": "write the whole ledger here as a page for people"},
    "--readme": {"metavar": "FILE", "help": "bring five of the claims into this README"},
    "name": {"choices": ("loss", "grid", "encode", "train", "panels", "retrieval"), "help": "what to time"},
    "--quick": {"action": "store_true", "help": "a small run, to see that it works"},
}  # fmt: skip


def writable(path: str | None, *, folder: bool = False) -> None:
    """Check, before any work, that `path` can be written. Raises InputError naming it."""
    if path is None:
        return
    target = Path(path)
    if target.exists() and target.is_dir() != folder:
        is_, give = ("a file", "folder") if folder else ("a folder", "file")
        raise InputError(f"{path} is {is_}: give the name of a {give}")
    if folder and target.exists() and any(target.iterdir()) and not (target / "mrl_tutorial.json").exists():
        raise InputError(f"{path} holds files that are not a saved model: give a new or an empty folder")
    above = target.absolute().parents  # a folder's are made on the way: the first that exists decides
    parent = next(p for p in above if p.exists()) if folder else above[0]
    if not parent.is_dir():
        raise InputError(f"{parent} is not a folder: make it first, or write {target.name} elsewhere")
    try:
        tempfile.TemporaryFile(dir=parent).close()
    except OSError as error:
        raise InputError(f"cannot write in {parent}: {error.strerror}; give another place") from None


def say_warnings(task: Task) -> None:
    """What was dropped or decided when the task was read, one line each, on stderr, apart from the results."""
    for warning in task.warnings:
        print(f"{task.name}: {warning}", file=sys.stderr)


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Some of the options, as a function takes them."""
    return {name: getattr(args, name) for name in names}


def read_task(args: argparse.Namespace) -> tuple[Any, mrl.Encoder | None]:
    """The task, and the encoder unless the task holds vectors already."""
    task = mrl.load_task(args.task, columns=args.columns)
    if not holds_vectors(task):
        return task, read_encoder(args)
    for name in ("model", "max_length", "query_prompt", "document_prompt"):
        if getattr(args, name, None) is not None:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{args.task} holds vectors, which no encoder makes: leave {option} out")
    return task, None


def read_encoder(args: argparse.Namespace) -> mrl.Encoder:
    """The encoder with what was typed of it."""
    from mrl_tutorial.models.download import DEFAULT_MODEL

    changes: dict[str, Any] = {name: getattr(args, name, None) for name in ("similarity", "max_length", "pooling")}
    encoder = mrl.Encoder.load(args.model or DEFAULT_MODEL, **changes)
    for side in ("query", "document"):
        if (prompt := getattr(args, f"{side}_prompt", None)) is not None:
            encoder.prompts = {**encoder.prompts, side: prompt}
    return encoder


def read_texts(name: str, **options: Any) -> Any:
    """A task with texts to encode. Raises InputError where it holds vectors."""
    task = mrl.load_task(name, **options)
    if holds_vectors(task):
        raise InputError(f"{name} holds vectors, no texts: there is nothing to encode; choose a task with texts")
    return task


def holds_vectors(task: Any) -> bool:
    """Whether there is nothing to encode in the task."""
    if task.kind == "classification":
        inputs, _ = next(iter(task.splits.values()))
        return not isinstance(inputs, list)
    return task.kind == "vectors"
