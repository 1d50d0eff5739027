"""The recipes of libraries and papers: against sentence-transformers itself, and against loops over their formulas."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import reference
import torch
from test_losses import library
from test_training import OPTIONS, pairs_task, parameters
from tiny import SENTENCES, save_tiny

from mrl_tutorial import backbone as bb
from mrl_tutorial.alignment import code_pca
from mrl_tutorial.encoder import Encoder
from mrl_tutorial.errors import InputError
from mrl_tutorial.feed import examples, schedule
from mrl_tutorial.losses import TERMS, Batch, align, cosent, score_align
from mrl_tutorial.recipes import RECIPES, Recipe, get_recipe
from mrl_tutorial.training import train

L, WIDTH, DIMS = 4, 32, (8, 16, 32)


def vectors(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(rows=L, b=4, n=6):
    return vectors(rows, b, WIDTH).requires_grad_(), vectors(rows, n, WIDTH, seed=1).requires_grad_()


def same(total, expected, leaves, rtol=1e-9):
    torch.testing.assert_close(total, expected, rtol=rtol, atol=rtol)
    found, right = (torch.autograd.grad(t, leaves, allow_unused=True) for t in (total, expected))
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)
    assert max(g.abs().max() for g in right) > 1e-3


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "bert")


# -- 2dmse-v1-st against the library -------------------------------------------------------------------------------


def theirs_and_ours(folder, columns, recipe, weights, seed=None, **options):
    """Matryoshka2dLoss and the recipe on one model: both losses, and their gradients in every parameter."""
    from sentence_transformers import SentenceTransformer, losses
    from sentence_transformers.models import Pooling, Transformer

    model = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(WIDTH, "mean")], device="cpu").eval()
    inner = losses.MultipleNegativesRankingLoss(model)
    loss = losses.Matryoshka2dLoss(model, inner, **options)
    bert = model[0].auto_model
    leaves = [p for name, p in bert.named_parameters() if "pooler" not in name]
    features = [dict(model.tokenize(column)) for column in columns]
    random.seed(seed)
    theirs = loss(features, torch.zeros(len(columns[0])))
    rows = []
    for column in columns:
        tokens = model.tokenize(column)
        hidden = bb.layer_outputs(bert, tokens["input_ids"], tokens["attention_mask"], range(4))
        rows.append(torch.stack([bb.pool(h, tokens["attention_mask"], "mean") for h in hidden]))
    batch = Batch(rows[0], torch.cat(rows[1:], 1), layers=range(4))
    ours, _ = recipe.loss(batch, weights)
    return *(float(x.detach()) for x in (theirs, ours)), *(
        torch.cat([g.flatten() for g in torch.autograd.grad(x, leaves, allow_unused=True) if g is not None])
        for x in (theirs, ours)
    )


COLUMNS = [SENTENCES[:3], SENTENCES[3:6], SENTENCES[6:9]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("columns", "dims", "per_layer", "per_dim", "seed"),
    [
        (COLUMNS[:2], None, -1, -1, 0),  # every layer, every width: nothing is drawn
        (COLUMNS, (8, 16), -1, -1, 0),  # with hard negatives; the KL is at full width all the same
        *((COLUMNS[:2], None, 1, 1, seed) for seed in range(5)),  # the library's defaults
        (COLUMNS, (8, 16, 24, 32), 2, 3, 5),
        (COLUMNS, None, 3, 9, 6),  # as many as there are, or more
    ],
)
def test_2dmse_v1_st_is_matryoshka2dloss(folder, columns, dims, per_layer, per_dim, seed):
    counts = {} if (per_layer, per_dim) == (1, 1) else {"layers_per_step": per_layer, "dims_per_step": per_dim}
    recipe = get_recipe("2dmse-v1-st", 3, WIDTH, dims=dims, **counts)
    assert recipe.embeddings and recipe.layers == (0, 1, 2, 3)
    weights = recipe.step_weights(np.random.default_rng(seed))
    state = int(np.random.default_rng(seed).integers(2**32))  # as the recipe says it seeds
    options = {} if not counts else {"n_layers_per_step": per_layer, "n_dims_per_step": per_dim}
    found = theirs_and_ours(folder, columns, recipe, weights, state, matryoshka_dims=list(dims or DIMS), **options)
    theirs, ours, their_gradient, our_gradient = found
    assert ours == pytest.approx(theirs, rel=2e-6)
    assert float((their_gradient - our_gradient).norm()) <= 2e-5 * float(their_gradient.norm()) > 0


def test_2dmse_v1_st_draws_what_its_mean_says():
    for options in ({}, {"layers_per_step": 2, "dims_per_step": 2}):
        recipe = get_recipe("2dmse-v1-st", L, WIDTH, **options)
        rng, mean, draws = np.random.default_rng(0), {key: 0.0 for key in recipe.weights}, 2000
        for _ in range(draws):
            for key, grid in recipe.step_weights(rng).items():
                mean[key] = mean[key] + grid / draws
        for key, grid in recipe.weights.items():
            np.testing.assert_allclose(mean[key], grid, atol=0.05)
    everything = get_recipe("2dmse-v1-st", L, WIDTH, layers_per_step=-1, dims_per_step=-1)
    assert everything.sampler is None
    for layers_per_step in (0, -2, 1.5):
        with pytest.raises(InputError, match="layers_per_step .* is impossible"):
            get_recipe("2dmse-v1-st", L, WIDTH, layers_per_step=layers_per_step)


@pytest.mark.filterwarnings("ignore")
def test_cosent_has_the_librarys_value_and_gradient():
    q, d = (vectors(8, 12, seed=s, dtype=torch.float32).requires_grad_() for s in (0, 1))
    labels = torch.tensor([0.0, 0.5, 0.5, 1.0, 0.2, 0.2, 0.2, 0.9])  # ties are not ordered pairs
    theirs = library("CoSENTLoss", q, d, labels=labels)
    ours = cosent(Batch(q[None], d[None], labels=labels), [1], [2, 5, 11, 12]).sum()
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
    for a, b in zip(torch.autograd.grad(ours, (q, d)), torch.autograd.grad(theirs, (q, d)), strict=True):
        assert float((a - b).norm()) <= 1e-5 * float(b.norm()) > 0


# -- the formulas of definitions, one cell at a time ---------------------------------------------------------------


def their_pca(x, k):
    """x U_k S_k, U and S of softmax(x'x / sqrt(D)) taken row by row, from torch's randomised SVD."""
    x = x.detach()
    width = x.shape[1]
    a = torch.empty(width, width, dtype=x.dtype)
    for i in range(width):
        row = torch.stack([(x[:, i] * x[:, j]).sum() for j in range(width)]) / math.sqrt(width)
        a[i] = torch.exp(row - row.max()) / torch.exp(row - row.max()).sum()
    u, s, _ = torch.svd_lowrank(a, q=k)
    return x @ u @ torch.diag(s)


def true_pca(x, k):
    still = (x - x.mean(0)).detach()
    right = torch.linalg.svd(still, full_matrices=False)[2][:k].T
    return still @ (right * right.gather(0, right.abs().argmax(0, keepdim=True)).sign())


def test_ese_code_is_its_formula():
    q, d = inputs(rows=L + 1)  # row 0 is the embedding table's output
    k = 8
    recipe = get_recipe("ese-code", L, WIDTH, dims=(k,))
    assert recipe.embeddings and recipe.layers == tuple(range(L + 1))

    def both(row):
        texts = torch.cat([q[row], d[row]])
        return reference.contrastive(q[row], d[row], k) + reference.align(texts[:, :k], their_pca(texts, k))

    torch.manual_seed(5)
    total, tables = recipe.loss(Batch(q, d, layers=range(L + 1)))
    torch.manual_seed(5)
    students = [both(i) / (1 + math.log(1 + i)) for i in range(L - 1)]
    expected = reference.contrastive(q[L], d[L], WIDTH) + both(L) + sum(students) / (L - 1)
    same(total, expected, (q, d))
    assert np.isnan(tables["main"][L - 1]).all() and np.isfinite(tables["main"][0]).any()  # off by one, as it runs
    default = get_recipe("ese-code", 12, 768)
    weights = default.weights["align"][:, default.dims.index(128)]
    np.testing.assert_allclose(weights[[0, 1, 10, 11, 12]], [1 / 11, 0.5906 / 11, 0.2943 / 11, 0, 1], rtol=1e-3)
    assert default.weights["main"].sum() == pytest.approx(weights.sum() + 1)


def test_code_pca_is_not_pca():
    x = vectors(40, 12) * torch.linspace(2, 0.2, 12)
    torch.manual_seed(0)
    found = code_pca(x, 12)
    a = np.exp(x.T.numpy() @ x.numpy() / math.sqrt(12))
    u, s, _ = np.linalg.svd(a / a.sum(1, keepdims=True))
    np.testing.assert_allclose(np.abs(found), np.abs(x.numpy() @ u * s), atol=1e-9)  # exact at k = D but for signs
    assert code_pca(x, 5).shape == (40, 5)
    torch.manual_seed(0)
    assert torch.equal(code_pca(x, 12), found)
    assert np.abs(np.abs(found[:, :5]) - np.abs(true_pca(x, 5))).max() > 0.1
    for k in (0, 13):
        with pytest.raises(InputError, match=f"{k} components of 12"):
            code_pca(x, k)


def test_align_to_code_pca_is_detached_and_cut_from_one_draw():
    q, d = inputs()
    torch.manual_seed(3)
    table = align(Batch(q, d), [2, 4], [8, 16], target="code-pca")
    torch.manual_seed(3)
    expected = []
    for row in (1, 3):
        texts = torch.cat([q[row], d[row]])
        target = their_pca(texts, 16)
        expected.append(torch.stack([reference.align(texts[:, :k], target[:, :k]) for k in (8, 16)]))
    mix = vectors(2, 2, seed=4)
    same((table * mix).sum(), (torch.stack(expected) * mix).sum(), (q, d))
    with pytest.raises(InputError, match="unknown alignment target 'svd'"):
        align(Batch(q, d), [2], [8], target="svd")


def score_cell(q, d, layer, dim, teacher, fixed):
    """MSE of scores + KL(teacher || student) of scores / 0.05; teacher a (layer, dim), detached."""
    right = reference.scores(q[teacher[0] - 1], d[L - 1 if fixed else teacher[0] - 1], teacher[1]).detach()
    left = reference.scores(q[layer - 1], d[L - 1 if fixed else layer - 1], dim)
    return ((left - right) ** 2).mean() + reference.kl(right / 0.05, left / 0.05)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("teacher", ["last-layer", "full-width", "full"])
def test_score_align_is_squared_error_plus_kl(teacher, fixed):
    q, d = inputs()
    table = score_align(Batch(q, d), [1, 4], DIMS, teacher=teacher, fixed_document=fixed)
    right = {"last-layer": lambda i, k: (L, k), "full-width": lambda i, k: (i, WIDTH), "full": lambda i, k: (L, WIDTH)}
    cells = [[score_cell(q, d, i, k, right[teacher](i, k), fixed) for k in DIMS] for i in (1, 4)]
    mix = vectors(2, 3, seed=4)
    same((table * mix).sum(), (torch.stack([torch.stack(row) for row in cells]) * mix).sum(), (q, d))


@pytest.mark.parametrize(
    ("switches", "dims"),
    [
        ("", (8,)),
        ("", (8, 16)),
        ("+dims", None),
        ("+full-dim", (8,)),
        ("+fixed-doc", (8,)),
        ("+score", (8,)),
        ("+score-last", (8,)),
        ("+score+full-dim+fixed-doc", (16,)),
        ("+align", (8,)),
        ("+score-last+dims+fixed-doc+align-code", None),
    ],
)
def test_retrieval_2dmse_is_its_formula(switches, dims):
    q, d = inputs()
    recipe = get_recipe("retrieval-2dmse" + switches, L, WIDTH, dims=dims)
    fixed, chosen = "fixed-doc" in switches, dims or (8, 16)
    torch.manual_seed(2)
    total, _ = recipe.loss(Batch(q, d))
    torch.manual_seed(2)
    w = [1 / (1 + math.log(layer)) for layer in range(1, L)] + [1.0]

    def loss(layer, dim):
        return reference.contrastive(q[layer - 1], d[L - 1 if fixed else layer - 1], dim)

    expected = loss(L, WIDTH)
    for layer in range(1, L + 1):
        texts = torch.cat([q[layer - 1], d[layer - 1]])
        if "align" in switches:
            target = (their_pca if "align-code" in switches else true_pca)(texts, max(chosen))
        for dim in chosen:
            cell = loss(layer, dim)
            if "score" in switches:
                cell = cell + score_cell(q, d, layer, dim, (L if "score-last" in switches else layer, WIDTH), fixed)
            if "align" in switches:
                cell = cell + reference.align(texts[:, :dim], target[:, :dim])
            expected = expected + w[layer - 1] * cell
        if "full-dim" in switches and layer < L:
            expected = expected + w[layer - 1] * loss(layer, WIDTH)
    same(total, expected, (q, d), 1e-8)


def test_retrieval_2dmse_by_name_and_by_option():
    plain = get_recipe("retrieval-2dmse", 6, 384)
    assert plain.name == "retrieval-2dmse" and plain.weights["main"][0].tolist() == [0, 0, 0, 0, 1, 0, 0]
    named = get_recipe("retrieval-2dmse+fixed-doc+score", 6, 384)
    given = get_recipe("retrieval-2dmse", 6, 384, score="same-layer", fixed_doc=True)
    assert named.name == given.name == "retrieval-2dmse+score+fixed-doc" and named.options == given.options
    assert get_recipe("retrieval-2dmse+dims", 6, 384).weights["main"][0].tolist() == [1] * 6 + [0]
    uniform = get_recipe("retrieval-2dmse", 6, 384, layer_weights="uniform")
    assert uniform.weights["main"].sum() == 7 and not plain.needs_last_layer and named.needs_last_layer
    for name, message in [
        ("retrieval-2dmse+scor", "unknown switch 'scor': did you mean 'score'"),
        ("retrieval-2dmse+dims+", "unknown switch ''"),
        ("retrieval-2dms", "did you mean 'retrieval-2dmse'"),
    ]:
        with pytest.raises(InputError, match=message):
            get_recipe(name, 6, 384)
    for width, options, message in [
        (128, {}, "beside the full width 128: give dims below"),
        (8, {"dims": ()}, "no cells chosen"),
        (384, {"score": "full"}, "score='full' is unknown"),
        (384, {"align": True}, "align=True is unknown"),
    ]:
        with pytest.raises(InputError, match=message):
            get_recipe("retrieval-2dmse", 6, width, **options)
    with pytest.raises(InputError, match="beside the full width 8"):
        get_recipe("retrieval-2dmse+dims", 6, 8)


def test_starbucks_is_its_formula():
    pairs = [(1, 8), (2, 8), (3, 16), (4, 32)]
    recipe = get_recipe("starbucks:1,8+2,8+3,16+4,32", L, WIDTH)
    for kl_weight, built in [(1.0, recipe), (0.5, get_recipe("starbucks", L, WIDTH, pairs=pairs, kl_weight=0.5))]:
        q, d = inputs()
        total, tables = built.loss(Batch(q, d))
        full = reference.scores(q[L - 1], d[L - 1], WIDTH).detach() / 0.05
        expected = reference.contrastive(q[L - 1], d[L - 1], WIDTH)
        for layer, dim in pairs[:-1]:
            expected = expected + reference.contrastive(q[layer - 1], d[layer - 1], dim)
            student = reference.scores(q[layer - 1], d[layer - 1], dim) / 0.05
            expected = expected + kl_weight * reference.kl(full, student)
        same(total, expected, (q, d))
        assert np.isfinite(tables["kl-scores"]).sum() == 3
    assert recipe.name == "starbucks:1,8+2,8+3,16+4,32" and recipe.needs_last_layer
    assert set(get_recipe("starbucks", L, WIDTH, pairs=pairs, kl_weight=0).weights) == {"main"}


def test_starbucks_pairs_by_geometry():
    for n_layers, width, expected in [
        (6, 384, [(1, 16), (2, 32), (3, 64), (4, 128), (5, 256), (6, 384)]),
        (12, 768, [(2, 32), (4, 64), (6, 128), (8, 256), (10, 512), (12, 768)]),
    ]:
        recipe = get_recipe("starbucks", n_layers, width)
        cells = [(int(i) + 1, recipe.dims[j]) for i, j in np.argwhere(recipe.weights["main"])]
        assert recipe.name == "starbucks" and cells == expected
        assert [(int(i) + 1, recipe.dims[j]) for i, j in np.argwhere(recipe.weights["kl-scores"])] == expected[:-1]
    proposed = r"no pairs for 4 layers x 32.*starbucks:1,16\+4,32.*pairs=\[\(1, 16\), \(4, 32\)\]"
    with pytest.raises(InputError, match=proposed):
        get_recipe("starbucks", L, WIDTH)
    get_recipe("starbucks:1,16+4,32", L, WIDTH)  # what the message proposes works
    for cells, message in [("1,8+5,32", "layer 5"), ("1,64", "dimension 64"), ("1", "name each")]:
        with pytest.raises(InputError, match=message):
            get_recipe(f"starbucks:{cells}", L, WIDTH)


def test_every_recipe_is_listed_with_source_and_line():
    assert list(RECIPES) == [
        "full-size", "separate:l,d", "mrl", "2dmse-v1", "2dmse-v1-st", "ese", "ese-code", "retrieval-2dmse",
        "starbucks", "all-cells",
    ]  # fmt: skip
    for name, entry in RECIPES.items():
        assert entry.source and entry.line and "\n" not in entry.line
        recipe = get_recipe("separate:3,128" if name == "separate:l,d" else name, 12, 768)
        assert (recipe.source, recipe.line) == (entry.source, entry.line)
        assert recipe.name == name or name == "separate:l,d"
        assert all(key == "main" or key in TERMS for key in recipe.weights)


# -- in the training loop ------------------------------------------------------------------------------------------


def recipes_with_layer_0():
    return [get_recipe("2dmse-v1-st", 3, WIDTH), get_recipe("ese-code", 3, WIDTH, dims=(8,))]


def test_full_training_sees_the_embedding_table(folder):
    encoder, task = Encoder.load(folder), pairs_task()
    recipe = get_recipe("2dmse-v1-st", 3, WIDTH, layers_per_step=-1, dims_per_step=-1)
    result = train(encoder, task, recipe, what="full", steps=1, batch_size=6, precision="fp32", cache=False)
    data = examples(task)
    chosen = schedule(data, 6, 1, 0)[0]
    sides = ([texts[i] for i in chosen] for texts in (data.anchors, data.positives))
    q, d = (
        torch.from_numpy(np.array(encoder.encode_layers(x, embeddings=True, precision="fp32", cache=False))).double()
        for x in sides
    )
    expected = sum(reference.contrastive(q[3], d[3], k) for k in DIMS)
    for row in range(3):
        expected = expected + sum(reference.contrastive(q[row], d[row], k) for k in DIMS) / 3
        texts = torch.cat([q, d], 1)
        expected = expected + 0.3 * reference.kl(texts[3] / 0.3, texts[row] / 0.3)
    assert result.history[0] == pytest.approx(float(expected), rel=1e-5)
    assert result.losses["main"].shape == (4, 3) and result.losses["main"][0, 0] == pytest.approx(
        float(reference.contrastive(q[0], d[0], 8)), rel=1e-5
    )
    before, after = (e.model.embeddings.word_embeddings.weight for e in (encoder, result.encoder))
    assert not torch.equal(before, after)  # the table is what row 0 trains


@pytest.mark.parametrize("recipe", recipes_with_layer_0(), ids=lambda r: r.name)
def test_resume_is_exact_with_layer_0_and_random_targets(folder, recipe):
    encoder, task = Encoder.load(folder), pairs_task()
    whole = train(encoder, task, recipe, what="full", cache=False, **OPTIONS)
    torch.rand(7)  # the state of torch's generator is not an argument
    train(encoder, task, recipe, what="full", on_step=lambda step, steps, loss: step != 3, **OPTIONS)
    state = torch.random.get_rng_state()
    resumed = train(encoder, task, recipe, what="full", **OPTIONS)
    assert resumed.history == whole.history and len(resumed.history) == OPTIONS["steps"]
    assert torch.equal(parameters(resumed, "full"), parameters(whole, "full"))
    assert torch.equal(torch.random.get_rng_state(), state)  # nor does training disturb it


@pytest.mark.parametrize("recipe", recipes_with_layer_0(), ids=lambda r: r.name)
def test_heads_have_no_layer_0(folder, recipe):
    with pytest.raises(InputError, match="embedding table's output, which has no head: use what='full'"):
        train(Encoder.load(folder), pairs_task(), recipe, what="heads", **OPTIONS)


@pytest.mark.parametrize("name", ["starbucks:1,8+2,16+3,32", "retrieval-2dmse+dims+score+fixed-doc"])
def test_other_recipes_train_heads_and_say_when_a_task_has_no_documents(folder, name):
    encoder = Encoder.load(folder)
    result = train(encoder, pairs_task(), name, steps=40, batch_size=8, lr=3e-3, cache=False)
    assert np.mean(result.history[-8:]) < 0.9 * np.mean(result.history[:8])
    texts = SENTENCES * 3
    classes = SimpleNamespace(name="toy", kind="classification", classes=["a", "b"],
                              splits={"train": (texts, np.arange(len(texts)) % 2)})  # fmt: skip
    with pytest.raises(InputError, match="compares queries with documents, which toy has not"):
        train(encoder, classes, name, **OPTIONS)


def test_fixed_document_for_graded_pairs():
    q, d = inputs(n=4)
    labels = torch.tensor([0.1, 0.5, 0.9, 0.3])
    grid = np.zeros((L, 3))
    grid[1, 0] = 1
    recipe = Recipe("r", {"main": grid}, options={"main": {"fixed_document": True}})
    same(recipe.loss(Batch(q, d, labels=labels))[0], reference.cosent(q[1], d[3], labels, 8), (q, d))
