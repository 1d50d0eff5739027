"""The plain renderer: a panel works the same where no FigureWidget is shown."""

from __future__ import annotations

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.base import SLIDER, Panel, inputs
from mrl_tutorial.panels.canvas import PlainFigure


class Powers(Panel):
    """y = x to the power of the slider; 13 is refused."""

    name = "powers"

    def __init__(self) -> None:
        self.power = w.IntSlider(value=1, min=0, max=20, description="power", **SLIDER)
        self.start([w.HBox([self.power])])

    def picture(self) -> go.Figure:
        p = self.power.value
        if p == 13:
            raise InputError("13 is <unlucky>: take 12")
        self.write(f"power {p}")
        x = np.linspace(0, 1, 5)
        figure = go.Figure([go.Scatter(x=x, y=x**p, line={"color": "red" if p > 5 else "blue"})])
        return figure.update_layout(title=f"p = {p}", shapes=[{"type": "line", "x0": p, "x1": p, "y0": 0, "y1": 1}])


@pytest.mark.parametrize("plain", ["", "1"])
def test_a_panel_follows_its_controls(monkeypatch, plain):
    monkeypatch.setenv("MRL_PLAIN", plain)
    panel = Powers()
    assert isinstance(panel.figure, PlainFigure if plain else go.FigureWidget)
    panel.power.value = 6
    np.testing.assert_allclose(panel.figure.data[0].y, np.linspace(0, 1, 5) ** 6)
    assert panel.figure.layout.title.text == "p = 6" and panel.figure.data[0].line.color == "red"
    assert panel.figure.layout.shapes[0].x0 == 6 and "power 6" in panel.note.value
    if plain:
        (shown,) = panel.figure.widget.outputs
        assert "p = 6" in str(shown["data"])
    assert panel.static().layout.title.text == "p = 6" and not isinstance(panel.static(), go.FigureWidget)


def test_a_wrong_input_is_a_message_and_the_figure_stays():
    panel = Powers()
    panel.power.value = 12
    panel.power.value = 13
    assert "13 is &lt;unlucky&gt;: take 12" in panel.message.value and 'role="alert"' in panel.message.value
    assert panel.figure.layout.title.text == "p = 12"
    panel.power.value = 14
    assert panel.message.value == "" and panel.figure.layout.title.text == "p = 14"


def test_one_message_a_change(monkeypatch):
    panel, sent = Powers(), []
    monkeypatch.setattr(type(panel.figure), "_send_update_msg", lambda self, *a, **k: sent.append("update"), raising=False)
    monkeypatch.setattr(type(panel.figure), "_send_relayout_msg", lambda self, *a, **k: sent.append("relayout"))
    monkeypatch.setattr(type(panel.figure), "_send_restyle_msg", lambda self, *a, **k: sent.append("restyle"))
    panel.power.value = 7
    assert len(sent) == 1, sent


def test_only_what_a_reader_sets_is_observed():
    box = w.VBox([w.HBox([w.IntSlider(), w.Label("x")]), w.HTML("y"), w.Text(), w.Button(), w.IntProgress()])
    assert [type(x) for x in inputs([box])] == [w.IntSlider, w.Text]
