"""The checks of notebook 02's exercises: right answers pass, typical mistakes are told what is wrong."""

from __future__ import annotations

import numpy as np
from exercises import cascades as checks

from mrl_tutorial.classification import cascade


def test_what_the_checks_say_what_is_wrong():
    assert checks.expected_size(lambda s, d: float(s @ np.array(d)))
    for wrong, message in [
        (lambda s, d: np.mean(d), "equally often"),
        (lambda s, d: s * np.array(d), "one number"),
        (lambda s, d: None, "one number"),
        (lambda s, d: 7.0, "yours says 7"),
    ]:
        assert message in str(checks.expected_size(wrong)) and not checks.expected_size(wrong)
    assert checks.decide(lambda c, t: cascade.stops(c, t))
    for wrong, message in [
        (lambda c, t: c.argmax(0), "most confident"),
        (lambda c, t: (c[:-1] >= t[:, None]).argmax(0), "sure nowhere"),
        (lambda c, t: np.array([0, 2, 1, 2, 1]), "equals its threshold"),
        (lambda c, t: 0, "shape"),
    ]:
        assert message in str(checks.decide(wrong)) and not checks.decide(wrong)
    assert checks.charge(lambda s, d, separate: float(s @ (np.cumsum(d) if separate else np.array(d))))
    for wrong, message in [
        (lambda s, d, k: s @ np.array(d), "only the last size"),
        (lambda s, d, k: s @ np.cumsum(d), "tied classifier"),
        (lambda s, d, k: None if k else s @ np.array(d), "return one number"),
    ]:
        assert message in str(checks.charge(wrong)) and not checks.charge(wrong)
