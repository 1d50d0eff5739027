"""Ctrl-C at every stage of train, evaluate and sweep: status 130, no half files, and the same command then goes on."""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mrl_tutorial.cli.parser import main
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.training.sweep_file import read_sweep
from tests.helpers.tiny import SENTENCES, save_tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch, tmp_path):
    """The arguments of each verb, on a small file and model; `out` is what it writes."""
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    model, pairs = save_tiny(tmp_path / "tiny"), tmp_path / "pairs.csv"
    rows = [f"{a},{b} {i}" for i, a in enumerate(SENTENCES) for b in SENTENCES]
    pairs.write_text("anchor,positive\n" + "\n".join(rows), encoding="utf-8")
    line = ["--task", str(pairs), "--model", str(model)]
    budget = ["--steps", "4", "--batch-size", "8", "--lr", "0.01"]
    verbs = {
        "evaluate": ["evaluate", *line, "--json"],
        "train": ["train", *line, "--recipe", "mrl", *budget, "--out"],
        "sweep": ["sweep", *line, "--recipes", "mrl", "--what", "heads", "--seeds", "2", *budget, "--out"],
    }
    return lambda verb, out: [*verbs[verb], str(out)]


@pytest.fixture(autouse=True)
def heard():
    """A job in the background ignores SIGINT, and so would its tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def result(verb, out):
    """What a verb wrote, without how long it took."""
    if verb == "evaluate":
        return {name: value for name, value in json.loads(out.read_text("utf-8")).items() if name != "seconds"}
    if verb == "sweep":
        return read_sweep(out)[0].drop(columns="seconds").fillna("none").to_dict()
    notes = json.loads((out / "train.json").read_text("utf-8"))
    return notes["steps"], notes["history"], Encoder.load(out).fingerprint()


def halves(folder):
    return list(folder.rglob(".*"))


#: what is running when Ctrl-C comes: a function of a module, and which of its calls
STAGES = [
    (verb, *stage)
    for verb, stages in {
        "evaluate": [
            ("mrl_tutorial.models.encoder", "Encoder.load", 1),
            ("mrl_tutorial.tasks.folders", "read_table", 1),
            ("mrl_tutorial.models.layers", "pad", 1),
            ("mrl_tutorial.models.layers", "pad", 2),
            ("numpy.lib.format", "write_array_header_1_0", 1),
            ("mrl_tutorial.evaluation.quality", "_fill", 1),
            ("json", "dumps", -1),
            ("os", "replace", 1),
            ("os", "replace", 2),
            ("os", "replace", -1),
        ],
        "train": [
            ("mrl_tutorial.tasks.folders", "read_table", 1),
            ("mrl_tutorial.models.layers", "pad", 1),
            ("mrl_tutorial.training.loop", "make_batch", 1),
            ("mrl_tutorial.training.loop", "make_batch", 3),
            ("mrl_tutorial.training.checkpoints", "save_file", 1),
            ("mrl_tutorial.models.encoder", "save_heads", 1),
            ("os", "replace", -1),
            ("os", "replace", -2),
        ],
        "sweep": [
            ("mrl_tutorial.training.loop", "make_batch", 2),
            ("mrl_tutorial.training.loop", "make_batch", 6),
            ("mrl_tutorial.training.sweep", "evaluate_grid", 2),
            ("mrl_tutorial.training.sweep", "write", 1),
            ("mrl_tutorial.training.sweep", "write", 3),
            ("os", "replace", -1),
        ],
    }.items()
    for stage in stages
]


def counted(monkeypatch, where, name, stop=None):
    """Count the calls of a function, and press Ctrl-C at the beginning of call number `stop`."""
    owner, calls = importlib.import_module(where), []
    for part in name.split(".")[:-1]:
        owner = getattr(owner, part)
    real = getattr(owner, name.split(".")[-1])

    def function(*arguments, **options):
        calls.append(1)
        if len(calls) == stop:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name.split(".")[-1], function)
    return calls


@pytest.mark.parametrize(("verb", "where", "name", "call"), STAGES)
def test_ctrl_c_at_every_stage(command, tmp_path, monkeypatch, capsys, verb, where, name, call):
    want = tmp_path / "want.csv"
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "other"))
    with monkeypatch.context() as patch:
        calls = counted(patch, where, name)
        assert main(command(verb, want)) == 0
    stop = call if call > 0 else len(calls) + 1 + call
    assert 1 <= stop <= len(calls), "the stage is never reached"
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out.csv"
    with monkeypatch.context() as patch:
        counted(patch, where, name, stop)
        assert main(command(verb, out)) == 130
    assert f"mrl-tutorial {verb}: stopped" in capsys.readouterr().err
    assert halves(tmp_path) == []
    if verb == "evaluate":
        assert not out.exists()
    if verb == "sweep" and out.exists():
        assert len(read_sweep(out)[0]) % 9 == 0
    with monkeypatch.context() as patch:
        again = counted(patch, where, name)
        assert main(command(verb, out)) == 0
    if name == "make_batch":
        assert len(again) == len(calls) - (stop - 1), "a step that was done is done again"
    assert result(verb, out) == result(verb, want) and halves(tmp_path) == []


SMALL = """
import sys
from mrl_tutorial.cli import main
assert main(sys.argv[1:]) == 0
# not getrusage, which counts what the parent had before exec as well
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say how much was used")
def test_one_thread_and_a_gigabyte_are_enough(command, tmp_path):
    """With no more than 1 GB of memory of its own, on one thread; the figure is what the system counts as resident."""
    gigabyte = 2**30

    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (gigabyte, gigabyte))

    done = subprocess.run(
        [sys.executable, "-c", SMALL, *command("train", tmp_path / "out")], preexec_fn=limit, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) * 1024 < gigabyte, done.stdout.splitlines()[-1]
    assert np.isfinite(Encoder.load(tmp_path / "out").encode(SENTENCES)).all()
