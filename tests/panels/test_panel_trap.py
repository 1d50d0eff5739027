"""The truncation trap: what the browser shows is what the model holds, in every state; wrong input is named."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.truncation import WAYS
from mrl_tutorial.panels.packing import unpack
from mrl_tutorial.panels.truncation_trap import FORMULAS, NAMES, TruncationTrap
from tests.helpers.web import random_states, shown


def build(**options):
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(40, 16)) * rng.gamma(2, 1, (40, 1))
    queries = documents[:15] + rng.normal(size=(15, 16))
    return TruncationTrap(queries, documents, [{i} for i in range(15)], **options)


@pytest.fixture(scope="module")
def panel():
    texts = [f"<i>page</i>\n {i}." for i in range(40)]
    return build(query_texts=[f"query {i}" for i in range(15)], document_texts=texts, dim=4)


def fixed(x: float, digits: int) -> str:
    """A number as JavaScript writes it: halves are rounded up."""
    return str(Decimal(float(x)).quantize(Decimal(10) ** -digits, ROUND_HALF_UP))


def test_every_state_shows_what_the_model_holds(panel):
    model = panel.model
    states = [*random_states(panel, 70), {}, {"dim": 1}, {"dim": 16}]
    for state, one in zip(states, shown(panel, states), strict=True):
        now, got, text = {**panel.state, **state}, one["shown"], one["text"]
        d, way, place = now["dim"], now["way"], WAYS.index(now["way"])
        values = model.values[now["metric"]]
        for line, want, name in zip(got["ways"], values, NAMES.values(), strict=True):
            assert np.allclose(line["values"], want, atol=1e-6) and line["value"] == pytest.approx(want[d - 1])
            assert line["name"] == name and line["chosen"] == (name == NAMES[way])
        value = np.float32(values[place, d - 1])
        measure = {"ndcg@10": "nDCG@10", "recall@10": "recall@10"}[now["metric"]]
        cut = "1 dimension" if d == 1 else f"{d} dimensions"
        assert got["headline"].startswith(f"“{NAMES[way]}” at {cut}: {measure} {fixed(value, 3)}, ")
        other = values[1 if place == 0 else 0, d - 1]
        difference = float(value) - float(np.float32(other))
        sign = "−" if difference < 0 else "+"
        same = abs(difference) < 0.0005
        assert ("as much as" in got["headline"]) == same
        assert same or f"{sign}{fixed(abs(difference), 3)} against" in got["headline"]
        assert FORMULAS[way] in text
        low, middle, high = model.spread[d - 1]
        assert (got["low"], got["middle"], got["high"]) == (low, middle, high)
        assert np.allclose(got["lengths"], model.lengths[d - 1], atol=1e-6)
        unequal = f"lengths of {fixed(low, 2)} to {fixed(high, 2)}: {fixed(high / low, 2)} times apart"
        assert (unequal in text) == (d < 16)
        for name, column in zip(WAYS, got["ranked"], strict=True):
            best = model.tops([now["query"]], 5)[0, WAYS.index(name), d - 1].tolist()
            assert [hit["document"] for hit in column] == best
            assert [hit["text"] for hit in column] == [f"<i>page</i> {row}." for row in best]
            assert [hit["relevant"] for hit in column] == [row in model.relevant[now["query"]] for row in best]
        marks = sum(hit["relevant"] for column in got["ranked"] for hit in column)
        assert text.count("✔") == marks + 1  # and the note that explains it


def test_examples_are_the_queries_that_the_ways_rank_most_unlike(panel):
    query = panel.controls["query"]
    assert query["values"] == np.argsort(-panel.model.contrast, kind="stable")[:12].tolist()
    assert query["words"] == [f"query {panel.model.rows[i]}" for i in query["values"]]
    assert panel.state["query"] == query["values"][0]


def test_only_documents_that_occur_are_sent(panel):
    tables = unpack(panel.tables)
    assert tables["top"].dtype == np.uint8 and tables["top"].shape == (12, 4, 16, 5)
    assert set(map(int, tables["documents"])) == set(tables["top"].ravel().tolist())


def test_without_texts_there_are_no_documents():
    panel = build(way="raw", metric="recall@10")
    (one,) = shown(panel, [{}])
    assert "query" not in panel.controls and "documents" not in unpack(panel.tables)
    assert one["shown"]["ranked"] is None and "✔" not in one["text"]
    assert one["shown"]["headline"].startswith("“no normalizing” at 16 dimensions: recall@10")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dim": 17}, "dim cannot be 17"),
        ({"query_texts": ["a"]}, "1 query_texts for 15"),
        ({"dim": 0}, "dim cannot be 0: choose from 1, 2"),
        ({"way": "late cut"}, "way cannot be 'late cut'"),
        ({"query": 0}, "no control 'query'"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_python_moves_the_controls_and_refuses_what_does_not_exist(panel):
    panel.set(dim=9, way="l2")
    assert (panel.state["dim"], panel.state["way"]) == (9, "l2")
    with pytest.raises(InputError, match="dim cannot be 20"):
        panel.set(dim=20)
    panel.set(dim=4, way="cut")
