# %% [markdown]
# # 08 · Two dimensions: training that asks for every cell
#
# Take an empty grid with a row for each layer and a column for each dimension. Write into each cell how much training
# should care about it. You have just written a loss: lesson 07 called such a table of weights a *recipe*. What do the
# published methods write?
#
# **You will be able to** read a two-dimensional loss as a table, say what its KL term adds, compare trained models with
# an untrained control, and recognize a training that went wrong.
#
# You need [lesson 07](07_the_grid.ipynb). This is a core lesson and takes about 35 minutes.

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
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from evidence.published_grids import stacks, sweep_rows
from evidence.tiles import tiles
from exercises import two_dimensions as check
from torch.nn import functional as F

import mrl_tutorial as mrl

FAST = os.environ.get("FAST") == "1"
STEPS, ASKED = (8, 60) if FAST else (60, 300)  # steps of each training here, and how many queries measure it
LAYERS, DIMS, rng = range(1, 7), mrl.default_dims(384), np.random.default_rng(0)

# %% [markdown]
# ## A method is a table of weights
# Take 2DMSE, *two-dimensional Matryoshka sentence embeddings* (arXiv 2402.14776, version 1). Every step draws a lower
# layer and a smaller dimension, and trains them together with the last layer and the full width. These are the four
# cells with a 1.

# %%
recipe = mrl.get_recipe("2dmse-v1", 6, 384)
step = recipe.step_weights(rng)["main"]  # run it again for another draw
pd.DataFrame(step.astype(int), index=LAYERS, columns=DIMS).iloc[::-1]

# %% [markdown]
# Each cell has the contrastive loss of lesson 02. *main* is the table of its weights, and the weighted sum is the
# loss of the step. Averaged over many draws, 2DMSE is one table too.

# %%
names = {"mrl": "MRL", "2dmse-v1": "2DMSE", "ese": "ESE", "starbucks": "Starbucks", "all-cells": "all-cells"}
painted = {}
for name, label in names.items():
    weights = mrl.get_recipe(name, 6, 384).weights["main"]
    painted[label] = (np.where(weights > 0, weights, np.nan), LAYERS, DIMS)
figure = tiles(
    painted, bar="weight", columns=5, limits=(0, 1), title="Five methods, five tables: white cells get no loss"
)
figure.update_xaxes(title="dimension")

# %% [markdown]
# **What to see.** MRL paints the top row and 2DMSE paints everything, most of it thinly. ESE (version 2 of the same
# paper) trains every layer, but only at 128 dimensions, with weight $1/(1+\ln l)$ for layers $l = 1$ to 5. Starbucks
# (arXiv 2410.13230) climbs a staircase, and *all-cells* is ours.
#
# ## A teacher: KL
# 2DMSE and Starbucks add a second kind of term. A cell should *imitate* a better one, its teacher. A softmax turns the
# numbers of both into shares that add up to 1. The Kullback-Leibler divergence says how far the student's shares $q$ are
# from the teacher's $p$:
#
# $$\mathrm{KL}(p \,\|\, q) = \sum_i p_i \log \frac{p_i}{q_i}$$
#
# It is 0 only if both agree, and its direction matters. Below, the teacher has two peaks, because two documents answer
# the query. A student can make only one peak. We try many students and keep the best for each direction.


# %%
def bump(center, width):
    return torch.softmax(-0.5 * ((torch.arange(20) - center) / width) ** 2, dim=0)


def kl(p, q):
    return F.kl_div(q.log(), p, reduction="sum")  # torch wants the student first, as logarithms


teacher = 0.55 * bump(5, 1.2) + 0.45 * bump(14, 1.2)
students = [bump(center, width) + 1e-9 for center in range(20) for width in np.arange(1, 8, 0.25)]
covers = min(students, key=lambda q: kl(teacher, q))
picks = min(students, key=lambda q: kl(q, teacher))
mrl.plots.lines(
    range(20),
    {"the teacher p": teacher, "least KL(p ‖ q)": covers, "least KL(q ‖ p)": picks},
    title="With the teacher first, the best student covers both peaks",
    doubling=False,
    x_title="document",
    y_title="probability",
    y_range=(-0.04, 0.42),
)

# %% [markdown]
# **What to see.** $\mathrm{KL}(p\,\|\,q)$ punishes a student that gives nothing where the teacher gives something, so the
# best one spreads out. The other direction picks one peak and forgets the other. The published losses put the
# teacher first.
#
# **Exercise 1 · The direction of KL** (5 minutes, easy). Write `kl_divergence(p, q)` for two NumPy arrays (N,), with
# teacher $p$. An outcome with $p_i = 0$ adds nothing.


# %%
def kl_divergence(p, q):
    raise NotImplementedError  # -> one number


check.kl(kl_divergence)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def kl_divergence(p, q):
#     there = p > 0
#     return float((p[there] * np.log(p[there] / q[there])).sum())
#
#
# check.kl(kl_divergence)
# ```
# </details>
#
# In 2DMSE the softmax runs over a vector's own *coordinates* (the term *kl-features*), and the teacher is the last
# layer at the same dimension. In Starbucks it runs over a query's *scores* (*kl-scores*), and the teacher is the full
# model. Its scores can say "this document is right, and that one is nearly as good", which a label cannot.
#
# **Exercise 2 · One step of 2DMSE** (10 minutes, the idea). Write `one_step(layer, dim, n_layers, dims)`: the two weight
# tables of a step that drew `layer` and `dim`, each of shape (n_layers, len(dims)). *main* has a 1 in four cells:
# the drawn layer and the last one, each at the drawn dimension and at full width. *kl-features* has a 1 in those of the
# four that have a teacher.


# %%
def one_step(layer, dim, n_layers, dims):
    raise NotImplementedError  # -> {"main": table, "kl-features": table}


check.v1_step(one_step)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def one_step(layer, dim, n_layers, dims):
#     main, kl = np.zeros((n_layers, len(dims))), np.zeros((n_layers, len(dims)))
#     for d in (list(dims).index(dim), len(dims) - 1):
#         main[layer - 1, d] = main[-1, d] = 1
#         kl[layer - 1, d] = 1
#     return {"main": main, "kl-features": kl}
#
#
# check.v1_step(one_step)
# ```
# The last layer is the teacher, so it has no row in the second table.
# </details>
#
# ## How hard does each term push?
# A term can appear in a paper and still do nothing. We take 64 pairs of query and document, compute each term by itself
# at layer 3 and 128 dimensions, and look at the length of its gradient with respect to the embeddings.

# %%
task = mrl.load_task("pydocs").smaller(500) if FAST else mrl.load_task("pydocs")
encoder = mrl.Encoder.load("all-MiniLM-L6-v2")
queries, documents = task.pairs("train")
chosen = np.random.default_rng(0).choice(len(queries), 64, replace=False)
asked, answers = (torch.tensor(encoder.encode_layers([side[i] for i in chosen])) for side in (queries, documents))
anatomy = mrl.dissect(mrl.Batch(asked, answers))
push = {name: anatomy.cell_gradients(name)[2, DIMS.index(128)] for name in ("contrastive", "kl-features", "kl-scores")}
pd.Series(push, name="length of the gradient").round(4).to_frame()

# %% [markdown]
# **What to see.** KL over coordinates pushes several hundred times less than the contrastive term. A softmax over 128
# small coordinates is nearly flat for teacher and student alike, so there is hardly anything to imitate. Scores are
# divided by a small temperature first, and keep their peaks.
#
# The panel holds every cell of every term. What recipes call *main* is *contrastive* here.

# %%
explorer = mrl.TermExplorer(anatomy)
display(explorer)

# %% [markdown]
# **Try this**
#
# 1. Take *contrastive* down to × 0 and look at what is left of 2DMSE's gradient. Which strength of *kl-features*
#    brings it back?
# 2. Choose *ese*. Which coordinates are never pushed?
# 3. Choose *all-cells* with layer weights *log*, then *linear*. Which layers win, which lose?
#
# ## Train in seconds, as a preview
# A *shared head* is one matrix behind all layers of the frozen model. It trains in seconds and gives a rough idea of
# what a table does. The control is whitening again.


# %%
def measure(model, data=task, split="dev"):
    return mrl.evaluate_grid(data, model, split=split, max_queries=ASKED, cache=True).values


plain = measure(encoder)
settings: dict = {"heads": "shared", "steps": STEPS, "batch_size": 64}
trained = {name: mrl.train(encoder, task, name, **settings) for name in ("mrl", "all-cells")}
gains = {name: measure(result.encoder) - plain for name, result in trained.items()}
seen = {d for q in task.judged("train") for d in task.relevant(q)}  # whitening may see documents of the train split
vectors = mrl.embed_task(task, encoder, "dev")["documents"][:, [d in seen for d in task.corpus]]
gains["whitened"] = measure(mrl.whitened(encoder, vectors)) - plain
tiles(
    {name: (gain, LAYERS, DIMS) for name, gain in gains.items()},
    bar="gain in nDCG@10",
    title="Below the last layer, whitening lifts long vectors about as much as all-cells",
    difference=True,
    columns=3,
).update_xaxes(title="dimension")

# %% [markdown]
# **What to see.** MRL trains the last layer only. Its largest gain is there, with short vectors, but the other rows share
# the head and gain as well. All-cells lifts every row. Below the last layer, whitening gives about as much
# where vectors are long.
#
# ## Trained to the end, and a control
# Heads cannot change what a layer computes. *Full* training of the model can. We stored results for sentence similarity
# (STS-B): 160 steps at the best of several learning rates, three seeds. *Spearman* is the rank correlation with human
# ratings. In *all-cells with KL* every cell imitates the full model's scores. *Whitened, mapped* is a control
# without labels: a linear map predicts the whitened last layer from each lower one.

# %%
files = {
    "sts-trained": {"plain": "plain", "full-size": "full-size", "mrl": "MRL"},
    "sts-trained-2d": {"2dmse-v1": "2DMSE", "ese": "ESE", "starbucks": "Starbucks"},
    "sts-trained-all": {"all-cells": "all-cells"},
    "sts-kl": {"all-cells+kl-full": "all-cells with KL"},
    "controls-stsbenchmark": {"whitened": "whitened", "whitened+mapped": "whitened, mapped"},
}
stored = {file: stacks(sweep_rows(file)[0], "stsbenchmark") for file in files}
grids = {label: stored[file][recipe].mean for file, shown in files.items() for recipe, label in shown.items()}
mrl.plots.lines(
    DIMS,
    {name: grids[name][:-1].mean(axis=0) for name in ("plain", "whitened", "whitened, mapped", "all-cells with KL")},
    title="Early layers: a map without labels rivals training; at 8 numbers, training wins",
    y_title="Spearman, mean of layers 1 to 5",
)

# %%
cells = {"layer 6, all 384": (5, 6), "layer 3, 128": (2, 4), "layer 3, 32": (2, 2), "layer 1, 384": (0, 6)}
pd.DataFrame({what: {name: grid[at] for name, grid in grids.items()} for what, at in cells.items()}).round(3)

# %% [markdown]
# **What to see.** Whitening alone gives early layers 57 to 82 % of the gain from 2DMSE, ESE, Starbucks and all-cells
# ([W1](../LEDGER.md#W1)). With the map it passes all four. With 8 numbers only all-cells and Starbucks are ahead of it:
# they choose what comes first. *All-cells with KL* is ahead of *all-cells* in each column: scores make a useful
# teacher. At full size only the controls are below plain.
#
# For intervals, and for search (trained less), see evidence [E3](evidence/E3_2dmse.ipynb) and
# [E5](evidence/E5_controls.ipynb).
#
# ## Break it on purpose
# Three spoiled runs stand beside the healthy *all-cells*. The first trains 32 dimensions only. In the second,
# layer 1 counts ten thousand times as much as any other. The third has 64 training pairs and takes many large steps.

# %%
one_dimension, one_layer = np.zeros((6, 7)), np.full((6, 7), 0.01)
one_dimension[:, 2], one_layer[0] = 1, 100
few = replace(task, splits={**task.splits, "train": task.splits["train"][:64]})
runs = {"healthy": trained["all-cells"]}
for name, weights in {"one dimension": one_dimension, "one layer": one_layer}.items():
    runs[name] = mrl.train(encoder, task, mrl.Recipe(name, {"main": weights}), **settings)
runs["overfitting"] = mrl.train(encoder, few, "all-cells", **settings | {"lr": 0.01, "steps": 3 * STEPS})

dev = {name: measure(run.encoder) for name, run in runs.items()}
faults = {name: (grid - plain, LAYERS, DIMS) for name, grid in dev.items()}
title = "The gain is largest where training pushed (framed); overfitting spoils the full model"
figure = tiles(faults, bar="gain in nDCG@10 on dev", title=title, difference=True)
frame = {"fillcolor": "rgba(0, 0, 0, 0)", "line": {"color": mrl.plots.INK, "width": 3}, "opacity": 1}
for axis, (left, right, top) in {2: (1.5, 2.5, 5.5), 3: (-0.5, 6.5, 0.5)}.items():
    figure.add_shape(x0=left, x1=right, y0=-0.5, y1=top, xref=f"x{axis}", yref=f"y{axis}", **frame)
figure.update_xaxes(title="dimension")

# %%
rows = {}
for name, run in runs.items():
    on_train = measure(run.encoder, few if name == "overfitting" else task, "train").mean()
    rows[name] = {"last loss / first": run.history[-1] / run.history[0], "train": on_train, "dev": dev[name].mean()}
pd.DataFrame(rows).T.round(2)

# %% [markdown]
# **What to see.** The loss falls in all four runs, so a falling loss proves little. With one dimension, the darkest
# column is at 32. With one layer, the darkest row is at the bottom. Neighbors gain too, because prefixes are nested and
# the layers share a head. Overfitting brings the loss to nearly zero, pulls train and dev far apart, and makes the full
# model worse.
#
# **Exercise 3 · Name the fault** (15 minutes, open). Write `diagnose(history, train, dev, before)`. It gets the loss
# of each step, shape (S,), and three tables (layers, dimensions) of quality: on train, on dev, and on dev before
# training. It returns `"healthy"`, `"one dimension"`, `"one layer"`, `"overfitting"`, or `"not converging"` where the
# loss does not fall. The check's runs are clear; you choose the thresholds.


# %%
def diagnose(history, train, dev, before):
    raise NotImplementedError  # -> one of the five names


check.diagnose(diagnose)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def diagnose(history, train, dev, before):
#     history, quarter = np.array(history), len(history) // 4
#     if history[-quarter:].mean() >= history[:quarter].mean():
#         return "not converging"
#     if train.mean() - dev.mean() > 0.2:
#         return "overfitting"
#     gain = dev - before
#     for name, means in (("one dimension", gain.mean(axis=0)), ("one layer", gain.mean(axis=1))):
#         second, first = sorted(means)[-2:]
#         if first > 0.05 and first > 3 * second:
#             return name
#     return "healthy"
#
#
# check.diagnose(diagnose)
# ```
# Is a factor of 3 too strict for the live runs?
# </details>
#
# ## What to keep in mind
# This is one small model on two tasks. In the published study (arXiv 2411.17299), separately trained models, one for each
# cell, are ahead of 2DMSE in all 48 retrieval cells. If you need one size only, train that size.
#
# ## In this lesson we saw
# - A two-dimensional loss is a table of weights, and each method paints its own.
# - KL lets a cell imitate a better one. Over scores it helps early layers, over coordinates it hardly pushes.
# - Early layers gain when training asks for them.
# - A control without labels belongs beside every such comparison: it may win.
# - A falling loss proves little: compare train with dev, and see where the gain lies.
#
# **On your own data.** `mrl.train(encoder, task, mrl.Recipe("mine", {"main": weights}))` takes any table of yours.
#
# ## Where to read on
# - 2DMSE and ESE: X. Li and others, versions 1 and 2 of arXiv 2402.14776. Starbucks: S. Zhuang and others, arXiv
#   2410.13230. 2D training for search, tested: S. Wang and others, arXiv 2411.17299.
# - Words: [the glossary](../GLOSSARY.md).
# - Next: [09 · Detective story](09_detective_story.ipynb).
