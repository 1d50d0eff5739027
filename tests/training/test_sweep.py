"""A sweep's file: the rows that train and evaluate_grid give, whole, resumable, and refused where it is another's."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mrl_tutorial.cli import arguments, parser
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.grid import check_cells
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.tasks.types import ClassificationTask, PairsTask, RetrievalTask, STSTask
from mrl_tutorial.training import sweep as room
from mrl_tutorial.training.loop import NonFiniteLoss, train
from mrl_tutorial.training.sweep import Outcome, score, sweep
from mrl_tutorial.training.sweep_config import SweepConfig, expand
from mrl_tutorial.training.sweep_file import COLUMNS, read_items, read_sweep, summary
from tests.helpers.tiny import SENTENCES, WORDS, save_tiny

LAYERS, DIMS = (1, 2, 3), (8, 16, 32)


def retrieval(name="toy") -> RetrievalTask:
    ids = range(len(SENTENCES))
    return RetrievalTask(
        name, "made up", {f"d{i}": SENTENCES[i] for i in ids},
        {f"q{i}": " ".join(SENTENCES[i].split()[::-1]) for i in ids}, {f"q{i}": {f"d{i}": 1} for i in ids},
        {"train": [f"q{i}" for i in ids[:6]], "dev": ["q6"], "test": [f"q{i}" for i in ids[6:]]},
    )  # fmt: skip


def graded() -> STSTask:
    return STSTask("graded", "made up", {"test": (SENTENCES[:5], SENTENCES[5:], np.array([1.0, 0.2, 0.4, 0.9, 0.1]))})


def classes() -> ClassificationTask:
    part = (SENTENCES, np.arange(10) % 2)
    return ClassificationTask("classes", "made up", {"train": part, "test": part}, ["even", "odd"])


BUDGET = {"what": "heads", "seeds": 2, "steps": 3, "batch_size": 4, "lr": 0.01, "precision": "fp32"}


def test_rows_are_what_train_and_evaluate_give(encoder, tmp_path):
    frame = sweep(
        encoder, retrieval(), ["mrl", "all-cells"], out=tmp_path / "s.csv", eval_tasks=[retrieval(), graded()],
        metric=["mrr@10", "spearman"], **{**BUDGET, "what": "full"},
    )  # fmt: skip
    assert list(frame.columns) == COLUMNS
    runs = [("plain", 0), *product(("mrl", "all-cells"), (0, 1))]
    assert len(frame) == len(runs) * 2 * len(LAYERS) * len(DIMS) == len(frame.drop_duplicates(COLUMNS[:9]))
    for recipe, seed in runs:
        trained = encoder
        if recipe != "plain":
            trained = train(
                encoder, retrieval(), get_recipe(recipe, 3, 32), what="full", steps=3, batch_size=4, lr=0.01, seed=seed,
                precision="fp32", cache=False,
            ).encoder  # fmt: skip
        for task, metric in ((retrieval(), "mrr@10"), (graded(), "spearman")):
            grid = evaluate_grid(task, trained, metric=metric, precision="fp32")
            rows = frame[(frame.recipe == recipe) & (frame.seed == seed) & (frame.task == task.name)]
            assert set(rows.metric) == {metric} and set(rows.split) == {"test"}
            found = rows.pivot(index="layer", columns="dim", values="value")
            assert (tuple(found.index), tuple(found.columns)) == (LAYERS, DIMS)
            np.testing.assert_allclose(found.to_numpy(), grid.values, atol=1e-6)
    trained = frame[frame.recipe != "plain"]
    assert (trained[["what", "steps", "batch_size", "lr"]] == ["full", 3, 4, 0.01]).all(axis=None)
    assert (trained.groupby(["recipe", "seed"]).seconds.nunique() == 1).all() and (trained.seconds > 0).all()
    plain = frame[frame.recipe == "plain"]
    assert set(plain.what) == {"none"} and set(plain.steps) == {0} and plain.lr.isna().all()


def test_separate_is_one_run_a_cell_and_scored_there_alone(encoder, tmp_path):
    frame = sweep(
        encoder, retrieval(), ["separate:*", "separate:2, 16"], out=tmp_path / "s.csv", layers=[1, 2], dims=[8, 16],
        **{**BUDGET, "seeds": 1},
    )  # fmt: skip
    alone = frame[frame.recipe != "plain"]
    assert [(r.recipe, r.layer, r.dim) for r in alone.itertuples()] == [
        (f"separate:{layer},{dim}", layer, dim) for layer in (1, 2) for dim in (8, 16)
    ]
    assert len(frame[frame.recipe == "plain"]) == 4
    means = summary(frame)
    assert len(means[means.recipe == "separate"]) == 4 and set(means.recipe) == {"plain", "separate"}


def test_names_become_candidates():
    cells = check_cells([1, 3], [8], 3, 32)
    assert list(expand(["mrl", "plain", "separate:*", "separate:3,8", "mrl"], cells)) == [
        "plain", "mrl", "separate:1,8", "separate:3,8",
    ]  # fmt: skip
    assert expand(["separate:2,16"], cells) == {"plain": cells, "separate:2,16": ((2,), (16,))}


@pytest.mark.parametrize(
    "text, found",
    [
        ("mrl", ["mrl"]),
        ("mrl,2dmse-v1,ese", ["mrl", "2dmse-v1", "ese"]),
        ("separate:3,128,2dmse-v1-st", ["separate:3,128", "2dmse-v1-st"]),
        ("starbucks:1,32+6,384, separate:1,8,separate:*", ["starbucks:1,32+6,384", "separate:1,8", "separate:*"]),
        ("retrieval-2dmse+score+dims,full-size", ["retrieval-2dmse+score+dims", "full-size"]),
    ],
)
def test_commas_inside_a_recipe_stay(text, found):
    assert arguments.recipe_names(text) == found


def test_a_stopped_sweep_goes_on_and_repeats_nothing(encoder, tmp_path, monkeypatch):
    whole = sweep(encoder, retrieval(), ["mrl", "all-cells"], out=tmp_path / "whole.csv", cache=False, **BUDGET)
    started = []

    def stops(given, task, recipe, config, seed, **more):
        started.append((recipe.name, seed))
        if len(started) == 3:
            raise KeyboardInterrupt
        return train(given, task, recipe, config, seed=seed, **more)

    monkeypatch.setattr(room, "train", stops)
    out = tmp_path / "s.csv"
    with pytest.raises(KeyboardInterrupt):
        sweep(encoder, retrieval(), ["mrl", "all-cells"], out=out, cache=False, **BUDGET)
    partial = read_sweep(out)[0]
    assert len(partial) == 3 * 9  # plain and two runs: none is there in part
    frame = sweep(encoder, retrieval(), ["mrl", "all-cells"], out=out, cache=False, **BUDGET)
    assert started == [("mrl", 0), ("all-cells", 0), ("mrl", 1), ("mrl", 1), ("all-cells", 1)]
    compared = [c for c in COLUMNS if c != "seconds"]
    pd.testing.assert_frame_equal(frame[compared], whole[compared])
    before = out.read_bytes()
    sweep(encoder, retrieval(), ["mrl", "all-cells"], out=out, cache=False, **BUDGET)  # finished: nothing to do
    assert len(started) == 5 and out.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"whole.csv", "s.csv", "cache", "whole", "s"}


DIES = """
import os, sys
sys.path.insert(0, {tests!r})
import tests.training.test_sweep as t
def dies(*args, **options):
    if options["seed"] == 1: os._exit(9)
    return t.train(*args, **options)
t.room.train = dies
t.sweep(t.Encoder.load({model!r}), t.retrieval(), ["mrl"], out={out!r}, cache=False, **t.BUDGET)
"""


def test_the_file_is_whole_when_the_process_is_killed(encoder, tmp_path):
    """Killed outright while the second run trains: the file holds the first runs and can be read."""
    out = tmp_path / "s.csv"
    code = DIES.format(tests=str(Path(__file__).parents[2]), model=str(encoder.folder), out=str(out))
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 9
    assert len(read_sweep(out)[0]) == 2 * 9
    frame = sweep(encoder, retrieval(), ["mrl"], out=out, cache=False, **BUDGET)
    assert len(frame) == 3 * 9 == len(frame.drop_duplicates(["recipe", "seed", "layer", "dim"]))


@pytest.mark.parametrize(
    "change, says",
    [
        ({"steps": 4}, "steps '3', this one has '4'"),
        ({"batch_size": 5}, "batch size"),
        ({"lr": 0.02}, "lr"),
        ({"seeds": 1}, "seeds"),
        ({"heads": "per-layer"}, "heads"),
        ({"recipes": ["mrl", "all-cells"]}, "recipes"),
        ({"metric": ["map"]}, "metric"),
        ({"split": "dev"}, "split"),
        ({"dims": [8]}, "dims"),
        ({"eval_tasks": [graded()]}, "eval tasks"),
        ({"task": retrieval("other")}, "task"),
    ],
)
def test_another_sweep_is_refused_and_the_file_kept(encoder, tmp_path, change, says):
    out = tmp_path / "s.csv"
    given = {"task": retrieval(), "recipes": ["mrl"], "out": out, **BUDGET, "what": "heads"}
    given["eval_tasks"] = [retrieval()]
    sweep(encoder, **given)
    before = out.read_bytes()
    with pytest.raises(InputError, match=says) as error:
        sweep(encoder, **{**given, **change})
    assert "write to another file" in str(error.value) and out.read_bytes() == before


def test_another_model_is_refused(encoder, tmp_path):
    out = tmp_path / "s.csv"
    sweep(encoder, retrieval(), ["plain"], out=out, **BUDGET)
    other = Encoder.load(save_tiny(tmp_path / "bert", seed=1))
    with pytest.raises(InputError, match="model 'bert"):
        sweep(other, retrieval(), ["plain"], out=out, **BUDGET)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"recipes": ["mlr"]}, "mrl"),
        ({"recipes": ["mrl", "separate:9,8"]}, "layer 9"),
        ({"recipes": ["2dmse-v1-st"]}, "has no head"),
        ({"recipes": ["2dmse-v1-st"], "what": "head"}, "choose heads or full"),
        ({"metric": ["ndgc@10"]}, "ndgc@10"),
        ({"metric": ["spearman"]}, "spearman"),
        ({"split": "tset"}, "tset"),
        ({"dims": [33]}, "dimension 33"),
        ({"layers": [4]}, "layer 4"),
        ({"eval_tasks": [retrieval(), retrieval()]}, "alike"),
        ({"task": graded()}, "train"),
        ({"task": classes(), "recipes": ["starbucks:1,8+3,32"]}, "compares queries with documents"),
        ({"batch_size": 1}, "batch size 1"),
        ({"seeds": 0}, "seeds 0"),
        ({"lr": []}, "no learning rate"),
    ],
)
def test_bad_input_is_refused_before_any_work(encoder, tmp_path, monkeypatch, change, says):
    monkeypatch.setattr(Encoder, "encode_layers", lambda *a, **k: pytest.fail("it encoded first"))
    given = {"task": retrieval(), "recipes": ["mrl"], **BUDGET, "dims": [8, 32], **change}
    with pytest.raises(InputError, match=says):
        sweep(encoder, out=tmp_path / "s.csv", **given)
    assert not (tmp_path / "s.csv").exists()


def test_a_model_with_heads_and_vectors_are_refused(encoder, tmp_path):
    from mrl_tutorial.models.heads import Heads
    from mrl_tutorial.tasks.load import load_task

    with pytest.raises(InputError, match="has heads"):
        sweep(encoder.with_heads(Heads(3, 32)), retrieval(), ["mrl"], out=tmp_path / "s.csv", **BUDGET)
    with pytest.raises(InputError, match="holds vectors"):
        sweep(encoder, retrieval(), ["mrl"], out=tmp_path / "s.csv", eval_tasks=[load_task("digits")], **BUDGET)


def test_a_run_that_diverges_keeps_its_place_without_a_value(encoder, tmp_path, monkeypatch):
    def diverges(given, task, recipe, config, seed, **more):
        if seed == 1:
            raise NonFiniteLoss("step 2: term 'main' is inf")
        return train(given, task, recipe, config, seed=seed, **more)

    monkeypatch.setattr(room, "train", diverges)
    said: list[str] = []
    frame = sweep(encoder, retrieval(), ["mrl"], out=tmp_path / "s.csv", report=said.append, **BUDGET)
    lost = frame[(frame.recipe == "mrl") & (frame.seed == 1)]
    assert len(lost) == 9 and lost.value.isna().all() and frame[frame.seed == 0].value.notna().all()
    assert len(said) == 3 and "term 'main' is inf" in said[2] and said[1].startswith("2/3 mrl, seed 0")
    means = summary(frame)
    means = means[means.recipe == "mrl"]
    assert set(means.seeds) == {1} and set(means.diverged) == {1} and means.spread.isna().all()
    sweep(encoder, retrieval(), ["mrl"], out=tmp_path / "s.csv", **BUDGET)  # a result like others: not run again
    with pytest.warns(UserWarning, match="mrl, seed 1: step 2"):
        sweep(encoder, retrieval(), ["mrl"], out=tmp_path / "t.csv", **BUDGET)


def test_summary_is_mean_and_sample_deviation():
    values = {("a", 0): 0.5, ("a", 1): 0.7, ("a", 2): 0.9, ("b", 0): 0.25}
    rows = [dict.fromkeys(COLUMNS, 1) | {"recipe": r, "seed": s, "value": v} for (r, s), v in values.items()]
    found = summary(pd.DataFrame(rows)).set_index("recipe")
    assert found.loc["a", "mean"] == pytest.approx(0.7) and found.loc["a", "spread"] == pytest.approx(0.2)
    assert (found.loc["a", "seeds"], found.loc["b", "seeds"], found.loc["b", "mean"]) == (3, 1, 0.25)
    assert np.isnan(found.loc["b", "spread"])


def test_a_name_that_looks_like_nothing_stays_a_name(encoder, tmp_path):
    frame = sweep(encoder, retrieval("null"), ["plain"], out=tmp_path / "s.csv", **BUDGET)
    assert set(frame.task) == {"null"}


@pytest.mark.parametrize("text", ["", "layer,dim\n1,8\n", "# mrl-tutorial sweep: x\nrecipe,seed\n", None])
def test_other_files_are_refused_and_kept(encoder, tmp_path, text):
    out = tmp_path / "s.csv"
    if text is None:
        sweep(encoder, retrieval(), ["plain"], out=out, **BUDGET)
        text = out.read_text()[:-30]  # cut off inside a row
        text = text.rsplit("\n", 1)[0] + "\nplain,none,none,0,toy\n"
    out.write_text(text)
    for act in (lambda: read_sweep(out), lambda: sweep(encoder, retrieval(), ["plain"], out=out, **BUDGET)):
        with pytest.raises(InputError, match=r"is not a sweep|is damaged"):
            act()
    assert out.read_text() == text
    with pytest.raises(InputError, match="cannot be read"):
        read_sweep(tmp_path / "none.csv")


def test_another_environment_is_added_to_the_header(encoder, tmp_path, monkeypatch):
    from mrl_tutorial.training import sweep_file

    out = tmp_path / "s.csv"
    sweep(encoder, retrieval(), ["plain"], out=out, **BUDGET)
    here = sweep_file.environment()
    lines = out.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("plain,")]  # as if it had stopped before the first run
    out.write_text("".join(kept))
    monkeypatch.setattr(sweep_file, "environment", lambda: here | {"threads": "99"})
    sweep(encoder, retrieval(), ["plain"], out=out, **BUDGET)
    header = read_sweep(out)[1]
    assert header["threads"] == f"{here['threads']} | 99" and header["versions"] == here["versions"]


def test_trained_backbones_leave_no_embeddings_behind(encoder, tmp_path):
    sweep(encoder, retrieval(), ["plain"], out=tmp_path / "p.csv", **BUDGET)
    before = set((tmp_path / "cache").rglob("*.npy"))
    assert before
    sweep(encoder, retrieval(), ["mrl"], out=tmp_path / "s.csv", cache=False, **{**BUDGET, "what": "full"})
    assert set((tmp_path / "cache").rglob("*.npy")) == before
    assert not list((tmp_path / "cache").rglob("run.safetensors"))


def test_the_command_writes_a_file_that_says_how(encoder, tmp_path, capsys, monkeypatch):
    import mrl_tutorial

    toys = {"toy": retrieval(), "graded": graded()}
    monkeypatch.setattr(mrl_tutorial, "load_task", lambda name, columns=None: toys[name])
    out = str(tmp_path / "my sweep.csv")
    argv = [
        "sweep", "--recipes", "mrl,separate:1,8", "--task", "toy", "--eval-tasks", "toy,graded",
        "--model", str(encoder.folder), "--what", "heads", "--seeds", "2", "--steps", "3", "--batch-size", "4",
        "--metric", "map", "--out", out,
    ]  # fmt: skip
    assert parser.main(argv) == 0
    said = capsys.readouterr().out
    frame, header = read_sweep(out)
    assert f"{len(frame)} rows in {out}" in said and "5/5 separate:1,8, seed 1" in said
    assert len(frame) == 2 * 9 + 2 * (2 * 9 + 2 * 1)
    assert set(zip(frame.task, frame.metric, strict=True)) == {("toy", "map"), ("graded", "spearman")}
    assert header["command"] == " ".join(["mrl-tutorial", *argv[:-1], f"'{out}'"])
    assert header["model"] == f"bert {encoder.fingerprint()}" and header["task"] == f"toy {retrieval().fingerprint()}"
    assert header["lr"] == "0.003" and header["precision"] in ("fp32", "bf16")
    assert header["processor"] and header["threads"]
    assert all(f"{name} " in header["versions"] for name in ("mrl-tutorial", "python", "torch", "transformers"))
    assert pd.read_csv(out, comment="#").shape == frame.shape  # any csv reader will do
    assert parser.main([*argv, "--steps", "4"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "write to another file" in said.err


def test_a_recipe_with_fixed_documents_is_scored_with_them(encoder):
    name = "retrieval-2dmse+fixed-doc"
    recipe = get_recipe(name, 3, 32, dims=(8,))
    trained = train(encoder, retrieval(), recipe, what="heads", steps=3, batch_size=4, lr=0.01, seed=0).encoder
    config = SweepConfig(precision="fp32")
    fixed, paired = (
        [row["value"] for row in score(retrieval(), Outcome(trained, fixed=on), ["ndcg@10"], (LAYERS, DIMS), config)[0]]
        for on in (True, False)
    )
    want = evaluate_grid(retrieval(), trained, layers=LAYERS, dims=DIMS, precision="fp32", fixed_document=True).values
    np.testing.assert_allclose(fixed, want.ravel(), atol=1e-6)
    assert fixed != paired


def test_fewer_documents_to_score(encoder, tmp_path, monkeypatch):
    import mrl_tutorial

    toys = {"toy": retrieval(), "graded": graded()}
    monkeypatch.setattr(mrl_tutorial, "load_task", lambda name, columns=None: toys[name])
    out = str(tmp_path / "s.csv")
    argv = [
        "sweep",
        "--recipes",
        "plain",
        "--task",
        "toy",
        "--eval-tasks",
        "toy,graded",
        "--model",
        str(encoder.folder),
    ]
    assert parser.main([*argv, "--what", "heads", "--documents", "5", "--out", out]) == 0
    frame, header = read_sweep(out)
    fewer = retrieval().smaller(5)
    assert len(fewer.corpus) < len(retrieval().corpus)
    assert set(frame.task) == {fewer.name, "graded"} and fewer.fingerprint() in header["eval tasks"]
    want = evaluate_grid(fewer, encoder, split="test")
    got = frame[(frame.task == fewer.name) & (frame.layer == 1)].value
    np.testing.assert_allclose(got, want.values[0], atol=1e-6)


def test_what_was_trained_on_is_not_scored(encoder, tmp_path):
    pairs = [(f"{a} {b}", f"{b} of {a}") for a in WORDS[:12] for b in WORDS[:12] if a != b]
    whole = PairsTask("mine", "made up", {"all": pairs})
    cut = whole.with_splits("train", "test")
    held_out = len(cut.splits["test"])
    assert 0 < held_out < len(pairs) - len(cut.splits["train"]) + 1
    for i, tasks in enumerate((None, [whole], [PairsTask("mine", "made up", {"all": list(pairs)})])):
        sweep(encoder, whole, ["closed-form"], out=tmp_path / f"{i}.csv", eval_tasks=tasks, **BUDGET)
        assert read_items(tmp_path / f"{i}.csv", "closed-form", "mine", "ndcg@10").shape[-1] == held_out


def test_a_learning_rate_is_chosen_by_the_cells_that_are_trained(encoder, tmp_path):
    frame = sweep(
        encoder, retrieval(), ["starbucks:1,8+3,32"], out=tmp_path / "s.csv", **{**BUDGET, "lr": [0.01, 0.02]}
    )
    dev = frame[frame.split == "dev"]
    grid = np.asarray(get_recipe("starbucks:1,8+3,32", 3, 32).weights["main"])
    cells = {(LAYERS[i], DIMS[j]) for i, j in np.argwhere(grid)}
    assert set(zip(dev.layer, dev.dim, strict=True)) == cells and len(dev) == 2 * len(cells) < 2 * grid.size


def test_names_with_a_dot_have_folders_of_their_own(encoder, tmp_path):
    for name, rate in (("run.1", 0.01), ("run.2", 0.02)):
        sweep(encoder, retrieval(), ["mrl"], out=tmp_path / name, **{**BUDGET, "lr": rate, "seeds": 1})
    assert len(list(tmp_path.glob("*/mrl-0.npz"))) == 2
