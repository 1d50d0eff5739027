"""What the tests of faults share."""

from __future__ import annotations

import pytest

from mrl_tutorial.models.encoder import Encoder
from tests.helpers.tiny import save_tiny


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache that each test finds empty."""
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def encoder(tmp_path):
    """A tiny model."""
    return Encoder.load(save_tiny(tmp_path / "tiny"))
