"""The separate models' scores as targets (evidence.separate_teachers), against a loop in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from evidence import separate_teachers
from evidence.separate_teachers import CONFIG, TEACHERS, Teachers, taught

from mrl_tutorial.losses import Batch
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.tasks.types import STSTask
from mrl_tutorial.training import loop
from mrl_tutorial.training.loop import train
from mrl_tutorial.training.trainables import make_batch
from tests.helpers.tiny import SENTENCES, save_tiny


def test_a_step_meets_the_teachers_of_its_own_texts(tmp_path, monkeypatch):
    """What a step's batch is compared with are the teacher's vectors of the very texts that the loop takes."""
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    steps, cells = 3, {(1, 8): ("separate:1,8", "any"), (3, 16): ("separate:3,16", "any")}
    monkeypatch.setattr(separate_teachers, "CONFIG", replace(CONFIG, steps=steps, batch_size=4))
    monkeypatch.setattr(separate_teachers, "TEACHERS", cells)
    monkeypatch.setattr(separate_teachers, "best_rate", lambda sweep, recipe: 1e-2)
    encoder = Encoder.load(save_tiny(tmp_path / "model"))
    pairs = (SENTENCES[:5], SENTENCES[5:], np.array([1.0, 0.2, 0.4, 0.9, 0.1]))
    task = STSTask("graded", "made up", {"train": pairs, "dev": pairs})
    teachers, seen = Teachers(encoder, task), []

    def made(model, data, chosen, **options):
        seen.append((teachers.now, data.sides(chosen)))
        return make_batch(model, data, chosen, **options)

    monkeypatch.setattr(loop, "make_batch", made)
    run = taught(teachers)(3, 32)
    train(encoder, task, run, replace(CONFIG.training(1e-3), steps=steps, batch_size=4, seed=5))
    steps_of_it = seen[-steps:]  # before that the teachers were trained
    assert len({str(sides) for _, sides in steps_of_it}) > 1
    for now, sides in steps_of_it:
        for (layer, dim), (name, _) in cells.items():
            own = train(encoder, task, name, replace(CONFIG.training(1e-2), steps=steps, batch_size=4, seed=5)).encoder
            for vectors, texts in zip(now[layer, dim], sides, strict=True):
                wanted = own.encode_layers(list(texts), layers=[layer], precision="fp32", cache=False)[0][:, :dim]
                np.testing.assert_allclose(vectors, wanted, atol=1e-5)


def test_each_cell_is_pulled_toward_its_own_model():
    rng, size = np.random.default_rng(0), 3
    made = Teachers.__new__(Teachers)
    made.now = {
        cell: [torch.from_numpy(rng.normal(size=(size, cell[1])).astype(np.float32)) for _ in range(2)]
        for cell in TEACHERS
    }
    queries, documents = (torch.from_numpy(rng.normal(size=(6, size, 384)).astype(np.float32)) for _ in range(2))
    batch = Batch(queries, documents, temperature=0.5)
    for layers, dims in (([1], [8, 16, 384]), ([1, 6], [8]), ([5], [256])):
        found = made.scores(batch, layers, dims)
        for i, layer in enumerate(layers):
            for j, dim in enumerate(dims):
                own = queries[layer - 1, :, :dim], documents[layer - 1, :, :dim]
                assert abs(float(found[i, j]) - by_loop(made.now[layer, dim], own, 0.5)) < 1e-5


def by_loop(teacher, student, temperature):
    total = 0.0
    for i in range(len(teacher[0])):
        right, own = (probabilities(*side, i, temperature) for side in (teacher, student))
        total += sum(p * np.log(p / q) for p, q in zip(right, own, strict=True))
    return total / len(teacher[0])


def probabilities(queries, documents, i, temperature):
    queries, documents = np.float64(queries), np.float64(documents)
    cosines = [queries[i] @ d / np.linalg.norm(queries[i]) / np.linalg.norm(d) for d in documents]
    raised = np.exp(np.array(cosines) / temperature)
    return raised / raised.sum()
