"""`mrl-tutorial doctor`: every fault that it looks for is named with its remedy, and a sound machine passes."""

from __future__ import annotations

import socket
from importlib import metadata

import pytest

from mrl_tutorial.cli import doctor, parser


def lines(capsys) -> dict[str, str]:
    return {line[5:27].strip(): line for line in capsys.readouterr().out.splitlines() if line[:4].strip()}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_a_sound_machine_passes(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    assert parser.main(["doctor"]) == 0
    found = lines(capsys)
    assert {"Python", "packages", "memory", "threads", "device", "cache", "default encoder", "panels"} <= set(found)
    assert all(line.startswith(("ok", "note")) for line in found.values() if not line.startswith("the course"))
    assert str(tmp_path) in found["cache"] and found["hub"].startswith("note")


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch, capsys):
    version = metadata.version

    def without(name):
        if name in ("anywidget", "torch"):
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "scipy" else version(name)

    monkeypatch.setattr(metadata, "version", without)
    found = {one.what: one for one in doctor.packages()}
    assert found["packages"].state == "fix" and "torch>=" in found["packages"].found
    assert "scipy>=" in found["packages"].found and "numpy" not in found["packages"].found
    assert "anywidget" in found["packages [notebooks]"].found
    assert found["packages [notebooks]"].remedy == 'pip install "mrl-tutorial[notebooks]"'
    assert parser.main(["doctor"]) == 2
    assert "2 things to fix" in capsys.readouterr().err


@pytest.mark.parametrize("free, state", [(1e9, "fix"), (2e9, "ok"), (None, "note")])
def test_memory(monkeypatch, free, state):
    monkeypatch.setattr("mrl_tutorial.training.memory.memory_left", lambda: free)
    assert doctor.memory().state == state


def test_a_cache_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "file" / "cache"))
    found = doctor.cache()
    assert found.state == "fix" and "MRL_CACHE" in found.remedy


def test_a_cache_on_a_full_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: type("Disk", (), {"free": 1e8})())
    found = doctor.cache()
    assert found.state == "fix" and "0.1 GB free" in found.found and "loses nothing" in found.remedy


def test_panels_that_cannot_be_made(monkeypatch):
    monkeypatch.setattr("mrl_tutorial.panels.panel.pack", lambda value: 1 / 0)
    found = doctor.widgets()
    assert found.state == "fix" and "ZeroDivisionError" in found.found and "notebooks" in found.remedy


def test_a_hub_that_answers_and_one_that_does_not(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert doctor.hub().state == "ok"
    for place in (None, "http://127.0.0.1:abc"):
        if place:
            monkeypatch.setenv("HF_ENDPOINT", place)
        found = doctor.hub()
        assert found.state == "note" and "does not answer" in found.found and "MRL_DATA" in found.remedy
    monkeypatch.setenv("HF_HUB_OFFLINE", "true")
    assert "switched off" in doctor.hub().found
