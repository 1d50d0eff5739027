"""What the retrieval benchmark searches: real sentences, a hard set, a million vectors; indexes that are kept."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fitted import moved, rotation, shape, steps
from benchmarks.sentences import load_sentences
from mrl_tutorial.files import cache_dir, key, whole_file, whole_folder, write_json
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.retrieval.indexes import build_index
from mrl_tutorial.retrieval.libraries import FaissIndex, SvsIndex
from mrl_tutorial.topk import ExactIndex, unit

PREFIX = 128
QUERIES = 800  # the first 256 choose settings, the others are scored
SENTENCES = 160_000
MILLION = 10**6
SPREADS = (0.9, 1.05, 1.2, 1.35, 1.5, 1.8)  # of the made vectors' steps: that which brings neighbors as near as real
BUILDERS = 2  # threads


@dataclass(frozen=True)
class Part:
    """documents (N, D), queries (Q, D), of unit length, rotated by PCA; truth (Q, 10): rows that exact search finds.
    shape: how near neighbors are, in real vectors and in made ones."""

    name: str
    documents: np.ndarray
    queries: np.ndarray
    truth: np.ndarray
    shape: dict[str, dict[str, float]]


NAMES = {
    "real": "real sentences",
    "hard": "hard: families of 100 that differ alike in all coordinates",
    "wide": "a million made from real sentences, layers 4 to 6 side by side",
    "large": "a million made from real sentences",
}


def load_part(name: str, quick: bool = False) -> Part:
    """A part of NAMES, from the cache or made now. quick: a few thousand vectors."""
    path, queries = cache_dir("bench") / f"part-{name}{'-quick' * quick}.npy", 300 if quick else QUERIES
    about = path.with_suffix(".json")
    if not about.exists():
        x, found = _made(name, quick)
        with whole_file(path) as temporary:
            np.save(temporary, x)
        truth = ExactIndex(x[queries:], threads=BUILDERS).search(x[:queries], 10)[0]
        write_json(about, {"shape": found, "truth": truth.tolist()})
        del x
    x, found = np.load(path), json.loads(about.read_text())
    return Part(NAMES[name], x[queries:], x[:queries], np.array(found["truth"]), found["shape"])


def _made(name: str, quick: bool) -> tuple[np.ndarray, dict[str, dict[str, float]]]:
    """Vectors, queries first, and their shape beside that of as many real ones."""
    real = sentence_vectors(1024 if name == "wide" else 384, quick)
    if name == "real":
        return real, {"real": shape(real)}
    rng, width = np.random.default_rng(1), real.shape[1]
    if name == "hard":
        seeds = real[rng.permutation(len(real))[: len(real) // 100]]
        x = moved(seeds, len(real), 0.5, 1, unit(rng.standard_normal((4000, width), dtype=np.float32)))
        return x, {"real": shape(real), "made": shape(x)}
    n, step, wanted = 5 * len(real) if quick else MILLION + QUERIES, steps(real), shape(real)
    # as many made vectors as there are real ones, in families of the same size, tell whether they are alike
    seeds = real[: len(real) * len(real) // n]
    found = {spread: shape(moved(seeds, len(real), spread, 2, step)) for spread in SPREADS}
    spread = min(SPREADS, key=lambda spread: abs(found[spread]["nearest"] - wanted["nearest"]))
    return moved(real, n, spread, 1, step), {"real": wanted, "made": {**found[spread], "spread": spread}}


def sentence_vectors(width: int, quick: bool = False) -> np.ndarray:
    """Vectors (N, width) of installed documentation's sentences in a random order, unit length, rotated by PCA: of the
    last layer, or for 1,024 coordinates of the last three side by side."""
    sentences = load_sentences(60 if quick else 1)
    order = np.random.default_rng(0).permutation(len(sentences))[: 2000 if quick else SENTENCES + QUERIES]
    encoder = Encoder.load()
    layers = encoder.encode_layers([sentences[i] for i in order], layers=[4, 5, 6], progress=_say)
    x = layers[2] if width == 384 else np.concatenate([unit(layer - layer.mean(0)) for layer in layers], axis=1)
    x = unit(x)
    return np.ascontiguousarray(unit((x @ rotation(x))[:, :width]))


def _say(done: int, total: int, label: str) -> None:
    if done == total or done % 4096 < 64:
        print(f"{label}: {done:,} of {total:,}", flush=True)


def kept_index(part: str, engine: str, x: np.ndarray, dim: int, options: dict[str, int]) -> tuple[Any, dict]:
    """An index over the first `dim` coordinates of x (N, D), and how it was built: seconds, and how busy the machine
    was. FAISS's and SVS's are read from the cache where they were built before. None for "topk", which has no index."""
    if engine == "topk":
        return None, {}
    shaping = {option: value for option, value in options.items() if option not in ("ef", "probe", "window")}
    folder = cache_dir("bench", "indexes") / f"{part}-{engine}-{dim}-{key(len(x), shaping)}"
    if (folder / "about.json").exists():
        few = {option: 8 if option == "lists" else value for option, value in options.items()}
        index: Any = build_index(engine, x[:2000], dim, options=few)  # of the same kind, to be filled
        _read(index, folder, len(x))
        return index, json.loads((folder / "about.json").read_text())
    began, busy = time.perf_counter(), os.getloadavg()[0]
    index = build_index(engine, x, dim, options=options, threads=BUILDERS)
    about = {"build_seconds": round(time.perf_counter() - began, 2), "busy": round(busy, 1)}
    index.threads = 1
    if isinstance(index, (FaissIndex, SvsIndex)):
        with whole_folder(folder) as temporary:
            _write(index, temporary)
            write_json(temporary / "about.json", about)
    return index, about


def _write(index: FaissIndex | SvsIndex, folder: Path) -> None:
    if isinstance(index, FaissIndex):
        index.faiss.write_index(index.index, str(folder / "index"))
    else:
        index.index.save(*(str(folder / what) for what in ("config", "graph", "data")))


def _read(index: FaissIndex | SvsIndex, folder: Path, n: int) -> None:
    """Put what `_write` wrote into an index of the same kind."""
    index.n = n
    if isinstance(index, FaissIndex):
        index.index = index.faiss.read_index(str(folder / "index"))
        index.nbytes = (folder / "index").stat().st_size
        index.lists = getattr(index.index, "nlist", 0)
        return
    svs, data = index.svs, str(folder / "data")
    loader = {"vamana-lvq": svs.LVQLoader, "leanvec": svs.LeanVecLoader}.get(index.kind)
    source = loader(data) if loader else svs.VectorDataLoader(data, svs.DataType.float32)
    graph = svs.GraphLoader(str(folder / "graph"))
    index.index = svs.Vamana(str(folder / "config"), graph, source, svs.DistanceType.MIP)
