"""The prefix map without UMAP: points, labels, neighbors and texts that the browser shows are those of the vectors."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels import prefix_map_layout
from mrl_tutorial.panels.packing import unpack
from mrl_tutorial.panels.prefix_map import COLORED, PrefixMap, colored_labels
from tests.helpers.web import random_states, shown

DIMS = (4, 8, 16)


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Places that are easy to foresee: the size and the first coordinate; the last point has none."""
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))

    def places(unit, seed, path, progress):
        found = np.stack([np.c_[np.full(len(x), x.shape[1]), x[:, 0]] for x in unit]).astype("f4")
        found[:, -1] = np.nan
        np.savez(path, places=found)

    monkeypatch.setattr(prefix_map_layout, "compute_places", places)


def vectors(n=120):
    return np.random.default_rng(0).normal(size=(n, 16)).astype("f4")


def build(n=120, labels=4, **options):
    return PrefixMap(vectors(n), np.array([f"label {i % labels:02d}" for i in range(n)]), dims=DIMS, **options)


def test_the_marked_point_and_its_neighbor_are_those_of_the_vectors():
    panel = build(texts=[f"text {i}" for i in range(120)])
    rng = np.random.default_rng(1)
    states = [{**state, "point": int(rng.integers(119))} for state in random_states(panel, 60)]
    for state, found in zip(states, shown(panel, states), strict=True):
        dim, point = state["dim"], state["point"]
        cut = vectors()[:, :dim].astype(float)
        cut /= np.linalg.norm(cut, axis=1, keepdims=True)
        scores = cut @ cut.T - 2 * np.eye(len(cut))
        same = (scores.argmax(1) - np.arange(120)) % 4 == 0
        marked = found["shown"]["marked"]
        near = marked["nearest"]["point"]
        assert scores[point, near] == pytest.approx(scores[point].max(), abs=1e-6)
        assert (marked["label"], marked["text"]) == (f"label {point % 4:02d}", f"text {point}")
        assert marked["x"] == dim and marked["y"] == pytest.approx(cut[point, 0], abs=1e-6)
        assert f"label {point % 4:02d}text {point}nearest: " in found["text"]
        assert ("nearest: same label" in found["text"]) == (near % 4 == point % 4)
        assert f"{dim} of 16 dimensions" in found["shown"]["headline"]
        assert f": {100 * same.mean():.1f} % of nearest neighbors share" in found["shown"]["headline"]
        assert found["shown"]["curve"][DIMS.index(dim)] == pytest.approx(same.mean())
        assert (" % at 16)" in found["shown"]["headline"]) == (dim < 16)


def test_no_point_is_marked_at_first_nor_one_without_a_place():
    nothing, lost = shown(build(), [{}, {"point": 119}])
    assert nothing["shown"]["marked"] is None and "nearest: " not in nothing["text"] + lost["text"]


def test_few_labels_are_all_colored_with_color_and_shape():
    (found,) = shown(build(), [{}])
    rest, *groups = found["shown"]["groups"]
    assert rest["points"] == [] and "other label" not in found["text"]
    assert [(g["name"], g["points"]) for g in groups] == [(f"label {i:02d}", list(range(i, 120, 4))) for i in range(4)]
    assert len({g["color"] for g in groups}) == len({g["shape"] for g in groups}) == 4


def test_of_many_labels_eight_are_colored_and_the_rest_gray():
    (found,) = shown(build(labels=12), [{}])
    rest, *groups = found["shown"]["groups"]
    assert len(groups) == COLORED == len({g["shape"] for g in groups}) == len({g["color"] for g in groups})
    assert len(rest["points"]) == 40 and "4 other labels" in found["text"]
    (chosen,) = shown(build(labels=12, show=["label 11", "label 03"]), [{}])
    assert [g["name"] for g in chosen["shown"]["groups"]] == ["10 other labels", "label 11", "label 03"]
    assert chosen["shown"]["groups"][1]["points"] == list(range(11, 120, 12))


def test_the_most_frequent_labels_are_colored():
    labels = np.array([name for i, name in enumerate("abcdefghij") for _ in range(20 - i if name != "a" else 1)])
    assert colored_labels(labels) == list("bcdefghi")


def test_texts_follow_their_points_and_are_short():
    panel = build(texts=[f"text {i} " + "long " * 40 for i in range(120)], most=60)
    states = [{"point": i} for i in range(60)]
    for i, found in enumerate(shown(panel, states)):
        row, marked = panel.maps.rows[i], found["shown"]["marked"]
        assert marked["text"].startswith(f"text {row} long") and len(marked["text"]) <= 90
        assert marked["label"] == f"label {row % 4:02d}" == panel.labels[i]
        assert "60 of 120 points, every label in proportion" in found["text"]
    assert "in proportion" not in shown(build(), [{}])[0]["text"]


def test_the_corners_hold_the_points_of_every_size():
    tables = unpack(build().tables)
    places = tables["places"][np.isfinite(tables["places"]).all(-1)]
    assert (places >= tables["low"]).all() and (places <= tables["high"]).all()
    assert tables["places"].shape == (3, 120, 2) and np.isnan(tables["places"][:, -1]).all()


def test_it_opens_where_it_is_told():
    panel = build(dim=8, point=3)
    assert panel.state == {"dim": 8, "point": 3}
    panel.set(dim=16)
    assert panel.state == {"dim": 16, "point": 3}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"texts": ["a"]}, "1 texts for 120"),
        ({"show": ["nobody"]}, "'nobody' is not among"),
        ({"show": []}, "choose 1 to 8"),
        ({"most": 3}, "most 3"),
        ({"dim": 5}, "dim cannot be 5"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)
