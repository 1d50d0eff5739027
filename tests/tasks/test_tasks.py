"""Tasks by name, and BEIR folders: layouts, splits, and one clear sentence for all that can be wrong with a file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.load import load_task, tasks
from mrl_tutorial.tasks.types import ClassificationTask, RetrievalTask


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path):
    monkeypatch.delenv("MRL_DATA", raising=False)
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / ".cache"))


def beir(folder, corpus=None, queries=None, qrels=None):
    """A BEIR folder; `qrels` is file name -> text. Defaults: 4 documents, 40 queries, train and test judgments."""
    (folder / "qrels").mkdir(parents=True)
    corpus = corpus or [{"_id": f"d{i}", "title": f"Title {i}", "text": f"text {i}"} for i in range(4)]
    queries = queries or [{"_id": f"q{i}", "text": f"query {i}"} for i in range(40)]
    head = "query-id\tcorpus-id\tscore\n"
    qrels = qrels or {
        "train.tsv": head + "".join(f"q{i}\td{i % 4}\t1\n" for i in range(30)),
        "test.tsv": head + "".join(f"q{i}\td{i % 4}\t{1 + i % 2}\nq{i}\td{(i + 1) % 4}\t0\n" for i in range(30, 40)),
    }
    for name, rows in (("corpus", corpus), ("queries", queries)):
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    for name, text in qrels.items():
        (folder / "qrels" / name).write_text(text, encoding="utf-8")
    return folder


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# ---- retrieval


def test_beir_folder(tmp_path):
    task = load_task(beir(tmp_path / "mine"))
    assert isinstance(task, RetrievalTask) and task.name == "mine" and task.kind == "retrieval" and not task.warnings
    assert task.corpus["d1"] == "Title 1 text 1" and list(task.splits) == ["train", "dev", "test"]
    assert task.judged("test") == [f"q{i}" for i in range(30, 40)]  # the whole official test split
    assert sorted(task.splits["train"] + task.splits["dev"]) == sorted(f"q{i}" for i in range(30))
    assert 1 <= len(task.splits["dev"]) <= 12
    anchors, positives = task.pairs("test")
    assert len(anchors) == 10 and anchors[0] == "query 30" and positives[0] == "Title 2 text 2"  # grade 0 is no pair
    assert task.qrels["q31"] == {"d3": 2, "d0": 0}
    assert load_task(tmp_path / "mine").splits == task.splits
    assert task.fingerprint() == load_task(tmp_path / "mine").fingerprint() and "fingerprint" in str(task)
    with pytest.raises(InputError, match="no split 'validation'; it has train, dev, test"):
        task.judged("validation")


def test_given_dev_is_kept_and_no_query_is_in_two_splits(tmp_path):
    qrels = {"train.tsv": "q1 d0 1\nq2 d0 1\n", "valid.tsv": "q2 0 d1 1\n", "test.tsv": "q3 d0 1\n"}  # headerless, TREC
    task = load_task(beir(tmp_path / "x", qrels=qrels))
    assert task.splits == {"train": ["q1"], "dev": ["q2"], "test": ["q3"]} and task.qrels["q2"] == {"d1": 1}
    assert task.warnings == ["query 'q2' is judged in two splits; taken out of train"]


def test_what_can_be_dropped_is_dropped_and_counted(tmp_path):
    corpus = [{"_id": "d0", "text": "zero"}, {"_id": "d1", "text": " ", "title": ""}, {"_id": "d0", "text": "zero"}]
    qrels = {"test.tsv": "q0\td0\t1\nq1\td1\t1\nq2\td0\t1\nq3\td0\t2\n"}
    task = load_task(beir(tmp_path / "x", corpus=corpus, qrels=qrels))
    assert list(task.corpus) == ["d0"] and len(task.warnings) == 4
    assert task.warnings[0] == "corpus.jsonl: dropped 1 entry without text (first: 'd1')"
    assert task.warnings[1] == "corpus.jsonl: dropped 1 repeated line (first: line 3 of corpus.jsonl)"
    assert task.warnings[2] == "test.tsv: dropped 1 judgment of unknown ids (first: line 2: document 'd1')"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": '{"_id": "a", "text": "x"}\n{"_id": "b", "te\n'}, r"corpus\.jsonl:2: not a json object"),
        ({"corpus": '{"id": "a", "text": "x"}\n'}, r"corpus\.jsonl:1: not a document with \"_id\""),
        ({"corpus": '["a"]\n'}, r"corpus\.jsonl:1: not a document"),
        ({"corpus": '{"_id": "a", "body": "x"}\n'}, r"corpus\.jsonl:1: not a document with \"_id\" and \"text\""),
        ({"corpus": '{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}\n'}, r"corpus\.jsonl:2: .*also on line 1"),
        ({"corpus": "\n"}, r"corpus\.jsonl: holds no document"),
        ({"qrels": {"test.tsv": "q0\td0\n"}}, r"test\.tsv:1: .*not query-id"),
        ({"qrels": {"test.tsv": "query-id\tcorpus-id\tscore\nq0\td0\tmany\n"}}, r"test\.tsv:2: .*whole-number"),
        ({"qrels": {"test.tsv": "q0\td0\t0.5\n"}}, r"test\.tsv:1: .*whole-number"),
        ({"qrels": {"test.tsv": "q0\td0\t1\nq0\td0\t2\n"}}, r"test\.tsv:2: .*judged twice"),
        ({"qrels": {"test.tsv": "x\td0\t1\ny\td0\t1\nq0\td0\t1\n"}}, r"test\.tsv: 2 of 3 .*query 'x'"),
        ({"qrels": {"test.tsv": "query-id\tcorpus-id\tscore\n"}}, r"test\.tsv: holds no judgments"),
        ({"qrels": {"test.txt": "q0\td0\t1\n"}}, r"no qrels/\*\.tsv"),
    ],
)
def test_malformed_beir_names_file_line_and_remedy(tmp_path, change, message):
    with pytest.raises(InputError, match=message) as caught:
        load_task(beir(tmp_path / "x", **change))
    assert "\n" not in str(caught.value) and ";" in str(caught.value)  # one line, with the remedy


def test_missing_and_unreadable_files(tmp_path):
    folder = beir(tmp_path / "x")
    (folder / "queries.jsonl").unlink()
    with pytest.raises(InputError, match=r"queries\.jsonl: cannot be read"):
        load_task(folder)
    (folder / "queries.jsonl").write_bytes(b'{"_id": "q0", "text": "caf\xe9"}\n')
    with pytest.raises(InputError, match=r"queries\.jsonl: not UTF-8"):
        load_task(folder)
    with pytest.raises(InputError, match=r"no task or path 'scifakt'; did you mean 'scifact'\?"):
        load_task("scifakt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no task in this folder"):
        load_task(tmp_path / "empty")
    with pytest.raises(InputError, match=r"give a \.csv, \.tsv, \.json, \.jsonl, \.parquet or \.npy"):
        load_task(write(tmp_path / "x.docx", "?"))


# ---- named layouts of $MRL_DATA


def test_named_tasks_come_from_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_DATA", str(tmp_path))
    beir(tmp_path / "scifact")
    captions = "cap1\tcap2\tcap3\tcap4\tcap5\n" + "".join(
        "\t".join(f'image {i} "caption {c}' for c in range(5)) + "\n" for i in range(100)
    )
    write(tmp_path / "captions" / "train.tsv", captions)
    for split in ("train", "dev", "test"):
        line = 'main\tMSR\t2012\t{0}\t{1}\tA "man {0}.\tA woman {0}.{2}\n'
        text = "".join(line.format(i, i % 6, "\tmore\tfields" if i == 2 else "") for i in range(6))
        write(tmp_path / "stsbenchmark" / f"sts-{split}.csv", text)
    task = load_task("scifact")
    assert task.name == "scifact" and task.origin == str(tmp_path / "scifact")
    sts = load_task("stsbenchmark").splits["dev"]
    assert sts[0][2] == 'A "man 2.' and sts[1][2] == "A woman 2." and sts[2].tolist() == [0, 1, 2, 3, 4, 5]
    pairs = load_task("captions").splits
    for split, rows in pairs.items():
        used = [(a[-1], p[-1]) for a, p in rows]
        assert all(a.split()[1] == p.split()[1] for a, p in rows)  # two captions of one image
        assert set(used) == ({("0", "1"), ("2", "3")} if split == "train" else {("0", "1")})
    images = {split: {a.split()[1] for a, _ in rows} for split, rows in pairs.items()}
    assert sum(map(len, images.values())) == 100 and set.union(*images.values()) == {str(i) for i in range(100)}
    listed = {info.name: info for info in tasks()}
    assert listed["scifact"].available and listed["scifact"].origin == str(tmp_path / "scifact")
    assert not listed["fiqa"].available and "BeIR/fiqa" in listed["fiqa"].origin
    (tmp_path / "stsbenchmark" / "sts-dev.csv").write_text("main\tMSR\t2012\t1\thigh\ta\tb\n")
    with pytest.raises(InputError, match=r"sts-dev\.csv:1: score 'high' is not a number"):
        load_task("stsbenchmark")


def test_list_names_everything_once():
    listed = tasks()
    assert len({info.name for info in listed}) == len(listed) >= 12
    kinds = {"retrieval", "pairs", "sts", "classification"}
    assert all(info.kind in kinds and info.size and info.origin for info in listed)


# ---- embedded tasks


def test_digits():
    from sklearn.datasets import load_digits

    task = load_task("digits")
    inputs, labels = task.splits["all"]
    assert inputs.dtype == np.float32 and inputs.shape == (1797, 64) and task.folds == 5 and len(task.classes) == 10
    np.testing.assert_allclose(inputs * 16, load_digits().data)
    tested = np.concatenate([test for _, test in task.fold_indices()])
    assert sorted(tested.tolist()) == list(range(1797))
    with pytest.raises(InputError, match="not cut in folds"):
        ClassificationTask("x", "here", {"test": ([], labels)}, ["a"]).fold_indices()


def test_fingerprint_sees_content_and_not_the_place():
    def made(text="a", origin="here", grade=1):
        return RetrievalTask("t", origin, {"d": text}, {"q": "b"}, {"q": {"d": grade}}, {"test": ["q"]})

    assert made().fingerprint() == made(origin="there").fingerprint()
    assert len({made().fingerprint(), made("c").fingerprint(), made(grade=2).fingerprint()}) == 3
    first = ClassificationTask("t", "x", {"test": (np.zeros((2, 3), np.float32), np.zeros(2, np.int64))}, ["a"])
    other = ClassificationTask("t", "x", {"test": (np.ones((2, 3), np.float32), np.zeros(2, np.int64))}, ["a"])
    assert first.fingerprint() != other.fingerprint()
