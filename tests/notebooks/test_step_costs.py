"""The cost of a step: bytes that can be counted by hand, and what must cost more than what."""

from __future__ import annotations

import pytest
import torch
from evidence import step_costs

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from tests.helpers.tiny import save_tiny
from tests.training.test_sweep import retrieval


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.load(save_tiny(tmp_path_factory.mktemp("model") / "bert"))


def test_kept_bytes_are_those_of_the_saved_tensors():
    weight = torch.nn.Parameter(torch.ones(4, 4))

    def forward():
        x = torch.ones(8, 4) @ weight  # saves the input, 8 x 4 floats; parameters are left out
        return (x * x).sum()  # saves x twice, one storage

    assert step_costs.kept_bytes(forward) == (8 * 4 + 8 * 4) * 4


def test_costs_of_recipes(encoder):
    found = step_costs.measure(
        encoder, retrieval(), ["full-size", "all-cells", "separate:1,8"], batch_size=4, repeats=1
    )
    assert list(found) == ["full-size", "all-cells", "separate:1,8"]
    assert found["separate:1,8"].kept_bytes < 0.6 * found["full-size"].kept_bytes < found["all-cells"].kept_bytes
    assert all(c.seconds > 0 and c.loss_seconds > 0 for c in found.values())
    assert all(p.grad is None for p in encoder.model.parameters())


def test_costs_measured_before_are_read_from_the_cache(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    options = {"batch_size": 4, "repeats": 1, "cache": True}
    first = step_costs.measure(encoder, retrieval(), ["mrl", "all-cells"], **options)
    steps = []
    assert step_costs.measure(encoder, retrieval(), ["mrl", "all-cells"], **options, progress=steps.append) == first
    assert not steps
    step_costs.measure(encoder, retrieval(), ["mrl"], **options, progress=steps.append)
    assert steps == ["mrl", "mrl"]  # the warm-up and the repeat


def test_wrong_input_is_named(encoder):
    with pytest.raises(InputError, match="0 repeats"):
        step_costs.measure(encoder, retrieval(), ["mrl"], repeats=0)
    with pytest.raises(InputError, match="unknown recipe"):
        step_costs.measure(encoder, retrieval(), ["mlr"])
