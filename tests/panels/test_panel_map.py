"""The prefix map without a browser and without UMAP: points, colors, marks and texts are those of the model."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels import prefix_map_layout
from mrl_tutorial.panels.prefix_map import HUES, SYMBOLS, PrefixMap, colored_labels

DIMS = (4, 8, 16)


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Places that are easy to foresee: the size and the first coordinate."""
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))

    def places(unit, seed, path, progress):
        np.savez(path, places=np.stack([np.c_[np.full(len(x), x.shape[1]), x[:, 0]] for x in unit]).astype("f4"))

    monkeypatch.setattr(prefix_map_layout, "compute_places", places)


def build(n=120, labels=4, **options):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 16)).astype("f4")
    y = np.array([f"label {i % labels:02d}" for i in range(n)])
    return PrefixMap(x, y, dims=DIMS, **options)


def test_sliding_moves_every_point_and_the_marks():
    panel = build()
    for i, d in enumerate(DIMS):
        panel.dim.value = i
        assert all(set(np.asarray(trace.x)) <= {d} for trace in panel.figure.data[:-1])
        assert sum(len(trace.x) for trace in panel.figure.data[:-1]) == 120
        assert f"d = {d}" in panel.figure.layout.annotations[0].text
        assert f"{panel.maps.accuracy[i]:.3f}" in panel.figure.layout.annotations[1].text
        assert panel.figure.layout.shapes[0].x0 == pytest.approx(np.log2(d))
        first = panel.figure.data[1]
        assert np.allclose(first.y, panel.maps.places[i][panel.labels == "label 00"][:, 1], atol=0.006)


def test_a_slide_sends_places_but_not_texts(monkeypatch):
    panel, sent = build(texts=[f"text {i}" for i in range(120)]), []
    monkeypatch.setattr(type(panel.figure), "plotly_update", lambda self, *a: sent.append(a))
    panel.dim.value = 1
    ((style, _, traces),) = sent
    assert set(style) == {"x", "y"} and len(traces) == 4 and len(panel.figure.data[1].hovertext) == 30


def test_few_labels_are_all_colored_with_color_and_symbol():
    panel = build()
    rest, *shown, curve = panel.figure.data
    assert not rest.visible and [t.name for t in shown] == [f"label {i:02d}" for i in range(4)]
    assert len({t.marker.color for t in shown}) == len({t.marker.symbol for t in shown}) == 4
    assert list(curve.y) == list(panel.maps.accuracy)


def test_of_many_labels_eight_are_colored_and_the_rest_gray():
    panel = build(labels=12)
    rest, *shown, _ = panel.figure.data
    assert rest.visible and rest.name == "4 other labels" and len(rest.x) == 40
    assert len(shown) == 8 == len(HUES) == len(SYMBOLS)
    chosen = build(labels=12, show=["label 11", "label 03"])
    assert [t.name for t in chosen.figure.data[1:-1]] == ["label 11", "label 03"]


def test_the_most_frequent_labels_are_colored():
    labels = np.array([name for i, name in enumerate("abcdefghij") for _ in range(20 - i if name != "a" else 1)])
    assert colored_labels(labels) == list("bcdefghi")


def test_texts_follow_their_points_and_are_short():
    panel = build(texts=[f"text {i} " + "long " * 40 for i in range(120)], most=60)
    points = [tip for trace in panel.figure.data[:-1] for tip in trace.hovertext]
    assert len(points) == 60 and max(map(len, points)) < 140
    for trace in panel.figure.data[1:-1]:
        for tip in trace.hovertext:
            row = int(tip.split("text ")[1].split()[0])
            assert f"label {row % 4:02d}" == trace.name
    assert "60 of 120 points" in panel.note.value


def test_all_points_need_no_note():
    assert build().note.value == ""


def test_static_twin_and_its_size():
    panel = build(n=1500, labels=9, texts=["a sentence of some length about something"] * 1500)
    panel.dim.value = 2
    twin = panel.static()
    assert type(twin).__name__ == "Figure" and "d = 16" in twin.layout.annotations[0].text
    assert len(twin.to_json()) < 300_000


@pytest.mark.parametrize(
    "options, message",
    [
        ({"texts": ["a"]}, "1 texts for 120"),
        ({"show": ["nobody"]}, "'nobody' is not among"),
        ({"show": []}, "choose 1 to 8"),
        ({"most": 3}, "most 3"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)
