"""A hub that answers, refuses, breaks off or is not there, for sets and for models: each failure names the remedy."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.tasks.load import load_task
from tests.helpers.hub import Hub, standing_in
from tests.helpers.tiny import save_tiny


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    rows = [{"text": f"text {i} " * 200, "label_text": f"intent_{i % 2}"} for i in range(40)]
    table = "".join(json.dumps(row) + "\n" for row in rows).encode()
    with standing_in(tmp_path, monkeypatch) as server:
        server.files["mteb/banking77"] = {"train.jsonl": table, "test.jsonl": table}
        server.add("someone/small", save_tiny(tmp_path / "model"))
        yield server


def get(kind: str) -> str:
    """What is asked of the hub, as a key of what came."""
    if kind == "set":
        return str(load_task("banking77").fingerprint())
    return Encoder.load("someone/small").fingerprint()


OWN = {"set": r"put the files in \$MRL_DATA/banking77", "model": "give a folder that holds config.json"}
LOGIN = "hf auth login, or set HF_TOKEN"
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "not there": ({"status": 404}, "", "404"),
    "gated, not logged in": ({"status": 401}, "", LOGIN),
    "gated, not granted": ({"status": 403}, "", LOGIN),
    "out of order": ({"status": 500}, "", "500"),
    "overloaded": ({"status": 503}, "", "503"),
    "a transfer is cut": ({"cut": True}, "", ""),
    "no network": ({}, "http://127.0.0.1:9", ""),
    "offline": ({}, "offline", "HF_HUB_OFFLINE"),
}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_names_the_remedy_and_the_next_try_succeeds(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, kind: str, fault: str
) -> None:
    changes, elsewhere, says = FAULTS[fault]
    with monkeypatch.context() as patch:
        for name, value in changes.items():
            patch.setattr(hub, name, value)
        patch.setattr("time.sleep", lambda seconds: None)  # the client waits before it tries again
        if elsewhere:
            patch.setenv(*(("HF_HUB_OFFLINE", "1") if elsewhere == "offline" else ("HF_ENDPOINT", elsewhere)))
        with pytest.raises(InputError, match=OWN[kind]) as error:
            get(kind)
        assert says in str(error.value) and "\n" not in str(error.value)
        assert ("broken off" in str(error.value)) == (fault == "a transfer is cut" and kind == "set")
        assert (LOGIN in str(error.value)) == fault.startswith("gated")
    first = get(kind)
    asked = len(hub.asked)
    for change in (("HF_HUB_OFFLINE", "1"), ("HF_ENDPOINT", "http://127.0.0.1:9")):  # warm: nobody is asked again
        with monkeypatch.context() as patch:
            patch.setenv(*change)
            assert get(kind) == first and len(hub.asked) == asked


@pytest.mark.parametrize("kind", OWN)
def test_a_full_disk_is_no_silent_hub(hub: Hub, kind: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(InputError, match=f"(?s)File too large.*free some space.*{OWN[kind]}"):
            get(kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert get(kind)
