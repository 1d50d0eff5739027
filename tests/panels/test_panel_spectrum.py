"""The spectrum explorer: its data against the functions below it, what the browser shows against its data."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.evaluation.reduction import effective_rank, pca, random_dims
from mrl_tutorial.panels.packing import unpack
from mrl_tutorial.panels.spectrum_explorer import WAYS, SpectrumExplorer
from mrl_tutorial.tasks.types import RetrievalTask
from tests.helpers.web import random_states, shown

N, Q, D, LAYERS = 50, 20, 24, 3
RNG = np.random.default_rng(0)
DOCUMENTS = (RNG.normal(size=(LAYERS, N, D)) * np.geomspace(2, 0.2, D) + 0.3).astype(np.float32)
PARTS = {"queries": DOCUMENTS[:, :Q] + 0.5 * RNG.normal(size=(LAYERS, Q, D)).astype(np.float32), "documents": DOCUMENTS}
TASK = RetrievalTask(
    "toy",
    "made up",
    corpus={f"d{i:02d}": f"text {i}" for i in range(N)},
    queries={f"q{i:02d}": "?" for i in range(Q)},
    qrels={f"q{i:02d}": {f"d{i:02d}": 1} for i in range(Q)},
    splits={"dev": [f"q{i:02d}" for i in range(Q)]},
)
OTHER = {part: x[..., ::-1].copy() for part, x in PARTS.items()}


MODELS = {"plain": PARTS, "other": OTHER}


def explorer(models=MODELS, **options):
    return SpectrumExplorer(TASK, models, **{"dims": (4, 8, 16), **options})


@pytest.fixture
def panel(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    return explorer()


def test_tables_are_those_of_the_functions_below(panel):
    data = unpack(panel.tables)
    assert (data["models"], data["dims"], data["width"]) == (["plain", "other"], [4, 8, 16, 24], D)
    want = PCA().fit(DOCUMENTS[1])
    np.testing.assert_allclose(data["variances"][0, 1], want.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(data["shares"]["PCA"][0, 1], want.explained_variance_ratio_.cumsum(), rtol=1e-4)
    shares = DOCUMENTS[1].var(0) / DOCUMENTS[1].var(0).sum()
    np.testing.assert_allclose(data["shares"]["prefix"][0, 1], shares.cumsum(), rtol=1e-4)
    np.testing.assert_allclose(data["shares"]["prefix"][1, 1], shares[::-1].cumsum(), rtol=1e-4)
    assert data["rank"][0, 2] == pytest.approx(float(effective_rank(DOCUMENTS[2])))
    here = {part: x[1:2] for part, x in PARTS.items()}
    ways = {"PCA": [pca(DOCUMENTS[1])], "random coordinates": [random_dims(D, s) for s in range(2)]}
    for way, reductions in ways.items():
        grids = [
            evaluate_grid(TASK, embeddings=r.apply_to(here), split="dev", dims=data["dims"]).values[0]
            for r in reductions
        ]
        np.testing.assert_allclose(data["quality"][way][0, 1], np.mean(grids, 0), atol=1e-6)
    plain = evaluate_grid(TASK, embeddings=PARTS, split="dev", dims=data["dims"]).values
    np.testing.assert_allclose(data["quality"]["prefix"][0], plain, atol=1e-6)


def test_measured_once(panel, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("measured twice")

    monkeypatch.setattr("mrl_tutorial.panels.spectrum_explorer.evaluate_grid", refuse)
    assert explorer().tables == panel.tables
    with pytest.raises(AssertionError, match="twice"):
        explorer({"plain": PARTS}, dims=(4, 8))
    with pytest.raises(AssertionError, match="twice"):
        explorer({"plain": PARTS}, split="test")


def test_the_browser_shows_the_tables(panel):
    data = unpack(panel.tables)
    states = random_states(panel, 60) + [
        {"model": m, "layer": layer, "dim": dim} for m in MODELS for layer in (1, LAYERS) for dim in (4, D)
    ]
    for state, found in zip(states, shown(panel, states), strict=True):
        model, layer, dim = data["models"].index(state["model"]), state["layer"], state["dim"]
        cell = model, layer - 1, data["dims"].index(dim)
        full = data["quality"]["prefix"][model, layer - 1, -1]
        kept = {way: share[model, layer - 1, dim - 1] for way, share in data["shares"].items()}
        assert [way["name"] for way in found["shown"]["ways"]] == list(WAYS)
        for way in found["shown"]["ways"]:
            assert way["value"] == pytest.approx(data["quality"][way["name"]][cell], abs=1e-6)
            np.testing.assert_allclose(way["values"], data["quality"][way["name"]][cell[:2]], atol=1e-6)
            assert way["share"] == pytest.approx(kept.get(way["name"]), abs=1e-6)
            row = [way["name"], in_percent(kept[way["name"]]) if way["name"] in kept else "", f"{way['value']:.3f}"]
            assert "".join([*row, in_percent(way["value"] / full)]) in found["text"].replace("\n", "")
        assert f"Layer {layer}, {dim} of {D} dimensions: " in found["shown"]["headline"]
        assert f"keeps {in_percent(kept['PCA'])}" in found["shown"]["headline"]
        assert f"uses ≈ {data['rank'][model, layer - 1]:.0f} directions" in found["text"]
        np.testing.assert_allclose(found["shown"]["spectrum"], data["variances"][cell[:2]], rtol=1e-6)


def in_percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"


def test_it_opens_where_it_is_told(panel):
    assert panel.state == {"model": "plain", "layer": LAYERS, "dim": D}
    panel = explorer(layer=2, dim=16, model="other")
    assert panel.state == {"model": "other", "layer": 2, "dim": 16}
    panel.set(dim=4)
    assert panel.state["dim"] == 4


def test_refusals(panel):
    with pytest.raises(InputError, match="0 sizes"):
        explorer({})
    with pytest.raises(InputError, match="2 sizes"):
        explorer({"a": PARTS, "b": {part: x[:1] for part, x in PARTS.items()}})
    with pytest.raises(InputError, match="'sts'"):
        SpectrumExplorer(type("Other", (), {"kind": "sts"})(), {"a": PARTS})
    with pytest.raises(InputError, match="layer cannot be 9"):
        explorer(layer=9)
    with pytest.raises(InputError, match="dim cannot be 5"):
        panel.set(dim=5)


def test_vectors_of_one_coordinate_have_a_spectrum(panel):
    (found,) = shown(explorer({"plain": {part: x[:2, :, :1] for part, x in PARTS.items()}}), [{}])
    assert 0 < found["shown"]["low"] <= found["shown"]["spectrum"][0] <= found["shown"]["top"]
