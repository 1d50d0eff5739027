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
        row("torch-int8", 4, 1.0, 1.0, 1.1),
        {"engine": "pq", "dim": 4, "tune": {"recall": 1.0, "single": 0.1}},  # not timed alone
    ]
    parts = {
        "small": {"name": "real, few", "documents": 10, "width": 8, "rows": small},
        "none": {"name": "none", "documents": 5, "width": 8, "rows": []},
        "large": {"name": "made: by hand", "documents": 1000, "width": 8, "rows": small[:1]},
    }
    (tmp_path / "stored.json").write_text(json.dumps({"parts": parts}))
    return tmp_path / "stored.json"


def test_the_quickest_by_tuning_queries_is_drawn(path):
    small, large = stored_clock.parts(path)
    assert (small["documents"], large["documents"]) == (10, 1000)
    exact, scanned, prefix, whole = stored_clock.milliseconds(small, [0.9, 0.94, 1.0]).values()
    assert exact.tolist() == [2.1] * 3 and scanned.tolist() == [1.1] * 3
    assert whole[:2].tolist() == [0.6, 0.5] and np.isnan(whole[2])
    assert prefix[0] == 0.4 and np.isnan(prefix[1:]).all()


def test_the_table_has_a_row_for_each_collection(path):
    table = stored_clock.table(0.9, path)
    assert table.index.tolist() == ["real, 10 x 8", "made, 1,000 x 8"]
    assert table[stored_clock.PREFIX].isna().tolist() == [False, True]


def test_the_stored_file_can_be_drawn():
    table = stored_clock.table(0.98)
    assert len(table) == len(stored_clock.parts()) and (table[stored_clock.PREFIX] < table[stored_clock.EXACT]).all()
