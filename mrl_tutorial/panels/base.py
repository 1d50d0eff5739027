"""What all panels share: controls above, one figure, html below, and a message where an input is wrong."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import anywidget
import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
from plotly.basedatatypes import Undefined

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.markup import STYLE, message
from mrl_tutorial.panels.plots import LABELS

Picture = dict[str, Any]  # a plotly figure as plain data: {"data": [...], "layout": {...}}
LABEL = {"description_width": "150px"}
WIDE = {"style": LABEL, "layout": {"width": "98%"}}


class Panel:
    """A panel: `picture()` draws the state of the controls as plain data, and this class keeps it on the screen.

    A panel sets `name`, makes its controls, calls `start`, and defines `picture`. The figure must always have the same
    traces. An InputError raised there becomes a message in the panel, and the figure stays as it was.
    """

    name = "panel"
    _held = False

    def picture(self) -> Picture:
        """The present state as a figure, as plain data. May call `write`."""
        raise NotImplementedError

    def start(self, controls: Sequence[w.Widget], below: Sequence[w.Widget] = ()) -> None:
        """Build the box (controls, message, figure, note, `below`), and redraw whenever a control's value changes."""
        self.message, self.note = w.HTML(layout={"margin": "0"}), w.HTML(layout={"margin": "0"})
        self._shown = self.picture()
        figure = go.Figure(self._shown)  # a copy
        figure.update_xaxes(**LABELS).update_yaxes(**LABELS)
        if os.environ.get("MRL_PLAIN") == "1":
            self.figure, self._canvas = figure, w.Output()
        else:
            self.figure = self._canvas = go.FigureWidget(figure)
            # a FigureWidget has no public way to set plotly's configuration
            self.figure._config = {"responsive": True, "displayModeBar": False}
        self._paint()
        self.box = w.VBox([w.HTML(STYLE), KeepWidth(), *controls, self.message, self._canvas, self.note, *below])
        self.box.add_class("mrl-panel").add_class(f"mrl-{self.name}")
        for control in inputs(controls):
            control.observe(lambda _: self.show(), "value")

    def show(self) -> None:
        """Bring the figure to the state of the controls, in one message to the browser."""
        if self._held:
            return
        try:
            picture = self.picture()
        except InputError as error:
            self.say(str(error))
            return
        self.say("")
        if update(self.figure, self._shown, picture):
            self._paint()
        self._shown = picture

    def _paint(self) -> None:
        """Where a notebook shows no live figure ($MRL_PLAIN is 1): draw the whole figure anew."""
        if isinstance(self._canvas, w.Output):
            page = self.figure.to_html(include_plotlyjs="cdn", full_html=False)
            data = {"application/vnd.plotly.v1+json": json.loads(self.figure.to_json()), "text/html": page}
            self._canvas.outputs = ({"output_type": "display_data", "data": data, "metadata": {}},)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Several controls may be moved in the block without a redraw after each."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def say(self, sentence: str) -> None:
        """Show `sentence` as a message in the panel; an empty one takes it away."""
        self.message.value = message(sentence, error=True)

    def write(self, text: str) -> None:
        """Put html below the figure."""
        self.note.value = f'<div class="mrl">{text}</div>'

    def static(self) -> go.Figure:
        """The present state as a plain figure, for where widgets do not run."""
        return go.Figure(self.picture())

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.box._repr_mimebundle_(**options)


class KeepWidth(anywidget.AnyWidget):
    """A widget that shows nothing and keeps the figures beside it as wide as their panel.

    Plotly measures its container when it draws, which may be before the notebook has laid it out, and again only when
    the window changes its size; a panel also changes its width when a side bar opens.
    """

    _esm = """
    export default {
      render({ el }) {
        el.style.width = "100%";
        const fit = () => window.dispatchEvent(new Event("resize"));
        const size = new ResizeObserver(fit);
        size.observe(el);
        const timers = [100, 500, 1500, 4000].map((after) => setTimeout(fit, after));
        return () => { size.disconnect(); timers.forEach(clearTimeout); };
      },
    };
    """


def int_slider(description: str, value: int, high: int, low: int = 1) -> w.IntSlider:
    """A slider over the whole numbers from `low` to `high`."""
    return w.IntSlider(value=value, min=low, max=high, description=description, **WIDE)


def choice_slider(description: str, options: Sequence, value: Any) -> w.SelectionSlider:
    """A slider over given values, or (words, value) pairs."""
    return w.SelectionSlider(options=options, value=value, description=description, **WIDE)


def dropdown(description: str, options: Sequence, value: Any = None, width: str = "98%") -> w.Dropdown:
    """A menu of values, or (words, value) pairs; it starts on the first where no value is given."""
    extra = {} if value is None else {"value": value}
    return w.Dropdown(options=options, description=description, style=LABEL, layout={"width": width}, **extra)


def switch(description: str, options: Sequence, value: Any = None) -> w.ToggleButtons:
    """Buttons of which one is pressed; it starts on the first where no value is given."""
    extra = {} if value is None else {"value": value}
    style = {**LABEL, "button_width": "auto"}
    return w.ToggleButtons(options=options, description=description, style=style, **extra)


def row(*widgets: w.Widget) -> w.HBox:
    """Widgets beside each other, wrapped where they do not fit."""
    return w.HBox(widgets, layout={"flex_flow": "row wrap", "align_items": "center"})


def columns(*lists: Sequence[w.Widget]) -> w.HBox:
    """Lists of widgets as columns of equal width."""
    return w.HBox([w.VBox(widgets, layout={"width": f"{100 // len(lists)}%"}) for widgets in lists])


def inputs(widgets: Iterable[w.Widget]) -> list[w.Widget]:
    """All widgets with a value that a reader sets, also those in boxes."""
    found = []
    for widget in widgets:
        if isinstance(widget, w.Box):
            found += inputs(widget.children)
        elif hasattr(widget, "value") and not isinstance(widget, (w.HTML, w.Label, w.FloatProgress)):
            found.append(widget)
    return found


def update(figure: go.Figure, old: Picture, new: Picture) -> bool:
    """Send `figure` what differs between the pictures, in one message. Returns whether anything does.

    What a reader did by hand, such as zooming, stays. Raises ValueError where the number of traces differs.
    """
    pairs = zip(old["data"], new["data"], strict=True)
    traces = {i: found for i, (a, b) in enumerate(pairs) if (found := dict(changes(a, b)))}
    layout = copy.deepcopy(dict(changes(old["layout"], new["layout"])))  # a zoom is written into what the figure keeps
    if traces:  # plotly takes a list for each property, with an item for each trace
        paths = sorted({path for found in traces.values() for path in found})
        style = {path: [_copied(found.get(path, Undefined)) for found in traces.values()] for path in paths}
        figure.plotly_update(style, layout, list(traces))
    elif layout:
        figure.plotly_relayout(layout)
    return bool(traces or layout)


def changes(old: Mapping[str, Any], new: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of what makes `new` out of `old`, with None for what is gone. The template never changes.

    >>> dict(changes({"title": {"text": "a"}, "width": 3}, {"title": {"text": "b"}, "width": 3}))
    {'title.text': 'b'}
    """
    for key in {**old, **new}:
        a, b, path = old.get(key), new.get(key), at + key
        if key == "template" or a is b:
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from changes(a, b, path + ".")
        elif isinstance(a, list) and isinstance(b, list) and _alike(a, b):
            for i, (x, y) in enumerate(zip(a, b, strict=True)):
                yield from changes(x, y, f"{path}[{i}].")
        elif not _same(a, b):
            yield path, b


def _alike(a: list, b: list) -> bool:
    return 0 < len(a) == len(b) and all(isinstance(v, Mapping) for v in (*a, *b))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and np.array_equal(a, b, equal_nan=True)
    return type(a) is type(b) and bool(a == b)


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)  # in one piece, as a message's buffer must be
    return value if value is Undefined else copy.deepcopy(value)
