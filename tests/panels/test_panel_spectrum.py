"""The spectrum explorer: its data against the functions below it, its figure against its data, its messages."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.evaluation.reduction import effective_rank, pca, random_dims
from mrl_tutorial.panels.spectrum_explorer import SpectrumExplorer, spectrum_picture
from mrl_tutorial.panels.spectrum_tables import WAYS, spectrum_data
from mrl_tutorial.tasks.types import RetrievalTask

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


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    return spectrum_data(TASK, {"plain": PARTS, "other": OTHER}, dims=(4, 8, 16))


def test_data_are_those_of_the_functions_below(data):
    assert (data.models, data.dims, data.n_layers, data.width) == (("plain", "other"), (4, 8, 16, 24), LAYERS, D)
    want = PCA().fit(DOCUMENTS[1])
    np.testing.assert_allclose(data.explained("plain", 2), want.explained_variance_ratio_.cumsum(), rtol=1e-4)
    shares = DOCUMENTS[1].var(0) / DOCUMENTS[1].var(0).sum()
    np.testing.assert_allclose(data.in_prefix("plain", 2), shares.cumsum(), rtol=1e-4)
    np.testing.assert_allclose(data.in_prefix("other", 2), shares[::-1].cumsum(), rtol=1e-4)
    assert data.effective_rank("plain", 3) == pytest.approx(float(effective_rank(DOCUMENTS[2])))
    here = {part: x[1:2] for part, x in PARTS.items()}
    ways = {"PCA": [pca(DOCUMENTS[1])], "random coordinates": [random_dims(D, s) for s in range(2)]}
    for way, reductions in ways.items():
        grids = [
            evaluate_grid(TASK, embeddings=r.apply_to(here), split="dev", dims=data.dims).values[0] for r in reductions
        ]
        np.testing.assert_allclose(data.quality[way][0, 1], np.mean(grids, 0), atol=1e-6)
    plain = evaluate_grid(TASK, embeddings=PARTS, split="dev", dims=data.dims).values
    np.testing.assert_allclose(data.quality["prefix"][0], plain, atol=1e-6)


def test_measured_once(data, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("measured twice")

    monkeypatch.setattr("mrl_tutorial.panels.spectrum_tables.evaluate_grid", refuse)
    again = spectrum_data(TASK, {"plain": PARTS, "other": OTHER}, dims=(4, 8, 16))
    np.testing.assert_array_equal(again.quality["PCA"], data.quality["PCA"])
    with pytest.raises(AssertionError, match="twice"):
        spectrum_data(TASK, {"plain": PARTS}, dims=(4, 8))
    with pytest.raises(AssertionError, match="twice"):
        spectrum_data(TASK, {"plain": PARTS}, dims=(4, 8, 16), split="test")


def test_sliding_shows_that_cell(data):
    panel = SpectrumExplorer.of(data, dim=8)
    assert (panel.layer.value, panel.dim.value) == (3, 8)
    panel.layer.value, panel.dim.value, panel.model.value = 2, 16, "other"
    drawn = {t.name: t for t in panel.figure.data if t.xaxis == "x3" and t.name in WAYS}
    for way in WAYS:
        np.testing.assert_allclose(drawn[way].y, data.quality[way][1, 1])
    np.testing.assert_allclose(panel.figure.data[-1].y, [data.quality[way][1, 1, 2] for way in WAYS])
    middle = [t for t in panel.figure.data if t.xaxis == "x2"]
    assert [t.name for t in middle] == ["PCA", "prefix"]
    assert middle[0].y[-1] == pytest.approx(1) and len(panel.figure.layout.shapes) == 3
    assert {float(s.x0) for s in panel.figure.layout.shapes} == {4.0}
    assert "other, layer 2, 16 of 24" in panel.figure.layout.title.text
    assert f"{data.quality['PCA'][1, 1, 2]:.3f}" in panel.note.value and "effective rank" in panel.note.value


def test_static_is_the_live_figure(data):
    panel = SpectrumExplorer.of(data)
    panel.layer.value = 1
    still = panel.static()
    assert json.loads(still.to_json())["layout"]["title"] == json.loads(panel.figure.to_json())["layout"]["title"]
    for a, b in zip(still.data, panel.figure.data, strict=True):
        np.testing.assert_allclose(np.asarray(a.y, float), np.asarray(b.y, float))


def test_a_wrong_state_is_a_message_in_the_panel(data):
    panel = SpectrumExplorer.of(data)
    panel.dim.options = [*panel.dim.options, 5]
    before = panel.figure.layout.title.text
    panel.dim.value = 5
    assert 'role="alert"' in panel.message.value and panel.figure.layout.title.text == before
    panel.dim.value = 8
    assert panel.message.value == ""


def test_refusals(data):
    with pytest.raises(InputError, match="no model"):
        spectrum_data(TASK, {})
    with pytest.raises(InputError, match="2 sizes"):
        spectrum_data(TASK, {"a": PARTS, "b": {part: x[:1] for part, x in PARTS.items()}})
    with pytest.raises(InputError, match="'sts'"):
        spectrum_data(type("Other", (), {"kind": "sts"})(), {"a": PARTS})
    with pytest.raises(InputError, match="layer 9"):
        spectrum_picture(data, "plain", 9, 8)
