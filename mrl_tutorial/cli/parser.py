"""The command line, the verbs of the notebooks: `mrl-tutorial tasks | recipes | evaluate | train | sweep | …`.

`VERBS` says what each verb takes, `OPTIONS` what each option means. A verb imports what it needs when it runs, so that
`--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

from mrl_tutorial import __version__
from mrl_tutorial.cli import commands
from mrl_tutorial.cli.arguments import (
    Parser,
    cells,
    columns,
    learning_rate,
    learning_rates,
    names,
    one_line,
    recipe_names,
    rows,
    seed,
    temperature,
    whole_number,
)
from mrl_tutorial.cli.panels import DIGITS, TEXTS
from mrl_tutorial.errors import InputError

BENCHMARKS = ("loss", "grid", "encode", "train", "panels", "retrieval")
COUNT = {"type": whole_number, "metavar": "N"}

DATA = """data of your own, as PATH:
  a .csv (any separator), .tsv, .json, .jsonl or .parquet, perhaps packed as .gz, or a folder of train, dev and test
  ones, with these columns, or with --columns
    anchor,positive (and negative…)   or query,document: pairs, searched for each other
    sentence1,sentence2,score         graded pairs, a higher score for a closer meaning
    sentence1,sentence2,label         0/1: pairs are those of label 1; other numbers: graded pairs
    text,label                        texts to classify
  a folder with corpus.jsonl, queries.jsonl ("_id", "text", "title") and qrels/test.tsv or qrels.jsonl
    (query-id, corpus-id, score)
  a .npy of vectors (N, D) or (layers, N, D), perhaps with a label on each line of NAME.labels.txt
One file is scored whole; a part of it is held out only where one is needed, and the output says so.

"""
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
    "--curve": {"type": int, "default": 0, "metavar": "N", "help": "points of each run's learning curve on dev"},
    "--no-cache": {"action": "store_true", "help": "keep no trained models (they are large)"},
    "--out": {"required": True, "metavar": "DIR"},
    "--query": {"required": True, "metavar": "TEXT", "help": "what to look for"},
    "--queries": {**COUNT, "default": 24, "help": "how many queries can be looked at (default: 24)"},
    "-k": {**COUNT, "default": 10, "help": "how many documents (default: 10)"},
    "--compare": {"action": "store_true", "help": "show each document's rank with the full model too"},
    "--id": {"type": names, "metavar": "IDS", "help": "only these claims, e.g. M1,R3, and what their numbers rest on"},
    "--markdown": {"metavar": "FILE", "help": "write the whole ledger here as a page for people"},
    "--readme": {"metavar": "FILE", "help": "bring five of the claims into this README"},
    "name": {"choices": BENCHMARKS, "help": "what to time"},
    "--quick": {"action": "store_true", "help": "a small run, to see that it works"},
}  # fmt: skip
MODEL = ("--model", "--query-prompt", "--document-prompt", "--similarity", "--max-length")
BUDGET = ("--heads", "--steps", "--batch-size", "--lr", "--precision")


class Verb(NamedTuple):
    """What a verb does, its options, examples, and what is said of an option here alone."""

    line: str
    options: tuple[str, ...]
    examples: tuple[str, ...]
    here: dict[str, dict[str, Any]] = {}  # noqa: RUF012  (never changed)


VERBS = {
    "tasks": Verb("list the tasks, their size and where they come from", (), ("",)),
    "recipes": Verb("list the training recipes and the papers they come from", (), ("",)),
    "evaluate": Verb(
        "measure quality at every layer and dimension",
        ("--task", "--columns", *MODEL, "--layers", "--dims", "--metric", "--split", "--precision", "--json"),
        ("--task pydocs", "--task scifact --metric ndcg@10 --precision fp32 --json scifact.json",
         "--task my-data/pairs.csv --layers 3,6 --dims 16,64,384",
         "--task pydocs --model my-model --layers 6 --dims all"),
    ),
    "train": Verb(
        "train a model by a recipe and write it to a folder",
        ("--recipe", "--task", "--columns", *MODEL, "--pooling", "--rows", "--what", *BUDGET,
         "--max-tokens", "--temperature", "--dims", "--seed", "--out"),
        ("--recipe all-cells --task pydocs --what heads --steps 400 --batch-size 256 --out my-heads",
         "--recipe mrl --task pydocs --what full --steps 150 --batch-size 64 --seed 1 --out my-model"),
        {"--what": {"default": "heads"}, "--out": {"help": "folder to write; evaluate --model DIR reads it"},
         "--dims": {"help": "dimensions to train, e.g. 8,64,384 (default: as in evaluate)"}},
    ),
    "sweep": Verb(
        "train recipes at equal budget with several seeds and write every cell's quality to a csv file",
        ("--recipes", "--task", "--columns", *MODEL, "--eval-tasks", "--documents", "--what", *BUDGET, "--start",
         "--seeds", "--metric", "--split", "--layers", "--dims", "--curve", "--no-cache", "--out"),
        ("--recipes full-size,mrl,all-cells --task pydocs --what full --steps 300 --batch-size 64 --out sweep.csv",
         "--recipes mrl,separate:* --task pydocs --eval-tasks pydocs,scifact --what heads --seeds 5 --out heads.csv"),
        {"--what": {"required": True},
         "--lr": {"type": learning_rates, "metavar": "X", "help": "learning rate; of several the best on dev"},
         "--metric": {"type": names, "metavar": "NAMES", "help": "e.g. ndcg@10 or ndcg@10,map (default: by task)"},
         "--out": {"metavar": "FILE", "help": "csv file; the same command goes on where it stopped"}},
    ),
    "lab": Verb(
        "train recipes as the loss lab does, in seconds each, and print its leaderboard",
        ("--recipes", "--task", "--columns", "--model", "--split", "--heads", "--steps", "--batch-size", "--lr",
         "--seed"),
        ("--recipes all-cells mrl --task pydocs", "--recipes my.json all-cells --task pydocs --steps 300"),
        {"--recipes": {"nargs": "+", "type": str,
                       "help": "names, or recipe files NAME.json; a file's own settings hold where none is typed"},
         "--split": {"default": "dev", "help": "which part of the task to measure (default: dev)"},
         "--steps": {"default": 100, "help": "optimizer steps (default: 100)"},
         "--batch-size": {"default": 128, "help": "pairs in a step (default: 128)"}},
    ),
    "export": Verb(
        "write one layer and dimension of a model as a sentence-transformers folder",
        (*MODEL, "--layer", "--dim", "--out"),
        ("--layer 3 --dim 128 --out minilm-3-128", "--model my-heads --layer 2 --dim 64 --out small"),
        {"--out": {"help": "new folder; SentenceTransformer(DIR) reads it"}},
    ),
    "search": Verb(
        "search a task's documents with one layer and dimension",
        ("--task", "--columns", *MODEL, "--query", "--layer", "--dim", "-k", "--compare"),
        ('--task pydocs --query "solve a linear system" --layer 2 --dim 64 -k 5',
         '--task pydocs --query "moving average" --model my-heads --layer 3 --dim 128 --compare'),
    ),
    "page": Verb(
        "write the grid explorer as one html file that needs no kernel and loads nothing",
        ("--task", "--columns", "--model", "--split", "--queries", "--out"),
        ("--task pydocs --out explorer.html", "--task my-data --model my-heads --model plain --out explorer.html"),
        {"--model": {"action": "append", "help": "a name, a folder, or plain, the default; may be repeated"},
         "--split": {"default": "dev", "help": "which part of the task to measure (default: dev)"},
         "--out": {"metavar": "FILE", "help": "html file"}},
    ),
    "panel": Verb(
        "write any panel as one html file, for a projector",
        ("name", "--task", "--model", "--out"),
        ("trap --out trap.html", "explorer --task my-data --model my-heads --out explorer.html"),
        {"name": {"choices": (*TEXTS, *DIGITS), "help": "which; the last four need neither task nor model"},
         "--task": {"required": False, "default": "pydocs"}, "--model": {"default": "all-MiniLM-L6-v2"},
         "--out": {"metavar": "FILE", "help": "html file"}},
    ),
    "doctor": Verb("look at this machine, and say what to fix before the course runs here", (), ("",)),
    "prepare": Verb(
        "read and embed the texts that the lessons share, so that they open at once", ("--model",),
        ("", "--model my-heads"),
    ),
    "ledger": Verb(
        "what the course found out about each claim, and where its numbers come from",
        ("--id", "--markdown", "--readme"),
        ("", "--id M1,R3", "--markdown LEDGER.md --readme README.md"),
    ),
    "bench": Verb(
        "time the package against what one would otherwise run",
        ("name", "--quick", "--json"),
        ("loss", "grid --json grid.json", "encode --quick"),
    ),
}  # fmt: skip


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="mrl-tutorial",
        description="Matryoshka embeddings by layer and dimension, without a notebook.",
        epilog="examples:\n  mrl-tutorial tasks\n  mrl-tutorial evaluate --task pydocs\n"
        "  mrl-tutorial train --recipe all-cells --task pydocs --what heads --out my-model",
    )
    top.add_argument("--version", action="version", version=f"mrl-tutorial {__version__}")
    verbs = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, verb in VERBS.items():
        epilog = DATA if "--task" in verb.options else ""
        epilog += "examples:\n" + "\n".join(f"  mrl-tutorial {name} {x}".rstrip() for x in verb.examples)
        about = verb.line[0].upper() + verb.line[1:] + "."
        made = verbs.add_parser(name, help=verb.line, description=about, epilog=epilog)
        made.set_defaults(run=getattr(commands, name), parser=made)
        for option in verb.options:
            made.add_argument(option, **OPTIONS[option] | verb.here.get(option, {}))
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, 2 for bad input (one line says which), 130 after Ctrl-C."""
    top = parser()
    args, extras = top.parse_known_args(argv)
    if extras:
        getattr(args, "parser", top).unknown(extras)
    if args.command is None:
        top.error(f"a command is missing: write one of {', '.join(VERBS)}")
    args.argv = sys.argv[1:] if argv is None else argv
    try:
        args.run(args)
        sys.stdout.flush()
        return 0
    except InputError as error:
        print(f"mrl-tutorial {args.command}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = "; the same command goes on where it stopped" if args.command in ("train", "sweep") else ""
        print(f"\nmrl-tutorial {args.command}: stopped{again}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `mrl-tutorial tasks | head -1` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
