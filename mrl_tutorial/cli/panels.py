"""The verbs that make pages of panels, and what makes them open at once. Names of `mrl` are loaded when used."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import mrl_tutorial as mrl
from mrl_tutorial.cli.arguments import read_encoder, read_texts, say_warnings, writable
from mrl_tutorial.errors import InputError


def panel(args: argparse.Namespace) -> None:
    """Write any panel as one html file, for a projector."""
    writable(args.out)
    title, make = (TEXTS | DIGITS)[args.name]
    texts = (read_texts(args.task).with_splits("dev"), mrl.Encoder.load(args.model)) if args.name in TEXTS else ()
    make(*texts).save_page(args.out, title=title)
    print(f"{args.out}: {title}; opens by double click, in full screen with F11")


def page(args: argparse.Namespace) -> None:
    """Write the grid explorer as one html file that needs no kernel and loads nothing."""
    writable(args.out)
    asked = args.model or ["plain"]
    wanted = {Path(name).name: [] if name == "plain" else [name] for name in asked}
    if len(wanted) < len(asked):
        raise InputError(f"two of --model {', '.join(asked)} have one name: rename a folder")
    encoders = {name: mrl.Encoder.load(*given) for name, given in wanted.items()}
    task = read_texts(args.task, columns=args.columns)
    made = mrl.GridExplorer(task, encoders, split=args.split, examples=args.queries)
    say_warnings(task)
    made.save_page(args.out, title=f"{task.name}: every layer, every dimension")
    size = Path(args.out).stat().st_size / 1e6
    print(f"{args.out}: {', '.join(encoders)} on {task.name}, {made.model.items}; {size:.2f} MB, opens by double click")


def prepare(args: argparse.Namespace) -> None:
    """Read and embed the texts that the lessons share, so that they open at once."""
    began = time.perf_counter()
    task, encoder = mrl.load_task("pydocs"), read_encoder(args)
    mrl.GridExplorer(task, encoder)
    for split in ("dev", "test"):
        mrl.evaluate_grid(task, encoder, split=split)
    mrl.train(encoder, task, "all-cells", steps=1, batch_size=2, cache=False)  # embeds the training pairs
    print(f"{task.name} and {encoder.name} are in the cache, {time.perf_counter() - began:.0f} s")


def _explorer(task: Any, encoder: mrl.Encoder) -> mrl.GridExplorer:
    from mrl_tutorial.training.controls import build

    whitened = build(encoder, task, "whitened", "dev")
    return mrl.GridExplorer(task, {"plain": encoder, "whitened": whitened}, examples=24)


def _check_kind(task: Any, *kinds: str) -> None:
    if task.kind not in kinds:
        raise InputError(f"a {task.kind!r} task cannot be shown here: give a task of kind {' or '.join(kinds)}")


def _trap(task: Any, encoder: mrl.Encoder) -> mrl.TruncationTrap:
    _check_kind(task, "retrieval")
    parts = mrl.embed_task(task, encoder, "dev", layers=[encoder.n_layers])
    asked, rows = task.judged("dev"), {document: i for i, document in enumerate(task.corpus)}
    relevant = [{rows[document] for document in task.relevant(query)} for query in asked]
    texts = [task.queries[query] for query in asked], list(task.corpus.values())
    return mrl.TruncationTrap(parts["queries"][0], parts["documents"][0], relevant, *texts)


def _terms(task: Any, encoder: mrl.Encoder) -> mrl.TermExplorer:
    import torch

    _check_kind(task, "retrieval", "pairs")
    queries, documents = (torch.tensor(encoder.encode_layers(texts[:: len(texts) // 64 + 1])) for texts in task.pairs())
    return mrl.TermExplorer(mrl.dissect(mrl.Batch(queries, documents)))


def _weights() -> mrl.ImportanceWeights:
    made = mrl.ImportanceWeights()
    for weight in (2.0, 8.0, 4.0):  # what the page can show
        made.train(c2=weight)
    return made


def _digits() -> tuple[Any, Any, Any]:
    """The digits, a nested network for them, and the rows that it has not seen."""
    from mrl_tutorial.classification.labeled_vectors import from_task
    from mrl_tutorial.classification.small_networks import train_networks

    data = from_task(mrl.load_task("digits"))
    train, test = data.rounds[0]
    return data, train_networks(data.x, data.labels, [train], [[1] * 6], [0]), test


def _cascade() -> mrl.CascadeTuner:
    from mrl_tutorial.classification.cascade import answers

    data, network, test = _digits()
    return mrl.CascadeTuner(answers(network.probabilities(data.x[test])[0], data.labels[test], network.config.dims))


def _map() -> mrl.PrefixMap:
    data, network, _ = _digits()
    vectors, labels = network.features(data.x)[0].numpy()[::3], [str(label) for label in data.labels[::3]]
    return mrl.PrefixMap(vectors, labels, dims=(2, 4, 8, 16, 64), show=list("01345789"))


TEXTS: dict[str, tuple[str, Any]] = {
    "explorer": ("Every layer, every dimension", _explorer),
    "trap": ("Cut, then normalize", _trap),
    "spectrum": ("What a cut leaves", lambda *given: mrl.SpectrumExplorer(*given)),
    "terms": ("Loss terms on one batch", _terms),
    "funnel": ("A search in stages", lambda t, e: mrl.FunnelDesigner(t, {"plain": mrl.embed_task(t, e, "dev")})),
    "lab": ("The loss lab", lambda *given: mrl.LossLab(*given)),
}
DIGITS: dict[str, tuple[str, Any]] = {  # from what comes with scikit-learn, or from nothing
    "weights": ("Importance weights", _weights),
    "cascade": ("A cascade", _cascade),
    "map": ("Digits at every size", _map),
    "size": ("What vectors cost", lambda: mrl.SizeCalculator(dim=64)),
}
