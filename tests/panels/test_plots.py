"""Figures: what is drawn is what was given, where it was meant to be."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid
from mrl_tutorial.panels import plots

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


def test_a_model_keeps_one_scale_across_heat_maps(values):
    figure = plots.heatmaps({"a": values, "b": values / 10}, LAYERS, DIMS)
    heats = [t for t in figure.data if isinstance(t, go.Heatmap)]
    assert {(t.zmin, t.zmax) for t in heats} == {(0.0, values.max())}
    assert [t.showscale for t in heats] == [False, True]
    assert [a.text for a in figure.layout.annotations] == ["a", "b"]


def test_column_is_exact_on_columns_and_between_them_in_between():
    assert [plots.column(d, DIMS) for d in DIMS] == [0, 1, 2, 3]
    assert plots.column(np.sqrt(8 * 16), DIMS) == pytest.approx(0.5)
    assert plots.column(1, DIMS) == 0


@pytest.mark.parametrize("dim, columns", [(16, (1, 1)), (20, (1, 2)), (48, (3, 3)), (1, (0, 0))])
def test_frame_surrounds_the_cell_or_both_neighbors(dim, columns):
    frame, tick = plots.cell_frame(2, dim, DIMS)
    assert (frame["x0"] + 0.5, frame["x1"] - 0.5) == columns
    assert (frame["y0"], frame["y1"]) == (1.5, 2.5)
    assert frame["x0"] < tick["x0"] < frame["x1"]


def test_curves_mark_trained_widths_on_their_line():
    every = list(range(1, 49))
    line = np.linspace(0, 1, 48)
    figure = plots.curves(every, {"plain": line / 2, "trained": line}, trained={"trained": DIMS}, dim=16)
    plain, plain_dots, trained, dots = figure.data
    assert list(plain_dots.x) == [] and not plain_dots.showlegend
    assert np.allclose(2 ** np.asarray(dots.x), DIMS)
    assert np.allclose(dots.y, [line[d - 1] for d in DIMS])
    assert list(trained.customdata) == every
    assert figure.layout.shapes[0].x0 == 4  # log2(16)
    assert plain.line.color != trained.line.color and plain.line.dash != trained.line.dash


def test_grid_heatmap_names_task_split_and_model(values):
    grid = Grid("pydocs", "MiniLM", "ndcg@10", "dev", LAYERS, DIMS, values)
    figure = plots.grid_heatmap(grid, cell=(2, 16))
    assert all(word in figure.layout.title.text for word in ("pydocs", "dev", "MiniLM"))
    assert figure.data[0].colorbar.title.text == "nDCG@10"
    assert len(figure.layout.shapes) == 2


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
