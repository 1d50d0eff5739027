"""The ImportanceWeights panel: a weight for every nested size, and a small network trained anew as they move."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.classification.baselines import Data, difference, from_task, own_heads
from mrl_tutorial.classification.small_networks import Plan, Report, train_nets
from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.base import SLIDER, Panel
from mrl_tutorial.panels.job import Job
from mrl_tutorial.panels.plots import figures

CHOICES = (
    ("0", 0.0),
    ("1/8", 0.125),
    ("1/4", 0.25),
    ("1/2", 0.5),
    ("1", 1.0),
    ("2", 2.0),
    ("4", 4.0),
    ("8", 8.0),
    ("16", 16.0),
)
WORDS = {value: words for words, value in CHOICES}
PLAN = Plan(epochs=20)
REST = 0.3  # seconds: training waits for a pause between slides, which it would slow down


@dataclass(frozen=True)
class Trained:
    """What one choice of weights gave. right (M, N): 1 where a tested item is classified right at that size.
    gain (M, 3): accuracy minus that of equal weights, with its 95 % interval; nan where a size was not trained."""

    weights: tuple[float, ...]
    right: np.ndarray
    gain: np.ndarray
    seconds: float = 0.0

    @property
    def accuracy(self) -> np.ndarray:
        """(M,), nan where a size has weight 0: nobody trained its classifier."""
        return np.where(np.array(self.weights) > 0, self.right.mean(1), np.nan)


def train_with(
    data: Data,
    plan: Plan,
    weights: Sequence[float],
    base: Trained | None = None,
    report: Report | None = None,
    seed: int = 0,
) -> Trained | None:
    """Train one network a fold with these weights, test every item once; None where report(share, label) said stop.

    base: what to compare with (default: itself); the same first weights and data order, so the comparison is paired.
    Raises InputError where no weight is above 0.
    """
    begun = time.perf_counter()
    weights = tuple(float(x) for x in weights)
    rows = [train for train, _ in data.rounds]
    ids = [100 * seed + r for r in range(len(rows))]
    nets = train_nets(data.x, data.labels, rows, [weights] * len(rows), ids, plan,
                      report=report)  # fmt: skip
    if nets is None:
        return None
    right = own_heads(data, nets, 1)[0]
    other = right if base is None else base.right
    gain = np.array(
        [difference(right[[j]], other[[j]], draws=400) if c else (np.nan,) * 3 for j, c in enumerate(weights)]
    )
    return Trained(weights, right, gain, time.perf_counter() - begun)


def picture(dims: Sequence[int], wish: Sequence[float], base: Trained, now: Trained, heading: str) -> go.Figure:
    """The figure of `drawing`."""
    return go.Figure(drawing(dims, wish, base, now, heading))


def drawing(dims: Sequence[int], wish: Sequence[float], base: Trained, now: Trained, heading: str) -> dict:
    """Left accuracy against size, right the difference to equal weights in points, with the wished weights below it.
    What was trained with other weights than those wished is drawn pale. A figure as plain data."""
    fresh = tuple(wish) == now.weights
    x, places = list(range(len(dims))), {"xaxis": "x2", "yaxis": "y2"}
    colour, pale = figures.COLOURS[0], 1.0 if fresh else 0.3
    tip = "%{customdata} dimensions: %{y:.3f}<extra></extra>"
    gain = 100 * now.gain
    traces = [
        dict(type="scatter", x=x, y=base.accuracy, customdata=dims, name="all weights 1", mode="lines+markers", hovertemplate=tip,
                   line={"color": "#666666", "width": 2, "dash": "dash"}, marker={"size": 8}),
        dict(type="scatter", x=x, y=now.accuracy, customdata=dims, name="your weights", mode="lines+markers", hovertemplate=tip,
                   line={"color": colour, "width": 4}, marker={"size": 11}, opacity=pale),
        dict(type="bar", x=x, y=gain[:, 0], customdata=dims, marker={"color": colour}, opacity=pale, showlegend=False,
               error_y={"type": "data", "symmetric": False, "array": gain[:, 2] - gain[:, 0],
                        "arrayminus": gain[:, 0] - gain[:, 1], "thickness": 2, "color": figures.INK},
               hovertemplate="%{customdata} dimensions: %{y:+.1f} points<extra></extra>", **places),
    ]  # fmt: skip
    reach = max(2.0, 1.1 * float(np.nanmax(np.abs(gain), initial=0.0)))
    low = min(0.8, 0.05 * np.floor(20 * np.nanmin([base.accuracy, now.accuracy])))
    ticks = {"tickvals": x, "range": [-0.5, len(dims) - 0.5], "tickangle": 0}
    shared = figures.style(heading) | {"margin": {"l": 70, "r": 20, "t": 60, "b": 80}}
    layout = dict(
        **shared, height=400,
        legend={"x": 0.43, "y": 0.04, "xanchor": "right", "yanchor": "bottom", "bgcolor": "rgba(255,255,255,0.8)"},
        xaxis={"domain": [0, 0.44], "title": {"text": "size m (dimensions kept)"}, **ticks,
               "ticktext": [str(m) for m in dims]},
        yaxis={"title": {"text": "accuracy"}, "range": [low, 1.0], "showgrid": True},
        xaxis2={"domain": [0.56, 1], "title": {"text": "size m, and its weight c"}, "anchor": "y2", **ticks,
                "ticktext": [f"{m}<br>c = {WORDS.get(c, f'{c:g}')}" for m, c in zip(dims, wish, strict=True)]},
        yaxis2={"title": {"text": "points against equal weights"}, "range": [-reach, reach], "anchor": "x2",
                "showgrid": True,
                "zeroline": True, "zerolinewidth": 2, "zerolinecolor": figures.INK},
    )  # fmt: skip
    return {"data": traces, "layout": layout}


class ImportanceWeights(Panel):
    """Sliders c_m, one for each nested size; a network on `data` (default: digits, 5 folds) follows in seconds.

    A slide answers at once with the new weights; training runs beside the kernel, can be cancelled, and a newer wish
    ends an older one. What has been trained once is shown at once.
    """

    name = "importance-weights"

    def __init__(self, data: Data | None = None, plan: Plan = PLAN, *, seed: int = 0) -> None:
        if data is None:
            from mrl_tutorial.tasks.load import load_task

            data = from_task(load_task("digits"))
        self.data, self.plan, self.seed = data, plan, seed
        self.base = train_with(data, plan, [1.0] * len(plan.dims), seed=seed)
        self.known = {self.base.weights: self.base}
        self.now, self.job, self._hold, self._stopped = self.base, None, False, False
        self.sliders = [
            w.SelectionSlider(options=CHOICES, value=1.0, description=f"c for size {m}", **SLIDER) for m in plan.dims
        ]
        self.bar = w.FloatProgress(value=0, min=0, max=1, layout=w.Layout(width="220px", visibility="hidden"))
        self.cancel = w.Button(description="Cancel", icon="stop", disabled=True)
        self.equal = w.Button(description="All 1")
        self.boost = w.Button(description=f"Boost size {plan.dims[0]}")
        self.cancel.on_click(lambda _: self.stop())
        self.equal.on_click(lambda _: self.wish([1.0] * len(plan.dims)))
        self.boost.on_click(lambda _: self.wish([4.0] + [1.0] * (len(plan.dims) - 1)))
        buttons = w.HBox([self.equal, self.boost, self.cancel, self.bar])
        buttons.layout.flex_flow, buttons.layout.align_items = "row wrap", "center"
        self.start([*self.sliders, buttons])

    @property
    def weights(self) -> tuple[float, ...]:
        """What the sliders say."""
        return tuple(s.value for s in self.sliders)

    def wish(self, weights: Sequence[float]) -> None:
        """Move all sliders at once."""
        self._hold = True
        for slider, c in zip(self.sliders, weights, strict=True):
            slider.value = c
        self._hold = False
        self.show()

    def picture(self) -> dict:
        """The state of the sliders, with what was trained last."""
        if not any(self.weights):
            raise InputError("all weights are 0, so nothing would be learnt: give at least one size a weight")
        now = self.known.get(self.weights, self.now)
        state = f"trained in {now.seconds:.1f} s" if now.weights == self.weights else "training …"
        if now.weights != self.weights and self._stopped:
            state = "cancelled; pale: the weights before"
        heading = f"{len(self.data.tested):,} {self.data.name}: {state}"
        return drawing(self.plan.dims, self.weights, self.base, now, heading)

    def show(self) -> None:
        """Show the new weights at once, and see to it that they get trained."""
        if self._hold:
            return
        self._stopped = False
        super().show()
        self._follow()

    def stop(self) -> None:
        """What the Cancel button does: the last finished training stays on show."""
        if self.job is not None and self.job.running:
            self.job.cancel()
            self._wanted, self._stopped = None, True
            super().show()

    def _follow(self) -> None:
        self._wanted = self.weights if any(self.weights) and self.weights not in self.known else None
        if self.job is not None and self.job.running:
            if self._wanted != self._training:
                self.job.cancel()  # the newest wish wins; _ended starts it
            return
        self._begin()

    def _begin(self) -> None:
        if self._wanted is None:
            return
        weights = self._training = self._wanted
        self._busy(True)
        self.job = Job(
            lambda report: train_with(self.data, self.plan, weights, self.base, report, self.seed),
            on_progress=self._progress, on_done=self._ended, on_error=self._failed, rest=REST,
        ).start()  # fmt: skip

    def _progress(self, share: float, label: str) -> None:
        self.bar.value = share

    def _ended(self, found: Trained | None) -> None:
        if found is not None:
            self.known[found.weights] = self.now = found
        if self._wanted is not None and self._wanted not in self.known:
            self._begin()
        else:
            self._busy(False)
        if found is not None and found.weights == self.weights:  # else `show` or `stop` has drawn what there is
            super().show()

    def _failed(self, error: Exception) -> None:
        self._busy(False)
        self.say(str(error) if isinstance(error, InputError) else f"training failed: {type(error).__name__}: {error}")

    def _busy(self, busy: bool) -> None:
        self.cancel.disabled = not busy
        self.bar.value, self.bar.layout.visibility = 0.0, "visible" if busy else "hidden"
