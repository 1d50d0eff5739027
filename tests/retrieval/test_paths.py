"""Paths of search: against the retriever's search, their price against costs, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.retrieval import costs
from mrl_tutorial.retrieval.paths import Paths, Throughput, price
from mrl_tutorial.retrieval.planner import Judged
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import Stage, draw_path, funnel, shortlist
from tests.helpers.made_retrieval import DOCUMENTS, LAYERS, QUERIES, WIDTH, made_embeddings, made_task
from tests.helpers.walked import walk

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


@pytest.mark.parametrize(
    "stages",
    [
        (Stage(8),),
        shortlist(8, 32, 20),
        shortlist(8, 32, 20, layer=1),
        shortlist(8, 16, DOCUMENTS),
        funnel([8, 16, 32], [40, 15], layers=[1, 2, 3]),
        shortlist(4, 32, 5000),
    ],
)
def test_a_walk_is_the_retrievers_search(paths, task, embeddings, stages):
    walked = walk(paths, "toy", stages)
    found = Retriever(embeddings["dev"]["documents"], stages).search(embeddings["dev"]["queries"], 10)
    for mine, theirs in zip(walked.survivors, found.survivors, strict=True):
        assert np.array_equal(np.sort(mine, 1), np.sort(theirs, 1))
    assert np.array_equal(walked.survivors[-1][:, :10], found.rows)
    measured = Judged.of(task, embeddings, "dev", "ndcg@10").items(found.rows)
    assert walked.ndcg == pytest.approx(measured.mean(), abs=1e-6)


def test_recall_and_relevant_kept_by_hand(paths, task, embeddings):
    walked = walk(paths, "toy", shortlist(4, 32, 12))
    full = Retriever(embeddings["dev"]["documents"], [Stage(WIDTH)]).search(embeddings["dev"]["queries"], 10).rows
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(full, walked.survivors[-1], strict=True)])
    assert walked.recall == pytest.approx(recall)
    pairs = [(q, d) for q in range(QUERIES) for d in ([0, 70] if q == 0 else [q])]
    for share, rows in zip(walked.kept, walked.survivors, strict=True):
        assert share == pytest.approx(np.mean([d in rows[q] for q, d in pairs]))
    assert list(paths.relevant(0)) in ([0, 70], [70, 0]) and list(paths.relevant(3)) == [3]
    assert walk(paths, "toy", [Stage(WIDTH)]).recall == 1


def test_the_grid_is_the_quality_grid(paths, task, embeddings):
    assert np.allclose(
        paths.grid("toy"), evaluate_grid(task, embeddings=embeddings["dev"], split="dev").values, atol=1e-6
    )


def test_fewer_queries_are_followed_than_there_are(task, embeddings):
    some = Paths(task, {"toy": embeddings["dev"]}, queries=7)
    assert len(some.ids) == 7 and set(some.ids) <= set(task.judged("dev"))
    assert walk(some, "toy", shortlist(8, 32, 20)).survivors[0].shape == (7, 20)
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


@pytest.mark.parametrize(
    "first, keep, last, message",
    [
        ((3, 32), 50, (3, 16), "adds nothing"),
        ((3, 8), 50, (2, 32), "adds nothing"),
        ((1, 8), 9, (3, 32), "cannot give 10"),
    ],
)
def test_paths_that_make_no_sense_are_refused(first, keep, last, message):
    with pytest.raises(InputError, match=message):
        draw_path(first, keep, last)


def test_price_is_that_of_costs_and_of_the_retriever(embeddings):
    stages = funnel([8, 16, 32], [40, 20], layers=[1, 2, 3])
    got = price(stages, DOCUMENTS, CLOCK, costs.Geometry(LAYERS, WIDTH, 64), tokens=5)
    made = Retriever(embeddings["dev"]["documents"], stages)
    assert got["mflops"] * 1e6 == pytest.approx(DOCUMENTS * 8 + 40 * 16 + 20 * 32) == pytest.approx(made.cost.flops)
    assert got["encode_mflops"] * 1e6 == pytest.approx(costs.encode_flops(3, WIDTH, 64, 5))
    # the retriever's scan holds a length for each document as well
    assert got["gb"] * 1e9 == pytest.approx(sum(made.nbytes.values()) - 4 * DOCUMENTS)
    assert got["ms"] == pytest.approx(1e3 * (DOCUMENTS * 8 * 4 / 1e9 + (40 * 16 + 20 * 32) * 4 / 1e8 + 3 * 1e-4))
    assert np.isnan(price(stages, 10**9, CLOCK)["encode_mflops"])
    assert price([Stage(8, 50), Stage(32)], 20, CLOCK)["mflops"] * 1e6 == 20 * 8 + 20 * 32  # K > N


def test_what_a_search_found_is_measured_query_by_query(task, embeddings):
    part = Judged.of(task, embeddings, "test", "ndcg@10")
    items = part.items(Retriever(part.documents, [Stage(WIDTH)]).search(part.queries, part.k).rows)
    grid = evaluate_grid(task, embeddings=embeddings["test"], split="test")
    assert np.allclose(items, grid.per_item[-1, -1], atol=1e-6)


def test_clock_measures_something_sensible():
    clock = Throughput.measure(documents=2**15)
    assert 1e8 < clock.scan < 1e13 and clock.gather > 1e7 and clock.stage > 0


@pytest.mark.parametrize(
    "broken, message",
    [
        ({}, "no model"),
        ({"a": {"queries": np.zeros((1, 3, 8)), "documents": np.zeros((1, DOCUMENTS, 8))}}, "the task has 24"),
        ("vectors", "retrieval task"),
        ("shapes", "one shape"),
    ],
)
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


def test_what_is_not_a_number_is_named(task, embeddings):
    broken = {part: x.copy() for part, x in embeddings["dev"].items()}
    broken["documents"][1, 5, 3] = np.nan
    with pytest.raises(InputError, match=r"documents of a hold NaN or infinity \(row 5\)"):
        Paths(task, {"a": broken})
