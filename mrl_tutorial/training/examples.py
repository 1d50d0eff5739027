"""What training reads: a task's examples, and the order in which a seed deals them out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.tasks.task import prepared


@dataclass(frozen=True)
class Examples:
    """Training examples. anchors: N texts. positives: N texts, or None (classification). negatives: N lists of texts,
    all of one length (often 0). labels: (N,) ints (classes) or floats (graded pairs), or None."""

    anchors: list[str]
    positives: list[str] | None = None
    negatives: list[list[str]] | None = None
    labels: np.ndarray | None = None
    classes: int = 0

    def __len__(self) -> int:
        return len(self.anchors)

    def with_prompts(self, encoder: Encoder) -> Examples:
        """The texts with the encoder's prompts before them: of queries and documents, or (graded pairs, classes) of
        texts that are neither."""
        first, second = ("query", "document") if self.labels is None else (None, None)
        negatives = self.negatives and [encoder.prompted(texts, second) for texts in self.negatives]
        positives = None if self.positives is None else encoder.prompted(self.positives, second)
        return replace(self, anchors=encoder.prompted(self.anchors, first), positives=positives, negatives=negatives)

    def texts(self) -> list[str]:
        """All texts, each once, in order of first appearance."""
        return list(dict.fromkeys(chain(self.anchors, self.positives or (), *(self.negatives or ()))))

    def sides(self, chosen: np.ndarray) -> list[list[str]]:
        """The texts of a batch, `chosen` being indices: [anchors] or [anchors, positives + negatives]."""
        sides = [[self.anchors[i] for i in chosen]]
        if self.positives is not None:
            negatives = chain.from_iterable(self.negatives[i] for i in chosen) if self.negatives else ()
            sides.append([*(self.positives[i] for i in chosen), *negatives])
        return sides


def examples(task: Any, split: str = "train") -> Examples:
    """The examples of a task's split. Raises InputError where the task has none, or holds vectors instead of texts."""
    task = prepared(task, split)
    splits = getattr(task, "splits", {split: ()})  # vectors have none
    if split not in splits:
        raise InputError(f"{task.name} has no split {split!r} to train on: it has {', '.join(splits)}")
    rows = splits[split]
    if task.kind == "retrieval":
        found = Examples(*task.pairs(split))
    elif task.kind == "pairs":
        counts = [len(row) for row in rows]
        fewest, most = min(counts, default=2), max(counts, default=2)
        if fewest < most:
            said = (
                f"{counts.count(fewest):,} of {len(rows):,} rows have {fewest - 2} negatives, others up to {most - 2}"
            )
            warnings.warn(f"{task.name}: {said}; each row is trained with {fewest - 2}", stacklevel=2)
        negatives = [list(row[2:fewest]) for row in rows] if fewest > 2 else None
        found = Examples([row[0] for row in rows], [row[1] for row in rows], negatives)
    elif task.kind == "sts":
        found = Examples(list(rows[0]), list(rows[1]), labels=np.asarray(rows[2], dtype=np.float32))
    elif task.kind == "classification" and len(rows[0]) and isinstance(rows[0][0], str):
        found = Examples(list(rows[0]), labels=np.asarray(rows[1], dtype=np.int64), classes=len(task.classes))
    else:
        raise InputError(f"{task.name} holds vectors, not texts: there is no encoder to train on it")
    if len(found) < 2:
        raise InputError(f"{task.name} has {len(found)} examples in split {split!r}: training needs at least 2")
    return found


def schedule(data: Examples, batch_size: int, steps: int, seed: int) -> list[np.ndarray]:
    """Which examples each step sees: `steps` index arrays of `batch_size` (less where the data has fewer texts).

    Epoch after epoch in a seeded order. In a contrastive batch no anchor or positive occurs twice, nor among the
    negatives of another example: it would be a false negative. Such an example waits for the next batch.

    >>> schedule(Examples(["a", "b", "c"], ["x", "x", "y"]), batch_size=2, steps=2, seed=0)  # not a beside b
    [array([2, 0]), array([1, 2])]
    """
    rng = np.random.default_rng([seed, 7])
    queue, batches = list[int](), list[np.ndarray]()
    while len(batches) < steps:
        batch, waiting, seen, against, dealt = list[int](), list[int](), set[str](), set[str](), 0
        while len(batch) < batch_size and dealt < 2 * len(data):
            queue = queue or rng.permutation(len(data)).tolist()[::-1]
            i, dealt = queue.pop(), dealt + 1
            texts = {data.anchors[i], data.positives[i]} if data.positives and data.labels is None else {str(i)}
            negatives = data.negatives[i] if data.negatives else ()
            if texts & seen or texts & against or not seen.isdisjoint(negatives):
                waiting.append(i)
            else:
                seen |= texts
                against.update(negatives)
                batch.append(i)
        queue.extend(reversed(waiting))
        batches.append(np.array(batch))
    return batches
