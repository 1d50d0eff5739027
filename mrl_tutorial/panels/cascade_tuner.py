"""The cascade tuner: a threshold for every size, and where the cascade lands between accuracy and expected size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ipywidgets as w
import numpy as np

from mrl_tutorial.classification import cascade
from mrl_tutorial.classification.cascade import Answers, Outcome
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import pareto
from mrl_tutorial.panels import plots
from mrl_tutorial.panels.base import WIDE, Panel, Picture, switch

# -- what is shown ---------------------------------------------------------------------------------------------------


class Landmarks(NamedTuple):
    """What the reader's cascade is compared with: the curve of shared thresholds, the paper's rule, the oracle."""

    answers: Answers
    curve: list[Outcome]
    greedy: np.ndarray
    paper: Outcome
    oracle: Outcome


def landmarks(answers: Answers) -> Landmarks:
    """The landmarks of one classifier's answers."""
    greedy = cascade.greedy_thresholds(answers)
    curve = cascade.shared_curve(answers)
    front = [curve[i] for i in pareto([o.final for o in curve], [o.accuracy for o in curve])]
    return Landmarks(answers, front, greedy, cascade.run(answers, greedy), cascade.oracle(answers))


def in_words(answers: Answers, now: Outcome) -> str:
    """The present cascade in words, as html."""
    width = answers.dims[-1]
    return (
        f"<p style='font-size:15px'><b>Accuracy {now.accuracy:.3f}</b>, that is "
        f"{now.accuracy - answers.accuracy[-1]:+.3f} against {width} dimensions for every item. "
        f"<b>Expected size {now.final:.1f}</b> if only the last size is charged, {now.visited:.1f} if every "
        f"size looked at is. Multiply-adds of the classifier: {now.multiply_adds(True):,.0f} tied, "
        f"{now.multiply_adds(False):,.0f} separate; {width} dimensions for all: {answers.n_classes * width:,}. "
        f"No size is right for {cascade.hopeless(answers):.1%} of the items.</p>"
    )


# -- figure and widgets ----------------------------------------------------------------------------------------------


def tuner_picture(marks: Landmarks, now: Outcome) -> Picture:
    """Left: accuracy against expected size, with the landmarks and the present cascade under both charges. Right: the
    share of items answered at each size."""
    dims, single = marks.answers.dims, marks.answers.accuracy
    blue, red, green, _, _, light = plots.COLORS
    both = [now.final, now.visited]
    rule, ring = {"color": red, "dash": "dot"}, {"symbol": "circle-open", "color": red, "line": {"width": 3}}
    square, diamond = {"size": 9, "symbol": "square"}, {"size": 15, "symbol": "diamond", "color": blue}
    shares = [f"{share:.0%}" for share in now.shares]
    look = {"textposition": "outside", "cliponaxis": False, "hoverinfo": "skip"}
    data = [
        _points("one size for all", dims, single, line={"color": plots.INK, "width": 2, "dash": "dot"}, marker=square),
        _outcomes("one threshold for all sizes", marks.curve, mode="lines", line={"color": light, "width": 4}),
        _outcomes("the paper's rule", [marks.paper], marker=diamond),
        _outcomes("oracle", [marks.oracle], marker={"size": 17, "symbol": "star", "color": green}),
        _outcomes("your cascade", [now], marker={"size": 17, "color": red}),
        _points(
            "your cascade, every size charged", both, [now.accuracy] * 2, line=rule, marker={"size": [0, 15], **ring}
        ),
        plots.trace("bar", [str(d) for d in dims], 100 * now.shares, "", 2, text=shares, marker={"color": red}, **look),
    ]
    pad = 0.06 * (marks.oracle.accuracy - single.min())
    span = [float(np.log10(0.85 * dims[0])), float(np.log10(1.15 * sum(dims)))]
    ticks = {"tickvals": list(dims), "ticktext": [str(d) for d in dims], **plots.LABELS}
    heights = [single.min() - pad, marks.oracle.accuracy + pad]
    below = {"orientation": "h", "x": 0, "y": -0.27, "xanchor": "left", "yanchor": "top", "font": {"size": 14}}
    sizes = {"type": "log", "title": {"text": "expected size (log scale)"}, **ticks, "range": span}
    accuracy = {"title": {"text": "accuracy"}, "range": heights, "showgrid": True}
    stops = {"type": "category", "title": {"text": "size at which items are answered"}}
    layout = {**plots.style(), "height": 495, "bargap": 0.25, "legend": below}
    layout["margin"] = {"l": 70, "r": 20, "t": 24, "b": 140}
    layout |= plots.subplot(1, (0, 0.56), sizes, accuracy)
    layout |= plots.subplot(2, (0.66, 1), stops, {"title": {"text": "% of items"}, "range": [0, 110]})
    return {"data": data, "layout": layout}


def _outcomes(name: str, outcomes: Sequence[Outcome], mode: str = "markers", **look: Any) -> dict[str, Any]:
    return _points(name, [o.final for o in outcomes], [o.accuracy for o in outcomes], mode, **look)


def _points(
    name: str, x: Sequence, y: Sequence | np.ndarray, mode: str = "lines+markers", **look: Any
) -> dict[str, Any]:
    tip = "%{x:.1f} dimensions, accuracy %{y:.3f}<extra>%{fullData.name}</extra>"
    return plots.trace("scatter", list(x), list(y), name, mode=mode, hovertemplate=tip, **look)


class CascadeTuner(Panel):
    """Tune a cascade by hand. cases: name -> Answers, all with the same sizes (two or more).

    Raises InputError without a case, or where their sizes differ.
    """

    name = "cascade-tuner"

    def __init__(self, cases: Mapping[str, Answers] | Answers, start: float = 0.6) -> None:
        cases = {"cascade": cases} if isinstance(cases, Answers) else dict(cases)
        sizes = {a.dims for a in cases.values()}
        if len(sizes) != 1 or len(next(iter(sizes))) < 2:
            found = sorted(map(list, sizes))
            raise InputError(f"cases with sizes {found}: give one case or more, all with the same two sizes or more")
        self.marks = {name: landmarks(answers) for name, answers in cases.items()}
        self.dims = next(iter(sizes))
        self.case = switch("classifier", list(cases))
        span = {"value": start, "min": 0.0, "max": 1.01, "step": 0.01, "readout_format": ".2f", **WIDE}
        self.shared = w.FloatSlider(description="all sizes", **span)
        self.each = [w.FloatSlider(description=f"stop at {d} from", **span) for d in self.dims[:-1]]
        tip = "set the thresholds that the paper's rule finds on these items"
        self.greedy = w.Button(description="the paper's rule", tooltip=tip)
        self.greedy.on_click(lambda _: self.set(self.marks[self.case.value].greedy))
        self.shared.observe(self._share, "value")  # before the panel's own observer, which then draws once
        grid = w.GridBox(self.each, layout={"grid_template_columns": "49% 49%", "width": "98%"})
        self.start([*([self.case] if len(cases) > 1 else []), self.shared, grid, self.greedy])

    @property
    def thresholds(self) -> np.ndarray:
        """The sliders' thresholds, (M - 1,)."""
        return np.array([slider.value for slider in self.each])

    def set(self, thresholds: Sequence[float] | np.ndarray) -> None:
        """Move the sliders of all sizes at once."""
        self._move(thresholds)
        self.show()

    def picture(self) -> Picture:
        """The present thresholds among the landmarks."""
        marks = self.marks[self.case.value]
        now = cascade.run(marks.answers, self.thresholds)
        self.write(in_words(marks.answers, now))
        return tuner_picture(marks, now)

    def _share(self, change: Any) -> None:
        self._move(np.full(len(self.each), change["new"]))

    def _move(self, thresholds: Sequence[float] | np.ndarray) -> None:
        with self.held():
            for slider, threshold in zip(self.each, thresholds, strict=True):
                slider.value = float(threshold)
