# %% [markdown]
# # 06 · Your own model: three ways to make it Matryoshka
#
# Your search works. Then it grows to ten million pages, and the bill arrives: 15 GB of vectors, kept in memory day and
# night. The easiest way to save is to throw away the second half of every vector. But your model was never trained for
# that.
#
# After this lesson you can
#
# - turn a finished model into a Matryoshka model in seconds with a head, or in minutes by training all its weights;
# - say how short *your* vectors may be, for *your* task, with an error bar;
# - hand the result to sentence-transformers, and start again from a csv of your own.
#
# You need lessons 01 to 03. This lesson is core and takes about 35 minutes.

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
from evidence.published_grids import table
from evidence.widths import smallest_width
from exercises import own_model as check
from sentence_transformers import SentenceTransformer

import mrl_tutorial as mrl

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs

# %% [markdown]
# ## The bill
# The model is all-MiniLM-L6-v2. It writes 384 numbers for every text, 4 bytes each. The task is lesson 01's search in
# Python documentation, and **nDCG@10** says how good it is (1: the right document always comes first; 0: it is never
# among the first ten).

# %%
task = mrl.load_task("pydocs")
if FAST:
    task = task.smaller(500)
encoder = mrl.Encoder.load("all-MiniLM-L6-v2")
plain = mrl.evaluate_grid(task, encoder, layers=[6])

DIMS = plain.dims
gigabytes = np.array(DIMS) * 4 * 10e6 / 1e9
pd.DataFrame({"numbers": DIMS, "GB for ten million": gigabytes, "nDCG@10": plain.values[0]}).round(2)

# %% [markdown]
# Keep 64 numbers, and you pay a sixth of the money but lose a quarter of the quality. We can do better.
#
# ## First way: a head
# Leave the model alone. Put one 384 × 384 matrix behind it, a **head**, and train only that with the nested loss of
# lesson 02. The texts are encoded once. After that, a training step is only a few small matrix products.

# %%
STEPS = 10 if FAST else 50
result = mrl.train(encoder, task, "mrl", what="heads", steps=STEPS, batch_size=64)
head = result.encoder
print(f"{result.steps} steps of 64 pairs in {result.seconds:.1f} seconds")

headed = mrl.evaluate_grid(task, head, layers=[6])
mrl.plots.lines(
    DIMS,
    {"plain": plain.values[0], "trained here": headed.values[0]},
    title="A head trained in seconds lifts the short vectors",
    x_title="numbers kept",
)

# %% [markdown]
# **What to see.** The gain is largest at 16 and 32 numbers and almost gone at full width, 384. The head moves what
# matters to the front.
#
# **Exercise 1 · Percent kept** (5 minutes, easy). How much of its *own* full quality does a model keep when you cut its
# vectors? Write `percent_kept(values)`. It receives the quality at each width, with full width last, and returns a
# percentage for each width.


# %%
def percent_kept(values):
    raise NotImplementedError  # [0.2, 0.3, 0.4] -> [50, 75, 100]


check.percent_kept(percent_kept)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def percent_kept(values):
#     values = np.array(values)
#     return 100 * values / values[-1]
#
#
# check.percent_kept(percent_kept)
# ```
#
# Try `percent_kept(plain.values[0])` and `percent_kept(headed.values[0])`.
# </details>
#
# ## Second and third way: all the weights
# A head can only mix the numbers that the model already gives. **Full fine-tuning** changes every weight of the
# network, so each step has to run the whole model forward and backward. What does such a step cost? Try a few small
# ones.

# %%
few = 3 if FAST else 8
short = mrl.train(encoder, task, "mrl", what="full", steps=few, batch_size=16, cache=False)
print(f"{short.seconds / few:.2f} seconds a step of 16 pairs")
print(
    f"loss {np.mean(short.history[:2]):.1f} in the first two steps, {np.mean(short.history[-2:]):.1f} in the last two"
)

# %% [markdown]
# Fifty steps of 64 pairs, the head's budget, would take minutes. So we compare runs made ahead of time, three seeds
# each. The last one, the control, never sees the nested loss:
#
# | name | steps 1 to 25 | steps 26 to 50 |
# |---|---|---|
# | MRL (second way) | nested loss | nested loss |
# | full size, then MRL (third way) | full width only | nested loss |
# | full size only (control) | full width only | full width only |

# %%
stored = table("baselines").query("reduction == 'prefix' and dim != 77")  # cut vectors, at this lesson's widths
means = stored.groupby(["baseline", "task", "dim"]).value.mean()  # over the seeds
arms = {"full size only": "fixed", "MRL": "mrl", "full size, then MRL": "fixed then mrl"}
lines = {name: means[arm, "pydocs"].to_numpy() for name, arm in arms.items()} | {"trained here": headed.values[0]}
gains = {name: line - lines["full size only"] for name, line in lines.items()}
title = "After 50 steps, MRL leads full-size training up to 64 numbers, and trails from 128 on"
axes = {"x_title": "numbers kept", "y_title": "nDCG@10 against control", "y_range": (-0.07, 0.12)}
mrl.plots.lines(DIMS, gains, title=title, **axes)

# %% [markdown]
# **What to see.** The line at 0 is the control. From 128 numbers on it is ahead, perhaps because it need not share its
# training with short prefixes. Switching to MRL halfway does worse than MRL from the start. The head (*trained here*)
# is clearly ahead only at 8 and 16 numbers, but took seconds. (With 100 steps of larger batches, lesson 10's head
# catches up with MRL from 64 numbers on.)
#
# Are the gaps more than luck? We draw queries and seeds again and again (the *bootstrap* of lesson 03). The middle 95 %
# of the differences a − b lie between `low` and `high`. (`fixed` is *full size only*, `fixed then mrl` is *full size,
# then MRL*.)

# %%
pairs = table("baselines_paired").query("task == 'pydocs' and reduction_a == 'prefix' and reduction_b == 'prefix'")
ask = "((a == 'mrl' and b == 'fixed') or (a == 'fixed then mrl' and b == 'mrl')) and dim in (16, 64, 128, 384)"
pairs.query(ask)[["a", "b", "dim", "mean", "low", "high"]].round(3)

# %% [markdown]
# No interval contains 0, so *for these 50 steps* the order is not luck. But who wins in the end? More training, or
# another learning rate, might close the gaps. So [the ledger](../LEDGER.md) leaves search open (L1). On sentence
# similarity, trained to the end, MRL cost nothing even at full width.
#
# ## How short? That depends on what you do
# Vectors are not only for search. The same MRL model can sort documentation into 15 libraries (accuracy), or say how
# similar two sentences are (rank correlation with people's judgments, STS-B). How much of its full quality does each
# use keep? What is missing from 100 % is the **penalty**, so these lines are called **penalty curves**.

# %%
uses = {"search": "pydocs", "15 libraries": "pydocs:package", "similarity": "stsbenchmark"}
levels = means["mrl"].unstack("dim")  # a task a row
shares = levels.div(levels[384], axis=0)
curves = {name: shares.loc[where].to_numpy() for name, where in uses.items()}
title = "The same MRL model: similarity survives very short vectors, search does not"
figure = mrl.plots.lines(DIMS, curves, title=title, x_title="numbers kept", y_title="share of full quality kept")
mrl.plots.place_names(figure, {"search": (11, 0.27), "15 libraries": (10.5, 0.63), "similarity": (8, 0.95)})
figure.update_annotations(font_color=mrl.plots.MARK).update_traces(line_color=mrl.plots.MARK)
figure.update_yaxes(tickformat=".0%")

# %% [markdown]
# **What to see.** With 16 numbers, similarity keeps 90 %, the libraries three quarters, and search less than half.
# Finding one document among thousands needs fine distinctions. So never copy a width from somebody else's task. And
# look at the quality too: a poor model can keep 99 % of very little.
#
# ## The smallest width you can afford
# We choose a width for the head on the *dev* queries: choosing on the test queries would flatter the choice. How much
# nDCG@10 does each width lose against full width?

# %%
widths = range(64, 385, 32)
dev = mrl.evaluate_grid(task, head, split="dev", layers=[6], dims=widths)
costs = {d: mrl.paired(dev.items(6, d), dev.items(6, 384)) for d in widths}
enough = smallest_width(costs, budget=0.03)

band = np.array([[c.low, c.high] for c in costs.values()])
mean, title = [c.mean for c in costs.values()], f"{enough} of 384 numbers are safely within 0.03 of full quality"
axes = {"doubling": False, "x_title": "numbers kept", "y_title": "nDCG@10 against 384", "y_range": (-0.13, 0.01)}
figure = mrl.plots.lines(widths, {"trained here": mean}, bands={"trained here": band}, title=title, **axes)
figure.update_annotations(text="average, with its 95 % interval", x=125, y=-0.085).update_layout(margin_r=20)
dotted, budget = {"dash": "dot", "width": 2}, {"annotation_text": "our budget", "annotation_position": "bottom right"}
figure.add_hline(y=-0.03, line=dotted, **budget).add_vline(x=enough, line=dotted)
figure.update_xaxes(tickvals=[*range(64, 385, 64), enough])

# %% [markdown]
# **What to see.** At 192 numbers the average is within the budget, but the lower edge of the band is still just
# outside. The edge decides, because with other queries the loss could be that large.
#
# **Exercise 2 · The smallest width** (10 minutes, the idea). Write the rule that put the number into the title.
# `mean[d]` is the difference to full width (a loss is negative), `low[d]` the lower end of its interval. A width is
# *safe* if even `low[d]` loses no more than `budget`. Return the smallest width that is safe together with **every
# wider one**, or `None` if even the widest is not.


# %%
def choose_width(mean, low, budget):
    raise NotImplementedError  # {d: number}, {d: number}, number -> d or None


check.choose_width(choose_width)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def choose_width(mean, low, budget):
#     chosen = None
#     for d in sorted(low, reverse=True):
#         if low[d] < -budget:
#             break
#         chosen = d
#     return chosen
#
#
# check.choose_width(choose_width)
# ```
#
# The mean is not needed. With few queries the intervals are wide, and the rule picks a longer vector.
# </details>
#
# ## Out of the course: sentence-transformers
# `mrl.export` writes an ordinary sentence-transformers folder with the head inside. There, `truncate_dim` does the
# cutting. It cuts *after* the normalization that is stored in the folder, so ask for `normalize_embeddings=True`: cut,
# then normalize.

# %%
texts = ["sort a list", "read a csv file", "the shortest path in a graph"]
with tempfile.TemporaryDirectory() as folder:
    mrl.export(head, Path(folder) / "my-model")
    theirs = SentenceTransformer(str(Path(folder) / "my-model"), truncate_dim=64, device="cpu")
    cut = theirs.encode(texts, normalize_embeddings=True)
    careless = theirs.encode(texts)

assert np.abs(cut - head.encode(texts, dim=64, precision="fp32")).max() < 1e-5  # the same vectors as here
print("lengths without normalize_embeddings:", np.linalg.norm(careless, axis=1).round(2))

# %% [markdown]
# ## Your own data
# All you need is a csv file with a query and its right document in each row. Here we write one from the documentation
# of networkx and read it as you would read yours. About four fifths of the rows go to training, a tenth to dev, a tenth
# to the test.

# %%
library = dict(zip(task.corpus, task.labels["package"]))
asked = [(q, d) for q, right in task.qrels.items() for d in right if library[d] == "networkx"]
with tempfile.TemporaryDirectory() as folder:
    rows = pd.DataFrame([(task.queries[q], task.corpus[d]) for q, d in asked], columns=["query", "document"])
    rows.to_csv(Path(folder) / "my.csv", index=False)
    mine = mrl.load_task(Path(folder) / "my.csv").with_splits("train", "dev", "test")

own = mrl.train(encoder, mine, "mrl", what="heads", steps=STEPS, batch_size=64).encoder
grids = {
    name: mrl.evaluate_grid(mine, model, layers=[6]) for name, model in {"plain": encoder, "own head": own}.items()
}
print({split: len(pairs) for split, pairs in mine.splits.items()})
pd.DataFrame({name: grid.values[0] for name, grid in grids.items()}, DIMS).round(2)

# %% [markdown]
# A head has 147,456 weights, yet a few hundred pairs already help. But fewer than a hundred test queries and documents
# make the search easy and the intervals wide (see `mrl.interval(grids["own head"], 6, 32)`).
#
# **Exercise 3 · Bring your own** (15 minutes, open). Return the path of a csv with columns `query` and `document`, or a
# list of such pairs. The check tells you what would go wrong. To train a head on them, replace the first six lines of
# the cell above with `mine = mrl.load_task(my_pairs()).with_splits("train", "dev", "test")`.


# %%
def my_pairs():
    raise NotImplementedError  # "my.csv", or [("a question", "its answer"), …]


check.my_pairs(my_pairs)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def my_pairs():
#     queries, documents = mrl.load_task("pydocs").pairs("dev")  # in place of yours
#     return list(zip(queries, documents))
#
#
# check.my_pairs(my_pairs)
# ```
#
# For your smallest width, run the cell of the last figure with `mine` and `own` in place of `task` and `head`.
# </details>
#
# ## What to keep in mind
# MiniLM saw code documentation in its own training, so pydocs is not new to it. The penalty curves belong to a model
# that was trained for 50 steps on pydocs alone: at full width it is a little worse at similarity than the plain model.
#
# ## In this lesson we saw
# - a head makes a finished model Matryoshka in seconds; training all weights for 50 steps takes minutes and gains more;
# - after 50 steps the nested loss wins up to 64 numbers and loses from 128 on;
# - how short a vector may be depends on the task, and the lower end of an interval decides, not the mean;
# - you can hand the result to sentence-transformers: cut, then normalize.
#
# **On your own data.** `mrl.load_task("my.csv")` loads your pairs, and `mrl.Encoder.load("path/to/my-model")` a model
# of yours. [USING](../USING.md) lists the other kinds of data that the course reads.
#
# ## Where to read on
# - M. Boruń, P. Wojciechowski, P. Zalewski, *Low-cost Matryoshka Embeddings for NLP* (2024): the idea of the three runs
#   and of the penalty curve.
# - J. Yoon et al., *Matryoshka-Adaptor* (arXiv 2407.20243): heads on frozen embeddings.
# - S. Takeshita et al., *To MRL or not to MRL* (arXiv 2605.16608): when a plain cut is enough.
# - Next: [layers too](07_the_grid.ipynb). Words: [the glossary](../GLOSSARY.md).
