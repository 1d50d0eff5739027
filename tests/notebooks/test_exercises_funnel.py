"""The checks of lesson 11 say what is wrong with an answer."""

from __future__ import annotations

import numpy as np
from exercises import retrieval as checks


def test_checks_say_what_is_wrong():
    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    def order(q, x, d):
        return np.argsort(-unit(q[:, :d]) @ unit(x[:, :d]).T, axis=1)

    def in_list(q, x, ds, keep, k):
        short = order(q, x, ds)[:, :keep]
        return np.array([np.argsort(-unit(x[r]) @ unit(v))[:k] for v, r in zip(q, short, strict=True)])

    def raw(q, x, ds, keep, k):
        short = np.argsort(-q[:, :ds] @ x[:, :ds].T, axis=1)[:, :keep]
        return np.array([r[np.argsort(-x[r] @ v)[:k]] for v, r in zip(q, short, strict=True)])

    for wrong, message in [
        (in_list, "places in the shortlist"),
        (raw, "length 1"),
        (lambda q, x, ds, keep, k: order(q, x, ds)[:, :k], "order of the short"),
        (lambda q, x, ds, keep, k: order(q, x, 16)[:, :k], "all the work"),
        (lambda *a: None, "shape"),
    ]:
        assert message in str(checks.two_stages(wrong)) and not checks.two_stages(wrong)
    for wrong, message in [
        (lambda n, ds, keep, dr: n * ds / 1e6, "scan alone"),
        (lambda n, ds, keep, dr: n * ds + keep * dr, "divide"),
        (lambda n, ds, keep, dr: 2 * (n * ds + keep * dr) / 1e6, "counts once"),
        (lambda *a: None, "one number"),
        (lambda n, ds, keep, dr: (n * ds + keep * (dr - ds)) / 1e6, "charges all"),
    ]:
        assert message in str(checks.mflops(wrong)) and not checks.mflops(wrong)

    def pick(dev, target, strict=False):
        return next(k for k in range(1, 10**6) if ((dev < k) if strict else (dev <= k)).mean() >= target)

    for wrong, message in [
        (lambda dev, test, t: (pick(test, t), 1.0), "chosen on test"),
        (lambda dev, test, t: (pick(dev, t), (dev <= pick(dev, t)).mean()), "on test it holds"),
        (lambda dev, test, t: pick(dev, t), "two things"),
        (lambda dev, test, t: (pick(dev, t) - 1, 0.5), "just short"),
    ]:
        assert message in str(checks.smallest_depth(wrong)) and not checks.smallest_depth(wrong)
