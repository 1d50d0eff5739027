# %% [markdown]
# # 09 · Detective story: where papers, libraries and code disagree
#
# You read a paper, take its loss from a library, and compare with a table that somebody else published. All three use
# the same name and nothing raises an error, and yet they are not the same thing. We follow five clues. Each takes
# a few lines of code to check, and none is a false alarm.
#
# **You will be able to** see when two models in a published comparison are really one, count what a loss really trains,
# see where a gradient goes, and take an average apart.
#
# You need [lesson 08](08_two_dimensions.ipynb). About 35 minutes with exercises. Optional.

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
import numpy as np
import pandas as pd
import torch
from evidence.published_grids import published, published_grid
from exercises import detective as check
from torch.nn import functional as F

import mrl_tutorial as mrl

# %% [markdown]
# ## Clue 1: two rows that look alike
# A study of two-dimensional training (arXiv 2411.17299) has two baselines on seven sets of sentence pairs. **BERT**
# is one full model of 12 layers, cut afterwards. **BERT-S** is said to be many models, one trained separately for each
# layer and dimension. A model that was trained for 8 dimensions should beat a full one that is cut to 8. Now look at
# layer 12 in both. The numbers are correlations with human judgment, averaged over the sets.

# %%
rows = {}
for name in ("BERT", "BERT-S"):
    values, layers, dims = published_grid("reproduction_sts", name, version="V1")
    rows[name] = values[-1]  # layer 12
pd.DataFrame(rows, index=dims).T

# %% [markdown]
# **The finding.** All eight pairs agree to the last digit, here and in the study's second experiment. Only those at 768
# should. The public code explains it: these models are trained at full width and cut only when they are scored. So
# there is a model for each depth, but not one for each dimension. (The same code computes Spearman's correlation, where
# its README says Pearson's.)
#
# **How you would have noticed.** Two models that were trained separately do not agree to three digits in a whole row.
#
# **Exercise 1 · The same model twice** (10 minutes, the idea). Write a check that you could run on any paper's tables.
# `a` and `b` are tables of scores, a row for each of `layers`. `same_model` is True where one model fills both by
# design. Return the list of layers in which *all* cells that ought to differ are equal.


# %%
def suspects(a, b, layers, same_model):
    raise NotImplementedError  # -> a list of layers


check.suspects(suspects)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def suspects(a, b, layers, same_model):
#     found = []
#     for layer, equal, same in zip(layers, a == b, same_model):
#         if not same.all() and equal[~same].all():
#             found.append(layer)
#     return found
#
#
# check.suspects(suspects)
# ```
# A layer in which nothing ought to differ tells us nothing, so it is not a suspect. The study's *retrieval* curves pass
# this check.
# </details>
#
# ## Clue 2: the list that is one longer
# ESE, the second version of the 2DMSE paper, trains layer $l$ below the last with weight $1/(1+\ln l)$. A
# `transformers` model of six layers returns *seven* `hidden_states`. The first is the embedding table's, before any
# layer. ESE's public code (AnglE 0.6.1) walks through this list from row 0 and stops before the last two rows. Then it
# adds the last one by itself. Which layers does it train?

# %%
outputs = ["embedding table", *(f"layer {i}" for i in range(1, 7))]
paper, code = (mrl.get_recipe(name, 6, 384) for name in ("ese", "ese-code"))
at = paper.dims.index(128)
weights = {"paper": [0, *paper.weights["main"][:, at]], "code": code.weights["main"][:, at]}
pd.DataFrame(weights, index=outputs).round(3)

# %% [markdown]
# **The finding.** Below the last layer, the code gives its largest weight to the embedding table, whose output nobody
# searches with, and none to layer 5. The paper starts at layer 1. (The code also divides by five, which the formula
# does not.)
#
# It gets stranger. The study of clue 1 ran the same loop with the vector of the first token, [CLS], as the embedding.
# Then what does row 0 know about a text? (We ask MiniLM.)

# %%
first_token = mrl.Encoder.load("all-MiniLM-L6-v2", pooling="cls")
texts = ["sort a list", "draw a map of the world", "how to bake bread"]
vectors = first_token.encode_layers(texts, embeddings=True, cache=False)  # (7, 3, 384)
spread = np.ptp(vectors, axis=1).max(axis=1)  # over the texts, then over the coordinates
pd.Series(spread, index=outputs, name="largest difference between the texts").to_frame()

# %% [markdown]
# Nothing at all. Before the first layer, [CLS] has seen no other token, so its vector is the same for every text. Below
# the last layer, the top weight goes to a row that cannot tell two texts apart.
#
# **How you would have noticed.** Print what a loop visits, and count.
#
# **Exercise 2 · Off by one** (5 minutes, easy). Write `slip(weights, wanted)`. Both arrays have shape (rows,): the
# weights that the code trains with, and those it should have. Return two lists of row numbers: trained by mistake, and
# forgotten.


# %%
def slip(weights, wanted):
    raise NotImplementedError  # -> (by_mistake, forgotten)


check.slip(slip)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def slip(weights, wanted):
#     trained, asked = np.asarray(weights) > 0, np.asarray(wanted) > 0
#     return np.flatnonzero(trained & ~asked).tolist(), np.flatnonzero(asked & ~trained).tolist()
#
#
# check.slip(slip)
# ```
# Compare *whether* a row is trained. The weights themselves may differ for good reasons.
# </details>
#
# ## Clue 3: one name, two losses
# Two people say that they trained with 2DMSE. One used the paper's loss, the other a library's (`Matryoshka2dLoss` of
# sentence-transformers 6.2, with its defaults). Did they train the same thing? We count how often each cell is trained
# in a thousand steps.

# %%
rng, asked = np.random.default_rng(0), {}
for label, name in {"the paper": "2dmse-v1", "the library": "2dmse-v1-st"}.items():
    recipe = mrl.get_recipe(name, 6, 384)
    share = np.mean([recipe.step_weights(rng)["main"] > 0 for _ in range(1000)], axis=0)
    asked[label] = np.vstack([np.zeros((7 - len(share), 7)), share])  # adds row 0, the embedding table, if missing
mrl.plots.heatmaps(asked, range(7), recipe.dims, metric="share of steps", limits=(0, 1),
                   title="The paper trains the full model in every step, the library in one of seven")  # fmt: skip

# %% [markdown]
# **The finding.** The paper's loss has four cells in a step, and the full model (layer 6, 384) is always among them.
# The library draws one cell in the last layer and one below it, and "below" includes row 0, the embedding table.
# A table that says "2DMSE" may mean either one. In the Starbucks paper it means the loss of an
# older version of the library.
#
# **How you would have noticed.** Reading the code of one step is not enough. Run a few hundred steps, and count which cells
# they train.
#
# ## Clue 4: a teacher that learns
# In the KL term of lesson 08 an early layer, the student, imitates the last one, its teacher. The teacher should stand
# still. In PyTorch that takes one word, `detach`, and older versions of two libraries, AnglE and sentence-transformers,
# forgot it. What happens then? Here is the size of the gradient at each layer, with the word and without.

# %%
texts = list(mrl.load_task("pydocs").queries.values())[:64]
per_layer = torch.tensor(mrl.Encoder.load("all-MiniLM-L6-v2").encode_layers(texts))[..., :128]  # (6, 64, 128)


def pulled(detach):
    x = per_layer.clone().requires_grad_()
    teacher = (x[-1].detach() if detach else x[-1]).softmax(-1)
    losses = [F.kl_div(student.log_softmax(-1), teacher, reduction="batchmean") for student in x[:-1]]
    torch.stack(losses).sum().backward()
    return x.grad.norm(dim=(1, 2)).numpy()


pd.DataFrame({"detached": pulled(True), "attached": pulled(False)}, index=[f"layer {i}" for i in range(1, 7)])

# %% [markdown]
# **The finding.** With `detach`, this term leaves the last layer alone. Without it, the last layer is pulled harder
# than any other, because all five students pull at it. The best layer is pulled toward weaker ones. The opposite
# happens too. In the code of ESE, one term is added inside `torch.no_grad()`, so it shows up in the printed loss but
# trains nothing.
#
# **How you would have noticed.** After `backward()`, look at `.grad` of every part that should move, and of every part that
# should not.
#
# ## Clue 5: a hole in an average
# Starbucks (arXiv 2410.13230) trains one model for six sizes, from Demi to Trenta. Averaged over twelve retrieval
# sets, its second largest, Venti (10 layers, 512 dimensions), reaches 0.320, and the next smaller one 0.378 (nDCG@10).
# Is something wrong with Venti? (In the figure, *separate* means that each size has a model of its own, *SRL* is the
# Starbucks loss alone, and *Starbucks* adds pre-training.)

# %%
beir = published("starbucks").query("table == 'A2' and metric != 'Avg.'")
names = {"BERT-Separate": "separate", "BERT-2DMSE": "2DMSE", "BERT-SRL": "SRL", "SMAE-SRL (Starbucks)": "Starbucks"}
scores = beir.replace({"method": names}).pivot_table(
    index=["metric", "size"], columns="method", values="value", sort=False
)
mrl.plots.lines(
    sorted(beir.dim.unique()),
    {name: scores.loc["Quora", name] for name in names.values()},
    title="On Quora, three of the four methods collapse at 512 or 768 dimensions",
    y_title="nDCG@10 on Quora",
)

# %%
venti = scores.xs("Venti", level="size")[["separate", "Starbucks"]]
pd.DataFrame({"all twelve sets": venti.mean(), "without Quora": venti.drop("Quora").mean()}).round(3)

# %% [markdown]
# **The finding.** One set makes the difference: Quora, where Starbucks breaks down at 512 dimensions. With Quora,
# its Venti is behind the separate models. Without Quora, it is ahead. From outside, we cannot tell a misprint from a
# failed run. Two other methods collapse on Quora too.
#
# **How you would have noticed.** Look at the numbers behind an average, and compare each one with its neighbors.
#
# **Exercise 3 · Check us** (15 minutes, open). Choose a row of [our ledger](../LEDGER.md) that names a csv file of
# results, and compute its pair of numbers again. `pd.read_csv("../data/results/NAME.csv", comment="#")` reads such a
# file.


# %%
def recompute():
    raise NotImplementedError  # -> (the row's id, first number, second number)


check.ledger_row(recompute)

# %% [markdown]
# <details><summary>Solution</summary>
#
# One of many: row R1, two-dimensional training against MRL, averaged over all cells below the last layer.
#
# ```python
# def recompute():
#     import pandas as pd
#     from mrl_tutorial.files import data_file
#
#     files = [data_file("results") / f"{name}.csv" for name in ("sts-trained", "sts-trained-2d")]
#     rows = pd.concat([pd.read_csv(file, comment="#") for file in files])
#     rows = rows[(rows.split == "test") & (rows.layer < 6)]
#     means = rows.groupby("recipe").value.mean()
#     return "R1", means["2dmse-v1"], means["mrl"]
#
#
# check.ledger_row(recompute)
# ```
# </details>
#
# ## What to keep in mind
# We could find all this because the authors published their code and their tables. Papers that publish neither are
# harder to check, not better. Newer versions may differ. We make slips too. Please tell us when you find
# one.
#
# ## In this lesson we saw
# - Two rows of a comparison can be the same model. Equal numbers give it away.
# - A list that begins with the embedding table shifts every layer by one, without an error.
# - One name can mean several losses. Counting what is trained tells them apart.
# - Gradients go where the code sends them, whatever the formula says.
# - One broken cell can decide an average.
#
# **On your own data.** Before you compare two recipes, print `recipe.weights["main"]` of both, and make sure that the cells
# you compare are trained in both.
#
# ## Where to read on
# - S. Wang and others, *2D Matryoshka Training for Information Retrieval*, arXiv 2411.17299; S. Zhuang and others,
#   *Starbucks*, arXiv 2410.13230; versions 1 and 2 of arXiv 2402.14776 for 2DMSE and ESE.
# - Our own verdicts on these papers' claims: [evidence E3](evidence/E3_2dmse.ipynb).
# - Words: [the glossary](../GLOSSARY.md). Next: [10 · PCA and truncation](10_pca_and_truncation.ipynb), with one more clue,
#   a PCA that is not one.
