"""The recipes of papers and public code against loops over their formulas, one cell at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import TERMS, Batch
from mrl_tutorial.losses.distillation import align, code_pca, score_align
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import RECIPES, get_recipe
from tests.helpers import reference

L, WIDTH, DIMS = 4, 32, (8, 16, 32)


def vectors(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(rows=L, b=4, n=6):
    return vectors(rows, b, WIDTH).requires_grad_(), vectors(rows, n, WIDTH, seed=1).requires_grad_()


def assert_same(total, expected, leaves, rtol=1e-9):
    torch.testing.assert_close(total, expected, rtol=rtol, atol=rtol)
    found, right = (torch.autograd.grad(t, leaves, allow_unused=True) for t in (total, expected))
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=rtol)
    assert max(g.abs().max() for g in right) > 1e-3


def their_pca(x, k):
    """x U_k S_k, U and S of softmax(x'x / sqrt(D)) taken row by row, from torch's randomized SVD."""
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
    assert_same(total, expected, (q, d))
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
        with pytest.raises(InputError, match=f"dimension {k} does not exist"):
            code_pca(x, k)


def test_align_to_code_pca_is_detached_and_cut_from_one_decomposition():
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
    assert_same((table * mix).sum(), (torch.stack(expected) * mix).sum(), (q, d))
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
    assert_same((table * mix).sum(), (torch.stack([torch.stack(row) for row in cells]) * mix).sum(), (q, d))


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
    assert_same(total, expected, (q, d), 1e-8)


def test_retrieval_2dmse_by_name():
    plain = get_recipe("retrieval-2dmse", 6, 384)
    assert plain.name == "retrieval-2dmse" and plain.weights["main"][0].tolist() == [0, 0, 0, 0, 1, 0, 0]
    named = get_recipe("retrieval-2dmse+fixed-doc+score", 6, 384)
    given = get_recipe("retrieval-2dmse+score+fixed-doc", 6, 384)
    assert named.name == given.name == "retrieval-2dmse+score+fixed-doc" and named.options == given.options
    assert get_recipe("retrieval-2dmse+dims", 6, 384).weights["main"][0].tolist() == [1] * 6 + [0]
    uniform = get_recipe("retrieval-2dmse", 6, 384, layer_weights="uniform")
    assert uniform.weights["main"].sum() == 7 and not plain.needs_last_layer and named.needs_last_layer
    for name, message in [
        ("retrieval-2dmse+scor", "unknown switch 'scor': did you mean 'score'"),
        ("retrieval-2dmse+dims+", "unknown switch ''"),
        ("retrieval-2dmse+score+score-last", "two switches of one kind"),
        ("retrieval-2dms", "did you mean 'retrieval-2dmse'"),
    ]:
        with pytest.raises(InputError, match=message):
            get_recipe(name, 6, 384)
    for width, options, message in [
        (128, {}, "beside the full width 128: give dims below"),
        (8, {"dims": ()}, "no cells chosen"),
    ]:
        with pytest.raises(InputError, match=message):
            get_recipe("retrieval-2dmse", 6, width, **options)
    with pytest.raises(InputError, match="beside the full width 8"):
        get_recipe("retrieval-2dmse+dims", 6, 8)


def test_starbucks_is_its_formula():
    pairs = [(1, 8), (2, 8), (3, 16), (4, 32)]
    recipe = get_recipe("starbucks:1,8+2,8+3,16+4,32", L, WIDTH)
    q, d = inputs()
    total, tables = recipe.loss(Batch(q, d))
    full = reference.scores(q[L - 1], d[L - 1], WIDTH).detach() / 0.05
    expected = reference.contrastive(q[L - 1], d[L - 1], WIDTH)
    for layer, dim in pairs[:-1]:
        expected = expected + reference.contrastive(q[layer - 1], d[layer - 1], dim)
        student = reference.scores(q[layer - 1], d[layer - 1], dim) / 0.05
        expected = expected + reference.kl(full, student)
    assert_same(total, expected, (q, d))
    assert np.isfinite(tables["kl-scores"]).sum() == 3
    assert recipe.name == "starbucks:1,8+2,8+3,16+4,32" and recipe.needs_last_layer


def test_the_full_cell_teaches_all_others_as_in_starbucks():
    ours = get_recipe("all-cells+kl-full", L, WIDTH)
    every = "+".join(f"{layer},{dim}" for layer in range(1, L + 1) for dim in ours.dims)
    q, d = inputs()
    expected = get_recipe(f"starbucks:{every}", L, WIDTH).loss(Batch(q, d))[0]
    assert_same(ours.loss(Batch(q, d))[0], expected, (q, d))
    assert np.isnan(ours.loss(Batch(q, d))[1]["kl-scores"][-1, -1]) and ours.name == "all-cells+kl-full"


def test_starbucks_pairs_by_geometry():
    for n_layers, width, expected in [
        (6, 384, [(1, 16), (2, 32), (3, 64), (4, 128), (5, 256), (6, 384)]),
        (12, 768, [(2, 32), (4, 64), (6, 128), (8, 256), (10, 512), (12, 768)]),
    ]:
        recipe = get_recipe("starbucks", n_layers, width)
        cells = [(int(i) + 1, recipe.dims[j]) for i, j in np.argwhere(recipe.weights["main"])]
        assert recipe.name == "starbucks" and cells == expected
        assert [(int(i) + 1, recipe.dims[j]) for i, j in np.argwhere(recipe.weights["kl-scores"])] == expected[:-1]
    proposed = r"no cells for 4 layers x 32.*starbucks:1,16\+4,32"
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


def test_fixed_document_for_graded_pairs():
    q, d = inputs(n=4)
    labels = torch.tensor([0.1, 0.5, 0.9, 0.3])
    grid = np.zeros((L, 3))
    grid[1, 0] = 1
    recipe = Recipe("r", {"main": grid}, options={"main": {"fixed_document": True}})
    assert_same(recipe.loss(Batch(q, d, labels=labels))[0], reference.cosent(q[1], d[3], labels, 8), (q, d))
