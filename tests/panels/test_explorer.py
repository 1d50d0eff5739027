"""The explorer without a browser: a control changes what is shown to what the model says; wrong input is a message."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads
from mrl_tutorial.panels import explorer_picture as shown_as
from mrl_tutorial.panels.explorer import HERE, GridExplorer
from mrl_tutorial.panels.explorer_tables import ExplorerTables, Hit, Ranking
from mrl_tutorial.panels.job import Job
from mrl_tutorial.panels.markup import short_name
from mrl_tutorial.panels.train_box import TrainBox
from mrl_tutorial.panels.trainer import train_for
from mrl_tutorial.tasks.types import RetrievalTask, STSTask
from tests.helpers.tiny import save_tiny

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


def test_sliding_changes_frame_curve_and_readout(panel):
    figure, table = panel.figure, panel.model.tables["ndcg@10"]["plain"]
    for layer, dim in ((1, 8), (2, 8), (2, 5), (1, panel.model.width)):
        panel.layer.value, panel.dim.value = layer, dim
        assert (figure.layout.shapes[0].y0, figure.layout.shapes[0].y1) == (layer - 0.5, layer + 0.5)
        assert figure.layout.shapes[2].x0 == pytest.approx(np.log2(dim))
        assert np.array_equal(figure.data[2].y, table[layer - 1])
        words = figure.layout.annotations[1].text
        assert f"layer {layer}, d = {dim}:" in words and f"{table[layer - 1, dim - 1]:.3f}" in words


def test_a_slide_sends_the_figure_one_message_with_no_more_than_it_needs(panel, monkeypatch):
    sent = []
    for kind in ("plotly_restyle", "plotly_relayout", "plotly_update"):
        monkeypatch.setattr(type(panel.figure), kind, lambda self, *a, kind=kind: sent.append((kind, a)))
    panel.dim.value = 9
    ((kind, (layout,)),) = sent
    assert kind == "plotly_relayout" and {"shapes[1].x0", "annotations[1].text"} <= set(layout)
    assert all(key.startswith(("shapes", "annotations[1]")) for key in layout)
    panel.layer.value = 2
    kind, (style, layout, traces) = sent[1]
    assert kind == "plotly_update" and set(style) == {"y"} and traces == [2] and len(sent) == 2


def test_metric_switch_shows_the_other_table(panel):
    panel.metric.value = "recall@100"
    columns = [d - 1 for d in panel.model.dims]
    assert np.array_equal(panel.figure.data[0].z, panel.model.tables["recall@100"]["plain"][:, columns])
    assert "recall@100" in panel.figure.layout.annotations[0].text


def test_ranking_agrees_with_a_double_precision_reference(panel, task, encoder):
    model = panel.model
    documents = encoder.encode_layers(list(task.corpus.values())).astype(np.float64)
    for query_id, layer, dim in (("q3", 1, 3), ("q7", 2, 16)):
        text_ = task.queries[query_id]
        query = encoder.encode_layers([text_]).astype(np.float64)[:, 0]

        def ranks(layer, dim, query=query):
            d, q = documents[layer - 1, :, :dim], query[layer - 1, :dim]
            scores = d @ q / np.linalg.norm(d, axis=1) / np.linalg.norm(q)
            return {i: r for r, i in enumerate(np.argsort(-scores, kind="stable"), 1)}

        here, full = ranks(layer, dim), ranks(model.layers[-1], model.width)
        ranking = model.rank("plain", text_, layer, dim, k=5)
        ids = list(task.corpus)
        for hit in ranking.hits:
            i = ids.index(hit.document)
            assert (hit.rank, hit.full) == (here[i], full[i])
            assert hit.relevant == (hit.document in task.qrels[query_id])
        place = ids.index("d" + query_id[1:])
        assert ranking.relevant == ((here[place], full[place]),)


def test_the_full_cell_moves_no_document(panel):
    ranking = panel.model.rank("plain", panel.model.examples()[0], panel.model.layers[-1], panel.model.width)
    assert all(hit.rank == hit.full for hit in ranking.hits)


def test_an_unjudged_query_is_ranked_but_nothing_is_called_relevant(panel):
    panel.query.value = "solve a graph"
    assert "nothing is known to be relevant" in panel.documents.value
    assert all(hit.relevant is None for hit in panel.model.rank("plain", "solve a graph", 1, 4).hits)


@pytest.mark.parametrize("wrong, words", [("   ", "query is empty"), ("x" * 5000, "5,000 characters")])
def test_wrong_query_is_a_message_in_the_panel_and_goes_away(panel, wrong, words):
    panel.query.value = wrong
    assert words in panel.message.value and panel.documents.value == ""
    panel.dim.value = 3  # the panel still works
    assert "d = 3:" in panel.figure.layout.annotations[1].text
    panel.query.value = "sort a frame"
    assert panel.message.value == "" and "<table>" in panel.documents.value


def test_foreign_text_is_escaped(panel, task):
    panel.query.value = task.queries["q0"]
    assert "&lt;b&gt;sort&lt;/b&gt; &amp; path" in panel.documents.value
    assert "<b>sort</b>" not in panel.documents.value


def test_example_fills_the_query_box(panel):
    example = panel.examples.options[2][1]
    panel.examples.value = example
    assert panel.query.value == example and "relevant" in panel.documents.value


def test_examples_are_queries_that_the_full_model_answers_first(panel, task):
    last, width = panel.model.layers[-1], panel.model.width
    solved = [q for q in task.judged("dev") if panel.model.rank("plain", task.queries[q], last, width).hits[0].relevant]
    examples = panel.model.examples(3)
    assert len(examples) == 3 and len(set(examples)) == 3
    assert set(examples) <= {task.queries[q] for q in (solved if len(solved) >= 3 else task.judged("dev"))}


def test_buttons_jump_to_widths(panel):
    panel.jumps[-1].click()
    assert panel.dim.value == panel.model.width


def test_price_is_that_of_the_cell(panel):
    panel.layer.value, panel.dim.value = 1, panel.model.width // 2
    price = panel.model.price(1, panel.model.width // 2)
    assert f"{price['bytes']:,.0f} B" in panel.note.value
    assert panel.note.value.count("50 %") == 4  # half the layers, half the width, of two of each


def test_static_twin_shows_the_same_state(panel, task):
    panel.layer.value, panel.dim.value = 2, 5
    twin = panel.static()
    assert not hasattr(twin, "_model_id") or type(twin).__name__ == "Figure"
    assert twin.layout.annotations[1].text == panel.figure.layout.annotations[1].text
    assert np.array_equal(twin.data[0].z, panel.figure.data[0].z)
    table = twin.data[-1]
    assert table.type == "table" and list(table.cells["values"][0]) == [1, 2, 3, 4, 5]
    assert twin.layout.height < 900


def test_training_in_the_foreground_adds_the_model_and_switches_to_it(panel, capsys):
    panel.train(seconds=1)
    assert panel.models.value == HERE and HERE in panel.models.options
    table = panel.model.tables["ndcg@10"][HERE]
    assert np.isfinite(table).all()
    assert np.array_equal(panel.figure.data[4].y, table[panel.layer.value - 1])
    assert set(panel.model.trained[HERE]) == set(panel.model.dims)
    assert all(button.icon == "circle" for button in panel.jumps)
    assert "trained and measured" in capsys.readouterr().out
    panel.models.value = "plain"
    assert all(button.icon == "" for button in panel.jumps)


def test_the_button_trains_beside_the_kernel_and_can_be_pressed_again(panel):
    for recipe in ("all-cells", "mrl"):
        panel.trainer.recipe.value, panel.trainer.seconds.value = recipe, 1
        panel.trainer.button.click()
        assert panel.trainer.button.disabled and not panel.trainer.cancel.disabled
        panel.dim.value = 7  # sliding goes on meanwhile
        assert panel.trainer.job.wait(60)
        assert not panel.trainer.button.disabled and "error" not in panel.trainer.status.value
        assert panel.models.value == HERE


def test_cancel_keeps_what_was_trained(panel):
    panel.trainer.seconds.value = 60
    panel.trainer.button.click()
    while panel.trainer.bar.value == 0 and panel.trainer.job.running:
        time.sleep(0.01)
    panel.trainer.cancel.click()
    assert panel.trainer.job.wait(30)
    assert "canceled" in panel.trainer.status.value
    assert np.isfinite(panel.model.tables["ndcg@10"][HERE]).all()


def test_training_for_a_time_ends_early_when_told_so(task, encoder):
    labels = []

    def report(share, label):
        labels.append(label)
        return not label.startswith("training: step 3 ")

    trained = train_for(encoder, task, "all-cells", "shared", 30, report)
    assert labels[-1].startswith("training: step 3 of")
    assert trained.heads.weight.abs().sum() > 0 and trained.trained_dims == encoder.dims
    assert encoder.heads is None


def test_failed_training_is_a_message():
    def work(choice, report):
        raise InputError("no such recipe")

    box = TrainBox(["mrl"], work, lambda result: pytest.fail("nothing was trained"))
    box.button.click()
    assert box.job.wait(10)
    assert "no such recipe" in box.status.value and "error" in box.status.value
    assert not box.button.disabled


def test_job_reports_cancels_and_hands_errors_on():
    begun, seen = threading.Event(), []

    def work(report):
        begun.set()
        while report(0.5, "busy"):
            time.sleep(0.001)
        return "rest"

    job = Job(work, on_progress=lambda *a: None, on_done=seen.append, on_error=seen.append).start()
    assert begun.wait(5) and job.running
    job.cancel()
    assert job.wait(5) and seen == ["rest"] and not job.running

    failing = Job(lambda report: 1 / 0, on_progress=lambda *a: None, on_done=seen.append, on_error=seen.append).start()
    assert failing.wait(5) and isinstance(seen[1], ZeroDivisionError)


def test_a_job_that_rests_is_canceled_before_it_begins():
    seen, ignore = [], lambda *a: None
    resting = Job(
        lambda report: seen.append("begun"), on_progress=ignore, on_done=seen.append, on_error=seen.append, rest=30
    )
    resting.start().cancel()
    assert resting.wait(5) and seen == [None]


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


def test_measuring_begins_with_the_heat_map_and_can_be_stopped(task, encoder):
    model, labels = ExplorerTables(task, encoder), []
    model.measure("plain", progress=lambda done, total, label: labels.append(label) or len(labels) < 3)
    table = model.tables["ndcg@10"]["plain"]
    columns = np.array(model.dims) - 1
    assert np.isfinite(table[:, columns]).all()
    assert np.isnan(np.delete(table, columns, axis=1)).all()


def test_items_say_how_many_of_how_many(task, encoder):
    assert ExplorerTables(task, encoder).items == "20 dev queries"
    assert ExplorerTables(task, encoder, max_queries=5).items == "5 of 20 dev queries"


def test_graded_pairs_have_a_grid_and_no_documents(encoder):
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS, 5)) for _ in range(24)]
    task = STSTask("graded", "here", {"dev": (texts[:12], texts[12:], rng.random(12))})
    panel = GridExplorer(task, encoder)
    panel.dim.value = 4
    assert panel.documents.value == "" and panel.message.value == ""
    assert panel.query not in panel.box.children
    with pytest.raises(InputError, match="no documents to rank"):
        panel.model.rank("plain", "a", 1, 4)


def test_bad_arguments_are_named(task, encoder, tmp_path):
    deeper = Encoder.load(save_tiny(tmp_path / "deeper", layers=3))
    with pytest.raises(InputError, match="no model"):
        ExplorerTables(task, {})
    with pytest.raises(InputError, match="'other' has 3 layers"):
        ExplorerTables(task, {"plain": encoder, "other": deeper})
    with pytest.raises(InputError, match="split 'nowhere'"):
        ExplorerTables(task, encoder, split="nowhere")


@pytest.mark.parametrize("rank, full, shown", [(1, 1, "= 1"), (2, 9, "9 "), (1200, 3, "3 ")])
def test_moves_are_written_with_arrow_and_places(rank, full, shown):
    words = shown_as.move(rank, full)
    assert words.startswith(shown)
    assert ("&#9650; 7" in words) == (full == 9) and ("&#9660; 1,197" in words) == (full == 3)


def test_long_names_keep_both_ends():
    name = "transformers.backbone_utils.BackboneConfigMixin.out_features"
    short = short_name(name)
    assert len(short) == 44 and short.startswith("transformer") and short.endswith("Mixin.out_features")
    assert short_name("d17") == "d17"


def test_document_table_marks_the_relevant_row():
    hits = (Hit(1, 4, "a", "first text", 0.9, False), Hit(2, 1, "b", "second text", 0.8, True))
    shown = shown_as.documents_html(Ranking("what", hits, ((2, 1), (40, 30)), 100), (6, 384))
    assert shown.count('class="yes"') == 1
    assert "first 2 of 2 relevant documents: rank 2, 40 here, rank 1, 30 with the full model (6, 384)" in shown
