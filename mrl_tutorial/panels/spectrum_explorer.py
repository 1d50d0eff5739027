"""The spectrum explorer: a layer's variance, and what cutting it in three ways leaves of retrieval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.panel import Panel, slider, switch
from mrl_tutorial.panels.spectrum_tables import Parts, SpectrumData, spectrum_data


class SpectrumExplorer(Panel):
    """Slide over layers and dimensions: the spectrum, the variance kept, and quality by PCA, prefix and random choice.

    models: an Encoder, or name -> Encoder or embeddings; all is measured once (cached), and sliding only looks it up.
    layer: the last where None. dim: the nearest one that was measured. Further options and errors are those of
    `spectrum_data`; `data` holds what it measured.

    >>> quality = {way: np.full((1, 2, 2), 0.5) for way in ("PCA", "prefix", "random coordinates")}
    >>> spectra = np.ones((1, 2, 8))
    >>> SpectrumExplorer.of(SpectrumData(("plain",), (4, 8), spectra, spectra, quality, "ndcg@10", "dev"), dim=5).state
    {'model': 'plain', 'layer': 2, 'dim': 4}
    """

    view = "spectrum"

    def __init__(
        self,
        task: Any,
        models: Encoder | Mapping[str, Encoder | Parts],
        *,
        layer: int | None = None,
        dim: int = 64,
        model: str | None = None,
        **options: Any,
    ) -> None:
        models = {models.name: models} if isinstance(models, Encoder) else models
        self._open(spectrum_data(task, models, **options), layer, dim, model)

    @classmethod
    def of(
        cls, data: SpectrumData, *, layer: int | None = None, dim: int = 64, model: str | None = None
    ) -> SpectrumExplorer:
        """The panel over data that have been measured already."""
        panel = cls.__new__(cls)
        panel._open(data, layer, dim, model)
        return panel

    def _open(self, data: SpectrumData, layer: int | None, dim: int, model: str | None) -> None:
        self.data = data
        nearest = min(data.dims, key=lambda d: abs(d - dim))
        layers = range(1, data.n_layers + 1)
        controls = [
            [switch("model", "model", data.models)],
            [slider("layer", "layer", layers, play=True), slider("dim", "dimension", data.dims, play=True)],
        ]
        state = {"model": model or data.models[0], "layer": layer or data.n_layers, "dim": nearest}
        super().__init__(controls, state, **_tables(data))


def _tables(data: SpectrumData) -> dict[str, Any]:
    """What the browser looks up; models first, then layers, in every array."""

    def every(one: Any) -> np.ndarray:
        return np.array(
            [[one(model, layer + 1) for layer in range(data.n_layers)] for model in data.models], np.float32
        )

    return {
        "models": data.models,
        "dims": data.dims,
        "width": data.width,
        "metric": data.metric,
        "split": data.split,
        "variances": data.variances.astype(np.float32),
        "rank": every(data.effective_rank),
        "shares": {"PCA": every(data.explained), "prefix": every(data.in_prefix)},
        "quality": {way: values.astype(np.float32) for way, values in data.quality.items()},
    }
