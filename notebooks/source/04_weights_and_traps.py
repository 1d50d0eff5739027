# %% [markdown]
# # 04 · Weights and traps: what the sizes do to one another
#
# A colleague tidies up the code of your search engine and swaps two lines. Nothing breaks. There is no error and no
# warning, and every score still lies between −1 and 1. But a page that used to come first is now far down the list. How
# would you ever find out?
#
# All sizes of a Matryoshka vector share their numbers, so what you do for one of them reaches the others. In this lesson you
#
# - find the two lines, and learn the order that keeps scores right;
# - give one size more weight in the loss, and see who pays for it;
# - see which questions a handful of numbers can answer, and which it cannot.
#
# You need lessons [01](01_the_doll.ipynb) and [02](02_the_nested_loss.ipynb). It takes about 30 minutes and is optional.

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
import torch.nn.functional as F  # noqa: F401 (for exercise 2)
from exercises import weights_and_traps as check

import mrl_tutorial as mrl
from mrl_tutorial.evaluation.statistics import paired

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs

# %% [markdown]
# ## Two lines, swapped
# We search pydocs again: the query is the first sentence of a docstring, its document the rest. The model is MiniLM
# with the course's Matryoshka heads. It gives raw vectors of 384 numbers, and their lengths differ from text to text.
# We keep the first 32.

# %%
task = mrl.load_task("pydocs")
if FAST:
    task = task.smaller(500)
encoder = mrl.pretrained_heads(mrl.Encoder.load())
asked, texts = task.judged("dev"), list(task.corpus.values())
queries = encoder.encode_layers([task.queries[q] for q in asked], layers=[6])[0]  # (queries, 384), raw
documents = encoder.encode_layers(texts, layers=[6])[0]
row = {name: i for i, name in enumerate(task.corpus)}
answer = np.array([row[next(iter(task.qrels[q]))] for q in asked])  # the row of each query's right document

# %% [markdown]
# Here are the two lines, cutting and normalizing, in both orders. If you cut first, many queries find their right
# document in first place. The table shows the one that the swap hurts most.


# %%
def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)  # length 1


d = 32
scores = {
    "cut, then normalize": unit(queries[:, :d]) @ unit(documents[:, :d]).T,
    "normalize, then cut": unit(queries)[:, :d] @ unit(documents)[:, :d].T,
}
rank = {way: (s > s[range(len(s)), answer][:, None]).sum(1) + 1 for way, s in scores.items()}
# of the queries that are first when you cut first, the one that falls furthest
one = np.where(rank["cut, then normalize"] == 1, rank["normalize, then cut"], 0).argmax()
print(task.queries[asked[one]])
pd.DataFrame({
    way: {
        "score of its document": s[one, answer[one]],
        "rank of its document": rank[way][one],
        "first in the list": texts[s[one].argmax()][:60],
        "all queries: in the first ten": f"{np.mean(rank[way] <= 10):.0%}",
    }
    for way, s in scores.items()
})  # fmt: skip

# %% [markdown]
# **What to see.** Both scores look like cosines, but only the first one is. The second is too small, and the right
# document has dropped to place 67. Over all queries, only 43 % of the right documents are still among the first ten,
# down from 57 %.
#
# Why? A vector of length 1 is shorter than 1 after the cut, and each document keeps a different part of its length. A
# dot product then favors documents that keep much, whatever the query. The same happens if you store normalized vectors
# in a database and cut them there.

# %%
some = slice(0, 60 if FAST else 200)
trap = mrl.TruncationTrap(
    queries[some], documents, [{a} for a in answer[some]], [task.queries[q] for q in asked[some]], texts, dim=32
)
trap

# %% [markdown]
# **Try this.** Drag the dimension from 384 down to 16 and watch the dashed line fall behind the solid one. The
# histogram shows the lengths that the documents keep: all 1 at 384, and shorter and more uneven the more you cut. Then
# look at the dotted line, *no normalizing*: there, long vectors win even at full size. *Normalize, cut, distance* ranks
# by distance. It keeps up here, because a vector that is too long is also far away.
#
# **Exercise 1 · Find the bug** (5 minutes, easy). `search` compares one query with all documents by their first `d`
# numbers. Repair it.


# %%
def search(query, documents, d):
    query, documents = unit(query), unit(documents)
    query, documents = query[:d], documents[:, :d]
    scores = documents @ query
    return np.argsort(-scores)  # rows of the documents, best first


check.search(search)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def unit(v):
#     return v / np.linalg.norm(v, axis=-1, keepdims=True)
#
#
# def search(query, documents, d):
#     query, documents = query[:d], documents[:, :d]
#     query, documents = unit(query), unit(documents)
#     scores = documents @ query
#     return np.argsort(-scores)
#
#
# check.search(search)
# ```
#
# Normalizing early does no harm, as long as you normalize again after the cut.
# </details>
#
# ## A factor that is not there
# The nested loss has a weight $c_m$ for every size $m$:
#
# $$\mathcal{L} = \sum_{m} c_m \cdot \text{loss of the first } m \text{ numbers}, \qquad c_m = 1 \text{ unless said otherwise.}$$
#
# One article gets this wrong (Z3 in the [ledger](../LEDGER.md)). It says that short embeddings may hold other values
# than long ones "because of the scaling factor applied to each feature dimension". But $c_m$ multiplies a *loss* during
# training, never a feature. The next cell divides a short vector by the beginning of the long one. It finds the same
# factor, about 7.5, eight times. That is not $c_m$: it brings the short vector back to length 1.

# %%
long, short = encoder.encode(["a short text"])[0], encoder.encode(["a short text"], dim=8)[0]
factor = short / long[:8]
assert np.allclose(factor, factor[0], rtol=1e-3)  # one factor for all eight: the length, nothing else
factor.round(3)

# %% [markdown]
# ## What do the weights do, then?
# They say which sizes matter most to you. To see how, write the loss yourself.
#
# **Exercise 2 · The weighted nested loss** (10 minutes, the idea). This time a head is a classifier: `heads[i]` turns
# the first `sizes[i]` features into class scores, and `weights[i]` is the $c_m$ of that size. Return one tensor: the
# weighted sum of the cross-entropies.


# %%
def weighted_loss(features, labels, sizes, heads, weights):
    raise NotImplementedError  # (B, D), (B,), and three lists of the same length -> a tensor with one number


check.weighted_loss(weighted_loss)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def weighted_loss(features, labels, sizes, heads, weights):
#     losses = [F.cross_entropy(head(features[:, :m]), labels) for m, head in zip(sizes, heads)]
#     return sum(c * loss for c, loss in zip(weights, losses))
#
#
# check.weighted_loss(weighted_loss)
# ```
# </details>
#
# The next panel trains with exactly this loss. A small network learns scikit-learn's digits, pictures of 8 × 8 pixels,
# and is tested with its first 2, 4, 8, 16, 32 and 64 features. (There are really five, so that each picture is tested
# by one that has not seen it. Move a weight, and all five are trained again.)

# %%
weights = mrl.ImportanceWeights()
weights.train(c2=4.0)  # as the button "Boost size 2" does
weights

# %% [markdown]
# **Try this.**
#
# 1. Move the weight of size 2 to 16. Does size 2 gain more? What happens to the others?
# 2. Press *All 1*, then raise the weight of size 8 to its maximum. Does size 8 gain?
# 3. Press *All 1* and set the weight of size 2 to 0. Does any other size gain?
#
# What does a heavy weight at 2 numbers cost the others? One training depends on luck, so the next cell repeats it with
# three seeds (random starts). The bands are 95 % intervals over pictures and seeds.

# %%
runs = [mrl.ImportanceWeights(seed=seed) for seed in range(1 if FAST else 3)]
equal = np.stack([run.base.right for run in runs])  # (seeds, sizes, pictures), 1 where the answer is right
gain = {}
for c in (4.0, 16.0):
    right = np.stack([run.train(c2=c).right for run in runs])
    # for each size: the points gained over equal weights, and the two ends of the interval
    gain[f"weight {c:g}"] = 100 * np.array([paired(right[:, j], equal[:, j])[:3] for j in range(6)])
mrl.plots.lines(
    (2, 4, 8, 16, 32, 64),
    {name: g[:, 0] for name, g in gain.items()},
    bands={name: g[:, 1:] for name, g in gain.items()},
    title="A weight of 4 lifts size 2 at little cost; 16 hardly adds to it",
    x_title="size (numbers kept)",
    y_title="points of accuracy gained",
    y_range=(-3, 6),
)

# %% [markdown]
# **What to see.** Four times the weight lifts size 2 by about 3.5 points, and no other size loses more than half a
# point on average. Sixteen times adds little and costs sizes 4 and 8 about three quarters of a point. A size that is
# already good has little to gain, as question 2 showed. (In the ledger, M9, size 2 gains only 1.6 points: with 30
# epochs, not our 20, equal weights already serve it better.)
#
# **Exercise 3 · Paint the weights** (10 minutes, open). Find weights above 0 that lift size 2 by at least 1.5 points
# over equal weights, while no other size loses more than 0.5. How far can you push size 2? The check trains with three
# seeds, so give it a few seconds.

# %%
painted = {2: 1, 4: 1, 8: 1, 16: 1, 32: 1, 64: 1}

check.painted(painted)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# painted = {2: 2, 4: 1, 8: 1, 16: 1, 32: 1, 64: 1}
#
# check.painted(painted)
# ```
#
# Twice the weight is already enough. Only the ratios matter here, because the optimizer, Adam, divides by the size of
# the gradient.
# </details>
#
# ## What do eight numbers know?
# Every document of pydocs has two labels: a coarse one, the *package* that it comes from (numpy, pandas, …, 15 in all),
# and a fine one, the *module* inside that package (89 in all). For each test document, we look up the nearest training
# document by the first $d$ numbers. Is it from the same package? From the same module?

# %%
# the rows of the training documents and of the test documents
train, test = (np.array([row[p] for q in task.splits[s] for p in task.qrels[q]]) for s in ("train", "test"))
dims = (8, 16, 32, 64, 128, 256, 384)
prefixes = [unit(documents[:, :d]) for d in dims]
nearest = [train[(v[test] @ v[train].T).argmax(1)] for v in prefixes]  # a neighbor for each test document, at each size
kept = {}
for level, name in {"package": "package (coarse)", "module": "module (fine)"}.items():
    label = np.array(task.labels[level])
    right = np.array([np.mean(label[n] == label[test]) for n in nearest])
    kept[name] = 100 * right / right[-1]
coarse, fine = (line[0] for line in kept.values())
title = f"Eight numbers keep the coarse label far better than the fine one: {coarse:.0f} % against {fine:.0f} %"
figure = mrl.plots.lines(dims, kept, title=title, x_title="numbers kept", y_title="accuracy, % of that with 384")
mrl.plots.place_names(figure, {"package (coarse)": (8, 90), "module (fine)": (10.5, 47)})
figure.update_annotations(font_color=mrl.plots.MARK).update_traces(line_color=mrl.plots.MARK)  # both are MRL's

# %% [markdown]
# **What to see.** The same neighbor answers both questions. With eight numbers it has the right package 71 % as often
# as with all 384, and the right module less than half as often. From 64 numbers on, both keep more than nine tenths.
#
# **Try this.** Does this come from Matryoshka training? Put
# `documents = mrl.Encoder.load().encode_layers(texts, layers=[6])[0]` at the top of the cell and run it again. The
# plain model keeps much less in its first numbers, but it too keeps more of the package than of the module.
#
# ## What to keep in mind
# Coarse labels are also easier: even a blind guess hits the right package more often than the right module. And the
# details do not sit in the later numbers: in Z2 of the ledger the first 16 beat the last 16 on packages *and* on
# modules. The weights were tried on small pictures and three seeds. On ImageNet, the paper's size 8 gains about 3
# points from double weight.
#
# ## In this lesson we saw
# - Cut, then normalize. The other order gives scores that look right and rank wrong.
# - The weights $c_m$ act on losses, in training. They never touch a feature.
# - A heavier weight helps a size that still lacks accuracy, but only up to a point.
# - Coarse questions need few numbers, fine ones more.
#
# **On your own data.** After every cut, look at `np.linalg.norm(vectors, axis=1)`. If the lengths are not all 1, your
# dot products are not cosines. In sentence-transformers the right call is `encode(..., truncate_dim=64,
# normalize_embeddings=True)`.
#
# ## Where to read on
# - A. Kusupati and others, *Matryoshka Representation Learning*, arXiv 2205.13147. The weights are in section 3, and
#   appendix K.1 tries more weight on small sizes.
# - The documentation of sentence-transformers on [Matryoshka
#   embeddings](https://sbert.net/examples/sentence_transformer/training/matryoshka/README.html).
# - [The glossary](../GLOSSARY.md) explains the words. Next: [lesson 05](05_adaptive_classification.ipynb), where every
#   item chooses its own size.
