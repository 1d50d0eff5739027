"""Maps: neighbors against scikit-learn, thinning against counts, and one small real run that is aligned and cached."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels import prefix_map_layout


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
        seen = []
        first = prefix_map_layout.prefix_maps(x, y, (2, 8, 16), progress=lambda *state: seen.append(state))
        patch.setattr(prefix_map_layout, "compute_places", lambda *a: pytest.fail("computed again"))
        again = prefix_map_layout.prefix_maps(x, y, (2, 8, 16))
        with pytest.raises(pytest.fail.Exception, match="computed again"):
            prefix_map_layout.prefix_maps(x + 1, y, (2, 8, 16))
        with pytest.raises(pytest.fail.Exception, match="computed again"):
            prefix_map_layout.prefix_maps(x, y, (2, 8, 16), seed=1)
    return x, y, first, again, seen


def test_a_real_run_gives_a_place_to_every_point_at_every_size(real):
    _, _, first, again, seen = real
    assert first.places.shape == (3, 60, 2) and np.isfinite(first.places).all()
    assert np.array_equal(first.places, again.places) and first.total == 60
    assert seen and all(0 <= done <= total == 100 for done, total, _ in seen)
    assert np.allclose(first.places.mean((0, 1)), 0, atol=1e-3)


def test_neighbors_on_the_last_map_are_of_one_blob(real):
    _, y, first, *_ = real
    near = NearestNeighbors(n_neighbors=6).fit(first.places[-1]).kneighbors(return_distance=False)
    assert (y[near] == y[:, None]).mean() > 0.9


def test_maps_of_neighboring_sizes_lie_over_each_other(real):
    _, _, first, *_ = real
    spread = first.places.std()
    moved = np.linalg.norm(first.places[2] - first.places[1], axis=1)
    shuffled = np.linalg.norm(first.places[2] - np.random.default_rng(0).permutation(first.places[1]), axis=1)
    assert np.median(moved) < 0.5 * spread and np.median(moved) < 0.3 * np.median(shuffled)


@pytest.mark.parametrize("d", [1, 5, 16])
def test_accuracy_is_that_of_scikit_learns_neighbors(d):
    x, y = blobs(seed=3)
    unit = prefix_map_layout.unit_prefix(x, d)
    near = NearestNeighbors(n_neighbors=2, metric="cosine").fit(x[:, :d].astype(float))
    if d > 1:  # a cosine of single coordinates is 1 or -1: any of many may be called nearest
        nearest = [next(j for j in row if j != i) for i, row in enumerate(near.kneighbors(return_distance=False))]
        assert prefix_map_layout.nearest_other(unit).tolist() == nearest
    loop = []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        cosine = [float(unit[i] @ unit[j]) for j in others]
        loop.append(y[others[int(np.argmax(cosine))]] == y[i])
    accuracy = np.mean(y[prefix_map_layout.nearest_other(unit)] == y)
    assert accuracy == pytest.approx(np.mean(loop), abs=0.02 if d > 1 else 0)


def test_prefixes_are_cut_then_normalized():
    x, _ = blobs()
    x[4] = 0
    got = prefix_map_layout.unit_prefix(x, 5)
    want = np.delete(x[:, :5] / np.linalg.norm(x[:, :5].astype(float), axis=1, keepdims=True).clip(1e-9), 4, 0)
    assert np.allclose(np.delete(got, 4, 0), want, atol=1e-6) and (got[4] == 0).all()


def test_thinning_keeps_proportions_and_every_row_once():
    labels = np.array(["a"] * 500 + ["b"] * 300 + ["c"] * 195 + ["d"] * 5)
    rows = prefix_map_layout.thin(labels, 100)
    names, number = np.unique(labels[rows], return_counts=True)
    assert len(rows) == len(set(rows)) == 100 and (np.diff(rows) > 0).all()
    # fair shares are 50, 30, 19.5 and 0.5: one of the halves is rounded up
    assert dict(zip(names, number, strict=True)) in ({"a": 50, "b": 30, "c": 20}, {"a": 50, "b": 30, "c": 19, "d": 1})
    assert np.array_equal(rows, prefix_map_layout.thin(labels, 100)) and not np.array_equal(
        rows, prefix_map_layout.thin(labels, 100, seed=1)
    )
    assert np.array_equal(prefix_map_layout.thin(labels, 1000), np.arange(1000))


def test_rotating_keeps_distances():
    places = np.random.default_rng(0).normal(size=(2, 50, 2)) * [1, 4] + 7
    places[0, 3] = np.nan
    rotated = prefix_map_layout.centered(places)
    pair = np.linalg.norm(places[0, 1] - places[1, 2])
    assert np.linalg.norm(rotated[0, 1] - rotated[1, 2]) == pytest.approx(pair, rel=1e-5)
    assert np.nanstd(rotated[1, :, 0]) > np.nanstd(rotated[1, :, 1])
    assert np.isnan(rotated[0, 3]).all() and np.isfinite(rotated[1]).all()


def test_giving_up_ends_the_process_and_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    x, y = blobs()
    with pytest.raises(InputError, match="canceled"):
        prefix_map_layout.prefix_maps(x, y, (2, 16), progress=lambda *state: False)
    assert not list((tmp_path / "maps").glob("*"))


def test_a_process_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    monkeypatch.setattr(prefix_map_layout, "__name__", "mrl_tutorial.nowhere")  # the module that the process runs
    with pytest.raises(RuntimeError, match="nowhere"):
        prefix_map_layout.prefix_maps(*blobs(), (2, 16), progress=lambda *state: None)
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
        prefix_map_layout.prefix_maps(vectors, labels, **options)
