"""A user's own files: csv of pairs, of graded pairs and of labeled texts, and `.npy` of vectors."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pandas
import pytest

from mrl_tutorial.cli.parser import main
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.tasks.types import ClassificationTask, PairsTask, STSTask, VectorsTask
from tests.helpers.tiny import SENTENCES, save_tiny


@pytest.fixture(autouse=True)
def no_data(monkeypatch, tmp_path):
    monkeypatch.delenv("MRL_DATA", raising=False)
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / ".cache"))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_of_pairs_with_negatives(tmp_path):
    rows = "".join(f'anchor {i},"positive, {i}",negative {i},{"other" if i % 2 else ""}\n' for i in range(200))
    whole = load_task(write(tmp_path / "p.csv", "Anchor,Positive,Negative_1,Negative_2\n" + rows))
    assert isinstance(whole, PairsTask) and len(whole.splits["all"]) == 200 and whole.name == "p"
    task = whole.with_splits("train", "test")
    assert sum(map(len, task.splits.values())) == 200
    assert all(5 <= len(task.splits[split]) <= 40 for split in ("dev", "test"))
    by_anchor = {row[0]: row for rows in task.splits.values() for row in rows}
    assert by_anchor["anchor 3"] == ("anchor 3", "positive, 3", "negative 3", "other")
    assert by_anchor["anchor 4"] == ("anchor 4", "positive, 4", "negative 4")
    anchors, positives = task.pairs("dev")
    assert all(a.split()[1] == p.split()[1] for a, p in zip(anchors, positives, strict=True))
    limited = load_task(tmp_path / "p.csv", limit=20).with_splits("train", "test")
    assert len(limited.splits["train"]) == 20 and "limit=None" in limited.warnings[0]
    assert limited.splits["test"] == task.splits["test"]
    (tmp_path / "f").mkdir()
    (tmp_path / "p.csv").rename(tmp_path / "f" / "train.csv")  # training data alone are cut at once
    limited = load_task(tmp_path / "f", limit=20)
    assert limited.splits == {**task.splits, "train": limited.splits["train"]} and "limit=None" in limited.warnings[0]
    assert len(limited.splits["train"]) == 20
    assert set(limited.splits["train"]) < set(task.splits["train"])


def test_pairs_as_retrieval():
    rows = [("a", "p", "n"), ("b", "p"), ("a", "r"), ("c", "n")]
    task = PairsTask("t", "here", {"test": rows}).as_retrieval("test")
    texts = {q: {task.corpus[d] for d in task.qrels[q]} for q in task.judged("test")}
    assert {task.queries[q]: found for q, found in texts.items()} == {"a": {"p", "r"}, "b": {"p"}, "c": {"n"}}
    assert sorted(task.corpus.values()) == ["n", "p", "r"]


def test_equal_anchors_stay_in_one_split(tmp_path):
    rows = "".join(f"Anchor {i % 50}!,positive {i}\n" for i in range(200))
    task = load_task(write(tmp_path / "p.csv", "query,document\n" + rows)).with_splits("train", "test")
    where = {}
    for split, pairs in task.splits.items():
        for anchor, _ in pairs:
            assert where.setdefault(anchor, split) == split
    assert len(where) == 50


def test_a_header_that_is_missing_is_said_and_not_guessed(tmp_path):
    with pytest.raises(InputError, match=r"p\.csv:1: columns first 0, second 0 are not known.*say which is which"):
        load_task(write(tmp_path / "p.csv", "".join(f"first {i},second {i}\n" for i in range(100))))


def test_csv_of_labels_and_folder_of_csv(tmp_path):
    text = "text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(100))
    task = load_task(write(tmp_path / "c.csv", text))
    assert isinstance(task, ClassificationTask) and task.classes == ["a", "b"] and task.folds is None
    for inputs, labels in task.splits.values():
        assert labels.dtype == np.int64 and [int(x.split()[1]) % 2 for x in inputs] == labels.tolist()
    write(tmp_path / "f" / "train.csv", text)
    write(tmp_path / "f" / "test.csv", "text,category\nnew,a\nother,zzz\n")
    task = load_task(tmp_path / "f")
    assert len(task.splits["test"][0]) == 2 and "not in train (first: 'zzz')" in task.warnings[0]
    assert len(task.splits["train"][0]) + len(task.splits["dev"][0]) == 100


def test_csv_of_graded_pairs(tmp_path):
    text = "sentence1,sentence2,score\n" + "".join(f"a {i},b {i},{i / 10}\n" for i in range(100))
    task = load_task(write(tmp_path / "s.csv", text)).with_splits("train", "test")
    assert isinstance(task, STSTask) and task.splits["test"][2].dtype == np.float64
    assert all(
        score == int(a.split()[1]) / 10 for split in task.splits.values() for a, _, score in zip(*split, strict=True)
    )


def table(path, rows, header):
    """The rows in the layout that the path's suffix names."""
    if path.suffix == ".parquet":
        pandas.DataFrame(rows, columns=header).convert_dtypes().to_parquet(path)
    elif path.suffix == ".tsv":
        path.write_text("\n".join("\t".join(map(str, row)) for row in [header, *rows]))
    elif path.suffix == ".csv":
        pandas.DataFrame(rows, columns=header).to_csv(path, index=False)
    else:
        objects = [json.dumps(dict(zip(header, row, strict=True))) for row in rows]
        path.write_text("\n".join(objects) if path.suffix == ".jsonl" else f"[{','.join(objects)}]")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_every_layout_gives_the_same_texts_untouched(tmp_path, suffix):
    """Texts that a reader of tables might take for missing values, numbers or quoted fields stay as they are."""
    texts = ["NA", "null", "007", "1e5", "True", "2020-01-01", "NaN", '5" wide', "None"] + [f"t {i}" for i in range(60)]
    rows = [[text, i % 2] for i, text in enumerate(texts)]
    task = load_task(table(tmp_path / f"t{suffix}", rows, ["text", "label"]))
    assert sorted(text for inputs, _ in task.splits.values() for text in inputs) == sorted(texts)
    assert task.classes == ["0", "1"] and not task.warnings
    labels = {text: task.classes[label] for split in task.splits.values() for text, label in zip(*split, strict=True)}
    assert labels == {text: str(label) for text, label in rows}
    assert task.fingerprint() == load_task(table(tmp_path / "t.tsv", rows, ["text", "label"])).fingerprint()


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_objects_with_missing_values_and_unknown_names(tmp_path, suffix):
    rows = [[f"a {i}", f"p {i}", None if i == 3 else 7, None] for i in range(60)] + [["lonely", None, 7, None]]
    task = load_task(table(tmp_path / f"t{suffix}", rows, ["anchor", "positive", "negative", "note"]))
    pairs = {row[0]: row for split in task.splits.values() for row in split}
    assert pairs["a 2"] == ("a 2", "p 2", "7") and pairs["a 3"] == ("a 3", "p 3")  # a whole number stays whole
    assert task.warnings[0].startswith(f"t{suffix}: dropped 1 row with an empty field")
    with pytest.raises(InputError, match=rf"u\{suffix}:1: columns one, two are not known"):
        load_task(table(tmp_path / f"u{suffix}", [["a", "b"]], ["one", "two"]))
    with pytest.raises(InputError, match=rf"l\{suffix}:1: 'text' is not a text or a number"):
        load_task(table(tmp_path / f"l{suffix}", [[["a", "b"], "x"]], ["text", "label"]))


def test_parquet_is_read_quietly_under_any_name(tmp_path, capfd):
    (tmp_path / "odd [1] *").mkdir()
    path = table(tmp_path / "odd [1] *" / "t.parquet", [[f"t {i}", i % 2] for i in range(60)], ["text", "label"])
    assert len(load_task(path).splits["all"][1]) == 60
    assert len(load_task(path.rename(path.with_suffix(".PARQUET"))).splits["all"][1]) == 60
    with pytest.raises(InputError, match="not a parquet file"):
        load_task(write(tmp_path / "x.parquet", "text,label"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.jsonl", '{"text": "a", "label": "b"}\n{"text": \n', r"x\.jsonl:2: not a json object; correct or remove"),
        ("x.jsonl", "7\n", r"x\.jsonl:1: not a json object"),
        ("x.json", '[{"text": "a", "label": "b"},\n{"text": ]', r"x\.json:2: not a json object"),
        ("x.json", "[7]", r"x\.json:1: not a json object"),
        ("x.json", '{"text": "a", "label": "b"}', r"x\.json: not a list"),
        ("x.json", "", r"x\.json: is empty"),
        ("x.parquet", "text,label", r"x\.parquet: not a parquet file"),
    ],
)
def test_malformed_objects_name_file_line_and_remedy(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message) as caught:
        load_task(write(tmp_path / name, text))
    assert "\n" not in str(caught.value)


def test_text_with_quotes_line_breaks_and_a_mark(tmp_path):
    rows = "".join(f'"say ""hi""\nline {i}",l{i % 2}\r\n' for i in range(60))
    path = tmp_path / "c.csv"
    path.write_bytes(("\ufefftext,label\r\n" + rows).encode())
    inputs, _ = load_task(path).splits["all"]
    assert all(text.startswith('say "hi"\nline ') for text in inputs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x\.csv: is empty"),
        ("text,label\n", "holds no complete row"),
        ("text,label\na,b\nc\n", r"x\.csv:3: 1 fields where line 1 has 2"),
        ('text,label\n"a\nb",x\nc,d,e\n', r"x\.csv:4: 3 fields"),  # the line in the file, not the row's number
        ('text,label\na,b\n"c,d\n', r"x\.csv:3: .*close the quote"),
        ("one;two\na;b\n", r"x\.csv:1: columns one;two are not known; separate by commas"),
        ("one,two,three\na,b,c\n", r"x\.csv:1: columns one, two, three are not known"),
        ("sentence1,sentence2,score\na,b,high\n", r"x\.csv:2: score 'high' is not a number"),
        ("text,label\n" + "".join(f"t{i},same\n" for i in range(99)), "only one label"),
        ("text,label\na\0,b\n", "zero bytes"),
    ],
)
def test_malformed_csv_names_file_line_and_remedy(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        load_task(write(tmp_path / "x.csv", text))
    assert "\n" not in str(caught.value)


def test_empty_fields_are_dropped_and_counted(tmp_path):
    rows = "".join(f"t{i},{'ab'[i % 2]}\n" for i in range(60))
    task = load_task(write(tmp_path / "x.csv", "text,label\n,a\n" + rows + "t,\n\n"))
    assert task.warnings == ["x.csv: dropped 2 rows with an empty field (first: line 2)"]


def test_files_of_two_kinds_are_refused(tmp_path):
    write(tmp_path / "f" / "train.csv", "text,label\na,b\n")
    write(tmp_path / "f" / "test.csv", "anchor,positive\na,b\n")
    with pytest.raises(InputError, match="different kinds of files"):
        load_task(tmp_path / "f")


def test_vectors_without_labels(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3, 50, 8))
    np.save(tmp_path / "v.npy", vectors)
    task = load_task(tmp_path / "v.npy")
    assert isinstance(task, VectorsTask) and task.vectors.dtype == np.float32 and task.vectors.shape == (3, 50, 8)
    np.testing.assert_array_equal(task.vectors, vectors.astype(np.float32))
    assert len(task.queries_index) == 10 == len(set(task.queries_index.tolist()))
    np.testing.assert_array_equal(load_task(tmp_path / "v.npy").queries_index, task.queries_index)
    np.save(tmp_path / "w.npy", vectors[0])
    assert load_task(tmp_path / "w.npy").vectors.shape == (1, 50, 8)


def test_vectors_with_labels_are_a_classification_task(tmp_path):
    vectors = np.arange(120.0).reshape(60, 2)
    np.save(tmp_path / "v.npy", vectors)
    write(tmp_path / "v.labels.txt", "".join(f"{'cat' if i % 3 else 'dog'}\n" for i in range(60)))
    task = load_task(tmp_path / "v.npy")
    assert isinstance(task, ClassificationTask) and task.classes == ["cat", "dog"] and task.folds == 5
    inputs, labels = task.splits["all"]
    assert inputs.shape == (60, 2) and labels[0] == 1 and labels[1] == 0
    tested = np.concatenate([test for _, test in task.fold_indices()])
    assert sorted(tested.tolist()) == list(range(60))
    for train, test in task.fold_indices():
        assert not set(train) & set(test) and len(train) + len(test) == 60
    parts = np.concatenate([task.splits[split][0] for split in ("train", "dev", "test")])
    assert sorted(parts[:, 0].tolist()) == vectors[:, 0].tolist()
    write(tmp_path / "v.labels.txt", "".join(f"{i % 2}\n" for i in range(60)))
    assert load_task(tmp_path / "v.npy").classes == ["0", "1"]
    np.save(tmp_path / "v.npy", np.stack([vectors, vectors]))
    assert load_task(tmp_path / "v.npy").splits["test"][0].shape == (2, 12, 2)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((2, 2, 2, 2)), r"shape \(2, 2, 2, 2\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (np.array([["a", "b"]]), r"of <U1"),
        (np.array([[{}, 1]], dtype=object), "no object arrays"),
        (np.where(np.arange(60).reshape(30, 2) == 9, np.nan, 0.0), "row 4 is not finite"),
        (np.full((30, 2), 1e300), "row 0 is not finite in float32"),
        (np.ones((10, 2)), "at least 20"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_bad_vectors(tmp_path, array, message):
    np.save(tmp_path / "v.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        load_task(tmp_path / "v.npy")


def test_bad_vector_files_and_labels(tmp_path):
    with pytest.raises(InputError, match=r"not a \.npy of numbers"):
        load_task(write(tmp_path / "v.npy", "hello"))
    np.save(tmp_path / "v.npy", np.ones((30, 2)))
    write(tmp_path / "v.labels.txt", "a\nb\n")
    with pytest.raises(InputError, match="30 vectors but 2 labels"):
        load_task(tmp_path / "v.npy")
    write(tmp_path / "v.labels.txt", "a\n" * 28 + "b\n" * 2)
    with pytest.raises(InputError, match="fewer than 5 vectors of class 'b'"):
        load_task(tmp_path / "v.npy")
    write(tmp_path / "v.labels.txt", "a\n" * 15 + "\n" + "b\n" * 14)
    with pytest.raises(InputError, match=r"v\.labels\.txt:16: no label"):
        load_task(tmp_path / "v.npy")


def test_what_was_dropped_is_said_beside_the_result(capsys, tmp_path):
    model, data = str(save_tiny(tmp_path / "model")), tmp_path / "data"
    rows = "".join(f"{a},{b}\n" for a, b in pairwise(SENTENCES))
    data.mkdir()
    for split in ("train", "test"):
        (data / f"{split}.csv").write_text(f"anchor,positive\n{rows}lonely,\n")
    training = ["train", "--recipe", "mrl", "--steps", "1", "--batch-size", "4", "--out", str(tmp_path / "heads")]
    for verb in (["evaluate"], training):
        status = main([*verb, "--task", str(data), "--model", model])
        out, err = capsys.readouterr()
        assert status == 0 and "dropped 1" not in out and "test.csv: dropped 1 row with an empty field" in err


def test_a_cache_that_cannot_be_made_is_said_in_one_line(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "pairs.csv").write_text("anchor,positive\n" + "".join(f"a {i},the {i}\n" for i in range(60)))
    model = str(save_tiny(tmp_path / "model"))
    capsys.readouterr()  # making the model drew a bar
    status = main(["evaluate", "--task", str(tmp_path / "pairs.csv"), "--model", model])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "") and err.count("\n") == 1 and "set MRL_CACHE" in err
