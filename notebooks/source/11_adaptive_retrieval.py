# %% [markdown]
# # 11 · Adaptive retrieval: search short, decide long
#
# Your search works, and then the collection grows to ten million documents. For one query, the machine has to read
# every vector, all 384 numbers of it. How many gigabytes is that, and how long does your user wait? Let us work out
# the bill, then shrink it and keep the answers.
#
# **You will** search by a short prefix and let the full vector decide, find out how long the shortlist must be, use
# FAISS and Milvus, and learn when none of this helps.
#
# You need lessons [01](01_the_doll.ipynb) and [02](02_the_nested_loss.ipynb). About 40 minutes. Core.

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
import os
import tempfile
import timeit

import numpy as np
import pandas as pd
from evidence import stored_clock
from evidence.cluster import cluster_needs
from exercises import retrieval as check

import mrl_tutorial as mrl
from mrl_tutorial.retrieval.costs import MINILM
from mrl_tutorial.retrieval.timing import found_share

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs


# %%
def bill(d):
    """Ten million vectors of d numbers: their gigabytes, and the milliseconds to compare one query with all of them."""
    vectors = np.random.default_rng(0).standard_normal((10_000 if FAST else 100_000, d), dtype=np.float32)
    seconds = min(timeit.repeat(lambda: vectors @ vectors[0], number=1, repeat=5))
    return {"GB": 1e7 * 4 * d / 1e9, "ms a query": 1e3 * seconds * 1e7 / len(vectors)}


pd.DataFrame({f"{d} numbers": bill(d) for d in (384, 64)}).T.round(1)

# %% [markdown]
# **What to see.** We timed 100,000 made-up vectors and scaled up. The full vectors would fill a laptop's memory. With
# 64 numbers the gigabytes fall to a sixth. (The milliseconds fall further, likely because short vectors fit the
# cache.) But lesson 01 showed what a cut does to the answers.
#
# ## Search short, decide long
# The short vectors throw out the hopeless documents, and the long ones decide among the few that are left. This is
# **adaptive retrieval**. Its two steps are the *shortlist* and the *rerank*.
#
# The documents are pydocs again. The vectors come from MiniLM with a *head*, a matrix trained with a nested loss.

# %%
task = mrl.load_task("pydocs")
if FAST:
    task = task.smaller(800)
encoder = mrl.Encoder.load()
trained = mrl.embed_splits(task, mrl.pretrained_heads(encoder))  # "dev" and "test", with six layers of each
documents, queries = trained["dev"]["documents"][-1], trained["dev"]["queries"][-1]  # the last layer
n, width = documents.shape
names, texts = np.array(list(task.corpus)), [task.queries[q] for q in task.judged("dev")]
print(f"{n:,} documents, {len(queries)} queries, {width} numbers")


# %%
def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


wanted = "Discrete Fourier transform matrix."
query = queries[texts.index(wanted) if wanted in texts else 0]

short = unit(documents[:, :16]) @ unit(query[:16])  # (N,) cosines of 16 numbers
listed = np.argsort(-short)[:20]  # the shortlist: rows of 20 documents
long = unit(documents[listed]) @ unit(query)  # (20,) cosines of all numbers
final = listed[np.argsort(-long)]  # the same 20, best first
pd.DataFrame({"shortlist, by 16": names[listed[:10]], "reranked, by 384": names[final[:10]]}, range(1, 11))

# %% [markdown]
# **What to see.** We asked for the "Discrete Fourier transform matrix". Sixteen numbers are enough to find Fourier
# transforms and matrices, but the right answer, `scipy.linalg.dft`, is only eighth. The full vectors put it first.
#
# So the shortlist only has to *contain* the right document. One that it misses is lost, because the second step never looks
# elsewhere.
#
# **Exercise 1 · Two stages** (10 minutes, medium). Queries (B, D) and documents (N, D) are not normalized. For each
# query, shortlist `depth` documents by their first `ds` numbers. Return the rows (B, k) of the best `k` of them by all
# numbers, best first. Cut, then normalize.


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
#     found = []
#     for query, order in zip(unit(queries), np.argsort(-first, axis=1)):
#         listed = order[:depth]
#         scores = unit(documents[listed]) @ query  # (depth,)
#         found.append(listed[np.argsort(-scores)[:k]])
#     return np.array(found)
#
#
# check.two_stages(two_stages)
# ```
#
# The second `argsort` gives places in the shortlist, and `listed[...]` translates them to rows of the corpus.
# </details>
#
# ## How long must the shortlist be?
# Take the ten documents that the full vectors find, and look up their places in the ranking by the first $D_s$ numbers. A
# shortlist of length $K$ holds those at place $K$ or better. The share of the ten that it holds is its **recall**.


# %%
def full_ten(queries):
    """Rows of the ten documents that the full vectors find: (Q, 10)."""
    return np.argsort(-unit(queries) @ unit(documents).T, axis=1)[:, :10]


def places(split, d):
    """Where the ranking by d numbers puts those ten: (Q, 10), counted from 1."""
    q = trained[split]["queries"][-1]
    scores = unit(q[:, :d]) @ unit(documents[:, :d]).T  # (Q, N)
    theirs = np.take_along_axis(scores, full_ten(q), axis=1)
    return np.stack([1 + (scores > theirs[:, [i]]).sum(1) for i in range(10)], axis=1)


truth, depths = full_ten(queries), [10, 20, 50, 100, 200, 400, 800]
recall = {f"{d} numbers": [(places("dev", d) <= k).mean() for k in depths] for d in (128, 64, 32, 16)}
title = "Halve the prefix, and you need a shortlist several times as long"
mrl.plots.lines(depths, recall, title=title, x_title="length of the shortlist, K", y_title="recall of the ten")

# %% [markdown]
# **What to see.** With 128 numbers a list of 50 holds nearly everything. With 16 numbers even a list of 800 misses
# 6 %. A shorter prefix makes the first step cheaper and the second one costlier, so the best $D_s$ and $K$ lie in
# between.
#
# ## What it costs
# Comparing two vectors of $d$ numbers takes $d$ *multiply-adds*. Exact search needs $N \cdot D$ of them. Adaptive retrieval
# scans $N$ documents at $D_s$ numbers, and scores $K$ of them again at $D_r$ numbers, usually all $D$.
#
# **Exercise 2 · Count the work** (3 minutes, easy). Write `mflops(n, ds, depth, dr)`: the millions of multiply-adds of one
# query.


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
# The saving never exceeds $D / D_s$. The MRL paper's "128 times" is 2,048 numbers over 16, or 125.5 with the rerank.
# With our 384 numbers it would be at most 24.
# </details>
#
# **Exercise 3 · The cheapest pair** (12 minutes, open). `dev` and `test` are arrays as `places` returns them. Write
# `smallest_depth(dev, test, target)`: the smallest $K$ whose recall on dev is at least `target`, and the recall of the
# same $K$ on test. Then use it with `places` and `mflops` to find the cheapest prefix at 99 %.


# %%
def smallest_depth(dev, test, target):
    raise NotImplementedError  # (Q, 10), (Q', 10), share -> (K, share on test)


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
# And the cheapest pair:
#
# ```python
# for d in (16, 32, 64, 128):
#     depth, share = smallest_depth(places("dev", d), places("test", d), 0.99)
#     print(d, depth, f"{share:.3f}", f"{n * width / 1e6 / mflops(n, d, depth, width):.1f} times less work")
# ```
#
# It is 64 numbers, with about five times less work. We choose on dev and report on test, because a choice looks best on the
# data that it was made on.
# </details>
#
# ## The same with FAISS, and with a database
# FAISS is a library that finds nearest neighbors. Here it walks through a *graph* (HNSW) that links each document to
# similar ones, so it can skip most of them. Milvus is a vector database. Here it keeps 1,000 documents in a file.

# %% tags=["plain-faiss"]
try:
    import faiss

    index = faiss.IndexHNSWFlat(64, 32, faiss.METRIC_INNER_PRODUCT)  # 64 numbers, 32 links a document
    index.add(unit(documents[:, :64]))
    index.hnsw.efSearch = 200  # how far it looks around
    _, short_rows = index.search(unit(queries[:, :64]), 100)  # (Q, 100): the shortlists
    scores = np.einsum("qd,qkd->qk", unit(queries), unit(documents)[short_rows])  # the rerank
    plain_rows = np.take_along_axis(short_rows, np.argsort(-scores, axis=1)[:, :10], axis=1)
    print(f"{found_share(plain_rows, truth):.1%} of what exact search finds")
except ImportError:
    print('without FAISS: pip install "mrl-tutorial[ann]"')

# %% tags=["plain-milvus"]
try:
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(tempfile.mkdtemp() + "/plain.db")  # or the address of a server
    schema, indexes = client.create_schema(), client.prepare_index_params()
    schema.add_field("row", DataType.INT64, is_primary=True)
    for field, dim in (("short", 64), ("long", width)):
        schema.add_field(field, DataType.FLOAT_VECTOR, dim=dim)
        indexes.add_index(field, index_type="FLAT", metric_type="COSINE")
    client.create_collection("documents", schema=schema, index_params=indexes, consistency_level="Strong")
    client.insert("documents", [{"row": i, "short": x[:64], "long": x} for i, x in enumerate(documents[:1000])])
    hits = client.search("documents", data=queries[:1, :64], anns_field="short", limit=100, output_fields=["long"])[0]
    cosine = {hit["row"]: float(unit(queries[0]) @ unit(np.array(hit["entity"]["long"]))) for hit in hits}
    best_rows = sorted(cosine, key=lambda row: -cosine[row])[:10]
    print("the ten best of query 1:", best_rows)
    client.close()
except ImportError:
    print('without pymilvus: pip install "mrl-tutorial[milvus]"')

# %% [markdown]
# A database can also search some documents only (`filter="row < 500"`) and replace documents (`client.upsert`).
#
# ## With the package, and in bytes
# In the package, a search path is a list of stages. How many gigabytes must each one *hold* for ten million documents?
# `int8` stores a number in one byte instead of four.

# %%
paths = {
    "exact, 384 numbers": [mrl.Stage(width)],
    "64, then 384": mrl.shortlist(64, width, 100),  # scan 64 numbers, rerank the best 100 by all 384
    "64, then 384, int8": mrl.shortlist(64, width, 100, engine="torch-int8", rerank="int8"),
}
held = {}
for name, path in paths.items():
    search = mrl.Retriever(documents, path)
    held[name] = {f"GB, {what}": size / n / 100 for what, size in search.nbytes.items()}  # bytes x 10**7 / n / 10**9
    held[name]["of the ten found"] = found_share(search.search(queries, 10).rows, truth)
pd.DataFrame(held).T.round(3)

# %% [markdown]
# **What to see.** A query scans a sixth of the numbers, yet two stages hold *more*, because the prefix is stored twice.
# What saves memory here is `int8`. The long vectors can also stay on disk, since a query reads only $K$ of them.
#
# ## The clock
# Multiply-adds are not milliseconds. A stored benchmark (`mrl-tutorial bench retrieval`) timed many libraries, one
# query at a time. Three things can save time: a **prefix**, **fewer bits** a number, and a **graph**.

# %%
stored_clock.table(0.98).round(2)  # milliseconds of one query that finds 98 % of the ten best

# %%
recalls, part = [0.9, 0.92, 0.94, 0.96, 0.98, 0.99], stored_clock.parts()[0]
title = f"A graph saves far more time than a prefix ({part['documents']:,} sentences)"
times, y_title = stored_clock.quicker(part, recalls), "times as fast as a float32 scan"
mrl.plots.lines(recalls, times, title=title, x_title="recall of the ten best", y_title=y_title, doubling=False)

# %% [markdown]
# **What to see.** On real sentences, the prefix alone makes the float32 scan about four times as fast, `int8` alone
# about six times, and both together twelve times. A graph over *all* float32 numbers is nearly forty times as fast,
# and a compressed graph, the figure's top line, over a hundred times. A prefix makes neither graph faster.
#
# On a million longer vectors, the prefix makes the `int8` scan five times as fast, and PQ, a stronger compression, is
# far faster still. A graph over all their numbers takes an hour to build and was left out (NaN: not measured, or short
# of 98 %). *Hard* is a made-up collection whose prefixes hardly tell neighbors apart.
#
# ## When it loses
# A query must be encoded before any search, and no shortlist saves that time. `plan_retrieval` tries many paths on dev
# queries. Of those that keep 99 % of nDCG@10 it takes the one that reads the fewest bytes:

# %%
plan = mrl.plan_retrieval(task, trained, 0.99, cost="bytes_read", engines=["float32", "torch-int8"])
print(f"{len(plan.tried)} paths tried; chosen: {plan.chosen}")
print(f"encoding one query: {50 * timeit.timeit(lambda: encoder.encode(texts[0]), number=20):.1f} ms")
rows = [[p.test, p.bytes_read / 1e6, p.ms] for p in (plan.chosen, plan.full)]
pd.DataFrame(rows, ["chosen", "exact"], ["nDCG@10 on test", "MB read", "ms to search"]).round(3)

# %% [markdown]
# **What to see.** The planner keeps the quality and reads far fewer bytes, but on so few documents that saves no time,
# and encoding takes far longer than either search. With a few thousand documents, use exact search and go home early.
#
# ## Draw your own path
# **Try this**
#
# 1. Take *shortlist dims* down to 16. Which *K* brings the lost documents back, and at what price?
# 2. Switch the model to *plain*. What does the same path find now?
# 3. Set *price it for* to a billion, and compare *MFLOPs* with *to encode*.

# %%
both = {"plain": mrl.embed_task(task, encoder, "dev"), "trained": trained["dev"]}
mrl.FunnelDesigner(task, both, queries=60 if FAST else 150, geometry=MINILM, size=10**7)

# %% [markdown]
# ## A cluster on paper
# The vectors that are searched must fit into the memory of the machines (*nodes* of 64 GB, a quarter kept free). The
# long ones can lie on disks. A *shard* is a part of the collection.

# %%
forms = {  # numbers searched, numbers kept for the rerank, index (SQ stores int8, RABITQ one bit a number)
    "1,024 float32": (1024, 0, "HNSW"),
    "128 float32, then 1,024": (128, 1024, "HNSW"),
    "128 int8, then 1,024": (128, 1024, "HNSW_SQ"),
    "128 bits, then 1,024": (128, 1024, "IVF_RABITQ"),
}
tables = [pd.DataFrame({form: cluster_needs(n, *of) for form, of in forms.items()}).T for n in (10**7, 10**9)]
pd.concat(tables, keys=["10 million", "1 billion"]).round(1)

# %% [markdown]
# **What to see.** Ten million documents fit on one machine in any form. At a billion, the form decides between 88
# machines and one, counting memory alone. Fewer bits need a longer shortlist, so measure the recall before you buy.
#
# ## What to keep in mind
# - A larger collection needs a longer shortlist than our 6,306 documents do.
# - The benchmark's prefixes come from PCA, not training; its million vectors were made by shifting real ones far.
# - Queries in batches gain less: see [the ledger](../LEDGER.md), M7.
#
# ## In this lesson we saw
# - a shortlist only has to contain the right documents, so a few numbers can make it;
# - fewer numbers need a longer list, so the cheapest pair lies in between;
# - a prefix saves what a query *reads*, and fewer bits save memory as well;
# - fewer bits and a graph can save more time than a prefix;
# - on small collections, encoding the query takes longer than the search.
#
# **On your own data.** `mrl.plan_retrieval(task, encoder=encoder)` chooses a path for your task, and its `.code` is the
# Python that runs it.
#
# ## Where to read on
# - A. Kusupati and others: *Matryoshka Representation Learning*, arXiv 2205.13147, section 4.3.
# - A. Rege and others: *AdANNS*, arXiv 2305.19435, the same idea inside an index.
# - Y. Malkov, D. Yashunin: *Hierarchical Navigable Small World graphs*, arXiv 1603.09320.
# - Words: [the glossary](../GLOSSARY.md). Next: [the loss lab](12_the_loss_lab.ipynb).
