"""What a task is: retrieval, pairs, graded pairs, classification or bare vectors, with splits and a fingerprint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError


@dataclass(frozen=True)
class Task:
    name: str
    origin: str
    warnings: list[str] = field(default_factory=list, kw_only=True)
    kind: ClassVar[str] = ""

    def __str__(self) -> str:
        # pydocs names its own, which is the same as a corpus, as texts with package labels, and with module labels
        mark = "" if "fingerprint" in self.origin else f"; fingerprint {self.fingerprint()}"
        return f"{self.name} ({self.kind}): {self.size}{mark}; from {self.origin}"

    @property
    def size(self) -> str:
        """What is in it, in words."""
        return ", ".join(f"{split} {len(self._of(split)):,}" for split in self.splits)  # type: ignore[attr-defined]

    def _of(self, split: str) -> Any:
        splits = self.splits  # type: ignore[attr-defined]
        if split not in splits:
            raise InputError(f"{self.name} has no split {split!r}; it has {', '.join(splits)}")
        return splits[split]

    def fingerprint(self) -> str:
        """16 characters that stand for everything in the task but its name and origin."""
        skipped = ("name", "origin", "warnings")
        return files.key(self.kind, *_plain([value for name, value in self.__dict__.items() if name not in skipped]))


def _plain(value: Any) -> list[Any]:
    """Nested containers as a flat list that files.key takes, arrays kept as arrays."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        return [part for name, item in value.items() for part in (name, *_plain(item))]
    if isinstance(value, (list, tuple)) and any(isinstance(item, (list, tuple, dict, np.ndarray)) for item in value):
        return [part for item in value for part in _plain(item)]
    return [value]


@dataclass(frozen=True)
class RetrievalTask(Task):
    """Find a query's documents. `qrels`: query id -> document id -> grade (0 = judged and not relevant)."""

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    splits: dict[str, list[str]]
    labels: dict[str, list[str]] = field(default_factory=dict)  # level -> label of each document, in corpus order
    kind: ClassVar[str] = "retrieval"

    @property
    def size(self) -> str:
        return f"{len(self.corpus):,} documents; queries: {super().size}"

    def judged(self, split: str = "test") -> list[str]:
        """Ids of the split's queries that have a relevant document. Raises InputError for an unknown split."""
        return [query for query in self._of(split) if any(grade > 0 for grade in self.qrels.get(query, {}).values())]

    def smaller(self, documents: int) -> RetrievalTask:
        """About `documents` of the documents, evenly taken, with the queries all of whose relevant ones are among them."""
        step = max(1, len(self.corpus) // max(1, documents))
        ids = list(self.corpus)
        kept = dict.fromkeys(ids[::step])

        def whole(query: str) -> bool:
            return all(d in kept for d, grade in self.qrels.get(query, {}).items() if grade > 0)

        splits = {split: [q for q in found if whole(q)] for split, found in self.splits.items()}
        qrels = {
            q: {d: g for d, g in self.qrels.get(q, {}).items() if d in kept} for found in splits.values() for q in found
        }
        return RetrievalTask(
            f"{self.name} ({len(kept):,} documents)", self.origin, {d: self.corpus[d] for d in kept},
            {q: self.queries[q] for q in qrels}, qrels, splits,
            {level: names[::step] for level, names in self.labels.items()},
        )  # fmt: skip

    def pairs(self, split: str = "train") -> tuple[list[str], list[str]]:
        """(anchors, positives): each query of the split with each of its relevant documents. InputError if none."""
        found = [
            (self.queries[query], self.corpus[document])
            for query in self._of(split)
            for document, grade in self.qrels.get(query, {}).items()
            if grade > 0
        ]
        if not found:
            raise InputError(f"{self.name} has no relevant pairs in {split!r}; use another split or task")
        return [query for query, _ in found], [document for _, document in found]


@dataclass(frozen=True)
class PairsTask(Task):
    """Texts that belong together: (anchor, positive, *negatives) by split."""

    splits: dict[str, list[tuple[str, ...]]]
    kind: ClassVar[str] = "pairs"

    def pairs(self, split: str = "train") -> tuple[list[str], list[str]]:
        """(anchors, positives) of the split. Raises InputError for an unknown split."""
        rows = self._of(split)
        return [row[0] for row in rows], [row[1] for row in rows]

    def as_retrieval(self, split: str = "test") -> RetrievalTask:
        """The split as retrieval: an anchor's positives are what is relevant among all positives and negatives."""
        documents = {
            text: f"d{number}"
            for number, text in enumerate(dict.fromkeys(t for row in self._of(split) for t in row[1:]))
        }
        queries = {text: f"q{number}" for number, text in enumerate(dict.fromkeys(row[0] for row in self._of(split)))}
        qrels: dict[str, dict[str, int]] = {query: {} for query in queries.values()}
        for row in self._of(split):
            qrels[queries[row[0]]][documents[row[1]]] = 1
        corpus, asked = ({name: text for text, name in texts.items()} for texts in (documents, queries))
        return RetrievalTask(self.name, self.origin, corpus, asked, qrels, {split: list(asked)}, warnings=self.warnings)


@dataclass(frozen=True)
class STSTask(Task):
    """Graded pairs: split -> (first texts, second texts, scores (N,) float64)."""

    splits: dict[str, tuple[list[str], list[str], np.ndarray]]
    kind: ClassVar[str] = "sts"

    @property
    def size(self) -> str:
        return "pairs: " + ", ".join(f"{split} {len(scores):,}" for split, (_, _, scores) in self.splits.items())


@dataclass(frozen=True)
class ClassificationTask(Task):
    """Label the input: split -> (inputs, labels (N,) int64); inputs are texts, or float32 vectors (N, D) or (L, N, D).

    With `folds`, splits["all"] is everything and `fold_indices` cuts it, so that each item is tested once."""

    splits: dict[str, tuple[Any, np.ndarray]]
    classes: list[str]
    folds: int | None = None
    kind: ClassVar[str] = "classification"

    @property
    def size(self) -> str:
        return (
            ", ".join(f"{split} {len(labels):,}" for split, (_, labels) in self.splits.items())
            + f"; {len(self.classes)} classes"
        )

    def fold_indices(self, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
        """(train, test) indices into splits["all"], one pair a fold, stratified. InputError without folds."""
        if not self.folds:
            raise InputError(f"{self.name} is not cut in folds; use its splits {', '.join(self.splits)}")
        return stratified_folds(self.splits["all"][1], self.folds, seed)


@dataclass(frozen=True)
class VectorsTask(Task):
    """Vectors (L, N, D) float32 without labels: the rows `queries_index` are queries, their 10 nearest others at full
    width are relevant."""

    vectors: np.ndarray
    queries_index: np.ndarray
    kind: ClassVar[str] = "vectors"

    @property
    def size(self) -> str:
        return (
            f"{self.vectors.shape[1]:,} vectors of {self.vectors.shape[2]}, {len(self.queries_index):,} of them queries"
        )


def stratified_folds(labels: np.ndarray, folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedKFold

    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels))
