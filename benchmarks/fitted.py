"""More vectors than there are texts: sampled with the spectrum and the cluster structure of real ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mrl_tutorial.topk import unit


def rotation(x: np.ndarray) -> np.ndarray:
    """Orthogonal (D, D) after which the coordinates of x (N, D) carry less and less: x @ rotation(x). Cosines at full
    width stay as they are; prefixes hold what training for prefixes would put there."""
    values, vectors = np.linalg.eigh(x.T.astype(np.float64) @ x)
    return vectors[:, np.argsort(-values)].astype(np.float32)


def fit(x: np.ndarray, clusters: int, seed: int = 0) -> Callable[[int, int], np.ndarray]:
    """A sampler of vectors like x (N, D) of unit length: sample(n, seed) -> (n, D) of unit length.

    k-means finds `clusters`. A sampled vector is the center of one, taken by its size, and normal noise with that
    cluster's variances along the axes that all clusters share (the eigenvectors of the pooled covariance).
    """
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(clusters, random_state=seed, n_init=1, batch_size=4096).fit(x)
    left = x - means.cluster_centers_[means.labels_]
    _, axes = np.linalg.eigh(left.T.astype(np.float64) @ left)
    along = (left @ axes.astype(np.float32)) ** 2
    sizes = np.bincount(means.labels_, minlength=clusters)
    pooled = along.mean(0)
    spread = np.zeros((clusters, x.shape[1]))
    np.add.at(spread, means.labels_, along)
    # a small cluster's own variances are noise: ten more vectors of the pooled kind
    spread = np.sqrt((spread + 10 * pooled) / (sizes[:, None] + 10)).astype(np.float32)
    centers, axes = means.cluster_centers_.astype(np.float32), axes.T.astype(np.float32)

    def sample(n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        which = rng.choice(clusters, n, p=sizes / sizes.sum())
        out = np.empty((n, x.shape[1]), dtype=np.float32)
        for a in range(0, n, 2**16):
            here = which[a : a + 2**16]
            noise = rng.standard_normal((len(here), x.shape[1]), dtype=np.float32)
            out[a : a + 2**16] = unit(centers[here] + (noise * spread[here]) @ axes)
        return out

    return sample


def shape(x: np.ndarray) -> dict[str, float]:
    """What should agree between real and sampled vectors x (N, D) of unit length: participation ratio of the second
    moments, their share in the first 64 principal axes, and the mean cosine of 500 of them with their nearest other."""
    values = np.sort(np.linalg.eigvalsh(x.T.astype(np.float64) @ x / len(x)))[::-1]
    some = x[:: max(1, len(x) // 500)][:500]
    scores = some @ x.T
    scores[scores > 1 - 1e-6] = -1  # itself
    return {
        "participation_ratio": float(values.sum() ** 2 / (values**2).sum()),
        "first_64": float(values[:64].sum() / values.sum()),
        "nearest": float(scores.max(1).mean()),
    }
