"""Importance weights: a weight for every nested size, and a small network that is trained anew as they move."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as w
import numpy as np

from mrl_tutorial.classification.labeled_vectors import LabeledVectors, from_task, own_heads
from mrl_tutorial.classification.small_networks import NetworkConfig, Report, train_networks
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import difference
from mrl_tutorial.panels import plots
from mrl_tutorial.panels.base import Panel, Picture, choice_slider, row
from mrl_tutorial.panels.job import Job
from mrl_tutorial.tasks.load import load_task

CHOICES = {"0": 0.0, "1/8": 0.125, "1/4": 0.25, "1/2": 0.5, "1": 1.0, "2": 2.0, "4": 4.0, "8": 8.0, "16": 16.0}
WORDS = {value: words for words, value in CHOICES.items()}
CONFIG = NetworkConfig(epochs=20)
REST = 0.3  # seconds: training waits for a pause between slides, which it would slow down

# -- what is shown ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """What one choice of weights gave.

    right (M, N): 1 where a tested item is classified right at that size. gain (M, 3): accuracy minus that of equal
    weights, with its 95 % interval; NaN where a size was not trained.
    """

    weights: tuple[float, ...]
    right: np.ndarray
    gain: np.ndarray
    seconds: float = 0.0

    @property
    def accuracy(self) -> np.ndarray:
        """(M,), NaN where a size has weight 0 and its classifier was not trained."""
        return np.where(np.array(self.weights) > 0, self.right.mean(1), np.nan)


def train_with(
    data: LabeledVectors,
    config: NetworkConfig,
    weights: Sequence[float],
    base: Trained | None = None,
    report: Report | None = None,
    seed: int = 0,
) -> Trained | None:
    """Train one network for each fold with these weights and test every item once.

    base: what to compare with (default: itself). All start from the same weights and see the data in the same order, so
    the comparison is paired. Returns None where report(share, label) returned False. Raises InputError where no weight
    is above 0.
    """
    begun = time.perf_counter()
    weights = tuple(float(x) for x in weights)
    rows = [train for train, _ in data.rounds]
    seeds = [100 * seed + r for r in range(len(rows))]
    networks = train_networks(data.x, data.labels, rows, [weights] * len(rows), seeds, config, report=report)
    if networks is None:
        return None
    right = own_heads(data, networks, 1)[0]
    other = right if base is None else base.right
    gain = [difference(right[[j]], other[[j]], samples=400) if c else (np.nan,) * 3 for j, c in enumerate(weights)]
    return Trained(weights, right, np.array(gain), time.perf_counter() - begun)


# -- figure and widgets ----------------------------------------------------------------------------------------------


def weights_picture(dims: Sequence[int], chosen: Sequence[float], base: Trained, now: Trained, heading: str) -> Picture:
    """Left: accuracy against size. Right: the difference to equal weights in points, above the chosen weights.

    What was trained with other weights than those chosen is drawn pale. Plain data; plotly.graph_objects.Figure makes a
    figure of it.
    """
    color, opacity = plots.COLORS[0], 1.0 if tuple(chosen) == now.weights else 0.3
    x, gain = list(range(len(dims))), 100 * now.gain
    line: dict[str, Any] = {"customdata": list(dims), "mode": "lines+markers"}
    line["hovertemplate"] = "%{customdata} dimensions: %{y:.3f}<extra></extra>"
    equal: dict[str, Any] = {"line": {"color": "#666666", "width": 2, "dash": "dash"}, "marker": {"size": 8}}
    mine: dict[str, Any] = {"line": {"color": color, "width": 4}, "marker": {"size": 11}, "opacity": opacity}
    bars = {"customdata": list(dims), "marker": {"color": color}, "opacity": opacity}
    bars["hovertemplate"] = "%{customdata} dimensions: %{y:+.1f} points<extra></extra>"
    reach = {"array": gain[:, 2] - gain[:, 0], "arrayminus": gain[:, 0] - gain[:, 1]}
    whiskers = {"type": "data", "symmetric": False, **reach, "thickness": 2, "color": plots.INK}
    data = [
        plots.trace("scatter", x, base.accuracy, "all weights 1", **line, **equal),
        plots.trace("scatter", x, now.accuracy, "your weights", **line, **mine),
        plots.trace("bar", x, gain[:, 0], "", 2, error_y=whiskers, **bars),
    ]
    top = max(2.0, 1.1 * float(np.nanmax(np.abs(gain), initial=0.0)))
    low = min(0.8, 0.05 * np.floor(20 * np.nanmin([base.accuracy, now.accuracy])))
    ticks = {"tickvals": x, "range": [-0.5, len(dims) - 0.5], "tickangle": 0}
    names = [f"{m}<br>c = {WORDS.get(c, f'{c:g}')}" for m, c in zip(dims, chosen, strict=True)]
    sizes = {"title": {"text": "size m (dimensions kept)"}, **ticks, "ticktext": [str(m) for m in dims]}
    weighted = {"title": {"text": "size m, and its weight c"}, **ticks, "ticktext": names}
    accuracy = {"title": {"text": "accuracy"}, "range": [low, 1.0], "showgrid": True}
    zero = {"zeroline": True, "zerolinewidth": 2, "zerolinecolor": plots.INK}
    points = {"title": {"text": "points against equal weights"}, "range": [-top, top], "showgrid": True, **zero}
    layout = {**plots.style(heading), "height": 400, "margin": {"l": 70, "r": 20, "t": 60, "b": 80}}
    layout["legend"] = {**plots.legend(0.43), "y": 0.04, "xanchor": "right", "yanchor": "bottom"}
    layout |= plots.subplot(1, (0, 0.44), sizes, accuracy) | plots.subplot(2, (0.56, 1), weighted, points)
    return {"data": data, "layout": layout}


class ImportanceWeights(Panel):
    """Sliders c_m, one for each nested size; networks on `data` (default: digits, 5 folds) follow in seconds.

    A slide shows the new weights at once; training runs in a thread, can be canceled, and ends when the weights
    change again. What has been trained before is shown at once.
    """

    name = "importance-weights"

    def __init__(self, data: LabeledVectors | None = None, config: NetworkConfig = CONFIG, *, seed: int = 0) -> None:
        self.data = from_task(load_task("digits")) if data is None else data
        self.config, self.seed = config, seed
        base = train_with(self.data, config, [1.0] * len(config.dims), seed=seed)
        assert base is not None  # without a report nobody can cancel
        self.base = self.now = base
        self.known = {base.weights: base}
        self.job: Job | None = None
        self._training: tuple[float, ...] | None = None
        self._canceled = False
        self.sliders = [choice_slider(f"c for size {m}", list(CHOICES.items()), 1.0) for m in config.dims]
        self.bar = w.FloatProgress(value=0, min=0, max=1, layout={"width": "220px", "visibility": "hidden"})
        self.cancel = w.Button(description="Cancel", icon="stop", disabled=True)
        self.equal = w.Button(description="All 1")
        self.boost = w.Button(description=f"Boost size {config.dims[0]}")
        rest = [1.0] * (len(config.dims) - 1)
        self.cancel.on_click(lambda _: self.stop())
        self.equal.on_click(lambda _: self.choose([1.0, *rest]))
        self.boost.on_click(lambda _: self.choose([4.0, *rest]))
        self.start([*self.sliders, row(self.equal, self.boost, self.cancel, self.bar)])

    @property
    def weights(self) -> tuple[float, ...]:
        """The sliders' values."""
        return tuple(s.value for s in self.sliders)

    def choose(self, weights: Sequence[float]) -> None:
        """Move all sliders at once."""
        with self.held():
            for slider, c in zip(self.sliders, weights, strict=True):
                slider.value = c
        self.show()

    def picture(self) -> Picture:
        """The state of the sliders, with what was trained last."""
        if not any(self.weights):
            raise InputError("all weights are 0, so nothing would be learned: give at least one size a weight")
        now = self.known.get(self.weights, self.now)
        state = f"trained in {now.seconds:.1f} s" if now.weights == self.weights else "training …"
        if now.weights != self.weights and self._canceled:
            state = "canceled; pale: the weights before"
        heading = f"{len(self.data.tested):,} {self.data.name}: {state}"
        return weights_picture(self.config.dims, self.weights, self.base, now, heading)

    def show(self) -> None:
        """Show the new weights at once, and have them trained."""
        if self._held:
            return
        self._canceled = False
        super().show()
        if self.job is not None and self.job.running:
            if self._wanted != self._training:
                self.job.cancel()  # the newest choice wins: _ended starts it
        else:
            self._train()

    def stop(self) -> None:
        """What the Cancel button does: the last finished training stays on show."""
        if self.job is not None and self.job.running:
            self.job.cancel()
            self._canceled = True
            super().show()

    @property
    def _wanted(self) -> tuple[float, ...] | None:
        """The weights still to be trained."""
        done = self._canceled or not any(self.weights) or self.weights in self.known
        return None if done else self.weights

    def _train(self) -> None:
        weights = self._training = self._wanted
        self._busy(weights is not None)
        if weights is not None:
            self.job = Job(
                lambda report: train_with(self.data, self.config, weights, self.base, report, self.seed),
                on_progress=lambda share, label: self.bar.set_trait("value", share),
                on_done=self._ended,
                on_error=self._failed,
                rest=REST,
            ).start()

    def _ended(self, found: Trained | None) -> None:
        if found is not None:
            self.known[found.weights] = self.now = found
            if found.weights == self.weights:
                super().show()
        self._train()

    def _failed(self, error: Exception) -> None:
        self._busy(False)
        self.say(str(error) if isinstance(error, InputError) else f"training failed: {type(error).__name__}: {error}")

    def _busy(self, busy: bool) -> None:
        self.cancel.disabled = not busy
        self.bar.value, self.bar.layout.visibility = 0.0, "visible" if busy else "hidden"
