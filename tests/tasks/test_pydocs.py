"""pydocs is frozen: the same texts on every machine, in the course's data; damage is said with the remedy."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.tasks import pydocs
from mrl_tutorial.tasks.load import load_task

ROOT = Path(__file__).parents[2]


def rows_of(count=30):
    """A small corpus: the splits train, dev, test in turn."""
    package = ["numpy"] * 10 + ["torch"] * 20
    module = ["numpy.m"] * 10 + ["torch.nn"] * 15 + ["torch"] * 5
    texts = [(f"query {i}", f"document {i}", i, ("train", "dev", "test")[i % 3]) for i in range(count)]
    names = [f"numpy.m.f{i}" for i in range(count)]
    return [
        dict(zip(pydocs.COLUMNS, (name, *place, *text), strict=True))
        for name, *place, text in zip(names, package, module, texts, strict=True)
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A small corpus in place of the frozen one."""
    rows = rows_of()
    about = {"fingerprint": pydocs.fingerprint(rows), "versions": {"numpy": "1"}}
    (tmp_path / "about.json").write_text(json.dumps(about))
    (tmp_path / "corpus.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    monkeypatch.setattr(files, "data_file", {"pydocs": tmp_path}.__getitem__)
    return tmp_path


def test_retrieval_and_classification(folder):
    rows = rows_of()
    task = load_task("pydocs")
    assert list(task.corpus) == [row["name"] for row in rows] and not set(task.corpus) & set(task.queries)
    assert task.judged("dev") == [f"q:numpy.m.f{i}" for i in range(1, 30, 3)]
    assert task.pairs("train")[0][1] == "query 3" and task.pairs("train")[1][1] == "document 3"
    assert task.labels == {level: [row[level] for row in rows] for level in ("package", "module")}
    assert "30 documents" in task.origin and f"fingerprint {pydocs.fingerprint(rows)}" in task.origin
    fine = load_task("pydocs:module")
    assert fine.classes == ["numpy.m", "torch", "torch.nn"]
    inputs, labels = fine.splits["test"]
    assert inputs == [f"document {i}" for i in range(2, 30, 3)]
    assert [fine.classes[label] for label in labels] == [rows[i]["module"] for i in range(2, 30, 3)]
    assert load_task("pydocs:package").classes == ["numpy", "torch"]


def test_frozen_corpus_is_the_one_that_the_course_measured():
    task = load_task("pydocs")
    assert len(task.corpus) == len(task.queries) == 6306 and "fingerprint 6ab77ab2d2465bf1" in task.origin
    assert {split: len(queries) for split, queries in task.splits.items()} == {"train": 4455, "dev": 586, "test": 1265}
    assert task.fingerprint() == "fd4667b8d16ec74f"
    assert load_task("pydocs:package").fingerprint() == "c7715b1e88920e1e"
    assert load_task("pydocs:module").fingerprint() == "ca45704b2863532f"
    folder = files.data_file("pydocs")
    assert sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) < 1_000_000


def cut_short(folder):
    path = folder / "corpus.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-40])


def change_a_text(folder):
    path = folder / "corpus.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"document 7", b"document 8")))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_short, "damaged"),
        (change_a_text, r"damaged \(fingerprint \w{16} where \w{16} belongs\)"),
        (lambda folder: (folder / "corpus.jsonl.gz").write_bytes(b"hello"), "damaged"),
        (lambda folder: (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(b'{"name": "a"}')), "damaged"),
        (lambda folder: (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(b"{")), "damaged"),
        (lambda folder: (folder / "about.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "about.json").unlink(), "damaged"),
    ],
)
def test_damage_is_said_with_the_remedy(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message + r".*; restore the folder") as caught:
        load_task("pydocs")
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_no_library_of_the_corpus_is_needed(tmp_path):
    """A fresh process to which none of the heavy libraries can be imported: the same corpus."""
    code = (
        "import sys\n"
        "for name in ('scipy', 'sklearn', 'pandas', 'torch', 'networkx', 'sympy', 'transformers', 'datasets',"
        " 'plotly', 'IPython', 'joblib', 'jinja2', 'fsspec', 'huggingface_hub'): sys.modules[name] = None\n"
        "from mrl_tutorial.tasks.load import load_task\nprint(load_task('pydocs').fingerprint())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "fd4667b8d16ec74f", done.stderr


def test_a_copy_elsewhere_is_read_the_same(tmp_path, monkeypatch):
    """The folder that a wheel carries is a copy: nothing in it depends on where it lies."""
    first = load_task("pydocs").fingerprint()
    copy = shutil.copytree(files.data_file("pydocs"), tmp_path / "pydocs")
    monkeypatch.setattr(files, "data_file", {"pydocs": copy}.__getitem__)
    assert load_task("pydocs").fingerprint() == first
