"""What a search can work with: stages that lead somewhere, ids that differ, vectors that are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.indexes import ENGINES, RERANKING
from mrl_tutorial.retrieval.stages import Stage

LARGEST = 1e15  # of a coordinate: float32 cannot hold the squares of numbers far beyond
BLOCK = 2**15  # documents checked at a time


def check_stages(stages: Sequence[Stage], n_layers: int, width: int) -> tuple[Stage, ...]:
    """`stages` with their layers filled in. Raises InputError: none, a layer, dimension or engine that does not exist,
    an engine that cannot rerank, a depth that grows or is missing."""
    if not stages:
        raise InputError("no stages: give at least one")
    checked: list[Stage] = []
    left = None
    for i, stage in enumerate(stages):
        layer = n_layers if stage.layer is None else stage.layer
        asked = layer if stage.query_layer is None else stage.query_layer
        for number in (layer, asked):
            if number != int(number) or not 1 <= number <= n_layers:
                raise InputError(f"layer {number} does not exist: these documents have layers 1 to {n_layers}")
        if stage.dim != int(stage.dim) or not 1 <= stage.dim <= width:
            raise InputError(f"dimension {stage.dim} does not exist: these vectors have 1 to {width} coordinates")
        if stage.engine not in (known := RERANKING if i else ENGINES):
            raise InputError(f"engine {stage.engine!r} cannot be stage {i + 1}: choose one of {', '.join(known)}")
        if stage.engine == "int8-rotated" and stage.dim != width:
            raise InputError(f"int8-rotated scores at full width, {width}, not at {stage.dim}: take int8 there")
        if stage.depth is None and i < len(stages) - 1:
            raise InputError(f"stage {i + 1} has no depth: only the last stage may leave it to the search")
        if stage.depth is not None and (stage.depth < 1 or (left is not None and stage.depth > left)):
            raise InputError(
                f"stage {i + 1} hands on {stage.depth}: give a depth of 1 or more, and no more than the stage before"
            )
        left = stage.depth
        checked.append(replace(stage, layer=layer, query_layer=asked))
    return tuple(checked)


def check_ids(ids: Sequence[str], n: int) -> None:
    """Raises InputError unless there are `n` ids, all different."""
    if len(ids) != n:
        raise InputError(f"{len(ids)} ids for {n} documents: give one each")
    if len(set(ids)) != n:
        raise InputError("the corpus repeats a document id: ids must be unique")


def check_vectors(x: np.ndarray, what: str) -> None:
    """Raises InputError naming the first row of x (N, D) that holds NaN, infinity, or what float32 cannot square."""
    for a in range(0, len(x), BLOCK):
        block = np.asarray(x[a : a + BLOCK])
        if not max(block.max(), -block.min()) < LARGEST:  # so written, NaN is caught as well
            bad = a + int(np.flatnonzero(~(np.abs(block) < LARGEST).all(axis=1))[0])
            if np.isfinite(x[bad]).all():
                raise InputError(f"{what} hold numbers beyond {LARGEST:g} (row {bad}): bring vectors to unit length")
            raise InputError(f"{what} hold NaN or infinity (row {bad}): repair or drop it")
