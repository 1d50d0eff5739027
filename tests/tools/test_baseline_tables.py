"""The tables of the baselines of lesson 06, from made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from tools.baseline_tables import DIMS, difference_table, value_table

COSTS = {"seconds": 1.0, "cpu_seconds": None, "peak_gb": None}


@pytest.fixture
def found():
    """plain at 0.5 everywhere, mrl at 0.6 and 0.8 with seeds 0 and 1, one separate model at 0.9 with seed 1."""
    items = np.ones((len(DIMS), 4))
    return {
        ("plain", 0): {"pydocs|ndcg@10|prefix": 0.5 * items, "sts|spearman|prefix": np.full(len(DIMS), 0.3)},
        ("mrl", 0): {"pydocs|ndcg@10|prefix": 0.6 * items},
        ("mrl", 1): {"pydocs|ndcg@10|prefix": 0.8 * items},
        ("separate 32", 1): {"pydocs|ndcg@10|prefix": 0.9 * items[:1]},
    }


def test_a_row_is_a_mean_of_one_run_at_one_width(found):
    table = value_table(found, dict.fromkeys(found, COSTS))
    assert len(table) == 4 * len(DIMS) + 1
    (row,) = table[table.baseline == "separate 32"].to_dict("records")
    assert (row["dim"], row["value"], row["items"], row["seed"], row["seconds"]) == (32, 0.9, 4, 1, 1.0)
    assert set(table[table.task == "sts"]["items"]) == {""}  # a correlation has no items


def test_differences_pair_the_seeds_and_plain_counts_for_all(found):
    table = difference_table(found).set_index(["a", "b"])
    over_plain = table.loc[[("mrl", "plain")]]
    assert list(over_plain.dim) == list(DIMS) and set(over_plain.seeds) == {2}
    assert np.allclose(over_plain["mean"], 0.2) and np.allclose(over_plain.spread, 0.2 / 2**0.5)
    bespoke = table.loc[[("separate 32", "mrl")]]
    assert list(bespoke.dim) == [32] and list(bespoke.seeds) == [1] and np.allclose(bespoke["mean"], 0.1)
    assert set(table.task) == {"pydocs"}


def test_without_a_pair_the_columns_are_there_all_the_same(found):
    table = difference_table({("plain", 0): found["plain", 0]})
    assert not len(table) and list(table)[:4] == ["a", "reduction_a", "b", "reduction_b"]
