"""Folders in BEIR layout: corpus.jsonl, queries.jsonl and judgments in qrels/*.tsv."""

from __future__ import annotations

from pathlib import Path

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.formats import SPLIT_NAMES, count_of, is_number, read_lines, read_records
from mrl_tutorial.tasks.splits import with_dev
from mrl_tutorial.tasks.types import RetrievalTask

Qrels = dict[str, dict[str, int]]


def read_beir(folder: Path, name: str, origin: str) -> RetrievalTask:
    """The task of a folder in BEIR layout. A document is its title and text; a query that is judged in two splits
    belongs to the one that must stay unseen. Raises InputError naming file, line and remedy."""
    warnings: list[str] = []
    corpus = _read_texts(folder / "corpus.jsonl", "document", warnings)
    queries = _read_texts(folder / "queries.jsonl", "query", warnings)
    paths = sorted((folder / "qrels").glob("*.tsv")) or sorted(folder.glob("qrels*.tsv"))
    if not paths:
        raise InputError(
            f"{folder}: no qrels/*.tsv; give judgments as query-id, corpus-id, score, e.g. in qrels/test.tsv"
        )
    judged: dict[str, Qrels] = {}
    for path in paths:
        judged.setdefault(SPLIT_NAMES.get(path.stem, "test"), {}).update(_read_qrels(path, corpus, queries, warnings))
    qrels: Qrels = {}
    splits: dict[str, list[str]] = {}
    for split in ("test", "dev", "train"):
        for query, grades in judged.get(split, {}).items():
            if query in qrels:
                warnings.append(f"query {query!r} is judged in two splits; taken out of {split}")
            else:
                qrels[query] = grades
                splits.setdefault(split, []).append(query)
    return RetrievalTask(name, origin, corpus, queries, qrels, with_dev(splits, str), warnings=warnings)


def _read_texts(path: Path, what: str, warnings: list[str]) -> dict[str, str]:
    """Id -> title and text of each line. Lines without text, and repeated ones, are dropped and counted."""
    texts: dict[str, str] = {}
    places: dict[str, int] = {}
    repeated = 0
    for number, row in read_records(path):
        if "_id" not in row:
            raise InputError(f'{path}:{number}: not a json object with "_id" and "text"; correct or remove the line')
        name, parts = str(row["_id"]), [str(row.get(part) or "").strip() for part in ("title", "text")]
        if "text" not in row and "title" not in row:
            raise InputError(f'{path}:{number}: {what} {name!r} has no "text"; add it or remove the line')
        text = " ".join(parts).strip()
        if texts.get(name, text) != text:
            raise InputError(
                f"{path}:{number}: {what} id {name!r} is also on line {places[name]}; give each its own id"
            )
        repeated += name in texts
        texts[name], places[name] = text, number
    if empty := [name for name, text in texts.items() if not text]:
        entries = count_of(len(empty), "entry", "entries")
        warnings.append(f"{path.name}: dropped {entries} without text (first: {empty[0]!r})")
    if repeated:
        warnings.append(f"{path.name}: dropped {count_of(repeated, 'repeated line', 'repeated lines')}")
    if len(texts) == len(empty):
        raise InputError(f'{path}: holds no {what}; give one json object a line with "_id" and "text"')
    return {name: text for name, text in texts.items() if text}


def _read_qrels(path: Path, corpus: dict[str, str], queries: dict[str, str], warnings: list[str]) -> Qrels:
    """Query id -> document id -> grade. Judgments of unknown ids are dropped and counted; where most
    ids are unknown, that raises InputError."""
    qrels: Qrels = {}
    unknown: list[str] = []
    total = 0
    for number, line in read_lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or (number == 1 and len(fields) in (3, 4) and not is_number(fields[-1])):
            continue  # empty, or the header
        if len(fields) == 4:
            del fields[1]  # trec_eval's layout: query, iteration, document, grade
        if len(fields) != 3 or not is_number(fields[2]) or not float(fields[2]).is_integer():
            raise InputError(
                f"{path}:{number}: {line[:60]!r} is not query-id, corpus-id and a whole-number score; correct the line"
            )
        query, document, grade = fields[0].strip(), fields[1].strip(), int(float(fields[2]))
        total += 1
        if query not in queries:
            unknown.append(f"line {number}: query {query!r}")
        elif document not in corpus:
            unknown.append(f"line {number}: document {document!r}")
        elif qrels.setdefault(query, {}).setdefault(document, grade) != grade:
            raise InputError(
                f"{path}:{number}: query {query!r} and document {document!r} are judged twice, differently; keep one"
            )
    if not total:
        raise InputError(f"{path}: holds no judgments; give query-id, corpus-id, score, separated by tabs")
    if 2 * len(unknown) > total:
        raise InputError(
            f"{path}: {len(unknown)} of {total} judgments name ids that corpus.jsonl and queries.jsonl do not have "
            f"({unknown[0]}); are the three files of one data set?"
        )
    if unknown:
        judgments = count_of(len(unknown), "judgment", "judgments")
        warnings.append(f"{path.name}: dropped {judgments} of unknown ids (first: {unknown[0]})")
    return qrels
