"""Shares of the full quality, and the smallest width under a budget."""

from __future__ import annotations

import numpy as np
import pytest
from evidence.widths import kept, smallest_width

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import Difference


def test_kept_is_a_share_of_full_width():
    values = np.array([[0.2, 0.3, 0.4], [0.1, 0.5, 0.5]])
    assert np.allclose(kept(values), [[0.5, 0.75, 1.0], [0.2, 1.0, 1.0]])
    assert np.allclose(kept([0.2, 0.3], full=0.5), [0.4, 0.6])
    with pytest.raises(InputError, match="full width"):
        kept([0.1, 0.0])


def test_smallest_width_stops_at_the_first_that_fails():
    def d(low):
        return Difference(low + 0.01, low, low + 0.02, 0.0)

    assert smallest_width({8: d(-0.2), 64: d(-0.02), 128: d(-0.005), 384: d(0.0)}) == 128
    assert smallest_width({8: d(-0.2), 64: d(-0.02), 128: d(-0.005), 384: d(0.0)}, budget=0.02) == 64
    assert smallest_width({8: d(0.0), 64: d(-0.02), 128: d(0.0)}) == 128  # 8 is luck
    assert smallest_width({8: d(-0.2), 384: d(-0.1)}) is None
    for widths, budget in [({}, 0.01), ({8: d(0)}, -0.1)]:
        with pytest.raises(InputError):
            smallest_width(widths, budget)
