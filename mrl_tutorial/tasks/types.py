"""What a task is: retrieval, pairs, graded pairs, classification or bare vectors, with splits and a fingerprint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.splits import stratified_folds


@dataclass(frozen=True)
class Task:
    """What every task has: a name, where it came from, and warnings about what was dropped while it was read."""

    name: str
    origin: str
    warnings: list[str] = field(default_factory=list, kw_only=True)
    kind: ClassVar[str] = ""

    def __str__(self) -> str:
        # the origin of pydocs names the corpus's fingerprint, which is the same whether its labels or its queries count
        mark = "" if "fingerprint" in self.origin else f"; fingerprint {self.fingerprint()}"
        return f"{self.name} ({self.kind}): {self.size}{mark}; from {self.origin}"

    @property
    def size(self) -> str:
        """How much is in it, in words."""
        splits = vars(self)["splits"].items()
        return ", ".join(f"{split} {len(its[-1] if isinstance(its, tuple) else its):,}" for split, its in splits)

    def _split(self, split: str) -> Any:
        splits = vars(self)["splits"]
        if split not in splits:
            raise InputError(f"{self.name} has no split {split!r}; it has {', '.join(splits)}")
        return splits[split]

    def fingerprint(self) -> str:
        """16 characters that stand for everything in the task but its name, origin and warnings."""
        skipped = ("name", "origin", "warnings")
        return files.key(self.kind, *_flat([value for name, value in self.__dict__.items() if name not in skipped]))


def _flat(value: Any) -> list[Any]:
    """Nested containers as a flat list that files.key takes, arrays kept as arrays."""
    if isinstance(value, dict):
        return [part for name, item in value.items() for part in (name, *_flat(item))]
    if isinstance(value, (list, tuple)) and any(isinstance(item, (list, tuple, dict, np.ndarray)) for item in value):
        return [part for item in value for part in _flat(item)]
    return [value]


@dataclass(frozen=True)
class RetrievalTask(Task):
    """Find a query's documents.

    corpus, queries: id -> text. qrels: query id -> document id -> grade (0 = judged and not relevant). splits: split ->
    query ids. labels: level -> the label of each document, in the order of the corpus.

    >>> task = RetrievalTask("tiny", "here", {"d": "a document"}, {"q": "a query"}, {"q": {"d": 1}}, {"test": ["q"]})
    >>> task.pairs("test")
    (['a query'], ['a document'])
    """

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    splits: dict[str, list[str]]
    labels: dict[str, list[str]] = field(default_factory=dict)
    kind: ClassVar[str] = "retrieval"

    @property
    def size(self) -> str:
        return f"{len(self.corpus):,} documents; queries: {super().size}"

    def relevant(self, query: str) -> list[str]:
        """Ids of the query's relevant documents."""
        return [document for document, grade in self.qrels.get(query, {}).items() if grade > 0]

    def judged(self, split: str = "test") -> list[str]:
        """Ids of the split's queries that have a relevant document. Raises InputError for an unknown split."""
        return [query for query in self._split(split) if self.relevant(query)]

    def pairs(self, split: str = "train") -> tuple[list[str], list[str]]:
        """(anchors, positives): each query of the split with each of its relevant documents. Raises InputError for an
        unknown split, and where there are none."""
        found = [(query, document) for query in self._split(split) for document in self.relevant(query)]
        if not found:
            raise InputError(f"{self.name} has no relevant pairs in {split!r}; use another split or task")
        return [self.queries[query] for query, _ in found], [self.corpus[document] for _, document in found]

    def smaller(self, documents: int) -> RetrievalTask:
        """About `documents` of the documents, evenly spaced, with the queries whose relevant ones are all kept."""
        step = max(1, len(self.corpus) // max(1, documents))
        corpus = dict(list(self.corpus.items())[::step])
        splits = {
            split: [q for q in its if corpus.keys() >= set(self.relevant(q))] for split, its in self.splits.items()
        }
        kept = [query for queries in splits.values() for query in queries]
        return RetrievalTask(
            f"{self.name} ({len(corpus):,} documents)",
            self.origin,
            corpus,
            {query: self.queries[query] for query in kept},
            {q: {d: grade for d, grade in self.qrels.get(q, {}).items() if d in corpus} for q in kept},
            splits,
            {level: labels[::step] for level, labels in self.labels.items()},
        )


@dataclass(frozen=True)
class PairsTask(Task):
    """Texts that belong together: split -> (anchor, positive, *negatives).

    >>> PairsTask("tiny", "here", {"train": [("a", "b"), ("c", "d", "not this")]}).pairs("train")
    (['a', 'c'], ['b', 'd'])
    """

    splits: dict[str, list[tuple[str, ...]]]
    kind: ClassVar[str] = "pairs"

    def pairs(self, split: str = "train") -> tuple[list[str], list[str]]:
        """(anchors, positives) of the split. Raises InputError for an unknown split."""
        rows = self._split(split)
        return [row[0] for row in rows], [row[1] for row in rows]

    def as_retrieval(self, split: str = "test") -> RetrievalTask:
        """The split as retrieval: an anchor's positives are to be found among all positives and negatives."""
        rows = self._split(split)
        documents = {text: f"d{i}" for i, text in enumerate(dict.fromkeys(text for row in rows for text in row[1:]))}
        queries = {text: f"q{i}" for i, text in enumerate(dict.fromkeys(row[0] for row in rows))}
        qrels: dict[str, dict[str, int]] = {query: {} for query in queries.values()}
        for row in rows:
            qrels[queries[row[0]]][documents[row[1]]] = 1
        corpus, texts = ({name: text for text, name in names.items()} for names in (documents, queries))
        return RetrievalTask(self.name, self.origin, corpus, texts, qrels, {split: list(texts)}, warnings=self.warnings)


@dataclass(frozen=True)
class STSTask(Task):
    """Graded pairs: split -> (first texts, second texts, scores (N,) float64), a higher score for a closer meaning.

    >>> STSTask("tiny", "here", {"test": (["a cat"], ["a dog"], np.array([2.5]))}).size
    'pairs: test 1'
    """

    splits: dict[str, tuple[list[str], list[str], np.ndarray]]
    kind: ClassVar[str] = "sts"

    @property
    def size(self) -> str:
        return f"pairs: {super().size}"


@dataclass(frozen=True)
class ClassificationTask(Task):
    """Label the input: split -> (inputs, labels (N,) int64); inputs are texts, or float32 vectors (N, D) or (L, N, D).

    With `folds`, splits["all"] is everything and `fold_indices` cuts it, so that each item is tested once.

    >>> ClassificationTask.of_rows("tiny", "here", {"train": [("hello", "greeting"), ("bye", "parting")]}).size
    'train 2; 2 classes'
    """

    splits: dict[str, tuple[Any, np.ndarray]]
    classes: list[str]
    folds: int | None = None
    kind: ClassVar[str] = "classification"

    @classmethod
    def of_rows(
        cls, name: str, origin: str, rows: Mapping[str, Sequence[tuple[str, str]]], warnings: Sequence[str] = ()
    ) -> ClassificationTask:
        """Texts with labels: split -> (text, label). Raises InputError where there is only one label."""
        classes = sorted({label for its in rows.values() for _, label in its})
        if len(classes) < 2:
            raise InputError(f"{origin}: only one label ({classes[0]!r}); a classification task needs two or more")
        said = list(warnings)
        if unseen := sorted(set(classes) - {label for _, label in rows.get("train", ())}):
            said.append(f"{len(unseen)} labels are not in train (first: {unseen[0]!r}), so they are never predicted")
        number = {label: index for index, label in enumerate(classes)}
        splits = {
            split: ([text for text, _ in its], np.array([number[label] for _, label in its], np.int64))
            for split, its in rows.items()
        }
        return cls(name, origin, splits, classes, warnings=said)

    @classmethod
    def in_folds(cls, name: str, origin: str, vectors: np.ndarray, labels: Sequence[str]) -> ClassificationTask:
        """Vectors (N, D) or (L, N, D) with the label of each, in 5 folds; "test" is the first fold, "dev" the second,
        "train" the others. Raises InputError for a class with fewer than 5 vectors."""
        classes, numbers = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
        counts = np.bincount(numbers)
        if counts.min() < 5:
            rare = str(classes[counts.argmin()])
            raise InputError(f"{name}: fewer than 5 vectors of class {rare!r}, one per fold; add some")
        test, dev, *others = (rows for _, rows in stratified_folds(numbers, 5))
        index = {"train": np.sort(np.concatenate(others)), "dev": dev, "test": test, "all": np.arange(len(numbers))}
        splits = {split: (vectors[..., rows, :], numbers[rows].astype(np.int64)) for split, rows in index.items()}
        return cls(name, origin, splits, classes.tolist(), 5)

    @property
    def size(self) -> str:
        return f"{super().size}; {len(self.classes)} classes"

    def fold_indices(self, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
        """(train, test) indices into splits["all"], one pair a fold, stratified. Raises InputError without folds."""
        if not self.folds:
            raise InputError(f"{self.name} is not cut in folds; use its splits {', '.join(self.splits)}")
        return stratified_folds(self.splits["all"][1], self.folds, seed)


@dataclass(frozen=True)
class VectorsTask(Task):
    """Vectors (L, N, D) float32 without labels: the rows `queries_index` are queries, and what is relevant to one are
    its 10 nearest neighbors at full width.

    >>> VectorsTask("tiny", "here", np.zeros((2, 30, 8), np.float32), np.arange(6)).size
    '30 vectors of 8, 6 of them queries'
    """

    vectors: np.ndarray
    queries_index: np.ndarray
    kind: ClassVar[str] = "vectors"

    @property
    def size(self) -> str:
        _, count, width = self.vectors.shape
        return f"{count:,} vectors of {width}, {len(self.queries_index):,} of them queries"
