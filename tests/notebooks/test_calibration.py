"""Calibration of a classifier's confidence: by hand, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from evidence.calibration import reliability

from mrl_tutorial.errors import InputError


def test_reliability_by_hand():
    count, mean, share, error = reliability(np.array([0.05, 0.55, 0.55, 1.0]), np.array([0, 1, 0, 1]), bins=2)
    assert count.tolist() == [1, 3] and mean == pytest.approx([0.05, 0.7]) and share == pytest.approx([0, 2 / 3])
    assert error == pytest.approx((0.05 + 3 * (0.7 - 2 / 3)) / 4)
    count, mean, *_ = reliability(np.array([0.9]), np.array([True]))
    assert count[9] == 1 and np.isnan(mean[:9]).all()


def test_what_has_no_calibration_is_refused():
    for confidence, right in ((np.zeros(0), np.zeros(0)), (np.ones(3), np.ones(2))):
        with pytest.raises(InputError, match="give as many"):
            reliability(confidence, right)
