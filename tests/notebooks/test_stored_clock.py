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
        row("float32", 8, 1.0, 2.0, 2.0),
        row("hnsw", 8, 0.9, 0.5, 0.8),
        row("hnsw", 8, 0.95, 0.7, 0.5),  # luckier on the other queries; still not chosen for 0.9
        row("leanvec", 8, 1.0, 0.1, 0.1),  # neither whole nor a prefix
        row("vamana-lvq", 4, 0.92, 0.3, 0.4),
        row("torch-int8", 4, 1.0, 1.0, 1.0),
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
    byte, byte_prefix, whole, prefix = stored_clock.quicker(small, [0.9, 0.94, 1.0]).values()
    assert np.isnan(byte).all() and byte_prefix.tolist() == [2.0] * 3
    assert whole[:2].tolist() == [2.5, 4.0] and np.isnan(whole[2])
    assert prefix[0] == 5.0 and np.isnan(prefix[1:]).all()


def test_the_table_has_two_columns_for_each_collection(path):
    table = stored_clock.table(0.9, path)
    assert table.columns.get_level_values(0).unique().tolist() == ["real, 10 x 8", "made, 1,000 x 8"]
    assert table.loc["graph, compressed"].isna().tolist() == [True, False, True, True]


def test_what_the_lesson_says_of_the_stored_file():
    """Fewer numbers, fewer bits and a graph each save time; where there is a graph, the prefix saves no more."""
    table = stored_clock.table(0.98)
    assert table.shape == (len(stored_clock.WAYS), 2 * len(stored_clock.parts()))
    real = table["real sentences, 160,000 x 384"]
    scans, graphs = real.iloc[:3], real.iloc[3:]
    assert (scans["128 numbers"] < scans["all numbers"]).all() and scans["all numbers"].is_monotonic_decreasing
    assert graphs["all numbers"].max() < scans.min().min()
    assert graphs.loc["graph, compressed", "all numbers"] < graphs["128 numbers"].min()
