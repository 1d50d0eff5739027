"""Load many vectors into Milvus Lite, kill the process twice on the way, load again, count, and compare the search.

    python tools/milvus_kill.py [number of vectors] [--json FILE]

The vectors are sampled with the spectrum and the clusters of pydocs' own (`benchmarks.fitted`). Two-stage search in
Milvus (64, then 200 survivors at full width) is compared with exact search and with the course's own engine.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.fitted import fit, rotation
from mrl_tutorial import Encoder, Retriever, embed_task, exact_search, load_task, shortlist
from mrl_tutorial.files import write_json
from mrl_tutorial.retrieval.milvus import MilvusStore
from mrl_tutorial.topk import unit

DS, DEPTH, QUERIES, BATCH = 64, 200, 200, 2000
LOADER = f"""
import os, signal, sys
import numpy as np
from mrl_tutorial.retrieval.milvus import MilvusStore

def progress(done, total, label):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

MilvusStore(sys.argv[1], ds={DS}).load(np.load(sys.argv[2], mmap_mode="r"), batch={BATCH}, progress=progress)
"""
COUNTER = f"""
import sys
from mrl_tutorial.retrieval.milvus import MilvusStore

print(MilvusStore(sys.argv[1], ds={DS}).count())
"""


def main() -> None:
    """Print what was written, held and found."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("vectors", nargs="?", type=int, default=200_000)
    p.add_argument("--json", type=Path)
    args = p.parse_args()
    task, encoder = load_task("pydocs"), Encoder.load()
    own = unit(np.asarray(embed_task(task, encoder, "test")["documents"][-1]))
    sampled = fit(unit(own @ rotation(own)), 256)(args.vectors + QUERIES, 1)
    queries, documents = sampled[:QUERIES], np.ascontiguousarray(sampled[QUERIES:])
    found: dict = {"vectors": len(documents), "width": documents.shape[1], "kills": []}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", documents)
        uri = str(Path(folder) / "vectors.db")
        for share in (0.35, 0.7):
            stop = int(share * len(documents))
            done = subprocess.run([sys.executable, "-c", LOADER, uri, f"{folder}/x.npy", str(stop)], env=os.environ)
            assert done.returncode == -signal.SIGKILL, done.returncode
            # counted in a process of its own: an embedded file has one owner, until that process ends
            held = subprocess.run([sys.executable, "-c", COUNTER, uri], env=os.environ, capture_output=True, text=True)
            found["kills"].append({"at": stop, "held": int(held.stdout.split()[-1])})
            print(f"killed at {stop:,}: {found['kills'][-1]['held']:,} rows held", flush=True)
        store = MilvusStore(uri, ds=DS)
        began = time.perf_counter()
        found["written_after"] = store.load(documents, batch=BATCH)
        found["seconds_after"] = round(time.perf_counter() - began, 1)
        found["held"], found["written_again"] = store.count(), store.load(documents, batch=BATCH)
        print(
            f"resumed: {found['written_after']:,} written in {found['seconds_after']} s, {found['held']:,} held of "
            f"{len(documents):,}; loading once more writes {found['written_again']}"
        )
        truth = exact_search(queries, documents, 10).rows
        ours = Retriever(documents, shortlist(DS, documents.shape[1], DEPTH)).search(queries, 10).rows
        theirs = store.search(queries, 10, depth=DEPTH).rows
        store.close()
    for name, rows in (("milvus", theirs), ("in process", ours)):
        found[f"recall@10 {name}"] = float((rows[:, :, None] == truth[:, None]).any(2).mean())
    found["equal"] = float((theirs == ours).all(1).mean())
    print(
        f"recall@10 against exact search: Milvus {found['recall@10 milvus']:.4f}, in process "
        f"{found['recall@10 in process']:.4f}; the very same list for {found['equal']:.1%} of {QUERIES} queries"
    )
    if args.json:
        write_json(args.json, {"command": f"python tools/milvus_kill.py {args.vectors}", **found})


if __name__ == "__main__":
    main()
