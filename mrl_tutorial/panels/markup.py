"""The html that panels share: style, tables, messages, numbers in words."""

from __future__ import annotations

import html
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

STYLE = """<style>
.mrl{font:15px/1.45 system-ui,sans-serif;color:#1a1a1a;background:#fff;padding:2px 6px}
.mrl table{border-collapse:collapse;width:100%;table-layout:fixed}
.mrl td,.mrl th{padding:3px 8px;text-align:left;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;color:#1a1a1a;
 background:#fff;border-bottom:1px solid #e3e3e3;font-size:15px}
.mrl th{font-weight:600;border-bottom:2px solid #888}
.mrl .n{text-align:right}
.mrl tr.yes td,.mrl mark{background:#fdf1d0;font-weight:600;color:#1a1a1a}
.mrl code{font-size:14px;background:none;color:#1a1a1a;font-weight:600}
.mrl .note{color:#444;font-size:14px}
.mrl .error{background:#fbe3e4;border-left:6px solid #b00020;padding:6px 10px;font-weight:600}
.mrl .bar{display:inline-block;height:10px;background:#0072B2;vertical-align:middle;margin-right:6px;min-width:2px}
.mrl .mrl-wrap td,.mrl .mrl-wrap th{white-space:normal}
.mrl-panel .widget-label,.mrl-panel .widget-readout,.mrl-panel input,.mrl-panel select,.mrl-panel button,
.mrl-panel .widget-label-basic span{font-size:15px!important}
.mrl-panel .mrl{overflow-x:auto}
</style>"""


@dataclass(frozen=True)
class Column:
    """A column of a table. title: html. width: in pixels, 0 for what is left. number: set to the right."""

    title: str
    width: int = 0
    number: bool = False


def table(
    columns: Sequence[Column | str], rows: Sequence[Sequence[str]], *, name: str = "", marked: Collection[int] = ()
) -> str:
    """A table as html. The cells are html already; `marked` rows stand out; `name` becomes a css class.

    >>> table([Column("n", number=True), "word"], [["1", "one"]]).count("<td")
    2
    """
    heads = [c if isinstance(c, Column) else Column(c) for c in columns]
    kinds = [' class="n"' if c.number else "" for c in heads]
    widths = [f' style="width:{c.width}px"' if c.width else "" for c in heads]
    lines = ["".join(f"<th{k}{w}>{c.title}</th>" for k, w, c in zip(kinds, widths, heads, strict=True))]
    lines += ["".join(f"<td{k}>{cell}</td>" for k, cell in zip(kinds, row, strict=True)) for row in rows]
    starts = ['<tr class="yes">' if i - 1 in marked else "<tr>" for i in range(len(lines))]
    body = "".join(f"{start}{line}</tr>" for start, line in zip(starts, lines, strict=True))
    return f'<table class="{name}">{body}</table>' if name else f"<table>{body}</table>"


def note(text: str) -> str:
    """A line of smaller print. text: html."""
    return f'<div class="note">{text}</div>'


def message(text: str, *, error: bool = False) -> str:
    """A line for a panel's message area, escaped; "" for none."""
    kind = 'class="error" role="alert"' if error else 'class="note" role="status"'
    return f'<div class="mrl"><div {kind}>{html.escape(text)}</div></div>' if text else ""


def hint(text: str, full: str) -> str:
    """Escaped text that shows `full` under the pointer."""
    return f'<span title="{html.escape(full)}">{html.escape(text)}</span>'


def short_name(name: str, length: int = 44) -> str:
    """A name with its middle left out, since both ends of a dotted name tell more.

    >>> short_name("scipy.linalg.solve_triangular", 16)
    'scip…_triangular'
    """
    return name if len(name) <= length else f"{name[: length // 4]}…{name[-(length - length // 4 - 1) :]}"


def count(n: float) -> str:
    """A large number with its unit.

    >>> count(1.28e9), count(950)
    ('1.28 G', '950')
    """
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f}"


def number(value: float) -> str:
    """A number in three digits, "–" where there is none.

    >>> number(0.02421), number(24.21), number(2421.6)
    ('0.0242', '24.2', '2,422')
    """
    if not np.isfinite(value):
        return "–"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
    return f"{value:,.{digits}f}"


def percent(share: float) -> str:
    """A share as a percentage of two digits.

    >>> percent(0.5), percent(0.021)
    ('50 %', '2.1 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
