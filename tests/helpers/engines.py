"""Which engines can be tested on this machine."""

from __future__ import annotations

import pytest

from mrl_tutorial.retrieval.libraries import FACTORY, on_intel

SVS = ("vamana", "vamana-lvq", "leanvec")


def skip_without(engine: str) -> None:
    """Skip the test where the engine's library is not installed, or does not run on this processor."""
    if engine in FACTORY or engine == "binary":
        pytest.importorskip("faiss")
    elif engine in SVS:
        pytest.importorskip("svs")
        if engine != "vamana" and not on_intel():
            pytest.skip("scalable-vs compresses vectors on Intel's processors only")
