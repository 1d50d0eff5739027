"""Vectors as int8 codes: a byte a coordinate, plain or after a random rotation."""

from __future__ import annotations

import numpy as np

from .topk import BLOCK, inverse_lengths


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
    """As `quantize` at full width, after a random rotation (D, D): codes, scale, and the rotation.

    A coordinate's scale is set by its largest value, and coordinates of uneven spread (after PCA, say) have extreme
    ones. Turned, all are alike and nearly normal, so that the same 8 bits round finer. The idea is that of rotations
    before quantisation in J. Gao and C. Long, RaBitQ (arXiv 2405.12497).
    """
    width = documents.shape[1]
    turn, upper = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))
    turn = (turn * np.sign(np.diag(upper))).astype(np.float32)
    turned = np.empty(documents.shape, dtype=np.float32)
    for a in range(0, len(documents), BLOCK):
        turned[a : a + BLOCK] = np.asarray(documents[a : a + BLOCK], dtype=np.float32) @ turn
    return *quantize(turned, width, unit=unit), turn
