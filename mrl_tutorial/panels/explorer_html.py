"""The explorer's text: ranked documents, the price of a cell, messages. Data in, escaped html out."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from mrl_tutorial.panels.explorer_model import Ranking

UP, DOWN = "#0072B2", "#B34700"
STYLE = """<style>
.mrl{font:15px/1.45 system-ui,sans-serif;color:#1a1a1a;background:#fff;padding:2px 6px}
.mrl table{border-collapse:collapse;width:100%;table-layout:fixed}
.mrl td,.mrl th{padding:3px 8px;text-align:left;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;color:#1a1a1a;
 background:#fff;border-bottom:1px solid #e3e3e3;font-size:15px}
.mrl th{font-weight:600;border-bottom:2px solid #888}
.mrl td.n,.mrl th.n{text-align:right}
.mrl tr.yes td{background:#fdf1d0;font-weight:600}
.mrl code{font-size:14px;background:none;color:#1a1a1a;font-weight:600}
.mrl .note{color:#444;font-size:14px}
.mrl .error{background:#fbe3e4;border-left:6px solid #b00020;padding:6px 10px;font-weight:600}
.mrl .bar{display:inline-block;height:10px;background:#0072B2;vertical-align:middle;margin-right:6px;min-width:2px}
.mrl-explorer .widget-label,.mrl-explorer .widget-readout,.mrl-explorer input,.mrl-explorer select,
.mrl-explorer button{font-size:15px!important}
.mrl-explorer .mrl-price td{border-bottom:none}
</style>"""


def documents(ranking: Ranking, full: tuple[int, int]) -> str:
    """The ranked documents as a table. full: (layers, width) of the full model, for the heading."""
    known = ranking.hits and ranking.hits[0].relevant is not None
    head = (
        '<tr><th class="n" style="width:44px">rank</th><th style="width:178px">with the full model</th>'
        '<th style="width:84px">relevant</th><th>document</th></tr>'
    )
    rows = []
    for hit in ranking.hits:
        mark = "" if hit.relevant is None else ("&#10004; yes" if hit.relevant else "no")
        text = f"<code>{html.escape(short_name(hit.document))}</code> {html.escape(shorten(hit.text, 160))}"
        rows.append(
            f'<tr class="{"yes" if hit.relevant else ""}"><td class="n">{hit.rank}</td>'
            f"<td>{move(hit.rank, hit.full)}</td><td>{mark}</td>"
            f'<td title="{html.escape(hit.text[:600])}">{text}</td></tr>'
        )
    note = verdict(ranking, full) if known else "not a query of the task: nothing is known to be relevant"
    return (
        f'<div class="mrl mrl-documents"><b>{html.escape(shorten(ranking.query, 110))}</b>'
        f"<table>{head}{''.join(rows)}</table>"
        f'<div class="note">{note}; {ranking.n_documents:,} documents</div></div>'
    )


def move(rank: int, full: int) -> str:
    """How far a document stands from its place with the full model: an arrow, a number of places and that place."""
    if rank == full:
        return f"= {full}"
    colour, arrow = (UP, "&#9650;") if rank < full else (DOWN, "&#9660;")
    return f'{full:,} <span style="color:{colour}">{arrow} {abs(full - rank):,}</span>'


def verdict(ranking: Ranking, full: tuple[int, int]) -> str:
    """Where the relevant documents stand, here and with the full model, in words."""
    if not ranking.relevant:
        return "no relevant document"
    shown = ranking.relevant[:3]
    here = ", ".join(f"{a:,}" for a, _ in shown)
    there = ", ".join(f"{b:,}" for _, b in shown)
    n = len(ranking.relevant)
    noun = "relevant document" if n == 1 else f"first {len(shown)} of {n} relevant documents"
    return f"{noun}: rank {here} here, rank {there} with the full model ({full[0]}, {full[1]})"


def price(rows: Sequence[tuple[str, str, float]]) -> str:
    """The price of a cell in one row. rows: (what, amount in words, share of the full size 0 … 1)."""
    heads = "".join(f"<th>{html.escape(what)}</th>" for what, _, _ in rows)
    cells = "".join(
        f'<td><b>{html.escape(amount)}</b> &nbsp;<span class="bar" style="width:{max(1, round(40 * share))}px"></span>'
        f"{percent(share)}</td>"
        for _, amount, share in rows
    )
    return f'<div class="mrl mrl-price"><table><tr>{heads}</tr><tr>{cells}</tr></table></div>'


def price_rows(p: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """The rows of `price` from what costs.cell_price gives."""
    return [
        ("one vector, float32", f"{p['bytes']:,.0f} B", p["bytes_share"]),
        ("10 million vectors", f"{p['corpus_gb']:.2f} GB", p["bytes_share"]),
        ("encode a text, mult-adds", count(p["encode_flops"]), p["encode_share"]),
        ("search them, mult-adds", count(p["search_flops"]), p["search_share"]),
    ]


def message(text: str, *, error: bool = False) -> str:
    """A line for the panel's message area; "" for none."""
    if not text:
        return ""
    kind = 'class="error" role="alert"' if error else 'class="note" role="status"'
    return f'<div class="mrl"><div {kind}>{html.escape(text)}</div></div>'


def count(n: float) -> str:
    """1.28e9 as "1.28 G"."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.0f}"


def percent(share: float) -> str:
    """A share as a percentage of two figures."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def short_name(name: str, length: int = 44) -> str:
    """A document's id with its middle left out: both ends of a dotted name tell more."""
    return name if len(name) <= length else f"{name[: length // 4]}…{name[-(length - length // 4 - 1) :]}"


def shorten(text: str, length: int) -> str:
    """One line of at most `length` characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
