"""Data files mangled at random: they load, with every row accounted for, or an InputError names file and line."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.load import load_task

ROWS = [[f"one, {i}", f"two {i}", str(i % 3)] for i in range(8)]
QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def separated(delimiter: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows([["sentence1", "sentence2", "score"], *ROWS])
    return out.getvalue().encode()


def objects(rows: Sequence[Sequence[object]], names: Sequence[str]) -> bytes:
    return "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows).encode()


NAMES = ("sentence1", "sentence2", "score")
WHOLE = {
    "t.csv": separated(","),
    "t.tsv": separated("\t"),
    "t.jsonl": objects(ROWS, NAMES),
    "t.json": json.dumps([dict(zip(NAMES, row, strict=True)) for row in ROWS]).encode(),
}
PIECES = [b'"', b",", b"\t", b"\n", b"\r", b"\0", b"\xff", b"{", b"}", b"[" * 3000, b"null", b"\\ud800", b"1e999", b" ",
          b"nan", b"-1", "é".encode(), b"\xed\xa0\x80", b'""', b"1_0", b"9" * 5000]  # fmt: skip


@st.composite
def mangled(draw: st.DrawFn, whole: bytes) -> bytes:
    """The file with up to three pieces put in, taken out, or with its end cut off."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["put in", "take out", "cut", "byte"]))
        if kind == "put in":
            data[at:at] = draw(st.sampled_from(PIECES))
        elif kind == "take out":
            del data[at : at + draw(st.integers(1, 20))]
        elif kind == "cut":
            del data[at:]
        else:
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
    return bytes(data)


def accounted(task: Any) -> int:
    """Rows that came, and those that a warning counts."""
    came = sum(len(part[0] if isinstance(part, tuple) else part) for part in task.splits.values())
    return came + sum(int(number) for text in task.warnings for number in re.findall(r"dropped (\d+)", text))


@pytest.mark.parametrize("name", WHOLE)
@QUICK
@given(data=st.data())
def test_a_mangled_table_loads_in_full_or_is_refused(name, data):
    text = data.draw(mangled(WHOLE[name]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text)
        try:
            task = load_task(path)
            task.fingerprint()
        except InputError as error:
            assert str(path) in str(error) or str(error).startswith("t:"), error
            return
    if name in ("t.csv", "t.tsv"):
        return  # whose rows depend on their quotes: the test below counts them
    if name == "t.json":
        assert accounted(task) == len(json.loads(text.decode("utf-8-sig")))
    else:
        assert accounted(task) == sum(bool(line.strip()) for line in re.split(rb"\r\n|\n|\r", text))


@QUICK
@given(cut=st.integers(0, 8), junk=st.sampled_from([",,", "a,b,", ",b,1", "a,b,1", " , , ", "x,y,0.5"]))
def test_every_row_of_a_csv_is_read_or_counted(cut, junk):
    lines = WHOLE["t.csv"].decode().splitlines()
    lines.insert(1 + cut, junk)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text("\n".join(lines), encoding="utf-8")
        try:
            assert accounted(load_task(path)) == 9
        except InputError as error:
            assert junk == "a,b," and f"t.csv:{cut + 2}: score '' is not a number" in str(error)


CORPUS = objects([(f"d{i}", f"text {i}") for i in range(6)], ("_id", "text"))
QUERIES = objects([(f"q{i}", f"query {i}") for i in range(6)], ("_id", "text"))
QRELS = b"query-id\tcorpus-id\tscore\n" + b"".join(b"q%d\td%d\t1\n" % (i, i) for i in range(6))


@pytest.mark.parametrize("broken", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
@QUICK
@given(data=st.data())
def test_a_mangled_file_of_a_retrieval_task_is_refused_or_accounted_for(broken, data):
    parts = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels.tsv": QRELS}
    parts[broken] = data.draw(mangled(parts[broken]))
    with tempfile.TemporaryDirectory() as folder:
        for name, text in parts.items():
            (Path(folder) / name).write_bytes(text)
        try:
            task = load_task(folder)
            task.fingerprint()
        except InputError as error:
            assert folder in str(error) and "; " in str(error), error
            return
    judged = sum(map(len, task.qrels.values()))
    lines = [line for line in re.split(rb"\r\n|\n|\r", parts["qrels.tsv"]) if line.strip()]
    header = not re.fullmatch(rb"[-+.\d]+(e\d+)?", lines[0].split()[-1])
    twice = len({tuple(line.split()[:2]) for line in lines})
    dropped = sum(int(number) for text in task.warnings for number in re.findall(r"dropped (\d+) judgment", text))
    assert judged + dropped in (len(lines) - header, twice - header)


def test_the_first_judgment_is_not_taken_for_a_header(tmp_path):
    for name, text in (
        ("corpus.jsonl", CORPUS),
        ("queries.jsonl", QUERIES),
        ("qrels.tsv", b"q0\td0\tyes\nq1\td1\t1\n"),
    ):
        (tmp_path / name).write_bytes(text)
    with pytest.raises(InputError, match=r"qrels\.tsv:1: .*is not query-id, corpus-id and a whole-number score"):
        load_task(tmp_path)
