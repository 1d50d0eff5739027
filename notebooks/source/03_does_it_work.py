# %% [markdown]
# # 03 · Does it work? A bet, and what came of it
#
# Your index has room for 32 numbers a document, and MiniLM makes 384. "Just cut," says a colleague. "PCA, obviously,"
# says another. A third wants to train. Before you look, **bet**: which of these ways finds the most, and which the
# least?
#
# | way | its 32 numbers | it needs |
# |---|---|---|
# | plain | the first 32 | nothing |
# | random | any 32, picked at random | nothing |
# | PCA | the 32 directions along which the texts differ most | texts |
# | whitened | the same directions, each rescaled to the same spread | texts |
# | MRL | the first 32 that come out of a head trained for all sizes | pairs |
# | own head | the first 32 that come out of a head trained for 32 alone | pairs, and a head for each size |
#
# You will see where MRL wins and where it loses, and learn to tell a real difference from luck. You need
# [lesson 02](02_the_nested_loss.ipynb). This lesson is core and takes about 35 minutes.

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
import torch.nn.functional as F
from evidence import baselines_on_vectors as digit_networks
from evidence.published_grids import table
from exercises import does_it_work as check

import mrl_tutorial as mrl
from mrl_tutorial.classification.labeled_vectors import from_task
from mrl_tutorial.classification.small_networks import NetworkConfig

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs
DIMS = (8, 16, 32, 64, 128, 256, 384)

# %%
bet = ["plain", "random", "PCA", "whitened", "MRL", "own head"]  # from worst to best: put them in your order

# %% [markdown]
# ## Without training
# We begin with the ways that learn nothing from pairs of a query and its document.
#
# **Exercise 1 · Two ways to a shorter vector** (10 minutes, the idea). `random_k` returns `k` columns of `x`, the same
# ones for every text. The `seed` decides which. `pca_k` is principal component analysis: find the `k` directions along
# which `train` varies most, and project `x` on them. Subtract the mean of `train` from both first. If `a` is the
# centered `train`, the rows of `np.linalg.svd(a, full_matrices=False)[2]` are the directions, the strongest first.


# %%
def random_k(x, k, seed):
    raise NotImplementedError  # (N, D) -> (N, k)


def pca_k(train, x, k):
    raise NotImplementedError  # (T, D), (N, D) -> (N, k)


check.shorten(random_k, pca_k)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def random_k(x, k, seed):
#     columns = np.random.default_rng(seed).permutation(x.shape[1])[:k]
#     return x[:, columns]
#
#
# def pca_k(train, x, k):
#     mean = train.mean(axis=0)
#     directions = np.linalg.svd(train - mean, full_matrices=False)[2]  # (D, D), strongest first
#     return (x - mean) @ directions[:k].T
#
#
# check.shorten(random_k, pca_k)
# ```
# </details>
#
# The package's own versions put the numbers to keep in front and the rest behind them, so one vector serves to measure
# every size. *Whitening* is PCA with each direction divided by its spread. (Encoding the texts takes about a minute,
# unless lesson 02 has done it already.)

# %%
task = mrl.load_task("pydocs")
task = task.smaller(500) if FAST else task
encoder = mrl.Encoder.load("all-MiniLM-L6-v2")
train_texts, right_documents = task.pairs("train")
parts = mrl.embed_task(task, encoder, layers=[6])  # test queries and all documents, (1, N, 384) each
parts["train"] = encoder.encode_layers(train_texts, layers=[6])  # the queries of the training pairs
parts = {part: x / np.linalg.norm(x, axis=-1, keepdims=True) for part, x in parts.items()}
row = {text: i for i, text in enumerate(task.corpus.values())}
right = [row[text] for text in right_documents]  # the document of each training pair
train_q, train_d = parts["train"][0], parts["documents"][0, right]  # (pairs, 384) each

# %%
ways = {"random": mrl.random_dims(384, seed=0), "PCA": mrl.pca(train_d), "whitened": mrl.whiten(train_d)}
grids = {"plain": mrl.evaluate_grid(task, embeddings=parts, dims=DIMS)}
for name, way in ways.items():
    grids[name] = mrl.evaluate_grid(task, embeddings=way.apply_to(parts), dims=DIMS)

# %% [markdown]
# ## With training
# Here are the nested loss and the training loop of lesson 02 again. MRL gets one head for all sizes. *Own head* gets
# seven, each trained for one size alone, with the same pairs and steps.


# %%
def nested(queries, documents, dims):
    labels, total = torch.arange(len(queries)), torch.zeros(())
    for d in dims:
        q, p = F.normalize(queries[:, :d], dim=1), F.normalize(documents[:, :d], dim=1)
        total = total + F.cross_entropy(q @ p.T / 0.05, labels)
    return total


def train_head(dims, queries=train_q, documents=train_d, steps=20 if FAST else 200):
    torch.manual_seed(0)
    head = torch.nn.Linear(384, 384, bias=False)
    torch.nn.init.eye_(head.weight)  # begins by changing nothing
    optimizer = torch.optim.Adam(head.parameters(), lr=0.001)
    pairs = torch.utils.data.TensorDataset(torch.tensor(queries), torch.tensor(documents))
    for _ in range(steps):
        q, d = pairs[torch.randperm(len(pairs))[:256]]
        loss = nested(head(q), head(d), dims)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.requires_grad_(False)


# %%
def measure(head, dims, parts=parts):
    moved = {part: head(torch.tensor(x)).numpy() for part, x in parts.items()}
    return mrl.evaluate_grid(task, embeddings=moved, dims=dims)


mrl_head = train_head(DIMS)
grids["MRL"] = measure(mrl_head, DIMS)
own = {d: measure(train_head([d]), [d]) for d in DIMS}

# %% [markdown]
# ## Who won the bet?
# The measure is **nDCG@10** on the test queries: 1 if the right document comes first, less if it comes later, 0 beyond
# place ten.

# %%
# at(1, 32): the only layer measured here, at 32 numbers
at_32 = {name: grid.at(1, 32) for name, grid in grids.items()} | {"own head": own[32].at(1, 32)}
result = pd.DataFrame({"nDCG@10": pd.Series(at_32).round(3), "your place": pd.Series(range(1, 7), bet)})
result.sort_values("nDCG@10")

# %%
curves = {name: grids[name].values[0] for name in ("MRL", "whitened", "plain")}
curves["own head"] = [own[d].at(1, d) for d in DIMS]
title = "On pydocs, short vectors need training; from 128 on whitening comes close"
mrl.plots.lines(DIMS, curves, title=title, x_title="numbers kept")

# %% [markdown]
# **What to see.** If your places count up from 1 to 6, ties aside, you won the bet. At 32 numbers PCA only equals a
# plain cut, and even random numbers do as well. (The figure leaves both out; they run close to *plain*.) The two trained
# ways score a third to a half higher. MRL is never more than about 0.02 behind a head trained for one size alone. And
# whitening, which never saw a pair, is nearly as good from 128 numbers on.
#
# ## A difference, or luck?
# Other test queries would give slightly different numbers. How different? We draw queries from ours again and again,
# with replacement, and note how far apart two ways are (a *bootstrap*). The middle 95 % of these differences form the
# **interval**, and the true difference may well be anywhere in it.

# %%
rivals = {name: dict.fromkeys(DIMS, grids[name]) for name in ("plain", "whitened")} | {"own head": own}
# compare: the difference at layer 1 and d numbers, and the two ends of its interval
gaps = [(name, d, *mrl.compare(grids["MRL"], rivals[name][d], 1, d)) for name in rivals for d in (16, 32, 128, 384)]
pd.DataFrame(gaps, columns=["MRL minus", "size", "difference", "low", "high"]).round(3)

# %% [markdown]
# **Exercise 2 · Read an interval** (5 minutes, easy). Here is the course's rule, a little simplified. Ask in this
# order: does the whole interval lie above 0? Then MRL is *better*. Above −0.01, where a loss begins to matter? Then it
# is *not worse*. Below 0? Then it is *worse*. Otherwise you *cannot tell*. Write this rule, then read the table with
# it.


# %%
def decide(low, high):
    raise NotImplementedError  # -> "better", "not worse", "worse" or "cannot tell"


check.decide(decide)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def decide(low, high):
#     if low > 0:
#         return "better"
#     if low > -0.01:
#         return "not worse"
#     return "worse" if high < 0 else "cannot tell"
#
#
# check.decide(decide)
# ```
#
# MRL is *better* than plain at all four sizes, and than whitened at 16 and 32. At 128 you *cannot tell*, and at 384 it
# is *not worse*. The heads for one size beat it at 16 (by 0.02) and at 128 (by 0.01).
# </details>
#
# ## You need not choose
# Whitening gives every direction the same weight, and MRL sorts what matters to the front. What if we train the head on
# whitened vectors?

# %%
white = ways["whitened"].apply_to(parts)
head = train_head(DIMS, white["train"][0], white["documents"][0, right])
grids["both"] = measure(head, DIMS, white)
pd.DataFrame({name: grids[name].values[0] for name in ("whitened", "MRL", "both")}, index=DIMS).round(3)

# %% [markdown]
# **What to see.** "Both" scores highest at every size: by 0.02 to 0.03 at 16, 64 and 128, elsewhere by less.
#
# ## Sizes in between
# The loss was summed over seven sizes. What if your index has room for 100 numbers, a size that was not trained?
#
# **Exercise 3 · Bet on your own size** (10 minutes, open). Write a rule that predicts the nDCG@10 at any size from the
# seven measured ones. The check compares it with measurements at eight sizes that were not trained. It may be off by
# 0.015.


# %%
def predict(size, sizes, values):
    raise NotImplementedError  # 100, [8, 16, …], [0.09, 0.24, …] -> one number


check.between(predict)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def predict(size, sizes, values):
#     return np.interp(np.log2(size), np.log2(sizes), values)  # a straight line between neighbors, by doublings
#
#
# check.between(predict)
# ```
# </details>

# %%
every = range(8, 385, 8 if FAST else 1)
fine = {"MRL": measure(mrl_head, every), "plain": mrl.evaluate_grid(task, embeddings=parts, dims=every)}
lines = {name: (every, grid.values[0]) for name, grid in fine.items()}
title = "Seven sizes were trained (the dots), and every size works"
figure = mrl.plots.lines(every, lines, title=title, x_title="numbers kept")
figure.add_scatter(
    x=np.log2(DIMS),
    y=grids["MRL"].values[0],
    mode="markers",
    marker={"size": 10, "color": mrl.plots.MARK},
    showlegend=False,
)

# %% [markdown]
# **What to see.** Between the dots the line has no real dip, because the numbers that serve size 64 also serve size 100. Below the smallest
# trained size, though, nothing is promised.
#
# ## When all weights are trained
# So far MiniLM itself stayed as it was. For the next figure all of its weights were trained, ahead of time and with
# three seeds. The budget was only 50 steps, so the lines show a tendency, no more.

# %%
stored = table("baselines").query("task == 'pydocs'").groupby(["baseline", "reduction", "dim"]).value.mean()
names = {"MRL": ("mrl", "prefix"), "PCA": ("fixed", "pca"), "full size only": ("fixed", "prefix")}
curves = {name: stored[key][list(DIMS)] for name, key in names.items()}
own_models = [stored["separate 32", "prefix", 32], stored["separate 128", "prefix", 128]]

title = "50 steps, all weights: MRL leads at 16 and 32 numbers, and trails from 128 on"
figure = mrl.plots.lines(DIMS, curves, title=title, x_title="numbers kept")
look = {"text": ["own model"] * 2, "textposition": "top left", "marker": {"size": 12, "color": "black"}}
figure.add_scatter(x=np.log2([32, 128]), y=own_models, mode="markers+text", showlegend=False, **look)

# %% [markdown]
# **What to see.** *Full size only* is a model trained as usual, then cut. PCA of that same model is MRL's strongest
# rival: behind at 16 and 32, ahead from 128 on. (PCA of MRL's own vectors, not drawn, beats MRL up to 32.) At full size
# MRL gives up 0.026. The black dots are models trained for 32 or 128 numbers alone. The first is level with MRL, the
# second ahead of it but below PCA. No method wins everywhere.
#
# ## And on images?
# Now small networks turn the 1,797 digits of scikit-learn into 64 numbers each. **1-NN accuracy** is the share of
# images whose nearest training image shows the same digit.

# %%
digits = from_task(mrl.load_task("digits"))
plan = NetworkConfig(dims=(2, 4, 8, 16, 32, 64), width=64, hidden=64, epochs=4 if FAST else 30)
names = {"MRL": "MRL", "alone": "own network", "pca": "PCA", "prefix": "full size only"}
found = digit_networks.compare_baselines(digits, plan, [0], list(names), metrics=["1nn"])
accuracy = {names[key]: found[key]["1nn"].mean((0, 2)) for key in names}

title = "Digits: from 4 numbers on, MRL keeps up with a separate network for each size"
axes = {"x_title": "numbers kept", "y_title": "1-NN accuracy", "y_range": (0.4, 1.03)}
figure = mrl.plots.lines(plan.dims, accuracy, title=title, **axes)
places = {"MRL": (2, 0.765), "own network": (2, 0.99), "PCA": (2, 0.655), "full size only": (3.1, 0.62)}
mrl.plots.place_names(figure, places)  # where the lines are apart

# %% [markdown]
# **What to see.** Two numbers give the cosine only one angle. In MRL it must serve the longer sizes too, which costs
# about 0.08. The network trained at full size needs 8 numbers to catch up, whether you cut its vectors or use PCA.
# After that all are level, because digits are easy.
#
# ## So, what should you do?
#
# | your situation | do this |
# |---|---|
# | you need one size only, and can train | train for that size, and compare with PCA of the ordinary model |
# | you need several sizes, or do not know yet, and can train | MRL; for a head, try whitened vectors first |
# | you cannot train | try whitening, and test it: it helped long vectors here, but short ones on two other collections ([E5](evidence/E5_controls.ipynb)) |
# | you cannot train, and need very short vectors | look for a model that was trained with MRL |
#
# ## In this lesson we saw
# - on pydocs, short vectors of a frozen model need training: cutting, PCA and whitening are far behind an MRL head;
# - from a third of the numbers on, whitening comes close to that head without any pairs, and the two together score
#   best;
# - one MRL vector was at most 0.02 of nDCG@10 behind heads for one size each, and after 50 steps 0.03 behind such
#   models;
# - sizes between the trained ones work too;
# - a difference counts only with its interval.
#
# **What to keep in mind.** Each head was trained once, on one model and one corpus, and MiniLM had met texts like these
# before. The [ledger](../LEDGER.md) has the verdicts (M1, M2, M4, C1), and [evidence E1](evidence/E1_mrl.ipynb) has
# more data sets and more seeds. (In M2, on texts, PCA of a *trained* layer does nearly as well as MRL.)
#
# **On your own data.** `task = mrl.load_task("my/folder")` reads a folder in BEIR's format. Run the lesson again with
# it: the six ways may come out in a different order.
#
# ## Where to read on
# - Next: [weights and traps](04_weights_and_traps.ipynb) (optional), or [your own model](06_your_own_model.ipynb). The
#   words are in [the glossary](../GLOSSARY.md).
# - S. Takeshita et al., *To MRL or not to MRL* (arXiv 2605.16608): plain models cut by up to 80 % keep up, and MRL pays
#   beyond.
# - J. Su et al., *Whitening Sentence Representations* (arXiv 2103.15316).
# - A. Kusupati et al., *Matryoshka Representation Learning* (arXiv 2205.13147), figures 2, 3 and 7.
