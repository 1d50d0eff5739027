"""The funnel designer: its controls, its tables and its messages, against the paths below it."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.panels.funnel_designer import FunnelDesigner, two_stage_paths
from mrl_tutorial.panels.markup import number
from mrl_tutorial.retrieval import costs
from mrl_tutorial.retrieval.paths import Paths, Throughput, draw_path
from mrl_tutorial.retrieval.stages import shortlist
from tests.helpers.made_retrieval import LAYERS, QUERIES, WIDTH, made_embeddings, made_task

CLOCK = Throughput(scan=1e9, gather=1e8, stage=1e-4)


@pytest.fixture(scope="module")
def task():
    return made_task()


@pytest.fixture(scope="module")
def embeddings():
    return made_embeddings()


@pytest.fixture(scope="module")
def paths(task, embeddings):
    return Paths(task, {"toy": embeddings["dev"]})


@pytest.fixture
def panel(task, embeddings):
    return FunnelDesigner(
        task,
        {"other": embeddings["dev"], "toy": embeddings["dev"]},
        geometry=costs.Geometry(LAYERS, WIDTH, 64),
        clock=CLOCK,
    )


def test_sliders_move_the_path_the_point_and_the_tables(panel):
    for control, value in [
        (panel.layer, 1),
        (panel.dim, 8),
        (panel.depth, 20),
        (panel.middle, 1),
        (panel.size, 10**6),
        (panel.rerank, 32),
    ]:
        control.value = value
    stages = draw_path((1, 8), 20, (3, 32), 1, (8, 16, 32))
    walk = panel.paths.walk("toy", stages)
    heat, _, line, dots, *_, mine = panel.figure.data
    assert np.allclose(heat.z, panel.paths.grid("toy"))
    assert len(dots.x) == 3 and list(dots.text) == ["<b>1</b>", "<b>2</b>", "<b>3</b>"]
    assert np.allclose(np.diff(line.x), 1) and np.allclose(np.diff(line.y), 1)
    assert mine.y[0] == walk.recall and mine.x[0] == pytest.approx((10**6 * 8 + 20 * 16 + 14 * 32) / 1e6)
    assert "for 1,000,000 documents" in panel.note.value and f"{walk.recall:.1%}" in panel.note.value
    assert panel.note.value.count("&#8594;") == 3 and "90 &#8594; 20" in panel.note.value
    assert "query" in panel.note.value and "<i>" not in panel.note.value


def test_a_lost_document_is_said_to_be_lost(panel):
    panel.dim.value, panel.depth.value, panel.layer.value = 8, 10, 1
    short = panel.paths.walk("toy", shortlist(8, 32, 10, layer=1)).survivors[0]
    lost = [i for i in range(QUERIES) if i and i not in short[i]]
    seen = {value for _, value in panel.query.options}
    which = next(i for i in lost if i in seen)
    panel.query.value = which
    assert panel.note.value.count("lost") == 2
    panel.depth.value = 50
    panel.layer.value, panel.dim.value = 3, 32
    assert "lost" not in panel.note.value


def test_a_senseless_path_is_a_message_and_the_figure_stays(panel):
    before = panel.figure.data[-1].y
    panel.dim.value = 32
    panel.rerank.value = 8
    assert 'role="alert"' in panel.message.value and "adds nothing" in panel.message.value
    panel.dim.value, panel.rerank.value = 16, 32
    assert panel.message.value == "" and len(panel.figure.data[-1].y) == len(before)


def test_static_is_a_plain_figure_of_the_same_state(panel):
    panel.depth.value = 20
    picture = panel.static()
    assert type(picture).__name__ == "Figure" and picture.data[-1].y == panel.figure.data[-1].y
    assert picture.layout.template.layout.font is not None
    sizes = [picture.layout.font.size, *(t.textfont.size for t in picture.data if t.textfont.size)]
    assert min(sizes) >= 14


def test_cloud_holds_every_two_stage_path(paths):
    points = two_stage_paths(paths, "toy")
    assert {d for d, *_ in points} == {8, 16, 32} and (32, 0, 1.0) in points
    assert {(d, k): r for d, k, r in points}[8, 50] == paths.walk("toy", shortlist(8, 32, 50)).recall


def test_numbers_are_short():
    assert [number(x) for x in (0.02421, 2.4215, 24.2, 2421.5, 0, float("nan"))] == [
        "0.0242",
        "2.42",
        "24.2",
        "2,422",
        "0",
        "–",
    ]
