"""The funnel designer: its paths against the retriever's search, its prices against costs, its controls and messages."""

from __future__ import annotations

import numpy as np
import pytest
from exercises import retrieval as checks

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.panels.funnel_designer import FunnelDesigner, two_stage_paths
from mrl_tutorial.panels.markup import number
from mrl_tutorial.retrieval import costs
from mrl_tutorial.retrieval.paths import Clock, Paths, draw_path, price
from mrl_tutorial.retrieval.measure import measure_path
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import Stage, funnel, shortlist
from mrl_tutorial.tasks.types import RetrievalTask

LAYERS, DOCUMENTS, QUERIES, WIDTH = 3, 90, 24, 32
CLOCK = Clock(scan=1e9, gather=1e8, stage=1e-4)


@pytest.fixture(scope="module")
def task():
    corpus = {f"lib.mod.d{i}": f"document {i} <b>" for i in range(DOCUMENTS)}
    queries = {f"q{i}": f"query {i} <i>" for i in range(2 * QUERIES)}
    qrels = {f"q{i}": {f"lib.mod.d{i}": 1} for i in range(2 * QUERIES)}
    qrels["q0"] = {"lib.mod.d0": 2, "lib.mod.d70": 1}
    splits = {"dev": [f"q{i}" for i in range(QUERIES)], "test": [f"q{i}" for i in range(QUERIES, 2 * QUERIES)]}
    return RetrievalTask("toy", "here", corpus, queries, qrels, splits)


@pytest.fixture(scope="module")
def embeddings():
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(LAYERS, DOCUMENTS, WIDTH)) * np.linspace(2, 0.5, WIDTH)
    documents[:, 5] = documents[:, 4]  # an exact tie
    noise = rng.normal(size=(2, LAYERS, QUERIES, WIDTH)) * np.array([3, 2, 1.0])[:, None, None]
    parts = {}
    for i, split in enumerate(("dev", "test")):
        own = documents[:, i * QUERIES : (i + 1) * QUERIES]
        parts[split] = {"queries": (own + noise[i]).astype(np.float32), "documents": documents.astype(np.float32)}
    return parts


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


@pytest.mark.parametrize("stages", [
    (Stage(8),), shortlist(8, 32, 20), shortlist(8, 32, 20, layer=1), shortlist(8, 16, DOCUMENTS),
    funnel([8, 16, 32], [40, 15], layers=[1, 2, 3]), shortlist(4, 32, 5000),
])  # fmt: skip
def test_a_walk_is_the_retrievers_search(paths, task, embeddings, stages):
    walk = paths.walk("toy", stages)
    found = Retriever(embeddings["dev"]["documents"], stages).search(embeddings["dev"]["queries"], 10)
    for mine, theirs in zip(walk.survivors, found.survivors, strict=True):
        assert np.array_equal(np.sort(mine, 1), np.sort(theirs, 1))
    assert np.array_equal(walk.survivors[-1][:, :10], found.rows)
    assert walk.ndcg == pytest.approx(measure_path(task, embeddings, stages, "dev").mean(), abs=1e-6)


def test_recall_and_relevant_kept_by_hand(paths, task, embeddings):
    walk = paths.walk("toy", shortlist(4, 32, 12))
    full = Retriever(embeddings["dev"]["documents"], [Stage(WIDTH)]).search(embeddings["dev"]["queries"], 10).rows
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(full, walk.survivors[-1], strict=True)])
    assert walk.recall == pytest.approx(recall)
    pairs = [(q, d) for q in range(QUERIES) for d in ([0, 70] if q == 0 else [q])]
    for share, rows in zip(walk.kept, walk.survivors, strict=True):
        assert share == pytest.approx(np.mean([d in rows[q] for q, d in pairs]))
    assert list(paths.relevant(0)) in ([0, 70], [70, 0]) and list(paths.relevant(3)) == [3]
    assert paths.walk("toy", [Stage(WIDTH)]).recall == 1


def test_the_grid_is_the_quality_grid(paths, task, embeddings):
    assert np.allclose(
        paths.grid("toy"), evaluate_grid(task, embeddings=embeddings["dev"], split="dev").values, atol=1e-6
    )


def test_fewer_queries_are_followed_than_there_are(task, embeddings):
    some = Paths(task, {"toy": embeddings["dev"]}, queries=7)
    assert len(some.ids) == 7 and set(some.ids) <= set(task.judged("dev"))
    assert some.walk("toy", shortlist(8, 32, 20)).survivors[0].shape == (7, 20)
    assert some.grid("toy").shape == (LAYERS, 3)


def test_a_drawn_path_climbs_and_shrinks():
    one, two, three, four = draw_path((1, 16), 160, (3, 128), 2, (8, 16, 32, 64, 128))
    assert [(s.layer, s.dim, s.depth) for s in (one, two, three, four)] == [
        (1, 16, 160),
        (2, 32, 63),
        (2, 64, 25),
        (3, 128, None),
    ]
    assert [s.dim for s in draw_path((2, 8), 50, (2, 16), 3, (8, 16))] == [8, 16]  # no cell lies between
    assert [s.depth for s in draw_path((1, 8), 12, (1, 128), 3)] == [12, 11, 11, 10, None]
    assert draw_path((3, 32), 50, (3, 32), 3) == (Stage(32, None, 3),)


@pytest.mark.parametrize("first, keep, last, message", [
    ((3, 32), 50, (3, 16), "adds nothing"), ((3, 8), 50, (2, 32), "adds nothing"), ((1, 8), 9, (3, 32), "cannot give 10"),
])  # fmt: skip
def test_paths_that_make_no_sense_are_refused(first, keep, last, message):
    with pytest.raises(InputError, match=message):
        draw_path(first, keep, last)


def test_price_is_that_of_costs_and_of_the_retriever(embeddings):
    stages = funnel([8, 16, 32], [40, 20], layers=[1, 2, 3])
    got = price(stages, DOCUMENTS, CLOCK, costs.Geometry(LAYERS, WIDTH, 64), tokens=5)
    made = Retriever(embeddings["dev"]["documents"], stages)
    assert (
        got["mflops"] * 1e6
        == pytest.approx(costs.funnel_flops(DOCUMENTS, [8, 16, 32], [40, 20]))
        == pytest.approx(made.flops())
    )
    assert got["encode_mflops"] * 1e6 == pytest.approx(costs.encode_flops(3, WIDTH, 64, 5))
    # the retriever's scan holds a length for each document as well
    assert got["gb"] * 1e9 == pytest.approx(sum(made.nbytes.values()) - 4 * DOCUMENTS)
    assert got["ms"] == pytest.approx(1e3 * (DOCUMENTS * 8 * 4 / 1e9 + (40 * 16 + 20 * 32) * 4 / 1e8 + 3 * 1e-4))
    assert np.isnan(price(stages, 10**9, CLOCK)["encode_mflops"])
    assert price([Stage(8, 50), Stage(32)], 20, CLOCK)["mflops"] * 1e6 == 20 * 8 + 20 * 32  # K > N


def test_measure_path_gives_a_value_a_query(task, embeddings):
    items = measure_path(task, embeddings, [Stage(WIDTH)], "test")
    grid = evaluate_grid(task, embeddings=embeddings["test"], split="test")
    assert np.allclose(items, grid.per_item[-1, -1], atol=1e-6)


def test_clock_measures_something_sensible():
    clock = Clock.measure(megabytes=8)
    assert 1e8 < clock.scan < 1e13 and clock.gather > 1e7 and clock.stage > 0


@pytest.mark.parametrize("broken, message", [
    ({}, "no model"), ({"a": {"queries": np.zeros((1, 3, 8))}}, "the task has 24"), ("vectors", "retrieval task"),
    ("shapes", "one shape"),
])  # fmt: skip
def test_wrong_input_is_named(task, embeddings, broken, message):
    if broken == "shapes":
        broken = {"a": embeddings["dev"], "b": {part: x[:2] for part, x in embeddings["dev"].items()}}
    if broken == "vectors":
        from mrl_tutorial.tasks.types import STSTask

        with pytest.raises(InputError, match=message):
            Paths(STSTask("sts", "here", {}), {})
        return
    with pytest.raises(InputError, match=message):
        Paths(task, broken)


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
    assert dict(((d, k), r) for d, k, r in points)[8, 50] == paths.walk("toy", shortlist(8, 32, 50)).recall


def test_numbers_are_short():
    assert [number(x) for x in (0.02421, 2.4215, 24.2, 2421.5, 0, float("nan"))] == [
        "0.0242",
        "2.42",
        "24.2",
        "2,422",
        "0",
        "–",
    ]


def test_checks_say_what_is_wrong():
    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    def order(q, x, d):
        return np.argsort(-unit(q[:, :d]) @ unit(x[:, :d]).T, axis=1)

    def in_list(q, x, ds, keep, k):
        short = order(q, x, ds)[:, :keep]
        return np.array([np.argsort(-unit(x[r]) @ unit(v))[:k] for v, r in zip(q, short, strict=True)])

    def raw(q, x, ds, keep, k):
        short = np.argsort(-q[:, :ds] @ x[:, :ds].T, axis=1)[:, :keep]
        return np.array([r[np.argsort(-x[r] @ v)[:k]] for v, r in zip(q, short, strict=True)])

    for wrong, message in [
        (in_list, "places in the shortlist"), (raw, "length 1"), (lambda q, x, ds, keep, k: order(q, x, ds)[:, :k], "order of the short"),
        (lambda q, x, ds, keep, k: order(q, x, 16)[:, :k], "all the work"), (lambda *a: None, "shape"),
    ]:  # fmt: skip
        assert message in str(checks.two_stages(wrong)) and not checks.two_stages(wrong)
    for wrong, message in [
        (lambda n, ds, keep, dr: n * ds / 1e6, "scan alone"), (lambda n, ds, keep, dr: n * ds + keep * dr, "divide"),
        (lambda n, ds, keep, dr: 2 * (n * ds + keep * dr) / 1e6, "counts once"), (lambda *a: None, "one number"),
        (lambda n, ds, keep, dr: (n * ds + keep * (dr - ds)) / 1e6, "charges all"),
    ]:  # fmt: skip
        assert message in str(checks.mflops(wrong)) and not checks.mflops(wrong)

    def pick(dev, target, strict=False):
        return next(k for k in range(1, 10**6) if ((dev < k) if strict else (dev <= k)).mean() >= target)

    for wrong, message in [
        (lambda dev, test, t: (pick(test, t), 1.0), "chosen on test"), (lambda dev, test, t: (pick(dev, t), (dev <= pick(dev, t)).mean()), "on test it holds"),
        (lambda dev, test, t: pick(dev, t), "two things"), (lambda dev, test, t: (pick(dev, t) - 1, 0.5), "just short"),
    ]:  # fmt: skip
        assert message in str(checks.smallest_depth(wrong)) and not checks.smallest_depth(wrong)
