"""`mrl-tutorial lab` and `train --recipe my.json`: the numbers of the lab, and wrong files in one line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mrl_tutorial.cli import parser
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.evaluation.statistics import leaderboard
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.recipe_file import painted
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.training import loop
from mrl_tutorial.training.lab import measure, train_recipe, whitened_start
from tests.helpers.tiny import WORDS, save_tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny model, pairs in train, dev and test files, and a recipe file with its own settings."""
    folder = tmp_path_factory.mktemp("lab")
    save_tiny(folder / "model")
    rng = np.random.default_rng(0)
    (folder / "data").mkdir()
    for split in ("train", "dev", "test"):
        made = [" ".join(rng.choice(WORDS, 5)) for _ in range(30)]
        rows = [f"{text},{' '.join(text.split()[::-1][:4])}" for text in made]
        (folder / "data" / f"{split}.csv").write_text("\n".join(["anchor,positive", *rows]) + "\n")
    settings = {"steps": 6, "batch_size": 5, "seed": 3}
    replace(painted("2dmse-v1", 3, 32), name="mine", training=settings).write(folder / "my.json")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))


def run(capsys, *argv: str) -> tuple[int, str, str]:
    try:
        status = parser.main(list(argv))
    except SystemExit as stop:
        status = stop.code
    return status, *capsys.readouterr()


def test_train_by_a_file_goes_on_where_it_stopped(capsys, place, tmp_path, monkeypatch):
    given = ["--recipe", str(place / "my.json"), "--task", str(place / "data"), "--model", str(place / "model")]
    assert run(capsys, "train", *given, "--seed", "4", "--out", str(tmp_path / "whole"))[0] == 0
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "another"))
    done, backward = [], loop.Training.backward

    def stopped(self, step, chosen):
        if step == 4 and 4 not in done:
            done.append(4)
            raise KeyboardInterrupt
        done.append(step)
        return backward(self, step, chosen)

    monkeypatch.setattr(loop.Training, "backward", stopped)
    status, _, err = run(capsys, "train", *given, "--seed", "4", "--out", str(tmp_path / "model"))
    assert status == 130 and "the same command goes on where it stopped" in err and done == [0, 1, 2, 3, 4]
    assert run(capsys, "train", *given, "--seed", "4", "--out", str(tmp_path / "model"))[0] == 0
    assert done == [0, 1, 2, 3, 4, 4, 5]
    task, models = load_task(str(place / "data")), [Encoder.load(str(tmp_path / n)) for n in ("whole", "model")]
    whole, resumed = (evaluate_grid(task, model, split="dev").values for model in models)
    np.testing.assert_allclose(resumed, whole, atol=1e-6)


def test_train_takes_the_files_settings_and_comes_to_the_same_number(capsys, place, tmp_path):
    given = ["--recipe", str(place / "my.json"), "--task", str(place / "data"), "--model", str(place / "model")]
    status, out, err = run(capsys, "train", *given, "--out", str(tmp_path / "model"))
    assert status == 0 and "6 steps in" in out, err
    task = load_task(str(place / "data"))
    encoder = Encoder.load(str(place / "model"))
    recipe = replace(painted("2dmse-v1", 3, 32), training={"steps": 6, "batch_size": 5, "seed": 3})
    wanted = measure(train_recipe(encoder, task, recipe).encoder, task, "dev").mean(-1)
    there = evaluate_grid(task, Encoder.load(str(tmp_path / "model")), split="dev").values
    np.testing.assert_allclose(there, wanted, atol=1e-6)
    status, out, _ = run(capsys, "train", *given, "--steps", "2", "--out", str(tmp_path / "short"))
    assert "2 steps in" in out  # what is typed wins


def test_lab_prints_the_leaderboard(capsys, place):
    names = [str(place / "my.json"), "all-cells"]
    options = ["--task", str(place / "data"), "--model", str(place / "model")]
    status, out, err = run(capsys, "lab", "--recipes", *names, *options, "--steps", "4", "--batch-size", "5")
    assert status == 0, err
    task, encoder = load_task(str(place / "data")), Encoder.load(str(place / "model"))
    grids = {"whitened start": measure(whitened_start(encoder, task), task, "dev").mean(-1)}
    for name, recipe in (("2dmse-v1", "mine"), ("all-cells", "all-cells")):
        settings = {"steps": 4, "batch_size": 5, "seed": 3 if recipe == "mine" else 0}
        found = train_recipe(encoder, task, painted(name, 3, 32), **settings)
        grids[recipe] = measure(found.encoder, task, "dev").mean(-1)
    table = [line for line in out.splitlines() if line.split("  ")[0] in grids]
    for line, want in zip(table, leaderboard(grids, (8, 16, 32)), strict=True):
        assert line.startswith(want.name)
        assert line[len(want.name) :].split() == [f"{want.mean:.4f}", str(want.won), f"{want.area:.4f}"]


@pytest.mark.parametrize(
    "change, says",
    [
        ({"smapler": "all"}, "no field 'smapler': choose from name, dims, terms, sampler, training"),
        ({"sampler": "some"}, "sampler 'some' is unknown: choose from all, random, staircase"),
        ({"training": {"heads": "shard"}}, "heads 'shard' is unknown: choose from shared, per-layer"),
    ],
)
def test_a_wrong_file_is_said_in_one_line_before_any_work(capsys, place, tmp_path, monkeypatch, change, says):
    monkeypatch.setattr(Encoder, "encode_layers", lambda *a, **k: pytest.fail("it encoded first"))
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(json.loads((place / "my.json").read_text()) | change))
    options = ["--task", str(place / "data"), "--model", str(place / "model")]
    for argv in (["train", "--recipe", str(wrong), "--out", str(tmp_path / "o")], ["lab", "--recipes", str(wrong)]):
        status, out, err = run(capsys, *argv, *options)
        assert (status, out) == (2, "") and err.count("\n") == 1 and says in err and "wrong.json" in err


def test_two_recipes_of_one_name_and_widths_beside_a_file_are_refused(capsys, place, tmp_path):
    options = ["--task", str(place / "data"), "--model", str(place / "model")]
    mine = str(place / "my.json")
    assert "two recipes are called alike" in run(capsys, "lab", "--recipes", mine, mine, *options)[2]
    given = ["--recipe", mine, "--dims", "8,16", "--out", str(tmp_path / "o")]
    assert "leave --dims out" in run(capsys, "train", *given, *options)[2]
