"""The kinds of tasks: retrieval, pairs, graded pairs, classification and bare vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.task import Task, take


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
        """Ids of the split's queries with a judgment; without a relevant document a query scores 0, as in trec_eval.

        Raises InputError for an unknown split."""
        return [query for query in self._split(split) if self.qrels.get(query)]

    def _texts(self, items: Any) -> list[str]:
        return list(items)

    def pairs(self, split: str = "train") -> tuple[list[str], list[str]]:
        """(anchors, positives): each query of the split with each of its relevant documents. Raises InputError for an
        unknown split, and where there are none."""
        found = [(self.queries[q], self.corpus[d]) for q in self._split(split) for d in self.relevant(q)]
        if not found:
            raise InputError(f"{self.name} has no relevant pairs in {split!r}; use another split or task")
        return [pair[0] for pair in found], [pair[1] for pair in found]

    def smaller(self, documents: int) -> RetrievalTask:
        """About `documents` of the documents, evenly spaced, with the queries whose relevant ones are all kept."""
        step = max(1, len(self.corpus) // max(1, documents))
        corpus = dict(list(self.corpus.items())[::step])
        splits = {
            split: [q for q in its if corpus.keys() >= set(self.relevant(q))] for split, its in self.splits.items()
        }
        kept = [query for queries in splits.values() for query in queries]
        return replace(
            self,
            name=f"{self.name} ({len(corpus):,} documents)",
            corpus=corpus,
            queries={query: self.queries[query] for query in kept},
            qrels={q: {d: grade for d, grade in self.qrels.get(q, {}).items() if d in corpus} for q in kept},
            splits=splits,
            labels={level: labels[::step] for level, labels in self.labels.items()},
        )


@dataclass(frozen=True)
class PairsTask(Task):
    """Texts that belong together: split -> (anchor, positive, *negatives). limit: the most rows of train.

    >>> PairsTask("tiny", "here", {"train": [("a", "b"), ("c", "d", "not this")]}).pairs("train")
    (['a', 'c'], ['b', 'd'])
    """

    splits: dict[str, list[tuple[str, ...]]]
    limit: int | None = None
    kind: ClassVar[str] = "pairs"

    def with_splits(self, *wanted: str) -> PairsTask:
        """As for every task; its train split holds at most `limit` rows, those with the lowest hash."""
        task = super().with_splits(*wanted)
        rows = task.splits.get("train", [])
        if self.limit is None or len(rows) <= self.limit:
            return task
        lowest = sorted(sorted(range(len(rows)), key=lambda row: files.key(rows[row]))[: self.limit])
        said = f"train: {self.limit:,} of {len(rows):,} rows, by hash; limit=None takes all"
        splits = {**task.splits, "train": take(rows, lowest)}
        return replace(task, splits=splits, warnings=[*task.warnings, said])

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
        for anchor, positive, *_ in rows:
            qrels[queries[anchor]][documents[positive]] = 1
        corpus, texts = ({name: text for text, name in names.items()} for names in (documents, queries))
        splits, cuts, said = {split: list(texts)}, self.with_splits(split).cuts, self.warnings
        return RetrievalTask(self.name, self.origin, corpus, texts, qrels, splits, warnings=said, cuts=cuts)


@dataclass(frozen=True)
class STSTask(Task):
    """Graded pairs: split -> (first texts, second texts, scores (N,) float64), a higher score for a closer meaning."""

    splits: dict[str, tuple[list[str], list[str], np.ndarray]]
    kind: ClassVar[str] = "sts"

    @property
    def size(self) -> str:
        return f"pairs: {super().size}"


@dataclass(frozen=True)
class ClassificationTask(Task):
    """Label the input: split -> (inputs, labels (N,) int64); inputs are texts, or float32 vectors (N, D) or (L, N, D).

    With `folds`, splits["all"] is everything and `fold_indices` cuts it, so that each item is tested once."""

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
        number = {label: index for index, label in enumerate(classes)}
        splits = {
            split: ([text for text, _ in its], np.array([number[label] for _, label in its], np.int64))
            for split, its in rows.items()
        }
        return cls(name, origin, splits, classes, warnings=list(warnings))._with_unseen()

    @classmethod
    def in_folds(cls, name: str, origin: str, vectors: np.ndarray, labels: Sequence[str]) -> ClassificationTask:
        """Vectors (N, D) or (L, N, D) with the label of each, in 5 folds; "test" is the first fold, "dev" the second,
        "train" the others. Raises InputError for a class with fewer than 5 vectors."""
        classes, numbers = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
        counts = np.bincount(numbers)
        if counts.min() < 5:
            rare = str(classes[counts.argmin()])
            raise InputError(f"{name}: fewer than 5 vectors of class {rare!r}, one per fold; add some")
        whole = cls(name, origin, {"all": (vectors, numbers)}, classes.tolist(), 5)
        test, dev, *others = (rows for _, rows in whole.fold_indices())
        index = {"train": np.sort(np.concatenate(others)), "dev": dev, "test": test, "all": np.arange(len(numbers))}
        return replace(whole, splits={split: (vectors[..., rows, :], numbers[rows]) for split, rows in index.items()})

    @property
    def size(self) -> str:
        return f"{super().size}; {len(self.classes)} classes"

    def with_splits(self, *wanted: str) -> ClassificationTask:
        """As for every task; a split to be tested needs one to learn from, and "all" is tested in 5 folds."""
        task = super().with_splits(*wanted)
        if "all" not in wanted or self.folds:
            return task if "train" in self.splits else task._with_unseen()
        if np.bincount(task.splits["all"][1]).min() < 5:
            raise InputError(f"{self.name}: a class has fewer than 5 texts, so that 5 folds are too many; choose test")
        return replace(task, folds=5, cuts={"all": "each item once, in 5 folds"})

    def _with_unseen(self) -> ClassificationTask:
        """With a warning where labels are missing from train."""
        seen = set(self.splits["train"][1]) if "train" in self.splits else range(len(self.classes))
        unseen = [label for number, label in enumerate(self.classes) if number not in seen]
        if not unseen:
            return self
        said = f"{len(unseen)} labels are not in train (first: {unseen[0]!r}), so they are never predicted"
        return replace(self, warnings=[*self.warnings, said])

    def _learns_from(self) -> tuple[str, ...]:
        texts = all(isinstance(inputs, list) for inputs, _ in self.splits.values())  # vectors have none to be cut by
        return ("train",) if texts and not self.folds else ()

    def fold_indices(self, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
        """(train, test) indices into splits["all"], one pair a fold, stratified. Raises InputError without folds."""
        from sklearn.model_selection import StratifiedKFold

        if not self.folds:
            raise InputError(f"{self.name} is not cut in folds; use its splits {', '.join(self.splits)}")
        labels = self.splits["all"][1]
        return list(StratifiedKFold(self.folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels))


@dataclass(frozen=True)
class VectorsTask(Task):
    """Vectors (L, N, D) float32 without labels: the rows `queries_index` are queries, and what is relevant to one are
    its 10 nearest neighbors at full width."""

    vectors: np.ndarray
    queries_index: np.ndarray
    kind: ClassVar[str] = "vectors"

    @property
    def size(self) -> str:
        _, count, width = self.vectors.shape
        return f"{count:,} vectors of {width}, {len(self.queries_index):,} of them queries"
