"""Data sets in BEIR layout: a corpus, queries, and judgments of which documents are relevant to a query."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.formats import SPLIT_NAMES, dropped, is_number, parts_of, read_lines, read_records, text_of
from mrl_tutorial.tasks.task import SPLITS
from mrl_tutorial.tasks.types import RetrievalTask

Qrels = dict[str, dict[str, int]]
# names that a judgment's values have in json lines
NAMES = (
    ("query-id", "query_id", "qid", "query"),
    ("corpus-id", "corpus_id", "document_id", "doc_id", "docid", "document"),
    ("score", "relevance", "grade", "label"),
)


def read_beir(
    corpus_files: Sequence[Path], query_files: Sequence[Path], qrels_files: Sequence[Path], name: str, origin: str
) -> RetrievalTask:
    """The task of records (json lines or parquet) with "_id", "title", "text", and of qrels named for their split. A
    query that is judged in two splits belongs to the one that must stay unseen. Raises InputError naming file and line.
    """
    warnings: list[str] = []
    corpus = _read_texts(corpus_files, "document", warnings)
    queries = _read_texts(query_files, "query", warnings)
    judged: dict[str, Qrels] = {split: {} for split in SPLITS}
    for path in qrels_files:
        last_word = re.split(r"[._-]", parts_of(path)[0].lower())[-1]  # qrels/train.tsv, qrels_train.tsv
        known = judged[SPLIT_NAMES.get(last_word, "test")]
        for query, grades in _read_qrels(path, corpus, queries, warnings).items():
            for document, grade in grades.items():
                if known.setdefault(query, {}).setdefault(document, grade) != grade:
                    problem = f"query {query!r} and document {document!r} are judged in two files, differently"
                    raise InputError(f"{path}: {problem}; keep one")
    qrels: Qrels = {}
    for split in reversed(SPLITS):
        for query in [query for query in judged[split] if query in qrels]:
            warnings.append(f"query {query!r} is judged in two splits; taken out of {split}")
            del judged[split][query]
        qrels |= judged[split]
    splits = {split: list(its) for split, its in judged.items() if its}
    return RetrievalTask(name, origin, corpus, queries, qrels, splits, warnings=warnings).with_dev()


def _read_texts(paths: Sequence[Path], what: str, warnings: list[str]) -> dict[str, str]:
    """Id -> title and text of each record. Empty and repeated ones are dropped and counted."""
    texts: dict[str, str] = {}
    places: dict[str, str] = {}
    repeated = []
    for path in paths:
        for number, row in read_records(path):
            here, place = f"{path}:{number}", f"line {number} of {path.name}"
            name = text_of(row, "_id", here)
            text = " ".join(text_of(row, part, here).strip() for part in ("title", "text")).strip()
            if not name or not row.keys() & {"title", "text"}:
                raise InputError(f'{here}: not a {what} with "_id" and "text"; correct or remove the line')
            if texts.setdefault(name, text) != text:
                raise InputError(f"{here}: {what} id {name!r} is also on {places[name]}; give each its own id")
            if name in places:
                repeated.append(place)
            places[name] = place
    empty = [repr(name) for name, text in texts.items() if not text]
    warnings += dropped(paths[0], empty, "entry without text", "entries without text")
    warnings += dropped(paths[0], repeated, "repeated line", "repeated lines")
    if len(texts) == len(empty):
        raise InputError(f'{paths[0]}: holds no {what}; give one json object a line with "_id" and "text"')
    return {name: text for name, text in texts.items() if text}


def _read_qrels(path: Path, corpus: dict[str, str], queries: dict[str, str], warnings: list[str]) -> Qrels:
    """Query id -> document id -> grade. Judgments of unknown ids are dropped and counted, unless they are most."""
    qrels: Qrels = {}
    unknown, lost = [], []
    judgments = list(_judgments(path, queries))
    for place, query, document, grade in judgments:
        if query not in queries or document not in corpus:
            unknown.append(f"line {place}: " + (f"document {document!r}" if query in queries else f"query {query!r}"))
            lost.append(query)
        elif qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            problem = f"query {query!r} and document {document!r} are judged twice, differently"
            raise InputError(f"{path}:{place}: {problem}; keep one")
    if not judgments:
        raise InputError(f"{path}: holds no judgments; give query-id, corpus-id, score, separated by tabs")
    if 2 * len(unknown) > len(judgments):
        share = f"{len(unknown)} of {len(judgments)} judgments name ids"
        problem = f"{share} that corpus and queries do not have ({unknown[0]})"
        raise InputError(f"{path}: {problem}; are the three files of one data set?")
    warnings += dropped(path, unknown, "judgment of unknown ids", "judgments of unknown ids")
    gone = [repr(query) for query in dict.fromkeys(lost) if query in queries and query not in qrels]
    why = "whose judgments name unknown documents alone"
    warnings += dropped(path, gone, f"query {why}", f"queries {why}")
    return qrels


def _judgments(path: Path, queries: Collection[str]) -> Iterator[tuple[int, str, str, int]]:
    """(line, query id, document id, grade) of a file of judgments: tsv, trec_eval's, or json lines."""
    in_json = parts_of(path)[1] == ".jsonl"
    for number, given in _named(path) if in_json else read_lines(path):
        fields = given.split("\t" if "\t" in given else None) if isinstance(given, str) else given
        fields = [field.strip() for field in fields]
        header = number == 1 and len(fields) in (3, 4) and not is_number(fields[-1]) and fields[0] not in queries
        if not any(fields) or (header and not in_json):
            continue
        if len(fields) == 4:
            del fields[1]  # trec_eval's layout: query, iteration, document, grade
        if len(fields) != 3 or not is_number(fields[2]) or not float(fields[2]).is_integer():
            problem = f"{' '.join(fields)[:60]!r} is not query-id, corpus-id and a whole-number score"
            raise InputError(f"{path}:{number}: {problem}; correct the line")
        yield number, fields[0], fields[1], int(float(fields[2]))


def _named(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, values of a judgment) of a file of json objects."""
    for number, row in read_records(path):
        found = [next((name for name in names if name in row), "") for names in NAMES]
        if "" in found:
            raise InputError(f"{path}:{number}: names {', '.join(row)}; name the values query-id, corpus-id, score")
        yield number, [text_of(row, name, f"{path}:{number}") for name in found]
