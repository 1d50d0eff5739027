"""What each verb of the command line does with its parsed arguments. The first line of a docstring is its help.

Names of `mrl` are loaded when they are used, other heavy imports stay inside the functions.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import mrl_tutorial as mrl
from mrl_tutorial.cli.doctor import doctor as doctor
from mrl_tutorial.cli.panels import page as page
from mrl_tutorial.cli.panels import panel as panel
from mrl_tutorial.cli.panels import prepare as prepare
from mrl_tutorial.cli.support import given, read_encoder, read_task, say_warnings, writable
from mrl_tutorial.cli.training import lab as lab
from mrl_tutorial.cli.training import sweep as sweep
from mrl_tutorial.cli.training import train as train
from mrl_tutorial.errors import InputError

WIDTH = 110  # characters of a document that a search shows
COLUMNS = 14  # dimensions that a table shows side by side


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
    grid = mrl.evaluate_grid(task, encoder, **given(args, "metric", "split", "layers", "dims", "precision"))
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
    from mrl_tutorial.cli import ledger as course

    if (args.markdown or args.readme) and args.id:
        raise InputError("--markdown and --readme take the whole ledger: leave --id out")
    rows = {row["id"]: row for row in course.read()}
    for wanted in args.id or ():
        if wanted not in rows:
            raise InputError(f"the ledger has no claim {wanted!r}: it has {', '.join(rows) or 'none yet'}")
    if args.markdown:
        _of_the_clone("tools.ledger_pages").write_markdown(args.markdown, list(rows.values()))
    if args.readme:
        _of_the_clone("tools.ledger_pages").into_readme(args.readme, list(rows.values()))
    if not (args.markdown or args.readme):
        chosen = [course.origin(row) if args.id else repr(row) for id, row in rows.items() if id in (args.id or rows)]
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
