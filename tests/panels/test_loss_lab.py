"""The loss lab: what the browser shows is what Python measured, and every button does what it says."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import leaderboard, paired_cells
from mrl_tutorial.losses import term
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels import loss_lab
from mrl_tutorial.panels.loss_lab import START, LossLab
from mrl_tutorial.panels.packing import unpack
from mrl_tutorial.recipes.recipe_file import RecipeFile
from mrl_tutorial.training import lab
from mrl_tutorial.training.lab import LabStore, measure, train_recipe
from tests.helpers.tiny import save_tiny
from tests.helpers.web import fixed, shown
from tests.training.test_lab import task as task

FEW = {"steps": 4}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.load(str(save_tiny(tmp_path_factory.mktemp("model") / "bert")), device="cpu")


@pytest.fixture
def panel(encoder, task, tmp_path):
    return LossLab(task, encoder, store=LabStore(tmp_path / "runs"), steps=4)


def wait(panel):
    """Until the queue is empty: without an event loop the callbacks run on the worker's thread."""
    while (job := panel._job) is not None:
        job.join(60)
        assert not job.is_alive()


def painting(panel, layer, weight=1.0):
    grid = np.zeros((3, 3))
    grid[layer - 1] = weight
    return {"terms": [{"term": "main", "weights": grid.tolist()}], "sampler": "all"}


def test_training_shows_a_run_that_is_what_the_command_line_trains(panel, encoder, task, tmp_path):
    panel.set(name="last row", recipe=painting(panel, 3))
    panel.on_train(panel.state)
    wait(panel)
    assert panel.status == {} and panel.state["run"] == "last row" and panel.state["against"] == START
    panel.recipe("last row").write(tmp_path / "my.json")
    here = panel.runs[-1].dev
    there = measure(train_recipe(encoder, task, RecipeFile.read(tmp_path / "my.json")).encoder, task, "dev")
    np.testing.assert_allclose(here.mean(-1), there.mean(-1), atol=1e-6)


def test_what_the_browser_shows_is_what_was_measured(panel):
    panel.train("first", preset="all-cells")
    panel.train("second", preset="mrl", seed=1)
    runs = {run.name: run for run in panel.runs}
    states = [{"run": a, "against": b} for a in runs for b in runs]
    board = leaderboard({name: run.dev.mean(-1) for name, run in runs.items()}, (8, 16, 32))
    for state, found in zip(states, shown(panel, states), strict=True):
        one, other = runs[state["run"]], runs[state["against"]]
        at, text = found["shown"], found["text"]
        assert [line["name"] for line in at["board"]] == [line.name for line in board]
        for line, want in zip(at["board"], board, strict=True):
            np.testing.assert_allclose([line["mean"], line["won"], line["area"]], want[1:], atol=1e-4)
        np.testing.assert_allclose(at["run"]["quality"]["values"], one.dev.mean(-1).ravel(), rtol=1e-6)
        np.testing.assert_allclose(at["lines"][0]["values"], one.dev.mean(-1).max(0), rtol=1e-6)
        assert fixed(one.dev.mean(-1).mean(), 3) in at["headline"]
        if one is other:
            assert at["against"] is None and "Choose another run" in text
            continue
        want = paired_cells(one.dev, other.dev)
        got = np.stack([at["against"][key]["values"] for key in ("mean", "low", "high")], -1).reshape(3, 3, 3)
        np.testing.assert_allclose(got, want, atol=1e-6)
        better, worse = int((want[..., 1] > 0).sum()), int((want[..., 2] < 0).sum())
        assert f"▲ better in {better} cells, ▼ worse in {worse}" in text
        assert text.count("▲") == better + 1 and text.count("▼") == worse + 1
        assert f"against {other.name}" in at["headline"]


def test_quality_is_compared_with_the_time_of_a_query_too(panel):
    panel.train("first", preset="all-cells")
    (found,) = shown(panel, [{"price": "encoding", "run": "first"}])
    assert found["shown"]["costs"] == pytest.approx([100 / 3, 200 / 3, 100])  # each of three layers costs the same
    best = [max(row) for row in panel.runs[-1].dev.mean(-1)]  # of all widths, after each layer
    np.testing.assert_allclose(found["shown"]["lines"][0]["values"], best, rtol=1e-6)
    assert "the best width after each layer" in found["text"] and "% of all layers" in found["text"]


def test_runs_are_there_in_another_lab_and_can_be_deleted(panel, encoder, task):
    panel.train("kept", preset="mrl")
    other = LossLab(task, encoder, store=panel.store)
    assert [run.name for run in other.runs] == [START, "kept"]
    other.train("kept", preset="all-cells", steps=4)  # the same name in another lab
    panel.on_reload(panel.state)
    assert [run.name for run in panel.runs] == [START, "kept", "kept (2)"]
    panel.on_delete({**panel.state, "run": "kept"})
    assert [run.name for run in panel.store.load()] == ["kept"]
    with pytest.raises(InputError, match="it stays"):
        panel.on_delete({**panel.state, "run": START})


def test_test_is_measured_once_and_only_on_request(panel, encoder, task, monkeypatch):
    panel.train("mine", preset="mrl")
    assert all(run.test is None for run in panel.runs)
    panel.on_test(panel.state)
    wait(panel)
    trained = train_recipe(encoder, task, panel.recipe("mine")).encoder
    np.testing.assert_allclose(panel.runs[-1].test, measure(trained, task, "test"), atol=1e-6)
    (found,) = shown(panel, [{}])
    assert f"{panel.runs[-1].test.mean():.3f}" in found["text"] and "measured once" in found["text"]
    assert panel.store.load()[0].test is not None
    monkeypatch.setattr(lab, "measure", None)  # a second request measures nothing
    panel.on_test(panel.state)
    assert panel._job is None and panel.status == {}


def lengths(power):
    @term("length")
    def length(batch, layers, dims):
        return torch.stack([batch.query_rows(layers)[..., :d].pow(power).mean((1, 2)) for d in dims], 1)

    return length


@pytest.mark.parametrize("own", [False, True])
def test_confirm_trains_the_whole_model_beside_the_preview_and_resumes(panel, tmp_path, monkeypatch, own):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(lab.CONFIRM, "steps", 6)
    monkeypatch.setitem(lab.CONFIRM, "batch_size", 5)
    if own:
        monkeypatch.setattr(sys.modules["__main__"], "length", lengths(2), raising=False)
        added = [{"term": "length", "weights": [[1.0] * 3] * 3}]
        panel.train("mine", recipe={"terms": [*painting(panel, 3)["terms"], *added], "sampler": "all"})
    else:
        panel.train("mine", preset="mrl")
    steps, before = [], lab.train

    def counted(*args, on_step=None, **options):
        def step(i, n, loss):
            steps.append(i)
            return on_step(i, n, loss) and len(steps) != 3

        return before(*args, on_step=step, **options)

    monkeypatch.setattr(lab, "train", counted)
    panel.on_confirm(panel.state)
    wait(panel)
    assert steps == [1, 2, 3] and [run.name for run in panel.runs] == [START, "mine"]
    assert "goes on where it stopped" in panel.status["label"]
    if own:  # as in another session: the same function, made anew
        monkeypatch.setattr(sys.modules["__main__"], "length", lengths(2), raising=False)
    panel.on_confirm(panel.state)
    wait(panel)
    assert steps == [1, 2, 3, 4, 5, 6] and panel.runs[-1].name == "mine, full" and panel.runs[-1].full
    with pytest.raises(InputError, match="is not a preview"):
        panel.on_confirm(panel.state)


def test_a_few_full_steps_are_a_preview_too_and_can_be_confirmed(panel, encoder, task, tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    run = panel.train("mine", preset="mrl", heads="none", steps=50, seed=3)  # the steps are those of the preview
    assert run.recipe.training == {**lab.PREVIEW, **lab.QUICK, "seed": 3, "lr": 1e-4}
    trained = train_recipe(encoder, task, panel.recipe("mine")).encoder
    np.testing.assert_allclose(run.dev, measure(trained, task, "dev"), atol=1e-6)
    assert not np.array_equal(trained.encode_layers(["a text"]), encoder.encode_layers(["a text"]))
    monkeypatch.setitem(lab.CONFIRM, "steps", 6)
    panel.on_confirm(panel.state)
    wait(panel)
    assert panel.runs[-1].name == "mine, full" and panel.recipe("mine, full").training["steps"] == 6


def test_what_cannot_be_trained_is_said(panel):
    for recipe, says in (
        ({"terms": [], "sampler": "all"}, "nothing is painted"),
        (painting(panel, 1, 0.0), "nothing is painted"),
        ({"terms": [{"term": "gone", "weights": [[1.0] * 3] * 3}], "sampler": "all"}, "no term 'gone' is defined"),
    ):
        panel._receive({"ask": "train", "state": {**panel.state, "recipe": recipe}})
        assert says in panel.status["error"] and panel._job is None
    panel._receive({"ask": "train", "state": {**panel.state, "name": " "}})
    assert "is not a name" in panel.status["error"]


def test_a_term_of_your_own_is_picked_up_by_name(panel, monkeypatch):
    def make(value):
        @term("length")
        def length(batch, layers, dims):
            return value(torch.stack([batch.query_rows(layers)[..., :d].pow(2).mean((1, 2)) for d in dims], 1))

        monkeypatch.setattr(sys.modules["__main__"], "length", length, raising=False)

    (found,) = shown(panel, [{"own": "length"}])
    assert found["missing"] == {"ask": "own", "name": "length"}
    panel._receive({"ask": "own", "name": "length"})
    assert "run a cell with @mrl.term" in panel.status["error"]
    make(lambda x: x[0])
    panel._receive({"ask": "own", "name": "length"})
    assert "expected shape (3, 3)" in panel.status["error"]
    make(lambda x: x)
    panel._receive({"ask": "own", "name": "length"})
    (found,) = shown(panel, [{"own": "length"}])
    assert found["missing"] is None and "length" in found["text"]
    recipe = {"terms": [{"term": "length", "weights": [[1.0] * 3] * 3}], "sampler": "all"}
    panel.train("mine", recipe=recipe)
    assert [one["term"] for one in panel.runs[-1].recipe.terms] == ["length"]
    make(lambda x: x * float("inf"))  # the cell was changed and run again
    panel._receive({"ask": "train", "state": panel.state})
    assert "NaN or infinite" in panel.status["error"]


def test_a_run_that_cannot_be_saved_is_shown_and_said(panel, monkeypatch):
    panel.train("kept", preset="mrl")

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lab, "save_file", full)
    panel.train("lost", preset="all-cells")
    assert panel.state["run"] == "lost" and "was not saved" in panel.status["error"]
    assert [run.name for run in panel.store.load()] == ["kept"]


def test_a_painting_is_seen_undone_and_exported(panel):
    panel.train("mine", recipe=painting(panel, 2, 3.0))
    (found,) = shown(panel, [{}])
    assert found["shown"]["weights"] == [0, 0, 0, 3, 3, 3, 0, 0, 0]
    text = found["text"]
    assert "Undo" in text and 'mrl.RecipeFile.read("mine.json")' in text and "mrl-tutorial train --recipe" in text
    written = json.loads(found["shown"]["run"]["json"])
    assert RecipeFile.of(written) == panel.recipe("mine") and written["training"]["steps"] == 4


def test_the_kernel_stays_free_while_the_browser_sees_losses_and_the_grid_fill_in(panel):
    seen, turns = [], []
    panel.observe(lambda change: seen.append({k: unpack(v)["live"] for k, v in change["new"].items()}), "more")

    async def kernel():
        panel.on_train({**panel.state, "steps": 60})
        panel.on_train({**panel.state, "name": "second"})  # waits for the first
        while panel._job is not None:
            turns.append(panel.status.get("label", ""))
            await asyncio.sleep(0.002)

    asyncio.run(kernel())
    assert [run.name for run in panel.runs] == [START, "mine", "second"] and panel.status == {}
    lives = [found["live"] for found in seen if found]
    assert len(turns) > 20 and any("1 waiting" in label for label in turns)
    lengths = [len(live["losses"]["main"]) for live in lives if live["name"] == "mine"]
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1] == 60
    filled = [int(np.isfinite(live["quality"]).sum()) for live in lives if live["name"] == "mine"]
    assert filled[0] == 0 and filled == sorted(filled) and panel.more == {}
    (found,) = shown(panel, [{}])
    assert found["shown"]["live"] is None


def test_a_term_may_be_called_by_its_variable(panel, monkeypatch):
    @term("length")
    def short(batch, layers, dims):
        return torch.stack([batch.query_rows(layers)[..., :d].pow(2).mean((1, 2)) for d in dims], 1)

    monkeypatch.setattr(sys.modules["__main__"], "short", short, raising=False)
    panel._receive({"ask": "own", "name": "short"})
    (found,) = shown(panel, [{"own": "short"}])
    assert found["missing"] is None and [one["term"] for one in found["shown"]["rows"]][-1] == "length"


def test_a_cell_that_trains_while_the_button_does_is_refused_and_loses_nothing(panel):
    panel.on_train({**panel.state, "name": "button", "steps": 40})
    with pytest.raises(InputError, match="the Train button is still at work"):
        panel.train("cell", preset="mrl")
    wait(panel)
    assert [run.name for run in panel.runs] == [START, "button"]
    assert panel.train("cell", preset="mrl", steps=2).name == "cell"


def test_a_canceled_training_keeps_nothing(panel, monkeypatch):
    monkeypatch.setattr(lab, "train_recipe", lambda *args, **options: type("Result", (), {"finished": False}))
    panel.on_train(panel.state)
    wait(panel)
    assert len(panel.runs) == 1 and panel.status["label"].startswith("canceled")


def grids(panel):
    return {one["term"]: np.asarray(one["weights"]) for one in panel.state["recipe"]["terms"]}


def test_presets_and_layer_weights_paint_from_python_as_from_the_menu(encoder, task, tmp_path):
    panel = LossLab(task, encoder, store=LabStore(tmp_path / "runs"), preset="mrl", steps=4)
    mrl = np.outer([0, 0, 1], [1, 1, 1])
    np.testing.assert_array_equal(grids(panel)["main"], mrl)
    assert (panel.state["preset"], panel.state["layers"], panel.state["past"]) == ("mrl", "", [])
    panel.set(preset="all-cells", layers="linear")
    np.testing.assert_allclose(grids(panel)["main"], np.outer([1, 2, 3], [1, 1, 1]) / 3, atol=1e-4)
    assert (panel.state["preset"], panel.state["layers"]) == ("painted", "linear")
    np.testing.assert_array_equal(panel.state["past"][-1]["terms"][0]["weights"], mrl)
    (found,) = shown(panel, [{}])
    np.testing.assert_allclose(found["shown"]["weights"], grids(panel)["main"].ravel())
    panel.set(recipe=painting(panel, 2, 0.3), layers="linear")  # in place of what was painted, as in the menu
    panel.set(layers="inverse")
    np.testing.assert_allclose(grids(panel)["main"], np.outer([0, 0.5, 0], [1, 1, 1]), atol=1e-4)
    panel.set(recipe=painting(panel, 2))
    assert (panel.state["preset"], panel.state["layers"], len(panel.state["past"])) == ("painted", "", 4)
    for wrong in ({"preset": "mlr"}, {"layers": "linaer"}, {"layer": 99}, {"dim": 100}, {"steps": None}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} cannot be .*(choose from|give a number)"):
            panel.set(**wrong)
    with pytest.raises(InputError, match="preset cannot be 'mlr'"):
        panel.train("mine", preset="mlr")


def test_losses_are_shown_where_a_step_samples_none_of_a_terms_cells(panel):
    low = {"term": "kl-scores", "weights": np.outer([1, 0, 0], [1, 0, 0]).tolist()}
    main = {"term": "main", "weights": np.ones((3, 3)).tolist()}
    seen = []
    panel.observe(lambda change: seen.extend(unpack(v)["live"] for v in change["new"].values()), "more")
    panel.set(recipe={"terms": [main, low], "sampler": "random"}, steps=30)
    panel.on_train(panel.state)
    wait(panel)
    lines = seen[-1]["losses"]
    assert panel.status == {} and len(lines["kl-scores"]) == len(lines["main"]) == 30
    assert all(x is None or np.isfinite(x) for x in lines["kl-scores"]) and lines["kl-scores"][-1] is not None


def test_what_failed_is_still_said_when_the_next_one_trains(panel, monkeypatch):
    monkeypatch.setattr(lab, "save_file", lambda *args, **options: exec("raise OSError(28, 'No space left on device')"))
    said = []
    panel.observe(lambda change: said.append(dict(change["new"])), "status")
    panel._receive({"ask": "train", "state": {**panel.state, "name": "first"}})
    panel._receive({"ask": "train", "state": {**panel.state, "name": "second"}})
    wait(panel)
    assert any("first" in one.get("error", "") and "second" in one.get("label", "") for one in said)
    assert "was not saved" in panel.status["error"]
    panel._receive({"ask": "reload", "state": panel.state})  # runs that no disk holds stay
    assert [run.name for run in panel.runs] == [START, "first", "second"] and panel.status == {}
    panel._receive({"ask": "delete", "state": {**panel.state, "run": "first"}})
    panel._receive({"ask": "reload", "state": panel.state})
    assert [run.name for run in panel.runs] == [START, "second"]


@pytest.mark.parametrize("name", ['a"b', "mine\\yours", "α/β"])
def test_what_is_taken_along_runs(panel, tmp_path, monkeypatch, name):
    panel.train(name, preset="mrl")
    run = unpack(panel.tables)["runs"][name]
    (tmp_path / run["file"]).write_text(run["json"], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    compile(run["code"], "code", "exec")
    trained = train_recipe(panel.encoder, panel.task, RecipeFile.read(run["file"])).encoder
    np.testing.assert_allclose(measure(trained, panel.task, "dev").mean(), panel.runs[-1].dev.mean(), atol=1e-6)
    assert f'Encoder.load("{panel.encoder.folder}")' in run["code"] and "terms=" not in run["code"]
    panel.train(
        "fixed",
        recipe={"terms": [{**painting(panel, 3)["terms"][0], "options": {"fixed_document": True}}], "sampler": "all"},
    )
    assert "fixed_document=True" in unpack(panel.tables)["runs"]["fixed"]["code"]
    monkeypatch.setattr(sys.modules["__main__"], "length", lengths(2), raising=False)
    panel.train("own", recipe={"terms": [{"term": "length", "weights": [[1.0] * 3] * 3}], "sampler": "all"})
    assert "terms=[…]).encoder  # …: the functions of length\n" in unpack(panel.tables)["runs"]["own"]["code"]


def test_a_variable_that_is_no_term_is_said(panel, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "numbers", np.arange(3), raising=False)
    panel._receive({"ask": "own", "name": "numbers"})
    assert "is not a term" in panel.status["error"]


def test_a_test_that_is_canceled_is_not_shown(panel, monkeypatch):
    panel.train("mine", preset="mrl", steps=40)
    panel._receive({"ask": "test", "state": panel.state})
    panel.on_cancel()
    wait(panel)
    assert panel.runs[-1].test is None and panel.status["label"].startswith("canceled")


def test_what_the_panel_says_of_its_previews_is_what_the_ledger_has():
    said = files.data_file("ledger.csv").read_text(encoding="utf-8")
    shared, low_high = (
        re.search(rf"{name}, all 42 cells: tau (\S+) \[\+?(\S+), \+?(\S+)\]", said)
        for name in ("shared heads", "4 full steps")
    )
    assert shared is not None and low_high is not None
    script = (Path(loss_lab.__file__).parent / "web" / "lab.js").read_text(encoding="utf-8")
    assert f"(Kendall's tau {shared[1]} with full training)" in script
    assert f"({low_high[1]}, 95 % interval {low_high[2]} to {low_high[3]})" in script
