"""What every comparison of layers and widths carries: the model without training, as it is, whitened, or with heads in
closed form. What training gives beyond these is what it is for."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.measures import subsample
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads, whitened
from mrl_tutorial.training.examples import examples

PLAIN = "plain"  # the model as it is


class Control(NamedTuple):
    """A model without training. kind: "plain", "whitened" or "closed-form". texts: the most to whiten on, 0 for all.
    mapped: the heads of the lower layers lead to the last one (`Heads.map_to_last`). fixed: so that they search
    documents of the last layer."""

    kind: str
    texts: int = 0
    mapped: bool = False
    fixed: bool = False


def control(name: str) -> Control | None:
    """The control of that name, as a sweep's list of recipes has it; None for a recipe.

    >>> control("whitened:200"), control("closed-form+fixed-doc").fixed, control("mrl")
    (Control(kind='whitened', texts=200, mapped=False, fixed=False), True, None)
    """
    found = re.fullmatch(r"(plain|whitened(?::(\d+))?|closed-form)(\+mapped|\+fixed-doc)?", name)
    if not found:
        return None
    return Control(found[1].split(":")[0], int(found[2] or 0), bool(found[3]), found[3] == "+fixed-doc")


def build(encoder: Encoder, task: Any, wanted: Control, split: str = "test", precision: str = "auto") -> Encoder:
    """The encoder with the heads of a control, fitted on `task`.

    Whitening reads texts without labels: the documents that no query of `split` asks for, or, where there are none, the
    training texts. Heads in closed form read pairs that belong together: `closed_form`. Raises InputError where the
    task has too few of them.
    """
    if wanted.kind == PLAIN:
        return encoder
    if wanted.kind == "whitened":
        vectors = _unlabeled(encoder, task, split, precision)
        rows = subsample(list(map(str, range(vectors.shape[1]))), wanted.texts or None)
        found = whitened(encoder, vectors[:, rows])
    else:
        anchors, positives = _pairs(encoder, task, precision)
        vectors = np.concatenate([anchors, positives], 1)
        heads = Heads(encoder.n_layers, encoder.width, "per-layer").standardize_on(vectors)
        found = encoder.with_heads(heads.fit_pairs(anchors, positives))
    if wanted.mapped and found.heads is not None:
        found.heads.map_to_last(vectors)
    return found


def _unlabeled(encoder: Encoder, task: Any, split: str, precision: str) -> np.ndarray:
    """(L, N, D) of the texts to whiten on."""
    if task.kind != "retrieval":
        sides = examples(task).with_prompts(encoder)
        texts = dict.fromkeys([*sides.anchors, *(sides.positives or ())])
        return encoder.encode_layers(list(texts), prompt="", precision=precision)
    asked = {document for query in task.judged(split) for document in task.qrels[query]}
    rows = [row for row, document in enumerate(task.corpus) if document not in asked]
    if len(rows) < 2:
        raise InputError(f"{task.name}: its queries ask for every document, so that none is left to whiten on")
    return _documents(encoder, task, precision)[:, rows]


def _pairs(encoder: Encoder, task: Any, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Anchors and positives, (L, N, D) each: pairs as they are given, graded pairs from four fifths of the highest
    grade on, and for classes each text with the next of its class."""
    data = examples(task)
    if task.kind == "retrieval":
        row = {text: i for i, text in enumerate(task.corpus.values())}
        documents = _documents(encoder, task, precision)[:, [row[text] for text in data.positives or ()]]
        return encoder.encode_layers(data.anchors, prompt="query", precision=precision), documents
    data = data.with_prompts(encoder)
    first, second = np.arange(len(data)), np.arange(len(data))
    if data.classes:
        labels = np.asarray(data.labels)
        order = np.argsort(labels, kind="stable")
        same = np.flatnonzero(np.diff(labels[order]) == 0)
        first, second = order[same], order[same + 1]
    elif data.labels is not None:
        first = second = np.flatnonzero(data.labels >= 0.8 * data.labels.max())
    if len(first) < 2:
        raise InputError(f"{task.name} has {len(first)} pairs that belong together: heads in closed form need more")
    sides = (data.anchors, data.positives or data.anchors)
    anchors, positives = (encoder.encode_layers(side, prompt="", precision=precision) for side in sides)
    return anchors[:, first], positives[:, second]


def _documents(encoder: Encoder, task: Any, precision: str) -> np.ndarray:
    """(L, N, D) of the whole corpus: scoring asks for the same, and one of the two finds it in the cache."""
    return encoder.encode_layers(list(task.corpus.values()), prompt="document", precision=precision)
