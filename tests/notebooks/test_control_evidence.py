"""What evidence makes of control sweeps: a made-up one, read back cell by cell."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from evidence import controls

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import paired
from mrl_tutorial.training.sweep_file import COLUMNS, write, write_items

RNG = np.random.default_rng(0)
PLAIN = RNG.random((2, 3, 50)) / 2


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two sweeps: fitted on pydocs, and fitted on pydocs but tested on scifact."""
    monkeypatch.setattr(controls, "data_file", lambda name: tmp_path)
    for name, on in (("controls-pydocs", "pydocs"), ("controls-pydocs-scifact", "scifact")):
        rows = []
        for recipe, more in (("plain", 0.0), ("whitened", 0.25)):
            write_items(tmp_path / f"{name}.csv", recipe, 0, {f"{on} ndcg@10": (PLAIN + more).astype(np.float16)})
            for layer, dim in product((1, 2), (8, 16, 32)):
                rows.append(dict.fromkeys(COLUMNS, 0) | {"recipe": recipe, "task": on, "metric": "ndcg@10"})
                rows[-1] |= {"layer": layer, "dim": dim, "value": 0.5, "lr": 1.0}
        write(tmp_path / f"{name}.csv", {}, pd.DataFrame(rows, columns=COLUMNS))


def test_a_sweep_is_compared_cell_by_cell(results):
    plain, white = (controls.items(name, "pydocs") for name in ("plain", "whitened"))
    np.testing.assert_allclose(plain[0], PLAIN, atol=1e-3)
    found = controls.compared(white, plain)
    assert controls.cells() == ((1, 2), (8, 16, 32)) and len(found) == 6
    np.testing.assert_allclose(found.difference, 0.25, atol=1e-3)
    assert controls.counts(found) == "holds 6 of 6" == controls.counts(controls.compared(plain, plain - 0.1))
    noisy = controls.compared(plain + 0.1 * RNG.normal(size=plain.shape), plain)
    for row in noisy.itertuples():
        assert row.low <= row.difference <= row.high and row.smallest > 0
    assert controls.items("whitened", "scifact", "pydocs").shape == (1, 2, 3, 50)
    with pytest.raises(InputError, match="is not in"):
        controls.items("closed-form", "pydocs")
    traces = controls.picture({"plain": plain.mean((0, 3)), "whitened": white.mean((0, 3))}, (1, 2), "nDCG@10").data
    assert len(traces) == 4 and np.allclose(traces[1].y, PLAIN[0].mean(1) + 0.25, atol=2e-3)


def test_the_share_of_a_gain():
    plain = RNG.random((1, 2, 3, 200))
    control = plain + 0.1 + 0.02 * RNG.normal(size=plain.shape)
    trained = np.repeat(plain, 3, 0) + np.array([0.15, 0.2, 0.25])[:, None, None, None]
    share, low, high = controls.share_of_gain(plain, control, trained, slice(0, 1))
    assert low < share < high and share == pytest.approx(0.5, abs=0.02)
    assert high - low > 0.1  # seeds of 0.15 to 0.25 make the share uncertain
    assert paired(trained[:, 0, 0], plain[:, 0, 0]).spread == pytest.approx(0.05)
