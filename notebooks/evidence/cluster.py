"""A cluster of Milvus on paper, as lesson 11 shows it."""

from __future__ import annotations

import math

from mrl_tutorial.errors import InputError


def cluster_needs(n: int, searched: int, kept: int = 0, index: str = "HNSW_SQ", *, node_gb: float = 64) -> dict:
    """What a cluster holds for `n` vectors: `searched` coordinates of each in memory, `kept` float32 ones on disk.

    index: "FLAT" or "HNSW" (float32), "HNSW_SQ" (a byte each), "IVF_RABITQ" (a bit each and two float32); a graph has
    32 links of 4 bytes. Keys: memory_gb and disk_gb (10^9 bytes), nodes (three quarters of `node_gb` for data), shards
    (of 100 million rows). Raises InputError for another index.

    >>> cluster_needs(10**9, 128, 1024)
    {'memory_gb': 256.0, 'disk_gb': 4096.0, 'nodes': 6, 'shards': 10}
    """
    graph, bits = 128.0, searched / 8 + 8
    sizes = {"FLAT": 4 * searched, "HNSW": 4 * searched + graph, "HNSW_SQ": searched + graph, "IVF_RABITQ": bits}
    if index not in sizes:
        raise InputError(f"index {index!r} is unknown: give one of {', '.join(sizes)}")
    gb = n * sizes[index] / 1e9
    machines = {"nodes": math.ceil(gb / (0.75 * node_gb)), "shards": math.ceil(n / 10**8)}
    return {"memory_gb": gb, "disk_gb": n * 4 * kept / 1e9, **machines}
