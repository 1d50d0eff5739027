"""Recipes against their formulas, written out one cell at a time; sampling; validation; zero weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import Batch, NestedClassifier
from mrl_tutorial.losses.contrastive import contrastive
from mrl_tutorial.losses.distillation import kl_features, kl_scores
from mrl_tutorial.recipes.layer_weights import LAYER_WEIGHTS, layer_weights
from mrl_tutorial.recipes.recipe import Recipe, rectangles
from mrl_tutorial.recipes.registry import RECIPES, get_recipe
from tests.helpers import reference

L, WIDTH, DIMS = 4, 32, (8, 16, 32)


def vectors(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(b=4, n=6, dtype=torch.float64):
    return vectors(L, b, WIDTH, dtype=dtype).requires_grad_(), vectors(
        L, n, WIDTH, seed=1, dtype=dtype
    ).requires_grad_()


class Cells:
    """The definitions' symbols: loss(l, d), kl(l, d) to the last layer over features, align(l, d)."""

    def __init__(self, q, d):
        self.q, self.d = q, d

    def loss(self, layer, dim):
        return reference.contrastive(self.q[layer - 1], self.d[layer - 1], dim)

    def texts(self, layer):
        return torch.cat([self.q, self.d], 1)[layer - 1]

    def kl(self, layer, dim):
        return reference.kl(self.texts(L)[:, :dim].detach(), self.texts(layer)[:, :dim])

    def align(self, layer, dim):
        x = self.texts(layer)
        still = (x - x.mean(0)).detach()
        right = torch.linalg.svd(still, full_matrices=False)[2][:dim].T  # (D, k), signs as they fall
        largest = right.gather(0, right.abs().argmax(0, keepdim=True)).sign()
        return reference.align(x[:, :dim], still @ (right * largest))


def formula(name, cells, n=None, d=None):
    last = range(1, L + 1)
    log = {i: 1 / (1 + np.log(i)) for i in range(1, L)} | {L: 1.0}
    if name == "full-size":
        return cells.loss(L, WIDTH)
    if name == "separate:2,16":
        return cells.loss(2, 16)
    if name == "mrl":
        return sum(cells.loss(L, k) for k in DIMS)
    if name == "ese":
        return sum(log[i] * (cells.loss(i, 8) + cells.align(i, 8)) for i in last)
    if name == "all-cells":
        return sum(cells.loss(i, k) for i in last for k in DIMS)
    student = cells.kl(n, WIDTH) + cells.kl(n, d)
    return cells.loss(L, WIDTH) + cells.loss(n, WIDTH) + cells.loss(L, d) + cells.loss(n, d) + student


@pytest.mark.parametrize("name", ["full-size", "separate:2,16", "mrl", "2dmse-v1", "ese", "all-cells"])
def test_a_recipe_is_its_formula(name):
    q, d = inputs()
    recipe = get_recipe(name, L, WIDTH, dims=(8,) if name == "ese" else None)
    weights = recipe.step_weights(np.random.default_rng(3))
    n = dim = None
    if name == "2dmse-v1":
        (n,) = np.flatnonzero(weights["kl-features"].any(1)) + 1
        dim = DIMS[np.flatnonzero(weights["kl-features"].any(0))[0]]
    total, tables = recipe.loss(Batch(q, d), weights)
    expected = formula(name, Cells(q, d), n, dim)
    torch.testing.assert_close(total, expected)
    found, right = (torch.autograd.grad(t, (q, d)) for t in (total, expected))
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a, b)
    for key, table in tables.items():
        assert table.dtype == np.float32 and (np.isnan(table) == (weights[key] == 0)).all()
    i, j = np.argwhere(weights["main"])[0]
    cell = Cells(q, d).loss(int(i) + 1, recipe.dims[j]).item()
    np.testing.assert_allclose(tables["main"][i, j], cell, rtol=1e-6)


def test_every_recipe_says_where_it_comes_from():
    assert {"full-size", "separate:l,d", "mrl", "2dmse-v1", "ese", "all-cells"} <= set(RECIPES)
    for name in ("full-size", "separate:3,128", "mrl", "2dmse-v1", "ese", "all-cells"):
        recipe = get_recipe(name, 6, 384)
        assert recipe.name == name and recipe.source and recipe.line
        assert recipe.layers == tuple(range(1, 7)) and recipe.dims == (8, 16, 32, 64, 128, 256, 384)


@pytest.mark.parametrize(
    ("name", "deepest", "last"),
    [
        ("full-size", 6, False),
        ("separate:3,100", 3, False),
        ("mrl", 6, False),
        ("2dmse-v1", 6, True),
        ("ese", 6, False),
    ],
)
def test_how_deep_the_forward_pass_must_go(name, deepest, last):
    recipe = get_recipe(name, 6, 384)
    assert (recipe.deepest_layer, recipe.needs_last_layer) == (deepest, last)


def test_a_teacher_or_a_function_of_ones_own_may_need_the_last_layer():
    grid = np.zeros((6, 7))
    grid[1, 2] = 1

    def mine(batch, layers, dims):
        return contrastive(batch, layers, dims)

    def needs(weights, **options):
        return Recipe("r", weights, **options).needs_last_layer

    assert not needs({"main": grid}) and needs({"main": grid}, options={"main": {"fixed_document": True}})
    assert needs({"kl-scores": grid}) and not needs(
        {"kl-scores": grid}, options={"kl-scores": {"teacher": "full-width"}}
    )
    assert not needs({"main": grid, "kl-scores": grid * 0})
    assert needs({mine: grid})
    mine.needs_last_layer = False
    assert not needs({mine: grid}) and Recipe("r", {mine: grid}).deepest_layer == 2


def test_2dmse_samples_a_layer_below_the_last_and_a_dimension_below_the_width():
    recipe = get_recipe("2dmse-v1", L, WIDTH)
    rng, seen, mean = np.random.default_rng(0), set(), {"main": 0.0, "kl-features": 0.0}
    steps = 3000
    for _ in range(steps):
        weights = recipe.step_weights(rng)
        main, kl = weights["main"], weights["kl-features"]
        (n,), (d,) = np.flatnonzero(kl[:, -1]), np.flatnonzero(kl[-2::-1].any(0)[:-1])
        assert kl.sum() == 2 and kl[n, d] == kl[n, -1] == 1 and not kl[-1].any()
        assert main.sum() == 4 and main[-1, -1] == main[n, -1] == main[-1, d] == main[n, d] == 1
        seen.add((n, d))
        mean = {key: mean[key] + weights[key] / steps for key in mean}
    assert seen == {(n, d) for n in range(L - 1) for d in range(len(DIMS) - 1)}
    for key, grid in recipe.weights.items():  # the fixed grids are what the sampler takes on average
        np.testing.assert_allclose(mean[key], grid, atol=0.05)
    again = [recipe.step_weights(np.random.default_rng([7, 1]))["main"] for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_layer_weightings():
    expected = {
        "uniform": [1, 1, 1, 1],
        "inverse": [1, 1 / 2, 1 / 3, 1],
        "log": [1, 1 / (1 + np.log(2)), 1 / (1 + np.log(3)), 1],
        "linear": [1 / 4, 2 / 4, 3 / 4, 1],
        "exponential": [1 / 8, 1 / 4, 1 / 2, 1],
        "learned": [1, 1, 1, 1],  # where training starts
    }
    assert set(LAYER_WEIGHTS) == set(expected)
    for name, weights in expected.items():
        np.testing.assert_allclose(layer_weights(name, 4), weights)
        np.testing.assert_allclose(layer_weights(LAYER_WEIGHTS[name], 4), weights)
        assert layer_weights(name, 1) == [1]
        np.testing.assert_allclose(get_recipe("all-cells", 4, 32, layer_weights=name).weights["main"][:, 1], weights)
    np.testing.assert_array_equal(layer_weights([3, 0, 1], 3), [3, 0, 1])
    np.testing.assert_array_equal(layer_weights(lambda n: np.arange(n), 3), [0, 1, 2])
    np.testing.assert_allclose(get_recipe("ese", 4, 256).weights["align"][:, 4], expected["log"])


def test_a_recipe_of_ones_own():
    q, d = inputs()
    weights = np.zeros((L, len(DIMS)))
    weights[3], weights[1, 1] = 1, 2

    def spread_out(batch, layers, dims, *, power=1):
        return torch.stack([batch.query_rows(layers)[..., :k].pow(power).mean((1, 2)) for k in dims], 1)

    mine = Recipe("mine", {"main": weights, spread_out: 3 * weights}, options={spread_out: {"power": 2}})
    total, tables = mine.validate(L, WIDTH).loss(Batch(q, d))
    cells, expected = Cells(q, d), 0
    for layer, dim, w in [(2, 16, 2), *((4, k, 1) for k in DIMS)]:
        expected = expected + w * cells.loss(layer, dim) + 3 * w * (q[layer - 1, :, :dim] ** 2).mean()
    torch.testing.assert_close(total, expected)
    assert set(tables) == {"main", "spread_out"} and np.isfinite(tables["spread_out"]).sum() == 4
    unchecked, _ = mine.loss(Batch(q, d))  # also without naming the model first
    torch.testing.assert_close(unchecked, total)


def test_main_is_the_tasks_own_loss():
    q, d = inputs(n=4)
    recipe = get_recipe("mrl", L, WIDTH)
    classes, grades = torch.tensor([0, 1, 1, 2]), torch.tensor([0.1, 0.5, 0.9, 0.3])
    heads = NestedClassifier(WIDTH, DIMS, 3).double()
    logits = [q[-1, :, :k] @ heads.weight[j][0].T + heads.bias[j][0] for j, k in enumerate(DIMS)]
    expected = {
        "pairs": sum(reference.contrastive(q[-1], d[-1], k) for k in DIMS),
        "graded": sum(reference.cosent(q[-1], d[-1], grades, k) for k in DIMS),
        "classes": sum(torch.nn.functional.cross_entropy(z, classes) for z in logits),
    }
    batches = {
        "pairs": Batch(q, d),
        "graded": Batch(q, d, labels=grades),
        "classes": Batch(q, labels=classes, classifier=heads),
    }
    for kind, batch in batches.items():
        torch.testing.assert_close(recipe.loss(batch)[0], expected[kind])


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (L, len(DIMS))))
def test_rectangles_cover_each_weighted_cell_once(mask):
    count = np.zeros(mask.shape, int)
    for rows, columns in rectangles(mask):
        count[np.ix_(rows, columns)] += 1
    np.testing.assert_array_equal(count, mask)


@settings(max_examples=25, deadline=None)
@given(
    arrays(bool, (L, len(DIMS))).filter(lambda m: m.any()),
    st.sampled_from(["main", "kl-features", "kl-scores", "align"]),
)
def test_weight_zero_means_no_gradient_even_from_a_cell_that_is_not_finite(mask, key):
    q, d = inputs(dtype=torch.float32)
    options = {"kl-scores": {"teacher": "last-layer"}} if key == "kl-scores" else {}
    clean = torch.autograd.grad(Recipe("r", {key: mask.astype(float)}, options=options).loss(Batch(q, d))[0], (q, d))
    used = np.zeros((L, WIDTH), bool)  # the coordinates that a weighted cell looks at
    for i, j in np.argwhere(mask):
        used[i, : WIDTH if key == "align" else DIMS[j]] = True
        if key.startswith("kl"):
            used[-1, : DIMS[j]] = True  # its teacher
    with torch.no_grad():
        for x in (q, d):
            x.masked_fill_(torch.tensor(~used)[:, None], float("nan"))
    total, _ = Recipe("r", {key: mask.astype(float)}, options=options).loss(Batch(q, d))
    grads = torch.autograd.grad(total, (q, d))
    for got, expected in zip(grads, clean, strict=True):
        torch.testing.assert_close(got, expected)
        assert (got.movedim(1, 0)[:, torch.tensor(~used)] == 0).all()


def test_an_unweighted_cell_is_never_computed():
    q, d = inputs()
    asked = []

    def mine(batch, layers, dims):
        asked.append((tuple(layers), tuple(dims)))
        return contrastive(batch, layers, dims)

    diagonal = np.zeros((L, len(DIMS)))
    diagonal[1, 0] = diagonal[2, 1] = diagonal[3, 1] = 1
    Recipe("r", {mine: diagonal, "main": diagonal * 0}).loss(Batch(q, d))
    assert asked == [((2,), (8,)), ((3, 4), (16,))]


def test_weights_may_be_learned():
    q, d = inputs()
    recipe = get_recipe("all-cells", L, WIDTH)
    weights = torch.rand(L, len(DIMS), dtype=torch.float64, requires_grad=True)
    total, tables = recipe.loss(Batch(q, d), {"main": weights})
    (gradient,) = torch.autograd.grad(total, weights)
    np.testing.assert_allclose(gradient.numpy(), tables["main"], rtol=1e-6)


def test_rows_may_be_some_layers_or_the_embedding_table():
    q, d = inputs()
    some = Recipe("some", {"main": np.ones((2, 1))}, layers=(0, 2), dims=(8,), embeddings=True)
    batch = Batch(q[:2], d[:2], layers=(0, 2))
    expected = sum(reference.contrastive(q[i], d[i], 8) for i in (0, 1))
    torch.testing.assert_close(some.validate(L, WIDTH).loss(batch)[0], expected)
    assert some.deepest_layer == 2
    with pytest.raises(InputError, match="layer 2 is not in this batch"):
        some.loss(Batch(q[:2], d[:2], layers=(0, 1)))


def test_scores_stay_in_float32_under_autocast():
    q, d = (x.detach() for x in inputs(dtype=torch.float32))
    recipe = Recipe("r", {k: np.ones((L, len(DIMS))) for k in ("main", "kl-features", "kl-scores", "align")})
    exact, _ = recipe.loss(Batch(q, d))
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = recipe.loss(Batch(q, d))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact)


@pytest.mark.parametrize("kind", ["features", "scores"])
@pytest.mark.parametrize("attached", [False, True])
def test_all_cells_with_kl_is_its_formula(kind, attached):
    """+ Σ_{l<L} Σ_d KL((L, d) ‖ (l, d)); an attached teacher gets a gradient of the KL, a detached one none."""
    name = f"all-cells+kl-{kind}" + "+attached" * attached
    recipe = get_recipe(name, 3, 16)
    assert recipe.name == name
    torch.manual_seed(0)
    x = [torch.randn(3, 5, 16, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    batch = Batch(*x, layers=(1, 2, 3))
    total, tables = recipe.loss(batch, {key: grid for key, grid in recipe.weights.items() if key != "main"})
    term = {"features": kl_features, "scores": kl_scores}[kind]
    want = term(batch, [1, 2], recipe.dims, teacher="last-layer").sum()
    assert torch.isclose(total, want) and np.isnan(tables[f"kl-{kind}"][2]).all()
    total.backward()
    assert (x[0].grad[2].abs().max() > 0) == attached and (x[0].grad[:2].abs().max() > 0)
    assert (recipe.weights["main"] == 1).all()


def test_all_cells_without_a_layer_touches_every_layer_but_that():
    full, less = get_recipe("all-cells", L, WIDTH), get_recipe("all-cells+without-2+kl-scores", L, WIDTH)
    assert less.name == "all-cells+without-2+kl-scores" and less.dims == full.dims
    np.testing.assert_array_equal(less.weights["main"][1], 0)
    np.testing.assert_array_equal(np.delete(less.weights["main"], 1, 0), np.delete(full.weights["main"], 1, 0))
    np.testing.assert_array_equal(less.weights["kl-scores"], less.weights["main"] * (np.arange(1, L + 1) < L)[:, None])
    for layer in (0, L + 1):
        with pytest.raises(InputError, match=f"without layer {layer} is impossible: this model has layers 1 to {L}"):
            get_recipe(f"all-cells+without-{layer}", L, WIDTH)
    with pytest.raises(InputError, match="unknown switch"):
        get_recipe("retrieval-2dmse+without-2", L, WIDTH)
    with pytest.raises(InputError, match="two switches of one kind"):
        get_recipe("all-cells+without-1+without-2", L, WIDTH)
    with pytest.raises(InputError, match=r"unknown switch 'without'.*without-3"):
        get_recipe("all-cells+without", L, WIDTH)


@pytest.mark.parametrize("weights", LAYER_WEIGHTS)
@pytest.mark.parametrize(
    "before, after, own, term",
    [("all-cells", "+kl-scores", "uniform", "kl-scores"), ("ese", "", "log", "align"),
     ("retrieval-2dmse+score+full-dim", "", "log", "score-align")],
)  # fmt: skip
def test_weights_of_the_layers_as_a_switch(weights, before, after, own, term):
    named = get_recipe(f"{before}{after}+{weights}", 6, 384)
    asked = get_recipe(before + after, 6, 384, layer_weights=weights)
    assert named.learned == asked.learned and (named.learned is not None) == (weights == "learned")
    assert all(np.array_equal(named.weights[each], asked.weights[each]) for each in ("main", term))
    assert named.name == asked.name == f"{before}{'' if weights == own else '+' + weights}{after}"
    assert np.array_equal(named.weights[term][:5, named.dims.index(128)], layer_weights(weights, 6)[:5])
    if before != "retrieval-2dmse+score+full-dim":  # which counts its last layer more than once
        assert np.array_equal(named.weights["main"][:, named.dims.index(128)], layer_weights(weights, 6))


@pytest.mark.parametrize(
    "name, words", [("all-cells+kl", "kl-"), ("all-cells+attached", "no teacher"), ("all-cells+dims", "unknown switch")]
)
def test_all_cells_switches_that_do_not_exist(name, words):
    with pytest.raises(InputError, match=words):
        get_recipe(name, 3, 16)
