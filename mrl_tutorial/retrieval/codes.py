"""Vectors as int8 codes: a byte a coordinate, plain or after a random rotation."""

from __future__ import annotations

import numpy as np

from mrl_tutorial.retrieval.exact import BLOCK, inverse_lengths


def quantize(documents: np.ndarray, dim: int, *, unit: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Prefixes of documents (N, D) as int8 codes (N, dim) and scale (dim,) float32: vector = codes * scale.

    unit: of prefixes brought to unit length. scale: each coordinate's largest absolute value / 127.
    """

    def cut(a: int) -> np.ndarray:
        x = np.asarray(documents[a : a + BLOCK, :dim], dtype=np.float32)
        return x * inverse_lengths(x)[:, None] if unit else x

    largest = np.zeros(dim, dtype=np.float32)
    for a in range(0, len(documents), BLOCK):
        np.maximum(largest, np.abs(cut(a)).max(0), out=largest)
    scale = (np.where(largest > 0, largest, largest.max() or 1) / 127).astype(np.float32)
    codes = np.empty((len(documents), dim), dtype=np.int8)
    for a in range(0, len(documents), BLOCK):
        codes[a : a + BLOCK] = np.rint(cut(a) / scale)
    return codes, scale


def quantize_turned(documents: np.ndarray, *, unit: bool = True, seed: int = 0) -> tuple[np.ndarray, ...]:
    """int8 codes of documents (N, D) after a random rotation: codes (N, D), scale (D,) float32, rotation (D, D).

    Turned, all coordinates are alike and nearly normal, whatever they were before (after PCA, say, their spreads differ
    widely), so that one step fits a whole vector. unit: the step is a vector's largest absolute value / 127, finer than
    one that all vectors share; codes * scale then is the vector up to its length, which cosines do not see. Without
    `unit` each coordinate has a step, as in `quantize`. The idea is that of rotations before quantisation in J. Gao and
    C. Long, RaBitQ (arXiv 2405.12497).
    """
    width = documents.shape[1]
    turn, upper = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))
    turn = (turn * np.sign(np.diag(upper))).astype(np.float32)
    if not unit:
        turned = np.empty(documents.shape, dtype=np.float32)
        for a in range(0, len(documents), BLOCK):
            turned[a : a + BLOCK] = np.asarray(documents[a : a + BLOCK], dtype=np.float32) @ turn
        return *quantize(turned, width, unit=False), turn
    codes = np.empty(documents.shape, dtype=np.int8)
    for a in range(0, len(documents), BLOCK):
        x = np.asarray(documents[a : a + BLOCK], dtype=np.float32) @ turn
        largest = np.abs(x).max(1, keepdims=True)
        codes[a : a + BLOCK] = np.rint(x * np.divide(127, largest, out=np.zeros_like(largest), where=largest > 0))
    return codes, np.ones(width, dtype=np.float32), turn
