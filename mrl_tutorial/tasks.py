"""Tasks by name or path: what is encoded, what counts as right, and which part is for training, choosing and reporting.

`load_task` looks for a name in the package (pydocs, digits), in `$MRL_DATA/<name>`, then on the hub; a path is read in
place. Choose on "dev", report on "test". Where a set has no dev split, 20 % of train by hash is dev, else 20 % of test.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from . import hub, pydocs, readers, store
from .errors import InputError


@dataclass(frozen=True)
class _Task:
    name: str
    origin: str
    warnings: list[str] = field(default_factory=list, kw_only=True)
    kind: ClassVar[str] = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}): {self.size}; fingerprint {self.fingerprint()}; from {self.origin}"

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
        return store.key(self.kind, *_plain([value for name, value in self.__dict__.items() if name not in skipped]))


def _plain(value: Any) -> list[Any]:
    """Nested containers as a flat list that store.key takes, arrays kept as arrays."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        return [part for name, item in value.items() for part in (name, *_plain(item))]
    if isinstance(value, (list, tuple)) and any(isinstance(item, (list, tuple, dict, np.ndarray)) for item in value):
        return [part for item in value for part in _plain(item)]
    return [value]


@dataclass(frozen=True)
class RetrievalTask(_Task):
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

    def pairs(self, split: str = "train") -> tuple[list[str], list[str]]:
        """(anchors, positives): each query of the split with each of its relevant documents. Raises InputError if none."""
        found = [(self.queries[query], self.corpus[document]) for query in self._of(split)
                 for document, grade in self.qrels.get(query, {}).items() if grade > 0]
        if not found:
            raise InputError(f"{self.name} has no relevant pairs in {split!r}; use another split or task")
        return [query for query, _ in found], [document for _, document in found]


@dataclass(frozen=True)
class PairsTask(_Task):
    """Texts that belong together: (anchor, positive, *negatives) by split."""

    splits: dict[str, list[tuple[str, ...]]]
    kind: ClassVar[str] = "pairs"

    def pairs(self, split: str = "train") -> tuple[list[str], list[str]]:
        """(anchors, positives) of the split. Raises InputError for an unknown split."""
        rows = self._of(split)
        return [row[0] for row in rows], [row[1] for row in rows]

    def as_retrieval(self, split: str = "test") -> RetrievalTask:
        """The split as retrieval: an anchor's positives are its relevant documents among all positives and negatives."""
        documents = {text: f"d{number}" for number, text in enumerate(dict.fromkeys(t for row in self._of(split) for t in row[1:]))}
        queries = {text: f"q{number}" for number, text in enumerate(dict.fromkeys(row[0] for row in self._of(split)))}
        qrels: dict[str, dict[str, int]] = {query: {} for query in queries.values()}
        for row in self._of(split):
            qrels[queries[row[0]]][documents[row[1]]] = 1
        corpus, asked = ({name: text for text, name in texts.items()} for texts in (documents, queries))
        return RetrievalTask(self.name, self.origin, corpus, asked, qrels, {split: list(asked)}, warnings=self.warnings)


@dataclass(frozen=True)
class STSTask(_Task):
    """Graded pairs: split -> (first texts, second texts, scores (N,) float64)."""

    splits: dict[str, tuple[list[str], list[str], np.ndarray]]
    kind: ClassVar[str] = "sts"

    @property
    def size(self) -> str:
        return "pairs: " + ", ".join(f"{split} {len(scores):,}" for split, (_, _, scores) in self.splits.items())


@dataclass(frozen=True)
class ClassificationTask(_Task):
    """Label the input: split -> (inputs, labels (N,) int64); inputs are texts, or float32 vectors (N, D) or (L, N, D).

    With `folds`, splits["all"] is everything and `fold_indices` cuts it, so that each item is tested once."""

    splits: dict[str, tuple[Any, np.ndarray]]
    classes: list[str]
    folds: int | None = None
    kind: ClassVar[str] = "classification"

    @property
    def size(self) -> str:
        return ", ".join(f"{split} {len(labels):,}" for split, (_, labels) in self.splits.items()) + f"; {len(self.classes)} classes"

    def fold_indices(self, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
        """(train, test) indices into splits["all"], one pair a fold, stratified. Raises InputError where there are no folds."""
        if not self.folds:
            raise InputError(f"{self.name} is not cut in folds; use its splits {', '.join(self.splits)}")
        return _folds(self.splits["all"][1], self.folds, seed)


@dataclass(frozen=True)
class VectorsTask(_Task):
    """Vectors (L, N, D) float32 without labels: the rows `queries_index` are queries, their 10 nearest others at full
    width are relevant."""

    vectors: np.ndarray
    queries_index: np.ndarray
    kind: ClassVar[str] = "vectors"

    @property
    def size(self) -> str:
        return f"{self.vectors.shape[1]:,} vectors of {self.vectors.shape[2]}, {len(self.queries_index):,} of them queries"


@dataclass(frozen=True)
class TaskInfo:
    """One line of the list of tasks; `available` means without a network."""

    name: str
    kind: str
    size: str
    origin: str
    available: bool


# name -> (kind, size); those that the hub holds are in hub.SETS
NAMED = {
    "pydocs": ("retrieval", "about 6,000 documents and queries"),
    "pydocs:package": ("classification", "about 6,000 texts, 15 classes"),
    "pydocs:module": ("classification", "about 6,000 texts, 90 classes"),
    "digits": ("classification", "1,797 images, 10 classes, 5 folds"),
    "scifact": ("retrieval", "5,183 documents, 300 test queries"),
    "cranfield": ("retrieval", "1,400 documents, 225 queries"),
    "nfcorpus": ("retrieval", "3,633 documents, 323 test queries"),
    "fiqa": ("retrieval", "57,638 documents, 648 test queries"),
    "stsbenchmark": ("sts", "1,379 test pairs"),
    "banking77": ("classification", "13,083 texts, 77 classes"),
    "captions": ("pairs", "about 28,000 images of 5 captions"),
    "all-nli": ("pairs", "557,850 training triplets"),
    "msmarco": ("pairs", "502,931 training triplets"),
    "medi": ("pairs", "1.2 million training rows"),
}


def tasks() -> list[TaskInfo]:
    """Every named task with its kind, size, origin and whether it can be had without a network."""
    found = []
    for name, (kind, size) in NAMED.items():
        if name.startswith("pydocs"):
            libraries = pydocs.find_libraries()
            info = TaskInfo(name, kind, size, f"documentation of {len(libraries)} installed libraries", bool(libraries))
        elif name == "digits":
            info = TaskInfo(name, kind, size, "scikit-learn", True)
        elif folder := _data_folder(name):
            info = TaskInfo(name, kind, size, str(folder), True)
        else:
            info = TaskInfo(name, kind, size, hub.describe(name), hub.cached(name) is not None)
        found.append(info)
    return found


def _data_folder(name: str) -> Path | None:
    base = os.environ.get("MRL_DATA")
    folder = Path(base).expanduser() / name if base else None
    return folder if folder and folder.is_dir() else None


def load_task(name_or_path: str | Path, *, limit: int | None = 100_000,
              progress: Callable[[int, int, str], object] | None = None) -> Any:
    """The task of that name (`tasks()` lists them) or path: a BEIR folder, a folder of csv files, a csv, a `.npy`.

    `limit`: at most so many training rows of a pairs task, chosen by hash (None: all). Raises InputError naming file,
    line and remedy.
    """
    name = str(name_or_path)
    if name in ("pydocs", "pydocs:package", "pydocs:module"):
        return _pydocs_task(name, pydocs.load_pydocs(progress))
    if name == "digits":
        return _digits()
    if name in NAMED:
        folder = _data_folder(name)
        return _from_path(folder, name, str(folder), limit) if folder else \
            _from_path(hub.fetch(name), name, hub.describe(name), limit)
    path = Path(name).expanduser()
    if path.exists():
        return _from_path(path, path.resolve().name if path.is_dir() else path.stem, str(path), limit)
    close = difflib.get_close_matches(name, NAMED, 1)
    raise InputError(f"no task or path {name!r}; " + (f"did you mean {close[0]!r}? " if close else "") + f"tasks: {', '.join(NAMED)}")


def _pydocs_task(name: str, docs: pydocs.PyDocs) -> RetrievalTask | ClassificationTask:
    warnings = [f"not installed, so not in the corpus: {', '.join(docs.missing)}"] if docs.missing else []
    labels = {"package": docs.packages, "module": docs.modules}
    if ":" in name:
        level = labels[name.split(":")[1]]
        classes = sorted(set(level))
        number = {label: index for index, label in enumerate(classes)}
        splits = {}
        for split in ("train", "dev", "test"):
            rows = [row for row, where in enumerate(docs.splits) if where == split]
            splits[split] = ([docs.documents[row] for row in rows], np.array([number[level[row]] for row in rows], np.int64))
        return ClassificationTask(name, str(docs), splits, classes, warnings=warnings)
    queries = [f"q:{document}" for document in docs.names]  # not the document's id: some evaluators skip equal ids
    by_split = {split: [query for query, where in zip(queries, docs.splits) if where == split] for split in ("train", "dev", "test")}
    return RetrievalTask(
        name, str(docs), dict(zip(docs.names, docs.documents)), dict(zip(queries, docs.queries)),
        {query: {document: 1} for query, document in zip(queries, docs.names)}, by_split, labels, warnings=warnings,
    )  # fmt: skip


def _folds(labels: np.ndarray, folds: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedKFold

    return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels))


def _folded(name: str, origin: str, vectors: np.ndarray, labels: np.ndarray, classes: list[str]) -> ClassificationTask:
    """Vectors (N, D) or (L, N, D) with 5 folds; "test" is the first fold, "dev" the second, "train" the others."""
    if np.bincount(labels, minlength=1).min() < 5:
        raise InputError(f"{name}: class {classes[int(np.bincount(labels).argmin())]!r} has fewer than 5 vectors; 5 folds need 5 of each")
    parts = [test for _, test in _folds(labels, 5)]
    index = {"train": np.sort(np.concatenate(parts[2:])), "dev": parts[1], "test": parts[0], "all": np.arange(len(labels))}
    splits = {split: (vectors[..., rows, :], labels[rows]) for split, rows in index.items()}
    return ClassificationTask(name, origin, splits, classes, 5)


def _digits() -> ClassificationTask:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return _folded("digits", "scikit-learn", (images / 16).astype(np.float32), labels.astype(np.int64), [str(digit) for digit in range(10)])


def _from_path(path: Path, name: str, origin: str, limit: int | None) -> Any:
    if path.is_file():
        if path.suffix == ".npy":
            return _vectors(path, name, origin)
        if path.suffix in (".csv", ".tsv"):
            return _from_tables({"all": path}, name, origin, limit)
        raise InputError(f"{path}: cannot be read as a task; give a .csv, .tsv or .npy, or a folder")
    if (path / "corpus.jsonl").exists() or (path / "queries.jsonl").exists():
        return _retrieval(path, name, origin)
    if any(path.glob("sts-*.csv")):
        splits, warnings = readers.read_stsb(path)
        return STSTask(name, origin, splits, warnings=warnings)
    files = {readers.SPLIT_NAMES[file.stem]: file for file in sorted(path.iterdir())
             if file.suffix in (".csv", ".tsv") and file.stem in readers.SPLIT_NAMES}
    if not files:
        raise InputError(f"{path}: no task in this folder; it needs corpus.jsonl, queries.jsonl and qrels/, or train.csv and test.csv")
    return _from_tables(files, name, origin, limit)


def _retrieval(folder: Path, name: str, origin: str) -> RetrievalTask:
    corpus, queries, judged, warnings = readers.read_beir(folder)
    qrels: dict[str, dict[str, int]] = {}
    splits: dict[str, list[str]] = {}
    for split in ("test", "dev", "train"):  # a query that is judged in two belongs to the one that must stay unseen
        for query, grades in judged.get(split, {}).items():
            if query in qrels:
                warnings.append(f"query {query!r} is judged in two splits; taken out of {split}")
            else:
                qrels[query] = grades
                splits.setdefault(split, []).append(query)
    return RetrievalTask(name, origin, corpus, queries, qrels, _with_dev(splits, str), warnings=warnings)


def _with_dev(splits: dict[str, list[Any]], text: Callable[[Any], str]) -> dict[str, list[Any]]:
    """Splits in the order train, dev, test; where there is no dev, 20 % of train by hash, else 20 % of test."""
    if "dev" not in splits and (source := next((split for split in ("train", "test") if split in splits), None)):
        chosen = [pydocs.split_of(f"dev {text(item)}", dev=0.2, test=0.0) == "dev" for item in splits[source]]
        if any(chosen) and not all(chosen):
            splits = {**splits, "dev": [item for item, dev in zip(splits[source], chosen) if dev],
                      source: [item for item, dev in zip(splits[source], chosen) if not dev]}
    return {split: splits[split] for split in ("train", "dev", "test") if split in splits}


def _from_tables(files: dict[str, Path], name: str, origin: str, limit: int | None) -> Any:
    """A task of csv files by split; of a single one, 10 % by hash is dev and 10 % test (by the text, or the set of texts,
    so that equal ones stay together)."""
    kinds, splits, warnings = {}, {}, []
    for split, path in files.items():
        kinds[split], splits[split], found = readers.read_table(path)
        warnings += found
    if len(set(kinds.values())) > 1:
        raise InputError(f"{origin}: files of different kinds ({', '.join(f'{files[s].name} {k}' for s, k in kinds.items())}); give one kind")
    kind = next(iter(kinds.values()))

    def text(row: Sequence[Any]) -> str:
        return " | ".join(map(str, row)) if kind == "sets" else pydocs.docstrings.normal(str(row[0]))

    if len(splits) == 1:
        rows = next(iter(splits.values()))
        splits = {split: [row for row in rows if pydocs.split_of(text(row), dev=0.1, test=0.1) == split] for split in ("train", "dev", "test")}
        if empty := [split for split, found in splits.items() if not found]:
            raise InputError(f"{origin}: {len(rows)} rows are too few to cut by hash ({empty[0]} is empty); give train.csv and test.csv")
    splits = _with_dev(splits, text)
    if kind == "classification":
        return _labelled(splits, name, origin, warnings)
    if kind == "sts":
        graded = {split: ([row[0] for row in rows], [row[1] for row in rows], np.array([row[2] for row in rows])) for split, rows in splits.items()}
        return STSTask(name, origin, graded, warnings=warnings)
    if kind == "sets":  # (1st, 2nd) and (3rd, 4th) text of a set to train on; (1st, 2nd) of the held-out sets, so that an anchor has one positive
        splits = {split: [(row[i], row[i + 1]) for row in rows for i in (range(0, len(row) - 1, 2) if split == "train" else (0,))]
                  for split, rows in splits.items()}
    if limit and len(splits.get("train", ())) > limit:
        share = limit / len(splits["train"])
        splits["train"] = [row for row in splits["train"] if pydocs.split_of(f"limit {row[0]} {row[1]}", dev=share, test=0.0) == "dev"][:limit]
        warnings.append(f"train: {len(splits['train']):,} rows by hash (limit {limit:,}; limit=None takes all)")
    return PairsTask(name, origin, splits, warnings=warnings)


def _labelled(splits: dict[str, list[Any]], name: str, origin: str, warnings: list[str]) -> ClassificationTask:
    classes = sorted({str(row[1]) for rows in splits.values() for row in rows})
    if len(classes) < 2:
        raise InputError(f"{origin}: only one label ({classes[0]!r}); a classification task needs two or more")
    number = {label: index for index, label in enumerate(classes)}
    if unseen := sorted(set(classes) - {str(row[1]) for row in splits.get("train", ())}):
        warnings.append(f"{len(unseen)} labels are not in train (first: {unseen[0]!r}), so they are never predicted")
    made = {split: ([row[0] for row in rows], np.array([number[str(row[1])] for row in rows], np.int64)) for split, rows in splits.items()}
    return ClassificationTask(name, origin, made, classes, warnings=warnings)


def _vectors(path: Path, name: str, origin: str) -> VectorsTask | ClassificationTask:
    vectors, labels = readers.read_vectors(path)
    if labels is not None:
        classes = sorted(set(labels))
        number = {label: index for index, label in enumerate(classes)}
        return _folded(name, origin, vectors if len(vectors) > 1 else vectors[0], np.array([number[x] for x in labels], np.int64), classes)
    count = vectors.shape[1]
    if count < 20:
        raise InputError(f"{path}: {count} vectors; at least 20 are needed to hold some out as queries")
    held_out = np.sort(np.random.default_rng(0).permutation(count)[: min(1000, count // 5)])
    return VectorsTask(name, origin, vectors, held_out)
