"""The command behind lesson 13's table: the best rate is taken, runs are kept, and nothing is measured twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from notebooks.evidence.language_model import Plan, Text
from tools import language_models as tool

PLAN = Plan(vocabulary=20, width=8, n_layers=2, heads=2, context=6, dims=(2, 4, 8), steps=8, batch=4)


def text() -> Text:
    rng = torch.Generator().manual_seed(0)
    rows = torch.randint(20, (9, 7), generator=rng)
    return Text(None, torch.randint(20, (3000,), generator=rng), rows, rows + 0)


def test_a_run_is_kept_with_its_items_and_not_measured_twice(tmp_path):
    path = tmp_path / "table.csv"
    table, data = tool.Table(path, {"command": "test"}), text()
    rate = tool.search(table, "plain", PLAN, data)
    tried = table.rows[table.rows.way == "search"]
    assert tuple(tried.rate) == tool.RATES and rate == tried.rate[tried.dev.idxmin()]
    for arm in ("plain", "nested", "separate:4"):
        tool.measure(table, arm, 0, rate, PLAN, data)
    again = tool.Table(path, {"command": "test"})
    assert again.has(arm="plain", seed=0, way="rotated") and not again.has(arm="plain", seed=1, way="rotated")
    assert tool.search(again, "plain", PLAN, data) == rate and len(again.rows) == len(table.rows)
    rows = again.rows.set_index(["arm", "way", "dim"])
    assert rows.test["plain", "cut", 8] == pytest.approx(rows.test["plain", "rotated", 8], abs=1e-4)
    with np.load(tool.items_file(path, "separate:4", 0)) as stored:
        assert stored["trained"].shape == (1, 9) and stored["curve"].shape == (8,)
        assert rows.test["separate:4", "trained", 4] == pytest.approx(stored["trained"].mean(), abs=2e-3)
