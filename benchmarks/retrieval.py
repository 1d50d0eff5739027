"""Ways to search at equal quality: exact, HNSW, IVF-PQ, shortlist and rerank, funnel, binary; real and fitted vectors.

Each way has settings, cheapest first. The first that reaches TUNED (recall@10 or nDCG@10 of exact search's own ten) on
the first half of the queries is timed on the other half, where it should be within half a point of exact search. All
vectors are rotated by PCA: cosines at full width stay, and prefixes carry what training for prefixes would put there.
One way shows the coordinates as they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.fitted import fit, rotation, shape
from benchmarks.sentences import load_sentences
from mrl_tutorial.files import write_json
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import Stage, funnel, shortlist
from mrl_tutorial.topk import unit

THREADS = 2
EQUAL = 0.995
TUNED = 0.998  # asked for on the first half of the queries, to have EQUAL on the second
BATCH = 256
SENTENCES = 160_000  # at most, a sample of all that there are


def run(json: str | None = None, quick: bool = False) -> dict:
    """Print the tables and return them; write them to `json`. quick: a few thousand vectors, to see that it runs."""
    sentences = load_sentences(60 if quick else 1)
    chosen = np.random.default_rng(0).permutation(len(sentences))[: 1500 if quick else SENTENCES]
    sentences = [sentences[i] for i in np.sort(chosen)]
    print(f"{len(sentences):,} sentences of installed documentation", flush=True)
    encoder = Encoder.load()
    plain = unit(np.asarray(encoder.encode_layers(sentences, layers=[encoder.n_layers])[0]))  # (N, D), cached
    axes = rotation(plain)
    n_queries, rng = (60, 400)[not quick], np.random.default_rng(0)
    order = rng.permutation(len(plain))
    asked, kept = order[:n_queries], np.sort(order[n_queries:])
    rotated = unit(plain @ axes)
    machine = roofline(quick)
    parts = [
        compare("real sentences", rotated[kept], rotated[asked], machine, quick, plain=(plain[kept], plain[asked]))
    ]
    sample = fit(rotated, 32 if quick else 2048)
    size = 4000 if quick else 1_000_000
    sampled = sample(size + n_queries, 1)
    parts.append(compare("vectors fitted to them", sampled[n_queries:], sampled[:n_queries], machine, quick))
    real, made = shape(rotated[kept]), shape(sampled[n_queries:][: len(kept)])
    result = {
        "bench": "retrieval",
        "encoder": encoder.name,
        "threads": THREADS,
        "equal": EQUAL,
        "machine": machine,
        "shape": {"real": real, "fitted": made},
        "parts": parts,
    }
    print("\nfitted against real: " + ", ".join(f"{name} {made[name]:.3f} against {real[name]:.3f}" for name in real))
    if json:
        write_json(json, {"command": "mrl-tutorial bench retrieval", **result})
    return result


def ways(n: int, width: int) -> dict[str, list[tuple[Stage, ...]]]:
    """Name -> settings, cheapest first."""
    graphs = (64, 128) if n <= 500_000 else (64,)  # a graph over a million vectors takes minutes to build
    depths = [20, 50, 100, 200, 300, 400, 600, 800, 1200, 1600, 2400, 3200]
    small = [d for d in (16, 32, 64, 96, 128, 192) if d < width]
    searches = [16, 32, 64, 128, 256, 512, 1024, 2048]

    def two(engine: str, rerank: str) -> list[tuple[Stage, ...]]:
        made = [shortlist(d, width, k, engine=engine, rerank=rerank) for d in small for k in depths]
        one = 4 if engine == "float32" else 1
        # a survivor, fetched from anywhere in memory and sorted, takes about as long as 12 kB in a row
        return sorted(made, key=lambda s: n * s[0].dim * one + (s[0].depth or n) * 12_000)

    return {
        "exact": [(Stage(width),)],
        "exact, FAISS": [(Stage(width, engine="faiss-flat"),)],
        "HNSW, full width": [(Stage(width, engine="hnsw", options={"ef": ef}),) for ef in searches],
        "IVF-PQ + rerank": [
            shortlist(width, width, k, engine="ivfpq", options={"probe": p, "codes": width // 4})
            for p, k in ((8, 100), (16, 100), (32, 200), (64, 400), (128, 800))
        ],
        "two stages": two("float32", "float32"),
        "two stages, int8 scan": two("faiss-int8", "float32"),
        "two stages, int8": two("faiss-int8", "int8-rotated"),
        "funnel": [
            funnel((d, 2 * d, 4 * d, width), (8 * k, 4 * k, k))
            for d in small if 4 * d < width for k in (25, 50, 100, 200)
        ],
        "HNSW, small + rerank": [
            shortlist(d, width, k, engine="hnsw", options={"ef": k}) for d in graphs if d < width for k in depths
        ],
        "binary + rerank": [shortlist(width, width, k, engine="binary") for k in depths],
        "binary + int8": [shortlist(width, width, k, engine="binary", rerank="int8-rotated") for k in depths],
    }  # fmt: skip


def compare(name: str, documents: np.ndarray, queries: np.ndarray, machine: dict, quick: bool,
            plain: tuple[np.ndarray, np.ndarray] | None = None) -> dict[str, Any]:  # fmt: skip
    """Tune every way on the first half of the queries, time it on the second. documents (N, D), queries (Q, D)."""
    n, width = documents.shape
    half = len(queries) // 2
    base = Retriever(documents, [Stage(width)], threads=THREADS)
    truth = base.search(queries, 10).rows
    settings = ways(n, width)
    if quick:
        settings = {way: paths[:: max(1, len(paths) // 3)] for way, paths in settings.items()}
    tuned, rows = {}, []
    for way, paths in settings.items():
        if not paths or (way == "IVF-PQ + rerank" and not 39 * 256 <= n <= 500_000):
            continue  # too narrow, too few to train on, or minutes of training
        tuned[way] = _tune(base, paths, queries[:half], truth[:half]), queries
    if plain is not None:
        other = Retriever(plain[0], [Stage(width)], threads=THREADS)
        found = _tune(other, settings["two stages"], plain[1][:half], truth[:half])
        tuned["two stages, not rotated"] = found, plain[1]
    print(f"\n{name}: {n:,} x {width}, {len(queries) - half} queries, {THREADS} threads", flush=True)
    timed = _time({way: (retriever, q[half:]) for way, (retriever, q) in tuned.items()}, quick)
    for way, (retriever, q) in tuned.items():
        recall, ndcg = quality(retriever.search(q[half:], 10).rows, truth[half:])
        rows.append({
            "way": way, "path": "; ".join(str(replace(stage, layer=None)) for stage in retriever.stages),
            "recall@10": recall, "ndcg@10": ndcg,
            "equal": max(recall, ndcg) >= EQUAL, **timed[way], "build_seconds": retriever.build_seconds,
            "bytes": sum(retriever.nbytes.values()), "multiply_adds": retriever.flops(),
            "bytes_read": retriever.bytes_read(),
            "roofline_single_ms": 1e3 * retriever.bytes_read() / machine["bytes_per_second"],
            "roofline_per_second": machine["multiply_adds_per_second"] / retriever.flops(),
        })  # fmt: skip
    exact = next(row for row in rows if row["way"] == "exact")
    for row in rows:
        row["times_exact"] = row["per_second"] / exact["per_second"]
    _print(rows)
    return {"name": name, "documents": n, "width": width, "queries": len(queries) - half, "rows": rows}


def quality(rows: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """recall@10 and nDCG@10 of rows (Q, 10) where the ten of `truth` (Q, 10) are relevant."""
    hit = (rows[:, :, None] == truth[:, None]).any(2)
    discount = 1 / np.log2(np.arange(2, hit.shape[1] + 2))
    return float(hit.mean()), float((hit * discount).sum(1).mean() / discount.sum())


def roofline(quick: bool) -> dict[str, float]:
    """What this machine reads from memory and multiplies on THREADS threads, best of five: bytes and multiply-adds a
    second."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2**16 if quick else 2**20, 256), dtype=np.float32)  # 1 GiB: far beyond any cache
    q = rng.standard_normal((BATCH, 256), dtype=np.float32)
    edges = [len(x) * i // THREADS for i in range(THREADS + 1)]

    def read(first: int, last: int) -> None:
        for a in range(first, last, 4096):
            x[a : min(a + 4096, last)] @ q[0]

    def multiply(first: int, last: int) -> None:
        for _ in range(8):
            x[:2048] @ q.T

    def rate(job: Callable[[int, int], None], amount: int) -> float:
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            list(pool.map(job, edges[:-1], edges[1:]))
            seconds.append(time.perf_counter() - began)
        return amount / min(seconds)

    with threadpool_limits(1), ThreadPoolExecutor(THREADS) as pool:
        return {
            "bytes_per_second": rate(read, x.nbytes),
            "multiply_adds_per_second": rate(multiply, 8 * THREADS * 2048 * 256 * BATCH),
        }


def _tune(base: Retriever, paths: Sequence[tuple[Stage, ...]], queries: np.ndarray, truth: np.ndarray) -> Retriever:
    """The first of `paths` that is as good as exact search, else the best of them."""
    best, most = base, -1.0
    for path in paths:
        retriever = base.with_stages(path)
        reached = max(quality(retriever.search(queries, 10).rows, truth))
        if reached > most:
            best, most = retriever, reached
        if reached >= TUNED or any(stage.depth is not None and stage.depth >= base.n for stage in path):
            break
    return best


def _time(tuned: dict[str, tuple[Retriever, np.ndarray]], quick: bool) -> dict[str, dict[str, float]]:
    """Milliseconds of single queries (p50, p95) and queries a second in batches, taken in turns."""
    singles: dict[str, list[float]] = {way: [] for way in tuned}
    batches: dict[str, list[float]] = {way: [] for way in tuned}
    for around in range(2 if quick else 4):
        for way, (retriever, queries) in tuned.items():
            many = np.resize(queries, (BATCH, queries.shape[1]))
            began = time.perf_counter()
            retriever.search(many, 10)
            if around:
                batches[way].append(BATCH / (time.perf_counter() - began))
            for query in queries[:20] if quick else queries:
                began = time.perf_counter()
                retriever.search(query, 10)
                if around:
                    singles[way].append(1e3 * (time.perf_counter() - began))
    return {
        way: {"p50_ms": float(np.quantile(singles[way], 0.5)), "p95_ms": float(np.quantile(singles[way], 0.95)),
              "per_second": float(np.median(batches[way]))}
        for way in tuned
    }  # fmt: skip


def _print(rows: list[dict[str, Any]]) -> None:
    print(f"{'':<24}{'recall':>7}{'nDCG':>7}{'p50 ms':>8}{'p95 ms':>8}{'roof ms':>8}{'queries/s':>10}{'x exact':>8}"
          f"{'build s':>8}{'MB':>8}  path")  # fmt: skip
    for r in rows:
        print(f"{r['way']:<24}{r['recall@10']:>7.3f}{r['ndcg@10']:>7.3f}{r['p50_ms']:>8.2f}{r['p95_ms']:>8.2f}"
              f"{r['roofline_single_ms']:>8.2f}{r['per_second']:>10.0f}{r['times_exact']:>8.2f}{r['build_seconds']:>8.1f}"
              f"{r['bytes'] / 1e6:>8.1f}  {r['path']}{'' if r['equal'] else ' (not equal)'}")  # fmt: skip
