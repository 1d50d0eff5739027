"""Labels of pairs, judgments of 0, and files as other programs write them: read right, or refused in plain words."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import pytrec_eval

from mrl_tutorial.cli.parser import main
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.retrieval.planner import embed_splits
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.tasks.types import PairsTask, STSTask
from mrl_tutorial.training.loop import train
from tests.helpers.tiny import SENTENCES, save_tiny
from tests.tasks.test_tasks import beir, write


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("MRL_DATA", raising=False)
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / ".cache"))


# ---- labels of pairs


@pytest.mark.parametrize("header", ["sentence1,sentence2,label", "query,document,label", "query,document,relevance"])
@pytest.mark.parametrize("yes, no", [("1", "0"), ("1.0", "0.0"), ("True", "False")])
def test_a_pair_labeled_0_is_no_pair(tmp_path, header, yes, no):
    rows = [("a", "b", yes), ("a", "c", no), ("d", "e", yes), ("f", "g", no), ("a", "h", yes)]
    task = load_task(write(tmp_path / "test.csv", "\n".join([header, *map(",".join, rows)])))
    assert isinstance(task, PairsTask) and task.splits["all"] == [("a", "b", "c"), ("d", "e"), ("a", "h")]
    kept = "3 of 5 pairs are labeled 1 and kept"
    assert task.warnings == [f"{kept}; labeled 0: 1 negatives of a first text that has a pair, 1 left out"]
    searched = task.as_retrieval("test")
    assert set(searched.corpus.values()) == {"b", "c", "e", "h"} and "f" not in searched.queries.values()
    right = {searched.queries[q]: {searched.corpus[d] for d in found} for q, found in searched.qrels.items()}
    assert right == {"a": {"b", "h"}, "d": {"e"}}


def test_graded_labels_are_graded_pairs_and_that_is_said(tmp_path):
    rows = ["a,b,3", "a,c,0.5", "d,e,5"]
    task = load_task(write(tmp_path / "x.csv", "\n".join(["sentence1,sentence2,label", *rows])))
    assert isinstance(task, STSTask) and task.splits["all"][2].tolist() == [3, 0.5, 5]
    assert task.warnings == ["labels from 0.5 to 5 are read as scores, a higher one for a closer meaning"]


def test_the_splits_of_a_task_have_one_kind_of_labels(tmp_path):
    write(tmp_path / "f" / "train.csv", "sentence1,sentence2,label\na,b,1\nc,d,0\n")
    write(tmp_path / "f" / "test.csv", "sentence1,sentence2,label\na,b,1\nc,d,0.5\n")
    assert load_task(tmp_path / "f").kind == "sts"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,b,1", "c,d,entailment"], r"x\.csv:3: label 'entailment' is not a number; give 1 .*0"),
        (["a,b,0", "c,d,0"], "no pair is labeled 1"),
    ],
)
def test_labels_that_say_nothing_are_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        load_task(write(tmp_path / "x.csv", "\n".join(["sentence1,sentence2,label", *rows])))


# ---- judgments


def test_queries_judged_0_alone_count_as_trec_eval_counts_them(tmp_path):
    qrels = "q0\td0\t1\nq1\td1\t0\nq2\td2\t0\nq2\td3\t2\nq3\tnowhere\t1\n"
    task = load_task(beir(tmp_path / "x", qrels={"test.tsv": qrels}))
    encoder = Encoder.load(save_tiny(tmp_path / "model"))
    grid = evaluate_grid(task, encoder, layers=[3], dims=[32], precision="fp32")
    queries, documents = (encoder.encode(x) for x in ([task.queries[q] for q in task.judged()], task.corpus.values()))
    run = {
        q: dict(zip(task.corpus, map(float, row), strict=True))
        for q, row in zip(task.judged(), queries @ documents.T, strict=True)
    }
    found = pytrec_eval.RelevanceEvaluator(task.qrels, {"ndcg_cut.10"}).evaluate(run)
    assert set(found) == {"q0", "q1", "q2"} and found["q1"]["ndcg_cut_10"] == 0
    assert grid.about["items"] == 3
    np.testing.assert_allclose(grid.values, np.mean([score["ndcg_cut_10"] for score in found.values()]), atol=1e-6)
    assert "1 query whose judgments name unknown documents alone (first: 'q3')" in " ".join(task.warnings)


@pytest.mark.parametrize("place", ["qrels.jsonl", "qrels/test.jsonl"])
@pytest.mark.parametrize("names", [("query-id", "corpus-id", "score"), ("query_id", "doc_id", "relevance")])
def test_judgments_as_json_lines(tmp_path, place, names):
    folder = beir(tmp_path / "x")
    for file in (folder / "qrels").iterdir():
        file.unlink()
    rows = [("q1", "d1", 1), ("q1", "d2", 0), ("q2", "d2", 2)]
    write(folder / place, "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    assert load_task(folder).qrels == {"q1": {"d1": 1, "d2": 0}, "q2": {"d2": 2}}
    write(folder / place, '{"query-id": "q1", "text": "d1"}\n')
    with pytest.raises(InputError, match=r"jsonl:1: .*query-id, corpus-id"):
        load_task(folder)


# ---- files as others write them


def test_a_list_is_not_embedded_as_its_brackets(tmp_path):
    corpus = [{"_id": "d0", "text": ["one", "two"]}, {"_id": "d1", "text": "x"}]
    with pytest.raises(InputError, match=r"corpus\.jsonl:1: 'text' is not a text or a number"):
        load_task(beir(tmp_path / "x", corpus=corpus))


def quoted(path, rows, **dialect):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, **dialect).writerows(rows)
    return path


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("suffix, delimiter", [(".tsv", "\t"), (".csv", ";"), (".csv", "\t"), (".csv", ",")])
def test_quoted_files_of_any_separator_give_the_texts(tmp_path, suffix, delimiter, quoting):
    texts = ['say "hi"', "a; b", "a, b", "two\nlines", "a\ttab", "plain", '"', "it's"]
    rows = [["text", "label"], *([text, f"l{i % 2}"] for i, text in enumerate(texts))]
    task = load_task(quoted(tmp_path / f"x{suffix}", rows, delimiter=delimiter, quoting=quoting))
    assert task.splits["all"][0] == texts


def test_a_tsv_without_quoting_keeps_its_quotes(tmp_path):
    texts = ['"Hi", she said', 'an "odd one', '5" wide', '"open', "plain"]
    path = write(tmp_path / "x.tsv", "text\tlabel\n" + "".join(f"{text}\tl{i % 2}\n" for i, text in enumerate(texts)))
    assert load_task(path).splits["all"][0] == texts


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_text_may_be_long(tmp_path, suffix):
    before = csv.field_size_limit()
    rows = [["text", "label"], ["x" * 200_000, "a"], ["y", "b"]]
    task = load_task(quoted(tmp_path / f"x{suffix}", rows, delimiter="," if suffix == ".csv" else "\t"))
    assert len(task.splits["all"][0][0]) == 200_000 and csv.field_size_limit() == before


# ---- what is given in place of a task or a model


def test_plain_meanings_are_taken_and_others_refused(tmp_path):
    folder, model = beir(tmp_path / "x"), save_tiny(tmp_path / "model")
    task, encoder = load_task(folder), Encoder.load(model)
    want = evaluate_grid(task, encoder, precision="fp32").values
    for given in ((str(folder), encoder), (folder, str(model)), (encoder, task), (task, model)):
        np.testing.assert_array_equal(evaluate_grid(*given, precision="fp32").values, want)
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(model), device="cpu")
    np.testing.assert_allclose(evaluate_grid(task, theirs, precision="fp32").values, want, atol=1e-6)
    parts = embed_splits(str(folder), str(model))  # dev and test of a path do not overlap either
    assert [x["queries"].shape[1] for x in parts.values()] == [len(task.judged(split)) for split in ("dev", "test")]
    assert len(train(str(model), str(folder), "mrl", steps=1, batch_size=4, cache=False).history) == 1
    for given, message in [
        (([1, 2], encoder), "list is not a task: give one of load_task, its name or a path"),
        ((SENTENCES, encoder), "list is not a task"),
        ((task, 7), "int is not an encoder: give one of Encoder.load, its name or a folder"),
    ]:
        with pytest.raises(InputError, match=message):
            evaluate_grid(*given)


@pytest.mark.parametrize("verb", ["evaluate", "train", "sweep", "search"])
def test_help_names_the_files_that_can_be_read(capsys, verb):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    said = capsys.readouterr().out
    for word in ("text,label", "anchor,positive", "sentence1,sentence2,score", "qrels/test.tsv", "qrels.jsonl",
                 ".labels.txt", "0/1"):  # fmt: skip
        assert word in said
