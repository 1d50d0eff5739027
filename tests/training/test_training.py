"""The training loop: same arguments same run, resume, interruption, and errors that name the cell."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from mrl_tutorial.errors import InputError
from mrl_tutorial.models import layers as bb
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.tasks.load import load_task
from mrl_tutorial.tasks.types import ClassificationTask, VectorsTask
from mrl_tutorial.training import trainables
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.examples import Examples, examples, schedule
from mrl_tutorial.training.loop import Curve, NonFiniteLoss, train
from tests.helpers.tiny import SENTENCES, WORDS


def pairs_task(n=40, negatives=0):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        words = rng.choice(WORDS[2:], 4, replace=False)
        extra = [f"a {w} the" for w in rng.choice(WORDS[2:], negatives)]
        rows.append(
            (f"{' '.join(words[:3])} {WORDS[i % 20]}", f"the {' '.join(words[1:])} {WORDS[(i * 7) % 20]}", *extra)
        )
    return SimpleNamespace(name="toy", kind="pairs", splits={"train": rows})


OPTIONS = {"steps": 8, "batch_size": 6, "precision": "fp32"}


def parameters(result, what):
    module = result.encoder.heads if what == "heads" else result.encoder.model
    return torch.cat([p.flatten() for p in module.state_dict().values()])


@pytest.mark.parametrize("what,heads", [("heads", "shared"), ("heads", "per-layer"), ("full", "shared")])
def test_loss_falls_and_the_given_encoder_is_untouched(encoder, what, heads):
    before = encoder.fingerprint()
    result = train(
        encoder, pairs_task(), "all-cells", what=what, heads=heads, steps=40, batch_size=8, lr=3e-3, cache=False
    )
    assert np.mean(result.history[-8:]) < 0.9 * np.mean(result.history[:8])
    assert encoder.fingerprint() == before and encoder.heads is None
    assert result.encoder.fingerprint() != before
    assert result.encoder.trained_dims == (8, 16, 32) and result.finished and result.steps == 40


@pytest.mark.parametrize("what", ["heads", "full"])
@pytest.mark.parametrize("recipe", ["all-cells", "2dmse-v1"])
@pytest.mark.parametrize("stop", ["interrupt", "cancel"])
def test_resume_gives_what_an_uninterrupted_run_gives(encoder, what, recipe, stop):
    task = pairs_task()
    whole = train(encoder, task, recipe, what=what, cache=False, **OPTIONS)

    def at_three(step, steps, loss):
        if step == 3 and stop == "interrupt":
            raise KeyboardInterrupt
        return step != 3

    if stop == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            train(encoder, task, recipe, what=what, on_step=at_three, **OPTIONS)
    else:
        partial = train(encoder, task, recipe, what=what, on_step=at_three, **OPTIONS)
        assert not partial.finished and partial.steps == 3
        assert np.isfinite(partial.encoder.encode(SENTENCES)).all()  # usable
    steps = []
    resumed = train(encoder, task, recipe, what=what, on_step=lambda s, n, loss: steps.append(s), **OPTIONS)
    assert steps == [4, 5, 6, 7, 8]
    assert torch.equal(parameters(resumed, what), parameters(whole, what))
    assert resumed.history == whole.history
    again = train(encoder, task, recipe, what=what, on_step=lambda *a: pytest.fail("trained again"), **OPTIONS)
    assert torch.equal(parameters(again, what), parameters(whole, what))


@pytest.mark.parametrize("what", ["heads", "full"])
def test_an_interrupt_in_the_middle_of_an_update_waits_for_its_end(encoder, what, request):
    # a process that was started in the background ignores interrupts
    request.addfinalizer(partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    whole = train(encoder, pairs_task(), "all-cells", what=what, cache=False, **OPTIONS)
    seen = []

    def interrupt(*_):
        seen.append(1)
        if len(seen) == 3:  # the weights have moved, the step is not counted yet
            signal.raise_signal(signal.SIGINT)

    handle = register_optimizer_step_post_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(encoder, pairs_task(), "all-cells", what=what, **OPTIONS)
    finally:
        handle.remove()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = train(encoder, pairs_task(), "all-cells", what=what, **OPTIONS)
    assert resumed.history == whole.history and len(seen) == 3
    assert torch.equal(parameters(resumed, what), parameters(whole, what))


def test_texts_that_are_known_are_not_encoded_again(encoder, monkeypatch):
    task = pairs_task(negatives=1)
    data = examples(task)
    known = {text: encoder.encode_layers([text], precision="fp32", cache=False)[:, 0] for text in data.anchors}
    want = train(encoder, task, "all-cells", cache=False, **OPTIONS)
    asked, real = [], Encoder.encode_layers
    monkeypatch.setattr(
        Encoder, "encode_layers", lambda self, texts, **k: asked.extend(texts) or real(self, texts, **k)
    )
    got = train(encoder, task, "all-cells", known=known, cache=False, **OPTIONS)
    np.testing.assert_allclose(got.history, want.history, rtol=1e-4)
    assert asked and len(set(asked)) == len(asked) and not set(asked) & set(known)
    others = {text: np.zeros((3, 32), np.float32) for text in known}
    assert train(encoder, task, "all-cells", known=others, cache=False, **OPTIONS).history != got.history


def test_a_setting_that_does_not_exist_is_named(encoder):
    with pytest.raises(InputError, match=r"no setting 'stepz': choose from .*steps"):
        train(encoder, pairs_task(), "mrl", stepz=3)
    config = TrainConfig(steps=2, cache=False)
    assert train(encoder, pairs_task(), "mrl", config, batch_size=5).steps == 2
    assert config == TrainConfig(steps=2, cache=False)


def test_other_arguments_are_another_run(encoder):
    task = pairs_task()
    first = train(encoder, task, "all-cells", **OPTIONS)
    for changed in ({"seed": 1}, {"lr": 5e-4}, {"temperature": 0.1}, {"heads": "per-layer"}, {"batch_size": 5}):
        other = train(encoder, task, "all-cells", **{**OPTIONS, **changed})
        assert other.history != first.history
    assert train(encoder, task, "mrl", **OPTIONS).history != first.history


def test_a_damaged_checkpoint_is_started_again(encoder, tmp_path):
    task = pairs_task()
    first = train(encoder, task, "mrl", **OPTIONS)
    (file,) = (tmp_path / "cache" / "training").glob("*/run.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    steps = []
    again = train(encoder, task, "mrl", on_step=lambda s, n, loss: steps.append(s), **OPTIONS)
    assert steps[0] == 1 and again.history == first.history


def test_first_step_loss_is_the_recipe_on_plain_embeddings(encoder):
    """The first loss, by hand: mean cross-entropy of cosine / 0.05 over every prefix, in float64."""
    task = pairs_task(negatives=2)
    data = examples(task)
    result = train(encoder, task, "mrl", what="full", steps=1, batch_size=6, precision="fp32", cache=False)
    chosen = schedule(data, 6, 1, 0)[0]
    queries = [data.anchors[i] for i in chosen]
    documents = [data.positives[i] for i in chosen] + [t for i in chosen for t in data.negatives[i]]
    total = 0.0
    for d in (8, 16, 32):
        q, p = (
            encoder.encode_layers(t, precision="fp32", cache=False)[-1, :, :d].astype(np.float64)
            for t in (queries, documents)
        )
        q, p = q / np.linalg.norm(q, axis=1, keepdims=True), p / np.linalg.norm(p, axis=1, keepdims=True)
        scores = q @ p.T / 0.05
        total += np.mean([np.log(np.exp(s - s[i]).sum()) for i, s in enumerate(scores)])
    assert result.history[0] == pytest.approx(total, rel=1e-5)


def test_separate_runs_and_trains_no_deeper_block(encoder):
    result = train(encoder, pairs_task(), "separate:2,16", what="full", cache=False, **OPTIONS)
    before = bb.find_blocks(encoder.model)
    after = bb.find_blocks(result.encoder.model)
    changed = [
        any(not torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
        for a, b in zip(before, after, strict=True)
    ]
    assert changed == [True, True, False]
    for p, q in zip(encoder.model.embeddings.parameters(), result.encoder.model.embeddings.parameters(), strict=True):
        assert torch.equal(p, q)


def test_out_is_a_model_folder(encoder, tmp_path):
    result = train(encoder, pairs_task(), "mrl", out=tmp_path / "model", **OPTIONS)
    again = Encoder.load(tmp_path / "model")
    assert np.array_equal(again.encode(SENTENCES), result.encoder.encode(SENTENCES))
    assert (tmp_path / "model" / "train.json").exists()
    (tmp_path / "model" / "mrl_tutorial.json").unlink()
    with pytest.raises(InputError, match="not a saved model"):
        train(encoder, pairs_task(), "mrl", out=tmp_path / "model", **OPTIONS)


def test_non_finite_loss_names_step_term_and_cell(encoder):
    steps = []

    def breaks(batch, layers, dims):
        table = batch.query_rows(layers).mean() + torch.zeros(len(layers), len(dims))
        if len(steps) == 2:
            table[layers.index(2), dims.index(16)] = float("nan")
        steps.append(1)
        return table

    recipe = Recipe("mine", {"main": np.ones((3, 3)), breaks: np.ones((3, 3))})
    with pytest.raises(NonFiniteLoss, match=r"step 3: term 'breaks' is nan in cell \(layer 2, dimension 16\)"):
        train(encoder, pairs_task(), recipe, **OPTIONS)


@pytest.mark.parametrize("target", ["pca", "code-pca"])
def test_principal_axes_of_what_is_not_a_number_are_a_loss_that_diverged(encoder, target):
    ones = np.ones((3, 2))
    recipe = Recipe("pulled", {"main": ones, "align": ones}, dims=(8, 32), options={"align": {"target": target}})
    with pytest.raises(NonFiniteLoss, match=r"step [23]: .*linalg.*learning rate"):
        train(encoder, pairs_task(), recipe, what="full", lr=1e30, cache=False, **OPTIONS)


def test_classification_trains_nested_heads_along(encoder):
    texts = [f"{WORDS[2 + i % 4]} {WORDS[(i * 5) % 20]}" for i in range(60)]
    task = SimpleNamespace(name="toy", kind="classification", classes=list("abcd"),
                           splits={"train": (texts, np.arange(60) % 4)})  # fmt: skip
    result = train(encoder, task, "mrl", steps=60, batch_size=16, lr=1e-2, cache=False)
    assert np.mean(result.history[-5:]) < 0.5 * result.history[0]
    logits = result.classifier(torch.from_numpy(result.encoder.encode_layers(texts)[-1:]), [3], [8, 16, 32])
    assert (logits[0, -1].argmax(-1).numpy() == np.arange(60) % 4).mean() > 0.9


def test_schedule_is_seeded_covers_everything_and_never_repeats_a_text():
    positives = [f"p{i // 3}" for i in range(30)]  # three anchors share each positive
    data = Examples([f"a{i}" for i in range(30)], positives)
    batches = schedule(data, 8, 12, seed=3)
    assert all((a == b).all() for a, b in zip(batches, schedule(data, 8, 12, seed=3), strict=True))
    assert any((a != b).any() for a, b in zip(batches, schedule(data, 8, 12, seed=4), strict=True))
    for batch in batches:
        assert len(batch) == 8 and len({positives[i] for i in batch}) == 8
    counts = np.bincount(np.concatenate(batches), minlength=30)
    assert counts.min() >= 2 and counts.max() <= 5
    # more wanted than there are different positives: smaller batches, not false negatives
    assert all(len({positives[i] for i in b}) == len(b) <= 10 for b in schedule(data, 20, 3, 0))


def test_a_negative_is_not_what_another_one_of_its_batch_asks_for():
    anchors, positives = list("abcdef"), list("uvwxyz")
    negatives = [[p, "n"] for p in "vuxwzy"]  # the positive of a neighbor, and one that all share
    data = Examples(anchors, positives, negatives)
    batches = schedule(data, 3, 40, 0)
    for batch in batches:
        told = {anchors[i] for i in batch} | {positives[i] for i in batch}
        assert not told & {text for i in batch for text in negatives[i]}
    assert {len(batch) for batch in batches} == {3} and {int(i) for batch in batches for i in batch} == set(range(6))


@pytest.mark.parametrize("stop", [None, "between", "inside"])
def test_a_learning_curve_outlives_its_run(encoder, stop):
    def scored(encoder):
        if stop == "inside" and len(seen) == 1:
            seen.append(0)
            raise KeyboardInterrupt
        seen.append(1)
        return np.float32(sum(seen))

    def given(key="mine", **more):
        curve = Curve(2, scored, key)
        return curve, {"task": pairs_task(), "recipe": "mrl", "steps": 6, "batch_size": 4, "curve": curve, **more}

    seen: list[int] = []
    curve, more = given(on_step=lambda step, *_: step != 4 or stop != "between")
    with pytest.raises(KeyboardInterrupt) if stop == "inside" else nullcontext():
        train(encoder, **more)
    assert [step for step, _ in curve.points] == {None: [2, 4, 6], "between": [2, 4], "inside": [2]}[stop]
    again, more = given()
    train(encoder, **more)
    assert again.points == [(2, 1.0), (4, 2.0), (6, 3.0)] and sum(seen) == 3
    for key in ("another", None):  # other scores, and scores that nobody can tell apart, are measured
        other, more = given(key)
        train(encoder, **more)
        assert other.points[0][1] > 3 and len(other.points) == 3


def test_bad_arguments_fail_before_any_encoding(encoder, monkeypatch):
    monkeypatch.setattr(trainables.Encoder, "encode_layers", lambda *a, **k: pytest.fail("encoded"))
    for options, message in [
        ({"what": "all"}, "what 'all'"),
        ({"heads": "none"}, "heads 'none'"),
        ({"start": "pairs"}, "start 'pairs'"),
        ({"steps": 0}, "steps 0"),
        ({"batch_size": 1}, "batch size 1"),
        ({"lr": -1.0}, "learning rate -1.0"),
        ({"temperature": 0.0}, "temperature 0.0"),
        ({"precision": "int8"}, "int8"),
        ({"split": "holdout"}, "no split 'holdout'"),
    ]:
        with pytest.raises(InputError, match=message):
            train(encoder, pairs_task(), "mrl", **{**OPTIONS, **options})
    with pytest.raises(InputError, match="unknown recipe"):
        train(encoder, pairs_task(), "mrrl", **OPTIONS)
    with pytest.raises(InputError, match="at least 2"):
        train(encoder, pairs_task(1), "mrl", **OPTIONS)
    table = Recipe("table", {"main": np.ones((4, 1))}, layers=(0, 1, 2, 3), dims=(8,), embeddings=True)
    labels = ClassificationTask("classes", "made up", {"train": (SENTENCES, np.arange(10) % 2)}, ["even", "odd"])
    with pytest.raises(InputError, match="no classifier reads"):
        train(encoder, labels, table, what="full", **OPTIONS)
    labeled = load_task("digits")  # vectors as well
    for vectors in (labeled, VectorsTask("own", "made up", labeled.splits["all"][0][None], np.arange(9))):
        with pytest.raises(InputError, match=f"{vectors.name} holds vectors, not texts"):
            train(encoder, vectors, "mrl", **OPTIONS, **({"split": "all"} if vectors is labeled else {}))
