"""The checks of the lesson on PCA: effective rank and the cheapest store."""

from __future__ import annotations

import numpy as np
from exercises import reduction


def test_effective_rank():
    def right(variances):
        p = variances[variances > 0] / variances.sum()
        return np.exp(-(p * np.log(p)).sum())

    def careless(variances):
        p = variances / variances.sum()
        return np.exp(-(p * np.log(p)).sum())

    assert reduction.effective_rank(right)
    for word, function in {
        "shares": lambda v: np.exp(-(v * np.log(v)).sum()),
        "exponential": lambda v: np.log(right(v)),
        "minus": lambda v: 1 / right(v),
        "participation": lambda v: 1 / ((v / v.sum()) ** 2).sum(),
        "0 ln 0": careless,
        "one number": lambda v: v,
    }.items():
        said = reduction.effective_rank(function)
        assert not said and word in str(said), (word, said)


def test_cheapest_store():
    def right(stores, share):
        best = stores[stores.store == "float32"].dev.max()
        return stores[stores.dev >= share * best].sort_values("bytes").iloc[0]

    assert reduction.cheapest_store(right)
    for word, function in {
        "choose on dev": lambda s, share: s[s.test >= share * s.test.max()].sort_values("bytes").iloc[0],
        "first drop": lambda s, share: s.sort_values("bytes").iloc[0],
        "float32 itself": lambda s, share: s[s.store == "float32"].sort_values("dev").iloc[-1],
        "use share": lambda s, share: right(s, 0.95),
        "one row": lambda s, share: s[s.dev >= share * 0.5],
    }.items():
        said = reduction.cheapest_store(function)
        assert not said and word in str(said), (word, said)
