# %% [markdown]
# # 12 · The loss lab: where would you push?
#
# Six layers, each read at seven dimensions: a grid of 42 cells. Training can push any of them up, but they share
# parameters, so a push on one moves the others too. So far, somebody else has decided where to push. MRL pushes one
# row, 2DMSE a few random cells in each step, all-cells all 42. **Where would you push?** On the early layers,
# or on short vectors?
#
# In this lesson you will
#
# - turn an idea into weights, and see in seconds what it does to every cell;
# - write a loss term of your own in three lines;
# - tell a better recipe from a lucky one, and export it.
#
# You need [lesson 02](02_the_nested_loss.ipynb) and [lesson 08](08_two_dimensions.ipynb). This is a core lesson and
# takes about 30 minutes.

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
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from exercises import loss_lab as check

import mrl_tutorial as mrl
from mrl_tutorial.training.lab import LabStore

FAST = os.environ.get("FAST") == "1"
files = Path(tempfile.mkdtemp())  # for this lesson's runs and files

# %% [markdown]
# ## Paint, train, look
# The task is pydocs again, measured by **nDCG@10** (1 for the first place, 0 beyond the tenth). The model stays
# frozen. What we train is a **head**, one matrix behind all six layers. It starts as a whitening (lesson 07) fitted
# on all layers together, so every gain over the start is the work of the loss.

# %%
task, encoder = mrl.load_task("pydocs"), mrl.Encoder.load("all-MiniLM-L6-v2")
if FAST:
    task = task.smaller(500)
lab = mrl.LossLab(task, encoder, store=LabStore(files / "runs"), steps=8 if FAST else 100)
lab

# %% [markdown]
# **Try this**
#
# - Choose *full-size* under "start from" and press *Train*. Only the corner has weight. Which other cells move too?
# - Click on a layer's number to paint its row. Pick *erase* and drag over a few cells.
# - Paint your guess, give it a name, and train it. Where does it stand on the leaderboard? The board ranks by the
#   mean over cells; *cells won* counts the cells where a run is best, and *area under bytes* is high when short
#   vectors already search well.
#
# To Python, a painting is a table of weights: layers are rows, dimensions are columns.
#
# **Exercise 1 · Paint MRL** (3 minutes, easy). The loss of lesson 02 looks only at the last layer, with the same weight
# at every dimension. Write its weights.


# %%
def paint_mrl(n_layers, dims):
    raise NotImplementedError  # -> an array (n_layers, len(dims))


check.mrl(paint_mrl)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def paint_mrl(n_layers, dims):
#     weights = np.zeros((n_layers, len(dims)))
#     weights[-1] = 1
#     return weights
#
#
# check.mrl(paint_mrl)
# ```
#
# </details>
#
# ## One row, rows at random, every row
# Published recipes are paintings too, and `lab.train` does what the button does.

# %%
LAYERS, DIMS = range(1, 7), encoder.dims
runs = {name: lab.train(name, preset=name) for name in ("mrl", "2dmse-v1", "all-cells")}
start = lab.runs[0].dev.mean(-1)  # (6, 7), before training
gains = {name: (100 * (run.dev.mean(-1) - start)).round() + 0 for name, run in runs.items()}  # + 0: no "-0"
mrl.plots.heatmaps(
    gains,
    LAYERS,
    DIMS,
    digits=0,
    metric="hundredths",
    difference=True,
    title="MRL lifts one row, all-cells lifts them all (gain over the start)",
)

# %% [markdown]
# **What to see.** These are hundredths of nDCG@10 over the whitened start. MRL lifts the row that it paints, most at 16
# to 64 numbers, and layer 5 a little; lower rows lose a touch. All-cells lifts every row, but the last one gains less
# than with MRL: one matrix cannot be best for six layers at once. 2DMSE is mostly in between.
#
# ## Break it on purpose
# What does a weight do? Take it away and look. We paint every cell except those of the last layer.


# %%
def push(name, **weights):
    """Train with these weights: term -> (6, 7)."""
    terms = [{"term": term, "weights": np.asarray(w).tolist()} for term, w in weights.items()]
    return lab.train(name, recipe={"terms": terms, "sampler": "all"})


no_last = np.ones((6, 7))
no_last[-1] = 0
broken = push("no last layer", main=no_last)
lost = broken.dev.mean(-1) - runs["all-cells"].dev.mean(-1)
mrl.plots.heatmap(
    lost, LAYERS, DIMS, title="Give the last layer no weight, and it falls behind all-cells", digits=3, difference=True
)

# %% [markdown]
# **What to see.** The last layer loses up to 0.026, again most at 16 to 64 numbers. The other rows hardly change.
# Nothing collapses: the whitening is still underneath, and all rows share one matrix.
#
# ## A recipe for a job
# A search box answers while you type. It uses layer 2 after each letter and layer 4 when you pause. On Enter, the full
# model reranks the best forty. Nobody will ever read layers 1, 3 and 5. Why push there?
#
# **Exercise 2 · Two layers online** (5 minutes, the idea). Write the weights: two whole rows, and the one cell that
# reranks.


# %%
def two_layers(first, second, n_layers, dims):
    raise NotImplementedError  # -> an array (n_layers, len(dims))


check.two_layers(two_layers)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def two_layers(first, second, n_layers, dims):
#     weights = np.zeros((n_layers, len(dims)))
#     weights[[first - 1, second - 1]] = 1
#     weights[-1, -1] = 1
#     return weights
#
#
# check.two_layers(two_layers)
# ```
#
# </details>

# %%
job = np.zeros((6, 7))
job[[1, 3]] = 1  # layers 2 and 4
job[-1, -1] = 1  # the full model
search_box = push("search box", main=job)
change = search_box.dev.mean(-1) - runs["all-cells"].dev.mean(-1)
mrl.plots.heatmap(
    change, LAYERS, DIMS, title="Layers 2 and 4 gain a little over all-cells, others pay", digits=3, difference=True
)

# %% [markdown]
# **What to see.** The painted rows are ahead of all-cells in most cells, by about a hundredth at best. Layer 5 loses up
# to eight hundredths. The full model, one cell against fourteen, does not gain. Try a weight of 10 there.
#
# ## A term of your own
# The panel lists five terms. You can add your own, a function from a batch to one number for each layer and dimension.
# Lesson 07 showed how the vectors of early layers crowd together. So here is a term against crowding, the mean squared
# cosine between the queries of a batch.


# %%
@mrl.term("crowd", needs_last_layer=False)
def crowd(batch, layers, dims):
    queries = batch.query_rows(layers)  # (layers, queries, 384)
    cosines = mrl.nested_scores(queries, queries, dims)  # (layers, dims, queries, queries)
    return cosines.square().mean((2, 3))  # (layers, dims)


ones = np.ones((6, 7))
less_crowd = push("less crowd", main=ones, crowd=30 * ones)
print(f"mean over cells, minus all-cells: {less_crowd.dev.mean() - runs['all-cells'].dev.mean():+.4f}")

# %% [markdown]
# **What to see.** Almost nothing happens, even at thirty times the weight, probably because the whitened start is not
# crowded. An idea that sounds right is not yet a result. In the panel, type `crowd` under "your own term".
#
# **Exercise 3 · The refused term** (8 minutes, the idea). An early layer should say what the last layer says. The term
# below measures how far apart they are, but the lab refuses it: *term 'drift' returned shape (7, 6) for layers [1, 2, 3,
# 4, 5, 6] and dimensions [8, …, 384]: expected (6, 7)*. Repair it.


# %%
@mrl.term("drift")
def drift(batch, layers, dims):
    queries = batch.query_rows(layers)  # (layers, queries, 384)
    last = batch.query_rows(batch.layers[-1:])  # (1, queries, 384)
    gaps = [(mrl.prefix(queries, d) - mrl.prefix(last, d)).square().sum(-1) for d in dims]
    return torch.stack(gaps).mean(-1)


check.drift(drift)

# %% [markdown]
# <details><summary>Solution</summary>
#
# Each element of `gaps` belongs to one dimension and has the shape (layers, queries). `torch.stack(gaps)` puts the
# dimensions first, but they belong second.
#
# ```python
# @mrl.term("drift")
# def drift(batch, layers, dims):
#     queries = batch.query_rows(layers)
#     last = batch.query_rows(batch.layers[-1:])
#     gaps = [(mrl.prefix(queries, d) - mrl.prefix(last, d)).square().sum(-1) for d in dims]
#     return torch.stack(gaps, 1).mean(-1)
#
#
# check.drift(drift)
# ```
#
# </details>
#
# ## Better, or lucky?
# Here are all runs. In the grid of differences, ▲ and ▼ mark cells whose 95 % interval over the queries excludes 0.

# %%
lab.set(run="search box", against="all-cells")
lab

# %% [markdown]
# **Try this**
#
# - The search box is low by the mean, but first by cells won. Does either column fit its job?
# - Press *mrl* in the table. In which column does it lead, and why?
# - Switch "quality against" to *encoding a query*. Which run would you take if you could afford two layers?
#
# ## Why test waits
# Everything so far was measured on the queries called **dev**, and we chose by looking at them. Try enough recipes, and
# one looks good by luck. So the **test** queries wait: *Show test* looks at them once, for the recipe that you have
# chosen.
#
# We tried 25 recipes on dev. Ten of them only moved weights around, and none of those was clearly ahead of
# all-cells. We kept three of the others. **warm** divides the scores by a temperature of 0.1 instead of 0.05.
# **teacher** adds a KL term (lesson 08) that pulls each cell's scores toward the full model's. **warm-teacher**
# does both. Each has three seeds and one look at test; *low* and *high* bound the 95 % interval of the difference.

# %%
# two stored tables: heads on the search task, and full training on sentence similarity
shown = ["test minus all-cells", "test low", "test high"]
heads, full = (
    pd.read_csv(f"../data/results/{name}.csv", comment="#").set_index("recipe")
    for name in ("found-recipes", "found-recipes-full")
)
tables = {"heads, search": heads[["dev minus all-cells", *shown]], "full training, similarity": full[shown]}
pd.concat(tables, axis=1)

# %% [markdown]
# **What to see.** With heads, all three stay ahead on test, by two to six thousandths, and no interval contains 0. That
# is small: this course says *better* from 0.005 on, which only warm-teacher reaches. Trained in full, on
# sentence similarity, they gain three to six hundredths, in the same order.
#
# **Exercise 4 · Beat all-cells** (10 minutes, open). Write a recipe as a dictionary, from terms (the panel lists
# them) to weights. The check says whether it can be trained, and `push("mine", **my_recipe())` trains it.


# %%
def my_recipe():
    raise NotImplementedError  # -> {"main": an array (6, 7), perhaps more terms}


check.recipe(my_recipe)

# %% [markdown]
# <details><summary>Solution</summary>
#
# One of many is *teacher* from above:
#
# ```python
# def my_recipe():
#     below = np.ones((6, 7))
#     below[-1, -1] = 0
#     return {"main": np.ones((6, 7)), "kl-scores": below}
#
#
# check.recipe(my_recipe)
# ```
#
# </details>
#
# ## Keep a recipe
# A recipe is a text file with all it takes to train the same head again.

# %%
recipe = lab.recipe("search box")
recipe.write(files / "my.json")
again = mrl.train_recipe(encoder, task, mrl.RecipeFile.read(files / "my.json")).encoder
same = mrl.evaluate_grid(task, again, split="dev").values
print("the same numbers:", np.allclose(same, search_box.dev.mean(-1), atol=1e-4))

# %% [markdown]
# The command line reads the same file, and sentence-transformers takes the recipe as a loss.
#
# ```
# mrl-tutorial train --recipe my.json --task pydocs --out my-model
# ```
#
# ```python
# # model: a SentenceTransformer; pairs: a datasets.Dataset of anchors and positives
# loss = mrl.RecipeLoss(model, recipe.recipe(6, 384))
# SentenceTransformerTrainer(model=model, train_dataset=pairs, loss=loss).train()
# ```
#
# ## Your own pairs, your own vectors
# Two columns of text are enough for a lab: what is asked, and what answers it. (Write `my_lab` in a cell to open
# this one.) Vectors without texts cannot be trained, but you can measure how many of a vector's ten nearest
# neighbors remain when it is cut.

# %%
pairs = [(task.queries[q], task.corpus[task.relevant(q)[0]]) for q in task.splits["train"][:400]]
pd.DataFrame(pairs, columns=["anchor", "positive"]).to_csv(files / "pairs.csv", index=False)
mine = mrl.load_task(files / "pairs.csv")
my_lab = mrl.LossLab(mine, encoder, store=LabStore(files / "my runs"))

# %%
np.save(files / "mine.npy", encoder.encode([text for pair in pairs for text in pair]))
print(mrl.evaluate_grid(mrl.load_task(files / "mine.npy")).as_text())  # the share of the ten neighbors that remain

# %% [markdown]
# ## What to keep in mind
# This is one small model on one task, and shared heads are a **preview**.
# On sentence similarity they did not rank recipes as full training does; four steps of full training (*none* under
# *heads*) did, except in the last layer ([H1](../LEDGER.md#H1)). To be sure, press *Confirm by full training*.
#
# ## In this lesson we saw
# - A recipe is a table of weights for each term.
# - Cells share parameters: all-cells is a compromise, and a row that nobody paints falls behind.
# - A recipe painted for a job gains a little there, and pays elsewhere.
# - Choose on dev, and look at test once.
#
# **On your own data.** `mrl.LossLab(mrl.load_task("pairs.csv"), mrl.Encoder.load("your-model"))` opens a lab that saves
# its runs, so they are still there tomorrow.
#
# ## Where to read on
# - MRL: arXiv 2205.13147. 2DMSE: 2402.14776. Starbucks: 2410.13230. Heads on frozen vectors: Matryoshka-Adaptor,
#   2407.20243.
# - [USING](../USING.md) has the loss lab on the command line. Words are explained in [the glossary](../GLOSSARY.md).
# - [Lesson 13](13_language_models.ipynb) (optional) builds a language model that can guess from four numbers.
