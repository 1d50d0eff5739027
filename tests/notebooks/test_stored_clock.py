"""The stored benchmark as lesson 11 draws it: the quickest way that reaches a recall, chosen on the tuning queries."""

from __future__ import annotations

import json

import numpy as np
import pytest
from evidence import stored_clock


def row(engine, dim, recall, single, p50):
    return {"engine": engine, "dim": dim, "tune": {"recall": recall, "single": single}, "p50": p50}


@pytest.fixture
def path(tmp_path):
    small = [
        row("float32", 8, 1.0, 2.0, 2.1),
        row("hnsw", 8, 0.9, 0.5, 0.6),
        row("hnsw", 8, 0.95, 0.7, 0.5),  # luckier on the other queries; still not chosen for 0.9
        row("pq", 4, 0.92, 0.3, 0.4),
        {"engine": "pq", "dim": 4, "tune": {"recall": 1.0, "single": 0.1}},  # not timed alone
    ]
    parts = {
        "large": {"documents": 90, "width": 8, "rows": small[:1]},
        "small": {"documents": 10, "width": 8, "rows": small},
        "none": {"documents": 5, "width": 8, "rows": []},
    }
    (tmp_path / "stored.json").write_text(json.dumps({"parts": parts}))
    return tmp_path / "stored.json"


def test_the_quickest_by_tuning_queries_is_drawn(path):
    small, large = stored_clock.parts(path)
    assert (small["documents"], large["documents"]) == (10, 90)
    exact, prefix, whole = stored_clock.milliseconds(small, [0.9, 0.94, 1.0]).values()
    assert exact.tolist() == [2.1] * 3 and whole.tolist() == [0.6, 0.5, 2.1]
    assert prefix[0] == 0.4 and np.isnan(prefix[1:]).all()


def test_the_table_has_a_row_for_each_collection(path):
    table = stored_clock.table(0.9, path)
    assert table.index.tolist() == ["10 vectors of 8", "90 vectors of 8"]
    assert table[stored_clock.PREFIX].isna().tolist() == [False, True]


def test_the_stored_file_can_be_drawn():
    for part in stored_clock.parts():
        exact, prefix, whole = (ms[0] for ms in stored_clock.milliseconds(part, [0.98]).values())
        assert 0 < prefix < exact and 0 < whole <= exact
