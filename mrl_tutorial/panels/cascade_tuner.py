"""The cascade tuner: a threshold for every size, and where the cascade lands between accuracy and expected size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mrl_tutorial.classification import cascade
from mrl_tutorial.classification.cascade import Answers, Outcome
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import pareto
from mrl_tutorial.panels.panel import Panel, slider, switch

GRID = np.arange(102) / 100  # of thresholds; 1.01 is reached by no confidence


class CascadeTuner(Panel):
    """Tune a cascade by hand. cases: name -> Answers, all with the same sizes (two or more).

    start: the threshold of every size at first; state: case, and thresholds t8, t16, … of single sizes. Raises
    InputError without a case, or where their sizes differ.

    >>> a = Answers((8, 16), np.array([[0.9, 0.5], [0.4, 0.6]]), np.array([[True, False], [True, True]]), 2)
    >>> CascadeTuner(a, start=0.8).thresholds.tolist()
    [0.8]
    """

    view = "cascade"

    def __init__(self, cases: Mapping[str, Answers] | Answers, start: float = 0.6, **state: Any) -> None:
        cases = {"cascade": cases} if isinstance(cases, Answers) else dict(cases)
        sizes = {a.dims for a in cases.values()}
        if len(sizes) != 1 or len(next(iter(sizes))) < 2:
            found = sorted(map(list, sizes))
            raise InputError(f"cases with sizes {found}: give one case or more, all with the same two sizes or more")
        (self.dims,) = sizes
        grid, words = GRID.tolist(), [f"{t:.2f}" for t in GRID]
        each = [slider(f"t{d}", f"stop at {d} from", grid, words) for d in self.dims[:-1]]
        controls = [[slider("all", "all sizes", grid, words)], each]
        first = self._spread({"all": start})
        if len(cases) > 1:
            controls.insert(0, [switch("case", "classifier", list(cases))])
            first["case"] = next(iter(cases))
        tables = {"dims": self.dims, "grid": grid, "cases": {name: _table(a) for name, a in cases.items()}}
        super().__init__(controls, first | self._spread(state), **tables)

    @property
    def thresholds(self) -> np.ndarray:
        """The sliders' thresholds, (M - 1,)."""
        return np.array([self.state[f"t{d}"] for d in self.dims[:-1]])

    def set(self, **changes: Any) -> None:
        """Move controls, as in `panel.set(t8=0.5)`; `all` moves every threshold. InputError as in `Panel.set`."""
        super().set(**self._spread(changes))

    def _spread(self, changes: dict[str, Any]) -> dict[str, Any]:
        """`all` on the thresholds of all sizes; numbers such as 0.35000000000000003 as the sliders have them."""
        every = {f"t{d}": changes["all"] for d in self.dims[:-1]} if "all" in changes else {}
        return {name: x if isinstance(x, str) else round(float(x), 9) for name, x in (every | changes).items()}


def _table(a: Answers) -> dict[str, Any]:
    """What the browser decides by, and landmarks: the best of the shared thresholds, the paper's rule, the oracle.

    reached (M, N): how many thresholds of `GRID` a confidence reaches, so that the browser decides as `cascade.stops`
    does without the confidence in double precision."""
    grid = GRID[:-1]
    rule, curve = cascade.greedy_thresholds(a, grid), cascade.shared_curve(a, grid)
    front = pareto([o.final for o in curve], [o.accuracy for o in curve])
    return {
        "reached": np.searchsorted(GRID, a.confidence, side="right"),
        "right": a.right,
        "classes": a.n_classes,
        "single": a.accuracy,
        "hopeless": cascade.hopeless(a),
        "shared": grid[front],
        "rule": rule.tolist(),
        "curve": _points(*(curve[i] for i in front)),
        "paper": _points(cascade.run(a, rule)),
        "oracle": _points(cascade.oracle(a)),
    }


def _points(*outcomes: Outcome) -> dict[str, np.ndarray]:
    return {key: np.array([getattr(o, key) for o in outcomes]) for key in ("final", "accuracy")}
