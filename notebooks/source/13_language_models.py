# %% [markdown]
# # 13 · Matryoshka language models: the next word from four numbers
#
# Type "the number" on a phone, and it offers "of". That guess is easy. After "the number of", nearly anything may come.
# Yet a language model does the same work for both. Could a small part of the model answer the easy ones? We build one
# and see.
#
# **You will** build an output layer that can be read at 4, 8, 16 or 32 numbers, write its loss, compare it with its
# rivals, and let it choose a width for each token.
#
# You need lessons [01](01_the_doll.ipynb) and [02](02_the_nested_loss.ipynb), and to have met a transformer.
# About 40 minutes. Optional.

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
from evidence.language_model import IGNORED, LanguageModel, Plan, load_text, losses
from evidence.language_results import WAYS, Results, adaptive, closed_form_readers, each_token, trained, write
from exercises import language_models as check

import mrl_tutorial as mrl

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs

# %% [markdown]
# ## Tokens
# The text is pydocs again, the documentation of Python libraries. A model reads it in **tokens**, here 512 frequent
# pieces of words, and has to guess the next one.

# %%
plan = replace(Plan(), steps=40) if FAST else Plan()
text = load_text(plan)
row = text.test[0][text.test[0] != IGNORED]
print(f"{len(text.train):,} tokens to train on, {len(text.dev)} texts for choices, {len(text.test)} for the test")
print(" | ".join(text.tokenizer.decode([i]) for i in row[1:25].tolist()))

# %% [markdown]
# ## The doll inside
# The model is a transformer of three layers (`evidence/language_model.py`). One **table** $E$ holds 32 numbers for
# every token, and it is used twice. At the beginning it gives each token its vector. At the end the last layer gives a
# **state** $h$, and token $v$ gets the score $h \cdot E_v + b_v$. Such an output layer is called *tied*.
#
# Nesting takes no new weights. We read the first $m$ numbers of the state, and the first $m$ columns of the table:
#
# $$\text{score}_m(v) = h_{1:m} \cdot E_{v,1:m} + b_v$$
#
# The MRL paper does this for classes and for BERT's masked words, and calls it MRL-E.

# %%
model = LanguageModel(plan)
states = model(row[None, :-1])  # (3 layers, 1 text, T tokens, 32)
for m in plan.dims:
    scores = states[-1, 0, :, :m] @ model.table[:, :m].T + model.bias  # (T, 512)
    print(f"width {m:>2}: {tuple(scores.shape)} scores from {m * plan.vocabulary:,} numbers of the table")

# %% [markdown]
# ## How wrong is a guess?
# The **loss** of a token is minus the logarithm of the probability that the model gave it. **Perplexity** is $e$ to the mean
# loss. At a perplexity of 50 the model is as unsure as if 50 tokens were equally likely.
#
# **Exercise 1 · Perplexity** (3 minutes, easy). Write `perplexity(losses)` for an array of losses in natural
# logarithms.


# %%
def perplexity(losses):
    raise NotImplementedError  # (N,) -> one number


check.perplexity(perplexity)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def perplexity(losses):
#     return float(np.exp(np.mean(losses)))
#
#
# check.perplexity(perplexity)
# ```
# </details>
#
# ## The nested loss
# A plain model is trained at full width, a nested one at every width at once.
#
# **Exercise 2 · The nested loss** (10 minutes, medium). Write `nested_loss`. `states` has shape (N, D), `table` (V, D)
# and `bias` (V,). `targets` (N,) holds the tokens that came, and `dims` the widths. Add up the cross-entropies of all
# widths, each a mean over the N tokens. `np.log(np.exp(scores).sum(1))` is the logarithm of the softmax's denominator.


# %%
def nested_loss(states, table, bias, targets, dims):
    raise NotImplementedError  # -> one number


check.nested_loss(nested_loss)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def nested_loss(states, table, bias, targets, dims):
#     total = 0.0
#     for m in dims:
#         scores = states[:, :m] @ table[:, :m].T + bias
#         right = scores[np.arange(len(targets)), targets]
#         total += np.mean(np.log(np.exp(scores).sum(1)) - right)
#     return total
#
#
# check.nested_loss(nested_loss)
# ```
# </details>
#
# ## Train two models
# One is **plain**. The other is nested and has **exits**: each step also trains one earlier layer, drawn at random, to
# guess the next token. Both see the same texts in the same order.

# %%
plain = trained("plain", plan, text, rate=0.028)
nested = trained("exits", plan, text, rate=0.028)  # nested, with exits
last = [(plan.n_layers, m) for m in plan.dims]  # the cells of the last layer
found = {
    name: losses(m, text.test, last).mean(1).double().exp()
    for name, m in (("plain, cut", plain), ("nested, with exits", nested))
}
pd.DataFrame({name: x.numpy() for name, x in found.items()}, index=pd.Index(plan.dims, name="width")).T.round(1)

# %% [markdown]
# **What to see.** Cutting ruins the plain model. The nested one loses far less, but at full width it is the worse of the
# two. Now let both continue the same beginning:

# %%
for name, model in (("plain, cut", plain), ("nested, with exits", nested)):
    for m in plan.dims:
        print(f"{name:>18} {m:>2}: {write(model, text, 'Returns the number of', m)}")

# %% [markdown]
# **What to see.** None of these lines would pass for documentation. Still, at width 4 the plain model strings odd pieces
# together, while the nested one finds a phrase or two.
#
# ## Is it worth the training?
# A plain model that is simply cut is easy to beat. Two rivals are harder:
#
# - **plain, rotated**: if state and table are rotated together, no score changes at full width. We choose the rotation
#   whose first $m$ numbers come closest to the full scores, and cut. This needs no training;
# - **a model for each width**, trained for this width alone.
#
# The nested model here has no exits. Several seeds take time, so the results come from a file.

# %%
results = Results()
perplexities = {WAYS[way]: results.perplexity(way) for way in ("cut", "nested", "rotated", "separate")}
title = "Up to 16 numbers, only a model for each width beats the nested one"
mrl.plots.lines(results.dims, perplexities, title=title, x_title="numbers read", y_title="perplexity (lower is better)")

# %%
ahead = {WAYS[other]: results.compared(other) for other in ("cut", "rotated", "separate")}
print(f"random seeds: {len(results.seeds)}")
pd.DataFrame(ahead)

# %% [markdown]
# **What to see.** Above 0, the nested model has the smaller loss. The
# 95 % intervals cover test texts and seeds. A difference of 0.01 is about one percent of perplexity. At widths 4 and 8 the
# nested model is far ahead of the plain one, even rotated. At 16 the rotated one nearly catches up, and at 32 it wins.
# A model for each width is ahead everywhere. One nested model replaces four, for 5 to 16 percent more perplexity.
#
# ## Stop early
# The state after layer 1 can be scored against the same table. On the left is the plain model, which never practiced
# this. In the middle is the same model with help that takes no training: a linear map from each layer's state to the
# last one's, found by least squares, and then the rotation. On the right is the nested model with exits.

# %%
layers = range(1, plan.n_layers + 1)
readers = closed_form_readers(plain, text)


def grid(model, readers=None):
    """Perplexity after each layer (rows) at each width (columns)."""
    read = readers or [model.logits] * plan.n_layers
    rows = [losses(model, text.test, [(layer, m) for m in plan.dims], read[layer - 1]) for layer in layers]
    return np.array([row.mean(1).exp().numpy() for row in rows])


tables = {"plain": grid(plain), "plain, mapped and rotated": grid(plain, readers), "trained with exits": grid(nested)}
title = "At 4 and 8 numbers, training with exits wins; at full width, a map does better"
figure = mrl.plots.heatmaps(tables, layers, plan.dims, metric="perplexity", digits=1, limits=(0, 200), title=title)
figure.update_xaxes(title="numbers read")

# %% [markdown]
# **What to see.** Darker is better. Compare the rows first. At full width, stopping after layer 1 raises the plain
# model's perplexity by 17 %, or by 8 % with the linear map. With exits it is only 1 %, but there the full model is worse.
# Now compare the columns. At widths 4 and 8 the trained model wins clearly, and at full width it loses. Without
# the middle table, training would get the credit for what a map and a rotation do.
#
# ## As many numbers as a token needs
# Back to the phone. Read 4 numbers first. If the most likely token's probability reaches a **threshold**, stop. If not,
# read 8, and so on, as in lesson 05. On the dev texts we choose the lowest threshold that costs at most one percent of
# perplexity.

# %%
dev, test = each_token(nested, text.dev), each_token(nested, text.test)  # each: confidence, loss (widths, tokens)
thresholds = np.linspace(0, 1, 41)
tried = np.array([adaptive(*dev, plan.dims, t) for t in thresholds])  # (41, 2): expected width, perplexity
full = np.exp(dev[1][-1].mean())
chosen = thresholds[tried[:, 1] <= 1.01 * full].min()
width, reached = adaptive(*test, plan.dims, chosen)
fixed = np.exp(test[1].mean(1))  # perplexity of every width alone
print(f"threshold {chosen:.3f}: {width:.1f} numbers on average, perplexity {reached:.2f}; all 32: {fixed[-1]:.2f}")

# %%
curve = np.array([adaptive(*test, plan.dims, t) for t in thresholds])
ways = {"one width for all": (plan.dims, fixed), "a width for each token": (curve[:, 0], curve[:, 1])}
figure = mrl.plots.lines(
    (),
    ways,
    title="Choosing by confidence loses to one width for all tokens",
    x_title="numbers read, on average",
    y_title="perplexity (lower is better)",
    doubling=False,
    y_range=(40, 90),
)
figure.add_annotation(x=width, y=reached, text="the chosen threshold", ax=-30, ay=-60)
figure.add_scatter(x=[width], y=[reached], mode="markers", marker={"color": mrl.plots.INK, "size": 15})

# %% [markdown]
# **What to see.** The dot, the chosen threshold, saves almost nothing, and its dashed line loses to the solid one.
# A width of 16 for all tokens reads half as much as the dot, at 2 % more perplexity. Why? Sort the tokens
# by how sure the small width is, and ask how much loss the full width would save:

# %%
gain = {}
for m, sure, loss in zip(plan.dims[:-1], *test):
    order = np.argsort(sure)
    gain[m] = [np.mean((loss - test[1][-1])[part]) for part in np.array_split(order, 4)]
columns = ["least sure quarter", "second", "third", "surest quarter"]
pd.DataFrame(gain, index=columns).T.rename_axis("width").round(3)

# %% [markdown]
# **What to see.** If sure tokens had no use for more numbers, the last column would be 0. But it is more than half of
# the first. In lesson 05 a right answer could not become more right. Here the right token can always gain more
# probability.
#
# **Exercise 3 · A rule of your own** (15 minutes, open). Write `stop(p)`. `p` has shape (M, N, V): the probabilities of
# V tokens, for M widths and N guesses. Return for each guess the index of the width that answers. Your rule must look
# at each guess alone, and at no width beyond the one that answers. It has to beat fixed widths that read as many
# numbers. It can: the check makes up its guesses, and half of them are easy.


# %%
def stop(p):
    raise NotImplementedError  # (M, N, V) -> (N,)


check.stop(stop)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def stop(p):
#     entropy = -(p * np.log(p)).sum(-1)  # (M, N): small where a width is sure
#     enough = entropy < 1.5
#     enough[-1] = True
#     return enough.argmax(0)
#
#
# check.stop(stop)
# ```
#
# `argmax` finds the first width that is sure enough. The last always is.
# </details>
#
# ## What it saves, and what it does not
# A smaller width makes only the output layer cheaper. The layers before it run in full.

# %%
sizes = {"here": (512, 32, 3), "a model of 8 billion": (128_000, 4096, 32)}  # vocabulary, width, layers
share = {}
for name, (vocabulary, wide, deep) in sizes.items():
    output, layer = vocabulary * wide, 12 * wide**2  # multiply-adds a token
    share[name] = {"output layer": output / (output + deep * layer), "one layer": layer / (output + deep * layer)}
pd.DataFrame(share).T.round(2).rename_axis("share of the work")

# %% [markdown]
# **What to see.** In a large model (8 billion weights) the output layer is a small part of the work, so cutting its
# width saves little. Leaving out three of its 32 layers saves more. MatFormer goes further and nests the feed-forward
# blocks inside the layers.
#
# ## What to keep in mind
# Our models are tiny. They say nothing about large ones. The verdict is in
# [the ledger](../LEDGER.md), M8.
#
# ## In this lesson we saw
# - a tied output layer becomes a Matryoshka by cutting columns of the table, without new weights;
# - it beats a plain model, cut or rotated, at small widths, and pays for it at full width. A model for each width stays
#   ahead;
# - a map and a rotation do part of it without training, so every comparison needs them;
# - here, with one seed, confidence was a poor guide to which tokens need more numbers, and one width for all was better.
#
# **On your own data.** Put a list of texts in place of pydocs in `load_text`, and give `Plan` more steps.
#
# ## Where to read on
# - A. Kusupati and others: *Matryoshka Representation Learning*, arXiv 2205.13147, section 3 for MRL-E.
# - Devvrit and others: *MatFormer: Nested Transformer for Elastic Inference*, arXiv 2310.07707.
# - T. Schuster and others: *Confident Adaptive Language Modeling*, arXiv 2207.07061.
# - O. Press, L. Wolf: *Using the Output Embedding to Improve Language Models*, arXiv 1608.05859, on tied tables.
# - Words: [the glossary](../GLOSSARY.md).
