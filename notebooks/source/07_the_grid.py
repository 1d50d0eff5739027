# %% [markdown]
# # 07 · The grid: what do the lower layers know?
#
# On Monday morning everybody searches at once, and your encoder cannot keep up. It has six layers. You let it stop
# after the first, which is a sixth of the work, and it finds almost nothing. Is the meaning of a text not there yet
# after one layer, or does something **hide** it? Two clues lead to the answer, and the usual suspect is innocent.
#
# In this lesson you will
#
# - see a model as a grid of smaller models: stop after any layer, keep any number of dimensions;
# - find out what spoils the lower layers, and repair much of it with a few lines of NumPy;
# - see what training adds, and what each cell of the grid costs.
#
# You need lesson 01, and lesson 02 helps. This is a core lesson and takes about 40 minutes.

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
import plotly.express as px
import torch
from exercises import first_grid as check

import mrl_tutorial as mrl

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs

# %% [markdown]
# ## A model is a grid
# A transformer has a vector for every token (a piece of a word) after each **layer**. We take the mean over the tokens,
# $x_l$, and keep its first $d$ numbers. So a model with 6 layers and 384 **dimensions** holds $6 \times 384$ models:
#
# $$\text{cell}(l, d) = \frac{x_l[1 \ldots d]}{\lVert x_l[1 \ldots d] \rVert}$$

# %%
task = mrl.load_task("pydocs").smaller(700) if FAST else mrl.load_task("pydocs")
encoder = mrl.Encoder.load("all-MiniLM-L6-v2")

query = "Context manager for floating-point error handling."
explorer = mrl.GridExplorer(task, {"plain": encoder}, examples=5, query=query, layer=1)
explorer

# %% [markdown]
# **Try this**
#
# 1. The panel stands at layer 1. Try several **examples**. Do the documents it finds have anything to do with the query?
# 2. Drag **layer** up to 6. When does the right document appear?
# 3. Stay at layer 6 and drag **dimension** down. Which is cheaper to give up, layers or dimensions?
#
# Quality is nDCG@10: 1 if the right document comes first, less for later places, 0 after the tenth. (The panel measures
# fewer queries than the figure, so its numbers differ a little.)

# %%
plain = mrl.evaluate_grid(task, encoder, split="dev")
mrl.plots.grid_heatmap(plain, title="The last layer can be cut; the layers below it hardly work")

# %% [markdown]
# **What to see.** The top row is the usual model. Layers 1 to 5 were never trained to give embeddings, only to prepare
# the next layer.
#
# **Exercise 1 · Read the grid** (5 minutes, easy). Write `share(grid, layer, dim)`: the quality of a cell as a share of
# the full model's, which is the last layer at full width. Use `grid.at(layer, dim)`, `grid.layers` and `grid.dims`.


# %%
def share(grid, layer, dim):
    raise NotImplementedError


check.share(share)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def share(grid, layer, dim):
#     return grid.at(layer, dim) / grid.at(grid.layers[-1], grid.dims[-1])
#
#
# check.share(share)
# ```
#
# Try `share(plain, 1, 384)` and `share(plain, 6, 64)`.
# </details>
#
# ## First clue: what do they find?
# We count the words in the first ten documents for every query.

# %%
parts = mrl.embed_task(task, encoder, "dev")  # queries and documents, each (6 layers, texts, 384)
words = np.array([len(text.split()) for text in task.corpus.values()])
place = {name: i for i, name in enumerate(task.corpus)}
own = [place[task.relevant(query)[0]] for query in task.judged("dev")]  # the row of each query's document


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


found = [np.argpartition(-unit(q) @ unit(x).T, 10)[:, :10] for q, x in zip(parts["queries"], parts["documents"])]
mrl.plots.lines(
    plain.layers,
    {"the ten best": [np.median(words[f]) for f in found], "the right one": [np.median(words[own])] * 6},
    title="Layers 1 to 5 find short documents",
    x_title="layer",
    y_title="words in a document (median)",
    doubling=False,
)

# %% [markdown]
# **What to see.** A query is a single sentence, and the lower layers answer it with short documents. They seem to
# compare how long texts are, not what they say.
#
# ## Second clue: the loudest direction
# Vectors vary more in some directions than in others. The *loudest* direction is the one with the largest variance.
# Then comes the loudest at right angles to it, and so on: these are the *principal directions*. Where do documents lie
# along the first?

# %%
first = parts["documents"][0]  # layer 1
loudest = mrl.pca(first).apply(first)[:, 0]

colors = [mrl.plots.COLORS[0]]
figure = px.scatter(x=words[::8], y=loudest[::8], log_x=True, opacity=0.5, color_discrete_sequence=colors)
figure.update_layout(**mrl.plots.style("The loudest direction of layer 1 measures the length of a text"), height=400)
figure.update_xaxes(title="words in the document (each step doubles)", dtick=np.log10(2))
figure.update_yaxes(title="place along the loudest direction")

# %% [markdown]
# **What to see.** Up to about 90 words, longer texts lie lower. The direction in which the vectors of layer 1 differ
# most says how long a text is. That hurts a search.
#
# ## The usual suspect
# Most people would blame something else, **anisotropy**: in lower layers the cosine of *any* two texts is high, because
# all vectors share one large part, their mean.

# %%
alike = [unit(q).mean(0) @ unit(x).mean(0) for q, x in zip(parts["queries"], parts["documents"])]  # mean of all cosines
pairs = [(unit(q) * unit(x[own])).sum(1).mean() for q, x in zip(parts["queries"], parts["documents"])]

mrl.plots.lines(
    plain.layers,
    {"any document": alike, "its own": pairs},
    title="In the lower layers a query resembles every document",
    x_title="layer",
    y_title="mean cosine with a query",
    doubling=False,
)

# %% [markdown]
# **What to see.** And so it is: below the last layer, a query's own document is only a little closer than the average
# one. So subtract the mean! We try that, and two more things. **Scaling** divides every principal direction by its
# standard deviation, so that none is louder than another. **Whitening** does both. It needs texts, but no queries and
# no labels.

# %%
asked = {document for query in task.judged("train") for document in task.relevant(query)}
in_training = [name in asked for name in task.corpus]  # no dev query asks for these documents
known = parts["documents"][:, in_training]
white = mrl.whiten(known)  # of each layer: its mean, and a matrix that scales its directions

mean, scale = np.float32(white.mean), np.float32(white.basis)

changes = {
    "plain": lambda x: x,
    "mean taken off": lambda x: x - mean,
    "scaled": lambda x: x @ scale,
    "whitened": lambda x: (x - mean) @ scale,
}
grids = {}
for name, change in changes.items():
    grids[name] = mrl.evaluate_grid(task, embeddings={part: change(x) for part, x in parts.items()}, split="dev")

mrl.plots.lines(
    plain.layers,
    {name: grid.values[:, -1] for name, grid in grids.items()},
    title="Taking the mean off does not help, scaling does",
    x_title="layer",
    y_title="nDCG@10 at 384 dimensions",
    doubling=False,
)

# %% [markdown]
# **What to see.** Removing the mean alone does not help, because the loud direction is still loud. Scaling turns it
# down, and layer 1 comes back to life. Then removing the mean helps a little too.
#
# ## The culprit
# Why do these layers know the length so well? This transformer adds to every token a vector for its **position** in the
# text: first, second, third. The mean over the tokens keeps the mean of those vectors, and that depends on how many
# there are. To test this, we give every token the same position.

# %%
nowhere = encoder.trainable_copy()  # the encoder itself stays as it is
with torch.no_grad():
    positions = nowhere.model.embeddings.position_embeddings.weight  # (512 positions, 384)
    positions[:] = positions[:128].mean(0)  # one for all: the mean of the first 128

library = mrl.load_task("pydocs").smaller(700)  # 701 documents are enough for this
models = {"plain": encoder, "no positions": nowhere, "whitened": mrl.whitened(encoder, known)}
layer_1 = {name: mrl.evaluate_grid(library, model, layers=[1], split="dev") for name, model in models.items()}
pd.DataFrame({"nDCG@10 of layer 1": {name: grid.at(1, 384) for name, grid in layer_1.items()}}).round(2)

# %% [markdown]
# **What to see.** A model that does not know the order of its tokens searches nearly twice as well after one layer. So
# the positions are one cause. A finished model needs them, but whitening turns down what they leave behind. (With fewer
# documents, all values are higher than above.)
#
# **Exercise 2 · Whitening in a few lines** (15 minutes). Write `whiten(x)` for vectors of shape (N, D). Return an array
# of the same shape whose columns have mean 0 and variance 1 and do not correlate. Sort them by the variance of `x`
# along each, largest first. `np.cov(x.T)` and `np.linalg.eigh` do most of the work: for a covariance matrix, `eigh`
# gives the variances and, as columns, their directions.


# %%
def whiten(x):
    raise NotImplementedError  # (N, D) -> (N, D)


check.whiten(whiten)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def whiten(x):
#     centered = x - x.mean(0)
#     variances, directions = np.linalg.eigh(np.cov(centered.T))  # the smallest first
#     return (centered @ directions / np.sqrt(variances))[:, ::-1]
#
#
# check.whiten(whiten)
# ```
#
# The package moves variances a tenth of the way to their mean, so that faint directions are not blown up.
# </details>
#
# ## What is left for training?
# Whitening knows nothing about queries. Training does. We put a **head** behind every layer of the frozen model, a 384
# × 384 matrix. A **recipe** says where training pushes: it is a table of weights, a row for every layer, a column for
# every dimension. The loss is the sum over the cells of weight times *contrastive loss*, which is small when a query is
# closer to its own document than to the others in the batch.

# %%
weights = np.ones((6, 7))  # layers 1 to 6; dimensions 8, 16, 32, 64, 128, 256, 384
recipe = mrl.Recipe("all-cells", {"main": weights})

result = mrl.train(encoder, task, recipe, what="heads", heads="per-layer", steps=20 if FAST else 100, batch_size=256)
grids["all-cells"] = mrl.evaluate_grid(task, result.encoder, split="dev")

shown = {name: grids[name].values[2] for name in ("plain", "whitened", "all-cells")}  # layer 3
mrl.plots.lines(plain.dims, shown, title="Layer 3: training adds to whitening, most at 32 and 64 dimensions")

# %% [markdown]
# **What to see.** Whitening puts the directions with the largest variance in front, but these are not the ones that
# find documents best. Training learns which ones do. All three models go into the panel:

# %%
explorer.add("whitened", models["whitened"])
explorer.add("all-cells", result.encoder)
explorer.set(layer=3, dim=64)
explorer

# %% [markdown]
# **Try this**
#
# 1. Switch **model** at layer 3 and 64 dimensions. Where does the right document stand?
# 2. Which cells of `all-cells` are about as good as `plain` at layer 6 and 64 dimensions? Which is cheapest to encode,
#    which to store?
# 3. Choose a recipe beside **train heads** and press **Train**.
#
# ## What a cell costs
# There are two bills. You pay for **layers** each time a text is encoded, and for **dimensions** each time vectors are
# stored or compared.

# %%
rows = []
for layer, dim in [(6, 384), (6, 64), (3, 384), (3, 64), (1, 64)]:
    price = mrl.cell_price(encoder, layer, dim)  # of 10 million documents
    cell = {"layer": layer, "dimension": dim, "encoding": price["encode_share"], "GB for 10 M": price["corpus_gb"]}
    rows.append(cell | {name: grids[name].at(layer, dim) for name in ("plain", "whitened", "all-cells")})
pd.DataFrame(rows).round(2)

# %% [markdown]
# **What to see.** Going from layer 6 to 3 halves the encoding, but not the stored vectors. Cutting 384
# dimensions to 64 shrinks the vectors to a sixth, but encoding costs the same. Far less quality is lost that way. At 64
# dimensions layer 1 is as good as layer 3.
#
# **Exercise 3 · Your own recipe** (5 minutes, open). You can afford 2 layers for the search, and the full model only to
# rerank the best hits. Put weight 1 on layer 2 at every dimension and on the full model's one cell, and nowhere else.

# %%
weights = np.zeros((6, 7))
# your two lines here
two_layers = mrl.Recipe("two layers", {"main": weights})

check.recipe(two_layers, 6, 384, layer=2)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# weights = np.zeros((6, 7))
# weights[1] = 1
# weights[5, 6] = 1
# two_layers = mrl.Recipe("two layers", {"main": weights})
#
# check.recipe(two_layers, 6, 384, layer=2)
# ```
#
# `mrl.train(encoder, task, two_layers, what="heads", heads="per-layer")` trains it.
# </details>
#
# ## What to keep in mind
# With one model, one seed and 586 queries, means are uncertain by about ± 0.03. Each head was trained for its layer
# alone; lesson 08 trains the layers together. For other tasks see [evidence E5](evidence/E5_controls.ipynb), and W1 in
# [the ledger](../LEDGER.md).
#
# ## In this lesson we saw
# - a model is a grid of layer × dimension models, and a recipe is a table of weights on it;
# - the lower layers of this model find short documents: length is loud there, and positions are one cause;
# - subtracting the mean does not repair the search; scaling, a part of whitening, repairs much of it;
# - training adds to that, most at 32 and 64 dimensions;
# - layers cost encoding time, dimensions cost memory.
#
# **On your own data.** `mrl.whitened(encoder, texts)` takes a few thousand texts. Measure it first: it is the control
# that a trained model has to beat.
#
# ## Where to read on
# [08 · Two dimensions](08_two_dimensions.ipynb) trains layers and dimensions together. Anisotropy: K. Ethayarajh (arXiv
# 1909.00512). Loud directions taken out: J. Mu and P. Viswanath, *All-but-the-top* (arXiv 1702.01417). Whitening: J. Su
# et al. (arXiv 2103.15316). Words: [the glossary](../GLOSSARY.md).
