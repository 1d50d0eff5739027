"""The truncation trap without a browser: slider and switches show what the model holds; foreign text is escaped."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.truncation import WAYS
from mrl_tutorial.panels.truncation_trap import FORMULAS, NAMES, TruncationTrap


def build(**options):
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(40, 16)) * rng.gamma(2, 1, (40, 1))
    queries = documents[:15] + rng.normal(size=(15, 16))
    return TruncationTrap(queries, documents, [{i} for i in range(15)], **options)


@pytest.fixture
def panel():
    return build(
        query_texts=[f"query {i}" for i in range(15)], document_texts=[f"<i>page</i> {i}" for i in range(40)], dim=4
    )


def test_sliding_moves_the_mark_and_the_lengths(panel):
    for d in (1, 5, 16):
        panel.dim.value = d
        figure, model = panel.figure, panel.model
        assert figure.layout.shapes[0].x0 == pytest.approx(np.log2(d))
        assert figure.layout.shapes[1].yanchor == pytest.approx(model.values["ndcg@10"][0, d - 1])
        assert f"d = {d}: nDCG@10 {model.values['ndcg@10'][0, d - 1]:.3f}" in figure.layout.annotations[0].text
        assert np.array_equal(figure.data[-1].y, model.lengths[d - 1])


def test_the_switch_chooses_line_value_and_formula(panel):
    for i, way in enumerate(WAYS):
        panel.way.value = way
        widths = [line.line.width for line in panel.figure.data[:-1]]
        assert widths.index(max(widths)) == i
        assert panel.figure.layout.shapes[1].yanchor == pytest.approx(panel.model.values["ndcg@10"][i, 3])
        assert FORMULAS[way] in panel.note.value and f"<u>{NAMES[way]}</u>" in panel.note.value


def test_the_measure_changes_all_lines(panel):
    panel.metric.value = "recall@10"
    for line, want in zip(panel.figure.data[:-1], panel.model.values["recall@10"], strict=True):
        assert np.array_equal(line.y, want)
    assert panel.figure.layout.yaxis.title.text == "recall@10"


def test_the_documents_of_a_query_are_ranked_by_every_way(panel):
    panel.query.value = panel.query.options[3][1]
    panel.dim.value = 2
    words = panel.note.value
    assert words.count("<tr>") == 6 and "<i>page" not in words and "&lt;i&gt;page" in words
    first = words.split("<tr>")[2]
    for way in WAYS:
        assert f"page&lt;/i&gt; {panel.model.top(way, panel.query.value, 2, 1)[0]}<" in first


def test_examples_are_the_queries_that_the_ways_rank_most_unlike(panel):
    model = panel.model
    shown = [value for _, value in panel.query.options]
    assert list(shown) == np.argsort(-model.contrast, kind="stable")[:12].tolist()


def test_without_texts_there_are_no_documents():
    panel = build()
    assert panel.query is None and "mrl-documents" not in panel.note.value
    panel.dim.value = 16
    assert "times apart" not in panel.note.value  # at full width every unit vector has length 1


def test_static_twin_shows_the_same_state(panel):
    panel.dim.value, panel.way.value = 7, "raw"
    twin = panel.static()
    assert type(twin).__name__ == "Figure"
    assert twin.layout.annotations[0].text == panel.figure.layout.annotations[0].text


@pytest.mark.parametrize(
    "options, message",
    [({"dim": 17}, "dimension 17"), ({"query_texts": ["a"]}, "1 query_texts for 15"), ({"dim": 0}, "choose 1 to 16")],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_an_impossible_state_is_a_message_in_the_panel(panel):
    panel.dim.max = 20  # a width that the vectors lack
    panel.dim.value = 18
    assert "dimension 18 does not exist" in panel.message.value
    panel.dim.value = 3
    assert panel.message.value == ""
