"""A cache of its own for every test, and a tiny encoder."""

from __future__ import annotations

import pytest

from mrl_tutorial.models.encoder import Encoder
from tests.helpers.tiny import save_tiny


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.load(save_tiny(tmp_path_factory.mktemp("model") / "bert"))
