"""Dense and Normalize modules, poolings, lower case: an Encoder does with a folder what sentence-transformers does."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from torch import nn

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.export import export
from mrl_tutorial.tasks.types import PairsTask
from mrl_tutorial.training.loop import train
from tests.helpers.tiny import SENTENCES, save_tiny

TASK = PairsTask("toy", "made up", {"train": [(text, " ".join(text.split()[::-1])) for text in SENTENCES]})
TAILS = {
    "tanh": lambda: [Dense(32, 16)],
    "two, no bias": lambda: [Dense(32, 64, bias=False, activation_function=nn.Identity()), Dense(64, 24), Normalize()],
    "normalized before": lambda: [Normalize(), Dense(32, 16, activation_function=nn.GELU())],
    "normalized": lambda: [Normalize()],
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "bert")


def saved(plain, folder, tail=(), pooling="mean", **settings):
    """(the model, the folder that it writes)"""
    torch.manual_seed(1)
    modules = [Transformer(str(plain), max_seq_length=20), Pooling(32, pooling), *tail]
    model = SentenceTransformer(modules=modules, device="cpu", **settings)
    model.save_pretrained(str(folder))
    return model, folder


@pytest.mark.parametrize("kind", TAILS)
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_modules_after_pooling_are_applied(plain, tmp_path, kind, similarity):
    model, folder = saved(plain, tmp_path / "m", TAILS[kind](), similarity_fn_name=similarity)
    encoder, want = Encoder.load(folder), model.encode(SENTENCES)
    ends = kind in ("two, no bias", "normalized")  # in a Normalize, which an Encoder does by itself
    got = encoder.encode(SENTENCES, precision="fp32", normalize=None if ends else False)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert encoder.width == want.shape[1]
    encoder.save(tmp_path / "own")
    again = Encoder.load(tmp_path / "own")
    assert again.fingerprint() == encoder.fingerprint() != Encoder.load(plain).fingerprint()
    got = again.encode_layers(SENTENCES, precision="fp32")
    assert got.shape == (3, len(SENTENCES), encoder.width)
    np.testing.assert_array_equal(got, encoder.encode_layers(SENTENCES, precision="fp32"))
    np.testing.assert_allclose(Encoder.load(model).encode(SENTENCES), encoder.encode(SENTENCES), atol=1e-6)


def test_an_early_layer_goes_through_the_same_modules(plain, tmp_path):
    """As in sentence-transformers, where one cuts the blocks and leaves the other modules as they are."""
    model, folder = saved(plain, tmp_path / "m", TAILS["tanh"]())
    model[0].model.encoder.layer = model[0].model.encoder.layer[:2]
    got = Encoder.load(folder).encode(SENTENCES, layer=2, precision="fp32")
    np.testing.assert_allclose(got, model.encode(SENTENCES, normalize_embeddings=True), atol=1e-5)


@pytest.mark.parametrize("cell", [(3, 16), (2, 16), (2, 4)])
@pytest.mark.parametrize("with_heads", [False, True])
def test_an_export_keeps_the_modules_and_loads_again(plain, tmp_path, cell, with_heads):
    encoder = Encoder.load(saved(plain, tmp_path / "m", TAILS["tanh"]())[1])
    if with_heads:
        encoder = train(encoder, TASK, "mrl", what="heads", steps=2, batch_size=4, cache=False).encoder
    folder = export(encoder, tmp_path / "cell", *cell)
    want = encoder.encode(SENTENCES, layer=cell[0], dim=cell[1], precision="fp32")
    np.testing.assert_allclose(SentenceTransformer(str(folder), device="cpu").encode(SENTENCES), want, atol=1e-5)
    again = Encoder.load(folder)
    np.testing.assert_allclose(again.encode(SENTENCES, precision="fp32"), want, atol=1e-5)
    twice = export(again, tmp_path / "again")
    np.testing.assert_allclose(SentenceTransformer(str(twice), device="cpu").encode(SENTENCES), want, atol=1e-5)


def test_dense_modules_are_trained_with_the_backbone(plain, tmp_path):
    encoder = Encoder.load(saved(plain, tmp_path / "m", TAILS["tanh"]())[1])
    trained = train(encoder, TASK, "mrl", what="full", steps=2, batch_size=4, cache=False).encoder
    before, after = (e.after[0].linear.weight for e in (encoder, trained))
    assert not torch.equal(before, after) and np.isfinite(trained.encode(SENTENCES)).all()


def test_what_cannot_be_read_names_the_remedy(plain, tmp_path):
    _, folder = saved(plain, tmp_path / "m", TAILS["tanh"]())
    own = folder / "2_Dense" / "config.json"
    good = json.loads(own.read_text())
    for change, says in (
        ({"activation_function": "mine.Own"}, "activation 'mine.Own' is not read.*Tanh"),
        ({"use_residual": True}, "adds its input again.*give a model"),
        ({"out_features": 15}, "do not fit"),
    ):
        own.write_text(json.dumps({**good, **change}))
        with pytest.raises(InputError, match=says):
            Encoder.load(folder)
    own.write_text(json.dumps(good))
    (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(InputError, match="pickled weights are not loaded: load the model in sentence-transformers"):
        Encoder.load(folder)


@pytest.mark.parametrize("theirs, ours", [("mean", "mean"), ("cls", "cls"), ("lasttoken", "last"), ("max", "max")])
def test_poolings_are_those_of_the_folder(plain, tmp_path, theirs, ours):
    model, folder = saved(plain, tmp_path / "m", pooling=theirs)
    encoder = Encoder.load(folder)
    want = model.encode(SENTENCES, normalize_embeddings=True)
    assert encoder.pooling == ours
    np.testing.assert_allclose(encoder.encode(SENTENCES, precision="fp32"), want, atol=1e-5)
    cell = export(encoder, tmp_path / "cell")
    np.testing.assert_allclose(SentenceTransformer(str(cell), device="cpu").encode(SENTENCES), want, atol=1e-5)


def test_old_folders_that_lower_their_texts_do_so_here(plain, tmp_path):
    cased = tmp_path / "cased"
    shutil.copytree(plain, cased)
    rules = json.loads((cased / "tokenizer.json").read_text())
    (cased / "tokenizer.json").write_text(json.dumps({**rules, "normalizer": None}))
    texts = [text.title() for text in SENTENCES]
    _, folder = saved(cased, tmp_path / "m")
    plainly = Encoder.load(folder)
    notes = json.loads((folder / "sentence_bert_config.json").read_text())
    (folder / "sentence_bert_config.json").write_text(json.dumps({**notes, "do_lower_case": True}))
    encoder, model = Encoder.load(folder), SentenceTransformer(str(folder), device="cpu")
    want = model.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(texts, precision="fp32"), want, atol=1e-5)
    assert np.abs(plainly.encode(texts, precision="fp32") - want).max() > 0.01
    cell = export(encoder, tmp_path / "cell")
    for again in (SentenceTransformer(str(cell), device="cpu").encode(texts), Encoder.load(cell).encode(texts)):
        np.testing.assert_allclose(again, want, atol=2e-2)


def test_the_tokenizer_is_part_of_the_key(plain, tmp_path):
    """Two folders whose networks are equal to the last bit, and whose tokenizers are not, share no cached vectors."""
    other = tmp_path / "other"
    shutil.copytree(plain, other)
    rules = json.loads((other / "tokenizer.json").read_text())
    words = rules["model"]["vocab"]
    words["norm"], words["vector"] = words["vector"], words["norm"]
    (other / "tokenizer.json").write_text(json.dumps(rules))
    first, second = Encoder.load(plain), Encoder.load(other)
    assert first.fingerprint() != second.fingerprint()
    x, y = (e.encode_layers(["the norm"], precision="fp32") for e in (first, second))
    assert np.abs(x - y).max() > 0.01
    key = first.fingerprint()
    first.tokenizer(["a", "a node"], padding=True, truncation=True, max_length=7)  # leaves its traces in the tokenizer
    assert first.fingerprint() == key
