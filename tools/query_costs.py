"""What a query costs up to each layer: processor time of one thread, written to data/results/query-costs.csv.

python -m tools.query_costs --out data/results/query-costs.csv
"""

from __future__ import annotations

import argparse
import statistics
import time

import pandas as pd
import torch

from mrl_tutorial import Encoder, files, load_task
from mrl_tutorial.training.sweep_file import environment

QUERIES = 100  # timed, one after the other


def query_costs(encoder: Encoder, queries: list[str], precision: str = "fp32") -> pd.DataFrame:
    """Milliseconds of processor time, on one thread, from one query to its vector at each layer: the median over
    `queries`, and the quartiles."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    try:
        for layer in range(1, encoder.n_layers + 1):
            taken = []
            for query in [*queries[:20], *queries]:  # the first ones warm up
                begun = time.process_time()
                encoder.encode_layers([query], layers=[layer], prompt="query", precision=precision, cache=False)
                taken.append(1000 * (time.process_time() - begun))
            quartiles = statistics.quantiles(taken[20:], n=4)
            rows.append((layer, precision, *(round(x, 3) for x in (quartiles[1], quartiles[0], quartiles[2]))))
    finally:
        torch.set_num_threads(before)
    return pd.DataFrame(rows, columns=["layer", "precision", "milliseconds", "low", "high"])


def main() -> None:
    """Time the queries and write the table."""
    parser = argparse.ArgumentParser(description="processor time of one query, up to each layer")
    parser.add_argument("--out", required=True)
    out = parser.parse_args().out
    task = load_task("pydocs")
    queries = [task.queries[query] for query in task.judged("dev")[:QUERIES]]
    found = query_costs(Encoder.load(), queries)
    header = {"command": f"python -m tools.query_costs --out {out}", "queries": f"{len(queries)} of pydocs dev"}
    lines = [f"# {name}: {value}\n" for name, value in {**header, **environment(), "threads": "1"}.items()]
    with files.whole_file(out) as temporary:
        temporary.write_text("".join(lines) + found.to_csv(index=False, lineterminator="\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
