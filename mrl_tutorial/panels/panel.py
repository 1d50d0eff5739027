"""What all panels share: tables that are in the browser, a state that Python can read and set, and a page of it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import numpy as np
import traitlets

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import whole_file
from mrl_tutorial.panels.packing import pack, unpack
from mrl_tutorial.panels.script import page, stylesheet, widget_module

Control = dict[str, Any]
PAGE = "panel's page: "


class Panel(anywidget.AnyWidget):
    """A panel. A subclass names its module in `web/` and gives tables, controls and a first state to `__init__`.

    The browser looks everything up in the tables, so a slide asks nobody. `state` holds the controls' values, a moment
    after the reader has let go; `set` changes them. A button or a missing table sends a message {"ask": name, ...},
    which the method `on_<name>` answers by `publish` or by setting `status`: share (0 … 1), label, error.
    """

    view: ClassVar[str] = "panel"
    tables = traitlets.Bytes().tag(sync=True)
    more = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "view" in vars(cls):  # not the class that anywidget makes of an instance
            cls._esm, cls._css = widget_module(cls.view), stylesheet()

    def __init__(self, controls: Sequence[Sequence[Control]], state: dict[str, Any], **tables: Any) -> None:
        self.controls = _named(controls)
        self._data = {"controls": controls, **tables}
        super().__init__(tables=pack(self._data), state=self._checked(state))
        self.on_msg(lambda _, message, buffers: self._receive(message))

    def set(self, **changes: Any) -> None:
        """Move controls, as in `panel.set(layer=3, dim=64)`. Raises InputError for a value that a control lacks."""
        self.state = {**self.state, **self._checked(changes)}

    def publish(self, **tables: Any) -> None:
        """Replace some of the tables, in every view of the panel."""
        self._data = {**self._data, **tables}
        self.controls = _named(self._data["controls"])
        with self.hold_sync():  # in one message: the old tables alone may lack what is on show
            self.more, self.tables = {}, pack(self._data)

    def page(self, title: str = "") -> str:
        """The panel as it is now, as one html file that works without a kernel and loads nothing."""
        tables = pack(reduce(_merged, map(unpack, self.more.values()), self._data)) if self.more else self.tables
        return page(self.view, tables, self.state, title or type(self).__name__)

    def save_page(self, path: str | Path, title: str = "") -> None:
        """Write `page` to a file, whole or not at all."""
        with whole_file(path) as temporary:
            temporary.write_text(self.page(title), encoding="utf-8")

    def _checked(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state in plain numbers and words, as the browser has them."""
        for name in state:
            if name not in self.controls:
                raise InputError(f"this panel has no control {name!r}: there are {', '.join(self.controls)}")
        return {name: _possible(self.controls[name], value) for name, value in state.items()}

    def _receive(self, message: dict[str, Any]) -> None:
        answer = getattr(self, f"on_{message.pop('ask', None)}", None)
        if answer is None:
            return
        before = self.status = {name: value for name, value in self.status.items() if name != "error"}
        try:
            answer(**message)
        except InputError as error:
            self.status = {**before, "error": str(error)}
        except BaseException:  # an interruption, or an error of ours, leaves no bar behind
            self.status = before
            raise

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        if folder := os.environ.get("MRL_PANEL_PAGES"):  # the builder of notebooks wants a page to photograph
            name = f"{len(list(Path(folder).glob('*.html'))):03d}"
            self.save_page(Path(folder) / f"{name}.html")
            data: Any = bundle[0] if isinstance(bundle, tuple) else bundle
            data["text/plain"] = PAGE + name
        return bundle


def _named(controls: Sequence[Sequence[Control]]) -> dict[str, Control]:
    """Name -> control; of two for one name, such as a menu and a field to type in, the one with given values."""
    named = [control for row in controls for control in row if control["name"]]
    return {control["name"]: control for control in sorted(named, key=lambda control: "values" in control)}


def _possible(control: Control, value: Any) -> Any:
    """The value as the control has it. Raises InputError where it has none."""
    value, name, values = _plain(value), control["name"], control.get("values")
    if values is not None and not control.get("free"):
        if value not in values:
            some = ", ".join(map(str, values[:12])) + (" …" if len(values) > 12 else "")
            raise InputError(f"{name} cannot be {value!r}: choose from {some}")
        return values[values.index(value)]
    if control["kind"] == "number":
        low, high = control.get("min", -math.inf), control.get("max", math.inf)
        if not isinstance(value, (int, float)) or not low <= value <= high:
            raise InputError(f"{name} cannot be {value!r}: give a number from {low:,.10g} to {high:,.10g}")
    return value


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _merged(data: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The tables with what came later, as the browser merges them."""
    both = {key for key, x in more.items() if isinstance(x, dict) and isinstance(data.get(key), dict)}
    return {**data, **more, **{key: _merged(data[key], more[key]) for key in both}}


def choice(
    kind: str, name: str, label: str, values: Sequence, words: Sequence[str] | None = None, **options: Any
) -> Control:
    """A control over given values, and how they are called: a "slider" (play=True: with a button that sweeps over
    them), a "switch" of buttons, or a "menu" (free=True: another control may set values that are not in it)."""
    control = {"kind": kind, "name": name, "label": label, "values": [*map(_plain, values)], **options}
    return control if words is None else {**control, "words": list(words)}


slider, switch, menu = (partial(choice, kind) for kind in ("slider", "switch", "menu"))


def field(kind: str, name: str, label: str = "", **options: Any) -> Control:
    """A control without given values: "text", "number" (min=, max=), or "hidden" for a state without a control."""
    return {"kind": kind, "name": name, "label": label, **options}


def button(label: str, *, set: dict[str, Any] | None = None, ask: str = "") -> Control:
    """A button that sets controls, or asks the kernel."""
    return {"kind": "button", "name": "", "label": label, "set": set or {}} | ({"ask": {"ask": ask}} if ask else {})
