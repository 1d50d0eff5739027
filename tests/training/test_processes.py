"""Two processes, really launched, against one: the same losses and gradients, and checkpoints that are not mixed up."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import launch_command_parser
from safetensors.torch import load_file

from mrl_tutorial.cli import parser
from mrl_tutorial.errors import InputError
from mrl_tutorial.training import memory
from mrl_tutorial.training.loop import train
from tests.training import worker
from tests.training.test_training import pairs_task

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "tests.training.worker",
]  # fmt: skip


def test_two_processes_give_the_loss_and_the_gradient_of_one(encoder, tmp_path):
    out, alone = tmp_path / "found.safetensors", worker.results(encoder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*LAUNCH, str(encoder.folder), str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    together = load_file(out)
    assert together.keys() == alone.keys() and len(alone) == 4 * len(worker.RECIPES)
    for name, want in alone.items():
        assert want.abs().max() > 1e-3, name
        assert torch.linalg.norm(together[name] - want) <= 1e-6 * torch.linalg.norm(want), name
    # the run that they left half-way is in the cache: one process does not go on with it
    options = {"steps": 4, "batch_size": 6, "precision": "fp32"}
    with pytest.raises(InputError, match=r"begun in 2 processes, not 1: go on with 2, or .* delete .*run\.safetensors"):
        train(encoder, pairs_task(), "mrl", **options)
    assert train(encoder, pairs_task(), "mrl", seed=1, **options).finished


def test_processes_of_one_machine_share_its_memory(encoder, monkeypatch):
    monkeypatch.setattr(memory, "memory_left", lambda: 10**9)
    whole = memory.tokens_that_fit(encoder.model.config, 3, 64)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory.tokens_that_fit(encoder.model.config, 3, 64) == pytest.approx(whole / 4, abs=1)


def test_the_launch_commands_of_the_documents_parse():
    text = (ROOT / "USING.md").read_text(encoding="utf-8")
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^accelerate launch .*$", text, re.M)]
    assert len(commands) >= 3
    for command in commands:
        launched = launch_command_parser().parse_args(command[2:])
        assert launched.module and launched.training_script == "mrl_tutorial" and launched.num_processes > 1
        given = parser.parser().parse_args(launched.training_script_args)
        assert given.command == "train" and given.what == "full" and given.rows is None
