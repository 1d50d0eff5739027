"""Each family of models that people bring, as a folder of sentence-transformers: all that an Encoder promises.

All of them load, give sentence-transformers' vectors, exit early exactly, train (heads and full), and come back from an
export:

    family                                                           bf16  an early layer as a folder of its own
    BERT, ALBERT, RoBERTa, XLM-R, MPNet, DistilBERT, DeBERTa-v2/v3,
    Nomic                                                            yes   yes
    DeBERTa (v1)                                                     no    yes
    ModernBERT, T5's encoder, Qwen3, Gemma3                          yes   no: they normalize after the last block

ALBERT's layers share one block; here each has a copy of it. A folder whose network needs Python code of its own, and a
convolution between blocks, are refused with an InputError.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import DebertaV2Config, DebertaV2Model

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.export import export
from mrl_tutorial.models.layers import find_blocks
from mrl_tutorial.tasks.types import PairsTask
from mrl_tutorial.training.loop import train
from tests.helpers.tiny import FAMILIES, SENTENCES, save_tiny

PROMPTS = {"query": "a node : ", "document": "the matrix "}
#: families that normalize once more after their last block: an early layer has no folder of its own
NORMALIZED_AT_THE_END = ("modernbert", "t5", "gemma3", "qwen3")
TASK = PairsTask("toy", "made up", {"train": [(text, " ".join(text.split()[::-1])) for text in SENTENCES]})
TRAINING = {"steps": 1, "batch_size": 4, "precision": "fp32", "cache": False}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """(name, the model, its folder)"""
    place = tmp_path_factory.mktemp(request.param)
    network = Transformer(str(save_tiny(place / "plain", request.param)), max_seq_length=20)
    pooling = Pooling(network.get_embedding_dimension(), "lasttoken" if request.param == "qwen3" else "mean")
    model = SentenceTransformer(modules=[network, pooling], prompts=PROMPTS, device="cpu")
    model.save_pretrained(str(place / "folder"))
    return request.param, model, place / "folder"


def encoded(encoder, **options):
    return encoder.encode(SENTENCES, precision="fp32", **options)


def test_vectors_are_those_of_sentence_transformers_with_the_prompts(family):
    _, model, folder = family
    encoder = Encoder.load(folder)
    assert (encoder.n_layers, encoder.width, encoder.max_length, dict(encoder.prompts)) == (3, 32, 20, PROMPTS)
    for side, theirs in (("query", model.encode_query), ("document", model.encode_document), (None, model.encode)):
        np.testing.assert_allclose(
            encoded(encoder, prompt=side), theirs(SENTENCES, normalize_embeddings=True), atol=1e-6
        )


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_a_layer_is_what_sentence_transformers_makes_of_it_and_an_early_exit_is_exact(family):
    _, model, folder = family
    encoder = Encoder.load(folder)
    whole = encoder.encode_layers(SENTENCES, embeddings=True, precision="fp32", cache=False)
    for layer in (1, 2, 3):
        early = encoder.encode_layers(SENTENCES, layers=[layer], precision="fp32", cache=False)
        np.testing.assert_array_equal(early[0], whole[layer])
    features = model.preprocess(SENTENCES)
    read = {name: features[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        hidden = model[0].model.eval()(**read, output_hidden_states=True).hidden_states
        pooled = [model[1]({**read, "token_embeddings": layer})["sentence_embedding"] for layer in hidden]
    np.testing.assert_allclose(unit(whole), unit(torch.stack(pooled).numpy()), atol=1e-6)


def test_bf16_is_close(family):
    encoder = Encoder.load(family[2])
    exact, fast = encoded(encoder), encoder.encode(SENTENCES, precision="bf16")
    assert (exact * fast).sum(1).min() > 0.98  # T5's random weights are large


def test_heads_train(family):
    encoder = Encoder.load(family[2])
    result = train(encoder, TASK, "mrl", what="heads", **TRAINING)
    assert np.isfinite(result.history).all() and result.encoder.heads.weight.abs().max() > 0


def test_the_whole_model_trains(family):
    encoder = Encoder.load(family[2])
    trained = train(encoder, TASK, "all-cells", what="full", **TRAINING).encoder
    changed = []
    for before, after in zip(find_blocks(encoder.model), find_blocks(trained.model), strict=True):
        pairs = zip(before.parameters(), after.parameters(), strict=True)
        changed.append(any(not torch.equal(p, q) for p, q in pairs))
    assert changed == [True] * 3
    words = [e.model.get_input_embeddings().weight for e in (encoder, trained)]
    assert torch.equal(*words)  # frozen
    assert np.abs(encoded(trained) - encoded(encoder)).max() > 1e-6
    assert np.array_equal(encoded(Encoder.load(family[2])), encoded(encoder))


@pytest.mark.parametrize("layer, dim", [(2, 8), (3, 8), (3, 32)])
def test_an_exported_cell_is_the_same_in_both_libraries(family, tmp_path, layer, dim):
    name, _, folder = family
    encoder = Encoder.load(folder)
    if layer < 3 and name in NORMALIZED_AT_THE_END:
        with pytest.raises(InputError, match=r"layer 2 cannot stand alone: export layer 3"):
            export(encoder, tmp_path / "cell", layer, dim)
        return
    cell = export(encoder, tmp_path / "cell", layer, dim)
    theirs, again = SentenceTransformer(str(cell), device="cpu"), Encoder.load(cell)
    assert (again.n_layers, again.width) == (layer, dim) and again.prompts == encoder.prompts
    for side, method in (("query", theirs.encode_query), ("document", theirs.encode_document)):
        want = encoded(encoder, layer=layer, dim=dim, prompt=side)
        np.testing.assert_allclose(method(SENTENCES), want, atol=1e-6)
        np.testing.assert_allclose(encoded(again, prompt=side), want, atol=1e-6)


def test_a_trained_model_is_saved_and_loaded(family, tmp_path):
    encoder = Encoder.load(family[2])
    encoder.save(tmp_path / "saved")
    again = Encoder.load(tmp_path / "saved")
    assert np.array_equal(encoded(again), encoded(encoder)) and again.fingerprint() == encoder.fingerprint()


def test_a_convolution_between_blocks_is_refused():
    config = DebertaV2Config(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, vocab_size=40,
        conv_kernel_size=3, conv_act="gelu",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"convolution after its first block.*DeBERTa-v3"):
        find_blocks(DebertaV2Model(config))


def test_code_of_its_own_is_refused(family, tmp_path):
    import json
    import shutil

    folder = tmp_path / "own"
    shutil.copytree(family[2], folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "new", "auto_map": {"AutoConfig": "c.Config", "AutoModel": "m.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"needs Python code of its own.*give a model that transformers itself knows"):
        Encoder.load(folder)
