"""A hub that answers, refuses, breaks off or is not there, for sets and for models: each failure names the remedy."""

from __future__ import annotations

import hashlib
import http.server
import json
import resource
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.tasks.load import load_task
from tests.helpers.tiny import save_tiny

SHA = "a" * 40
REFUSED = {401: "GatedRepo", 403: "GatedRepo", 404: "RepoNotFound", 500: "", 503: ""}


@dataclass
class State:
    """What is served, and how: a status in place of every answer, or files that break off after some bytes."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    status: int = 200
    cut: bool = False
    asked: list[str] = field(default_factory=list)


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes, sent: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:sent])
        if sent is not None:
            self.close_connection = True

    def do_GET(self) -> None:
        state, path = self.state, self.path.split("?")[0].strip("/").split("/")
        state.asked.append(self.path)
        if state.status != 200:
            return self.answer(state.status, b"{}", X_Error_Code=REFUSED[state.status])
        if path[0] == "api":
            known = state.files["/".join(path[2:4])]
            if "tree" in path:
                tree = [{"type": "file", "path": n, "size": len(d), "oid": "0" * 40} for n, d in known.items()]
                return self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
            body = {"id": "/".join(path[2:4]), "sha": SHA, "siblings": [{"rfilename": name} for name in known]}
            return self.answer(200, json.dumps(body).encode(), Content_Type="application/json")
        path = path[1:] if path[0] == "datasets" else path
        data = state.files["/".join(path[:2])]["/".join(path[4:])]
        tag = hashlib.sha1(data).hexdigest()
        sent = len(data) // 2 if state.cut and self.command == "GET" else None
        return self.answer(200, data, sent, ETag=f'"{tag}"', X_Repo_Commit=path[3])

    do_HEAD = do_GET


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    from huggingface_hub import constants

    rows = [{"text": f"text {i} " * 200, "label_text": f"intent_{i % 2}"} for i in range(40)]
    table = "".join(json.dumps(row) + "\n" for row in rows).encode()
    model = save_tiny(tmp_path / "model")
    state = State({
        "mteb/banking77": {"train.jsonl": table, "test.jsonl": table},
        "someone/small": {path.name: path.read_bytes() for path in model.iterdir()},
    })  # fmt: skip
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"state": state}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_HUB_OFFLINE", "MRL_DATA", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield state
    server.shutdown()
    server.server_close()


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
    hub: State, monkeypatch: pytest.MonkeyPatch, kind: str, fault: str
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
        assert (LOGIN in str(error.value)) == fault.startswith("gated")
    first = get(kind)
    asked = len(hub.asked)
    for change in (("HF_HUB_OFFLINE", "1"), ("HF_ENDPOINT", "http://127.0.0.1:9")):  # warm: nobody is asked again
        with monkeypatch.context() as patch:
            patch.setenv(*change)
            assert get(kind) == first and len(hub.asked) == asked


@pytest.mark.parametrize("kind", OWN)
def test_a_full_disk_is_no_silent_hub(hub: State, kind: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with pytest.raises(InputError, match=f"(?s)File too large.*free some space.*{OWN[kind]}"):
            get(kind)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert get(kind)
