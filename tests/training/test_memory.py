"""Full training in the memory that there is: the limits that are read, and one gradient from any micro-batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training import memory, trainables
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.trainables import FullBackbone
from tests.helpers.tiny import SENTENCES

GB = 10**9


def system(root, files):
    """A file system as Linux shows it: path -> content."""
    for path, text in {"proc/meminfo": f"MemTotal: {64 * 10**6} kB\nMemAvailable: {8 * 10**6} kB\n", **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(str(text))
    return root


V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"


@pytest.mark.parametrize(
    "files, left",
    [
        ({}, 8 * 1024 * 10**6),
        # version 2, in a container that sees its own group as the root; cached files can be given up
        ({f"{V2}/memory.max": 2 * GB, f"{V2}/memory.current": GB,
          f"{V2}/memory.stat": f"anon 5\ninactive_file {GB // 2}\n"}, 3 * GB // 2),
        ({f"{V2}/memory.max": "max\n", f"{V2}/memory.current": GB}, 8 * 1024 * 10**6),
        # version 2, where the group around this one is the narrow one
        ({"proc/self/cgroup": "0::/user/job\n", f"{V2}/user/job/memory.max": "max", f"{V2}/user/job/memory.current": 5,
          f"{V2}/user/memory.max": 3 * GB, f"{V2}/user/memory.current": GB}, 2 * GB),
        # version 1; no limit there is a very large number
        ({"proc/self/cgroup": "4:cpu,memory:/job\n2:cpuset:/\n", f"{V1}/memory.limit_in_bytes": 2**63 - 4096,
          f"{V1}/memory.usage_in_bytes": GB, f"{V1}/job/memory.limit_in_bytes": 4 * GB,
          f"{V1}/job/memory.usage_in_bytes": 3 * GB,
          f"{V1}/job/memory.stat": "inactive_file 7\ntotal_inactive_file 9\n"}, GB + 9),
        ({f"{V2}/memory.max": GB, f"{V2}/memory.current": GB + 5}, 0),
    ],
)  # fmt: skip
def test_the_narrowest_limit_counts(tmp_path, files, left):
    assert memory.memory_left(system(tmp_path, files)) == left


def test_a_system_that_says_nothing_sets_no_limit(tmp_path, monkeypatch):
    assert memory.memory_left(tmp_path) is None
    monkeypatch.setattr(memory, "memory_left", lambda: None)
    assert memory.tokens_that_fit(object(), 3, 64) is None


def test_half_of_what_is_left_is_taken(monkeypatch, encoder):
    config = encoder.model.config
    monkeypatch.setattr(memory, "memory_left", lambda: 2 * GB)
    assert memory.tokens_that_fit(config, 3, 64) * memory.bytes_per_token(config, 3, 64) == pytest.approx(GB, rel=1e-3)


def gradient(encoder, monkeypatch, fits):
    """Loss, gradient and the sizes of the micro-batches, in float64."""
    monkeypatch.setattr(trainables, "tokens_that_fit", lambda *_: fits)
    recipe = get_recipe("all-cells", encoder.n_layers, encoder.width).validate(encoder.n_layers, encoder.width)
    model = FullBackbone(encoder, recipe, TrainConfig(what="full", precision="fp32"))
    model.module.double()
    sizes, group = [], model._group
    monkeypatch.setattr(model, "_group", lambda ids, *entry: (sizes.append(len(ids)), group(ids, *entry))[1])
    out = model.embed([*SENTENCES, *(f"{s} {s} and the end" for s in SENTENCES)])  # (L, N, D), pooled in float32
    weights = torch.from_numpy(np.random.default_rng(0).normal(size=out.shape))
    loss = ((out.double() * weights).sum(-1) ** 2).sum()
    forward = len(sizes)
    loss.backward()
    parameters = [p.grad.flatten() for p in model.module.parameters() if p.grad is not None]
    return float(loss.detach()), torch.cat(parameters), sizes[:forward], sizes[forward:]


def test_any_micro_batches_give_the_same_loss_and_gradient(encoder, monkeypatch):
    loss, want, sizes, again = gradient(encoder, monkeypatch, None)
    assert again == [] and want.abs().max() > 0.1
    seen = {tuple(sizes)}
    for fits in (10**6, 60, 20, 0):
        loss_here, have, sizes, again = gradient(encoder, monkeypatch, fits)
        assert loss_here == pytest.approx(loss, rel=1e-6)
        assert torch.linalg.norm(have - want) <= 1e-6 * torch.linalg.norm(want), fits
        assert sorted(again) == (sorted(sizes) if fits < 10**6 else [])  # each once more, in the backward pass
        seen.add(tuple(sizes))
    assert len(seen) == 4 and set(sizes) == {1}
