"""Figures of the lessons and the panels, and the pieces that they are made of."""

from mrl_tutorial.panels.plots.heatmaps import grid_heatmap, heat_traces, heat_x, heat_y
from mrl_tutorial.panels.plots.heatmaps import heatmap, heatmaps, limits_of, number_colors, printed
from mrl_tutorial.panels.plots.lines import lines
from mrl_tutorial.panels.plots.style import COLORS, DASHES, DIVERGING, FONT, GRAY, INK, LABELS, MARK, SCALE
from mrl_tutorial.panels.plots.style import (
    colors_of,
    heading,
    legend,
    metric_title,
    outline,
    style,
    subplot,
    trace,
    upright,
)
