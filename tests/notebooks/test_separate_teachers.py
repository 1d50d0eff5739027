"""The separate models' scores as targets (evidence.separate_teachers), against a loop in float64."""

from __future__ import annotations

import numpy as np
import torch
from evidence.separate_teachers import TEACHERS, Teachers

from mrl_tutorial.losses import Batch


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
