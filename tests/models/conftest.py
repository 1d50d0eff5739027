"""What the tests of models share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache that each test finds empty."""
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
