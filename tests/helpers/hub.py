"""A stand-in for the Hugging Face hub on loopback: the part of its API that huggingface_hub and datasets ask for."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SHA = "a" * 40
REFUSED = {401: "GatedRepo", 403: "GatedRepo", 404: "RepoNotFound", 500: "", 503: ""}


@dataclass
class Hub:
    """files: repository -> path -> content, None for one that is listed and not given. status: in place of every
    answer. cut: files break off after half of their bytes. asked: the paths asked for."""

    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: int = 200
    cut: bool = False
    asked: list[str] = field(default_factory=list)

    def add(self, repository: str, folder: Path) -> None:
        """Serve a folder."""
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        self.files[repository] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes, sent: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
        if sent is not None:
            self.close_connection = True

    def json(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        hub, path = self.hub, self.path.split("?")[0].strip("/").split("/")
        hub.asked.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if hub.status != 200:
            return self.answer(hub.status, b"{}", X_Error_Code=REFUSED[hub.status])
        if path[0] == "api":
            repository, what, revision = "/".join(path[2:4]), path[4:5], path[-1] if len(path[-1]) == len(SHA) else SHA
            known = hub.files.get(repository)
            if known is None:
                return self.answer(404, b"{}", X_Error_Code="RepoNotFound")
            if what in (["tree"], ["paths-info"]):
                found = {name: data or b"" for name, data in known.items()}
                return self.json([
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in found.items()
                ])  # fmt: skip
            return self.json({"id": repository, "sha": revision, "siblings": [{"rfilename": name} for name in known]})
        path = path[1:] if path[0] == "datasets" else path
        data = hub.files.get("/".join(path[:2]), {}).get("/".join(path[4:]))
        if data is None or path[2] != "resolve":
            return self.answer(404, b"{}", X_Error_Code="EntryNotFound")
        sent = len(data) // 2 if hub.cut and self.command == "GET" else None
        return self.answer(200, data, sent, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=path[3])

    do_HEAD = do_POST = do_GET


@contextmanager
def standing_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub without repositories, and empty caches in `place`."""
    from huggingface_hub import constants

    hub = Hub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_HUB_OFFLINE", "HF_TOKEN", "MRL_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place / "hf"))
    monkeypatch.setenv("MRL_CACHE", str(place / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield hub
    server.shutdown()
    server.server_close()
