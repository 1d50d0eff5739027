"""Load 200,000 vectors into Milvus Lite, kill the process twice on the way, load again, count, and compare the search.

    python -m tools.milvus_kill [number of vectors] [--json FILE]

The vectors are those of pydocs' documents and steps from them (`benchmarks.fitted`). Two-stage search in Milvus (64,
then 200 at full width) is compared with exact search and with the same search in this process, before and after
documents were replaced and deleted while another thread searched.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.fitted import moved, rotation, steps
from mrl_tutorial import Encoder, Retriever, embed_task, load_task, shortlist
from mrl_tutorial.files import write_json
from mrl_tutorial.retrieval.milvus import MilvusStore
from mrl_tutorial.retrieval.timing import found_share
from mrl_tutorial.topk import top_k, unit

DS, DEPTH, QUERIES, BATCH, CHANGED = 64, 200, 200, 2000, 5000
LOADER = f"""
import os, signal, sys
import numpy as np
from mrl_tutorial.retrieval.milvus import MilvusStore

def progress(done, total, label):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

MilvusStore(sys.argv[1], ds={DS}).load(np.load(sys.argv[2], mmap_mode="r"), batch={BATCH}, progress=progress)
"""
COUNTER = "import sys; from mrl_tutorial.retrieval.milvus import MilvusStore; print(MilvusStore(sys.argv[1]).count())"


def main() -> None:
    """Print what was written, held and found."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("vectors", nargs="?", type=int, default=200_000)
    p.add_argument("--json", type=Path)
    args = p.parse_args()
    own = unit(np.asarray(embed_task(load_task("pydocs"), Encoder.load(), "test")["documents"][-1]))
    own = unit(own @ rotation(own))
    queries, documents = np.split(moved(own, args.vectors + QUERIES, 1.2, 1, steps(own, 2000)), [QUERIES])
    found: dict = {"vectors": len(documents), "width": documents.shape[1], "kills": []}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", documents)
        uri = str(Path(folder) / "vectors.db")
        for share in (0.35, 0.7):
            stop = int(share * len(documents))
            done = subprocess.run([sys.executable, "-c", LOADER, uri, f"{folder}/x.npy", str(stop)])
            assert done.returncode == -signal.SIGKILL, done.returncode
            # counted in a process of its own: an embedded file has one owner, until that process ends
            held = subprocess.run([sys.executable, "-c", COUNTER, uri], capture_output=True, text=True)
            found["kills"].append({"at": stop, "held": int(held.stdout.split()[-1])})
            print(f"killed at {stop:,}: {found['kills'][-1]['held']:,} rows held", flush=True)
        store, began = MilvusStore(uri, ds=DS), time.perf_counter()
        found["written_after"] = store.load(documents, batch=BATCH)
        found["seconds_after"] = round(time.perf_counter() - began, 1)
        found["held"], found["written_again"] = store.count(), store.load(documents, batch=BATCH)
        print({name: found[name] for name in ("written_after", "seconds_after", "held", "written_again")}, flush=True)
        found["before"] = compare(store, documents, queries)
        changed, found["searches_meanwhile"] = change(store, documents, queries)
        found["after"] = compare(store, changed, queries, len(documents) - CHANGED)
        store.close()
    print(f"{found['before']}; after {CHANGED:,} were replaced and {CHANGED:,} deleted: {found['after']}")
    if args.json:
        write_json(args.json, {"command": f"python -m tools.milvus_kill {args.vectors}", **found})


def change(store: MilvusStore, documents: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, int]:
    """Replace the first CHANGED documents by the queries' neighbors and delete the last CHANGED, while another thread
    searches; what the collection should then hold, and how many searches were answered meanwhile."""
    changed, stop, answered = documents[:-CHANGED].copy(), threading.Event(), list[bool]()
    changed[:CHANGED] = np.resize(queries, (CHANGED, queries.shape[1])) + 0.1 * documents[:CHANGED]

    def ask() -> None:
        while not stop.is_set():
            rows = store.search(queries[len(answered) % len(queries)], 10, depth=DEPTH).rows
            answered.append(bool((rows >= 0).all()))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for start in range(0, CHANGED, 1000):
            rows = np.arange(start, start + 1000)
            store.upsert(rows, changed[rows])
            store.delete(rows + len(documents) - CHANGED)
    finally:
        stop.set()
        asking.join()
    assert answered and all(answered)
    return changed, len(answered)


def compare(store: MilvusStore, documents: np.ndarray, queries: np.ndarray, held: int | None = None) -> dict:
    """recall@10 of both, the share of queries with the very same list, milliseconds of a query in Milvus."""
    assert held is None or store.count() == held, (store.count(), held)
    truth = top_k(queries, documents, 10)[0]
    ours = Retriever(documents, shortlist(DS, documents.shape[1], DEPTH)).search(queries, 10).rows
    began = time.perf_counter()
    theirs = store.search(queries, 10, depth=DEPTH).rows
    took = 1e3 * (time.perf_counter() - began) / len(queries)
    same = float((theirs == ours).all(1).mean())
    return {"milvus": found_share(theirs, truth), "in process": found_share(ours, truth), "same list": same,
            "ms": round(took, 1)}  # fmt: skip


if __name__ == "__main__":
    main()
