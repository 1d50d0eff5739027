"""The command line, the verbs of the notebooks: `mrl-tutorial tasks | recipes | evaluate | train | sweep | …`.

`VERBS` says what each verb takes. A verb imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, NamedTuple

from mrl_tutorial import __version__
from mrl_tutorial.cli import commands
from mrl_tutorial.cli.arguments import OPTIONS, Parser, learning_rates, names, one_line
from mrl_tutorial.cli.panels import DIGITS, TEXTS
from mrl_tutorial.errors import InputError

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
MODEL = ("--model", "--query-prompt", "--document-prompt", "--similarity", "--max-length")
BUDGET = ("--heads", "--steps", "--batch-size", "--lr", "--precision")


class Verb(NamedTuple):
    """A verb's options, examples of it, and what is said of an option here alone."""

    options: tuple[str, ...] = ()
    examples: tuple[str, ...] = ("",)
    here: dict[str, dict[str, Any]] = {}  # noqa: RUF012  (never changed)


VERBS = {
    "tasks": Verb(),
    "recipes": Verb(),
    "evaluate": Verb(
        ("--task", "--columns", *MODEL, "--layers", "--dims", "--metric", "--split", "--precision", "--json"),
        ("--task pydocs", "--task scifact --metric ndcg@10 --precision fp32 --json scifact.json",
         "--task my-data/pairs.csv --layers 3,6 --dims 16,64,384",
         "--task pydocs --model my-model --layers 6 --dims all"),
    ),
    "train": Verb(
        ("--recipe", "--task", "--columns", *MODEL, "--pooling", "--rows", "--what", *BUDGET,
         "--max-tokens", "--temperature", "--dims", "--seed", "--out"),
        ("--recipe all-cells --task pydocs --what heads --steps 400 --batch-size 256 --out my-heads",
         "--recipe mrl --task pydocs --what full --steps 150 --batch-size 64 --seed 1 --out my-model"),
        {"--what": {"default": "heads"}, "--out": {"help": "folder to write; evaluate --model DIR reads it"},
         "--dims": {"help": "dimensions to train, e.g. 8,64,384 (default: as in evaluate)"}},
    ),
    "sweep": Verb(
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
        (*MODEL, "--layer", "--dim", "--out"),
        ("--layer 3 --dim 128 --out minilm-3-128", "--model my-heads --layer 2 --dim 64 --out small"),
        {"--out": {"help": "new folder; SentenceTransformer(DIR) reads it"}},
    ),
    "search": Verb(
        ("--task", "--columns", *MODEL, "--query", "--layer", "--dim", "-k", "--compare"),
        ('--task pydocs --query "solve a linear system" --layer 2 --dim 64 -k 5',
         '--task pydocs --query "moving average" --model my-heads --layer 3 --dim 128 --compare'),
    ),
    "page": Verb(
        ("--task", "--columns", "--model", "--split", "--queries", "--out"),
        ("--task pydocs --out explorer.html", "--task my-data --model my-heads --model plain --out explorer.html"),
        {"--model": {"action": "append", "help": "a name, a folder, or plain, the default; may be repeated"},
         "--split": {"default": "dev", "help": "which part of the task to measure (default: dev)"},
         "--out": {"metavar": "FILE", "help": "html file"}},
    ),
    "panel": Verb(
        ("name", "--task", "--model", "--out"),
        ("trap --out trap.html", "explorer --task my-data --model my-heads --out explorer.html"),
        {"name": {"choices": (*TEXTS, *DIGITS), "help": "which; the last four need neither task nor model"},
         "--task": {"required": False, "default": "pydocs"}, "--model": {"default": "all-MiniLM-L6-v2"},
         "--out": {"metavar": "FILE", "help": "html file"}},
    ),
    "doctor": Verb(),
    "prepare": Verb(("--model",), ("", "--model my-heads")),
    "ledger": Verb(("--id", "--markdown", "--readme"), ("", "--id M1,R3", "--markdown LEDGER.md --readme README.md")),
    "bench": Verb(("name", "--quick", "--json"), ("loss", "grid --json grid.json", "encode --quick")),
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
        epilog = epilog if "--columns" in verb.options else epilog.replace(", or with --columns", "")
        epilog += "examples:\n" + "\n".join(f"  mrl-tutorial {name} {x}".rstrip() for x in verb.examples)
        run = getattr(commands, name)
        about = run.__doc__ or ""
        made = verbs.add_parser(name, help=about[:1].lower() + about[1:-1], description=about, epilog=epilog)
        made.set_defaults(run=run, parser=made)
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
    if isinstance(sys.stdout, io.TextIOWrapper):  # a letter that a terminal lacks is no reason to stop
        sys.stdout.reconfigure(errors="replace")
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
