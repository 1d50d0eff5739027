"""The command line: help is quick, what is wrong is said in one line, and the verbs work on a tiny model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mrl_tutorial import cli, commands
from mrl_tutorial.errors import InputError


def run(capsys, *argv: str) -> tuple[int, str, str]:
    """(exit status, stdout, stderr) of one command."""
    try:
        status = cli.main(list(argv))
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    return status, out, err


def test_help_loads_nothing_heavy():
    code = "import sys, mrl_tutorial.cli; print([m for m in ('numpy', 'torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("verb", ["tasks", "recipes", "evaluate", "train", "search", "bench"])
def test_every_verb_has_help_with_examples_that_parse(capsys, verb):
    status, out, _ = run(capsys, verb, "--help")
    assert status == 0
    import shlex

    examples = [x for x in out.split("examples:")[1].splitlines() if x.strip()]
    assert examples
    for line in examples:
        assert cli.parser().parse_args(shlex.split(line)[1:]).command == verb


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
        ("evaluate --task x --json /no/such/folder/x.json", "/no/such/folder is no folder"),
        ("train --task x --recipe mrl", "--out is missing"),
        ("train --task x --recipe mrl --out o --steps 0", "'0' is no whole number"),
        ("train --task x --recipe mrl --out o --lr nan", "'nan' is no learning rate"),
        ("train --task x --recipe mrl --out o --what head", "did you mean heads"),
        ("search --task x --query q -k 1.5", "'1.5' is no whole number"),
        ("bench gird", "did you mean grid"),
        ("tasks now", "'now' is not an option"),
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
        "import sys; from mrl_tutorial import cli, commands\n"
        "def talk(args):\n  for i in range(100000): print('line', i)\n"
        "commands.tasks = talk\nsys.exit(cli.main(['tasks']))"
    )
    done = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done.stdout.readline()
    done.stdout.close()
    assert (done.stderr.read(), done.wait()) == (b"", 0)


def test_a_place_that_cannot_be_written_is_refused_before_work(tmp_path):
    (tmp_path / "file").write_text("")
    commands.writable(str(tmp_path / "new.json"))
    commands.writable(str(tmp_path / "a" / "b" / "model"), folder=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]
    with pytest.raises(InputError, match="is a folder"):
        commands.writable(str(tmp_path))
    with pytest.raises(InputError, match="is a file"):
        commands.writable(str(tmp_path / "file"), folder=True)
    with pytest.raises(InputError, match="not a folder|cannot write|no folder"):
        commands.writable(str(tmp_path / "file" / "x.json"))


def test_exported_names_resolve():
    import mrl_tutorial

    for name in mrl_tutorial.__all__:
        assert getattr(mrl_tutorial, name) is not None
    assert set(mrl_tutorial.__all__) <= set(dir(mrl_tutorial))
    with pytest.raises(AttributeError, match="no attribute 'Encodr'"):
        mrl_tutorial.Encodr  # noqa: B018
