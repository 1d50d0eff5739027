"""Figures of the lessons and the panels, and the pieces that they are made of."""

from mrl_tutorial.panels.plots.heatmaps import grid_heatmap, heatmap, heatmaps, limits_of, number_colors
from mrl_tutorial.panels.plots.lines import lines, place_names
from mrl_tutorial.panels.plots.style import COLORS, DASHES, DIVERGING, FONT, INK, LABELS, MARK, SCALE
from mrl_tutorial.panels.plots.style import colors_of, heading, metric_title, style, trace
