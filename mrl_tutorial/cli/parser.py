"""The command line, the verbs of the notebooks: `mrl-tutorial tasks | recipes | evaluate | train | sweep | …`.

Each verb imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys

from mrl_tutorial import __version__
from mrl_tutorial.cli import commands
from mrl_tutorial.cli.arguments import Parser, cells, learning_rate, names, one_line, recipe_names, seed, whole_number
from mrl_tutorial.errors import InputError

VERBS = ("tasks", "recipes", "evaluate", "train", "sweep", "export", "search", "prepare", "ledger", "bench")
BENCHMARKS = ("loss", "grid", "encode", "train", "slider", "panels", "retrieval")


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

    def verb(name: str, line: str, *examples: str) -> Parser:
        epilog = "examples:\n" + "\n".join(f"  mrl-tutorial {name} {x}".rstrip() for x in examples)
        made = verbs.add_parser(name, help=line, description=line[0].upper() + line[1:] + ".", epilog=epilog)
        made.set_defaults(run=getattr(commands, name), parser=made)
        return made

    verb("tasks", "list the tasks, their size and where they come from", "")
    verb("recipes", "list the training recipes and the papers they come from", "")

    p = verb(
        "evaluate",
        "measure quality at every layer and dimension",
        "--task pydocs",
        "--task scifact --metric ndcg@10 --precision fp32 --json scifact.json",
        "--task my-data/pairs.csv --layers 3,6 --dims 16,64,384",
        "--task pydocs --model my-model --layers 6 --dims all",
    )
    _task_and_model(p)
    p.add_argument("--layers", type=cells, default="all", help="all, or e.g. 1,3 (default: all)")
    p.add_argument("--dims", type=cells, help="all, or e.g. 8,16,64 (default: powers of two and the full width)")
    p.add_argument("--metric", help="e.g. ndcg@10, mrr@10, map, recall@100, spearman, accuracy, 1nn (default: by task)")
    p.add_argument("--split", default="test", help="which part of the task to score (default: test)")
    _precision(p)
    p.add_argument("--json", metavar="FILE", help="write the grid here as well")

    p = verb(
        "train",
        "train a model by a recipe and write it to a folder",
        "--recipe all-cells --task pydocs --what heads --steps 400 --batch-size 256 --out my-heads",
        "--recipe mrl --task pydocs --what full --steps 150 --batch-size 64 --seed 1 --out my-model",
    )
    p.add_argument("--recipe", required=True, metavar="NAME", help="what to train for: see mrl-tutorial recipes")
    _task_and_model(p)
    p.add_argument(
        "--what", choices=("heads", "full"), default="heads", help="small heads (seconds), or the whole model"
    )
    _training(p)
    p.add_argument("--dims", type=cells, help="dimensions to train, e.g. 8,64,384 (default: as in evaluate)")
    p.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of order and initial weights (default: 0)")
    p.add_argument("--out", required=True, metavar="DIR", help="folder to write; evaluate --model DIR reads it")

    p = verb(
        "sweep",
        "train recipes at equal budget with several seeds and write every cell's quality to a csv file",
        "--recipes full-size,mrl,all-cells --task pydocs --what full --steps 300 --batch-size 64 --out sweep.csv",
        "--recipes mrl,separate:* --task pydocs --eval-tasks pydocs,scifact --what heads --seeds 5 --out heads.csv",
    )
    p.add_argument(
        "--recipes",
        required=True,
        type=recipe_names,
        metavar="NAMES",
        help="e.g. mrl,ese,separate:3,128; "
        "separate:* is one run for every cell, scored there alone; plain, the untrained model, is always among them",
    )
    _task_and_model(p)
    p.add_argument("--eval-tasks", type=names, metavar="NAMES", help="tasks to score (default: the one trained on)")
    p.add_argument(
        "--documents", type=whole_number, metavar="N", help="score about N documents of each, and their queries"
    )
    p.add_argument("--what", choices=("heads", "full"), required=True, help="small heads, or the whole model")
    _training(p)
    p.add_argument("--seeds", type=whole_number, default=3, metavar="N", help="runs of each recipe (default: 3)")
    p.add_argument("--metric", type=names, metavar="NAMES", help="e.g. ndcg@10 or ndcg@10,map (default: by task)")
    p.add_argument("--split", default="test", help="which part of the tasks to score (default: test)")
    p.add_argument("--layers", type=cells, default="all", help="layers to score: all, or e.g. 1,3 (default: all)")
    p.add_argument("--dims", type=cells, help="dimensions to score (default: powers of two and the full width)")
    p.add_argument("--no-cache", action="store_true", help="keep no trained models (they are large)")
    p.add_argument("--out", required=True, metavar="FILE", help="csv file; the same command goes on where it stopped")

    p = verb(
        "export",
        "write one layer and dimension of a model as a sentence-transformers folder",
        "--layer 3 --dim 128 --out minilm-3-128",
        "--model my-heads --layer 2 --dim 64 --out small",
    )
    _model(p)
    p.add_argument("--layer", type=whole_number, metavar="N", help="layer, from 1 (default: the last)")
    p.add_argument("--dim", type=whole_number, metavar="N", help="dimension, from 1 (default: the full width)")
    p.add_argument("--out", required=True, metavar="DIR", help="new folder; SentenceTransformer(DIR) reads it")

    p = verb(
        "search",
        "search a task's documents with one layer and dimension",
        '--task pydocs --query "solve a linear system" --layer 2 --dim 64 -k 5',
        '--task pydocs --query "moving average" --model my-heads --layer 3 --dim 128 --compare',
    )
    _task_and_model(p)
    p.add_argument("--query", required=True, metavar="TEXT", help="what to look for")
    p.add_argument("--layer", type=whole_number, metavar="N", help="layer, from 1 (default: the last)")
    p.add_argument("--dim", type=whole_number, metavar="N", help="dimension, from 1 (default: the full width)")
    p.add_argument("-k", type=whole_number, default=10, metavar="N", help="how many documents (default: 10)")
    p.add_argument("--compare", action="store_true", help="show each document's rank with the full model too")

    p = verb("prepare", "read and embed what notebook 00 needs, so that it opens at once", "", "--model my-heads")
    _model(p)

    p = verb(
        "ledger",
        "what the course found out about each claim",
        "",
        "--id M1,R3",
        "--readme README.md",
    )
    p.add_argument("--id", type=names, metavar="IDS", help="only these claims, e.g. M1,R3")
    p.add_argument("--markdown", action="store_true", help="as a markdown table")
    p.add_argument("--readme", metavar="FILE", help="put the table between this file's ledger marks")

    p = verb(
        "bench",
        "time the package against what one would otherwise run",
        "loss",
        "grid --json grid.json",
        "encode --quick",
    )
    p.add_argument("name", choices=BENCHMARKS, help="what to time")
    p.add_argument("--quick", action="store_true", help="a small run, to see that it works")
    p.add_argument("--json", metavar="FILE", help="write the figures here as well")
    return top


def _task_and_model(p: Parser) -> None:
    p.add_argument("--task", required=True, metavar="NAME|PATH", help="a task of mrl-tutorial tasks, or a path to data")
    _model(p)


def _model(p: Parser) -> None:
    p.add_argument("--model", metavar="NAME|PATH", help="encoder: a name, or a folder (default: all-MiniLM-L6-v2)")


def _training(p: Parser) -> None:
    p.add_argument("--heads", choices=("shared", "per-layer"), default="shared", help="one head, or one per layer")
    p.add_argument("--steps", type=whole_number, default=150, metavar="N", help="optimizer steps (default: 150)")
    p.add_argument("--batch-size", type=whole_number, default=64, metavar="N", help="pairs in a step (default: 64)")
    p.add_argument("--lr", type=learning_rate, metavar="X", help="learning rate (default: by what is trained)")
    _precision(p)


def _precision(p: Parser) -> None:
    p.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="arithmetic (default: auto)")


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
