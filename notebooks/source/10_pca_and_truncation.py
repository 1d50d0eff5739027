# %% [markdown]
# # 10 · PCA: variance is not retrieval
#
# A help desk has ten answers: five topics, and for each topic one that says yes and one that says no. In the plane
# below, each question lies near its answer. You may keep only **one** number per question. How far right it lies, or
# how far up?
#
# Afterwards you can
#
# - say what PCA keeps, and why a search may not care;
# - test any "shorter vector" against a prefix, random coordinates, PCA and whitening;
# - recognize a "PCA" that is not PCA, and shrink vectors by bits as well as by dimensions.
#
# You need lessons 01 to 03. This lesson is optional and takes about 35 minutes.

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

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch
from evidence.reduction_measures import variance_kept
from exercises import reduction as check

import mrl_tutorial as mrl

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs

# %%
rng = np.random.default_rng(0)
answers = np.stack([np.repeat([-4, -2, 0, 2, 4], 2), np.tile([0.5, -0.5], 5)], 1)  # (10, 2): topic, yes or no
right = np.repeat(np.arange(10), 30)
questions = answers[right] + rng.normal(size=(300, 2)) * [0.6, 0.15]

figure = go.Figure(layout=mrl.plots.style("The wide direction finds the topic, the narrow one says yes or no"))
for name, rows, color in [("wants a yes", right % 2 == 0, "#0072B2"), ("wants a no", right % 2 == 1, "#D55E00")]:
    dots = {"color": color, "size": 6, "opacity": 0.6}
    figure.add_scatter(x=questions[rows, 0], y=questions[rows, 1], mode="markers", name=name, marker=dots)
    beside = {"x": 6, "y": answers[right][rows][0, 1], "xanchor": "left", "showarrow": False}
    figure.add_annotation(text=name, font={"color": color}, **beside)
cross = {"symbol": "x", "size": 12, "color": "black"}
figure.add_scatter(x=answers[:, 0], y=answers[:, 1], mode="markers", name="answers", marker=cross)
figure.add_annotation(text="an answer", x=4, y=0.5, ax=50, ay=-50, font={"color": "black"})
figure.update_layout(xaxis_title="wide direction", yaxis_title="narrow direction", height=340)
figure.update_layout(showlegend=False, margin_r=110)

# %%
kept = {}
for name, columns in {"wide": [0], "narrow": [1], "both": [0, 1]}.items():
    gaps = np.linalg.norm(questions[:, None, columns] - answers[None][..., columns], axis=-1)
    found = gaps.argmin(1)
    variance = questions[:, columns].var(0).sum() / questions.var(0).sum()
    kept[name] = [variance, np.mean(found // 2 == right // 2), np.mean(found == right)]
pd.DataFrame(kept, ["share of variance", "right topic", "right answer"]).T.map("{:.0%}".format)

# %% [markdown]
# **What to see.** How far right it lies is worth keeping. It finds more answers, and holds nearly all the
# **variance**, the average squared distance from the mean. But it only finds the topic, then tosses a coin between yes
# and no. The 3 % of variance that it leaves out decides about half of the answers.
#
# ## What PCA does
# **Principal component analysis** looks for the direction along which the vectors vary most, then for the next one at
# right angles to it, and so on. No other $k$ directions keep more variance than the first $k$. That is the best choice
# if you want to rebuild the vectors. But a search only wants to know which document is nearest.
#
# **Exercise 1 · PCA in four lines** (10 minutes, the idea). Subtract the mean. `u, s, vh = np.linalg.svd(centered,
# full_matrices=False)` then gives the directions as the rows of `vh`, widest first. Project the centered vectors on the
# first $k$ of them.


# %%
def pca_by_svd(x, k):
    raise NotImplementedError  # x: (N, D) -> (N, k)


check.pca_by_svd(pca_by_svd)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def pca_by_svd(x, k):
#     centered = x - x.mean(0)
#     u, s, vh = np.linalg.svd(centered, full_matrices=False)
#     return centered @ vh[:k].T
#
#
# check.pca_by_svd(pca_by_svd)
# ```
#
# `u[:, :k] * s[:k]` is the same matrix.
# </details>
#
# ## How many directions are in use?
# Now for real vectors: the search of lesson 01, by the plain model and by one with Matryoshka heads, a matrix behind
# each layer. Divide the variances along the principal directions by their sum, and you have shares
# $p_1, p_2, \ldots$ The **effective rank**
#
# $$\exp\Big(-\sum_i p_i \ln p_i\Big)$$
#
# counts the directions in use. If $r$ directions share the variance equally, it is exactly $r$.

# %%
task = mrl.load_task("pydocs")
if FAST:
    task = task.smaller(500)
encoder = mrl.Encoder.load("all-MiniLM-L6-v2")
models = {"plain": encoder, "MRL": mrl.pretrained_heads(encoder)}
test = {name: mrl.embed_task(task, model, "test") for name, model in models.items()}  # queries, documents: (L, N, D)

ranks = {name: mrl.effective_rank(parts["documents"]) for name, parts in test.items()}
mrl.plots.lines(
    range(1, 7), ranks, doubling=False, x_title="layer", y_title="effective rank, of 384",
    title="Before its last layer, the plain model uses few directions; the heads use more",
)  # fmt: skip

# %% [markdown]
# **What to see.** The early layers of the plain model use about 80 directions of 384, the last one twice as many. The
# likely reason: contrastive training pushes unrelated texts apart, and MiniLM's own training read only its last layer.
# The heads, one for each layer, were trained the same way, and spread the early layers as well.
#
# **Exercise 2 · Effective rank** (5 minutes, easy). Write the formula. `variances` do not add up to 1 yet. Zeros do not
# count.


# %%
def effective_rank(variances):
    raise NotImplementedError  # (D,) -> one number


check.effective_rank(effective_rank)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def effective_rank(variances):
#     p = variances[variances > 0] / variances.sum()
#     return np.exp(-(p * np.log(p)).sum())
#
#
# check.effective_rank(effective_rank)
# ```
# </details>
#
# ## Four ways to keep k numbers
# None of them is trained, and none sees a query. **Prefix** keeps the first $k$ coordinates. **Random** keeps any $k$,
# a control that shows whether their order means anything. **PCA** keeps the first $k$ principal components of the
# documents. **Whitened** keeps the same components, each stretched to variance 1.


# %%
def four_ways(parts):
    """nDCG@10 on the last layer at every width, a grid for each way."""
    last = {part: x[-1:] / np.linalg.norm(x[-1:], axis=-1, keepdims=True) for part, x in parts.items()}
    found = {"random": mrl.random_dims(384, seed=0), "PCA": mrl.pca(last["documents"])}
    found["whitened"] = mrl.whiten(last["documents"])
    ways = {"prefix": last} | {name: reduction.apply_to(last) for name, reduction in found.items()}
    return {name: mrl.evaluate_grid(task, embeddings=vectors) for name, vectors in ways.items()}


def draw(ways, title):
    return mrl.plots.lines(ways["prefix"].dims, {name: grid.values[0] for name, grid in ways.items()}, title=title)


ways = four_ways(test["plain"])
draw(ways, "From 64 numbers on whitening leads; the other three are close together")

# %%
documents = test["plain"]["documents"][-1]
variance = documents.var(0) / documents.var(0).sum()  # of each coordinate
print(
    f"variance kept in 64 numbers: PCA {mrl.pca(documents).explained[:64].sum():.0%}, prefix {variance[:64].sum():.0%}"
)
difference, low, high = mrl.compare(ways["PCA"], ways["prefix"], 1, 64)
print(f"nDCG@10, PCA - prefix: {difference:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}")

# %% [markdown]
# **What to see.** At 64 numbers PCA keeps about four times the variance of the prefix, yet no gain shows. At 8, 16 and
# 128 it is a little ahead. Random coordinates are as good as the prefix: in a plain model the order means nothing.
# Whitening takes PCA's directions and makes them all count alike. *That* helps at 64 and 128 here, untrained (on
# Cranfield it hurts from 128 on). The directions were fine, but their variances were bad weights.
#
# ## And on a Matryoshka model?

# %%
trained = four_ways(test["MRL"])
draw(trained, "After MRL, random coordinates fall far behind the prefix")

# %% [markdown]
# **What to see.** Random coordinates fall far behind the prefix: now the order does mean something. PCA, fitted
# afterwards, adds next to nothing, and whitening costs 0.02 from 256 numbers on. At 8 and 16 numbers both are behind
# the prefix. They order by variance, but training has ordered by what helps the search.
#
# ## Slide through all layers

# %%
dev = {name: mrl.embed_task(task, model, "dev") for name, model in models.items()}
mrl.SpectrumExplorer(task, dev, max_queries=60 if FAST else 300)

# %% [markdown]
# **Try this**
#
# 1. On layer 6 of the plain model, find a dimension at which PCA keeps several times the variance of the prefix but
#    finds hardly more.
# 2. Go down to layer 5, where fewer directions hold the variance. Does PCA find more there?
# 3. Switch to MRL. How has the gap between prefix and random changed?
#
# ## A "PCA" that is not PCA
# ESE, a later form of two-dimensional training (lesson 09), pulls each prefix toward a "PCA" of the full vector. Its
# public code (AnglE 0.6.1) takes a batch $X$, one row per text, and computes
#
# $$A = \text{softmax}\big(X^{\top} X / \sqrt{D}\big) \approx U S V^{\top}, \qquad \text{target} = X\, U_k S_k .$$
#
# Four things differ from PCA: nothing is centered, the matrix goes through a softmax, the projection $X U_k$ is
# multiplied by $S_k$, and the decomposition is randomized. Let us search with 128 such numbers. "Variance rebuilt" is
# the share that a linear map recovers from them.

# %%
last = {part: x[-1:] for part, x in test["plain"].items()}
batch = documents[np.random.default_rng(0).choice(len(documents), 128, replace=False)]  # (128, 384)


def code_pca(x):
    attention = torch.from_numpy(x.T @ x / 384**0.5).softmax(-1)  # (384, 384)
    u, s, _ = torch.svd_lowrank(attention, q=128)
    return u.numpy(), s.numpy()


(u, s), (u5, s5) = code_pca(batch), code_pca(5 * batch)
_, _, axes = np.linalg.svd(batch - batch.mean(0), full_matrices=False)  # as in exercise 1
bases = {"prefix": np.eye(384)[:, :128], "true PCA": axes[:128].T, "the code": u * s}
bases |= {"the code, vectors 5 times as long": u5 * s5, "the code, without S": u}
rows = {}
for name, basis in bases.items():
    cut = {part: (x @ basis).astype("f4") for part, x in last.items()}
    found = mrl.evaluate_grid(task, embeddings=cut, dims=[128]).at(1, 128)
    rows[name] = [variance_kept(documents, cut["documents"][0]), found]
pd.DataFrame(rows, ["variance rebuilt", "nDCG@10"]).T.round(3)

# %%
same = (u * code_pca(batch)[0]).sum(0)  # each direction's cosine with itself, from a second call
print(f"called twice on the same batch: {np.sum(same < 0)} of 128 directions point the other way")

# %% [markdown]
# **What to see.** The code's columns hold as much variance as true PCA of the same batch, yet they find almost nothing.
# The directions are fine: without $S$ they do as well as PCA. Here $S$ breaks the search. Print `s`: one value is
# close to 1, the others close to 0, so one column drowns out all the rest. Scaling the vectors up sharpens the
# softmax and changes the directions; PCA's never change. A second call on the same batch flips signs, so the target
# keeps changing.
#
# ## Fewer bits
# There is a second way to shrink a vector: spend fewer bits on each number. **int8** rounds each number to one of 255
# levels, one byte instead of four. **Bits** keep only the sign, so a byte holds eight numbers. The query keeps its
# floats, since it is not stored.


# %%
def stored(parts):
    """name -> bits a number, and the documents as they come back from the store."""
    documents = parts["documents"][-1:]
    step = np.abs(documents).max(1, keepdims=True) / 127
    return {
        "float32": (32, documents),
        "int8": (8, np.round(documents / step) * step),
        "bits": (1, np.where(documents > 0, 1.0, -1.0)),
    }


rows = []
for split, parts in {"dev": dev["MRL"], "test": test["MRL"]}.items():
    for name, (bits, back) in stored(parts).items():
        grid = mrl.evaluate_grid(task, embeddings={"queries": parts["queries"][-1:], "documents": back}, split=split)
        rows += [(name, d, d * bits / 8, split, value) for d, value in zip(grid.dims, grid.values[0])]
stores = pd.DataFrame(rows, columns=["store", "numbers", "bytes", "split", "quality"])
stores = stores.pivot(index=["store", "numbers", "bytes"], columns="split", values="quality").reset_index()

lines = {name: (group.bytes, group.test) for name, group in stores.groupby("store")}
figure = mrl.plots.lines(
    [], lines, title="For the same bytes, many coarse numbers beat a few exact ones",
    x_title="bytes a vector (log scale)", y_range=(0, 0.65),
)  # fmt: skip
figure.update_annotations(xanchor="right", xshift=4, yshift=16)

# %% [markdown]
# **What to see.** int8 is as good as float32, at a quarter of the bytes. For the same bytes, a coarse look at many
# numbers beats an exact look at few: 48 bytes hold the signs of all 384 numbers, or just 12 floats. Those signs give
# about 95 % of the full quality.
#
# **Exercise 3 · The cheapest store** (10 minutes, open). `stores` has a row for each way and width. Write
# `cheapest(stores, share)`: the row with the fewest bytes whose `dev` value is at least `share` of the best float32's.
# Which one keeps 95 %, which 99 %?


# %%
def cheapest(stores, share):
    raise NotImplementedError  # a table, a share such as 0.95 -> one of its rows


check.cheapest_store(cheapest)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def cheapest(stores, share):
#     best = stores[stores.store == "float32"].dev.max()
#     return stores[stores.dev >= share * best].sort_values("bytes").iloc[0]
#
#
# check.cheapest_store(cheapest)
# ```
#
# Try `cheapest(stores, 0.95)` and `cheapest(stores, 0.99)`. Bits can also choose a shortlist for int8 to sort, as in
# lesson 11.
# </details>
#
# ## What to keep in mind
# This is one corpus, and one model that has seen documentation of code before. PCA and whitening were fitted on all
# 6,306 documents. A sample of $n$ texts has at most $n - 1$ directions, so expect less from a few dozen. PCA subtracts
# the mean, which can cost quality; try both (`mrl.pca(x, center=False)`). As a *target* in a loss, the code's "PCA" may
# do less harm than as a reduction, because other terms train the same prefix. [The ledger](../LEDGER.md) has verdicts,
# from other samples (R10, C2).
#
# ## In this lesson we saw
# - PCA keeps the most variance, and variance is not retrieval;
# - the plain model uses many directions only in its last layer;
# - random coordinates are the control that shows whether an order means anything; after MRL it does;
# - the "PCA" in one public code is not PCA: its $S$ can drown out all but one column, and it changes when vectors
#   are scaled;
# - with few bytes, take bits away first and dimensions second.
#
# **On your own data.** Shorten with `mrl.pca(documents).apply_to({"queries": q, "documents": d})`, measure with
# `mrl.evaluate_grid(task, embeddings=...)`, and compare with the prefix and `mrl.random_dims(width, seed=0)`.
#
# ## Where to read on
# - X. Li et al., *2D Matryoshka Sentence Embeddings* (arXiv 2402.14776), whose second version is ESE.
# - S. Takeshita et al., *Randomly Removing 50% of Dimensions in Text Embeddings has Minimal Impact* (arXiv 2508.17744).
# - J. Su et al., *Whitening Sentence Representations* (arXiv 2103.15316). O. Roy, M. Vetterli, *The effective rank*
#   (EUSIPCO 2007).
# - Next: [adaptive retrieval](11_adaptive_retrieval.ipynb). Words: [the glossary](../GLOSSARY.md).
