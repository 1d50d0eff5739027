"""Importance weights: a weight for every nested size, and a small network that is trained anew as they move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mrl_tutorial.classification.labeled_vectors import LabeledVectors, Trained, Weights, from_task, train_with
from mrl_tutorial.classification.small_networks import NetworkConfig
from mrl_tutorial.panels.job import WorkingPanel, in_words
from mrl_tutorial.panels.panel import button, slider
from mrl_tutorial.tasks.load import load_task

CHOICES = {"0": 0.0, "1/8": 0.125, "1/4": 0.25, "1/2": 0.5, "1": 1.0, "2": 2.0, "4": 4.0, "8": 8.0, "16": 16.0}
CONFIG = NetworkConfig(epochs=20)
REST = 0.3  # seconds: training waits for a pause between slides, which it would slow down
ZERO = "all weights are 0, so nothing would be learned: give at least one size a weight"


class ImportanceWeights(WorkingPanel):
    """Sliders c_m, one for each nested size; networks on `data` (default: digits, 5 folds) follow in seconds.

    A slide shows the new weights at once; training runs in a thread, can be canceled, and ends when the weights
    change again. What has been trained before is shown at once. state: weights to begin with, such as c2=4.0.
    """

    view = "weights"

    def __init__(
        self, data: LabeledVectors | None = None, config: NetworkConfig = CONFIG, *, seed: int = 0, **state: Any
    ) -> None:
        self.data = from_task(load_task("digits")) if data is None else data
        self.config, self.seed = config, seed
        base = train_with(self.data, config, [1.0] * len(config.dims), seed=seed)
        assert base is not None  # without a report nobody can cancel
        self.base, self.known = base, {base.weights: base}
        self._training: Weights | None = None
        equal = {f"c{m}": 1.0 for m in config.dims}
        sliders = [slider(f"c{m}", f"weight c{m}", list(CHOICES.values()), list(CHOICES)) for m in config.dims]
        boost = button(f"Boost size {config.dims[0]}", set={**equal, f"c{config.dims[0]}": 4.0})
        about = {"dims": config.dims, "items": len(self.data.tested), "name": self.data.name}
        about |= {"folds": len(self.data.rounds)}
        controls = [sliders, [button("All 1", set=equal), boost]]
        super().__init__(controls, equal | state, **about, **self._results(base))

    @property
    def weights(self) -> Weights:
        """The sliders' values."""
        return tuple(float(self.state[f"c{m}"]) for m in self.config.dims)

    def train(self, **weights: float) -> Trained:
        """Move sliders, as in `train(c2=4.0)`, and train at once, in the foreground: returns when it is done."""
        self.set(**weights)
        if self.weights not in self.known:
            self._keep(train_with(self.data, self.config, self.weights, self.base, None, self.seed))
        return self.known[self.weights]

    def on_train(self, weights: Sequence[float]) -> None:
        """Have these weights trained; the newest choice wins. The browser tells of every choice, known ones too."""
        chosen = tuple(float(c) for c in weights)
        if not any(chosen):
            self._stop({"error": ZERO})
        elif chosen in self.known:
            self._stop({})
        elif not (self.busy and chosen == self._training):
            self._stop({"share": 0.0, "label": "training …"})
            self._training, given = chosen, (self.data, self.config, chosen, self.base)
            self.begin(lambda report: train_with(*given, report, self.seed), self._ended, REST)

    def on_cancel(self) -> None:
        """The Cancel button: the last finished training stays on show."""
        self._stop({"label": "canceled: the last trained weights stay on show, drawn pale"})

    def progress(self, share: float, label: str) -> bool:
        """As for every panel; the label of an epoch says nothing to a reader."""
        return super().progress(share, "training …")

    def _stop(self, status: dict[str, Any]) -> None:
        """End what trains, and hear no more of it."""
        super().on_cancel()
        self._job, self.status = None, status

    def _ended(self, found: Trained | Exception | None) -> None:
        if isinstance(found, Exception):
            self.status = {"error": f"training failed: {in_words(found)}"}
        else:
            self._keep(found)
            self.status = {}

    def _keep(self, found: Trained | None) -> None:
        if found is not None:
            self.known[found.weights] = found
            self.publish(**self._results(found))

    def _results(self, last: Trained) -> dict[str, Any]:
        """What is known, by weights written as the browser writes them, and which of it came last."""
        known = {}
        for t in self.known.values():
            accuracy, gain = t.accuracy.astype("f4"), (100 * t.gain).astype("f4")
            known[_written(t)] = {"accuracy": accuracy, "gain": gain, "seconds": t.seconds}
        return {"results": known, "last": _written(last)}


def _written(trained: Trained) -> str:
    return ",".join(f"{c:g}" for c in trained.weights)
