"""The funnel designer: what the browser shows of every path, against the paths and prices below it."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.funnel_designer import FunnelDesigner, example_queries
from mrl_tutorial.retrieval import costs
from mrl_tutorial.retrieval.paths import Throughput, draw_path, price
from mrl_tutorial.retrieval.stages import Stage
from tests.helpers.made_retrieval import LAYERS, WIDTH, made_embeddings, made_task
from tests.helpers.walked import walk
from tests.helpers.web import fixed, random_states, shown

CLOCK = Throughput(scan=1e9, gather=1e8, stage=1e-4)
GEOMETRY = costs.Geometry(LAYERS, WIDTH, 64)


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRL_CACHE", str(tmp_path_factory.mktemp("cache")))
        other, toy = made_embeddings()["test"], made_embeddings()["dev"]
        return FunnelDesigner(made_task(), {"other": other, "toy": toy}, geometry=GEOMETRY, clock=CLOCK)


def three(x: float) -> str:
    """Three significant digits of a number in a float32 table."""
    x = float(np.float32(x))
    return fixed(x, max(0, 2 - int(np.floor(np.log10(x)))))


def test_every_state_shows_what_the_path_finds_and_costs(panel):
    p = panel.paths
    states = [*random_states(panel, 90), {}, {"layer": 1, "dim": 8, "depth": 20, "between": 1, "size": 10**6}]
    refused = 0
    for state, one in zip(states, shown(panel, states), strict=True):
        s, got, text = {**panel.state, **state}, one["shown"], one["text"]
        try:
            stages = draw_path((s["layer"], s["dim"]), s["depth"], (LAYERS, s["rerank"]), s["between"], p.dims)
        except InputError:
            refused += 1
            assert got["path"] is None and got["stages"] == [] and "adds nothing" in got["headline"]
            continue
        walked, cost = walk(p, s["model"], stages), price(stages, s["size"], CLOCK, GEOMETRY)
        assert got["path"]["recall"] == pytest.approx(walked.recall, abs=1e-6)
        assert got["path"]["ndcg"] == pytest.approx(walked.ndcg, abs=1e-6)
        for key in ("mflops", "ms", "gb"):
            assert got["path"][key] == pytest.approx(cost[key], rel=1e-6)
        assert got["encode"] == pytest.approx(cost["encode_mflops"])
        if len(stages) > 1:
            whole = price([Stage(WIDTH)], s["size"], CLOCK)
            assert f"in {three(cost['ms'])} ms against {three(whole['ms'])};" in got["headline"]
        assert (
            f"{fixed(100 * float(np.float32(walked.recall)), 1)} %" in text
            and fixed(float(np.float32(walked.ndcg)), 3) in text
        )
        assert all(three(cost[key]) in text for key in ("mflops", "ms", "gb"))
        relevant, left = set(p.relevant(s["query"]).tolist()), p.n
        assert len(got["stages"]) == len(stages)
        for stop, stage, found, kept in zip(got["stages"], stages, walked.survivors, walked.kept, strict=True):
            mine = found[s["query"]].tolist()
            places = [place for place, row in enumerate(mine, start=1) if row in relevant]
            assert (stop["layer"], stop["dim"]) == (stage.layer or LAYERS, stage.dim)
            assert (stop["from"], stop["to"]) == (left, len(mine)) and f"{left:,} → {len(mine):,}" in text
            assert stop["kept"] == pytest.approx(kept, abs=1e-6)
            assert stop["place"] == (places[0] if places else 0)
            assert stop["best"] == [{"name": f"lib.mod.d{r}", "relevant": r in relevant} for r in mine[:4]]
            assert (f"✔ at {places[0]}" if places else "✘ lost") in text
            left = len(mine)
    assert 3 <= refused <= 40


def test_the_heat_map_is_the_grid_and_the_cloud_all_two_stage_paths(panel):
    p = panel.paths
    one, other = (found["shown"] for found in shown(panel, [{"size": 10**6}, {"model": "other"}]))
    assert np.allclose(one["grid"], p.grid("toy").ravel(), atol=1e-6)
    assert np.allclose(other["grid"], p.grid("other").ravel(), atol=1e-6)
    depths = panel.controls["depth"]["values"]
    two = [(L, d, r) for L in range(1, LAYERS + 1) for d in p.dims for r in p.dims if L < LAYERS or r > d]
    choices = [(L, d, k, r) for L, d, r in two for k in depths]  # few enough to come as lists
    paths = [draw_path((L, d), k, (LAYERS, r)) for L, d, k, r in choices]
    found = sorted(zip(one["cloud"]["xs"], one["cloud"]["ys"], strict=True))
    want = sorted((price(path, 10**6, CLOCK)["mflops"], walk(p, "toy", path).recall) for path in paths)
    assert len(found) == len(want) and np.allclose(found, want, rtol=1e-5)
    plain = [walk(p, "toy", [Stage(dim)]).recall for dim in p.dims]
    assert np.allclose(one["cloud"]["plain"][1], plain, atol=1e-6)
    assert np.allclose(one["cloud"]["plain"][0], [10**6 * dim / 1e6 for dim in p.dims])


def test_the_full_search_says_that_it_is_one(panel):
    (one,) = shown(panel, [{"layer": LAYERS, "dim": WIDTH, "rerank": WIDTH}])
    assert one["shown"]["headline"].startswith("The full search") and one["shown"]["path"]["recall"] == 1


def test_a_lost_document_is_said_to_be_lost_and_found_again(panel):
    states = [
        {"query": q, "layer": layer, "dim": dim, "depth": depth}
        for q in panel.controls["query"]["values"]
        for layer, dim, depth in ((1, 8, 10), (3, 32, 50))
    ]
    texts = [one["text"] for one in shown(panel, states)]
    assert any("lost" in text for text in texts[::2])
    assert not any("lost" in text for state, text in zip(states, texts, strict=True) if state["dim"] == 32)


def test_examples_are_answered_by_the_full_model_and_some_are_lost(panel):
    p = panel.paths
    chosen = example_queries(p, 8)
    full = p.full("toy")
    assert len(set(chosen)) == len(chosen) and all(np.isin(p.relevant(q), full[q]).any() for q in chosen)


def test_wrong_states_are_named(panel):
    with pytest.raises(InputError, match="rerank cannot be 33"):
        panel.set(rerank=33)
    with pytest.raises(InputError, match="no control 'stages'"):
        panel.set(stages=2)
