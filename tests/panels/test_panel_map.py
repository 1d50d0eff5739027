"""The prefix map: what the browser shows is that of the vectors, and one small real run of UMAP that is aligned."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels import prefix_map
from mrl_tutorial.panels.packing import unpack
from mrl_tutorial.panels.prefix_map import COLORED, PrefixMap, colored_labels
from tests.helpers.web import random_states, shown

DIMS = (4, 8, 16)


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Places that are easy to foresee: the size and the first coordinate; the last point has none."""
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))

    def places(unit):
        found = np.stack([np.c_[np.full(len(x), x.shape[1]), x[:, 0]] for x in unit]).astype("f4")
        found[:, -1] = np.nan
        return found

    monkeypatch.setattr(prefix_map, "compute_places", places)


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
        row, marked = panel.rows[i], found["shown"]["marked"]
        assert marked["text"].startswith(f"text {row} long") and len(marked["text"]) <= 90
        assert marked["label"] == f"label {row % 4:02d}"
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


def blobs(n=90, width=16, labels=3, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % labels
    return (3 * rng.normal(size=(labels, width))[y] + rng.normal(size=(n, width))).astype("f4"), y


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """One run of UMAP itself, and the same again, which must come from the cache."""
    x, y = blobs(60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRL_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("NUMBA_DISABLE_JIT", "1")  # for so few points compiling would take longer than running
        first = PrefixMap(x, y, dims=(2, 8, 16))
        patch.setattr(prefix_map, "compute_places", lambda *a: pytest.fail("computed again"))
        assert PrefixMap(x, y, dims=(2, 8, 16)).tables == first.tables
        with pytest.raises(pytest.fail.Exception, match="computed again"):
            PrefixMap(x + 1, y, dims=(2, 8, 16))
    return x, y, unpack(first.tables)


def test_a_real_run_gives_a_place_to_every_point_at_every_size(real):
    _, _, found = real
    assert found["places"].shape == (3, 60, 2) and np.isfinite(found["places"]).all() and found["total"] == 60
    assert np.allclose(found["places"].mean((0, 1)), 0, atol=1e-3)


def test_neighbors_on_the_last_map_are_of_one_blob(real):
    _, y, found = real
    near = NearestNeighbors(n_neighbors=6).fit(found["places"][-1]).kneighbors(return_distance=False)
    assert (y[near] == y[:, None]).mean() > 0.9


def test_maps_of_neighboring_sizes_lie_over_each_other(real):
    places = real[2]["places"]
    moved = np.linalg.norm(places[2] - places[1], axis=1)
    shuffled = np.linalg.norm(places[2] - np.random.default_rng(0).permutation(places[1]), axis=1)
    assert np.median(moved) < 0.5 * places.std() and np.median(moved) < 0.3 * np.median(shuffled)


def test_accuracy_is_that_of_scikit_learns_neighbors():
    x, y = blobs(seed=3)
    found = unpack(PrefixMap(x, y, dims=(2, 5, 16)).tables)
    for d, nearest, accuracy in zip(found["dims"], found["nearest"], found["accuracy"], strict=True):
        near = NearestNeighbors(n_neighbors=2, metric="cosine").fit(x[:, :d].astype(float))
        want = [next(j for j in row if j != i) for i, row in enumerate(near.kneighbors(return_distance=False))]
        assert (nearest == want).mean() > (0.95 if d == 2 else 0.999)  # float32 may order near cosines differently
        assert accuracy == pytest.approx(np.mean(y[want] == y), abs=0.02)


def test_thinning_keeps_proportions_and_every_row_once():
    labels = np.array(["a"] * 500 + ["b"] * 300 + ["c"] * 195 + ["d"] * 5)
    rows = prefix_map.thin(labels, 100)
    names, number = np.unique(labels[rows], return_counts=True)
    assert len(rows) == len(set(rows)) == 100 and (np.diff(rows) > 0).all()
    # fair shares are 50, 30, 19.5 and 0.5: one of the halves is rounded up
    assert dict(zip(names, number, strict=True)) in ({"a": 50, "b": 30, "c": 20}, {"a": 50, "b": 30, "c": 19, "d": 1})
    assert np.array_equal(prefix_map.thin(labels, 1000), np.arange(1000))


def test_rotating_keeps_distances():
    places = np.random.default_rng(0).normal(size=(2, 50, 2)) * [1, 4] + 7
    places[0, 3] = np.nan
    rotated = prefix_map.centered(places)
    pair = np.linalg.norm(places[0, 1] - places[1, 2])
    assert np.linalg.norm(rotated[0, 1] - rotated[1, 2]) == pytest.approx(pair, rel=1e-5)
    assert np.nanstd(rotated[1, :, 0]) > np.nanstd(rotated[1, :, 1])
    assert np.isnan(rotated[0, 3]).all() and np.isfinite(rotated[1]).all()


def test_a_process_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    monkeypatch.setattr(prefix_map, "__name__", "mrl_tutorial.nowhere")  # the module that the process imports
    with pytest.raises(RuntimeError, match="nowhere"):
        PrefixMap(*blobs(), dims=(2, 16))
    assert not list((tmp_path / "maps").glob("*"))


@pytest.mark.parametrize(
    "vectors, labels, options, message",
    [
        (np.ones(50), np.ones(50), {}, r"shape \(50,\)"),
        (np.ones((50, 16)), np.ones(49), {}, r"labels of shape \(49,\) for 50"),
        (np.ones((10, 16)), np.ones(10), {}, "10 points are too few"),
        (np.full((50, 16), np.inf), np.ones(50), {}, "infinity"),
        (np.ones((50, 16)), np.ones(50), {"dims": (8, 17)}, "from 1 to 16"),
        (np.ones((50, 16)), np.ones(50), {"dims": (8,)}, "two or more"),
        (np.ones((50, 16)), np.ones(50), {"most": 3}, "most 3"),
    ],
)
def test_what_cannot_be_mapped_is_named(vectors, labels, options, message):
    with pytest.raises(InputError, match=message):
        PrefixMap(vectors, labels, **options)
