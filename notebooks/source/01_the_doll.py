# %% [markdown]
# # 01 · The doll: how much of a vector do you need?
#
# A search engine finds a page because somebody turned the page into a list of numbers. Let us take such a list and cut
# it with scissors. Half of the numbers go. Then half of the rest. Then half again. The search still works, for a
# surprisingly long time, and then it falls apart. **When?**
#
# In this lesson you will
#
# - search the documentation of Python libraries with vectors that get shorter and shorter;
# - see what a Matryoshka embedding is, and what it saves;
# - measure the price of cutting, for a plain model and for one that was trained to be cut.
#
# You need some Python and NumPy, and you should have met vectors and the dot product. This is a core lesson and takes
# about 30 minutes.

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
import torch
from exercises import doll as check
from IPython.display import Image

import mrl_tutorial as mrl

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs

# %% [markdown]
# ## One question
# Our library holds 701 pages of documentation of NumPy, pandas, PyTorch and a dozen others. The first sentence of each
# page is a **query**, and the rest is its right **document**. The model `all-MiniLM-L6-v2` turns every text into 384
# numbers, an **embedding**.

# %%
library = mrl.load_task("pydocs").smaller(700)  # about 700 of all 6,306 pages
encoder = mrl.Encoder.load("all-MiniLM-L6-v2")
names, texts = list(library.corpus), list(library.corpus.values())

query = "Give a new shape to the array without changing its data."
documents = encoder.encode_layers(texts)[-1]  # after the last layer: 701 documents, 384 numbers each
question = encoder.encode_layers([query])[-1, 0]  # 384 numbers

# %% [markdown]
# Two texts are close when the **cosine** of their vectors is high: their dot product, divided by both lengths. The function
# below uses only the first `d` numbers of every vector.


# %%
def cosines(d):
    q, x = question[:d], documents[:, :d]
    return x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)


best = np.argsort(-cosines(384))[:3]
pd.DataFrame(
    {"cosine": cosines(384)[best], "document": [names[i] for i in best], "text": [texts[i][:70] for i in best]}
)

# %% [markdown]
# With all 384 numbers, the page of `reshape` comes first, well ahead of the second. Now take the scissors. **Guess
# first:** how few numbers can you keep before it loses its place?

# %%
right, rows = names.index("numpy.ma.core.MaskedArray.reshape"), []
for d in (384, 256, 128, 64, 32, 16, 8):
    scores = cosines(d)
    rank = 1 + (scores > scores[right]).sum()  # one plus the documents that score better
    rows.append({"numbers kept": d, "rank of the right document": rank, "in the first place": names[scores.argmax()]})
pd.DataFrame(rows)

# %% [markdown]
# **What to see.** With 64 numbers, a sixth of the vector, the right page still comes first. With 32, fourteen others
# beat it, led by one about sparse matrices. With 16 the winner is about masked arrays: the topic is still there, but
# the detail is gone. Even with 8 numbers the right page is among the first 40 of 701. (Yes, that beats 16 numbers. So
# far down the list, ranks are partly luck.)
#
# ## Slide it yourself
# The panel holds the same library and more queries, and measures every possible cut. Watch the **rank** curve first: it
# shows where the right document of your query stands. The colored table above it shows the mean quality of 77 queries
# as nDCG@10, explained further down. That mean may drop while your own query still finds its document first. Slide
# right away, even if the notebook says "Busy": the panel does not wait for it.

# %%
mrl.GridExplorer(library, encoder, query=query)

# %% [markdown]
# **Try this**
#
# 1. Drag **dimension** from 384 down to 1. Watch the right document lose the first place twice.
# 2. Choose another **example**. One of them still finds its document with 4 numbers. Which?
# 3. Drag **layer** down to 3: now the model stops halfway, after three of its six layers. Something breaks badly.
#    Lesson 07 finds out why, and repairs it.
#
# ## It has a name
# A Russian doll, a *matryoshka*, holds a smaller doll, which holds a smaller one. A **Matryoshka embedding** is a
# vector whose beginnings are embeddings too. A beginning of $d$ numbers is called a **prefix**, and $d$ is its
# **dimension**.

# %%
Image("images/doll.png", width=900)

# %% [markdown]
# Nobody trained our model to be cut like this. It survives the scissors because its 384 numbers overlap a good deal in
# what they say, so many of them can go. **Matryoshka representation learning** (MRL) trains a model to be cut, and that
# is the next lesson. First, make your own doll.
#
# **Exercise 1 · Cut a vector** (5 minutes, easy). Write `truncate(x, d)`. `x` is a NumPy array of shape (N, D), one
# vector per row. Cut every row to its first `d` numbers and scale it to length 1, so that the dot product of two rows
# is their cosine.


# %%
def truncate(x, d):
    raise NotImplementedError  # (N, D) -> (N, d)


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
# The order matters. A cut changes the length, so cut first and normalize afterwards.
# </details>
#
# ## What it saves
# A number in `float32` takes 4 bytes. Ten million vectors of 384 numbers take 10,000,000 × 384 × 4 bytes = 15.4 GB. Cut
# to 32 numbers they take 1.3 GB, which fits into a phone. Search gets cheaper by the same factor, because it multiplies
# fewer numbers. Mind the scale of the panel's bars: from one mark to the next, memory grows a hundredfold.

# %%
mrl.SizeCalculator(width=384, dim=32)

# %% [markdown]
# **Try this**
#
# 1. Press **10 M × 1,024, float32**. Will it fit into your laptop? How far must you cut so that it does?
# 2. Keep the dimension and change **stored as** to `int8`. The two savings multiply. (Ignore graph and shortlist until
#    lesson 11.)
#
# ## One query is not everything
# Some queries fail early and some late, so we ask many. Now all 6,306 pages are in the library, and we ask the 586
# queries called **dev**, which were kept out of training. Each gets a score called **nDCG@10**: 1 if its document comes
# first, 0.63 for the second place, 0.5 for the third, down to 0.29 for the tenth, and 0 beyond. We take the mean.
#
# We do it for two models. The second adds a matrix that turns the 384 numbers into 384 others. The matrix was trained
# on other queries, to search well at all seven dimensions of the figure below.

# %%
task = library if FAST else mrl.load_task("pydocs")
plain = mrl.evaluate_grid(task, encoder, split="dev")  # nDCG@10 at every layer and dimension
nested = mrl.evaluate_grid(task, mrl.pretrained_heads(encoder), split="dev")  # with the trained matrix
curves = {"plain": plain.values[-1], "MRL": nested.values[-1]}  # the last layer

mrl.plots.lines(plain.dims, curves, title="A model trained to be cut searches better with few numbers")

# %% [markdown]
# **What to see.** Both lines are nearly flat on the right: the last hundred numbers are hardly missed. On the left the
# plain model breaks down, and the trained one holds out longer. With 32 dimensions it is about as good as the plain
# model with 64. It is ahead at 384 as well, probably because its matrix was trained on pages of this very library. The
# next lesson takes the two effects apart.
#
# **Exercise 2 · How far can I cut?** (10 minutes). Write `smallest_dim(dims, quality, share)`. Both `dims` (smallest
# first) and `quality` are lists that end with the whole vector. Return the smallest dimension that keeps at least
# `share` of its quality.


# %%
def smallest_dim(dims, quality, share):
    raise NotImplementedError


check.smallest_dim(smallest_dim)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def smallest_dim(dims, quality, share):
#     whole = quality[-1]
#     return next(d for d, q in zip(dims, quality) if q >= share * whole)
#
#
# check.smallest_dim(smallest_dim)
# ```
#
# Try `[smallest_dim(plain.dims, curves[name], 0.9) for name in curves]`. What did training buy?
# </details>
#
# ## Who falls first?
# Back to the small library. We keep the dev queries whose page comes first with the whole vector, and look at the rank
# of that page at every dimension. The table shows the first seven and the last seven of them. Sturdy queries stand at
# the top. The sooner a query loses the first place on the way down from 384, the lower it stands.

# %%
judged = library.judged("dev")
# asked: the texts of the queries; own: the row of each query's right document
asked, own = [library.queries[q] for q in judged], [names.index(*library.qrels[q]) for q in judged]
vectors = torch.tensor(encoder.encode_layers(asked)[-1])
scores = mrl.nested_scores(vectors, torch.tensor(documents), encoder.dims)  # cosines: dimensions, queries, documents
right = scores[:, range(len(own)), own]  # of each query with its right document: dimensions, queries
ranks = 1 + (scores > right[..., None]).sum(-1)  # as before: one plus the documents that score better

table = pd.DataFrame(ranks.T.numpy(), index=[text[:60] for text in asked], columns=encoder.dims)
table = table[table[384] == 1].sort_values([256, 128, 64, 32, 16, 8])
pd.concat([table.head(7), table.tail(7)])

# %% [markdown]
# **Exercise 3 · Sturdy and fragile** (10 minutes, open). Choose from the table one query that survives a short vector
# and one that does not. Say in a sentence why: which other pages does the right one compete with? Then compare it with
# your neighbor's.

# %%
sturdy = "..."  # the beginning of a query is enough
fragile = "..."
because = "..."

check.two_queries(sturdy, fragile, because)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# sturdy = "Compute the Wasserstein-1 distance"
# fragile = "Return a sorted copy of an array"
# because = "only one page is about that distance, but dozens speak of arrays and copies and differ in details"
#
# check.two_queries(sturdy, fragile, because)
# ```
#
# How far you can cut depends on the rivals. Put more pages into the library, and no query gets easier.
# </details>
#
# ## What to keep in mind
# Both curves come from one encoder on one task, and with 586 other queries each point might move by about 0.03. The
# plain model was trained on documentation of code too, so texts of this kind are not new to it either. What others say
# about Matryoshka embeddings, and how much of it we could confirm, is in [the ledger](../LEDGER.md).
#
# ## In this lesson we saw
# - a vector can be cut to its first numbers, and search still works: topic survives longer than detail;
# - cut first, normalize afterwards;
# - memory and search cost shrink in proportion to the dimension;
# - a plain model can be cut a little; a model trained for it can be cut further.
#
# **On your own data.** A folder in BEIR's format (texts, queries, and which text answers which query) is a task too:
# `mrl.GridExplorer(mrl.load_task("my/folder"), encoder)` shows how far *your* vectors can be cut.
#
# ## Where to read on
# [02 · The nested loss](02_the_nested_loss.ipynb) builds the training in six lines. The idea comes from A. Kusupati et
# al., *Matryoshka Representation Learning* (arXiv 2205.13147). Words you do not know are in [the
# glossary](../GLOSSARY.md).
