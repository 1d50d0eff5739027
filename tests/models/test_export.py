"""An exported folder, loaded by sentence-transformers itself, gives the vectors of its cell."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from mrl_tutorial.cli import parser
from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.export import export
from mrl_tutorial.models.heads import Heads
from tests.helpers.tiny import SENTENCES, save_tiny

LONG = " ".join(SENTENCES)  # more words than any max_length below
TEXTS = [*SENTENCES, LONG, ""]


def with_random_heads(encoder: Encoder, kind: str) -> Encoder:
    torch.manual_seed(3)
    heads = Heads(encoder.n_layers, encoder.width, kind)
    heads.standardize_on(encoder.encode_layers(SENTENCES, precision="fp32", cache=False))
    heads.weight.data.normal_(0, 0.3)
    return encoder.with_heads(heads)


def plain_encode(folder) -> np.ndarray:
    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS, batch_size=5, show_progress_bar=False)


@pytest.fixture(scope="module", params=["bert", "roberta", "mpnet"])
def family(request, tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("kind", [None, "shared", "per-layer"])
@pytest.mark.parametrize("layer, dim", [(1, 8), (2, 32), (3, 32), (3, 5)])
def test_loaded_vectors_are_those_of_the_cell(tmp_path, family, pooling, kind, layer, dim):
    encoder = Encoder.load(family, pooling=pooling, max_length=20)
    if kind:
        encoder = with_random_heads(encoder, kind)
    folder = export(encoder, tmp_path / "cell", layer, dim)
    found = plain_encode(folder)
    wanted = encoder.encode(TEXTS, layer=layer, dim=dim, precision="fp32")
    assert found.shape == (len(TEXTS), dim) and found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_the_default_cell_is_the_whole_model(tmp_path, family):
    encoder = Encoder.load(family)
    found = plain_encode(export(encoder, tmp_path / "whole"))
    np.testing.assert_allclose(found, encoder.encode(TEXTS, precision="fp32"), atol=1e-5)


def test_the_folder_holds_only_what_the_cell_needs(tmp_path, family):
    from safetensors import safe_open

    encoder = with_random_heads(Encoder.load(family), "per-layer")
    before = encoder.fingerprint()
    folder = export(encoder, tmp_path / "cell", layer=2, dim=16)
    files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl", ".py"))]
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 2
    with safe_open(folder / "model.safetensors", "np") as weights:
        names = weights.keys()
        blocks = {int(name.split("layer.")[1].split(".")[0]) for name in names if "layer." in name}
    assert blocks == {0, 1}
    with safe_open(folder / "2_Dense" / "model.safetensors", "np") as weights:
        names = weights.keys()
        assert {name: weights.get_tensor(name).shape for name in names} == {
            "linear.weight": (16, 32), "linear.bias": (16,),
        }  # fmt: skip
    types = [m["type"].rsplit(".", 1)[1] for m in json.loads((folder / "modules.json").read_text())]
    assert types == ["Transformer", "Pooling", "Dense", "Normalize"]
    card = (folder / "README.md").read_text()
    assert "Layer 2 of 3, 16 of 32 dimensions" in card and "library_name: sentence-transformers" in card
    # the encoder that was given still has all its blocks
    assert (encoder.fingerprint(), encoder.n_layers, encoder.model.config.num_hidden_layers) == (before, 3, 3)
    assert encoder.encode(TEXTS, layer=3).shape == (len(TEXTS), 32)


def test_only_a_cut_or_a_head_needs_a_dense_module(tmp_path, family):
    encoder = Encoder.load(family)
    for dim, modules in ((32, 3), (31, 4)):
        folder = export(encoder, tmp_path / str(dim), dim=dim)
        assert len(json.loads((folder / "modules.json").read_text())) == modules
        assert (folder / "2_Dense").exists() == (modules == 4)


def test_loading_warns_of_nothing_and_measures_by_cosine(tmp_path, family, capsys):
    folder = export(Encoder.load(family, max_length=12), tmp_path / "cell", layer=1, dim=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SentenceTransformer(str(folder), device="cpu")
    assert "MISSING" not in capsys.readouterr().err
    assert (model.max_seq_length, model.similarity_fn_name) == (12, "cosine")
    x = model.encode(SENTENCES[:2])
    assert model.similarity(x, x).diagonal() == pytest.approx([1, 1])


def test_a_tokenizer_that_pads_on_the_left_is_exported_as_encoder_pads(tmp_path, family):
    encoder = Encoder.load(family)
    encoder.tokenizer.padding_side = "left"
    found = plain_encode(export(encoder, tmp_path / "cell", layer=2))
    np.testing.assert_allclose(found, encoder.encode(TEXTS, layer=2, precision="fp32"), atol=1e-5)
    assert encoder.tokenizer.padding_side == "left"


@pytest.mark.parametrize(
    "cell, says",
    [((4, 8), "layer 4"), ((0, 8), "layer 0"), ((1, 33), "dimension 33"), ((1, 0), "dimension 0")],
)
def test_a_cell_that_is_not_there_is_refused(tmp_path, family, cell, says):
    with pytest.raises(InputError, match=says):
        export(Encoder.load(family), tmp_path / "cell", *cell)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path, family):
    encoder, taken = Encoder.load(family), tmp_path / "taken"
    taken.mkdir()
    export(encoder, taken)  # empty: fine
    before = sorted(taken.rglob("*"))
    with pytest.raises(InputError, match="not an empty folder"):
        export(encoder, taken)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        export(encoder, tmp_path / "file")
    assert sorted(taken.rglob("*")) == before and (tmp_path / "file").read_text() == "mine"


def test_a_failure_leaves_nothing_behind(tmp_path, family, monkeypatch):
    encoder = Encoder.load(family)
    monkeypatch.setattr(
        "mrl_tutorial.models.export.save_file", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full"))
    )
    with pytest.raises(OSError, match="disk full"):
        export(encoder, tmp_path / "cell", 1, 8)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_folder_and_refuses_in_one_line(tmp_path, family, capsys):
    out = str(tmp_path / "cell")
    argv = ["export", "--model", str(family), "--layer", "2", "--dim", "8", "--out", out]
    assert parser.main(argv) == 0
    said = capsys.readouterr().out
    assert out in said and "SentenceTransformer" in said and "layer 2 of 3" in said
    np.testing.assert_allclose(
        plain_encode(out), Encoder.load(family).encode(TEXTS, layer=2, dim=8, precision="fp32"), atol=1e-5
    )
    capsys.readouterr()
    for change, says in (([], "empty folder"), (["--layer", "4", "--out", out + "2"], "layer 4")):
        assert parser.main([*argv, *change]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1 and says in said.err
