"""What the small panels share: controls above, one figure, a line of text below, a message where an input is wrong."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
from plotly.basedatatypes import Undefined

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.canvas import PlainFigure, canvas
from mrl_tutorial.panels.explorer_html import STYLE, message
from mrl_tutorial.panels.fit import Fit
from mrl_tutorial.panels.plots.figures import LABELS

FACE = """<style>
.mrl-panel .widget-label,.mrl-panel .widget-readout,.mrl-panel input,.mrl-panel select,.mrl-panel button,
.mrl-panel .widget-label-basic span{font-size:15px!important}
.mrl-panel .mrl{overflow-x:auto}
</style>"""
SLIDER = {"style": {"description_width": "150px"}, "layout": {"width": "98%"}, "continuous_update": True}


class Panel:
    """A panel is wiring: `picture()` (pure) draws the state of the controls; this class keeps it on the screen.

    A panel sets `name`, builds its controls, calls `start`, and defines `picture`, whose figure must always have the
    same number and kinds of traces. An InputError raised there becomes a message in the panel, and the figure stays.
    Tick labels are horizontal, as `LABELS` has them, whether they collide or not.
    """

    name = "panel"
    _sent: go.Figure | Mapping[str, Any] | None = None  # the picture that is shown; None where it is not known

    def picture(self) -> go.Figure | Mapping[str, Any]:
        """The present state as a plotly figure or, quicker at every slide, as plain data: {"data": …, "layout": …}.
        May set `self.note`."""
        raise NotImplementedError

    def start(self, controls: Sequence[w.Widget], below: Sequence[w.Widget] = ()) -> None:
        """Build the box: controls, message, figure, note, `below`; redraw whenever a control's value changes."""
        self.message, self.note = w.HTML(), w.HTML()
        for line in (self.message, self.note):
            line.layout.margin = "0"
        self._sent = self.picture()
        figure = go.Figure(self._sent)  # a copy
        figure.update_xaxes(**LABELS).update_yaxes(**LABELS)  # a slide is drawn sooner
        self.figure, shown = canvas(figure)
        self.box = w.VBox([w.HTML(STYLE + FACE), Fit(), *controls, self.message, shown, self.note, *below])
        self.box.add_class("mrl-panel")
        self.box.add_class(f"mrl-{self.name}")
        for control in inputs(controls):
            control.observe(lambda _: self.show(), "value")

    def show(self) -> None:
        """Bring the figure to the state of the controls, in one message to the browser."""
        try:
            figure = self.picture()
        except InputError as error:
            self.say(str(error))
            return
        self.say("")
        refresh(self.figure, figure, self._sent)
        self._sent = figure

    def say(self, sentence: str) -> None:
        """Show `sentence` as a message in the panel; an empty one takes it away."""
        value = message(sentence, error=True)
        if self.message.value != value:
            self.message.value = value

    def write(self, text: str) -> None:
        """Put html below the figure."""
        value = f'<div class="mrl">{text}</div>'
        if self.note.value != value:
            self.note.value = value

    def static(self) -> go.Figure:
        """The present state as a plain figure, for where widgets do not run."""
        return go.Figure(self.picture())

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.box._repr_mimebundle_(**options)


def beside(text: str) -> w.Label:
    """A label for a control that has none of its own, ending where those of the sliders end."""
    return w.Label(text, layout={"width": "150px", "display": "flex", "justify_content": "flex-end"})


def inputs(widgets: Iterable[w.Widget]) -> list[w.Widget]:
    """All widgets with a value that a reader sets, boxes searched."""
    found = []
    for widget in widgets:
        if isinstance(widget, w.Box):
            found += inputs(widget.children)
        elif hasattr(widget, "value") and not isinstance(
            widget, (w.HTML, w.Label, w.HTMLMath, w.IntProgress, w.FloatProgress)
        ):
            found.append(widget)
    return found


def refresh(
    widget: go.FigureWidget | PlainFigure, figure: go.Figure | Mapping, before: go.Figure | Mapping | None = None
) -> None:
    """Make `widget` look like `figure`, sending only what differs from `before`, which it shows: what a reader did by
    hand, such as zooming, stays. Without `before` the widget itself is compared, and loses that. Raises ValueError
    where the traces do not match."""
    old, new = plain(widget if before is None else before), plain(figure)
    if [t.get("type", "scatter") for t in old["data"]] != [t.get("type", "scatter") for t in new["data"]]:
        raise ValueError("a panel's figure must keep the number and kinds of its traces")
    traces = {i: dict(changes(a, b)) for i, (a, b) in enumerate(zip(old["data"], new["data"], strict=True))}
    send(widget, traces, dict(changes(old["layout"], new["layout"])))


def send(widget: go.Figure | PlainFigure, traces: Mapping[int, Mapping[str, Any]], layout: Mapping[str, Any]) -> None:
    """Set properties, path -> value, of traces (by place) and layout in one message; assigning to the attributes of a
    figure instead takes longer. Nothing is sent where nothing is given."""
    traces = {i: found for i, found in traces.items() if found}
    paths = sorted({path for found in traces.values() for path in found})
    style = {path: [_whole(found.get(path, Undefined)) for found in traces.values()] for path in paths}  # one a trace
    if style or layout:
        widget.plotly_update(style, copy.deepcopy(dict(layout)), list(traces))


def _whole(value: Any) -> Any:
    # arrays in one piece, as a message's buffer must be; all else copied: a zoom is written into what the widget keeps
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)
    return copy.deepcopy(value) if isinstance(value, (list, dict)) else value


def plain(figure: go.Figure | PlainFigure | Mapping) -> Mapping[str, Any]:
    """A figure as plain data, without the ids that plotly gives to traces; plain data as they are."""
    if isinstance(figure, Mapping):
        return figure
    return {"data": [t.to_plotly_json() for t in figure.data], "layout": figure.layout.to_plotly_json()}


def changes(old: Mapping[str, Any], new: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of what makes `new` out of `old`: "title.text", "shapes[0].x0"; None for what is gone. The template
    never changes, a trace's id is plotly's."""
    for key in {**old, **new}:
        a, b, path = old.get(key), new.get(key), at + key
        if path in ("template", "uid") or a is b:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from changes(a, b, path + ".")
        elif _records(a) and _records(b) and len(a) == len(b):
            for i, (x, y) in enumerate(zip(a, b, strict=True)):
                yield from changes(x, y, f"{path}[{i}].")
        elif not _same(a, b):
            yield path, b


def _records(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and len(values) > 0 and all(isinstance(v, Mapping) for v in values)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    try:
        return bool(a == b)
    except ValueError:  # arrays
        return np.shape(a) == np.shape(b) and bool(np.array_equal(a, b, equal_nan=_floats(a)))


def _floats(a: Any) -> bool:
    return np.asarray(a).dtype.kind == "f"
