"""Controls in a sweep: fitted on what no query asks for, and what training starts from; values for each item."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.evaluation.statistics import paired
from mrl_tutorial.models.heads import Heads
from mrl_tutorial.training.controls import build, is_control
from mrl_tutorial.training.loop import train
from mrl_tutorial.training.sweep import sweep
from mrl_tutorial.training.sweep_config import SweepConfig
from mrl_tutorial.training.sweep_file import read_items, read_sweep
from tests.helpers.tiny import SENTENCES
from tests.training.test_sweep import BUDGET, classes, graded, retrieval

CELLS = 9


def test_names_of_controls():
    for name in ("plain", "whitened", "whitened:200+mapped", "closed-form+fixed-doc", "plain+fixed-doc"):
        assert is_control(name), name
    for name in ("closed-form:200", "whitening", "retrieval-2dmse+fixed-doc", "whitened:0", "plain+mapped"):
        assert not is_control(name), name


def test_whitening_reads_the_documents_that_no_query_asks_for(encoder):
    task = retrieval()
    asked = {d for q in task.splits["test"] for d in task.qrels[q]}
    rest = [text for d, text in task.corpus.items() if d not in asked]
    assert 0 < len(rest) < len(task.corpus)
    want = Heads(3, 32, "per-layer").whiten_on(encoder.encode_layers(rest, precision="fp32"))
    found = build(encoder, task, "whitened", precision="fp32").heads
    for layer in (1, 2, 3):  # a direction may point either way
        a, b = (heads.affine(layer)[0].numpy() for heads in (found, want))
        np.testing.assert_allclose(np.abs(a), np.abs(b), atol=0.02 * np.abs(b).max())
    few = build(encoder, task, "whitened:3", precision="fp32").heads
    assert not np.allclose(few.mean, found.mean)
    task.splits["test"].extend(task.splits["train"] + task.splits["dev"])
    with pytest.raises(InputError, match="none is left"):
        build(encoder, task, "whitened")


def test_pairs_in_closed_form_are_those_that_belong_together(encoder):
    def heads(anchors, positives):
        x, y = (encoder.encode_layers(texts, precision="fp32") for texts in (anchors, positives))
        return Heads(3, 32, "per-layer").standardize_on(np.concatenate([x, y], 1)).fit_pairs(x, y)

    even, odd = SENTENCES[::2], SENTENCES[1::2]
    cases = {
        "retrieval": (retrieval(), retrieval().pairs("train")),
        "classes": (classes(), (even[:-1] + odd[:-1], even[1:] + odd[1:])),
    }
    for name, (task, sides) in cases.items():
        found = build(encoder, task, "closed-form", precision="fp32").heads
        np.testing.assert_allclose(found.weight.detach(), heads(*sides).weight.detach(), atol=1e-3, err_msg=name)
    high = graded()
    high.splits["train"] = (*high.splits["test"][:2], np.array([1.0, 0.2, 0.85, 0.9, 0.1]))
    found = build(encoder, high, "closed-form", precision="fp32").heads
    sides = [[texts[i] for i in (0, 2, 3)] for texts in high.splits["train"][:2]]
    np.testing.assert_allclose(found.weight.detach(), heads(*sides).weight.detach(), atol=1e-3)


def test_controls_are_scored_once_with_a_value_for_each_item(encoder, tmp_path):
    out = tmp_path / "s.csv"
    names = ["whitened", "whitened:4", "closed-form", "closed-form+fixed-doc", "mrl"]
    frame = sweep(encoder, retrieval(), names, out=out, eval_tasks=[retrieval(), graded()], **BUDGET)
    assert frame.groupby("recipe").size().to_dict() == dict.fromkeys(["plain", *names], 2 * CELLS) | {"mrl": 4 * CELLS}
    untrained = frame[frame.recipe != "mrl"]
    assert set(untrained.steps) == {0} and untrained.lr.isna().all() and set(untrained.what) == {"none"}
    assert set(untrained[untrained.recipe != "plain"].heads) == {"per-layer"}
    fixed = build(encoder, retrieval(), "closed-form+mapped", precision="fp32")
    want = evaluate_grid(retrieval(), fixed, precision="fp32", fixed_document=True)
    found = read_items(out, "closed-form+fixed-doc", "toy", "ndcg@10")
    np.testing.assert_allclose(found[0], want.per_item, atol=1e-3)  # float16
    paired_heads = build(encoder, retrieval(), "closed-form", precision="fp32").heads
    assert (fixed.heads.weight[-1] == paired_heads.weight[-1]).all() and (
        fixed.heads.weight != paired_heads.weight
    ).any()
    for task, metric, items in (("toy", "ndcg@10", 4), ("graded", "spearman", 5)):
        ours, plain = (read_items(out, name, task, metric) for name in ("mrl", "plain"))
        assert ours.shape == (2, 3, 3, items) and plain.shape == (1, 3, 3, items)
        rows = frame[(frame.recipe == "mrl") & (frame.task == task) & (frame.layer == 3) & (frame.dim == 16)]
        base = frame[(frame.recipe == "plain") & (frame.task == task) & (frame.layer == 3) & (frame.dim == 16)]
        gap = paired(ours[:, 2, 1], plain[:, 2, 1])
        assert gap.mean == pytest.approx(rows.value.mean() - base.value.mean(), abs=2e-3)
    with pytest.raises(InputError, match="is not in"):
        read_items(out, "ese", "toy", "ndcg@10")
    (tmp_path / "s" / "mrl-1.npz").unlink()
    with pytest.raises(InputError, match="lacks the values of mrl, seed 1"):
        read_items(out, "mrl", "toy", "ndcg@10")


def test_controls_alone_need_no_training_split(encoder, tmp_path):
    task = retrieval()
    del task.splits["train"]
    assert len(sweep(encoder, task, ["whitened"], out=tmp_path / "s.csv", **BUDGET)) == 2 * CELLS


def test_the_learning_rate_is_chosen_on_dev_and_the_choice_is_kept(encoder, tmp_path, monkeypatch):
    from mrl_tutorial.training import sweep as room

    seen = []

    def counted(given, task, recipe, config, **more):
        seen.append((recipe.name, more["seed"], config.lr))
        return train(given, task, recipe, config, **more)

    monkeypatch.setattr(room, "train", counted)
    given = {**BUDGET, "lr": [1e-6, 0.01, 0.3], "cache": False}
    frame = sweep(encoder, retrieval(), ["mrl"], out=tmp_path / "s.csv", **given)
    dev, test = (frame[(frame.recipe == "mrl") & (frame.split == split)] for split in ("dev", "test"))
    means = dev.groupby("lr").value.mean()
    assert list(means.index) == [1e-6, 0.01, 0.3] and set(dev.layer) == {3} and set(dev.seed) == {0}
    assert set(test.lr) == {means.idxmax()} and set(test.seed) == {0, 1}
    assert not set(dev.task) & set(test.task)  # no reader takes one for the other
    assert [lr for _, seed, lr in seen if seed == 0][:3] == [1e-6, 0.01, 0.3] and seen[-1] == ("mrl", 1, means.idxmax())
    assert len(seen) == 4  # the best one is not trained again
    alone = sweep(encoder, retrieval(), ["mrl"], out=tmp_path / "t.csv", **{**given, "lr": means.idxmax()})
    np.testing.assert_allclose(alone[alone.recipe == "mrl"].value, test.value, atol=1e-6)
    before = len(seen)
    sweep(encoder, retrieval(), ["mrl"], out=tmp_path / "s.csv", **given)
    assert len(seen) == before
    with pytest.raises(InputError, match="dev chooses"):
        SweepConfig(lr=[0.1, 0.2], split="dev")


def test_a_run_keeps_its_learning_curve(encoder, tmp_path):
    out, rates = tmp_path / "s.csv", [0.1, 0.3]
    given = {**BUDGET, "lr": rates, "cache": False, "seeds": 1}
    alone = sweep(encoder, retrieval(), ["mrl"], out=tmp_path / "alone.csv", **given)
    frame = sweep(encoder, retrieval(), ["mrl"], out=out, curve=BUDGET["steps"], **given)
    np.testing.assert_array_equal(frame.value, alone.value)  # looking does not change what is seen
    dev = frame[(frame.recipe == "mrl") & (frame.split == "dev")].groupby("lr").value.mean()
    for rate in rates:
        with np.load(out.with_suffix("") / f"mrl-{str(rate).replace('.', '-')}-0.npz") as kept:
            steps, means = kept["curve"].T
        assert steps.tolist() == list(range(1, BUDGET["steps"] + 1))
        assert means[-1] == pytest.approx(dev[rate], abs=1e-6) and len(set(means)) > 1


@pytest.mark.parametrize("start", ["whitened", "closed-form"])
def test_full_training_starts_from_a_control(encoder, tmp_path, start):
    begun = build(encoder, retrieval(), start, precision="fp32")
    before, weights = begun.fingerprint(), {k: v.clone() for k, v in begun.heads.state_dict().items()}
    given = {"what": "full", "steps": 1, "batch_size": 4, "precision": "fp32", "cache": False}
    still = train(begun, retrieval(), "all-cells", lr=1e-12, **given)
    texts = SENTENCES[:4]
    np.testing.assert_allclose(
        still.encoder.encode_layers(texts, precision="fp32"), begun.encode_layers(texts, precision="fp32"), atol=1e-3
    )
    moved = train(begun, retrieval(), "all-cells", lr=0.01, **{**given, "steps": 5}).encoder
    assert not np.allclose(moved.heads.weight, weights["weight"], atol=1e-3)
    assert moved.with_heads(None).fingerprint() != encoder.fingerprint()
    assert begun.fingerprint() == before and all((begun.heads.state_dict()[k] == v).all() for k, v in weights.items())
    frame = sweep(
        encoder, retrieval(), ["mrl"], out=tmp_path / "s.csv", start=start,
        **{**BUDGET, "what": "full", "steps": 1, "lr": 1e-12, "seeds": 1},
    )  # fmt: skip
    want = evaluate_grid(retrieval(), begun, precision="fp32").values.ravel()
    np.testing.assert_allclose(frame[frame.recipe == "mrl"].value, want, atol=1e-6)
    assert read_sweep(tmp_path / "s.csv")[1]["start"] == start


def test_a_start_that_cannot_be(encoder):
    with pytest.raises(InputError, match="start 'zero' is unknown"):
        SweepConfig(start="zero")
    with pytest.raises(InputError, match="heads per-layer"):
        SweepConfig(what="heads", start="whitened")
    with pytest.raises(InputError, match="layer 0, which has none"):
        train(encoder.with_heads(Heads(3, 32)), retrieval(), "2dmse-v1-st", what="full", steps=1, batch_size=4)
