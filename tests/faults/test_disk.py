"""Disks that are full or read-only, and paths of any characters: nothing is lost, and the remedy is named."""

from __future__ import annotations

import errno
import json
import os
import resource
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrl_tutorial import GridExplorer, files, load_task
from mrl_tutorial.cli.parser import main
from mrl_tutorial.models import encoding
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.training.loop import train
from mrl_tutorial.training.sweep_file import read_sweep
from tests.helpers.tiny import SENTENCES, save_tiny

REMEDY = "free some space, or give another place"


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [f"{a},{b} {i}" for i, a in enumerate(SENTENCES) for b in SENTENCES]
    path.write_text("anchor,positive\n" + "\n".join(rows), encoding="utf-8")
    return path


@contextmanager
def full(limit: int = 1000) -> Iterator[None]:
    """No file can grow beyond `limit` bytes: a real error of the system, in every library that writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def found(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.parametrize(("shard", "limit", "left"), [(encoding.SHARD_TEXTS, 1000, 0), (3, 400, 0), (3, 2000, 4)])
def test_embeddings_that_find_no_room_are_given_all_the_same(encoder, monkeypatch, shard, limit, left):
    """left: shards that found room where the whole did not: they are read again."""
    monkeypatch.setattr(encoding, "SHARD_TEXTS", shard)
    want = encoder.encode_layers(SENTENCES, cache=False)
    refusal = f"not cached: .*npy could not be written .*{REMEDY} as MRL_CACHE"
    with full(limit), pytest.warns(UserWarning, match=refusal):
        np.testing.assert_array_equal(encoder.encode_layers(SENTENCES), want)
    assert len(found(files.cache_dir())) == left
    if left:
        monkeypatch.setattr(encoding, "encode_tokens", None)  # would fail if it were called
    np.testing.assert_array_equal(encoder.encode_layers(SENTENCES), want)
    assert len(found(files.cache_dir())) == 1


def test_what_cannot_be_remembered_is_given_all_the_same():
    values = {"x": np.random.default_rng(0).random(10_000)}
    with full():
        assert (files.remembered("made", "a", lambda: values)["x"] == values["x"]).all()
    assert found(files.cache_dir()) == []


def test_a_model_that_finds_no_room_leaves_the_one_before(encoder, tmp_path):
    folder = encoder.save(tmp_path / "model")
    before = found(tmp_path / "model")
    with full(), pytest.raises(files.NotWritten, match=f"model could not be written .*{REMEDY}"):
        encoder.save(folder)
    assert found(folder) == before and not [p for p in tmp_path.iterdir() if p.name.startswith(".model")]
    np.testing.assert_array_equal(Encoder.load(folder).encode(SENTENCES), encoder.encode(SENTENCES))


@pytest.mark.parametrize("before", [None, '{"old": 1}\n'])
def test_json_that_finds_no_room_leaves_the_file_before(tmp_path, before):
    path = tmp_path / "a.json"
    if before:
        path.write_text(before)
    with full(), pytest.raises(files.NotWritten, match=f"a.json could not be written .*{REMEDY}"):
        files.write_json(path, list(range(10_000)))
    assert found(tmp_path) == (["a.json"] if before else []) and (not before or path.read_text() == before)


def test_training_on_a_full_disk_gives_its_result(encoder, pairs):
    options: dict[str, Any] = {"steps": 3, "batch_size": 8, "what": "heads", "lr": 0.01}
    want = train(encoder, str(pairs), "mrl", cache=False, **options)
    with full(), pytest.warns(UserWarning, match=f"step 3 was not kept: .*{REMEDY} as MRL_CACHE"):
        result = train(encoder, str(pairs), "mrl", **options)
    assert result.history == want.history and result.finished
    assert not [name for name in found(files.cache_dir()) if "run." in name]


def test_the_command_line_says_it_in_one_line_and_a_sweep_goes_on(encoder, pairs, tmp_path, capsys):
    line = ["--task", str(pairs), "--model", str(encoder.folder)]
    with full(200), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(["evaluate", *line, "--json", str(tmp_path / "e.json")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("mrl-tutorial evaluate: ") and "e.json could not be written" in error and REMEDY in error
    out = tmp_path / "s.csv"
    sweep = ["sweep", *line, "--recipes", "mrl", "--what", "heads", "--steps", "2", "--batch-size", "8", "--seeds", "2"]
    sweep += ["--dims", "8,16,32", "--out", str(out)]
    with full(1600), warnings.catch_warnings():  # room for the header and the first runs
        warnings.simplefilter("ignore")
        assert main(sweep) == 2
    assert f"s.csv could not be written (File too large): {REMEDY}" in capsys.readouterr().err
    some = read_sweep(out)[0]
    assert 0 < len(some) < 27
    assert main(sweep) == 0
    whole = read_sweep(out)[0]
    assert len(whole) == 27 and whole[: len(some)].equals(some)
    assert not [name for name in found(tmp_path) if Path(name).name.startswith(".")]


def test_a_read_only_cache_is_no_reason_to_stop(encoder, pairs, monkeypatch, tmp_path):
    options: dict[str, Any] = {"steps": 2, "batch_size": 8, "what": "heads"}
    want = train(encoder, str(pairs), "mrl", cache=False, **options)
    cache, touch = files.cache_dir("embeddings").parent, Path.touch
    for part in ("training", "grids", "explorer"):
        files.cache_dir(part)

    def read_only(path, *arguments, **given):
        if cache in path.parents:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        touch(path, *arguments, **given)

    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.warns(UserWarning, match="could not be written .*: give a place that can be written as MRL_CACHE"):
        assert train(encoder, str(pairs), "mrl", **options).history == want.history
    assert (files.remembered("grids", "a", lambda: {"x": np.arange(3)})["x"] == [0, 1, 2]).all()
    searched = load_task(pairs).as_retrieval("all")
    assert GridExplorer(searched, encoder, split="all").state["dim"] == encoder.width


@pytest.mark.parametrize("name", ["with a space", "日本語 ü Ω", "[a]{b}*%s", "-dash", "a'quote\"", "dots.and.gz"])
def test_paths_of_any_characters(tmp_path, name, monkeypatch, capsys):
    place = tmp_path / name
    place.mkdir()
    monkeypatch.setenv("MRL_CACHE", str(place / "cache"))
    (place / f"{name}.csv").write_text("anchor,positive\n" + "\n".join(f"{a},{a} row" for a in SENTENCES), "utf-8")
    task, model, out = str(place / f"{name}.csv"), str(save_tiny(place / name)), place / f"{name} out"
    line = ["--task", task, "--model", model]
    small = ["--steps", "2", "--batch-size", "3"]
    assert main(["train", *line, "--recipe", "mrl", *small, "--out", str(out)]) == 0
    target = place / f"{name}.json"
    assert main(["evaluate", "--task", task, "--model", str(out), "--dims", "8", "--json", str(target)]) == 0
    assert json.loads(target.read_text("utf-8"))["task"] == name
    assert main(["export", "--model", str(out), "--layer", "2", "--dim", "16", "--out", str(place / "e x")]) == 0
    capsys.readouterr()
