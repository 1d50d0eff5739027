"""File layouts -> plain Python: BEIR folders, csv of pairs, of graded pairs and of labelled texts, `.npy` of vectors.

Every problem names file and line and says what to do: an InputError where a figure would be wrong without the line, a
counted warning where dropping it is right. Nothing here knows of tasks or splits by hash.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError

Qrels = dict[str, dict[str, int]]
SPLIT_NAMES = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "val": "dev", "test": "test"}
FIRST = {"anchor", "query", "question", "sentence1", "text1", "premise"}
SECOND = {"positive", "pos", "document", "answer", "sentence2", "text2", "passage"}
SCORE = {"score", "similarity", "similarity_score"}
TEXT = {"text", "sentence", "document", "query", "utterance"}
LABEL = {"label", "category", "class", "intent", "label_text", "target"}


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, line) of a UTF-8 text file, without its line ends. Raises InputError where it cannot be read."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\r\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from error


def read_beir(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, Qrels], list[str]]:
    """A folder in BEIR layout (corpus.jsonl, queries.jsonl, qrels/*.tsv) -> corpus, queries, qrels of each split, and
    warnings. A document is its title and text. Raises InputError naming file, line and remedy."""
    warnings: list[str] = []
    corpus = _read_texts(folder / "corpus.jsonl", "document", warnings)
    queries = _read_texts(folder / "queries.jsonl", "query", warnings)
    files = sorted((folder / "qrels").glob("*.tsv")) or sorted(folder.glob("qrels*.tsv"))
    if not files:
        raise InputError(
            f"{folder}: no qrels/*.tsv; give judgements as query-id, corpus-id, score, e.g. in qrels/test.tsv"
        )
    splits: dict[str, Qrels] = {}
    for path in files:
        splits.setdefault(SPLIT_NAMES.get(path.stem, "test"), {}).update(_read_qrels(path, corpus, queries, warnings))
    return corpus, queries, splits, warnings


def _read_texts(path: Path, what: str, warnings: list[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    places: dict[str, int] = {}
    empty, repeated = [], 0
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, text = (
                str(row["_id"]),
                " ".join(str(row.get(part) or "").strip() for part in ("title", "text")).strip(),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f'{path}:{number}: not a json object with "_id" and "text"; mend or remove the line'
            ) from error
        if "text" not in row and "title" not in row:
            raise InputError(f'{path}:{number}: {what} {name!r} has no "text"; add it or remove the line')
        if name in texts and texts[name] != text:
            raise InputError(
                f"{path}:{number}: {what} id {name!r} is also on line {places[name]}; give each its own id"
            )
        repeated += name in texts
        if not text:
            empty.append(name)
        texts[name] = text
        places[name] = number
    for name in empty:
        texts.pop(name, None)
    if empty:
        warnings.append(f"{path.name}: dropped {_count(empty)} without text (first: {empty[0]!r})")
    if repeated:
        warnings.append(f"{path.name}: dropped {repeated} repeated lines")
    if not texts:
        raise InputError(f'{path}: holds no {what}; give one json object a line with "_id" and "text"')
    return texts


def _read_qrels(path: Path, corpus: dict[str, str], queries: dict[str, str], warnings: list[str]) -> Qrels:
    """Query id -> document id -> grade. Judgements of unknown ids are dropped and counted, unless they are the most."""
    qrels: Qrels = {}
    unknown: list[str] = []
    total = 0
    for number, line in read_lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or number == 1 and len(fields) in (3, 4) and not _is_number(fields[-1]):
            continue  # empty, or the header
        if len(fields) == 4:
            del fields[1]  # trec_eval's layout: query, iteration, document, grade
        if len(fields) != 3 or not _is_number(fields[2]) or float(fields[2]) != int(float(fields[2])):
            raise InputError(
                f"{path}:{number}: {line[:60]!r} is not query-id, corpus-id and a whole-number score; mend the line"
            )
        query, document, grade = fields[0].strip(), fields[1].strip(), int(float(fields[2]))
        total += 1
        if query not in queries or document not in corpus:
            unknown.append(
                f"line {number}: " + (f"query {query!r}" if query not in queries else f"document {document!r}")
            )
        elif qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            raise InputError(
                f"{path}:{number}: query {query!r} and document {document!r} are judged twice, differently; keep one"
            )
    if not total:
        raise InputError(f"{path}: holds no judgements; give query-id, corpus-id, score, separated by tabs")
    if 2 * len(unknown) > total:
        raise InputError(
            f"{path}: {len(unknown)} of {total} judgements name ids that corpus.jsonl and queries.jsonl do not have "
            f"({unknown[0]}); are the three files of one data set?"
        )
    if unknown:
        warnings.append(f"{path.name}: dropped {_count(unknown, 'judgement')} of unknown ids (first: {unknown[0]})")
    return qrels


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _count(items: Sequence[Any], noun: str = "entry") -> str:
    return (
        f"{len(items)} {noun}"
        if len(items) == 1
        else f"{len(items)} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"
    )


def read_table(path: Path) -> tuple[str, list[tuple[Any, ...]], list[str]]:
    """A csv (or tab-separated .tsv) file -> kind, rows and warnings; the header says which kind.

    "classification": (text, label) · "sts": (first, second, float) · "pairs": (anchor, positive, *negatives) ·
    "sets": texts that mean the same (cap1, cap2, …). Two columns without a known header are pairs.
    Raises InputError naming file and line for a malformed row.
    """
    rows = list(_read_rows(path))
    if not rows:
        raise InputError(f"{path}: is empty; give a header and rows")
    header = [name.strip().lower().lstrip("#").strip() for name in rows[0][1]]
    kind, columns, named = _columns(header)
    warnings, body = [], rows[1:] if named else rows
    if kind == "?":
        raise InputError(
            f"{path}:1: columns {', '.join(header[:6])} are not known; separate by commas and name them "
            "text,label or anchor,positive (and negative…) or sentence1,sentence2,score"
        )
    if not named:
        warnings.append(f"{path.name}: no known header, so the first line is data; read as anchor,positive")
    found, dropped = [], []
    for number, fields in body:
        if len(fields) != len(header):
            raise InputError(
                f"{path}:{number}: {len(fields)} fields where line 1 has {len(header)}; quote texts with separators"
            )
        values: list[Any] = [fields[column].strip() for column in columns]
        if kind == "sts":
            if not _is_number(values[2]):
                raise InputError(f"{path}:{number}: score {values[2]!r} is not a number; mend the line")
            values[2] = float(values[2])
        required = values if kind != "pairs" else values[:2]
        if any(value == "" for value in required):
            dropped.append(number)
        else:
            found.append(tuple(value for value in values if value != ""))
    if dropped:
        warnings.append(f"{path.name}: dropped {_count(dropped, 'row')} with an empty field (first: line {dropped[0]})")
    if not found:
        raise InputError(f"{path}: holds no complete row below its header; give some")
    return kind, found, warnings


def _columns(header: list[str]) -> tuple[str, list[int], bool]:
    def place(names: set[str]) -> int | None:
        return next((index for index, name in enumerate(header) if name in names), None)

    first, second, score, text, label = place(FIRST), place(SECOND), place(SCORE), place(TEXT), place(LABEL)
    if first is not None and second is not None:
        if score is not None:
            return "sts", [first, second, score], True
        return "pairs", [first, second, *(i for i, name in enumerate(header) if name.startswith("neg"))], True
    if text is not None and label is not None:
        return "classification", [text, label], True
    if len(header) > 1 and all(name.startswith("cap") for name in header):
        return "sets", list(range(len(header))), True
    return ("pairs", [0, 1], False) if len(header) == 2 else ("?", [], False)


def _read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, fields) of every row that is not empty."""
    text = "\n".join(line for _, line in read_lines(path))
    if "\0" in text:
        raise InputError(f"{path}: holds zero bytes, so it is not a text file; export it as UTF-8 csv")
    if path.suffix == ".tsv":
        reader = csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(io.StringIO(text), strict=True)  # a stray quote is an error, not a field of half the file
    begin = 1
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                yield begin, fields
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{begin}: {error}; close the quote, and write a quote inside a text twice") from error


def read_stsb(folder: Path) -> dict[str, tuple[list[str], list[str], np.ndarray]]:
    """STS-B as released: sts-{train,dev,test}.csv, tab-separated, no header, no quoting; field 5 is the score (0 to 5),
    6 and 7 the sentences, some lines have two more. -> split -> (first, second, scores (N,) float64)."""
    splits: dict[str, tuple[list[str], list[str], np.ndarray]] = {}
    for path in sorted(folder.glob("sts-*.csv")):
        first, second, scores = [], [], []
        for number, line in read_lines(path):
            fields = line.split("\t")
            if not line.strip():
                continue
            if len(fields) < 7 or not _is_number(fields[4]) or not fields[5].strip() or not fields[6].strip():
                raise InputError(
                    f"{path}:{number}: field 5 must be a score, 6 and 7 sentences, separated by tabs; mend the line"
                )
            first.append(fields[5].strip())
            second.append(fields[6].strip())
            scores.append(float(fields[4]))
        if not scores:
            raise InputError(f"{path}: is empty; give score and sentences in fields 5 to 7")
        splits[SPLIT_NAMES.get(path.stem.removeprefix("sts-"), path.stem)] = (first, second, np.array(scores))
    return splits


def read_vectors(path: Path) -> tuple[np.ndarray, list[str] | None]:
    """A `.npy` of shape (N, D) or (L, N, D) -> float32 (L, N, D), and the labels beside it (`<name>.labels.txt`, one a
    line, or `.labels.npy`) if there are any. Never unpickles. Raises InputError for another shape or type,
    or non-finite values."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a .npy of numbers; write it with numpy.save (no object arrays)") from error
    if (
        not isinstance(array, np.ndarray)
        or array.ndim not in (2, 3)
        or array.dtype.kind not in "fiu"
        or 0 in array.shape
    ):
        shape = getattr(array, "shape", "?")
        raise InputError(
            f"{path}: shape {shape} of {getattr(array, 'dtype', '?')}; give numbers of shape (N, D) or (L, N, D)"
        )
    vectors = np.ascontiguousarray(array if array.ndim == 3 else array[None], dtype=np.float32)
    if not np.isfinite(vectors).all():
        row = int(np.argwhere(~np.isfinite(vectors))[0][1])
        raise InputError(f"{path}: row {row} is not finite in float32; remove or mend it")
    labels: list[str] | None = None
    if (text := path.with_suffix(".labels.txt")).exists():
        labels = [line.strip() for _, line in read_lines(text)]
        while labels and not labels[-1]:
            labels.pop()
    elif (numbers := path.with_suffix(".labels.npy")).exists():
        try:
            labels = [str(label) for label in np.load(numbers, allow_pickle=False)]
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise InputError(f"{numbers}: not a .npy of labels; write it with numpy.save (no object arrays)") from error
    if labels is not None and len(labels) != vectors.shape[1]:
        raise InputError(
            f"{path}: {vectors.shape[1]} vectors but {len(labels)} labels beside it; give one label a vector"
        )
    return vectors, labels
