# %% [markdown]
# # 00 · A live grid: every layer, every dimension
#
# A ten-minute tour. **You will**
#
# - see a sentence-embedding model as a *grid* of smaller models: stop after any **layer**, keep any number of **dimensions**;
# - measure how good each of those models is at finding documents, on real text that is already on your machine;
# - slide over the grid, train it in seconds, and slide again;
# - learn what a *recipe* is: where on the grid training pushes, and how hard.
#
# You need Python, and to have met vectors and the dot product. On a laptop with 2 cores the notebook runs in about three
# minutes, most of it reading text for the first time; the second time takes seconds.

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
import platform

import numpy as np
import plotly
import torch
import transformers
from exercises import first_grid as check

from mrl_tutorial import (
    Encoder,
    GridExplorer,
    Recipe,
    cell_price,
    embed_task,
    evaluate_grid,
    load_task,
    train,
    whitened,
)
from mrl_tutorial.evaluation.statistics import compare, interval
from mrl_tutorial.models.pretrained_heads import pretrained_heads
from mrl_tutorial.panels import plots

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs
print(
    f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}, plotly {plotly.__version__}"
)
print(f"{torch.get_num_threads()} threads")

# %% [markdown]
# ## Real text, already here
# The documentation of fifteen scientific Python libraries is a search task that we all understand. The **query**
# is the first sentence of a docstring, the **document** is the rest of it. For every query exactly one document counts as
# *relevant*: its own. The queries are split into *train*, *dev* and *test*; look-alikes always fall on the same side.

# %%
task = load_task("pydocs")
if FAST:
    task = task.smaller(500)
print(task)

for query in task.judged("dev")[5 :: len(task.judged("dev")) // 3]:
    (document,) = task.qrels[query]
    print(f"\nquery     {task.queries[query]}\ndocument  {task.corpus[document][:150]} …\n          ({document})")

# %% [markdown]
# ## A model is a grid
# `all-MiniLM-L6-v2` is one of the most used embedding models. It has 6 transformer **layers**, one after the other, and gives a
# vector of 384 numbers, its **dimensions**. We can stop after any layer and average what the tokens hold there, and we can cut
# the vector to its first $d$ numbers, its **prefix**. So the one model holds $6 \times 384$ smaller ones:
#
# $$\text{cell}(l, d) = \frac{x_l[1 \ldots d]}{\lVert x_l[1 \ldots d] \rVert}, \qquad x_l = \text{mean over the tokens after layer } l.$$
#
# Fewer layers make *encoding* a text cheaper, fewer dimensions make *storing and searching* cheaper.

# %%
encoder = Encoder.load("all-MiniLM-L6-v2")
print(encoder)

vectors = encoder.encode_layers(["Sort the rows of a table by one of its columns."])
print("one text, all layers:", vectors.shape, "= layers, texts, dimensions")
print("one cell:", encoder.encode(["Sort the rows of a table by one of its columns."], layer=3, dim=8).round(2))

# %% [markdown]
# ## How good is each cell?
# To search, we compare the query's vector with every document's vector and sort by cosine. **nDCG@10** scores the sorted list: 1
# if the relevant document comes first, $1/\log_2(1 + \text{rank})$ if it comes at a later rank up to 10, and 0 if it is not among
# the first ten. The next cell encodes all texts once, with all layers in the same pass, and measures 42 cells.
#
# We look at the *dev* queries here. If you pick a cell by looking at results, report it on *other* queries: the test queries.

# %%
plain = evaluate_grid(task, encoder, metric="ndcg@10", split="dev")
print(plain.as_text())
print(f"{len(task.judged('dev'))} dev queries, {len(task.corpus):,} documents;",
      ", ".join(f"{what} {seconds:.1f} s" for what, seconds in plain.seconds.items()))  # fmt: skip
plots.grid_heatmap(plain, title="Plain all-MiniLM-L6-v2: nDCG@10 of every cell")

# %% [markdown]
# **What to see.** The top row, the last layer, is the model as everybody uses it, and it can be cut: going left along it, quality
# falls slowly at first, then fast. All the other rows are poor. Layers 1 to 5 were never asked to give useful embeddings, only to
# prepare the next layer. The next cell puts numbers on both.

# %%
full = plain.at(6, 384)
for layer, dim in [(6, 384), (6, 128), (6, 32), (5, 384), (3, 384), (3, 128)]:
    low, high = interval(plain, layer, dim)
    print(
        f"layer {layer}, {dim:>3} dimensions: {plain.at(layer, dim):.3f}  [{low:.3f}, {high:.3f}]  {plain.at(layer, dim) / full:>5.0%} of the full model"
    )
print("in brackets: 95 % bootstrap interval over the dev queries")

# %% [markdown]
# ## What a cell costs
# Bytes are simple: a `float32` number takes four. Work is counted in multiply-adds: a text of 128 tokens through $l$ layers, and
# one query compared with 10 million documents.

# %%
print(
    f"{'cell':>9} {'bytes':>7} {'GB for 10 M':>12} {'encode MFLOPs':>14} {'search GFLOPs':>14}   of full size: bytes, encoding"
)
for layer, dim in [(6, 384), (6, 128), (6, 32), (3, 384), (3, 128), (1, 32)]:
    p = cell_price(encoder, layer, dim)
    print(f"({layer}, {dim:>3}) {p['bytes']:>8.0f} {p['corpus_gb']:>12.2f} {p['encode_flops'] / 1e6:>14.0f} {p['search_flops'] / 1e9:>14.2f}"
          f"   {p['bytes_share']:>18.0%} {p['encode_share']:>9.0%}")  # fmt: skip

# %% [markdown]
# ## Slide
# The panel below holds everything at once. Move **layer** and **dimension** (click a slider, then use the arrow keys), change the
# query, and watch the heat map, the curve, the ranked documents and the price. Try this:
#
# 1. Keep layer 6 and drag the dimension down. When does the right document leave the first place?
# 2. Go back to 384 dimensions and take the layer down to 3.
#
# Every cell is measured once, when the panel opens. Sliding only looks things up, in your browser, so it is quick even while Python is
# busy. You can also click a cell, drag along a curve, or press ▶ to sweep.

# %%
explorer = GridExplorer(task, {"plain": encoder}, max_queries=60 if FAST else 300, dim=128)
explorer

# %% [markdown]
# **What to see.** Left the grid with the current cell framed, beside it the quality of this layer at *every* dimension. Below them
# the documents that this cell ranks first, and how the full model ranks them.
#
# ## Train, and slide again
# Training can push on any cell of the grid. A **recipe** says where, and how hard: it is a table of weights, a row a layer, a
# column a dimension. The total loss is the sum over all cells of weight times *contrastive loss*, which is small when a query is
# more similar to its own document than to the other documents in the batch. Yours takes three lines:

# %%
weights = np.ones((6, 7))  # layers 1 to 6; dimensions 8, 16, 32, 64, 128, 256, 384
weights[:, 0] = 2  # twice as hard at 8 dimensions
mine = Recipe("mine", {"main": weights})

plots.heatmap(weights, range(1, 7), encoder.dims, metric="weight", title="A recipe is a table of weights", digits=0)

# %% [markdown]
# Training all of the model takes minutes on a laptop (notebook 04 does it). Here the model stays as it is, and each layer gets a
# **head**: a 384 × 384 matrix behind it that turns its vectors. The matrices start from a formula, the directions in which a query
# and its document agree most, strongest first (*canonical correlation*), and the recipe's loss then improves them.

# %%
result = train(encoder, task, mine, what="heads", heads="per-layer", steps=20 if FAST else 100, batch_size=256)
print(f"{result.steps} steps in {result.seconds:.0f} s")

trained = evaluate_grid(task, result.encoder, split="dev")
plots.heatmaps(
    {"plain": plain.values, "with heads": trained.values}, plain.layers, plain.dims, title="nDCG@10 before and after"
)

# %%
for layer, dim in [(1, 384), (3, 128), (5, 64), (6, 32), (6, 384)]:
    difference, low, high = compare(trained, plain, layer, dim)
    print(
        f"layer {layer}, {dim:>3} dimensions: {plain.at(layer, dim):.3f} -> {trained.at(layer, dim):.3f}   difference {difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    )
print("in brackets: 95 % paired bootstrap interval over the dev queries; one random seed")

# %% [markdown]
# **What to see.** Layers 1 to 5, nearly useless before, now find documents, and the short prefixes of the last layer gain too. The
# information was in the early layers all along; nobody had asked for it in this form.
#
# **Was it the training?** That is always worth asking. There is a formula that knows nothing about queries: *whitening*. Take the mean
# off, turn the vectors to their principal directions, and stretch each direction to the same variance. It needs a few thousand texts,
# but no labels and no training:

# %%
asked = {d for q in task.judged("train") for d in task.qrels[q]}  # only documents of the train split
documents = embed_task(task, encoder, "dev")["documents"][:, [d in asked for d in task.corpus]]  # (layers, texts, 384)
white = whitened(encoder, documents)
control = evaluate_grid(task, white, split="dev")
plots.heatmaps(
    {"whitened": control.values, "with heads": trained.values}, plain.layers, plain.dims,
    title="nDCG@10: a formula without labels, and training",
)  # fmt: skip

# %% [markdown]
# **What to see.** Whitening alone brings the early layers to life, as long as you keep enough dimensions. Training does more for every
# layer, and most of all for short vectors. Both models join the panel. Switch **model** to compare them, or press **Train** to train
# another one:

# %%
explorer.add("whitened", white)
explorer.add("trained here", result.encoder)
explorer.set(layer=3, dim=128)
explorer

# %% [markdown]
# **What to see.** The same cell, layer 3 at 128 dimensions, plain, whitened and trained. Half of the layers, a third of the bytes.
#
# If your machine is too slow to train, the course brings heads that were made in the same way:

# %%
ready = pretrained_heads(encoder)
print(ready)
print(evaluate_grid(task, ready, split="dev", layers=[3, 6], dims=[32, 128, 384]).as_text())

# %% [markdown]
# ## Exercises
# **1 · Cut a vector** (5 minutes). Write `truncate(x, d)`: `x` has shape (N, D); return the first `d` coordinates of every row,
# at length 1. The check on the last line tells you what is missing.


# %%
def truncate(x, d):
    raise NotImplementedError  # x: (N, D) -> (N, d)


check.truncate(truncate)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def truncate(x, d):
#     cut = x[:, :d]
#     return cut / np.linalg.norm(cut, axis=1, keepdims=True)
#
#
# check.truncate(truncate)
# ```
#
# Cosine divides by the length of what it compares, so the length has to be that of the *cut* vector.
# </details>
#
# **2 · How far can I cut?** (10 minutes). Write `smallest_dim(grid, layer, share)`: the smallest dimension in the grid at which
# `layer` keeps at least `share` of the full model's quality. Use `grid.at(layer, dim)`, `grid.layers` and `grid.dims`; if none is enough, return the largest.


# %%
def smallest_dim(grid, layer, share):
    raise NotImplementedError


check.smallest_dim(smallest_dim)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def smallest_dim(grid, layer, share):
#     full = grid.at(grid.layers[-1], grid.dims[-1])
#     for dim in grid.dims:
#         if grid.at(layer, dim) >= share * full:
#             return dim
#     return grid.dims[-1]
#
#
# check.smallest_dim(smallest_dim)
# ```
#
# Try `smallest_dim(plain, 6, 0.9)` and `smallest_dim(trained, 6, 0.9)`: what did training buy?
# </details>
#
# **3 · Your own recipe** (5 minutes). You may run only 2 layers in production, but still want the full model for reranking. Put
# weight 1 on layer 2 at every dimension, and on the full model, and nowhere else.

# %%
weights = np.zeros((6, 7))
# your two lines here
two_layers = Recipe("two layers", {"main": weights})

check.recipe(two_layers, 6, 384, layer=2)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# weights = np.zeros((6, 7))
# weights[1] = 1
# weights[5, 6] = 1
# two_layers = Recipe("two layers", {"main": weights})
#
# check.recipe(two_layers, 6, 384, layer=2)
# ```
#
# Train it with `train(encoder, task, two_layers, heads="per-layer")`, and compare row 2 of its grid with that of `trained`.
# </details>
#
# ## In this notebook we saw
# - one encoder is a grid of layer × dimension models, and one encoding measures all of them;
# - a plain model can be cut in dimension, down to a point, but not in layers;
# - a recipe is a table of weights on that grid, and heads trained in seconds make the early layers usable;
# - what each cell costs in bytes and multiply-adds.
#
# One thing to keep in mind: this model was trained on a billion pairs of texts, documentation of code among them, so pydocs is
# *not* an unseen domain to it. And one seed on one task is a demonstration, not yet evidence.
