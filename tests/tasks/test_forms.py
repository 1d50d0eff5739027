"""The forms in which people have their data: each gives the same task as a plain csv."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas
import pyarrow
import pytest

from mrl_tutorial.cli.parser import main
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.load import load_task
from tests.helpers.tiny import save_tiny

TEXTS = ["ein Süßes, mit Komma", 'a "quoted" text', "日本語 の 文", "long " * 40_000, "007", "line\nbreak"]
ROWS = [(text.strip(), f"the answer to {i}", i / 4) for i, text in enumerate(TEXTS)]
STS = ("sentence1", "sentence2", "score")
OTHER = ("text_a", "text_b", "similarity")
LABELED = [(f"text {i}", i % 3) for i in range(6)]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / ".cache"))


def objects(rows, names):
    return [dict(zip(names, row, strict=True)) for row in rows]


def separated(by):
    def write(folder, rows, names):
        path = folder / "t.csv"
        pandas.DataFrame(rows, columns=list(names)).to_csv(path, sep=by, index=False)
        return path

    return write


def packed(name):
    def write(folder, rows, names):
        path = folder / name
        frame = pandas.DataFrame(rows, columns=list(names))
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",", compression="gzip")
        return path

    return write


def lines(folder, rows, names, name="t.jsonl"):
    text = "".join(json.dumps(row) + "\n" for row in objects(rows, names)).encode()
    (folder / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return folder / name


def parquet(folder, rows, names):
    pandas.DataFrame(rows, columns=list(names)).to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def dataset(rows, names):
    return pytest.importorskip("datasets").Dataset.from_list(objects(rows, names))


FORMS = {
    "csv, commas": separated(","),
    "csv, semicolons": separated(";"),
    "csv, tabs": separated("\t"),
    "csv, bars": separated("|"),
    "csv, circumflexes": separated("^"),
    "csv, colons": separated(":"),
    "csv.gz": packed("t.csv.gz"),
    "tsv.gz": packed("t.TSV.GZ"),
    "jsonl": lines,
    "jsonl.gz": lambda folder, rows, names: lines(folder, rows, names, "t.jsonl.gz"),
    "parquet": parquet,
    "DataFrame": lambda _, rows, names: pandas.DataFrame(rows, columns=list(names)),
    "datasets.Dataset": lambda _, rows, names: dataset(rows, names),
    "datasets, streamed": lambda _, rows, names: dataset(rows, names).to_iterable_dataset(),
    "pyarrow.Table": lambda _, rows, names: pyarrow.Table.from_pylist(objects(rows, names)),
    "list of dicts": lambda _, rows, names: objects(rows, names),
    "dict of columns": lambda _, rows, names: dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)),
    "generator of dicts": lambda _, rows, names: (row for row in objects(rows, names)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_task(tmp_path, form):
    want = load_task(separated(",")(tmp_path, ROWS, STS))
    assert want.splits["all"][0] == [row[0] for row in ROWS] and want.splits["all"][2].tolist() == [r[2] for r in ROWS]
    for names, columns in ((STS, None), (OTHER, OTHER), (OTHER, dict(zip(STS, OTHER, strict=True)))):
        found = load_task(FORMS[form](tmp_path, ROWS, names), columns=columns)
        assert (found.kind, found.fingerprint()) == (want.kind, want.fingerprint()), (form, columns)
        assert not found.warnings
    labeled = load_task(separated(",")(tmp_path, LABELED, ("text", "label")))
    found = load_task(FORMS[form](tmp_path, LABELED, ("body", "topic")), columns={"text": "body", "label": "topic"})
    assert found.fingerprint() == labeled.fingerprint() and found.classes == ["0", "1", "2"]


def test_rows_without_names_are_what_their_values_are(tmp_path):
    for rows, names in ((ROWS, STS), ([row[:2] for row in ROWS], ("anchor", "positive")), (LABELED, ("text", "label"))):
        want = load_task(separated(",")(tmp_path, rows, names))
        assert load_task(rows).fingerprint() == load_task([list(row) for row in rows]).fingerprint()
        assert load_task(rows).fingerprint() == want.fingerprint() and load_task(rows).kind == want.kind
    named = load_task([("a", "x"), ("b", "y")], columns=("text", "label"), name="mine")
    assert named.kind == "classification" and named.name == "mine" and "in memory" in named.origin
    assert load_task([("a", "b", "c"), ("d", "e")]).splits["all"] == [("a", "b", "c"), ("d", "e")]


def test_splits_in_memory(tmp_path):
    parts = {"train": ROWS, "validation": ROWS[:2], "test": ROWS[2:]}
    for split, rows in parts.items():
        lines(tmp_path, rows, STS, f"{split}.jsonl.gz")
    want = load_task(tmp_path)
    assert load_task({split: dataset(rows, STS) for split, rows in parts.items()}).fingerprint() == want.fingerprint()
    whole = pytest.importorskip("datasets").DatasetDict({split: dataset(rows, STS) for split, rows in parts.items()})
    assert load_task(whole).fingerprint() == load_task(parts).fingerprint() == want.fingerprint()
    assert set(want.splits) == {"train", "dev", "test"} and load_task(want) is want


def test_beir_may_be_packed(tmp_path):
    plain, tight = tmp_path / "plain", tmp_path / "tight"
    for folder, end in ((plain, ""), (tight, ".gz")):
        (folder / "qrels").mkdir(parents=True)
        lines(folder, [("d1", "a text"), ("d2", "another")], ("_id", "text"), f"corpus.jsonl{end}")
        lines(folder, [("q1", "a query"), ("q2", "one more")], ("_id", "text"), f"queries.jsonl{end}")
        for split, query in (("train", "q1"), ("test", "q2")):
            text = f"query-id\tcorpus-id\tscore\n{query}\td1\t1\n".encode()
            (folder / "qrels" / f"{split}.tsv{end}").write_bytes(gzip.compress(text) if end else text)
    assert load_task(plain).fingerprint() == load_task(tight).fingerprint()
    assert set(load_task(tight).splits) == {"train", "test"}
    with pytest.raises(InputError, match="leave columns out"):
        load_task(tight, columns=("a", "b"))


@pytest.mark.parametrize(
    ("data", "columns", "message"),
    [
        ([("a", "b")], ("text_a",), r"row:1: 2 values for text_a; name each"),
        ([("a", "b"), "c"], None, r"data, row:2: 'c' is not a row: give a path, a DataFrame"),
        ([{"a": "x", "b": "y"}], None, r"row:1: columns a, b are not known.*say which is which"),
        ([{"a": "x", "b": "y"}], ("a", "c"), r"has no column 'c'; it has a, b"),
        ([{"a": "x", "b": "y"}], "a,b", r"columns is one string: give a list of names"),
        ([{"a": "x", "b": "y"}], ("a",), r"one column is not a task"),
        ([{"a": "x", "b": "y"}], {"words": "a", "thing": "b"}, r"columns words, thing are not known"),
        ([{"text": "x", "label": ["y"]}], None, r"row:1: 'label' is not a text or a number"),
        ([{"text": b"x", "label": 1}], None, r"row:1: 'text' is not a text or a number"),
        ([{"text": "\ud800", "label": 1}], None, r"row:1: 'text' holds half a character"),
        ({"text": ["x"], "label": ["y", "z"]}, None, r"columns of different lengths"),
        ({"train": [("a", "b")], "dev": [("a", 1)]}, None, r"different kinds of files \(dev class.*, train pairs\)"),
        ({"dev": [("a", "b")], "valid": [("a", "b")]}, None, r"two splits of dev"),
        ([], None, r"is empty; give a header and rows"),
        (17, None, r"int is not data: give a path, a DataFrame"),
        (np.zeros(3), None, r"is not a row"),
    ],
)
def test_what_is_no_data_is_said(data, columns, message):
    with pytest.raises(InputError, match=message):
        load_task(data, columns=columns)


@pytest.mark.parametrize("columns", [None, ("question", "context"), {"query": "question", "document": "context"}])
def test_columns_that_nobody_asks_for_may_hold_anything(tmp_path, columns):
    names = ("question", "context") if columns else ("query", "document")
    rows = [
        {names[0]: f"why {i}", names[1]: f"so {i}", "answers": {"text": ["x"]}, "ids": [i], "raw": b"x"}
        for i in range(9)
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({**row, "raw": ["x"]}) + "\n" for row in rows))
    for data in (rows, str(tmp_path / "x.jsonl")):
        task = load_task(data, columns=columns)
        assert task.kind == "pairs" and task.splits["all"][3] == ("why 3", "so 3")


def test_numbers_of_numpy_are_numbers():
    texts = [f"text {i}" for i in range(6)]
    labels = load_task(list(zip(texts, np.arange(6) % 2, strict=True)))
    assert labels.kind == "classification" and labels.classes == ["0", "1"]
    scores = load_task([(text, text, np.float32(i / 5)) for i, text in enumerate(texts)])
    assert scores.kind == "sts" and scores.splits["all"][2][2] == pytest.approx(0.4)


def test_nan_is_missing_in_a_list_too():
    rows = [{"text": "a", "label": 1}, {"text": float("nan"), "label": 2}, {"text": "c", "label": np.float32("nan")}]
    task = load_task([*rows, {"text": "nan", "label": 2}])
    assert task.classes == ["1", "2"] and "dropped 2 rows" in task.warnings[0]
    assert list(task.splits["all"][0]) == ["a", "nan"]


def test_a_column_of_scores_of_negatives_is_no_negative():
    rows = [{"anchor": "a", "positive": "b", "neg_score": 0.3, "neg_id": 7, "neg_1": "c", "Negative 2": "d"}]
    rows[0] |= {"negotiated": "e", "negative_passage": "f"}
    assert load_task(rows * 2).splits["all"][0] == ("a", "b", "c", "d", "f")


def test_missing_values_in_memory_are_dropped_and_counted():
    frame = pandas.DataFrame({"text": ["a", None, "c", ""], "label": pandas.array([1, 2, None, 3], dtype="Int64")})
    task = load_task(pandas.concat([frame, pandas.DataFrame({"text": ["e"], "label": [4]})]))
    assert task.classes == ["1", "4"] and "dropped 3 rows with an empty field (first: line 2)" in task.warnings[0]


def test_a_column_that_only_later_rows_have_is_read():
    task = load_task([{"anchor": "a", "positive": "b"}, {"anchor": "c", "positive": "d", "negative": "e"}])
    assert task.splits["all"] == [("a", "b"), ("c", "d", "e")]


def test_the_command_line_takes_columns(tmp_path, capsys):
    rows = [(f"the norm {i}", f"a matrix {i}", i / 10) for i in range(10)]
    path, model = separated(";")(tmp_path, rows, OTHER), save_tiny(tmp_path / "m")
    line = ["evaluate", "--task", str(path), "--model", str(model), "--layers", "3", "--dims", "8"]
    assert main(line) == 2 and "columns text_a;text_b;similarity are not known" in capsys.readouterr().err
    for columns in (",".join(OTHER), "sentence1=text_a,sentence2=text_b,score=similarity"):
        assert main([*line, "--columns", columns]) == 0
        assert "spearman on t (test)" in capsys.readouterr().out
    assert main([*line, "--columns", "text_a,nothing"]) == 2
    assert "has no column 'nothing'" in capsys.readouterr().err
