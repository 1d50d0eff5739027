"""What the small panels share: controls above, one figure, a line of text below, a message where an input is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ipywidgets as w
import plotly.graph_objects as go

from ..errors import InputError
from .canvas import PlainFigure, canvas
from .explorer_html import STYLE, message
from .fit import Fit

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
    """

    name = "panel"

    def picture(self) -> go.Figure:
        """The present state as a plotly figure. May set `self.note`."""
        raise NotImplementedError

    def start(self, controls: Sequence[w.Widget], below: Sequence[w.Widget] = ()) -> None:
        """Build the box: controls, message, figure, note, `below`; redraw whenever a control's value changes."""
        self.message, self.note = w.HTML(), w.HTML()
        for line in (self.message, self.note):
            line.layout.margin = "0"
        self.figure, shown = canvas(self.picture())
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
        refresh(self.figure, figure)

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
        elif hasattr(widget, "value") and not isinstance(widget, (w.HTML, w.Label, w.HTMLMath, w.IntProgress, w.FloatProgress)):
            found.append(widget)
    return found


def refresh(widget: go.FigureWidget | PlainFigure, figure: go.Figure) -> None:
    """Make `widget` look like `figure`, sending only what differs. Raises ValueError where the traces do not match."""
    if [t.type for t in widget.data] != [t.type for t in figure.data]:
        raise ValueError("a panel's figure must keep the number and kinds of its traces")
    layout = {k: v for k, v in figure.layout.to_plotly_json().items() if k != "template"}
    now = widget.layout.to_plotly_json()
    with widget.batch_update():
        for old, new in zip(widget.data, figure.data, strict=True):
            old.update(new.to_plotly_json(), overwrite=True) if _differ(old, new) else None
        for key, value in layout.items():
            if not _same(now.get(key), value):
                widget.layout[key] = value


def _differ(old: Any, new: Any) -> bool:
    a, b = old.to_plotly_json(), new.to_plotly_json()
    a.pop("uid", None)
    b.pop("uid", None)
    return not _same(a, b)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    try:
        return bool(a == b)
    except ValueError:  # arrays
        import numpy as np

        return np.shape(a) == np.shape(b) and bool(np.array_equal(a, b, equal_nan=_floats(a)))


def _floats(a: Any) -> bool:
    import numpy as np

    return np.asarray(a).dtype.kind == "f"
