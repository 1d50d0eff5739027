"""Where a panel's figure is drawn: a FigureWidget, or, where a notebook shows none, a plain figure drawn anew."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import ipywidgets as w
import plotly.graph_objects as go


class PlainFigure:
    """Stands in for a FigureWidget: keeps a plain figure, and draws all of it into `widget` after every change."""

    def __init__(self, figure: go.Figure) -> None:
        self.plot, self.widget = go.Figure(figure), w.Output()
        self.draw()

    @property
    def data(self) -> Any:
        """The figure's traces."""
        return self.plot.data

    @property
    def layout(self) -> Any:
        """The figure's layout."""
        return self.plot.layout

    @contextlib.contextmanager
    def batch_update(self) -> Iterator[None]:
        """Change traces and layout in the block; drawn when it ends."""
        with self.plot.batch_update():
            yield
        self.draw()

    def plotly_relayout(self, layout: dict[str, Any]) -> None:
        """As plotly's."""
        self.plot.plotly_relayout(layout)
        self.draw()

    def plotly_update(self, *args: Any) -> None:
        """As plotly's."""
        self.plot.plotly_update(*args)
        self.draw()

    def draw(self) -> None:
        """Show the figure as plotly's renderer for this notebook does."""
        bundle = self.plot._repr_mimebundle_() or {
            "text/html": self.plot.to_html(include_plotlyjs="cdn", full_html=False)
        }
        self.widget.outputs = ({"output_type": "display_data", "data": bundle, "metadata": {}},)


def canvas(figure: go.Figure) -> tuple[go.FigureWidget | PlainFigure, w.Widget]:
    """What to change, and the widget that shows it. $MRL_PLAIN=1, or an environment without FigureWidget: plain."""
    if os.environ.get("MRL_PLAIN") != "1":
        try:
            live = go.FigureWidget(figure)
        except ImportError:  # no anywidget
            pass
        else:
            live._config = {"responsive": True, "displayModeBar": False}
            return live, live
    plain = PlainFigure(figure)
    return plain, plain.widget
