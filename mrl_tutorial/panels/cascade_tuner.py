"""The cascade tuner: a threshold for every size, and where the cascade lands between accuracy and expected size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mrl_tutorial.classification import cascade
from mrl_tutorial.classification.cascade import Answers, Outcome
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import pareto
from mrl_tutorial.panels.panel import Panel, slider, switch

GRID = np.arange(102) / 100  # of thresholds; 1.01 is reached by no confidence


class Landmarks(NamedTuple):
    """What the reader's cascade is compared with: the best of the shared thresholds, the paper's rule, the oracle.

    shared (S,): thresholds, in step with curve. greedy (M - 1,): the thresholds of the rule.
    """

    answers: Answers
    shared: np.ndarray
    curve: list[Outcome]
    greedy: np.ndarray
    paper: Outcome
    oracle: Outcome


def landmarks(answers: Answers) -> Landmarks:
    """The landmarks of one classifier's answers, with thresholds of `GRID` up to 1."""
    grid = GRID[:-1]
    greedy, curve = cascade.greedy_thresholds(answers, grid), cascade.shared_curve(answers, grid)
    front = pareto([o.final for o in curve], [o.accuracy for o in curve])
    best = [curve[i] for i in front]
    return Landmarks(answers, grid[front], best, greedy, cascade.run(answers, greedy), cascade.oracle(answers))


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
        self.marks = {name: landmarks(answers) for name, answers in cases.items()}
        self.dims = next(iter(sizes))
        grid, words = GRID.tolist(), [f"{t:.2f}" for t in GRID]
        each = [slider(f"t{d}", f"stop at {d} from", grid, words) for d in self.dims[:-1]]
        controls = [[slider("all", "all sizes", grid, words)], each]
        first = self._spread({"all": start})
        if len(cases) > 1:
            controls.insert(0, [switch("case", "classifier", list(cases))])
            first["case"] = next(iter(cases))
        tables = {"dims": self.dims, "grid": grid, "cases": {name: _table(m) for name, m in self.marks.items()}}
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


def _table(marks: Landmarks) -> dict[str, Any]:
    """reached, right (M, N): how many thresholds of `GRID` an item's confidence reaches, so that the browser decides as
    `cascade.stops` does without the confidence in double precision; whether the size is right. The rest: landmarks."""
    a = marks.answers
    reached = sum(((a.confidence >= t).astype(np.uint8) for t in GRID), np.zeros(a.confidence.shape, np.uint8))
    return {
        "reached": reached,
        "right": a.right,
        "classes": a.n_classes,
        "single": a.accuracy,
        "hopeless": cascade.hopeless(a),
        "shared": marks.shared,
        "rule": marks.greedy.tolist(),
        "curve": _points(marks.curve),
        "paper": _points([marks.paper]),
        "oracle": _points([marks.oracle]),
    }


def _points(outcomes: list[Outcome]) -> dict[str, np.ndarray]:
    return {"final": np.array([o.final for o in outcomes]), "accuracy": np.array([o.accuracy for o in outcomes])}
