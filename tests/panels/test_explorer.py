"""The explorer: what the browser shows is what Python computes; what the kernel is asked for; wrong input in words."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import threading
import time

import numpy as np
import pytest

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads
from mrl_tutorial.panels import explorer, explorer_tables
from mrl_tutorial.panels.explorer import HERE, GridExplorer, train_for
from mrl_tutorial.panels.explorer_tables import ExplorerTables, ranked_cells
from mrl_tutorial.panels.job import Job
from mrl_tutorial.panels.packing import unpack
from mrl_tutorial.retrieval.costs import cell_price
from mrl_tutorial.tasks.types import PairsTask, RetrievalTask, STSTask
from tests.helpers.tiny import save_tiny
from tests.helpers.web import random_states, shown

WORDS = [
    "vector",
    "norm",
    "inverse",
    "solve",
    "sparse",
    "dense",
    "graph",
    "node",
    "edge",
    "path",
    "sort",
    "merge",
    "frame",
    "row",
    "column",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.load(save_tiny(tmp_path_factory.mktemp("model"), layers=2))


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    corpus = {f"d{i}": " ".join(rng.choice(WORDS, 7)) for i in range(60)}
    queries = {f"q{i}": " ".join(corpus[f"d{i}"].split()[:4]) for i in range(60)}
    queries["q0"] = "<b>sort</b> & path"
    qrels = {f"q{i}": {f"d{i}": 1} for i in range(60)}
    splits = {"dev": [f"q{i}" for i in range(20)], "train": [f"q{i}" for i in range(20, 60)]}
    return RetrievalTask("toy", "here", corpus, queries, qrels, splits)


@pytest.fixture
def panel(task, encoder):
    return GridExplorer(task, encoder, layer=1, dim=8)


def test_tables_are_the_grid_of_the_dev_split_at_every_dimension(panel, task, encoder):
    want = evaluate_grid(task, encoder, split="dev", dims="all")
    table = panel.model.tables["ndcg@10"]["plain"]
    assert table.shape == (encoder.n_layers, encoder.width)
    assert np.allclose(table, want.values, atol=1e-9)


def oracle(task, encoder, text, layer, dim):
    """Rank of every document for a query in a cell, in double precision, equal scores in corpus order."""
    documents = encoder.encode_layers(list(task.corpus.values())).astype(np.float64)[layer - 1, :, :dim]
    query = encoder.encode_layers([text]).astype(np.float64)[layer - 1, 0, :dim]
    scores = documents @ query / np.linalg.norm(documents, axis=1) / np.linalg.norm(query)
    ranks = np.empty(len(scores), int)
    ranks[np.argsort(-scores.round(12), kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks, scores


def test_every_shown_number_is_python_s(panel, task, encoder):
    m, states = panel.model, random_states(panel, 200)
    queries = {" ".join(text.split()): q for q, text in task.queries.items()}
    full = {text: oracle(task, encoder, text, m.layers[-1], m.width)[0] for text in {s["query"] for s in states}}
    for state, found in zip(states, shown(panel, states), strict=True):
        now, layer, dim = found["shown"], state["layer"], state["dim"]
        table = m.tables[state["metric"]]["plain"]
        assert now["value"] == pytest.approx(table[layer - 1, dim - 1], abs=1e-6)
        assert now["full"] == pytest.approx(table[-1, -1], abs=1e-6)
        np.testing.assert_allclose(now["cells"], table[:, np.array(m.dims) - 1].ravel(), atol=1e-6)
        assert f"Layer {layer}, {dim} of {m.width} dimensions" in now["headline"]
        said = float(re.search(r" (\d\.\d{3})", now["headline"])[1])
        assert said == pytest.approx(table[layer - 1, dim - 1], abs=0.000501)  # half a digit, and float32
        ranks, scores = oracle(task, encoder, state["query"], layer, dim)
        right = [list(task.corpus).index(d) for d in task.qrels[queries[state["query"]]]]
        (stand,) = now["ranking"]["stand"]
        near = np.abs(scores - scores[right[0]]) < 1e-6  # float32 may order these differently
        assert abs(stand["here"] - ranks[right[0]]) < near.sum() and stand["full"] == full[state["query"]][right[0]]
        for hit in now["ranking"]["hits"]:
            row = list(task.corpus).index(hit["name"])
            assert abs(scores[row] - np.sort(scores)[-hit["rank"]]) < 1e-6
            assert hit["full"] == full[state["query"]][row] and hit["relevant"] == (row in right)
            assert hit["text"] in found["text"] or hit["rank"] > 5
        price = cell_price(encoder, layer, dim)
        assert [row["share"] for row in now["price"]] == pytest.approx(
            [price["bytes_share"], price["bytes_share"], price["encode_share"], price["search_share"]]
        )
        assert f"{price['bytes']:,.0f}" in found["text"]


def test_ranks_of_ties_zero_vectors_and_few_documents():
    documents = np.array([[[1.0, 0.0], [0.0, 0.0], [2.0, 0.0], [1.0, 1.0]]])
    ids, ranks, full = ranked_cells(documents, np.array([[1.0, 0.0]]), [2, 1], k=3)
    assert ids[0].tolist() == [[0, 2, 3], [0, 2, 3]]  # equal scores in corpus order; the zero vector scores 0
    assert ranks[:, 0].tolist() == [[2, 2], [4, 4]] and full.tolist() == [1, 4, 2, 3]
    assert ranked_cells(documents, np.array([[1.0, 0.0]]), [], k=10)[0].shape == (1, 2, 4)


def test_two_cells_side_by_side(panel):
    (found,) = shown(panel, [{"layer": 1, "dim": 4, "pin": "2,16"}])
    alone = shown(panel, [{"layer": 2, "dim": 16}])[0]["shown"]
    assert found["shown"]["beside"]["hits"] == alone["ranking"]["hits"]
    assert found["shown"]["pinned"] == {"layer": 2, "dim": 16}
    assert "Layer 2, 16 dimensions (kept)" in found["text"] and "Stop comparing" in found["text"]


def test_an_own_query_is_asked_for_once_and_then_looked_up(panel):
    (before,) = shown(panel, [{"query": "solve a graph"}])
    assert before["missing"] == {"ask": "query", "model": "plain", "text": "solve a graph"}
    panel._receive(before["missing"])
    answer = unpack(panel.more["plain: solve a graph"])
    panel.publish(**{key: {**panel._data[key], **value} for key, value in answer.items() if key == "documents"})
    panel.publish(answers={"plain": {**panel._data["answers"]["plain"], **answer["answers"]["plain"]}})
    (after,) = shown(panel, [{"query": "solve a graph", "layer": 1, "dim": 7}])
    assert after["missing"] is None and len(after["shown"]["ranking"]["hits"]) == 10
    assert all(hit["relevant"] is None for hit in after["shown"]["ranking"]["hits"])


@pytest.mark.parametrize("wrong, words", [("   ", "query is empty"), ("x" * 5000, "5,000 characters")])
def test_a_wrong_query_is_a_message(panel, wrong, words):
    panel._receive({"ask": "query", "model": "plain", "text": wrong})
    assert words in panel.status["error"]
    panel._receive({"ask": "query", "model": "plain", "text": "sort a frame"})
    assert panel.status == {}


def test_examples_are_queries_that_the_full_model_answers_first(panel, task, encoder):
    texts = {" ".join(task.queries[q].split()): list(task.corpus).index("d" + q[1:]) for q in task.judged("dev")}
    m = panel.model
    solved = {t for t, row in texts.items() if oracle(task, encoder, t, m.layers[-1], m.width)[0][row] == 1}
    examples = m.examples(3)
    assert len(examples) == 3 and len(set(examples)) == 3
    assert set(examples) <= (solved if len(solved) >= 3 else set(texts))


def test_python_sets_the_state_and_wrong_values_are_named(panel):
    panel.set(layer=2, dim=5)
    assert (panel.state["layer"], panel.state["dim"]) == (2, 5)
    with pytest.raises(InputError, match="layer cannot be 9: choose from 1, 2"):
        panel.set(layer=9)
    with pytest.raises(InputError, match="no control 'layers'"):
        panel.set(layers=1)


def test_training_in_the_foreground_adds_the_model_and_switches_to_it(panel, capsys):
    panel.train(seconds=1)
    assert panel.state["model"] == HERE and panel.status == {}
    table = panel.model.tables["ndcg@10"][HERE]
    assert np.isfinite(table).all()
    (found,) = shown(panel, [{}])
    assert found["shown"]["trained"] == list(panel.model.dims)
    assert found["shown"]["value"] == pytest.approx(table[panel.state["layer"] - 1, panel.state["dim"] - 1], abs=1e-6)
    assert found["missing"] is None and "trained and measured" in capsys.readouterr().out


def test_who_looks_elsewhere_while_it_is_measured_is_left_there(panel, monkeypatch):
    before, seen, heard = panel.state["model"], [], panel.progress

    def progress(share, label):
        found = heard(share, label)
        seen.append(panel.state["model"])
        if len(seen) > 1 and seen[-1] == HERE:
            panel.set(model=before)
        return found

    monkeypatch.setattr(panel, "progress", progress)
    for _ in range(2):  # a second training is brought on show once more
        seen.clear()
        panel.train(seconds=1)
        assert seen.count(HERE) == 1 and panel.state["model"] == before


def test_another_model_added_meanwhile_does_not_hide_what_is_trained(panel, encoder, monkeypatch):
    trained, heard = [], panel.progress

    def progress(share, label):
        if not trained:  # training is under way, nothing of it has been measured
            trained.append(1)
            panel.add("another", encoder)
            assert panel.state["model"] == "another"
        return heard(share, label)

    monkeypatch.setattr(panel, "progress", progress)
    panel.train(seconds=1)
    assert trained and panel.state["model"] == HERE


def test_the_button_trains_beside_the_kernel_and_can_be_pressed_again(panel):
    for recipe in ("all-cells", "mrl"):
        panel._receive({"ask": "train", "state": {**panel.state, "recipe": recipe, "seconds": 1}})
        assert "share" in panel.status
        panel._job.join(60)
        assert panel.status == {} and panel.state["model"] == HERE


def test_an_interruption_leaves_no_bar_behind(panel, monkeypatch):
    def interrupted(*args, **options):
        args[-2](0.5, "half way")
        raise KeyboardInterrupt

    monkeypatch.setattr(explorer, "train_for", interrupted)
    with pytest.raises(KeyboardInterrupt):
        panel.train(seconds=1)
    assert panel.status == {}


def test_cancel_keeps_what_was_trained(panel):
    panel._receive({"ask": "train", "state": {**panel.state, "seconds": 60}})
    with pytest.raises(InputError, match="still at work: wait for it, or cancel it"):
        panel.train(seconds=1)
    while panel.status.get("share", 0) == 0 and panel._job.running:
        time.sleep(0.01)
    panel._receive({"ask": "cancel"})
    panel._job.join(30)
    assert np.isfinite(panel.model.tables["ndcg@10"][HERE]).all()


def test_texts_are_encoded_when_they_are_needed_which_shows_and_can_be_canceled(panel, task, encoder):
    cold, said = GridExplorer(task, encoder), []  # its tables are there
    shutil.rmtree(files.cache_dir("embeddings"))
    assert cold._train(cold.state, lambda share, label: False) is None and HERE not in cold.model.encoders
    cold.observe(lambda change: said.append(change["new"].get("label", "")), "status")
    cold._receive({"ask": "query", "model": "plain", "text": "sort a frame"})
    assert "encoding 60 texts, once" in said and cold.status == {}


def test_failed_training_is_a_message(panel, monkeypatch):
    def broken(*args):
        raise InputError("no such recipe")

    monkeypatch.setattr("mrl_tutorial.panels.explorer.train_for", broken)
    panel._receive({"ask": "train", "state": panel.state})
    panel._job.join(10)
    assert panel.status == {"error": "no such recipe"}


def test_graded_pairs_have_a_grid_and_no_documents(encoder):
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS, 5)) for _ in range(24)]
    task = STSTask("graded", "here", {"dev": (texts[:12], texts[12:], rng.random(12))})
    panel = GridExplorer(task, encoder)
    (found,) = shown(panel, [{"dim": 4}])
    assert "query" not in panel.controls and "Query" not in found["text"] and found["missing"] is None
    assert found["shown"]["value"] == pytest.approx(panel.model.tables["spearman"]["plain"][-1, 3], abs=1e-6)
    with pytest.raises(InputError, match="graded is shown without training: give a task of kind retrieval or pairs"):
        panel.train()


def test_pairs_are_searched_for_each_other_and_can_be_trained_on(encoder):
    rng = np.random.default_rng(2)
    texts = [" ".join(rng.choice(WORDS, 6)) for _ in range(60)]
    rows = [(text, " ".join(text.split()[:3])) for text in texts]
    task = PairsTask("pairs", "here", {"train": rows[:40], "dev": rows[40:]})
    panel = GridExplorer(task, encoder)
    found = oracle(searched := task.as_retrieval("dev"), encoder, panel.state["query"], 2, 4)[0]
    (one,) = shown(panel, [{"layer": 2, "dim": 4}])
    names = list(searched.corpus)
    assert [found[names.index(hit["name"])] for hit in one["shown"]["ranking"]["hits"]] == list(range(1, 11))
    panel.train(seconds=1)
    assert panel.state["model"] == HERE and np.isfinite(panel.model.tables["ndcg@10"][HERE]).all()


def test_training_for_a_time_ends_early_when_told_so(task, encoder):
    labels = []

    def report(share, label):
        labels.append(label)
        return not label.startswith("training: step 3 ")

    trained = train_for(encoder, task, "all-cells", "shared", 30, report)
    assert labels[-1].startswith("training: step 3 of")
    assert trained.heads.weight.abs().sum() > 0 and trained.trained_dims == encoder.dims
    assert encoder.heads is None


def test_job_reports_cancels_and_hands_errors_on():
    begun, seen = threading.Event(), []

    def work(report):
        begun.set()
        while report(0.5, "busy"):
            time.sleep(0.001)
        return "rest"

    job = Job(work, lambda *a: None, seen.append)
    job.start()
    assert begun.wait(5) and job.running
    job.cancel()
    job.join(5)
    assert seen == ["rest"] and not job.running

    failing = Job(lambda report: 1 / 0, lambda *a: None, seen.append)
    failing.start()
    failing.join(5)
    assert isinstance(seen[1], ZeroDivisionError)


def test_a_job_that_rests_is_canceled_before_it_begins():
    seen = []
    resting = Job(lambda report: seen.append("begun"), lambda *a: None, seen.append, rest=30)
    resting.start()
    resting.cancel()
    resting.join(5)
    assert seen == [None]


def test_heads_are_trained_on_documents_that_were_embedded_before(task, encoder):
    model = ExplorerTables(task, encoder)
    plain, known = model.frozen()
    assert plain.heads is None and set(known) == set(task.corpus.values())
    texts = list(known)[:5]
    want = encoder.encode_layers(texts, cache=False)
    assert np.allclose(np.stack([known[text] for text in texts], 1), want, atol=1e-5)
    with_heads = encoder.with_heads(Heads(encoder.n_layers, encoder.width))
    plain, known = ExplorerTables(task, with_heads).frozen()
    assert plain.heads is None and not known


def test_quality_is_cached_and_never_taken_from_another_state(task, encoder, monkeypatch):
    first = ExplorerTables(task, encoder)
    first.measure("plain")
    other = ExplorerTables(task, encoder, max_queries=5)
    other.measure("plain")
    assert not np.array_equal(first.tables["ndcg@10"]["plain"], other.tables["ndcg@10"]["plain"])
    again = ExplorerTables(task, encoder)
    never = lambda *a, **k: pytest.fail("measured again")  # noqa: E731
    monkeypatch.setattr("mrl_tutorial.panels.explorer_tables.evaluate_grid", never)
    again.measure("plain")
    assert np.array_equal(first.tables["ndcg@10"]["plain"], again.tables["ndcg@10"]["plain"])


def test_measuring_begins_with_the_heat_map(task, encoder):
    model, seen = ExplorerTables(task, encoder), []
    model.measure("plain", first=2, report=lambda share, label: seen.append((label, model.tables["ndcg@10"]["plain"])))
    assert [label for label, _ in seen][2:4] == [f"measuring layer {n} at every dimension" for n in (2, 1)]
    columns, table = np.array(model.dims) - 1, seen[2][1]
    assert np.isfinite(table[:, columns]).all()
    assert np.isnan(np.delete(table, columns, axis=1)).all()


def test_items_say_how_many_of_how_many(task, encoder):
    assert ExplorerTables(task, encoder).items == "20 dev queries"
    assert ExplorerTables(task, encoder, max_queries=5).items == "5 of 20 dev queries"


def test_bad_arguments_are_named(task, encoder, tmp_path):
    deeper = Encoder.load(save_tiny(tmp_path / "deeper", layers=3))
    with pytest.raises(InputError, match="no model"):
        ExplorerTables(task, {})
    with pytest.raises(InputError, match="'other' has 3 layers"):
        ExplorerTables(task, {"plain": encoder, "other": deeper})
    with pytest.raises(InputError, match="split 'nowhere'"):
        ExplorerTables(task, encoder, split="nowhere")


def test_what_a_thread_has_measured_changes_the_panel_in_the_kernel_s_thread(panel, monkeypatch):
    changed = []
    panel.observe(lambda change: changed.append((change["name"], threading.current_thread().name)))

    async def kernel():
        panel._receive({"ask": "train", "state": {**panel.state, "seconds": 1}})
        while panel._job.running:
            await asyncio.sleep(0.01)

    asyncio.run(kernel())
    assert {"more", "state", "tables", "status"} <= {name for name, _ in changed}
    assert {thread for _, thread in changed} == {threading.current_thread().name}
    assert panel.state["model"] == HERE and panel.status == {}


def test_examples_are_looked_up_once_for_each_model(panel, encoder, monkeypatch):
    asked = []
    monkeypatch.setattr(explorer_tables, "ranked_cells", lambda *given: asked.append(given) or ranked_cells(*given))
    panel.add("other", encoder.with_heads(Heads(encoder.n_layers, encoder.width)))
    assert len(asked) == len(panel._examples)
    panel.add("the same", encoder)
    assert len(asked) == len(panel._examples)


def test_a_page_holds_what_came_after_the_tables(panel, tmp_path):
    panel._receive({"ask": "query", "model": "plain", "text": "solve a graph"})
    panel.set(query="solve a graph")
    (packed,) = re.findall(r'standalone\(explorer, "([^"]*)"', panel.page())
    panel.tables = base64.b64decode(packed)
    panel.more = {}
    (found,) = shown(panel, [{"layer": 2, "dim": 16}])
    assert found["missing"] is None and len(found["shown"]["ranking"]["hits"]) == 10


def test_an_own_query_may_be_any_word(panel):
    """Every object of JavaScript has a property `constructor`."""
    (found,) = shown(panel, [{"query": "constructor"}])
    assert found["missing"] == {"ask": "query", "model": "plain", "text": "constructor"}
    assert "Waiting for the kernel" in found["text"]


def test_of_several_relevant_documents_the_best_is_drawn(encoder, task):
    qrels = {q: {f"d{i}": 1 for i in range(7, 60, 9)} for q in task.qrels}
    many = RetrievalTask("many", "here", task.corpus, task.queries, qrels, task.splits)
    panel = GridExplorer(many, encoder)
    for state, found in zip(states := random_states(panel, 30), shown(panel, states), strict=True):
        ranking = found["shown"]["ranking"]
        assert ranking["falls"][0][state["dim"] - 1] == ranking["stand"][0]["here"]
        assert ranking["stand"][0]["here"] == min(one["here"] for one in ranking["stand"])


@pytest.mark.parametrize("pin", ["abc", "9,9", "1,999", "0,4", "1,2.5"])
def test_a_pin_that_is_no_cell_is_none(panel, pin):
    (found,) = shown(panel, [{"pin": pin}])
    assert found["shown"]["pinned"] is None and "(kept)" not in found["text"]
