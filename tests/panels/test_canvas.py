"""The plain renderer: a panel works the same where no FigureWidget is shown."""

from __future__ import annotations

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.base import SLIDER, Panel, inputs, plain, refresh, send
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
    monkeypatch.setattr(
        type(panel.figure), "_send_update_msg", lambda self, *a, **k: sent.append("update"), raising=False
    )
    monkeypatch.setattr(type(panel.figure), "_send_relayout_msg", lambda self, *a, **k: sent.append("relayout"))
    monkeypatch.setattr(type(panel.figure), "_send_restyle_msg", lambda self, *a, **k: sent.append("restyle"))
    panel.power.value = 7
    assert len(sent) == 1, sent


def figures(old: int, new: int) -> list[go.Figure]:
    """Two states of one figure that differ in every way that a panel's may."""
    found = []
    for p in (old, new):
        x = np.linspace(0, 1, 4)
        figure = go.Figure([
            go.Scatter(x=x, y=x**p, line={"width": p}, marker=None if p < 3 else {"size": p}, customdata=["a"] * p),
            go.Bar(y=np.stack([x, p * x])[1], text=[str(p)] * 4, visible=p < 3),
        ])  # fmt: skip
        rule = {"type": "line", "x0": p, "x1": p, "y0": 0, "y1": 1}
        figure.update_layout(title={"text": f"p = {p}"} if p < 3 else None, shapes=[rule] * (2 if p < 3 else p),
                             xaxis={"range": [0, p]}, annotations=[{"text": str(p), "x": 0, "y": p}])  # fmt: skip
        found.append(figure)
    return found


@pytest.mark.parametrize("as_data", [False, True])
@pytest.mark.parametrize("states", [(1, 2), (2, 1), (1, 4), (4, 1), (2, 2)])
def test_a_refreshed_widget_is_the_new_figure(states, as_data):
    old, new = figures(*states)
    widget = go.FigureWidget(old)
    refresh(widget, plain(new) if as_data else new, plain(old) if as_data else None)

    assert tidy(widget) == tidy(new)


def tidy(value):
    """A figure as plain lists and dicts, without what is None or empty and without plotly's ids."""
    if hasattr(value, "to_plotly_json"):
        return {part: tidy(value.to_plotly_json()[part]) for part in ("data", "layout")}
    if isinstance(value, dict):
        found = {k: tidy(v) for k, v in value.items() if k not in ("uid", "template")}
        return {k: v for k, v in found.items() if v is not None and v != {}}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [tidy(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def test_a_readers_zoom_stays_while_all_else_moves():
    old, new = figures(1, 2)
    later = go.Figure(new).update_layout(title_text="later")
    old, new, later = plain(old), plain(new), plain(later)
    widget = go.FigureWidget(go.Figure(old))
    refresh(widget, new, old)  # this moves the axis' range
    widget._js2py_relayout = {"relayout_data": {"xaxis.range[0]": 0.25, "xaxis.range[1]": 0.5}, "source_view_id": None}
    refresh(widget, later, new)
    assert tuple(widget.layout.xaxis.range) == (0.25, 0.5) and widget.layout.title.text == "later"
    assert list(new["layout"]["xaxis"]["range"]) == [0, 2]


def test_only_what_differs_is_sent_and_what_is_the_same_sends_nothing(monkeypatch):
    old, new = figures(1, 2)
    widget, sent = go.FigureWidget(old), []
    monkeypatch.setattr(type(widget), "plotly_update", lambda self, *a: sent.append(a))
    refresh(widget, old, old)
    assert not sent
    refresh(widget, new, old)
    ((style, layout, traces),) = sent
    assert set(style) == {"y", "line.width", "customdata", "text"} and traces == [0, 1]
    assert set(layout) == {"title.text", "xaxis.range", "annotations[0].text", "annotations[0].y",
                           *(f"shapes[{i}].x{j}" for i in (0, 1) for j in (0, 1))}  # fmt: skip


def test_arrays_go_out_in_one_piece(monkeypatch):
    widget, sent = go.FigureWidget(go.Figure([go.Scatter(y=[0, 1])])), []
    monkeypatch.setattr(type(widget), "plotly_update", lambda self, *a: sent.append(a))
    send(widget, {0: {"y": np.arange(12.0).reshape(4, 3).T[1]}}, {})
    (y,) = sent[0][0]["y"]
    assert y.flags["C_CONTIGUOUS"] and y.tolist() == [1, 4, 7, 10]


def test_a_figure_with_other_traces_is_refused():
    with pytest.raises(ValueError, match="number and kinds"):
        refresh(go.FigureWidget(go.Figure([go.Bar(y=[1])])), go.Figure([go.Scatter(y=[1])]))


def test_only_what_a_reader_sets_is_observed():
    box = w.VBox([w.HBox([w.IntSlider(), w.Label("x")]), w.HTML("y"), w.Text(), w.Button(), w.IntProgress()])
    assert [type(x) for x in inputs([box])] == [w.IntSlider, w.Text]
