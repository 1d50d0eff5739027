# %% [markdown]
# # 06 · Adaptive retrieval: search short, decide long
#
# **You will**
#
# - search with a short prefix of every vector, *rerank* what it finds with the full vector, and see what gets lost on the way;
# - count what that saves in multiply-adds, in time and in bytes, and learn why these are three different answers;
# - meet the cases in which it saves nothing;
# - let the computer choose the cheapest way to search that keeps the quality, and report it honestly;
# - draw your own path over the grid of layers and dimensions, and learn what a cluster would need for a billion vectors.
#
# You need notebook 00 (the grid, cosine, nDCG@10). About three minutes on 2 cores the first time, one minute after that. What the paper
# claims about adaptive retrieval is put to the test in [evidence E1](evidence/E1_mrl.ipynb), M6 and M7.

# %% jupyter={"source_hidden": true} tags=["setup"]
# On Colab: fetch and install the course, switch its widgets on. Anywhere else this cell does nothing.
import sys

if "google.colab" in sys.modules:
    import os
    import subprocess

    from google.colab import output

    repository, folder = "", "/content/course"
    if not os.path.isdir(folder):
        if not repository:
            raise RuntimeError(
                "This copy of the course does not know where it was published. Write the address of its repository "
                f"between the quotes above, or unzip the course into {folder}, and run this cell again."
            )
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", repository, folder], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", folder + "[panels,ann]"], check=True)
    os.chdir(folder + "/notebooks")
    sys.path[:0] = [folder, folder + "/notebooks"]
    output.enable_custom_widget_manager()

# %%
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from exercises import retrieval as check

from mrl_tutorial import (
    Encoder,
    FunnelDesigner,
    InputError,
    MilvusStore,
    Retriever,
    Stage,
    embed_splits,
    evaluate_grid,
    load_task,
    measure_path,
    plan_retrieval,
    shortlist,
    train,
)
from mrl_tutorial.files import data_file
from mrl_tutorial.panels import plots
from mrl_tutorial.retrieval import costs
from mrl_tutorial.retrieval.timing import found_share, milliseconds

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs
print(
    f"Python {platform.python_version()}, NumPy {np.__version__}, torch {torch.__version__}, "
    f"{torch.get_num_threads()} threads"
)

# %% [markdown]
# ## The task, and two models
# The task is the one of notebook 00: find the documentation that belongs to a sentence. We take two models with the same six
# layers and 384 dimensions. **plain** is `all-MiniLM-L6-v2` as it comes. **trained** has a *head* behind every layer, a matrix
# that turns its vectors so that early coordinates carry most; it takes seconds to train.
#
# Each layer's head is trained alone, so nothing here is evidence about which *recipe* is good for layers; that is notebook 04.

# %%
task = load_task("pydocs")
if FAST:
    task = task.smaller(800)
encoder = Encoder.load("all-MiniLM-L6-v2")
print(task)

headed = train(
    encoder, task, "all-cells", what="heads", heads="per-layer", batch_size=256, steps=20 if FAST else 100
).encoder
plain = embed_splits(task, encoder)  # {"dev": {"queries": (6, Q, 384), "documents": (6, N, 384)}, "test": ...}
trained = embed_splits(task, headed)
for model in (plain, trained):
    model["test"]["documents"] = model["dev"]["documents"]  # the same documents: hold them once
n, width = plain["dev"]["documents"].shape[1:]
print({split: {part: x.shape for part, x in parts.items()} for split, parts in trained.items()})

# %% [markdown]
# ## Step by step, for one query
# **Exact search** compares the query with every document at full width, by cosine, and sorts. **Adaptive retrieval** does it in
# two stages:
#
# 1. *shortlist*: compare the query with every document by the first $D_s$ coordinates alone, and keep the best $K$;
# 2. *rerank*: compare it with those $K$ at a larger width $D_r$, here always the full one, and sort them by that.
#
# In code a path is a list of stages, `Stage(dimension, depth)`, where the *depth* is the number of documents that a stage hands on. Below, one query goes through both ways.

# %%
# the last layer: (N, 384), (Q, 384)
documents, queries = trained["dev"]["documents"][-1], trained["dev"]["queries"][-1]
ids, asked = list(task.corpus), task.judged("dev")

exact = Retriever(documents, [Stage(width)])
truth = exact.search(queries, 10).rows  # (Q, 10) rows of the full model's ten best, for every query
short = exact.with_stages([Stage(16, depth=20), Stage(width)])
found = short.search(queries, 10)

relevant = np.array([ids.index(next(iter(task.qrels[q]))) for q in asked])
place = np.where(found.survivors[0] == relevant[:, None], np.arange(1, 21), 0).max(1)  # in the shortlist; 0: not in it
example = int(np.flatnonzero((place > 5) & (truth[:, 0] == relevant))[0])

print("query:", task.queries[asked[example]], "\n")
print(f"{'':>4} {'shortlist, by 16 dimensions':<58} reranked, by {width}")
for rank in range(10):
    line = [
        ("* " if r == relevant[example] else "  ") + ids[r][-52:]
        for r in (found.survivors[0][example, rank], found.rows[example, rank])
    ]
    print(f"{rank + 1:>4} {line[0]:<58} {line[1]}")
then = list(found.rows[example]).index(relevant[example]) + 1
print(f"\n* the relevant document: place {place[example]} of the shortlist, then place {then}")

# %% [markdown]
# **What to see.** Sixteen coordinates know roughly what the query is about; they cannot tell close neighbors apart. That is
# enough: the shortlist only has to *contain* the right document, wherever it stands. The second stage sees twenty documents at
# full width and puts it where it belongs. A document that is not among the twenty is gone: no later stage can bring it back.
#
# ## How long must the shortlist be?
# For every query, take the full model's ten best documents and look up their **places** in the ranking by $D_s$ coordinates. A
# shortlist of $K$ holds exactly those whose place is at most $K$. The share that it holds, over all queries, is its **recall**
# of the full model's ten.


# %%
def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def places(queries, documents, truth, dim):
    """Place of each document of `truth` (Q, 10) in the ranking by the first `dim` coordinates: (Q, 10), from 1."""
    scores = unit(queries[:, :dim]) @ unit(documents[:, :dim]).T  # (Q, N)
    theirs = np.take_along_axis(scores, truth, 1)
    return 1 + np.stack([(scores > theirs[:, [j]]).sum(1) for j in range(truth.shape[1])], axis=1)


def log_axis(title, values):
    """A logarithmic axis whose ticks are all readable."""
    ticks = [
        m * 10.0**e for e in range(-4, 6) for m in (1, 2, 5) if min(values) / 1.5 <= m * 10.0**e <= 1.5 * max(values)
    ]
    return {
        "type": "log",
        "title": {"text": title},
        "tickvals": ticks,
        "ticktext": [f"{t:,g}" for t in ticks],
        "showgrid": True,
    }


depths = [k for k in (10, 20, 50, 100, 200, 400, 800, 1600) if k < n]
at = {dim: places(queries, documents, truth, dim) for dim in (8, 16, 32, 64, 128)}
lines = {f"{dim} dimensions": [float((p <= k).mean()) for k in depths] for dim, p in at.items()}
needed = {dim: int(np.quantile(p, 0.99)) for dim, p in at.items()}
print("K that holds 99 % of the full model's ten:", ", ".join(f"{dim} dims {k:,}" for dim, k in needed.items()))

figure = go.Figure()
for i, (name, values) in enumerate(lines.items()):
    figure.add_scatter(
        x=depths,
        y=values,
        name=name,
        mode="lines+markers",
        line={"color": plots.COLORS[i], "width": 3},
        marker={"size": 8},
    )
figure.add_scatter(
    x=depths, y=[0.99] * len(depths), name="99 %", mode="lines", line={"color": "#555555", "dash": "dash", "width": 2}
)
figure.update_layout(
    **plots.style("How much of the full model's ten is in the shortlist"),
    height=420,
    xaxis=log_axis("length of the shortlist, K (log scale)", depths),
    yaxis={"title": {"text": "recall"}, "showgrid": True, "range": [0, 1.03]},
)
figure

# %% [markdown]
# **What to see.** Every curve climbs toward 1, the narrow ones late; the dashed line is 99 %. The printed line says where each
# reaches it. Halving the dimension multiplies the shortlist that is needed, so a cheap first stage pays with a long second one.
# At 8 dimensions the list would have to hold a large part of all documents.
#
# ## What it costs: multiply-adds
# Comparing two vectors of $d$ numbers takes $d$ multiplications, each with an addition. Such a pair is one *multiply-add*; a
# million of them we write as 1 MFLOP, as the papers do. So a query costs
#
# $$\text{exact: } N \cdot D \qquad\qquad \text{adaptive: } N \cdot D_s + K \cdot D_r .$$
#
# A **funnel** has more stages: the shortlist shrinks while the dimension grows. The paper that introduced all this (Kusupati et
# al., *Matryoshka Representation Learning*) searched two sets of images, ImageNet-1K and the larger ImageNet-4K, with vectors of
# 2,048 dimensions. It says that 16 dimensions for the shortlist make the search 128 times cheaper. Here are its factors,
# recomputed from its sizes:

# %%
IMAGENET, IMAGENET_4K = 1_281_167, 4_202_000  # documents; the paper gives the second as "about 4.2 million"
full_flops = costs.search_flops(IMAGENET, 2048)
adaptive = costs.adaptive_flops(IMAGENET, 16, 200, 2048)
funnelled = costs.funnel_flops(IMAGENET, [16, 32, 64, 128, 256, 2048], [200, 100, 50, 25, 10])
paper = {
    "ImageNet-1K, 16 then 2048, K 200": (full_flops, adaptive),
    "ImageNet-1K, the same without the rerank": (full_flops, costs.search_flops(IMAGENET, 16)),
    "ImageNet-1K, funnel 16 to 2048": (full_flops, funnelled),
    "ImageNet-4K, 64 then 2048, K 200": (
        costs.search_flops(IMAGENET_4K, 2048),
        costs.adaptive_flops(IMAGENET_4K, 64, 200, 2048),
    ),
}
for name, (whole, part) in paper.items():
    print(f"{name:<44} {whole / 1e6:>9.1f} against {part / 1e6:>8.3f} MFLOPs: {whole / part:>7.2f} times fewer")

# %% [markdown]
# **What to see.** The published 128 is $D / D_s$, the second line: it leaves the rerank out. The first line counts it. More
# important, the factor can never exceed $D / D_s$, whatever $K$ is. Our vectors have 384 dimensions: with a shortlist at 32 the
# most there is to gain is 384 / 32 = 12. A large factor comes from large vectors.
#
# ## Quality against multiply-adds
# Now our own measurement. A query is searched either at one width alone (squares on a dotted line), or with a shortlist at some
# $D_s$ and $K$ and then at full width (dots). Only ways on the **Pareto front**, the solid line, are worth having: those that no
# other beats in both cost and quality. We look at the dev queries.


# %%
def last_layer(embeddings):
    return {
        split: {part: np.ascontiguousarray(x[-1:]) for part, x in parts.items()} for split, parts in embeddings.items()
    }


TRY_K = (10, 20, 50, 100, 200, 400)  # lengths of the shortlist


def tried(task, embeddings):
    """All plain and two-stage searches at the last layer, on dev: Ds, K (0: no second stage), MFLOPs, nDCG@10."""
    planned = plan_retrieval(task, last_layer(embeddings), engines=["float32"], reranking=["float32"], depths=TRY_K)
    return [(p.stages[0].dim, p.stages[0].depth or 0, p.flops / 1e6, p.dev) for p in planned.tried]


def front(rows):
    """Rows that no other beats in both cost and quality, cheapest first."""
    kept = []
    for row in sorted(rows, key=lambda row: (row[2], -row[3])):
        if not kept or row[3] > kept[-1][3]:
            kept.append(row)
    return kept


tables = {"plain": tried(task, plain), "trained": tried(task, trained)}
figure = go.Figure()
for i, (name, rows) in enumerate(tables.items()):
    color = plots.COLORS[i]
    two, one = [r for r in rows if r[1]], [r for r in rows if not r[1]]
    figure.add_scatter(
        x=[r[2] for r in two],
        y=[r[3] for r in two],
        mode="markers",
        name=f"{name}: shortlist and rerank",
        marker={"color": color, "size": 8, "opacity": 0.45},
    )
    figure.add_scatter(
        x=[r[2] for r in one],
        y=[r[3] for r in one],
        mode="lines+markers",
        name=f"{name}: one width",
        line={"color": color, "dash": "dot", "width": 2},
        marker={"symbol": "square", "size": 8},
    )
    figure.add_scatter(
        x=[r[2] for r in front(rows)],
        y=[r[3] for r in front(rows)],
        mode="lines",
        name=f"{name}: Pareto front",
        line={"color": color, "width": 3},
    )
figure.update_layout(
    **plots.style("nDCG@10 against multiply-adds, pydocs dev queries"),
    height=470,
    xaxis=log_axis("MFLOPs of a query (log scale)", [r[2] for r in rows]),
    yaxis={"title": {"text": "nDCG@10"}, "showgrid": True, "rangemode": "tozero"},
    legend={"x": 0.99, "y": 0.02, "xanchor": "right", "yanchor": "bottom"},
)
figure

# %% [markdown]
# **What to see.** Each solid front runs above and to the left of the dotted line in its color: for the same work, shortlist and
# rerank find more than any one width. Then compare the two solid lines at one height: how much more work does the plain model
# need for the same quality?
#
# Choosing among many dots by looking at them flatters the one chosen. A path is chosen on *dev* queries and reported on *test* queries,
# with an interval (further down, `plan_retrieval` does both). With three seeds, paths chosen so keep full quality within a point at several times
# fewer multiply-adds; the figures are in E1, M6.
#
# ## When it loses
# Three ways to lose, each in one line of the next cell: a shortlist that is too short, a model whose early coordinates are
# nothing special, and a small collection. The fourth is often forgotten: *encoding the query* costs as well, and no
# shortlist makes that cheaper.

# %%
full_quality = {name: next(row[3] for row in rows if row[0] == width) for name, rows in tables.items()}
print(
    "too short a list   ",
    ", ".join(
        f"K {k}: {q / full_quality['trained']:.0%} of full quality"
        for ds, k, _, q in tables["trained"]
        if ds == 16 and k in (10, 50, 200)
    ),
    "(16 dimensions, trained)",
)
print(
    "a plain model      ",
    ", ".join(
        f"{name} {next(q for ds, k, _, q in rows if (ds, k) == (32, 50)) / full_quality[name]:.0%}"
        for name, rows in tables.items()
    ),
    "(32 dimensions, K 50)",
)
ratios = {
    size: costs.search_flops(size, width) / costs.adaptive_flops(size, 32, 200, width)
    for size in (500, 6306, 100_000, 10_000_000)
}
print(
    "a small collection ",
    ", ".join(f"{size:,} documents: {ratio:.1f} times fewer" for size, ratio in ratios.items()),
    "(32 dimensions, K 200)",
)
encoding = costs.encode_flops(6, width, 4 * width, 16)
print(
    f"the query          encoding 16 tokens: {encoding / 1e6:.0f} MFLOPs; "
    f"exact search of {n:,} documents: {n * width / 1e6:.1f}; they are equal at {encoding // width:,} documents"
)

# %% [markdown]
# **What to see.** The first three lines give the share of full quality that is left, or how many times fewer multiply-adds are
# needed. The last: on a collection like ours, encoding the query costs many times more than comparing it with everything.
# Adaptive retrieval begins to matter from about the number of documents at the end of the line. We keep it in mind for the
# clock.
#
# ## The clock
# Multiply-adds are not seconds. A scan waits for memory; a rerank jumps about in it; Python adds its own time to every stage;
# and there are *indexes* that avoid looking at all documents. **HNSW** links each vector to some of its neighbors, a graph, and walks along
# the links toward the query. Two races: a query asked *alone*, and many asked together, as a *batch*, where exact search is one matrix product.
# **Live**, on our collection, and beside it what encoding a query takes:

# %%
ways = {
    "exact": [Stage(width)],
    "64 dims, 100 reranked": shortlist(64, width, 100),
    "64 dims int8, reranked": shortlist(64, width, 100, engine="int8", rerank="int8"),
    "binary, reranked": shortlist(width, width, 100, engine="binary", rerank="int8"),
    "HNSW, full width": [Stage(width, engine="hnsw")],
    "HNSW at 64, reranked": shortlist(64, width, 100, engine="hnsw"),
}
print(f"{'milliseconds of a query':<26}{'alone':>8}{'in a batch of 256':>19}{'of the ten found':>18}")
for name, path in ways.items():
    try:
        made = exact.with_stages(path)
    except InputError as error:  # without FAISS
        print(f"{name:<26} {error}")
        continue
    alone, batch = (milliseconds(made.search, queries, race) for race in ("single", "batch"))
    print(f"{name:<26}{alone:>8.3f}{batch:>19.3f}{found_share(made.search(queries, 10).rows, truth):>18.1%}")
began = time.perf_counter()
for query in asked[:20]:
    encoder.encode([task.queries[query]])
print(f"\nencoding one query: {1e3 * (time.perf_counter() - began) / 20:.1f} ms")

# %% [markdown]
# **What to see.** Compare the last line with the table. Where encoding the query takes far longer than searching by it, nobody will notice
# what a quicker search saves, and nothing needs to be built or tuned for exact search: use it and be done.
#
# ## The clock, at a size where it matters
# A larger scale takes long, so it was run once, by the command that the next cell prints, and stored with the course: sentences from the
# documentation of installed Python packages, and made collections with the same neighborhoods, up to a million vectors. All are rotated by
# PCA (notebook 05), so that the first coordinates carry most, as training for prefixes would do it; cosines at full width do not change
# by that. Every engine searches once at full width and once on the first 128 numbers with a rerank. Its settings are chosen on one half of the
# queries, so that it finds 98 % of what exact search finds, and timed on the other half.
#
# *x exact*: how many times as quick as exact search in float32. *x full*: how many times as quick as the same engine at full width; this is what
# the prefix saves.

# %%
sys.path.append("..")  # the benchmarks lie beside the notebooks, outside the package
from benchmarks import retrieval_report

stored = json.loads((data_file("results") / "retrieval.json").read_text(encoding="utf-8"))
print(stored["command"])
parts = [part for part in stored["parts"].values() if part["rows"]]
for part in parts:
    print(f"\n{part['name']}: {part['documents']:,} x {part['width']}\n{retrieval_report.table(part['rows'], (0.98,))}")

# %% [markdown]
# **What to see.** *Alone* (the right half) and *in batches* (the left half) are two different races.
#
# - Alone, exact search has to read every vector for one query. Memory is its limit, so the way to be quicker is to read fewer
#   bytes: a prefix, a small type, or only the vectors that a graph walks by.
# - In a batch, exact search is one matrix product. Each vector is read once for all queries of the batch, so memory hardly
#   counts and arithmetic is the limit. A rerank, and a walk through a graph, must still read for each query what that query
#   alone needs.
#
# The same in a picture, with other recalls than 98 %:

# %%
drawn = [part for part in parts if part["name"].startswith(("real", "a million"))][:2]
go.Figure(retrieval_report.picture(drawn, retrieval_report.finding(parts[0])))

# %% [markdown]
# **What to see.** Up is quicker on the left and slower on the right; the dashed line is exact search. Follow one color from the left to the right
# end: the last percent of recall costs most. Where does a prefix (colors named so) beat the full width of other engines, and where not?
# [Evidence E1](evidence/E1_mrl.ipynb), M7, draws the verdict. Look also at what each asks for: a graph has to be built and lives in
# memory with all vectors; a shortlist is a copy of some columns.
#
# **The roofline.** Two limits hold for whatever looks at all documents. A query alone reads them from memory: bytes, over the
# memory's speed (*least ms*). A batch reads each document once for all its queries, and is limited by arithmetic: multiply-adds,
# over what one thread of the processor does in a second (*most /s*).

# %%
for part in parts:
    print(retrieval_report.roofline(part, stored["machine"]), "\n")

# %% [markdown]
# **What to see.** Exact search stands near its limits: only fewer bytes and smaller numbers make it quicker. The prefix in a small
# type has limits far above; what it does not reach goes into picking the best of all scores and into the rerank. A graph looks at
# a few thousand documents, and neither limit binds it.
#
# ## The same without this course
# Both stages are a few lines of any library. With FAISS (the prefix in 8 bits a coordinate, in a graph), and then the rerank:

# %% tags=["plain-faiss"]
try:
    import faiss

    def unit32(x):
        return np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)

    index = faiss.index_factory(64, "HNSW32,SQ8", faiss.METRIC_INNER_PRODUCT)
    index.train(unit32(documents[:, :64]))
    index.add(unit32(documents[:, :64]))
    index.hnsw.efSearch = 200
    _, short_rows = index.search(unit32(queries[:, :64]), 100)  # (Q, 100)
    scores = np.einsum("qd,qkd->qk", unit32(queries), unit32(documents)[short_rows])
    plain_rows = np.take_along_axis(short_rows, np.argsort(-scores, axis=1)[:, :10], 1)  # (Q, 10)
    print(f"{found_share(plain_rows, truth):.1%} of what exact search finds")
except ImportError:
    print('without FAISS: pip install "mrl-tutorial[ann]"')

# %% [markdown]
# ## Bytes
# Saving time is not saving memory. The shortlist's prefix is stored a second time, on its own, so that the scan reads it from
# end to end. The full vectors must be at hand for reranking, but only $K$ of them are read. Bytes of one document, as these
# engines store it (a scan by cosine adds four bytes for the vector's length):

# %%
forms = {
    "exact, 384 float32": [Stage(width)],
    "exact, 64 float32 (no rerank)": [Stage(64)],
    "64 float32, rerank 384 float32": shortlist(64, width, 100),
    "64 int8, rerank 384 int8": shortlist(64, width, 100, engine="int8", rerank="int8"),
    "384 binary, rerank 384 int8": shortlist(width, width, 100, engine="binary", rerank="int8"),
    "HNSW at 384": [Stage(width, engine="hnsw")],
    "HNSW at 64, rerank 384 float32": shortlist(64, width, 100, engine="hnsw"),
}
last = {split: {part: np.ascontiguousarray(x[-1:]) for part, x in trained[split].items()} for split in ("dev",)}
print(f"{'':<34}{'scanned':>9}{'rerank':>8}{'total':>8}{'read by a query, 10 M docs':>29}{'nDCG@10':>9}")
for name, path in forms.items():
    try:
        made = exact.with_stages(path)
    except InputError as error:
        print(f"{name:<34} {error}")
        continue
    held = {what: size / n for what, size in made.nbytes.items()}
    read = (made.index.cost.nbytes / n * 1e7 + (made.bytes_read() - made.index.cost.read)) / 1e6
    read = f"{read:>24,.0f} MB" if "HNSW" not in name else f"{'not a scan':>27}"
    quality = measure_path(task, last, path, "dev").mean()
    print(
        f"{name:<34}{held['scan']:>7.0f} B{held['rerank']:>6.0f} B{sum(held.values()):>6.0f} B  {read}{quality:>11.3f}"
    )

# %% [markdown]
# **What to see.** With `float32` throughout, two stages hold *more* than exact search, not less; what falls is what a query
# *reads*. Memory falls with the type: one byte a number, or one bit. A small type and a short prefix can be combined, and the
# last column shows what is left of the quality. If the full vectors are on disk, only the first column has to be in memory.
#
# The shortlist's width need not be one that was trained: what a prefix of 24 or 48 holds lies between its trained neighbors.
#
# ## Layers too
# A path may also change the *layer*: an early layer for the shortlist, the last one for the rerank. The query is encoded once,
# and passes its early layers anyway. What would that save? Not the scan: its cost depends on the width alone, so an early layer
# would have to beat the last one at the same width. The next cell prints whether it does.
#
# Early layers save something only where *encoding* stops early: for documents, or for queries. A way to do the second: keep the
# documents of the full model, and encode the *query* with fewer layers. Do the two still meet? In the figure, the query comes
# from layer $l$, and the documents from layer $l$ too (*paired*) or from the last (*fixed document*).

# %%
print(
    "share of the full model's ten in a shortlist of 100 (dev)\nlayer" + "".join(f"{d:>9} dims" for d in (32, 64, 128))
)
stack = Retriever(trained["dev"]["documents"], [Stage(width)])
for layer in (1, 3, 5, 6):
    shares = []
    for d in (32, 64, 128):
        listed = stack.with_stages([Stage(d, layer=layer)]).search(trained["dev"]["queries"], 100).rows
        shares.append((listed[:, None] == truth[:, :, None]).any(2).mean())
    print(f"{layer:>5}" + "".join(f"{share:>14.3f}" for share in shares))

paired = evaluate_grid(task, embeddings=trained["dev"], split="dev", max_queries=300)
fixed = evaluate_grid(task, embeddings=trained["dev"], split="dev", max_queries=300, fixed_document=True)
plots.heatmaps(
    {"paired": paired.values, "fixed document": fixed.values},
    paired.layers,
    paired.dims,
    title="nDCG@10 with the trained heads",
)

# %% [markdown]
# **What to see.** In the printed table, go down a column: no early layer holds as much as the last, at the same cost. In the
# figure, on the left both sides stop at the same layer; on the right only the query does, and below the top row it finds next to
# nothing. Our heads were trained layer by layer, each on its own pair of query and document, so early queries and late documents
# never learned to speak with each other. Training the whole model with fixed documents changes that: see the
# switches in notebook 04.
#
# ## Let the computer choose
# `plan_retrieval` tries paths over layers, widths, lengths, types and engines on the dev queries, takes the cheapest that keeps
# the share of quality you ask for, and reports it, with the front, on the test queries. The price here is *bytes read by a
# query*: a multiply-add of float32 and one of single bits are not the same work, a byte is a byte. *Chance* is how likely
# other queries keep that share too, by drawing the dev queries again and again; a path that only just keeps it on dev, by
# luck, is not chosen.

# %%
planned = plan_retrieval(
    task, trained, 0.99, cost="bytes_read", layers=[5, 6], dims=[32, 64, 128, 256, width], depths=(20, 50, 100, 200)
)
print(planned.as_text())
print(
    f"\nchosen: {planned.chosen}\n"
    f"kept: {planned.kept[0]:.1%} of full quality on dev, {planned.kept[1]:.1%} on test; "
    f"{planned.full.bytes_read / planned.chosen.bytes_read:.0f} times fewer bytes read; "
    f"{len(planned.tried):,} paths tried\n\nthe code that runs it:\n{planned.code}"
)

figure = go.Figure()
thin = planned.tried[:: max(1, len(planned.tried) // 200)]
figure.add_scatter(
    x=[p.bytes_read / 1e6 for p in thin],
    y=[p.dev for p in thin],
    mode="markers",
    name="tried (dev)",
    marker={"size": 6, "color": "#9A9A9A", "opacity": 0.6},
)
figure.add_scatter(
    x=[p.bytes_read / 1e6 for p in planned.front],
    y=[p.dev for p in planned.front],
    mode="lines+markers",
    name="front, dev",
    line={"color": plots.COLORS[0], "width": 3},
    marker={"size": 9},
)
figure.add_scatter(
    x=[p.bytes_read / 1e6 for p in planned.front],
    y=[p.test for p in planned.front],
    mode="lines+markers",
    name="the same paths, test",
    line={"color": plots.COLORS[1], "dash": "dash", "width": 3},
    marker={"size": 9},
)
figure.add_scatter(
    x=[planned.chosen.bytes_read / 1e6],
    y=[planned.chosen.dev],
    mode="markers",
    name="chosen",
    marker={"size": 18, "symbol": "diamond", "color": plots.COLORS[4], "line": {"color": "#000000", "width": 2}},
)
corner = {"x": 0.99, "y": 0.02, "xanchor": "right", "yanchor": "bottom", "bgcolor": "rgba(255,255,255,0.85)"}
figure.update_layout(
    **plots.style("What a query reads, and what it finds"),
    height=430,
    xaxis=log_axis(f"MB read by a query, {n:,} documents (log scale)", [p.bytes_read / 1e6 for p in thin]),
    yaxis={"title": {"text": "nDCG@10"}, "showgrid": True},
    legend=corner,
)
figure

# %% [markdown]
# **What to see.** In the table, the front, cheapest first; the star marks the path that is chosen, the last line is exact
# search. In the figure, look how steep the front is at its left and how flat at its right: the last percent of quality costs
# most. The dashed line shows the same paths on test. Where it lies below the solid one, choosing by dev had been a little
# lucky; that is why we look.
#
# The price can also be milliseconds, measured on this machine, for queries alone or in batches, and with the encoding of
# the query. Then there is one more way to save: a query that stops at layer 4 and is compared with documents of the last.

# %%
timed = plan_retrieval(
    task, trained, 0.99, encoder=encoder, cost="ms", query_layers=[4], dims=[64, 128, width], depths=(50, 100),
    engines=["float32", "torch-int8"],
)  # fmt: skip
for title, plan in (("chosen", timed.chosen), ("full search", timed.full)):
    print(f"{title:<12} {plan.ms:6.2f} ms, of which {plan.encode_ms:.2f} are encoding; test {plan.test:.3f}  {plan}")
early = max((p for p in timed.tried if p.stages[0].query_layer), key=lambda p: p.dev)
print(
    f"{'early query':<12} {early.ms:6.2f} ms, of which {early.encode_ms:.2f} are encoding; dev  {early.dev:.3f}  {early}"
)

# %% [markdown]
# **What to see.** On a small collection encoding takes nearly all of the time, and what a plan saves of the search is hardly
# felt. Stopping early would save more than any shortlist, if the early query found the late documents; with these heads
# it does not.
#
# ## Draw your own
# Left, the path: stage 1 scans all documents in its cell, the last stage reranks in the top row. Right, what the path finds of
# the full model's ten, against what it costs. Try this:
#
# 1. Take **shortlist dims** down to 8, then **shortlist K** up to 800. Which of the two brings the lost back, and what does it
#    cost?
# 2. Add **stages between**. Does the funnel save more than it loses?
# 3. Take **shortlist layer** down to 3 with the *trained* model, then with the *plain* one.
# 4. Set **price it for** to a billion documents, and compare *MFLOPs*, those of the search, with *to encode*, those of the
#    query.
#
# Every path that the sliders can draw was walked beforehand, so the panel also works where no kernel runs (on a web page, say).

# %%
FunnelDesigner(
    task,
    {"plain": plain["dev"], "trained": trained["dev"]},
    queries=60 if FAST else 150,
    geometry=costs.MINILM,
    size=10**7,
)

# %% [markdown]
# **What to see.** The diamond is your path, a gray dot is any other shortlist with rerank. The diamond's distance to the blue
# line, at the same height, is what its stages save.
#
# ## A vector database
# When one machine's memory is too small, or many programs share one collection, a vector database holds the vectors. The course
# can use [Milvus](https://milvus.io): the same two stages, the short prefix indexed by Milvus, the long vector returned for the
# shortlist and reranked here. **Milvus Lite** is a file on this machine; a server or a cluster is the same code with an address
# (`uri="http://…:19530"`, a token). It needs `pip install "pymilvus[milvus-lite]"`.

# %%
few = min(n, 500 if FAST else 2000)
with tempfile.TemporaryDirectory() as folder:
    store = MilvusStore(Path(folder) / "course.db", ds=64)
    try:
        began = time.perf_counter()
        print(
            f"{store.load(documents[:few], ids[:few]):,} rows written in {time.perf_counter() - began:.1f} s; "
            f"loading again writes {store.load(documents[:few], ids[:few])}"
        )
        there = store.search(queries[:32], 10, depth=100)
        same = Retriever(documents[:few], shortlist(64, width, 100)).search(queries[:32], 10)
        print(
            f"the same ten documents as in process: {(there.rows == same.rows).mean():.0%} of places;",
            "first for query 1:",
            there.names()[0][0],
        )
        store.close()
    except InputError as error:
        print(error)

# %% [markdown]
# **What to see.** Rows that are there already are not written again. The second line compares the database's answers with those
# of a search in this process. `store.search(..., where='id like "numpy%"')` searches some documents only; `store.upsert` and
# `store.delete` may be called while others search. The same in plain `pymilvus`, without the course:

# %% tags=["plain-milvus"]
try:
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(str(Path(tempfile.mkdtemp()) / "plain.db"))
    schema, indexes = client.create_schema(), client.prepare_index_params()
    schema.add_field("row", DataType.INT64, is_primary=True)
    for field, dim, kind in (("short", 64, "HNSW_SQ"), ("long", width, "FLAT")):
        schema.add_field(field, DataType.FLOAT_VECTOR, dim=dim)
        indexes.add_index(field, index_type=kind, metric_type="COSINE")
    client.create_collection("documents", schema=schema, index_params=indexes, consistency_level="Strong")
    client.insert("documents", [{"row": i, "short": x[:64], "long": x} for i, x in enumerate(documents[:few])])
    hits = client.search("documents", data=queries[:1, :64], anns_field="short", limit=100, output_fields=["long"])[0]
    cosine = {hit["row"]: float(unit(queries[:1])[0] @ unit(np.array([hit["entity"]["long"]]))[0]) for hit in hits}
    best_rows = sorted(cosine, key=cosine.get, reverse=True)[:10]
    print("the ten best of query 1:", best_rows)
    client.close()
except ImportError:
    print('without pymilvus: pip install "mrl-tutorial[milvus]"')

# %% [markdown]
# ### What a cluster would need
# Arithmetic only. The engine spreads rows over *shards*; the index over what is searched has to be in the *memory* of its query
# nodes (64 GB each, three quarters of it for data); the long vectors of the rerank lie on *disks*, of which a query reads $K$ rows. A
# price makes it one number: here 3 for a GB of memory and 0.1 for a GB of disk, each month; put in what you pay.

# %%
from mrl_tutorial.retrieval.milvus import cluster_needs

MEMORY_PRICE, DISK_PRICE = 3.0, 0.1
forms = {  # name -> coordinates that are searched, coordinates kept for the rerank, index
    "1,024 float32, graph": (1024, 0, "HNSW"),
    "1,024 int8, graph, rerank": (1024, 1024, "HNSW_SQ"),
    "128 float32, graph, rerank": (128, 1024, "HNSW"),
    "128 int8, graph, rerank": (128, 1024, "HNSW_SQ"),
    "64 int8, graph, rerank": (64, 1024, "HNSW_SQ"),
    "128 bits in lists, rerank": (128, 1024, "IVF_RABITQ"),
}
for size in (10**7, 10**9):
    print(f"{size:>13,} documents of 1,024{'memory GB':>12}{'disk GB':>10}{'nodes':>7}{'shards':>8}{'a month':>10}")
    for name, (searched, kept, kind) in forms.items():
        needs = cluster_needs(size, searched, kept, kind)
        price = MEMORY_PRICE * needs["memory_gb"] + DISK_PRICE * needs["disk_gb"]
        print(
            f"{name:>32}{needs['memory_gb']:>12,.1f}{needs['disk_gb']:>10,.0f}{needs['nodes']:>7,}{needs['shards']:>8,}{price:>10,.0f}"
        )
rate = stored["machine"]["bytes_per_second"]
print(
    f"\nscanning 64 float32 of a billion documents by one core of the benchmark's machine ({rate / 1e9:.0f} GB/s): "
    f"{costs.corpus_gb(10**9, 64) * 1e9 / rate:.0f} s a query"
)

# %% [markdown]
# **What to see.** Ten million documents fit one machine in almost every form. At a billion, the searched form decides between a
# rack and a few machines, and below 128 int8 it is the graph's links that are left: a shorter prefix saves no more. A scan of that
# many vectors, however short, is too slow for one machine to answer while somebody waits.
#
# ## Exercises
# **1 · Shortlist, then rerank** (15 minutes). Write `two_stages(queries, documents, ds, depth, k)` with NumPy: queries (B, D) and
# documents (N, D), raw; return the rows (B, k) of the best documents, best first. Score by cosine: cut, then bring to length 1.
# The shortlist is the `depth` best by the first `ds` coordinates; of it return the `k` best by all coordinates.


# %%
def two_stages(queries, documents, ds, depth, k):
    raise NotImplementedError  # (B, D), (N, D) -> (B, k) rows of documents


check.two_stages(two_stages)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def two_stages(queries, documents, ds, depth, k):
#     def unit(x):
#         return x / np.linalg.norm(x, axis=-1, keepdims=True)
#
#     first = unit(queries[:, :ds]) @ unit(documents[:, :ds]).T  # (B, N)
#     short = np.argsort(-first, axis=1)[:, :depth]  # (B, depth) rows of documents
#     found = []
#     for query, rows in zip(unit(queries), short):
#         scores = unit(documents[rows]) @ query  # (depth,)
#         found.append(rows[np.argsort(-scores)[:k]])
#     return np.array(found)
#
#
# check.two_stages(two_stages)
# ```
#
# The one step that everybody gets wrong once: `argsort` of the second scores gives places in the shortlist, and `rows[...]`
# turns them into documents.
# </details>
#
# **2 · Count the work** (5 minutes). Write `mflops(n, ds, depth, dr)`: millions of multiply-adds of one query that scans `n`
# documents at `ds` dimensions and reranks `depth` of them at `dr`, $N D_s + K D_r$.


# %%
def mflops(n, ds, depth, dr):
    raise NotImplementedError


check.mflops(mflops)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def mflops(n, ds, depth, dr):
#     return (n * ds + depth * dr) / 1e6
#
#
# check.mflops(mflops)
# ```
#
# Try it: from which $K$ on does reranking at 384 dimensions cost more than the scan, for 6,306 documents and 32 dimensions?
# </details>
#
# **3 · How long must the list be?** (10 minutes). `dev` and `test` hold, for every query, the places (from 1) of the full
# model's ten documents in the ranking by $D_s$ coordinates: arrays of shape (queries, 10), like `places(...)` above. Write
# `smallest_depth(dev, test, target)`: the smallest $K$ whose shortlist holds at least the share `target` of the dev documents,
# and the share that this $K$ holds on test. Return both as a tuple.


# %%
def smallest_depth(dev, test, target):
    raise NotImplementedError  # (Q, 10), (Q', 10), share -> (K, recall on test)


check.smallest_depth(smallest_depth)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def smallest_depth(dev, test, target):
#     depth = 1
#     while np.mean(dev <= depth) < target:
#         depth += 1
#     return depth, float(np.mean(test <= depth))
#
#
# check.smallest_depth(smallest_depth)
# ```
#
# On pydocs: `smallest_depth(places(queries, documents, truth, 32), …, 0.99)`, with the test queries' own `truth` for the second
# array.
# </details>
#
# ## In this notebook we saw
# - a shortlist only has to contain the right documents; the fewer its dimensions, the longer it must be;
# - the saving in multiply-adds is at most $D / D_s$, and time is another matter: a query alone is limited by the bytes it reads,
#   a batch by its arithmetic, and on a small collection encoding the query costs more than any of it;
# - memory is saved by the type of the numbers, not by the second stage;
# - early layers are no cheaper to scan than the last one: use few dimensions for the shortlist, few layers where *encoding* is
#   what costs;
# - whatever is chosen is chosen on dev and reported on test.
#
# ## Where to read on
# - A. Kusupati, G. Bhatt, A. Rege, M. Wallingford et al., *Matryoshka Representation Learning*, arXiv 2205.13147: section 4.3 is
#   adaptive retrieval and the funnel.
# - A. Rege, A. Kusupati et al., *AdANNS: A Framework for Adaptive Semantic Search*, arXiv 2305.19435: the same idea inside an
#   index.
# - Y. A. Malkov, D. A. Yashunin, *Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small
#   World graphs*, arXiv 1603.09320.
# - S. Wang et al., *2D Matryoshka Training for Information Retrieval*, arXiv 2411.17299: layers as well as dimensions.
