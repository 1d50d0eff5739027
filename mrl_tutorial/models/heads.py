"""Linear heads on frozen layer embeddings: the fast way to make early layers and short prefixes useful."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mrl_tutorial import files
from mrl_tutorial.errors import InputError

if TYPE_CHECKING:
    from mrl_tutorial.models.encoder import Encoder

KINDS = ("shared", "per-layer")
SHRINKAGE = 0.1  # of a covariance; the best on the dev queries of pydocs, for 200 texts as for 5,000


class Heads(nn.Module):
    """y_l = z_l + z_l W, z_l the standardized embedding of layer l; one W for all layers, or one for each.

    Cf. Matryoshka-Adaptor (arXiv 2407.20243). W starts at zero, so that an untrained head only standardizes.
    Input and output (L, ..., D), rows being layers 1..L. Raises InputError for an unknown kind.

    >>> x = np.random.default_rng(0).normal(5, 2, (3, 100, 8))  # 3 layers, 100 texts, 8 dimensions
    >>> y = Heads(3, 8).standardize_on(x).apply_to(x)
    >>> bool(np.abs(y.mean(1)).max() < 1e-5), bool(np.abs(y.std(1, ddof=1) - 1).max() < 1e-5)
    (True, True)
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_layers: int, width: int, kind: str = "shared") -> None:
        super().__init__()
        if kind not in KINDS:
            raise InputError(f"heads {kind!r} are unknown: choose shared or per-layer")
        self.kind, self.n_layers, self.width = kind, n_layers, width
        self.weight = nn.Parameter(torch.zeros(1 if kind == "shared" else n_layers, width, width))
        self.register_buffer("mean", torch.zeros(n_layers, width))
        self.register_buffer("scale", torch.ones(n_layers, width))

    def standardize_on(self, embeddings: np.ndarray | Tensor) -> Heads:
        """Take mean and standard deviation of each layer's coordinates from (L, N, D); returns itself."""
        for layer, x in enumerate(embeddings):  # a layer at a time: the array may be a memory map
            rows = torch.from_numpy(np.array(x, dtype=np.float32))
            self.mean[layer], self.scale[layer] = rows.mean(0), rows.std(0).clamp(min=1e-6)
        return self

    @torch.no_grad()
    def fit_pairs(self, anchors: np.ndarray, positives: np.ndarray, shrinkage: float = 0.3) -> Heads:
        """Closed-form heads: W takes the directions in which a text and its partner agree, strongest first.

        anchors, positives: (L, N, D), partners row by row. Symmetric canonical correlation analysis of the standardized
        vectors: W + I = V diag(sqrt(correlation)), V the generalized eigenvectors of the cross-covariance against the
        covariance, which is shrunk by `shrinkage` toward a multiple of the identity. Shared heads take the mean
        covariances over the layers. Returns itself.
        """
        own, cross = [], []
        for layer, pair in enumerate(zip(anchors, positives, strict=True)):
            q, p = (self._standardized(x, layer) for x in pair)  # (N, D)
            q, p = q - q.mean(0), p - p.mean(0)
            own.append((q.T @ q + p.T @ p) / (2 * len(q)))
            cross.append((q.T @ p + p.T @ q) / (2 * len(q)))
        if self.kind == "shared":
            own, cross = [np.mean(own, 0)], [np.mean(cross, 0)]
        identity = np.eye(self.width)
        for row, (c, k) in enumerate(zip(own, cross, strict=True)):
            correlation, vectors = scipy.linalg.eigh(k, c + shrinkage * np.trace(c) / self.width * identity)
            full = vectors[:, ::-1] * np.sqrt(np.clip(correlation[::-1], 0, None))  # eigh: increasing
            self.weight[row] = torch.from_numpy(full - identity)
        return self

    @torch.no_grad()
    def whiten_on(self, embeddings: np.ndarray, shrinkage: float = SHRINKAGE) -> Heads:
        """Whitening, which needs no pairs and no training: take the mean off, turn to the principal directions, widest
        first, and bring each to variance 1. Returns itself.

        embeddings: (L, N, D). Shared heads take the mean covariance over the layers; shrinkage: see `whitening`.
        Raises InputError for fewer than 2 texts. Cf. J. Su et al., Whitening sentence representations (2103.15316).
        """
        covariances = []
        for layer, x in enumerate(embeddings):
            rows = np.asarray(x, dtype=np.float64)
            if len(rows) < 2:
                raise InputError(f"{len(rows)} texts have no covariance: give a few hundred texts or more")
            self.mean[layer], self.scale[layer] = torch.from_numpy(rows.mean(0)), 1.0
            covariances.append(np.cov(rows.T))
        if self.kind == "shared":
            covariances = [np.mean(covariances, 0)]
        self.weight.copy_(torch.from_numpy(whitening(np.stack(covariances), shrinkage) - np.eye(self.width)))
        return self

    @torch.no_grad()
    def map_to_last(self, embeddings: np.ndarray, shrinkage: float = 0.01) -> Heads:
        """Heads of the lower layers that predict what the last layer's head makes of the same text, so that queries
        may stop early where the documents come from the last layer: ridge regressions on its output. Returns itself.

        embeddings: (L, N, D), what the last head was fitted on. shrinkage: the ridge, as a share of the mean variance.
        Raises InputError for shared heads.
        """
        if self.kind == "shared":
            raise InputError("shared heads cannot lead each layer to the last: make them per-layer")
        target = self.apply_to(embeddings[-1:], [self.n_layers])[0].astype(np.float64)
        self.standardize_on(embeddings[:-1])
        for layer, x in enumerate(embeddings[:-1]):
            z = self._standardized(x, layer)
            ridge = shrinkage * len(z) * np.eye(self.width)  # each coordinate has variance 1
            found = scipy.linalg.solve(z.T @ z + ridge, z.T @ target, assume_a="pos")
            self.weight[layer] = torch.from_numpy(found - np.eye(self.width))
        return self

    def _standardized(self, x: np.ndarray, layer: int) -> np.ndarray:
        return (np.asarray(x, dtype=np.float64) - self.mean[layer].numpy()) / self.scale[layer].numpy()

    def forward(self, x: Tensor, layers: Sequence[int] | None = None) -> Tensor:
        """(L, B, D) to (L, B, D); `layers` (1-based) names the rows when they are not all of them, in order."""
        rows = slice(None) if layers is None else [layer - 1 for layer in layers]
        z = (x - self.mean[rows].unsqueeze(1)) / self.scale[rows].unsqueeze(1)  # (L, B, D)
        weight = self.weight if self.kind == "shared" else self.weight[rows]
        return z + z @ weight

    def affine(self, layer: int) -> tuple[Tensor, Tensor]:
        """The head of one layer as (A, b) with y = A x + b: A (D, D), b (D,), to hand over to other libraries."""
        weight = self.weight[0 if self.kind == "shared" else layer - 1]
        full = (torch.eye(self.width) + weight).T / self.scale[layer - 1]
        return full.detach(), (-full @ self.mean[layer - 1]).detach()

    @torch.no_grad()
    def apply_to(self, embeddings: np.ndarray, layers: Sequence[int] | None = None) -> np.ndarray:
        """(L, N, D) numpy in, (L, N, D) float32 out, a layer at a time."""
        out = np.empty(embeddings.shape, dtype=np.float32)
        for row, x in enumerate(embeddings):
            layer = row + 1 if layers is None else layers[row]
            out[row] = self(torch.from_numpy(np.array(x, dtype=np.float32))[None], [layer])[0].numpy()
        return out


def whitening(covariance: np.ndarray, shrinkage: float = SHRINKAGE) -> np.ndarray:
    """The matrix (..., D, D) whose columns turn centered vectors to their principal directions, widest first, at
    variance 1. covariance: (..., D, D), shrunk toward a multiple of the identity, so that directions without variance
    are not blown up.
    """
    width = covariance.shape[-1]
    level = np.trace(covariance, axis1=-2, axis2=-1)[..., None, None] / width
    variances, directions = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * level * np.eye(width))
    return directions[..., ::-1] / np.sqrt(variances[..., None, ::-1])  # eigh: increasing


def whitened(encoder: Encoder, texts: Sequence[str] | np.ndarray, mapped: bool = False) -> Encoder:
    """The encoder with whitening heads fitted on a few thousand `texts`, or on their embeddings (L, N, D): see
    `Heads.whiten_on`. The control for every trained model: what training gives beyond it is what training is for.

    mapped: the heads of the lower layers predict the whitened last layer instead (`Heads.map_to_last`), the stronger
    control; still no labels.
    """
    plain = encoder.with_heads(None)
    embeddings = texts if isinstance(texts, np.ndarray) else plain.encode_layers(list(texts))
    heads = Heads(encoder.n_layers, encoder.width, "per-layer").whiten_on(embeddings)
    return plain.with_heads(heads.map_to_last(embeddings) if mapped else heads)


def save_heads(heads: Heads, path: str | Path) -> None:
    """Write heads as safetensors, whole or not at all."""
    with files.whole_file(path) as temporary:
        save_file(heads.state_dict(), temporary, metadata={"kind": heads.kind})


def load_heads(path: str | Path, n_layers: int, width: int) -> Heads:
    """Read heads written by `save_heads`. Raises InputError where they are missing, damaged or of another shape."""
    try:
        tensors = load_file(path)
        heads = Heads(n_layers, width, "shared" if len(tensors["weight"]) == 1 else "per-layer")
        heads.load_state_dict({k: v.float() for k, v in tensors.items()})
    except (SafetensorError, KeyError, OSError, RuntimeError) as error:
        problem = f"could not be read or do not fit {n_layers} layers x {width} ({' '.join(str(error).split())})"
        raise InputError(f"heads in {path} {problem}: train them again, or copy the file") from error
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise InputError(f"heads in {path} hold NaN or infinity: train them again with a lower learning rate")
    return heads


def pretrained_heads(encoder: Encoder) -> Encoder:
    """`encoder` (all-MiniLM-L6-v2) with per-layer heads that `tools/train_pretrained_heads.py` trained on pydocs, for
    machines on which even a minute of training is too long. Raises InputError for an encoder of another size.

    >>> from mrl_tutorial.models.encoder import Encoder
    >>> pretrained_heads(Encoder.load())
    Encoder(all-MiniLM-L6-v2 + pretrained heads: 6 layers x 384, mean pooling, per-layer heads)
    """
    heads = load_heads(files.data_file("heads/pydocs-per-layer.safetensors"), encoder.n_layers, encoder.width)
    return encoder.with_heads(heads, name=f"{encoder.name} + pretrained heads", trained_dims=encoder.dims)
