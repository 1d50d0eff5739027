"""The plotly template of all figures: simple_white, without what the course never draws.

Every figure holds a copy of its template, and a panel makes a figure at every slide: a small one is copied sooner.
"""

from __future__ import annotations

import plotly.graph_objects as go
import plotly.io as pio

NAME = "mrl"
KINDS = ("bar", "heatmap", "scatter", "table")  # of traces
UNUSED = ("colorscale", "geo", "polar", "scene", "ternary")  # of a layout

white = pio.templates["simple_white"].to_plotly_json()
pio.templates[NAME] = go.layout.Template(
    data={kind: white["data"][kind] for kind in KINDS},
    layout={key: value for key, value in white["layout"].items() if key not in UNUSED},
)
