"""Recall against speed of every way to search, in batches and alone, each at full width and on a prefix with rerank.

Settings are chosen on 256 queries, for the race that they run in, and scored on the others. All searches run on one
thread. Vectors are rotated by PCA: cosines at full width stay, and prefixes carry what training for prefixes would put
there. A way's rows are written when it is measured, and an interrupted run goes on from there.
"""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks import spread
from benchmarks.retrieval_parts import NAMES, PREFIX, Part, kept_index, load_part
from benchmarks.retrieval_report import draw, roofline, table
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import pareto
from mrl_tutorial.files import write_json
from mrl_tutorial.retrieval.indexes import Vectors
from mrl_tutorial.retrieval.timing import BATCH, RACES, found_share, milliseconds
from mrl_tutorial.topk import as_tensor, on_threads, rerank

K = 10
WORTH = 0.85  # recall below which a setting is not reported
HARD = ("float32", "torch-bfloat16", "torch-int8", "pq", "hnsw-int8", "vamana-lvq", "leanvec")  # engines of that part
LARGE = 500_000  # documents from which on what is slow to build or to scan is left out
SECONDS = 0.5  # that a measurement takes at most, once it has been repeated a few times
LEFT_OUT = {
    "faiss flat": "a batch takes minutes",
    "hnsw": "building takes an hour; hnsw-int8 is built on the prefix",
    "ivf": "clustering takes many minutes; ivfpq is built with 1,024 lists",
}
Setting = tuple[dict[str, int], int]
Search = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Way:
    """An engine over the first `dim` coordinates, built with `build`; settings, cheapest first: the options of a search
    and the depth that is reranked in the type `kind` (0: nothing is)."""

    engine: str
    dim: int
    settings: Sequence[Setting]
    build: dict[str, int] | None = None
    kind: str = "float32"

    @property
    def name(self) -> str:
        return f"{self.engine}, {self.dim}" + (f", rerank {self.kind}" if self.settings[-1][1] else "")


def run(json: str | None = None, quick: bool = False) -> dict:
    """Measure all parts, print and return rows; `json` is read first and written after each way. quick: small parts."""
    path = Path(json) if json else None
    found = jsonlib.loads(path.read_text()) if path and path.exists() else {}
    found = {"command": "mrl-tutorial bench retrieval", "bench": "retrieval", **found}
    found |= {"machine": found.get("machine") or machine(quick), "parts": found.get("parts", {})}
    for name in ("real", "hard") if quick else NAMES:
        part = load_part(name, quick)
        n, width = part.documents.shape
        if found["parts"].get(name, {}).get("documents") != n:  # none yet, or one of another size
            found["parts"][name] = {"rows": []}
        done = found["parts"][name]
        done |= {"name": part.name, "documents": n, "width": width, "shape": part.shape}
        done["left_out"] = done.get("left_out", {}) | (LEFT_OUT if n > LARGE else {})
        for way in ways(n, width):
            if (name == "hard" and way.engine not in HARD) or any(row["way"] == way.name for row in done["rows"]):
                continue
            try:
                index, about = kept_index(name + "-quick" * quick, way.engine, part.documents, way.dim, way.build or {})
            except InputError as error:  # not on this machine
                done["left_out"][way.name] = str(error)
                print(f"left out: {error}", flush=True)
            else:
                done["left_out"].pop(way.name, None)
                with on_threads(1), threadpool_limits(1):
                    done["rows"] += [{**row, **about} for row in measure(part, way, index)]
            if path:
                write_json(path, found)
        print(f"\n{part.name}: {n:,} x {width}\n{table(done['rows'])}")
        print(roofline(done, found["machine"]), flush=True)
    if path and not quick:
        draw(found["parts"], path.with_suffix(".webp"))
    return found


def ways(n: int, width: int) -> Iterator[Way]:
    """Every engine at full width and on the prefix."""
    large = n > LARGE
    depths, looks = (20, 50, 100, 200, 400, 800), (10, 20, 40, 60, 80, 160, 320)
    deep = (100, 400, 1600) if large else (*depths[1:], 1600)
    shape = {"links": 32, "build": 64 if large else 128}
    yield Way("float32", width, (({}, 0),))
    if not large:
        yield Way("topk", width, (({}, 0),))
    for dim in (width, PREFIX):
        full = dim == width
        scans: list[Setting] = [({}, depth) for depth in ((20,) if full else depths[1:])]
        graph = [({"window": k}, 0 if full else k) for k in (looks if full else depths)]
        probes = [({"probe": p}, k) for p, k in ((4, 50), (8, 100), (16, 100), (32, 200), (64, 200), (128, 400))]
        for precision in ("bfloat16", "int8"):
            yield Way(f"torch-{precision}", dim, scans)
        yield Way("pq", dim, [({}, k) for k in depths], {"codes": dim // 2})
        yield Way("vamana-lvq", dim, graph, shape)
        yield Way("leanvec", dim, graph, shape | {"reduced": max(64, dim // 3)})
        if not (large and full):
            yield Way("hnsw-int8", dim, [({"ef": k}, 20 if full else k) for k in depths])
        yield Way("ivfpq", dim, probes, {"codes": dim // 2, "lists": 1024 if large else 0})
        yield Way("rabitq", dim, [({}, k) for k in deep])
        yield Way("binary", dim, [({}, k) for k in deep])
        if not large:
            yield Way("hnsw", dim, [({"ef": max(16, k)}, 0 if full else k) for k in depths])
            yield Way("ivf", dim, [({"probe": p}, 0 if full else 200) for p in (4, 8, 16, 32, 64, 128)])
            yield Way("faiss-flat", dim, [({}, 0)] if full else scans)
    yield Way("float32", PREFIX, [({}, k) for k in (50, 200)])
    yield Way("vamana-lvq", PREFIX, [({"window": k}, k) for k in depths], shape, "int8")
    yield Way("pq", PREFIX, [({}, k) for k in depths], {"codes": PREFIX // 2}, "int8")


def measure(part: Part, way: Way, index: Any) -> list[dict[str, Any]]:
    """The settings that no other beats, in either race, on the first queries; measured on the others."""
    x = part.documents
    (tune, score), (wanted, truth) = np.split(part.queries, [BATCH]), np.split(part.truth, [BATCH])
    vectors, tried, rows = Vectors(x, way.kind), list[dict[str, Any]](), list[dict[str, Any]]()
    held = x.nbytes if index is None else index.cost.nbytes + vectors.kept.nbytes * bool(way.settings[-1][1])
    for options, depth in way.settings:
        search = searching(index, x, options, vectors, depth)
        reached = {"recall": found_share(search(tune), wanted)}
        if reached["recall"] >= WORTH:
            reached |= {race: milliseconds(search, tune, race, repeats=1 + 2 * (race == "single")) for race in RACES}
            tried.append({"options": options, "depth": depth, "tune": reached})
        if reached["recall"] >= 0.9995:
            break
    kept = {i for race in RACES for i in pareto([t["tune"][race] for t in tried], [t["tune"]["recall"] for t in tried])}
    for row in (tried[i] for i in sorted(kept)):
        search = searching(index, x, row["options"], vectors, row["depth"])
        row |= {"recall": found_share(search(score), truth), **timed(search, score), "bytes": held}
        rows.append({"way": way.name, "engine": way.engine, "dim": way.dim, **row})
        print(f"{way.name:<34} {row['options']} {row['depth']}: recall {row['recall']:.4f}, "
              f"{row['per_second']:,.0f}/s, {row['p50']:.3f} ms", flush=True)  # fmt: skip
    return rows or [{"way": way.name, "engine": way.engine, "dim": way.dim, "tune": reached}]


def searching(index: Any, x: np.ndarray, options: dict[str, int], vectors: Vectors, depth: int) -> Search:
    """queries (B, D) or (D,) -> rows (B, 10). No index: plain torch, a product and torch.topk for each block."""
    documents = as_tensor(x)
    index = index.with_options({**index.options, **options}) if options else index

    def search(queries: np.ndarray) -> np.ndarray:
        q = np.atleast_2d(queries)
        if index is None:
            found = [(torch.from_numpy(q) @ documents[a : a + 4096].T).topk(K) for a in range(0, len(x), 4096)]
            best = torch.cat([f.values for f in found], 1).topk(K).indices
            return torch.cat([f.indices + 4096 * i for i, f in enumerate(found)], 1).gather(1, best).numpy()
        rows = index.search(q, depth or K)[0]
        return rerank(q, rows, vectors, K)[0] if depth else rows

    return search


def timed(search: Search, queries: np.ndarray) -> dict[str, float]:
    """Queries a second in batches of 256, the median; milliseconds of single queries, p50 and p95."""
    batches = _repeat(partial(search, np.resize(queries, (BATCH, queries.shape[1]))), 2)
    each = cycle(queries)
    alone = _repeat(lambda: search(next(each)), 10, len(queries))
    p50, p95 = np.quantile(alone, [0.5, 0.95])
    return {"per_second": BATCH / spread(batches)["median"], "p50": 1e3 * float(p50), "p95": 1e3 * float(p95)}


def _repeat(job: Callable[[], object], least: int, most: int = 20) -> list[float]:
    """Seconds of each of `least` to `most` repetitions, no more than SECONDS beyond the least, after a warm-up."""
    job()
    seconds: list[float] = []
    while len(seconds) < least or (len(seconds) < most and sum(seconds) < SECONDS):
        began = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - began)
    return seconds


def machine(quick: bool = False) -> dict[str, Any]:
    """Processor and versions; the peaks of one thread: bytes a second read, multiply-adds a second by type."""
    x, size = torch.ones(2**16 if quick else 2**20, 256), 512 if quick else 2048  # 1 GiB: far beyond most caches
    with on_threads(1):
        peaks = {"bytes_per_second": x.numel() * 4 / min(_repeat(lambda: x @ x[0], 3))}
        for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16), ("int8", torch.int8)):
            a = torch.ones(size, size).to(kind)
            product = partial(torch._int_mm if name == "int8" else torch.mm, a, a.T)  # what the scans use
            peaks[f"{name}_multiply_adds_per_second"] = size**3 / min(_repeat(product, 3))
    about = Path("/proc/cpuinfo").read_text()
    cpu = next(line.split(":")[1].strip() for line in about.splitlines() if "model name" in line)
    has = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8") if flag in about]
    packages = {"numpy": "numpy", "torch": "torch", "faiss": "faiss-cpu", "svs": "scalable-vs"}  # by module
    versions = {name: version(name) for module, name in packages.items() if find_spec(module)}
    return {"processor": cpu, "instructions": has, "threads": 1, "versions": versions, **peaks}
