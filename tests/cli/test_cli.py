"""The command line: help is quick, what is wrong is said in one line, and the verbs work on a tiny model."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import types

import numpy as np
import pytest

import mrl_tutorial
from mrl_tutorial.cli import arguments, commands, parser
from mrl_tutorial.errors import InputError


def run(capsys, *argv: str) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of one command."""
    try:
        status = parser.main(list(argv))
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    return status, out, err


def test_help_loads_nothing_heavy():
    code = "import sys, mrl_tutorial.cli; print([m for m in ('numpy', 'torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    "verb", ["tasks", "recipes", "evaluate", "train", "sweep", "lab", "panel", "export", "search", "bench"]
)
def test_every_verb_has_help_with_examples_that_parse(capsys, verb):
    status, out, _ = run(capsys, verb, "--help")
    assert status == 0
    examples = [x for x in out.split("examples:")[1].splitlines() if x.strip()]
    assert examples
    for line in examples:
        assert parser.parser().parse_args(shlex.split(line)[1:]).command == verb


@pytest.mark.parametrize(
    "line, says",
    [
        ("", "a command is missing"),
        ("evalute --task x", "did you mean evaluate"),
        ("evaluate", "--task is missing"),
        ("evaluate --task x --dim 8", "did you mean --dims"),
        ("evaluate --task x --dims 8,a", "write all, or e.g."),
        ("evaluate --task x --dims 0", "'0'"),
        ("evaluate --task x --layers=-1", "'-1'"),
        ("evaluate --task x --precision fp16", "did you mean"),
        ("evaluate --task x --json /no/such/folder/x.json", "/no/such/folder is not a folder"),
        ("train --task x --recipe mrl", "--out is missing"),
        ("train --task x --recipe mrl --out o --steps 0", "'0' is not a whole number"),
        ("train --task x --recipe mrl --out o --lr nan", "'nan' is not a learning rate"),
        ("train --task x --recipe mrl --out o --temperature 0", "'0' is not a temperature"),
        ("train --task x --recipe mrl --out o --rows most", "'most' is not a whole number"),
        ("train --task x --recipe mrl --out o --what head", "did you mean heads"),
        ("search --task x --query q -k 1.5", "'1.5' is not a whole number"),
        ("bench gird", "did you mean grid"),
        ("tasks now", "'now' is not an option"),
        ("ledger --id M1 --markdown LEDGER.md", "leave --id out"),
    ],
)
def test_bad_arguments_get_one_line_and_status_2(capsys, line, says):
    status, out, err = run(capsys, *line.split())
    assert (status, out) == (2, "")
    assert err.count("\n") == 1 and says in err and "mrl-tutorial" in err


def test_bad_input_inside_a_command_gets_one_line_and_status_2(capsys, monkeypatch):
    def fails(args):
        raise InputError("no task 'x':\n did you mean y?")

    monkeypatch.setattr(commands, "tasks", fails)
    assert run(capsys, "tasks") == (2, "", "mrl-tutorial tasks: no task 'x': did you mean y?\n")


def test_ctrl_c_gives_one_line_and_status_130(capsys, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "tasks", interrupted)
    assert run(capsys, "tasks") == (130, "", "\nmrl-tutorial tasks: stopped\n")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    code = (
        "import sys; from mrl_tutorial.cli import commands, parser\n"
        "def talk(args):\n  for i in range(100000): print('line', i)\n"
        "commands.tasks = talk\nsys.exit(parser.main(['tasks']))"
    )
    done = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done.stdout.readline()
    done.stdout.close()
    assert (done.stderr.read(), done.wait()) == (b"", 0)


def test_a_place_that_cannot_be_written_is_refused_before_work(tmp_path):
    (tmp_path / "file").write_text("")
    arguments.writable(str(tmp_path / "new.json"))
    arguments.writable(str(tmp_path / "a" / "b" / "model"), folder=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
    with pytest.raises(InputError, match="is a folder"):
        arguments.writable(str(tmp_path))
    with pytest.raises(InputError, match="is a file"):
        arguments.writable(str(tmp_path / "file"), folder=True)
    with pytest.raises(InputError, match=r"not a folder|cannot write|no folder"):
        arguments.writable(str(tmp_path / "file" / "x.json"))


def test_exported_names_resolve():
    for name in mrl_tutorial.__all__:
        assert getattr(mrl_tutorial, name) is not None
    assert set(mrl_tutorial.__all__) <= set(dir(mrl_tutorial))
    with pytest.raises(AttributeError, match="no attribute 'Encodr'"):
        mrl_tutorial.Encodr  # noqa: B018


# -- the verbs, on a tiny model and nine documents -------------------------------------------------------------------

WORDS = "the a of in to solve linear system moving average plot image matrix inverse mean graph path shortest sort list"
TEXTS = [
    "solve the linear system", "inverse of a matrix", "moving average of a list", "plot the image", "shortest path",
    "sort a list", "mean of the matrix", "graph of the average", "plot a graph in the image",
]  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A BERT of 3 layers x 32 with random weights, saved as a folder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def beir(tmp_path_factory):
    """A retrieval task in BEIR layout: document i is what query i asks for."""
    folder = tmp_path_factory.mktemp("data") / "beir"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": f"d{i}", "title": "", "text": x}) for i, x in enumerate(TEXTS)]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    lines = [json.dumps({"_id": f"q{i}", "text": " ".join(x.split()[::-1])}) for i, x in enumerate(TEXTS)]
    (folder / "queries.jsonl").write_text("\n".join(lines) + "\n")
    for split, chosen in (("train", range(6)), ("test", range(6, 9))):
        rows = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in chosen)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    return str(folder)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))


def test_tasks_and_recipes_are_listed(capsys):
    from mrl_tutorial.recipes.registry import RECIPES

    status, out, _ = run(capsys, "tasks")
    assert status == 0 and {"pydocs", "digits", "scifact"} <= {x.split()[0] for x in out.splitlines()}
    status, out, _ = run(capsys, "recipes")
    assert status == 0 and set(RECIPES) <= {x.split()[0] for x in out.splitlines() if not x.startswith(" ")}
    assert all(entry.source in out for entry in RECIPES.values())


def test_evaluate_prints_and_writes_the_grid_that_python_gives(capsys, tmp_path, tiny, beir):
    from mrl_tutorial import Encoder, evaluate_grid, load_task

    file = tmp_path / "grid.json"
    status, out, err = run(
        capsys, "evaluate", "--task", beir, "--model", tiny, "--layers", "1,3", "--dims", "8,32", "--metric", "mrr@10",
        "--precision", "fp32", "--json", str(file),
    )  # fmt: skip
    assert status == 0, err
    grid = evaluate_grid(
        load_task(beir), Encoder.load(tiny), metric="mrr@10", layers=[1, 3], dims=[8, 32], precision="fp32"
    )
    written = json.loads(file.read_text())
    scored = {"items": 3, "documents": 9, "dropped": 0, "split_from": "as given", "similarity": "cosine"}
    assert set(written) - set(scored) == {
        "task", "model", "metric", "split", "layers", "dims", "values", "seconds", "texts_cut",
        "warnings",
    }  # fmt: skip
    assert scored.items() <= written.items() and "3 queries, 9 documents; test as given" in out
    assert (written["metric"], written["split"]) == ("mrr@10", "test")
    assert (written["layers"], written["dims"]) == ([1, 3], [8, 32])
    np.testing.assert_allclose(written["values"], grid.values, atol=1e-6)
    assert grid.as_text() in out


@pytest.mark.parametrize(
    "options, says",
    [
        ("--layers 4", "layer 4"),
        ("--dims 33", "dimension 33"),
        ("--split tset", "tset"),
        ("--metric ndgc@10", "ndgc@10"),
        ("--metric spearman", "spearman"),
        ("--model /no/such/model", "/no/such/model"),
    ],
)
def test_evaluate_refuses_before_it_encodes(capsys, monkeypatch, tmp_path, tiny, beir, options, says):
    from mrl_tutorial.models.encoder import Encoder

    monkeypatch.setattr(Encoder, "encode_layers", lambda *a, **k: pytest.fail("it encoded first"))
    file = tmp_path / "grid.json"
    status, out, err = run(capsys, "evaluate", "--task", beir, "--model", tiny, "--json", str(file), *options.split())
    assert (status, out) == (2, "") and err.count("\n") == 1 and says in err and not file.exists()


def test_all_dimensions_are_shown_in_blocks():
    from mrl_tutorial.grid import Grid

    grid = Grid("t", "m", "ndcg@10", "test", (1, 2), tuple(range(1, 33)), np.arange(64).reshape(2, 32) / 64)
    shown = commands.in_blocks(grid.as_text()).splitlines()
    assert [int(x) for line in shown if line.startswith("layer") for x in line.split()[3:]] == list(grid.dims)
    assert [float(x) for line in shown if line.split()[0] == "2" for x in line.split()[1:]] == pytest.approx(
        grid.values[1], abs=1e-4
    )


@pytest.mark.parametrize("line", ["evaluate --task pydcos", "search --task pydcos --query q"])
def test_a_mistyped_task_is_answered_with_the_nearest(capsys, line):
    status, out, err = run(capsys, *line.split())
    assert (status, out) == (2, "") and err.count("\n") == 1 and "'pydcos'" in err and "pydocs" in err


def test_train_writes_a_folder_that_evaluate_reads(capsys, tmp_path, tiny, beir):
    out_folder = tmp_path / "models" / "heads"
    common = ["--task", beir, "--model", tiny, "--steps", "3", "--batch-size", "4", "--out", str(out_folder)]
    given = ["--rows", "all", "--pooling", "cls", "--temperature", "0.1", "--max-tokens", "16"]
    status, out, err = run(capsys, "train", "--recipe", "all-cells", *common, *given)
    assert status == 0, err
    assert "3 steps" in out and str(out_folder) in out
    notes, trained = (json.loads((out_folder / f"{x}.json").read_text()) for x in ("mrl_tutorial", "train"))
    assert notes["pooling"] == "cls" and (trained["temperature"], trained["max_tokens"]) == (0.1, 16)
    files = {p.name for p in out_folder.rglob("*")}
    assert any(name.endswith(".safetensors") for name in files) and not any(x.endswith((".bin", ".pkl")) for x in files)
    status, _, err = run(capsys, "evaluate", "--task", beir, "--model", str(out_folder))
    assert status == 0, err


def test_train_refuses_before_it_trains(capsys, monkeypatch, tmp_path, tiny, beir):
    monkeypatch.setattr(mrl_tutorial, "train", lambda *a, **k: pytest.fail("it trained first"))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.tex").write_text("mine")
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32))
    common = ["train", "--model", tiny]
    for argv, says in [
        (["--recipe", "mlr", "--task", beir, "--out", str(tmp_path / "new")], "mrl"),
        (["--recipe", "separate:9,8", "--task", beir, "--out", str(tmp_path / "new")], "layer 9"),
        (["--recipe", "mrl", "--task", beir, "--dims", "8,64", "--out", str(tmp_path / "new")], "dimension 64"),
        (["--recipe", "mrl", "--task", beir, "--out", str(tmp_path / "taken")], "not a saved model"),
        (["--recipe", "mrl", "--task", str(tmp_path / "vectors.npy"), "--out", str(tmp_path / "new")], "no texts"),
    ]:
        status, out, err = run(capsys, *common, *argv)
        assert (status, out) == (2, "") and err.count("\n") == 1 and says in err, err
    assert not (tmp_path / "new").exists()


def test_search_ranks_by_cosine_in_the_chosen_cell(capsys, tiny, beir):
    from mrl_tutorial.models.encoder import Encoder

    query, layer, dim = TEXTS[4], 2, 16
    status, out, err = run(
        capsys, "search", "--task", beir, "--model", tiny, "--query", query, "--layer", "2", "--dim", "16", "-k", "3",
        "--compare",
    )  # fmt: skip
    assert status == 0, err
    x = Encoder.load(tiny).encode_layers(TEXTS, cache=False).astype(np.float64)[layer - 1, :, :dim]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    want = np.argsort(-(x @ x[4]), kind="stable")[:3]
    rows = [line.split() for line in out.splitlines() if "full model:" in line]
    assert [r[2] for r in rows] == [f"d{i}" for i in want] and rows[0][:3] == ["1", "1.0000", "d4"]
    assert rows[0][-1] == "1"  # the text itself is first in the full model too


@pytest.mark.parametrize("options, says", [("--layer 4", "layer 4"), ("--dim 33", "dimension 33"), ("", "is empty")])
def test_search_refuses_in_one_line(capsys, tiny, beir, options, says):
    query = "sort" if options else "  "
    status, out, err = run(capsys, "search", "--task", beir, "--model", tiny, "--query", query, *options.split())
    assert (status, out) == (2, "") and err.count("\n") == 1 and says in err


def test_bench_is_handed_its_options(capsys, monkeypatch, tmp_path):
    seen = {}
    fake = types.SimpleNamespace(run=lambda json, quick: seen.update(json=json, quick=quick))
    monkeypatch.setitem(sys.modules, "benchmarks.loss", fake)
    file = str(tmp_path / "b.json")
    assert run(capsys, "bench", "loss", "--quick", "--json", file)[0] == 0
    assert seen == {"json": file, "quick": True}


def test_vectors_are_compared_as_asked(capsys, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "v.npy", (rng.normal(size=(60, 8)) * rng.uniform(0.1, 9, (60, 1))).astype(np.float32))
    file = tmp_path / "grid.json"
    asked = ("evaluate", "--task", str(tmp_path / "v.npy"), "--json", str(file))
    for similarity, options in (("cosine", []), ("dot", ["--similarity", "dot"])):
        assert run(capsys, *asked, *options)[0] == 0
        written = json.loads(file.read_text())
        want = mrl_tutorial.evaluate_grid(mrl_tutorial.load_task(tmp_path / "v.npy"), cosine=similarity == "cosine")
        assert written["similarity"] == similarity
        np.testing.assert_allclose(written["values"], want.values, atol=1e-6)
    status, out, err = run(capsys, *asked, "--max-length", "9")
    assert (status, out) == (2, "") and "leave --max-length out" in err


def test_letters_that_a_terminal_lacks_stop_nothing():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "mrl_tutorial", "ledger"]
    found = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert found.returncode == 0 and b"R14" in found.stdout and b"?" in found.stdout, found.stderr


@pytest.mark.parametrize("name", ["~nobodyhere", "x" * 300])
def test_names_that_are_no_paths_are_said_in_one_line(capsys, name):
    status, out, err = run(capsys, "evaluate", "--task", name)
    assert (status, out) == (2, "") and "no task or path" in err and err.count("\n") == 1
