"""Lesson 13: the nested output layer, early exits, the control without training, adaptive width, and the checks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from evidence import language_model as lm
from evidence import language_results as results
from exercises import language_models as checks

PLAN = lm.Plan(vocabulary=20, width=8, n_layers=3, heads=2, context=6, dims=(2, 4, 8), steps=4, batch=4)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = lm.LanguageModel(PLAN).double().eval()
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def text():
    rng = torch.Generator().manual_seed(0)
    rows = torch.randint(20, (9, 7), generator=rng)
    rows[0, 4:] = rows[3, 6:] = lm.IGNORED
    return lm.Text(None, torch.randint(20, (3000,), generator=rng), rows, rows.clone())


def test_logits_and_losses_equal_an_explicit_loop(model, text):
    cells = [(1, 8), (3, 2), (3, 4)]
    found = lm.losses(model, text.test, cells)
    for row, tokens in enumerate(text.test.tolist()):
        tokens = [t for t in tokens if t != lm.IGNORED]
        states = model(torch.tensor([tokens[:-1]])).detach().numpy()
        table, bias = model.table.detach().numpy(), model.bias.detach().numpy()
        for c, (layer, dim) in enumerate(cells):
            each = []
            for at, target in enumerate(tokens[1:]):
                h = states[layer - 1, 0, at]
                logits = np.array([sum(h[k] * table[v, k] for k in range(dim)) + bias[v] for v in range(20)])
                each.append(np.log(np.exp(logits).sum()) - logits[target])
            assert found[c, row].item() == pytest.approx(np.mean(each), rel=1e-12)


def test_the_training_loss_is_the_sum_over_cells(model, text):
    whole = text.test[[1, 2, 4]]
    cells = [(2, 4), (3, 8)]
    assert lm.loss_of(model, whole, cells).item() == pytest.approx(lm.losses(model, whole, cells).mean(1).sum().item())


def test_exits_are_those_of_a_shallower_model_and_the_last_is_the_full_one(model, text):
    ids = text.test[1:3, :-1]
    states = model(ids)
    for layers in (1, 2, 3):
        shallow = lm.LanguageModel(replace(PLAN, n_layers=layers)).double().eval()
        kept = {k: v for k, v in model.state_dict().items() if k in shallow.state_dict()}
        shallow.load_state_dict(kept)
        assert torch.allclose(shallow(ids)[-1], states[layers - 1], atol=1e-12)
    grid = lm.losses(model, text.test, [(layer, dim) for layer in (1, 2, 3) for dim in PLAN.dims]).view(3, 3, -1)
    full = [lm.losses(model, text.test, [(3, dim)])[0] for dim in PLAN.dims]
    assert torch.equal(grid[-1], torch.stack(full))


def test_a_state_never_sees_later_tokens(model, text):
    changed = text.test[1:2, :-1].clone()
    changed[0, 4:] = (changed[0, 4:] + 1) % 20
    before, after = model(text.test[1:2, :-1]), model(changed)
    assert torch.equal(before[:, :, :4], after[:, :, :4]) and not torch.allclose(before[:, :, 4:], after[:, :, 4:])


def test_arms_train_their_cells():
    rng = torch.Generator().manual_seed(0)
    assert lm.cells_of("plain", PLAN)(rng) == [(3, 8)]
    assert lm.cells_of("separate:4", PLAN)(rng) == [(3, 4)]
    assert lm.cells_of("nested", PLAN)(rng) == [(3, 2), (3, 4), (3, 8)]
    drawn = [lm.cells_of("exits", PLAN)(rng) for _ in range(60)]
    assert {cell for cells in drawn for cell in cells} == {(layer, dim) for layer in (1, 2, 3) for dim in PLAN.dims}
    assert all(cells[:3] == [(3, 2), (3, 4), (3, 8)] and cells[3][1] == 8 for cells in drawn)


def test_rotation_is_the_best_of_its_rank_and_changes_nothing_at_full_width(model, text):
    states = model(text.train[:2400].view(-1, 6))[-1].flatten(0, 1).detach()
    weights = torch.bincount(text.train, minlength=20) + 1.0
    read, own = lm.rotated(model.table.detach(), model.bias.detach(), states, weights), model.logits(states, 8)
    assert torch.allclose(read(states, 8).softmax(-1), own.softmax(-1), atol=1e-9)
    # weighted least squares: the singular values of the centered logits, each token times the root of its weight
    share = (weights / weights.sum()).double()
    centered = own - own.mean(0)
    centered = (centered - (centered @ share)[:, None]) * share.sqrt()
    values = torch.linalg.svdvals(centered)
    for dim in (2, 4):
        missing = (read(states, dim) - read(states, 8)).double() * share.sqrt()
        assert missing.square().sum().item() == pytest.approx(values[dim:].square().sum().item(), rel=1e-6)


def test_readers_in_closed_form_leave_the_last_layer_as_it_is(model, text):
    plain = model.float()
    try:
        reader = results.closed_form_readers(plain, text)[-1]
        full = [(3, 8)]
        assert torch.allclose(lm.losses(plain, text.test, full, reader), lm.losses(plain, text.test, full), atol=1e-4)
    finally:
        model.double()


def test_expected_width_by_hand():
    confidence = np.array([[0.9, 0.2, 0.5, 0.1], [0.3, 0.6, 0.9, 0.2], [0.1, 0.1, 0.1, 0.1]])
    loss = np.log([[2.0, 9, 4, 9], [9, 4, 9, 9], [9, 9, 9, 8]])
    width, perplexity = results.adaptive(confidence, loss, (4, 8, 32), 0.5)
    assert width == (4 + 8 + 4 + 32) / 4 and perplexity == pytest.approx((2 * 4 * 4 * 8) ** 0.25)
    assert results.adaptive(confidence, loss, (4, 8, 32), 2.0)[0] == 32


def test_tokens_one_by_one_give_the_models_own_loss(model, text):
    confidence, loss = results.each_token(model, text.test[[1, 2]])
    assert loss.mean(1) == pytest.approx(lm.losses(model, text.test[[1, 2]], [(3, d) for d in PLAN.dims]).mean(1))
    assert confidence.shape == loss.shape == (3, 12) and (confidence >= 1 / 20).all() and (confidence <= 1).all()


def test_training_learns_and_is_repeatable(text):
    repeated = text._replace(train=torch.arange(3000) % 20)
    plan = replace(PLAN, steps=80)
    told: list[int] = []
    once, again = (lm.train("nested", plan, repeated, 2e-2, 0, lambda step, _: told.append(step)) for _ in range(2))
    assert torch.equal(once.table, again.table) and told == list(range(8, 81, 8)) * 2
    rows = (torch.arange(7) + torch.arange(5)[:, None]) % 20
    assert lm.losses(once, rows, [(3, 8)]).mean() < 1 < lm.losses(lm.LanguageModel(plan), rows, [(3, 8)]).mean()


def test_the_checks_say_what_is_wrong():
    for wrong, message in [(np.mean, "this power"), (np.exp, "one number"), (lambda x: np.exp(x).mean(), "first")]:
        assert message in str(checks.perplexity(wrong)) and not checks.perplexity(wrong)

    def nested(states, table, bias, targets, dims, *, last=False, mean=False, share=1.0):
        each = []
        for m in dims:
            logits = states[:, :m] @ table[:, :m].T + share * bias
            each.append(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(targets)), targets]))
        return each[-1] if last else np.mean(each) if mean else np.sum(each)

    assert checks.nested_loss(nested)
    for wrong, message in [
        (lambda *a: nested(*a, last=True), "only the last"),
        (lambda *a: nested(*a[:4], a[4][:1]), "inside of the loop"),
        (lambda *a: nested(*a, mean=True), "add them up"),
        (lambda *a: nested(*a, share=0), "bias is missing"),
        (lambda *a: None, "one number"),
    ]:
        assert message in str(checks.nested_loss(wrong)) and not checks.nested_loss(wrong)

    def sure(p, threshold=0.6):
        return np.append(p[:-1].max(-1) >= threshold, np.ones((1, p.shape[1]), bool), 0).argmax(0)

    assert checks.stop(sure)
    for wrong, message in [
        (lambda p: np.zeros(p.shape[1]), "same width"),
        (lambda p: p.max(-1).argmax(0), "one token at a time"),
        (lambda p: 0, "shape"),
        (lambda p: np.full(p.shape[1], 7), "whole number"),
        (lambda p: np.where(p[0].argmax(-1) % 2, 0, 2), "tossing a coin"),
    ]:
        assert message in str(checks.stop(wrong)) and not checks.stop(wrong)
