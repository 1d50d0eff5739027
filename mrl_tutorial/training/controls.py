"""What every comparison of layers and widths carries: the model without training, as it is, whitened, or with heads in
closed form. What training gives beyond these is what it is for."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.measures import subsample
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads
from mrl_tutorial.training.examples import examples

PLAIN = "plain"  # the model as it is
NAMES = re.compile(r"(plain(?!\+mapped)|closed-form|whitened(?::([1-9]\d*))?)(\+mapped|\+fixed-doc)?")


def is_control(name: str) -> bool:
    """Whether a sweep's candidate is a control, not a recipe.

    >>> is_control("whitened:200"), is_control("closed-form+fixed-doc"), is_control("mrl")
    (True, True, False)
    """
    return NAMES.fullmatch(name) is not None


def reads_train(name: str, task: Any) -> bool:
    """Whether a sweep's candidate learns from the training split: all but the plain model, and what is whitened on
    documents."""
    kind = name.split("+")[0].split(":")[0]
    return not (kind == PLAIN or (kind == "whitened" and task.kind == "retrieval"))


def build(encoder: Encoder, task: Any, name: str, split: str = "test", precision: str = "auto") -> Encoder:
    """The encoder with the heads of a control, fitted on `task`.

    Whitening reads texts without labels, at most as many as "whitened:N" says: the documents that no query of `split`
    asks for, or, where there are none, the training texts. Heads in closed form (`Heads.fit_pairs`) read pairs that
    belong together. "+mapped" and "+fixed-doc" lead the heads of the lower layers to the last one
    (`Heads.map_to_last`). Raises InputError where the task has too few texts or pairs.
    """
    found = NAMES.fullmatch(name)
    if found is None:
        raise InputError(f"{name!r} is not a control: choose plain, whitened or closed-form")
    kind, most, more = found.groups()
    if kind == PLAIN:
        return encoder
    heads = Heads(encoder.n_layers, encoder.width, "per-layer")
    if kind == "closed-form":
        anchors, positives = _pairs(encoder, task, precision)
        vectors = np.concatenate([anchors, positives], 1)
        heads.standardize_on(vectors).fit_pairs(anchors, positives)
    else:
        vectors = _unlabeled(encoder, task, split, precision)
        heads.whiten_on(vectors[:, subsample(list(map(str, range(vectors.shape[1]))), int(most or 0) or None)])
    return encoder.with_heads(heads.map_to_last(vectors) if more else heads)


def _unlabeled(encoder: Encoder, task: Any, split: str, precision: str) -> np.ndarray:
    """(L, N, D) of the texts to whiten on."""
    if task.kind != "retrieval":
        texts = replace(examples(task).with_prompts(encoder), negatives=None).texts()
        return encoder.encode_layers(texts, prompt="", precision=precision)
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
    first = second = np.arange(len(data))
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
