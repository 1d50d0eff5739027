"""What is called test is all of what the user named test; a split is made only where one is needed, and it is said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mrl_tutorial.cli.parser import main
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import embed_task
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.retrieval.planner import Judged, embed_splits
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.tasks.types import PairsTask
from mrl_tutorial.training.examples import examples
from mrl_tutorial.training.loop import train
from tests.helpers.tiny import WORDS, save_tiny
from tests.tasks.test_tasks import beir, write


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("MRL_DATA", raising=False)
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / ".cache"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "bert")


def sentence(i: int) -> str:
    return " ".join(WORDS[(i * step) % len(WORDS)] for step in (1, 3, 5, 7)) + f" {i}"


GRADED = "sentence1,sentence2,score\n" + "".join(f"{sentence(i)},{sentence(i + 1)},{i % 6}\n" for i in range(60))
PAIRS = "anchor,positive\n" + "".join(f"{sentence(i)},{sentence(i + 1)}\n" for i in range(60))
LABELED = "text,label\n" + "".join(f"{sentence(i)},{'ab'[i % 2]}\n" for i in range(60))
ONLY_TEST = {"test.tsv": "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i % 4}\t1\n" for i in range(40))}


@pytest.mark.parametrize("name", ["f/test.csv", "own.csv"])
@pytest.mark.parametrize("text, items", [(GRADED, 60), (PAIRS, 60)])
def test_one_file_is_scored_whole(tmp_path, tiny, name, text, items):
    path = write(tmp_path / name, text)
    grid = evaluate_grid(load_task(path.parent if "/" in name else path), Encoder.load(tiny), layers=[3], dims=[32])
    assert grid.about["items"] == items and grid.about["split_from"] in ("as given", "all of it")


def test_beir_judgments_named_test_are_scored_whole(tmp_path, tiny):
    task, encoder = load_task(beir(tmp_path / "x", qrels=ONLY_TEST)), Encoder.load(tiny)
    grid = evaluate_grid(task, encoder, layers=[3], dims=[32])
    assert (grid.about["items"], grid.about["documents"], grid.about["split_from"]) == (40, 4, "as given")
    dev = evaluate_grid(task, encoder, split="dev", layers=[3], dims=[32])
    assert 2 <= dev.about["items"] <= 16 and dev.about["split_from"] == "a fifth of test, by hash"
    with pytest.raises(InputError, match="no split 'train'"):
        task.pairs("train")


def test_splits_that_are_needed_together_do_not_overlap(tmp_path, tiny):
    task = load_task(beir(tmp_path / "x", qrels=ONLY_TEST))
    both = task.with_splits("dev", "test")
    assert sorted(both.splits["dev"] + both.splits["test"]) == sorted(task.splits["test"])
    assert both.cuts == {"dev": "a fifth of test, by hash", "test": "the four fifths of test that are not dev, by hash"}
    parts = embed_splits(task, Encoder.load(tiny))
    assert parts["dev"]["queries"].shape[1] + parts["test"]["queries"].shape[1] == 40
    assert Judged.of(task, parts, "test", "ndcg@10").judgments.n_queries == len(both.splits["test"])
    own = load_task(write(tmp_path / "own.csv", PAIRS)).with_splits("train", "test")
    assert sorted(row for rows in own.splits.values() for row in rows) == sorted(
        load_task(tmp_path / "own.csv").splits["all"]
    )


def test_a_model_trained_on_a_file_is_not_scored_on_what_it_saw(tmp_path, tiny):
    task, plain = load_task(write(tmp_path / "own.csv", PAIRS)), Encoder.load(tiny)
    trained = train(plain, task, "mrl", steps=1, batch_size=4, out=tmp_path / "model").encoder
    held = task.with_splits("train", "test").splits["test"]
    for encoder in (trained, Encoder.load(tmp_path / "model")):
        grid = evaluate_grid(task, encoder, layers=[3], dims=[32])
        assert grid.about["items"] == len(held) and grid.about["split_from"] == "10 % of all, by hash"
    assert evaluate_grid(task, plain, layers=[3], dims=[32]).about["items"] == 60


def test_labeled_texts_need_a_part_to_learn_from(tmp_path, tiny):
    encoder = Encoder.load(tiny)
    for path in (write(tmp_path / "own.csv", LABELED), write(tmp_path / "f" / "test.csv", LABELED).parent):
        task = load_task(path)
        grid = evaluate_grid(task, encoder, layers=[3], dims=[32], metric="1nn")
        assert grid.about["items"] < 15 and "10 % of" in grid.about["split_from"]
        folds = evaluate_grid(task, encoder, split="all", layers=[3], dims=[32], metric="1nn")
        assert folds.about["items"] == 60 and "5 folds" in folds.about["split_from"]


def test_all_is_every_item_of_every_split(tmp_path, tiny):
    encoder = Encoder.load(tiny)
    assert evaluate_grid(load_task(beir(tmp_path / "x")), encoder, split="all", dims=[32]).about["items"] == 40
    for split in ("train", "dev", "test"):
        write(tmp_path / "g" / f"{split}.csv", GRADED)
    assert evaluate_grid(load_task(tmp_path / "g"), encoder, split="all", dims=[32]).about["items"] == 180
    parts = embed_task(load_task(tmp_path / "g"), encoder, "all")
    assert parts["first"].shape[1] == 180


def test_eval_is_dev_and_what_is_not_read_is_said(tmp_path):
    for name, rows in (("train.csv", 30), ("eval.csv", 20), ("Test.csv", 10), ("heldout.csv", 5)):
        write(tmp_path / "f" / name, "\n".join(GRADED.split("\n")[: rows + 1]))
    task = load_task(tmp_path / "f")
    assert {split: len(columns[2]) for split, columns in task.splits.items()} == {"train": 30, "dev": 20, "test": 10}
    assert task.warnings == ["heldout.csv is not read: name it after its split (train, dev, test)"]
    write(tmp_path / "f" / "valid.csv", GRADED)
    with pytest.raises(InputError, match=r"two files of dev \(eval\.csv, valid\.csv\); keep one"):
        load_task(tmp_path / "f")


def test_judgments_are_named_by_the_last_word_of_their_file(tmp_path):
    folder = beir(tmp_path / "x")
    for split in ("train", "test"):
        (folder / "qrels" / f"{split}.tsv").rename(folder / f"qrels_{split}.tsv")
    task = load_task(folder)
    assert len(task.judged("test")) == 10 and len(task.splits["train"]) + len(task.splits["dev"]) == 30


def test_every_output_says_what_was_scored(capsys, tmp_path, tiny):
    folder, out = str(beir(tmp_path / "x", qrels=ONLY_TEST)), str(tmp_path / "grid.json")
    assert main(["evaluate", "--task", folder, "--model", str(tiny), "--dims", "32", "--json", out]) == 0
    said, written = capsys.readouterr().out, json.loads((tmp_path / "grid.json").read_text())
    assert "40 queries, 4 documents; test as given" in said
    assert (written["items"], written["documents"], written["split_from"]) == (40, 4, "as given")
    assert main(["search", "--task", folder, "--model", str(tiny), "--query", "a node"]) == 0
    assert "4 documents" in capsys.readouterr().out
    sweeping = ["sweep", "--recipes", "mrl", "--what", "heads", "--steps", "1", "--seeds", "1", "--batch-size", "4"]
    own, table = str(write(tmp_path / "own.csv", PAIRS)), str(tmp_path / "sweep.csv")
    assert main([*sweeping, "--task", own, "--model", str(tiny), "--dims", "32", "--out", table]) == 0
    header = (tmp_path / "sweep.csv").read_text().split("recipe,what")[0]
    n = len(load_task(own).with_splits("train", "test").splits["test"])
    assert f"# scored: own: {n} queries, {n} documents; test 10 % of all, by hash" in header
    assert f"{n} queries, {n} documents" in capsys.readouterr().out


def test_a_few_rows_are_enough_to_be_scored_and_too_few_to_be_cut(tmp_path, tiny):
    few = write(tmp_path / "few.csv", "\n".join(GRADED.split("\n")[:4]))
    assert evaluate_grid(load_task(few), Encoder.load(tiny), dims=[32]).about["items"] == 3
    with pytest.raises(InputError, match="too few to cut by hash"):
        load_task(few).with_splits("train", "test")
    assert np.isfinite(load_task(few).splits["all"][2]).all()


def test_two_files_of_judgments_of_one_query_belong_together(tmp_path):
    folder = beir(tmp_path / "x")
    for name in ("train", "test"):
        (folder / "qrels" / f"{name}.tsv").unlink()
    write(folder / "qrels" / "part-a.tsv", "query-id\tcorpus-id\tscore\nq0\td0\t1\n")
    write(folder / "qrels" / "part-b.tsv", "query-id\tcorpus-id\tscore\nq0\td1\t2\n")
    write(folder / "qrels" / "._part-c.tsv", "\0 not a file of ours")
    assert load_task(folder).qrels == {"q0": {"d0": 1, "d1": 2}}
    write(folder / "qrels" / "part-c.tsv", "query-id\tcorpus-id\tscore\nq0\td1\t1\n")
    with pytest.raises(InputError, match="'q0' and document 'd1' are judged in two files, differently"):
        load_task(folder)


@pytest.mark.parametrize("words", ["норма вектора матрица узел граф путь строка столбец", "规 范 向 量 矩 阵 图 表"])
def test_texts_in_other_letters_are_cut_too(words):
    rng = np.random.default_rng(0)
    rows = [(" ".join(rng.choice(words.split(), 6)), "x") for _ in range(600)]
    found = load_task(rows).with_splits("train", "dev", "test").splits
    assert all(30 <= len(found[split]) <= 90 for split in ("dev", "test"))
    assert not {row[0] for row in found["train"]} & {row[0] for row in found["test"]}


def test_fewer_negatives_in_one_row_are_said():
    rows = [(f"a{i}", f"p{i}", f"n{i}", f"m{i}") for i in range(9)]
    with pytest.warns(UserWarning, match="1 of 10 rows have 1 negatives, others up to 2; each row is trained with 1"):
        assert examples(PairsTask("mine", "here", {"train": [*rows, ("a", "p", "n")]})).negatives[0] == ["n0"]
