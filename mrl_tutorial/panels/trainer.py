"""Heads within a time: how many steps fit is measured, so that the learning rate comes down just as time runs out."""

from __future__ import annotations

import time
from typing import Any

from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.job import Report
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.loop import train
from mrl_tutorial.training.trainables import Known

BATCH = 128
TRIAL = 6  # steps that are timed first


class _Canceled(Exception):
    """Leaves the encoding when the reader cancels; training itself ends by its own answer."""


def train_for(
    encoder: Encoder,
    task: Any,
    recipe: str | Recipe,
    heads: str,
    seconds: float,
    report: Report,
    known: Known | None = None,
) -> Encoder | None:
    """Train `heads` ("shared" or "per-layer") on the task's training split for about `seconds`, encoding excluded.

    report(share, label) -> False cancels: what has been trained is returned, None where that is nothing. known: as in
    `train`. A machine that is busier than in the trial may take up to twice the time. Raises InputError as in `train`.
    """

    def encoding(done: int, total: int, label: str) -> None:
        if label.startswith("encoding") and not report(done / total, f"{label} {total:,} texts, once"):
            raise _Canceled

    config = TrainConfig(heads=heads, batch_size=BATCH, cache=False)
    try:
        trial = train(encoder, task, recipe, config, known=known, progress=encoding, steps=TRIAL)
    except _Canceled:
        return None
    # the first step pays for what is made once; the others tell what a step costs
    steps = max(10, round(seconds / (trial.seconds / TRIAL)))
    began = time.monotonic()

    def on_step(step: int, total: int, loss: float) -> bool:
        left = (time.monotonic() - began) / step * (total - step)
        going = report(step / total, f"training: step {step} of {total}, loss {loss:.2f}, {left:.0f} s left")
        return going and time.monotonic() - began < 2 * seconds

    result = train(encoder, task, recipe, config, known=known, progress=lambda *_: None, on_step=on_step, steps=steps)
    return result.encoder
