"""The base of all panels: what is sent to the browser, what stays, and a plain figure where no live one is shown."""

from __future__ import annotations

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.base import Panel, inputs, int_slider, update


class Powers(Panel):
    """y = x to the power of the slider; 13 is refused."""

    name = "powers"

    def __init__(self) -> None:
        self.power = int_slider("power", 1, 20, low=0)
        self.start([w.HBox([self.power])])

    def picture(self) -> dict:
        p = self.power.value
        if p == 13:
            raise InputError("13 is <unlucky>: take 12")
        self.write(f"power {p}")
        x = np.linspace(0, 1, 5)
        line = {"type": "scatter", "x": x, "y": x**p, "line": {"color": "red" if p > 5 else "blue"}}
        rule = {"type": "line", "x0": p, "x1": p, "y0": 0, "y1": 1}
        return {"data": [line], "layout": {"title": {"text": f"p = {p}"}, "shapes": [rule]}}


@pytest.mark.parametrize("plain", ["", "1"])
def test_a_panel_follows_its_controls(monkeypatch, plain):
    monkeypatch.setenv("MRL_PLAIN", plain)
    panel = Powers()
    assert isinstance(panel.figure, go.FigureWidget) != bool(plain)
    panel.power.value = 6
    np.testing.assert_allclose(panel.figure.data[0].y, np.linspace(0, 1, 5) ** 6)
    assert panel.figure.layout.title.text == "p = 6" and panel.figure.data[0].line.color == "red"
    assert panel.figure.layout.shapes[0].x0 == 6 and "power 6" in panel.note.value
    if plain:
        (output,) = (child for child in panel.box.children if isinstance(child, w.Output))
        (shown,) = output.outputs
        assert all("p = 6" in str(data) for data in shown["data"].values()) and len(shown["data"]) == 2
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
    for name in ("plotly_update", "plotly_relayout", "plotly_restyle"):
        monkeypatch.setattr(type(panel.figure), name, lambda self, *a, name=name: sent.append(name))
    panel.power.value = 7
    assert sent == ["plotly_update"]


def test_controls_that_move_together_are_drawn_once(monkeypatch):
    panel, drawn = Powers(), []
    monkeypatch.setattr(panel, "picture", lambda: drawn.append(1) or Powers.picture(panel))
    with panel.held():
        panel.power.value = 8
        panel.power.value = 9
    assert not drawn
    panel.show()
    assert len(drawn) == 1 and panel.figure.layout.title.text == "p = 9"


def pictures(old: int, new: int) -> list[dict]:
    """Two states of one picture that differ in every way that a panel's may."""
    found = []
    for p in (old, new):
        x = np.linspace(0, 1, 4)
        line = {"type": "scatter", "x": x, "y": x**p, "line": {"width": p}, "customdata": ["a"] * p}
        bars = {"type": "bar", "y": np.stack([x, p * x])[1], "text": [str(p)] * 4, "visible": p < 3}
        rule = {"type": "line", "x0": p, "x1": p, "y0": 0, "y1": 1}
        layout = {"shapes": [rule] * (2 if p < 3 else p), "xaxis": {"range": [0, p]}}
        layout["annotations"] = [{"text": str(p), "x": 0, "y": p}]
        if p < 3:
            layout["title"] = {"text": f"p = {p}"}
        else:
            line["marker"] = {"size": p}
        found.append({"data": [line, bars], "layout": layout})
    return found


@pytest.mark.parametrize("states", [(1, 2), (2, 1), (1, 4), (4, 1), (2, 2)])
def test_an_updated_widget_is_the_new_picture(states):
    old, new = pictures(*states)
    widget = go.FigureWidget(go.Figure(old))
    assert update(widget, old, new) == (states != (2, 2))
    assert tidy(widget) == tidy(go.Figure(new))


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
    old, new = pictures(1, 2)
    later = {**new, "layout": {**new["layout"], "title": {"text": "later"}}}
    widget = go.FigureWidget(go.Figure(old))
    update(widget, old, new)  # this moves the axis' range
    widget.plotly_relayout({"xaxis.range[0]": 0.25, "xaxis.range[1]": 0.5})  # what a zoom in the browser comes to
    update(widget, new, later)
    assert tuple(widget.layout.xaxis.range) == (0.25, 0.5) and widget.layout.title.text == "later"
    assert new["layout"]["xaxis"]["range"] == [0, 2]


def test_only_what_differs_is_sent_and_what_is_the_same_sends_nothing(monkeypatch):
    (old, new), (again, _) = pictures(1, 2), pictures(1, 2)
    widget, sent = go.FigureWidget(go.Figure(old)), []
    monkeypatch.setattr(type(widget), "plotly_update", lambda self, *a: sent.append(a))
    monkeypatch.setattr(type(widget), "plotly_relayout", lambda self, *a: pytest.fail("nothing to send"))
    assert not update(widget, old, again) and not sent
    update(widget, old, new)
    ((style, layout, traces),) = sent
    assert set(style) == {"y", "line.width", "customdata", "text"} and traces == [0, 1]
    marks = {f"shapes[{i}].x{j}" for i in (0, 1) for j in (0, 1)}
    assert set(layout) == {"title.text", "xaxis.range", "annotations[0].text", "annotations[0].y", *marks}


def test_arrays_go_out_in_one_piece(monkeypatch):
    widget, sent = go.FigureWidget(go.Figure([go.Scatter(y=[0, 1])])), []
    monkeypatch.setattr(type(widget), "plotly_update", lambda self, *a: sent.append(a))
    old, new = ({"data": [{"y": y}], "layout": {}} for y in (np.zeros(4), np.arange(12.0).reshape(4, 3).T[1]))
    update(widget, old, new)
    (y,) = sent[0][0]["y"]
    assert y.flags["C_CONTIGUOUS"] and y.tolist() == [1, 4, 7, 10]


def test_a_picture_with_more_traces_is_refused():
    old, new = {"data": [{"y": [1]}], "layout": {}}, {"data": [{"y": [1]}] * 2, "layout": {}}
    with pytest.raises(ValueError, match="longer"):
        update(go.FigureWidget(go.Figure(old)), old, new)


def test_only_what_a_reader_sets_is_observed():
    box = w.VBox([w.HBox([w.IntSlider(), w.Label("x")]), w.HTML("y"), w.Text(), w.Button(), w.FloatProgress()])
    assert [type(x) for x in inputs([box])] == [w.IntSlider, w.Text]
