"""Figures: what is drawn is what was given, where it was meant to be."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid
from mrl_tutorial.panels import plots
from mrl_tutorial.panels.plots.style import KNOWN

LAYERS, DIMS = (1, 2, 3), (8, 16, 32, 48)


@pytest.fixture
def values():
    return np.random.default_rng(0).random((3, 4))


def contrast(a: str, b: tuple[int, ...]) -> float:
    """WCAG contrast of a hex color with an rgb one, written from the definition."""

    def luminance(rgb):
        parts = [c / 255 for c in rgb]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    one = luminance(tuple(int(a[i : i + 2], 16) for i in (1, 3, 5)))
    low, high = sorted((one, luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_heat_map_prints_every_value_in_its_cell(values):
    figure = plots.heatmap(values, LAYERS, DIMS, digits=3)
    heat, numbers = figure.data
    assert np.array_equal(np.asarray(heat.z), values)
    for x, y, text in zip(numbers.x, numbers.y, numbers.text, strict=True):
        assert text == f"{values[y - 1, x]:.3f}"
    assert list(figure.layout.xaxis.ticktext) == [str(d) for d in DIMS]


def test_missing_values_are_left_blank_and_do_not_move_the_scale(values):
    values[1, 2] = np.nan
    figure = plots.heatmap(values, LAYERS, DIMS)
    assert list(figure.data[1].text).count("") == 1
    assert figure.data[0].zmax == np.nanmax(values) and figure.data[0].zmin == 0


def test_wrong_shape_is_an_input_error(values):
    with pytest.raises(InputError, match=r"shape \(4, 3\).*3 layers x 4 dimensions"):
        plots.heatmap(values.T, LAYERS, DIMS)
    with pytest.raises(InputError, match="no table"):
        plots.heatmaps({}, LAYERS, DIMS)


def test_numbers_are_legible_on_every_color_of_the_scale():
    from plotly.colors import sample_colorscale, unlabel_rgb

    shares = np.linspace(0, 1, 101)
    for share, ink in zip(shares, plots.number_colors(shares, 0, 1), strict=True):
        assert contrast(ink, unlabel_rgb(sample_colorscale(plots.SCALE, [share])[0])) >= 4


def test_differences_are_white_at_0_and_legible(values):
    heat, numbers = plots.heatmap(values - 0.8, LAYERS, DIMS, difference=True).data
    assert heat.zmin == -heat.zmax and heat.zmax == np.abs(values - 0.8).max() and heat.colorscale[1][1] == "#FFFFFF"
    ends = [tuple(int(color[i : i + 2], 16) for i in (1, 3, 5)) for _, color in plots.DIVERGING]
    assert all(contrast(ink, end) >= 4 for ink in set(numbers.textfont.color) for end in ends)


def test_a_model_keeps_one_scale_across_heat_maps(values):
    figure = plots.heatmaps({"a": values, "b": values / 10}, LAYERS, DIMS)
    heats = [t for t in figure.data if isinstance(t, go.Heatmap)]
    assert {(t.zmin, t.zmax) for t in heats} == {(0.0, values.max())}
    assert [t.showscale for t in heats] == [False, True]
    assert [a.text for a in figure.layout.annotations] == ["a", "b"]


def test_lines_are_drawn_where_they_belong_and_named_at_their_ends():
    nested = np.array([0.3, 0.4, np.nan, 0.5])
    figure = plots.lines(
        DIMS, {"plain": [0.1, 0.2, 0.3, 0.4], "MRL": nested, "alone": ((16,), (0.45,))}, y_title="MRR@10"
    )
    assert [np.allclose(2 ** np.asarray(t.x), at) for t, at in zip(figure.data, (DIMS, DIMS, (16,)), strict=True)]
    assert np.array_equal(np.asarray(figure.data[1].y), nested, equal_nan=True)
    names = {note.text: note for note in figure.layout.annotations}
    assert list(names) == ["plain", "MRL", "alone"] and not figure.layout.showlegend
    assert names["alone"].x == 4 and names["MRL"].y == 0.5 and names["MRL"].x == np.log2(48)
    assert [t.line.color for t in figure.data] == [names[t.name].font.color for t in figure.data]
    assert list(figure.layout.xaxis.ticktext) == ["8", "16", "32", "48"]
    assert figure.layout.yaxis.range[0] == 0 and figure.layout.yaxis.range[1] > 0.5


def test_names_of_lines_that_end_together_are_moved_apart():
    ends = {name: [0, value] for name, value in zip("abcd", (0.5, 0.5, 0.51, 0.9), strict=True)}
    figure = plots.lines((0, 1), ends, doubling=False)
    heights = sorted(note.y for note in figure.layout.annotations)
    low, high = figure.layout.yaxis.range
    assert min(np.diff(heights)) >= 0.069 * (high - low) and heights[-1] <= high
    assert list(figure.data[0].x) == [0, 1]


def test_no_name_is_moved_above_the_axis_where_it_would_not_be_drawn():
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = {name: [0, y] for name, y in zip("abcd", rng.uniform(0.5, 0.6, 4), strict=True)}
        figure = plots.lines((8, 16), values)
        assert max(note.y for note in figure.layout.annotations) <= figure.layout.yaxis.range[1]


@pytest.mark.parametrize(("doubling", "x"), [(True, 4.0), (False, 16.0)])
def test_names_stand_where_they_are_put_in_the_numbers_of_the_axes(doubling, x):
    figure = plots.lines((8, 16, 32), {"plain": [0.1, 0.2, 0.3], "MRL": [0.2, 0.3, 0.3]}, doubling=doubling)
    end, margin = figure.layout.annotations[0].x, figure.layout.margin.r
    plots.place_names(figure, {"MRL": (16, 0.25)})
    notes = {note.text: note for note in figure.layout.annotations}
    assert (notes["MRL"].x, notes["MRL"].y) == (x, 0.25)
    assert notes["plain"].x == end and figure.layout.margin.r == margin  # this one still stands at the end
    assert plots.place_names(figure, {"MRL": (16, 0.25), "plain": (8, 0.2)}).layout.margin.r < margin
    with pytest.raises(InputError, match="no line is named 'mrl': give one of plain, MRL"):
        plots.place_names(figure, {"mrl": (16, 0.25)})


def test_bands_lie_behind_their_line_in_its_color():
    shade, line = plots.lines((8, 16), {"MRL": [0.2, 0.3]}, bands={"MRL": [(0.1, 0.25), (0.2, 0.4)]}).data
    assert shade.fillcolor == line.line.color and list(shade.y) == [0.1, 0.2, 0.4, 0.25]


def test_lines_that_cannot_be_drawn_are_named():
    with pytest.raises(InputError, match="7 lines"):
        plots.lines((8, 16), {str(i): [0, 1] for i in range(7)})
    with pytest.raises(InputError, match=r"'MRL'.*\(3,\)"):
        plots.lines((8, 16), {"MRL": [0, 1, 2]})


def test_a_method_has_one_color_in_figures_and_panels():
    script = (Path(plots.__file__).parents[1] / "web" / "plots.js").read_text()
    (known,) = re.findall(r"known = .*?\(\{(.*?)\}\)", script, re.S)
    pairs = re.findall(r'"?([\w ,-]+?)"?: COLORS\[(\d)\]', known)
    assert {name.strip(", "): int(i) for name, i in pairs} == KNOWN
    assert plots.colors_of(["b", "MRL", "a"]) == {"b": plots.COLORS[0], "MRL": plots.COLORS[1], "a": plots.COLORS[2]}


def test_grid_heatmap_names_task_split_and_model(values):
    grid = Grid("pydocs", "MiniLM", "ndcg@10", "dev", LAYERS, DIMS, values)
    figure = plots.grid_heatmap(grid)
    assert all(word in figure.layout.title.text for word in ("pydocs", "dev", "MiniLM"))
    assert figure.data[0].colorbar.title.text == "nDCG@10"


def test_nothing_is_smaller_than_fourteen_points(values):
    figure = plots.heatmap(values, LAYERS, DIMS, title="t")
    assert min(figure.layout.font.size, figure.data[1].textfont.size, figure.layout.title.font.size) >= 14


@pytest.mark.parametrize(
    "name, title",
    [
        ("ndcg@10", "nDCG@10"),
        ("map", "MAP"),
        ("recall@100", "recall@100"),
        ("1nn", "1-NN accuracy"),
        ("spearman", "Spearman"),
    ],
)
def test_metric_titles(name, title):
    assert plots.metric_title(name) == title
