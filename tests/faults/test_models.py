"""Model folders that are damaged, incomplete or unsafe: refused in one line that names the remedy."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads
from tests.helpers.tiny import SENTENCES, save_tiny

QUERY = "encoder.layer.0.attention.self.query.weight"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / ".cache"))


def rewritten(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def length_of_header(path, length):
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])


def shifted(path):
    """The header says other places than the tensors have."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header[QUERY]["data_offsets"][1] += 4
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])


def pickled(path):
    torch.save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()


DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), "damaged or cut short; download or copy it again"),
    "header cut off": (lambda path: path.write_bytes(path.read_bytes()[:20]), "damaged or cut short"),
    "end cut off": (lambda path: path.write_bytes(path.read_bytes()[:-1]), "damaged or cut short"),
    "header too long": (lambda path: length_of_header(path, 2**60), "damaged or cut short"),
    "header of no length": (lambda path: length_of_header(path, 0), "damaged or cut short"),
    "no json": (lambda path: path.write_bytes((9).to_bytes(8, "little") + b"\xff" * 99), "damaged or cut short"),
    "wrong places": (shifted, "damaged or cut short"),
    "another size": (lambda p: rewritten(p, lambda t: t.update({QUERY: torch.zeros(3, 3)})), "other sizes than config"),
    "a weight is missing": (lambda p: rewritten(p, lambda t: t.pop(QUERY)), rf"lacks 1 weights .*\({QUERY}\)"),
    "NaN": (lambda p: rewritten(p, lambda t: t[QUERY].fill_(torch.nan)), rf"holds NaN or infinity \(in {QUERY}\)"),
    "infinity": (lambda p: rewritten(p, lambda t: t[QUERY][0].fill_(torch.inf)), "holds NaN or infinity"),
    "pickled weights alone": (
        pickled,
        "has no model.safetensors: give a folder of a Hugging Face encoder saved as safetensors",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_refused(tmp_path, damage):
    folder = save_tiny(tmp_path / "m")
    spoil, message = DAMAGE[damage]
    spoil(folder / "model.safetensors")
    with pytest.raises(InputError, match=message) as error:
        Encoder.load(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:30]), "could not be read .*: train them again"),
        (lambda path: save_file({"other": torch.zeros(1)}, path), "heads in"),
        (
            lambda path: rewritten(path, lambda t: t["weight"].fill_(torch.nan)),
            "hold NaN or infinity: train them again",
        ),
        (lambda path: rewritten(path, lambda t: t.update(mean=torch.zeros(1, 5))), "do not fit 3 layers x 32"),
        (lambda path: path.unlink(), "heads in .* could not be read"),
    ],
)
def test_damaged_heads_are_refused(tmp_path, spoil, message):
    plain = Encoder.load(save_tiny(tmp_path / "m"))
    folder = plain.with_heads(Heads(3, 32)).save(tmp_path / "h")
    spoil(folder / "heads.safetensors")
    with pytest.raises(InputError, match=message):
        Encoder.load(folder)


def test_a_pooler_that_is_not_there_is_not_missed(tmp_path):
    """It is not used: a folder without one gives the vectors of a folder with one."""
    folder = save_tiny(tmp_path / "m")
    before = Encoder.load(folder).encode(SENTENCES)
    rewritten(folder / "model.safetensors", lambda t: [t.pop(name) for name in list(t) if "pooler" in name])
    np.testing.assert_array_equal(Encoder.load(folder).encode(SENTENCES), before)


@pytest.mark.parametrize("family", ["bert", "roberta", "mpnet"])
def test_empty_and_very_long_texts_have_vectors(tmp_path, family):
    encoder = Encoder.load(save_tiny(tmp_path / "m", family), max_length=20)
    long = "the norm of a vector " * 2_000  # 10,000 words
    texts = ["", " \n\t", long, "\u3000", "a node"]
    together = encoder.encode_layers(texts, precision="fp32")
    assert np.isfinite(together).all()
    for i, text in enumerate(texts):
        np.testing.assert_allclose(
            together[:, i], encoder.encode_layers([text], cache=False, precision="fp32")[:, 0], atol=1e-5
        )
    np.testing.assert_allclose(
        encoder.encode([long], precision="fp32"),
        encoder.encode(["the norm of a vector " * 4], precision="fp32"),
        atol=1e-5,
    )  # 18 words and two special tokens are read of both
    assert encoder.share_cut(texts) == 1 / 5


def test_a_text_without_tokens_is_named(tmp_path):
    """Where a tokenizer puts nothing around a text, an empty one has no vector."""
    folder = save_tiny(tmp_path / "m")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    encoder = Encoder.load(folder)
    assert np.isfinite(encoder.encode(["a node", "the path"])).all()
    for texts in (["a node", ""], [""]):
        with pytest.raises(InputError, match=rf"text {len(texts) - 1} has no tokens.*leave it out"):
            encoder.encode_layers(texts)
