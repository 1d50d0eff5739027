"""Maps of an embedding's prefixes that can be laid over each other: aligned UMAP of the same points at every size.

Two separate UMAP runs turn and mirror their pictures at will. Aligned UMAP pulls a point's places in neighboring maps
together, so that what moves from one size to the next moves because its neighbors changed.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import Progress
from mrl_tutorial.files import cache_dir, key, whole_file
from mrl_tutorial.grid import default_dims
from mrl_tutorial.progress import Ticker
from mrl_tutorial.topk import unit

NEIGHBORS, EPOCHS, PULL = 15, 100, 0.02
MOST = 600  # each point is an element of the page, and all of them move at every slide
LEAST = 40  # fewer points have no map worth drawing, and UMAP's spectral start fails on them
EXPECTED = 30.0  # seconds that the progress bar expects: what 600 points at 6 sizes take on 2 cores


@dataclass(frozen=True)
class PrefixMaps:
    """Maps of n points at M sizes.

    rows (n,): which of the `total` points given. places (M, n, 2) float32: NaN for a point without neighbors.
    nearest (M, n): the nearest other point of each, as an index into `rows`. accuracy (M,): share of points whose
    nearest other point has their label.
    """

    dims: tuple[int, ...]
    rows: np.ndarray
    places: np.ndarray
    nearest: np.ndarray
    accuracy: np.ndarray
    total: int


def prefix_maps(
    vectors: np.ndarray,
    labels: Sequence | np.ndarray,
    dims: Sequence[int] | None = None,
    *,
    most: int = MOST,
    seed: int = 0,
    progress: Progress | None = None,
) -> PrefixMaps:
    """Aligned maps of the prefixes of `vectors` (N, D), and how pure their neighborhoods are; kept in the cache.

    labels (N,). dims: sizes, `default_dims` where None. More than `most` points are thinned out, every label in
    proportion. progress(done, total, label) may return False to give up. The work is done by a separate process,
    which uses 2 threads. Raises InputError for wrong shapes, sizes, or too few points.
    """
    vectors, names, sizes = checked(vectors, labels, dims)
    rows = thin(names, most, seed)
    prefixes = [unit_prefix(vectors[rows], d) for d in sizes]
    nearest = np.stack([nearest_other(x) for x in prefixes])
    accuracy = (names[rows][nearest] == names[rows]).mean(1)
    options = {"neighbors": NEIGHBORS, "epochs": EPOCHS, "pull": PULL, "seed": seed, "umap": version("umap-learn")}
    path = cache_dir("maps") / f"{key(vectors[rows], list(sizes), options)}.npz"
    if not path.exists():
        compute_places(prefixes, seed, path, progress or Ticker())
    return PrefixMaps(sizes, rows, np.load(path)["places"], nearest, accuracy, len(names))


def aligned_places(prefixes: Sequence[np.ndarray], seed: int = 0) -> np.ndarray:
    """Aligned UMAP in this process: prefixes, M arrays (n, d) of the same n points -> places (M, n, 2) float32.

    Euclidean distance, which ranks unit vectors as the cosine does. UMAP: 1802.03426.
    """
    from umap import AlignedUMAP  # takes seconds to import

    n = len(prefixes[0])
    alignment = {"alignment_regularisation": PULL, "alignment_window_size": 1}
    model = AlignedUMAP(n_neighbors=min(NEIGHBORS, n - 1), n_epochs=EPOCHS, random_state=seed, **alignment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fixed seed means one thread, and points may lack neighbors: both are meant
        model.fit(list(prefixes), relations=[{i: i for i in range(n)}] * (len(prefixes) - 1))
    return centered(np.stack([np.asarray(p, np.float32) for p in model.embeddings_]))


def centered(places: np.ndarray) -> np.ndarray:
    """places (M, n, 2) around the mean of all of them, rotated so that the last map is widest from left to right."""
    places = places - np.nanmean(places, axis=(0, 1))
    last = places[-1][np.isfinite(places[-1]).all(1)]
    _, rotation = np.linalg.eigh(last.T @ last)  # (2, 2), the widest direction last
    return (places @ rotation[:, ::-1]).astype(np.float32)


def thin(labels: np.ndarray, most: int, seed: int = 0) -> np.ndarray:
    """At most `most` rows, sorted, each label in proportion to its number (largest remainders); all where they fit.

    labels (N,). Raises InputError for `most` below `LEAST`.

    >>> thin(np.repeat([0, 1], [150, 50]), most=40).size
    40
    """
    if most < LEAST:
        raise InputError(f"most {most} is too few points for a map: give {LEAST} or more")
    if len(labels) <= most:
        return np.arange(len(labels))
    names, group, number = np.unique(labels, return_inverse=True, return_counts=True)
    fair = number * (most / len(labels))
    take = np.floor(fair).astype(int)
    take[np.argsort(take - fair, kind="stable")[: most - take.sum()]] += 1
    rng = np.random.default_rng(seed)
    parts = [rng.permutation(np.flatnonzero(group == i))[: take[i]] for i in range(len(names))]
    return np.sort(np.concatenate(parts))


def nearest_other(x: np.ndarray) -> np.ndarray:
    """For each of the unit vectors x (n, d) the nearest other one: highest cosine; ties: the first. (n,)

    >>> nearest_other(np.eye(3)[[0, 0, 1]])
    array([1, 0, 0])
    """
    scores = x @ x.T
    np.fill_diagonal(scores, -np.inf)
    return scores.argmax(1)


def unit_prefix(vectors: np.ndarray, d: int) -> np.ndarray:
    """The first d coordinates of vectors (N, D), then normalized; zero vectors stay zero. (N, d) float32."""
    return unit(np.asarray(vectors[:, :d], np.float32))


def checked(
    vectors: np.ndarray, labels: Sequence | np.ndarray, dims: Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """vectors (N, D), labels (N,) and dims in ascending order. Raises InputError naming what does not fit."""
    vectors, names = np.asarray(vectors), np.asarray(labels)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise InputError(f"vectors of shape {vectors.shape} are no table of numbers: give an (N, D) array")
    if names.shape != (len(vectors),):
        raise InputError(f"labels of shape {names.shape} for {len(vectors)} vectors: give one label a vector")
    if len(vectors) < LEAST:
        raise InputError(f"{len(vectors)} points are too few for a map: give {LEAST} or more")
    if not np.isfinite(vectors).all():
        raise InputError("a vector holds NaN or infinity: leave it out")
    width = vectors.shape[1]
    sizes = tuple(sorted({int(d) for d in (default_dims(width) if dims is None else dims)}))
    if len(sizes) < 2 or sizes[0] < 1 or sizes[-1] > width:
        raise InputError(f"sizes {list(sizes)} do not make a series: give two or more from 1 to {width}")
    return vectors.astype(np.float32, copy=False), names, sizes


def compute_places(prefixes: Sequence[np.ndarray], seed: int, path: Path, progress: Progress) -> None:
    """`aligned_places` in a separate process, into `path`: compiled code would block this process, and an interrupt
    could not end it. Raises InputError where `progress` returns False, RuntimeError where the process fails."""
    label = f"maps of {len(prefixes[0]):,} points at {len(prefixes)} sizes"
    env = {**os.environ, "NUMBA_NUM_THREADS": str(min(2, os.cpu_count() or 1))}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    with tempfile.TemporaryDirectory() as folder, whole_file(path) as out:
        given, log = Path(folder, "prefixes.npz"), Path(folder, "log.txt")
        np.savez(given, *prefixes)
        command = [sys.executable, "-m", __name__, str(given), str(out), str(seed)]
        began = time.monotonic()
        with log.open("w") as errors:
            worker = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            while worker.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(0.3)
                seconds = time.monotonic() - began
                share = 1 - np.exp(-1.5 * seconds / EXPECTED)  # a guess that nears its end without reaching it
                if progress(round(100 * share), 100, f"{label}, {seconds:.0f} s") is False:
                    raise InputError(f"the {label} were canceled: start again to have them")
        finally:
            worker.kill()
            worker.wait()
            if isinstance(progress, Ticker):
                progress.close()
        if worker.returncode:
            last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"the {label} could not be computed: {last}")


def main(given: str, out: str, seed: str) -> None:
    """What the separate process does: read prefixes from one npz file, write places to another."""
    with np.load(given) as stored:
        prefixes = [stored[f"arr_{i}"] for i in range(len(stored.files))]
    with open(out, "wb") as file:
        np.savez_compressed(file, places=aligned_places(prefixes, int(seed)))


if __name__ == "__main__":
    main(*sys.argv[1:])
