"""Folders that sentence-transformers itself saved: prompts, similarity, length and pooling are read and kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from mrl_tutorial.cli.parser import main
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.export import export
from mrl_tutorial.tasks.types import RetrievalTask
from mrl_tutorial.training.loop import train
from tests.helpers.tiny import SENTENCES, save_tiny

PROMPTS = {"query": "a node : ", "document": "the matrix "}
LONG = " ".join(SENTENCES)  # 45 words
TASK = RetrievalTask(
    "toy", "made up", {f"d{i}": text for i, text in enumerate([*SENTENCES, LONG])},
    {f"q{i}": " ".join(text.split()[::-1]) for i, text in enumerate(SENTENCES)},
    {f"q{i}": {f"d{i}": 1} for i in range(10)},
    {"train": [f"q{i}" for i in range(6)], "dev": ["q6"], "test": ["q7", "q8", "q9"]},
)  # fmt: skip


@pytest.fixture(scope="module", params=["bert", "roberta", "mpnet"])
def plain(request, tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("plain") / request.param, request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("plain") / "bert")


def saved(source, folder, max_length=20, normalize=False, **settings):
    """(the model, the folder that it writes)"""
    model = SentenceTransformer(str(source), device="cpu", **settings)
    if normalize:
        from sentence_transformers.sentence_transformer.modules import Normalize

        model.append(Normalize())
    if max_length:
        model.max_seq_length = max_length
    model.save_pretrained(str(folder))
    return model, folder


def test_queries_and_documents_get_their_prompts(plain, tmp_path):
    model, folder = saved(plain, tmp_path / "e5", prompts=PROMPTS)
    encoder = Encoder.load(folder)
    options = {"precision": "fp32"}
    for side, theirs in (("query", model.encode_query), ("document", model.encode_document), (None, model.encode)):
        want = theirs(SENTENCES, normalize_embeddings=True)
        np.testing.assert_allclose(encoder.encode(SENTENCES, prompt=side, **options), want, atol=1e-5)
    assert "query 'a node : '" in repr(encoder) and "document 'the matrix '" in repr(encoder)
    other = Encoder.load(folder, prompts={"query": "sort "})
    want = model.encode(SENTENCES, prompt="sort ", normalize_embeddings=True)
    np.testing.assert_allclose(other.encode(SENTENCES, prompt="query", **options), want, atol=1e-5)
    assert len({encoder.fingerprint(), other.fingerprint(), Encoder.load(folder, prompts={}).fingerprint()}) == 3
    assert "prompt" not in repr(Encoder.load(folder, prompts={}))
    encoder.save(tmp_path / "own")
    assert Encoder.load(tmp_path / "own").prompts == encoder.prompts
    with pytest.raises(InputError, match="prompts are given for 'pasage'"):
        Encoder.load(folder, prompts={"pasage": "x"})
    with pytest.raises(InputError, match="prompt 'doc' is unknown"):
        encoder.encode(SENTENCES, prompt="doc")


def test_a_prompt_for_passages_is_that_of_documents(bert, tmp_path):
    model, folder = saved(bert, tmp_path / "e5", prompts={"query": "a node : ", "passage": "the matrix "})
    want = model.encode(SENTENCES, prompt_name="passage", normalize_embeddings=True)
    got = Encoder.load(folder).encode(SENTENCES, prompt="document", precision="fp32")
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_default_prompt_is_put_before_every_text_without_one_of_its_own(bert, tmp_path):
    prompts = {"query": "a node ", "about": "the "}
    model, folder = saved(bert, tmp_path / "m", prompts=prompts, default_prompt_name="about")
    encoder = Encoder.load(folder)
    for side, theirs in (("query", model.encode_query), ("document", model.encode_document), (None, model.encode)):
        want = theirs(SENTENCES, normalize_embeddings=True)
        np.testing.assert_allclose(
            encoder.encode(SENTENCES, prompt=side, precision="fp32"), want, atol=1e-5, err_msg=side
        )


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_a_task_is_scored_as_sentence_transformers_scores_it(bert, tmp_path, similarity):
    model, folder = saved(bert, tmp_path / "m", prompts=PROMPTS, similarity_fn_name=similarity)
    grid = evaluate_grid(TASK, Encoder.load(folder), metric="mrr@10", layers=[3], dims=[32], precision="fp32")
    scores = model.similarity(
        model.encode_query([TASK.queries[q] for q in TASK.judged("test")]),
        model.encode_document([*TASK.corpus.values()]),
    ).numpy()
    right = [1 / (1 + int((row > row[i]).sum())) for i, row in zip((7, 8, 9), scores, strict=True)]
    np.testing.assert_allclose(grid.items(3, 32), right, atol=1e-6)
    assert grid.about["similarity"] == similarity and grid.about["prompts"] == {
        "query": "a node : ",
        "document": "the matrix ",
    }


def test_the_command_line_takes_prompts_similarity_and_length(bert, tmp_path, capsys):
    data, out = tmp_path / "test.csv", tmp_path / "g.json"
    data.write_text("query,document\n" + "".join(f"{text},{text} {LONG}\n" for text in SENTENCES))
    options = {
        "--query-prompt": "a node : ",
        "--document-prompt": "the matrix ",
        "--similarity": "dot",
        "--max-length": "9",
    }
    argv = [word for option in options.items() for word in option]
    common = ["--precision", "fp32", "--dims", "32", "--layers", "3", "--json", str(out)]
    assert main(["evaluate", "--task", str(data), "--model", str(bert), *argv, *common]) == 0
    said, written = capsys.readouterr().out, json.loads(out.read_text())
    encoder = Encoder.load(bert, prompts=PROMPTS, similarity="dot", max_length=9)
    grid = evaluate_grid(data, encoder, precision="fp32", dims=[32], layers=[3])
    assert written["values"] == [[round(grid.at(3, 32), 6)]] and written["prompts"] == PROMPTS and repr(encoder) in said
    assert grid.values != evaluate_grid(data, Encoder.load(bert), precision="fp32", dims=[32], layers=[3]).values


def test_training_sees_the_prompts_too(bert, tmp_path):
    """The loss of the first step is that of texts with their prompts written out by hand."""
    _, folder = saved(bert, tmp_path / "m", prompts=PROMPTS)
    by_hand = RetrievalTask(
        "toy", "made up", {d: "the matrix " + text for d, text in TASK.corpus.items()},
        {q: "a node : " + text for q, text in TASK.queries.items()}, TASK.qrels, TASK.splits,
    )  # fmt: skip
    for what in ("heads", "full"):
        options = {"what": what, "steps": 1, "batch_size": 4, "precision": "fp32", "cache": False}
        ours = train(Encoder.load(folder), TASK, "mrl", **options).history
        theirs = train(Encoder.load(folder, prompts={}), by_hand, "mrl", **options).history
        assert ours == pytest.approx(theirs, rel=1e-6)
        assert ours != pytest.approx(train(Encoder.load(folder, prompts={}), TASK, "mrl", **options).history, rel=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_an_export_keeps_prompts_and_similarity(bert, tmp_path, similarity):
    _, folder = saved(bert, tmp_path / "m", prompts=PROMPTS, similarity_fn_name=similarity)
    encoder = Encoder.load(folder)
    model = SentenceTransformer(str(export(encoder, tmp_path / "cell", 2, 8)), device="cpu")
    assert model.similarity_fn_name == similarity
    for side, theirs in (("query", model.encode_query), ("document", model.encode_document)):
        found = theirs(SENTENCES)
        np.testing.assert_allclose(
            found, encoder.encode(SENTENCES, layer=2, dim=8, prompt=side, precision="fp32"), atol=1e-5
        )
        assert np.allclose(np.linalg.norm(found, axis=1), 1) == (similarity == "cosine")


def test_a_similarity_that_is_not_there_is_refused_unless_lengths_are_one(bert, tmp_path):
    _, folder = saved(bert, tmp_path / "m", similarity_fn_name="euclidean")
    with pytest.raises(InputError, match=r"similarity 'euclidean' is unknown.*similarity="):
        Encoder.load(folder)
    assert Encoder.load(folder, similarity="cosine").similarity == "cosine"
    for similarity in ("euclidean", "dot"):  # of unit vectors: the order of cosine
        _, folder = saved(bert, tmp_path / similarity, normalize=True, similarity_fn_name=similarity)
        assert Encoder.load(folder).similarity == "cosine"


def test_prompts_that_are_left_out_of_the_mean_are_refused(bert, tmp_path):
    model = SentenceTransformer(str(bert), device="cpu", prompts=PROMPTS)
    model.set_pooling_include_prompt(False)
    model.save_pretrained(str(tmp_path / "m"))
    with pytest.raises(InputError, match="include_prompt"):
        Encoder.load(tmp_path / "m")
    assert Encoder.load(tmp_path / "m", prompts={}).prompts == {}


def test_the_length_is_that_of_the_folder(plain, tmp_path):
    for given in (20, None):
        model, folder = saved(plain, tmp_path / str(given), max_length=given)
        encoder = Encoder.load(folder)
        assert encoder.max_length == given or given is None
        texts = [LONG, " ".join([LONG] * 3)]
        if given is None:  # as long as the positions of the network reach: never an index out of range
            assert encoder.max_length == (64 if plain.name == "bert" else 62)
            texts = [LONG]
        want = model.encode(texts, normalize_embeddings=True)
        np.testing.assert_allclose(encoder.encode(texts, precision="fp32"), want, atol=1e-5)


def test_widths_that_a_model_was_trained_for_are_read(bert, tmp_path):
    _, folder = saved(bert, tmp_path / "m")
    assert Encoder.load(folder).trained_dims == ()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "matryoshka_dimensions": [8, 16, 32]}))
    assert Encoder.load(folder).trained_dims == (8, 16, 32)


def test_the_output_says_how_many_texts_are_cut(bert, tmp_path, capsys):
    encoder = Encoder.load(bert, max_length=20)
    assert encoder.share_cut(list(TASK.corpus.values())) == pytest.approx(1 / 11) and encoder.share_cut([]) == 0
    exact = " ".join(LONG.split()[:18])  # with its two special tokens it just fits
    assert encoder.share_cut([exact, exact + " node"]) == 0.5
    encoder.save(tmp_path / "m")
    data = tmp_path / "test.csv"
    data.write_text(f"anchor,positive\n{LONG},a\nb,a node\n")
    assert (
        main(["evaluate", "--task", str(data), "--model", str(tmp_path / "m"), "--json", str(tmp_path / "g.json")]) == 0
    )
    assert "25.0% of the texts are cut at 20 tokens" in capsys.readouterr().out
    assert json.loads((tmp_path / "g.json").read_text())["texts_cut"] == 0.25


def test_a_sentence_transformer_and_a_generator_are_taken_for_what_they_are(bert, tmp_path):
    model, folder = saved(bert, tmp_path / "m", prompts=PROMPTS, similarity_fn_name="dot")
    encoder = Encoder.load(model)
    assert encoder.fingerprint() == Encoder.load(folder).fingerprint() and encoder.similarity == "dot"
    got = encoder.encode((text for text in SENTENCES), precision="fp32")
    np.testing.assert_array_equal(got, encoder.encode(SENTENCES, precision="fp32"))
    np.testing.assert_array_equal(encoder.encode(np.array(SENTENCES), precision="fp32"), got)
    with pytest.raises(InputError, match="cannot be encoded: give a list"):
        encoder.encode(7)
