"""The prefix map: the same points at every size, as maps that can be laid over each other.

Two separate UMAP runs turn and mirror their pictures at will. Aligned UMAP pulls a point's places in neighboring maps
together, so that what moves from one size to the next moves because its neighbors changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import default_dims
from mrl_tutorial.panels.panel import Panel, slider
from mrl_tutorial.topk import unit

NEIGHBORS, EPOCHS, PULL, SEED = 15, 100, 0.02, 0
MOST = 600  # each point is an element of the page, and all of them move at every slide
LEAST = 40  # fewer points have no map worth drawing, and UMAP's spectral start fails on them
COLORED = 8  # labels; more colors and shapes cannot be told apart
TEXT = 90  # characters of a point's text that are shown


class PrefixMap(Panel):
    """Aligned UMAP of `vectors` (N, D) cut to every size of `dims`, with points colored by `labels` (N,).

    Beside it stands the share of points whose nearest neighbor has their label. texts (N,): shown for a marked point.
    dims: `default_dims` where None. At most `most` points are drawn, thinned out evenly by label. show: the labels to
    color, at most 8; None for the 8 most frequent; the others are gray. The maps are computed once, half a minute, and
    cached. state: dim, and point, the one that is marked (-1: none). Raises InputError for what does not fit together.
    """

    view = "map"

    def __init__(
        self,
        vectors: np.ndarray,
        labels: Sequence | np.ndarray,
        texts: Sequence[str] | None = None,
        dims: Sequence[int] | None = None,
        *,
        most: int = MOST,
        show: Sequence | None = None,
        **state: Any,
    ) -> None:
        vectors, names, sizes = checked(vectors, labels, dims)
        if texts is not None and len(texts) != len(names):
            raise InputError(f"{len(texts)} texts for {len(names)} vectors: give one text a vector")
        self.rows = rows = thin(names, most)
        colored = colored_labels(names[rows], show)
        prefixes = [unit(vectors[rows, :d]) for d in sizes]
        options = {"neighbors": NEIGHBORS, "epochs": EPOCHS, "pull": PULL, "seed": SEED, "umap": version("umap-learn")}
        key = files.key(vectors[rows], list(sizes), options)
        places = files.remembered("maps", key, lambda: {"places": compute_places(prefixes)})["places"]
        nearest = np.stack([nearest_other(x) for x in prefixes])
        known, label = np.unique(names[rows], return_inverse=True)
        point = slider("point", "marked point", range(-1, len(rows)), ["none", *map(str, range(len(rows)))])
        short = None if texts is None else [shorten(texts[i], TEXT, placeholder=" …") for i in rows]
        super().__init__(
            [[slider("dim", "dimension", sizes, play=True), point]],
            {"dim": sizes[0], "point": -1} | state,
            dims=sizes,
            width=vectors.shape[1],
            total=len(names),
            places=places,
            low=np.nanmin(places, axis=(0, 1)).tolist(),
            high=np.nanmax(places, axis=(0, 1)).tolist(),
            nearest=nearest,
            accuracy=(label[nearest] == label).mean(1).astype("f4"),
            names=[str(name) for name in known],
            label=label,
            colored=[known.tolist().index(name) for name in colored],
            texts=short,
        )


def checked(
    vectors: np.ndarray, labels: Sequence | np.ndarray, dims: Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """vectors (N, D), labels (N,) and dims in ascending order. Raises InputError naming what does not fit."""
    vectors, names = np.asarray(vectors), np.asarray(labels)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise InputError(f"vectors of shape {vectors.shape} are not a table of numbers: give an (N, D) array")
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


def colored_labels(labels: np.ndarray, show: Sequence | None = None) -> list:
    """The labels to color: `show`, or the 8 most frequent, in the order of their names.

    Raises InputError for too many or unknown ones.
    """
    names, number = np.unique(labels, return_counts=True)
    if show is None:
        return names[np.sort(np.argsort(-number, kind="stable")[:COLORED])].tolist()
    if not 1 <= len(show) <= COLORED:
        raise InputError(f"{len(show)} labels to color: choose 1 to {COLORED}, more cannot be told apart")
    for label in show:
        if label not in names:
            raise InputError(f"label {label!r} is not among the points: choose from {', '.join(map(str, names[:8]))} …")
    return list(show)


def thin(labels: np.ndarray, most: int) -> np.ndarray:
    """At most `most` rows, sorted, each label in proportion to its number; all where they fit.

    labels (N,). Raises InputError for `most` below `LEAST`.

    >>> thin(np.repeat([0, 1], [150, 50]), most=40).size
    40
    """
    if most < LEAST:
        raise InputError(f"most {most} is too few points for a map: give {LEAST} or more")
    by_label = np.argsort(labels, kind="stable")
    even = (np.arange(min(most, len(labels))) + 0.5) * len(labels) / min(most, len(labels))
    return np.sort(by_label[even.astype(int)])


def nearest_other(x: np.ndarray) -> np.ndarray:
    """For each of the unit vectors x (n, d) the nearest other one: highest cosine; ties: the first. (n,)

    >>> nearest_other(np.eye(3)[[0, 0, 1]])
    array([1, 0, 0])
    """
    scores = x @ x.T
    np.fill_diagonal(scores, -np.inf)
    return scores.argmax(1)


def compute_places(prefixes: Sequence[np.ndarray]) -> np.ndarray:
    """`aligned_places` in a process of its own: compiled code would hold this one, and an interrupt could not end it.

    Raises RuntimeError where the process fails."""
    what = f"maps of {len(prefixes[0]):,} points at {len(prefixes)} sizes"
    print(f"{what}: about half a minute, once")
    env = {**os.environ, "NUMBA_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with tempfile.TemporaryDirectory() as folder:
        given, out = (str(Path(folder, name)) for name in ("given.npz", "places.npy"))
        np.savez(given, *prefixes)
        code = f"from {__name__} import aligned_places; aligned_places({given!r}, {out!r})"
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"the {what} could not be computed: {last}")
        return np.load(out)


def aligned_places(given: str, out: str) -> None:
    """Aligned UMAP of a file's M prefixes (n, d) of the same n points: places (M, n, 2) float32, into another file.

    Euclidean distance, which ranks unit vectors as the cosine does. UMAP: 1802.03426.
    """
    from umap import AlignedUMAP  # takes seconds to import

    with np.load(given) as stored:
        prefixes = list(stored.values())
    n = len(prefixes[0])
    alignment = {"alignment_regularisation": PULL, "alignment_window_size": 1}
    model = AlignedUMAP(n_neighbors=min(NEIGHBORS, n - 1), n_epochs=EPOCHS, random_state=SEED, **alignment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fixed seed means one thread, and points may lack neighbors: both are meant
        model.fit(prefixes, relations=[{i: i for i in range(n)}] * (len(prefixes) - 1))
    np.save(out, centered(np.stack([np.asarray(p, np.float32) for p in model.embeddings_])))


def centered(places: np.ndarray) -> np.ndarray:
    """places (M, n, 2) around the mean of all of them, rotated so that the last map is widest from left to right."""
    places = places - np.nanmean(places, axis=(0, 1))
    last = places[-1][np.isfinite(places[-1]).all(1)]
    _, rotation = np.linalg.eigh(last.T @ last)  # (2, 2), the widest direction last
    return (places @ rotation[:, ::-1]).astype(np.float32)
