"""The cascade at hand: a threshold slider for every size, and where it lands between accuracy and expected size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mrl_tutorial.classification import cascade
from mrl_tutorial.classification.cascade import Answers, Outcome
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import pareto
from mrl_tutorial.panels.base import SLIDER, Panel, plain, send
from mrl_tutorial.panels.plots import figures

HERE, ALL, BARS = 4, 5, 6  # the traces that move


class Marks(NamedTuple):
    """What does not move: the single sizes, the curve of shared thresholds, the paper's rule and the oracle."""

    answers: Answers
    curve: list[Outcome]
    greedy: np.ndarray
    paper: Outcome
    oracle: Outcome


def marks(a: Answers) -> Marks:
    """The reference marks of one set of answers."""
    greedy = cascade.greedy_thresholds(a)
    curve = cascade.shared_curve(a)
    front = [curve[i] for i in pareto([o.final for o in curve], [o.accuracy for o in curve])]
    return Marks(a, front, greedy, cascade.run(a, greedy), cascade.oracle(a))


def percent(shares: np.ndarray) -> list[str]:
    """Shares as they are printed on the bars."""
    return [f"{s:.0%}" for s in shares]


def draw(m: Marks, now: Outcome) -> go.Figure:
    """Left accuracy against expected size (log scale) with the marks and the present cascade under both charges, right
    the share of items answered at each size."""
    dims = m.answers.dims
    figure = make_subplots(1, 2, column_widths=[0.62, 0.38], horizontal_spacing=0.1)
    blue, red, green, _, _, light = figures.COLOURS
    tip = "%{x:.1f} dimensions, accuracy %{y:.3f}<extra>%{fullData.name}</extra>"

    def points(name: str, x: list, y: list, mode: str, **style: Any) -> None:
        figure.add_trace(go.Scatter(x=x, y=y, name=name, mode=mode, hovertemplate=tip, **style), 1, 1)

    points("one size for all", list(dims), m.answers.accuracy, "lines+markers", line={"color": figures.INK, "width": 2, "dash": "dot"},
           marker={"size": 9, "symbol": "square"})  # fmt: skip
    points(
        "one threshold for all sizes",
        [o.final for o in m.curve],
        [o.accuracy for o in m.curve],
        "lines",
        line={"color": light, "width": 4},
    )
    points(
        "the paper's rule",
        [m.paper.final],
        [m.paper.accuracy],
        "markers",
        marker={"size": 15, "symbol": "diamond", "color": blue},
    )
    points(
        "oracle",
        [m.oracle.final],
        [m.oracle.accuracy],
        "markers",
        marker={"size": 17, "symbol": "star", "color": green},
    )
    points("your cascade", [now.final], [now.accuracy], "markers", marker={"size": 17, "color": red})
    points("your cascade, every size charged", [now.final, now.visited], [now.accuracy] * 2, "lines+markers", line={"color": red, "dash": "dot"},
           marker={"size": [0, 15], "symbol": "circle-open", "color": red, "line": {"width": 3}})  # fmt: skip
    figure.add_trace(go.Bar(x=[str(d) for d in dims], y=100 * now.shares, marker={"color": red}, showlegend=False, textposition="outside",
                            text=percent(now.shares), cliponaxis=False, hoverinfo="skip"), 1, 2)  # fmt: skip
    figure.update_layout(**figures.style(), height=495, bargap=0.25)
    below = {"orientation": "h", "x": 0, "y": -0.27, "xanchor": "left", "yanchor": "top", "font": {"size": 14}}
    figure.update_layout(legend=below, margin={"l": 70, "r": 20, "t": 24, "b": 140})
    low = m.answers.accuracy.min()
    pad = 0.06 * (m.oracle.accuracy - low)
    at = np.log10([0.85 * dims[0], 1.15 * sum(dims)])
    figure.update_xaxes(
        type="log",
        title="expected size (log scale)",
        tickvals=list(dims),
        ticktext=[str(d) for d in dims],
        range=list(at),
        row=1,
        col=1,
    )
    figure.update_yaxes(title="accuracy", range=[low - pad, m.oracle.accuracy + pad], showgrid=True, row=1, col=1)
    figure.update_xaxes(title="size at which items are answered", type="category", row=1, col=2)
    figure.update_yaxes(title="% of items", range=[0, 110], row=1, col=2)
    return figure


class CascadeTuner(Panel):
    """Tune a cascade by hand. cases: name -> Answers, all with the same sizes (two or more).

    Raises InputError without a case, or where their sizes differ.
    """

    name = "cascade-tuner"

    def __init__(self, cases: Mapping[str, Answers] | Answers, start: float = 0.6) -> None:
        cases = {"cascade": cases} if isinstance(cases, Answers) else dict(cases)
        sizes = {a.dims for a in cases.values()}
        if len(sizes) != 1 or len(next(iter(sizes))) < 2:
            raise InputError(
                f"cases with sizes {sorted(map(list, sizes))}: give one case or more, all with the same two sizes or more"
            )
        self.marks = {name: marks(a) for name, a in cases.items()}
        self.dims = next(iter(sizes))
        self.case = w.ToggleButtons(
            options=list(cases), description="classifier", style={"description_width": "90px", "button_width": "auto"}
        )
        span = {"min": 0.0, "max": 1.01, "step": 0.01, "readout_format": ".2f"}
        self.shared = w.FloatSlider(description="all sizes", value=start, **span, **SLIDER)
        self.each = [
            w.FloatSlider(description=f"stop at {d} from", value=start, **span, **SLIDER) for d in self.dims[:-1]
        ]
        self.greedy = w.Button(
            description="the paper's rule", tooltip="set the thresholds that the paper's rule finds on these items"
        )
        self.greedy.on_click(lambda _: self.set(self.marks[self.case.value].greedy))
        self._busy = False
        self.shared.observe(self._share, "value")  # before the panel's own observer, which then draws once
        grid = w.GridBox(self.each, layout={"grid_template_columns": "49% 49%", "width": "98%"})
        self.start([*([self.case] if len(cases) > 1 else []), self.shared, grid, self.greedy])

    @property
    def thresholds(self) -> np.ndarray:
        """The sliders' thresholds, (M - 1,)."""
        return np.array([slider.value for slider in self.each])

    def set(self, thresholds: np.ndarray) -> None:
        """Move all the sliders of the sizes at once."""
        self._quietly(thresholds)
        self.show()

    def outcome(self) -> Outcome:
        """What the present thresholds do."""
        return cascade.run(self.marks[self.case.value].answers, self.thresholds)

    def picture(self) -> go.Figure:
        self._drawn = self.case.value
        return draw(self.marks[self.case.value], self.outcome())

    def caption(self, now: Outcome) -> str:
        """The present cascade in words, as html."""
        full = self.marks[self.case.value].answers
        return (
            f"<p style='font-size:15px'><b>Accuracy {now.accuracy:.3f}</b>, that is {now.accuracy - full.accuracy[-1]:+.3f} against "
            f"{full.dims[-1]} dimensions for every item. <b>Expected size {now.final:.1f}</b> if only the last size is charged, "
            f"{now.visited:.1f} if every size looked at is. Multiply-adds of the classifier: {now.multiply_adds(True):,.0f} tied, "
            f"{now.multiply_adds(False):,.0f} separate; {full.dims[-1]} dimensions for all: {full.n_classes * full.dims[-1]:,}. "
            f"No size is right for {cascade.hopeless(full):.1%} of the items.</p>"
        )

    def show(self) -> None:
        if self._busy:
            return
        try:
            now = self.outcome()
        except InputError as error:
            self.say(str(error))
            return
        self.say("")
        self.write(self.caption(now))  # first: it is on the screen while the figure is drawn
        if self.case.value != self._drawn:
            super().show()
        else:  # three traces move, all else stays: building the whole figure anew takes much longer
            moved = {
                HERE: {"x": [now.final], "y": [now.accuracy]},
                ALL: {"x": [now.final, now.visited], "y": [now.accuracy] * 2},
                BARS: {"y": 100 * now.shares, "text": percent(now.shares)},
            }
            send(self.figure, moved, {})
            shown = plain(self._sent)
            self._sent = {**shown, "data": [{**t, **moved.get(i, {})} for i, t in enumerate(shown["data"])]}

    def start(self, *controls: Any) -> None:
        super().start(*controls)
        self.write(self.caption(self.outcome()))

    def _share(self, change: Any) -> None:
        self._quietly(np.full(len(self.each), change["new"]))

    def _quietly(self, thresholds: np.ndarray) -> None:
        self._busy = True
        try:
            for slider, t in zip(self.each, thresholds, strict=True):
                slider.value = float(t)
        finally:
            self._busy = False
