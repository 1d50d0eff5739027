"""`encode` as people know it from sentence-transformers, and where it computes."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid
from mrl_tutorial.models import layers as running
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.export import export
from mrl_tutorial.panels.explorer_tables import ExplorerTables
from mrl_tutorial.tasks.types import RetrievalTask
from mrl_tutorial.training.config import TrainConfig
from tests.helpers.tiny import SENTENCES, save_tiny

PROMPTS = {"query": "a node : ", "document": "the matrix "}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MRL_PRECISION", "fp32")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "bert")


@pytest.fixture
def both(bert):
    """(ours, theirs)"""
    return Encoder.load(bert, prompts=PROMPTS), SentenceTransformer(str(bert), device="cpu", prompts=PROMPTS)


@pytest.mark.parametrize("texts", [SENTENCES, SENTENCES[0], SENTENCES[:1], tuple(SENTENCES), np.array(SENTENCES)])
def test_shapes_and_values_are_those_of_sentence_transformers(both, texts):
    encoder, model = both
    for normalize in (True, False):
        got = encoder.encode(texts, normalize=normalize)
        want = model.encode(texts if isinstance(texts, str) else list(texts), normalize_embeddings=normalize)
        assert got.shape == want.shape and got.dtype == want.dtype
        np.testing.assert_allclose(got, want, atol=2e-5)
    assert encoder.encode(texts, dim=8).shape == (*want.shape[:-1], 8)


def test_a_tensor_a_batch_size_and_a_prompt(both):
    encoder, model = both
    got = encoder.encode(SENTENCES, convert_to_tensor=True, batch_size=2, prompt="query")
    assert isinstance(got, torch.Tensor) and got.device.type == "cpu"
    want = model.encode(SENTENCES, prompt_name="query", normalize_embeddings=True)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-5)
    np.testing.assert_array_equal(encoder.encode(SENTENCES, prompt="query", batch_size=2), got.numpy())
    whole = encoder.encode(SENTENCES, prompt="query")  # in one batch, a matrix product may round otherwise (AMD: 2e-7)
    np.testing.assert_allclose(whole, got.numpy(), rtol=0, atol=5e-7)
    assert [len(g) for g in running.micro_batches([3] * 5, 100, 2)] == [2, 2, 1]


def test_a_bar_is_shown_where_it_is_asked_for(both, capsys):
    for show, seen in ((True, True), (False, False), (None, False)):  # None: no bar in a test, which nobody watches
        both[0].encode(SENTENCES, show_progress_bar=show)
        assert ("100%" in capsys.readouterr().err) == seen


def test_similarity_decides_on_the_length_unless_told(bert):
    dot = Encoder.load(bert, similarity="dot")
    assert not np.allclose(np.linalg.norm(dot.encode(SENTENCES), axis=1), 1, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(dot.encode(SENTENCES, dim=8, normalize=True), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("texts", [7, None, b"bytes", {"a": "text"}, [1, 2], ["a", ["b"]]])
def test_what_is_no_text_is_refused(both, texts):
    with pytest.raises(InputError, match=r"cannot be encoded|not a string"):
        both[0].encode(texts)


def test_a_prompt_written_out_is_not_taken_for_a_name(both):
    with pytest.raises(InputError, match=r"prompt 'sort ' is unknown.*load the model with prompts="):
        both[0].encode(SENTENCES, prompt="sort ")


def test_an_option_that_is_not_there_is_told(both):
    for wrong in ({"normalize_embeddings": True}, {"embeddings": True}, {"layers": [1]}):
        with pytest.raises(TypeError, match=f"argument '{next(iter(wrong))}'"):
            both[0].encode(SENTENCES, **wrong)


def cuda(monkeypatch, there, capability=(9, 0), processor=()):
    """Pretend: a GPU of some capability, or none, and a processor that is fast at bf16, or not."""
    monkeypatch.delenv("MRL_PRECISION")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(processor, True), raising=False)


def test_auto_is_the_first_device_that_is_there(monkeypatch):
    cuda(monkeypatch, False)
    assert running.resolve_device("auto") == "cpu"
    with pytest.raises(InputError, match="device 'cuda' is not there: choose auto or cpu"):
        running.resolve_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert running.resolve_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [running.resolve_device(name) for name in ("auto", "mps", "cpu")] == ["cuda", "mps", "cpu"]


def test_the_device_that_computes_chooses_the_precision(bert, monkeypatch):
    exact = Encoder.load(bert, device="cpu").encode(SENTENCES, precision="fp32")
    cuda(monkeypatch, True)  # a GPU fast at bf16 beside a processor that is not
    assert [running.resolve_precision("auto", device) for device in ("cpu", "cuda", "mps")] == ["fp32", "bf16", "fp32"]
    encoder = Encoder.load(bert)
    assert encoder.device == "cuda" and next(encoder.model.parameters()).device.type == "cpu"  # until it computes
    np.testing.assert_array_equal(encoder.on("cpu").encode(SENTENCES), exact)
    assert encoder.device == "cuda"
    chosen = [TrainConfig().with_defaults("pairs", device).precision for device in ("cpu", "cuda")]
    assert chosen == ["fp32", "bf16"] and TrainConfig(device="cpu").with_defaults("pairs", "cuda").device == "cpu"
    cuda_before_ampere = (7, 5)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: cuda_before_ampere)
    assert running.resolve_precision("auto", "cuda") == "fp32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert [running.resolve_precision("auto", device) for device in ("cpu", "cuda")] == ["bf16", "fp32"]


@pytest.mark.parametrize(("slower", "chosen"), [(torch.float32, "bf16"), (torch.bfloat16, "fp32")])
def test_a_processor_with_avx512_bf16_is_asked_how_fast_it_is(monkeypatch, request, slower, chosen):
    """Pretend that a linear layer of one of the two types takes a moment longer."""
    linear = torch.nn.functional.linear

    def slow(x, weight):
        time.sleep(0.01 * (x.dtype == slower))
        return linear(x[:1], weight[:1])

    cuda(monkeypatch, False, processor=["avx512_bf16"])
    monkeypatch.setattr(torch.nn.functional, "linear", slow)
    running.bf16_speed.cache_clear()
    request.addfinalizer(running.bf16_speed.cache_clear)
    assert running.resolve_precision("auto") == chosen
    monkeypatch.setattr(torch.nn.functional, "linear", None)
    assert running.resolve_precision("auto") == chosen  # asked once


def test_a_typed_query_gets_the_prompt_of_queries(both):
    encoder, model = both
    corpus = {f"d{i}": text for i, text in enumerate(SENTENCES)}
    queries = {"q": SENTENCES[3]}
    task = RetrievalTask("toy", "made up", corpus, queries, {"q": {"d3": 1}}, {"test": ["q"]})
    tables = ExplorerTables(task, {"tiny": encoder}, split="test")
    text = "sort the sparse graph"
    ids = tables.answer("tiny", text)["ids"]
    scores = model.similarity(model.encode_query([text]), model.encode_document(SENTENCES))[0].numpy()
    assert ids[-1, -1].tolist()[:5] == np.argsort(-scores, kind="stable")[:5].tolist()


def test_the_card_says_how_to_use_the_cell_and_what_it_was_measured_to_do(both, tmp_path):
    grid = Grid("toy", "tiny", "ndcg@10", "test", (1, 2), (8, 16), np.array([[0.1, 0.2], [0.3, 0.4]]))
    card = (export(both[0], tmp_path / "cell", 2, 16, grid) / "README.md").read_text()
    for said in (
        "Layer 2 of 3, 16 of 32 dimensions", 'SentenceTransformer("cell").encode_query(', "- query: 'a node : '",
        "- document: 'the matrix '", "truncate_dim=d", "not of\nunit length", "ndcg@10 on toy (test)",
        "This cell: 0.4000", grid.as_text(),
    ):  # fmt: skip
        assert said in card, said
    plain = (export(Encoder.load(tmp_path / "cell"), tmp_path / "again") / "README.md").read_text()
    assert "Measured" not in plain and "'a node : '" in plain
