# %% [markdown]
# # 07 · Matryoshka language models: the next word from four numbers
#
# Type "the number" on a phone, and it offers "of". That guess is easy. After "the number of" nearly anything may come. Yet a language
# model spends the same work on both. Could a small part of it answer the easy ones? We build such a model and try; the answer
# is not the expected one. **You will**
#
# - give a language model an output layer that can be read at 4, 8, 16 or 32 numbers;
# - write its loss yourself, train it in a minute, and let it write at each width;
# - compare it with a plain model that is cut, one that is rotated first, and a model of its own for each width;
# - let it stop after an early layer, or choose a width for each token.
#
# This lesson is optional. You need lessons 00 and 01, and to have met a transformer. It takes about half an hour, of which the computer
# works a minute. Our models are tiny: this shows how the idea works, and says nothing about large models.

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
import plotly.graph_objects as go
from evidence.language_model import IGNORED, LanguageModel, Plan, load_text, losses
from evidence.language_results import Results, adaptive, closed_form_readers, each_token, trained, width_figure, write
from exercises import language_models as check

from mrl_tutorial.panels import plots

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs

# %% [markdown]
# ## Tokens
# The text is pydocs again, the documentation of Python libraries. A model reads it in **tokens**: 512 frequent pieces of words,
# learned from the training texts. Its one task is to guess the next token.

# %%
plan = replace(Plan(), steps=40) if FAST else Plan()
text = load_text(plan)
row = text.test[0][text.test[0] != IGNORED]
print(f"{len(text.train):,} tokens to train on, {len(text.dev)} texts for choices, {len(text.test)} for the test")
print(" | ".join(text.tokenizer.decode([i]) for i in row[1:25].tolist()))

# %% [markdown]
# ## The doll inside
# The model is a transformer of three layers, 60 lines of PyTorch in `evidence/language_model.py`. One
# **table** $E$ holds 32 numbers for every token, and it is used twice. At the beginning it turns tokens into vectors. At the end it
# scores them: the last layer gives a **state** $h$, and token $v$ gets the score $h \cdot E_v + b_v$. Such an output layer is called *tied*.
#
# To nest it we need no new weights. We read the first $m$ numbers of the state, and the first $m$ columns of the table:
#
# $$\text{score}_m(v) = h_{1:m} \cdot E_{v,1:m} + b_v$$
#
# In lesson 01 a tied classifier whose columns are cut was called MRL-E. This is the same thing with tokens for classes.

# %%
model = LanguageModel(plan)
states = model(row[None, :-1])  # (3 layers, 1 text, T tokens, 32)
for m in plan.dims:
    scores = states[-1, 0, :, :m] @ model.table[:, :m].T + model.bias  # (T, 512)
    print(f"width {m:>2}: {tuple(scores.shape)} scores from {m * plan.vocabulary:,} numbers of the table")

# %% [markdown]
# ## How wrong is a guess?
# The **loss** of a token is minus the logarithm of the probability that the model gave it. **Perplexity** is $e$ to the
# mean loss. At a perplexity of 50 the model is as unsure as if 50 tokens were equally likely.
#
# **Exercise 1 · Perplexity** (3 minutes, easy). Write `perplexity(losses)` for an array of losses in nats.


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
# A plain model is trained at full width. A nested model is trained at every width at once: the losses are added up.
#
# **Exercise 2 · The nested loss** (10 minutes, medium). Write `nested_loss` in six lines. `states` are (N, D), `table` is (V, D), `bias` (V,),
# `targets` (N,) the tokens that came, `dims` the widths. Add up the cross-entropies of all widths, each a mean over the N tokens.
# `np.log(np.exp(scores).sum(1))` is the logarithm of the softmax's denominator.


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
# One is **plain**. The other is nested and has **exits**: each step also trains one earlier layer, drawn at random, to answer by itself.
# Both see the same texts in the same order.

# %%
plain = trained("plain", plan, text, rate=0.028)
nested = trained("exits", plan, text, rate=0.028)
last = [(plan.n_layers, m) for m in plan.dims]  # the cells of the last layer
found = {
    name: losses(m, text.test, last).mean(1).double().exp() for name, m in (("plain, cut", plain), ("nested", nested))
}
pd.DataFrame({name: x.numpy() for name, x in found.items()}, index=pd.Index(plan.dims, name="width")).T.round(1)

# %% [markdown]
# **What to see.** Cutting ruins the plain model. The nested one loses far less, but look at the last column: at full width
# it is the worse of the two. Now let both go on with the same beginning, at each width:

# %%
for name, model in (("plain, cut", plain), ("nested", nested)):
    for m in plan.dims:
        print(f"{name:>10} {m:>2}: {write(model, text, 'Returns the number of', m)}")

# %% [markdown]
# **What to see.** Nobody would take these sentences for documentation: the models are a thousand times too small. But
# compare the lines of width 4. The plain model strings odd pieces together. The nested one finds a whole phrase here and there.
#
# ## Is it worth the training?
# Cutting is an easy opponent. Two others are harder:
#
# - **plain, rotated**: state and table can be turned together without changing a single score at
#   full width. We turn the plain model so that its first $m$ numbers come closest to the full scores, and cut then. This needs no training, only one
#   singular value decomposition;
# - **a model for each width**: the same transformer, trained for this one width only.
#
# The nested model here has no exits. Each was trained from several random seeds, at the best of three learning rates. That takes longer than a lesson, so the
# results are read from a file; `python -m tools.language_models` makes it.

# %%
results = Results()
print(f"random seeds: {len(results.seeds)}")
width_figure(
    results.dims,
    {way: results.perplexity(way) for way in ("cut", "rotated", "separate", "nested")},
    "Nesting beats turning at small widths; models of their own beat nesting",
)

# %%
for other, not_worse in (("cut", False), ("rotated", False), ("separate", True)):
    print(f"nested against {other}: is it {'no worse' if not_worse else 'better'}?")
    display(results.compared(other, not_worse=not_worse))

# %% [markdown]
# **How to read it.** The numbers are nats a token by which the nested model is ahead; 0.01 nats are one percent of perplexity. The brackets hold the 95 %
# interval over test texts and seeds. *No worse* means no more than 0.01 nats behind.
#
# **What to see.** At widths 4 and 8 the nested model is far ahead of the plain one, even after the best rotation. At 16 the two are close, and at 32
# the plain model wins. A model of its own is ahead of the nested one at every width. So one nested model stands in for four, at a price: it is a
# little worse than each of them.
#
# ## Stop early
# Layers can be saved as well. The state after layer 1 can be scored against the same table. Left: the plain model, which never
# practiced this. Middle: the plain model again, but a linear formula first maps each layer's state to the last layer's, and the result is
# rotated. That is the control without training. Right: the nested model with exits.

# %%
layers = range(1, plan.n_layers + 1)
readers = closed_form_readers(plain, text)


def grid(model, readers=None):
    """Perplexity after each layer (rows) at each width (columns)."""
    read = readers or [model.logits] * plan.n_layers
    rows = [losses(model, text.test, [(layer, m) for m in plan.dims], read[layer - 1]) for layer in layers]
    return np.array([row.mean(1).exp().numpy() for row in rows])


tables = {"plain": grid(plain), "plain, best linear map": grid(plain, readers), "trained with exits": grid(nested)}
title = "A linear map opens the exits; training pays at widths 4 and 8"
plots.heatmaps(tables, layers, plan.dims, metric="perplexity", digits=0, limits=(0, 200), title=title)

# %% [markdown]
# **What to see.** Look at the middle first. A formula alone makes layer 1 nearly as good as layer 3: in
# models as small as these the later layers add little. Training with exits wins clearly at widths 4 and 8. At
# full width it loses to the formula, because it has to serve every width at once. Without the middle table
# we would have given training the credit for all of it.
#
# ## As many numbers as a token needs
# Back to the phone. Read 4 numbers first. If the probability of the most likely token reaches a **threshold**, stop; else read 8, and
# so on: the cascade of lesson 02. The **expected width** is the mean of the widths that answered.
# On the dev texts we choose the cheapest threshold that costs at most one percent of perplexity.

# %%
dev, test = each_token(nested, text.dev), each_token(nested, text.test)
thresholds = np.linspace(0, 1, 41)
tried = np.array([adaptive(*dev, plan.dims, t) for t in thresholds])  # (41, 2): expected width, perplexity
full = np.exp(dev[1][-1].mean())
chosen = thresholds[tried[:, 1] <= 1.01 * full].min()
width, reached = adaptive(*test, plan.dims, chosen)
fixed = np.exp(test[1].mean(1))  # perplexity of every width alone
print(f"threshold {chosen:.3f}: {width:.1f} numbers on average, perplexity {reached:.2f}; all 32: {fixed[-1]:.2f}")

# %%
curve = np.array([adaptive(*test, plan.dims, t) for t in thresholds])
figure = go.Figure(layout=plots.style("Choosing by confidence loses to one width for all tokens"))
figure.add_scatter(
    x=plan.dims, y=fixed, mode="lines+markers", line={"color": plots.INK, "dash": "dot"}, marker={"size": 9}
)
figure.add_scatter(x=curve[:, 0], y=curve[:, 1], mode="lines", line={"color": plots.COLORS[0], "width": 3})
figure.add_scatter(x=[width], y=[reached], mode="markers", marker={"color": plots.MARK, "size": 15})
middle = curve[np.abs(curve[:, 0] - 18).argmin()]  # where the line gets its name
for (x, y), name, color, up in (
    ((plan.dims[2], fixed[2] - 1), "one width for all tokens", plots.INK, "top"),
    (middle, "a width for each token", plots.COLORS[0], "bottom"),
    ((width, reached + 2), "chosen on dev", plots.MARK, "bottom"),
):
    figure.add_annotation(
        x=x,
        y=y,
        text=name,
        font={"color": color},
        yanchor=up,
        xanchor="left" if up == "bottom" else "center",
        showarrow=False,
    )
figure.update_layout(showlegend=False, height=400)
figure.update_xaxes(title="numbers read for a token, on average", range=[0, 36])
figure.update_yaxes(title="perplexity (lower is better)", showgrid=True)

# %% [markdown]
# **What to see.** The chosen threshold saves almost nothing, and nearly the whole line runs above the dotted one. A single width of 16 is
# cheaper and about as good. Why? Sort the tokens by how sure a width is, and ask what the full width would gain:

# %%
gain = {}
for m, sure, loss in zip(plan.dims[:-1], *test):
    order = np.argsort(sure)
    gain[m] = [np.mean((loss - test[1][-1])[part]) for part in np.array_split(order, 4)]
columns = ["least sure quarter", "second", "third", "surest quarter"]
pd.DataFrame(gain, index=columns).T.rename_axis("width").round(3)

# %% [markdown]
# **What to see.** If sure tokens were done, the last column would be 0. It is not far below the first. In lesson 02
# a right answer could not get better. A probability can: the full width gives still more of it to the token that came.
#
# **Exercise 3 · A rule of your own** (15 minutes, open). Write `stop(p)`. `p` has shape (M, N, V): for M widths and N tokens the probabilities
# of V tokens. Return for each token the index of the width that answers. Your rule sees one token at a time and no width beyond the one that
# answers. The check compares it with fixed widths, on made-up tokens of which half are easy. There a good rule pays.


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
# `argmax` finds the first width that is sure enough; the last always is.
# </details>
#
# ## What it saves, and what not
# Only the output layer becomes cheaper by a smaller width; the layers before it run in full.

# %%
sizes = {"here": (512, 32, 3), "a model of 8 billion": (128_000, 4096, 32)}  # vocabulary, width, layers
for name, (vocabulary, wide, deep) in sizes.items():
    output, layer = vocabulary * wide, 12 * wide**2  # multiply-adds a token
    print(
        f"{name:<21} output layer {output / (output + deep * layer):4.0%} of the work, one layer {layer / (output + deep * layer):4.0%}"
    )

# %% [markdown]
# **What to see.** In a large model the output layer is a small part of the work, so its width saves little, and leaving out layers
# saves more. MatFormer, cited below, nests the insides of every layer too.
#
# ## In this lesson we saw
# - a tied output layer becomes a Matryoshka by cutting columns of the table, without a single new weight;
# - it beats a plain model, cut or rotated, at small widths, and pays for it at full width; separate models stay ahead;
# - a linear map without training does much of what trained exits do, so it belongs beside every such comparison;
# - confidence is a poor guide to which tokens need more numbers: one smaller width for all was better.
#
# **On your data.** Put a list of texts in place of pydocs in `load_text`, and give `Plan` more steps.
#
# ## Where to read on
# - A. Kusupati and others: *Matryoshka Representation Learning*, arXiv 2205.13147, section 3 for tied classifiers (MRL-E).
# - Devvrit and others: *MatFormer: Nested Transformer for Elastic Inference*, arXiv 2310.07707.
# - T. Schuster and others: *Confident Adaptive Language Modeling*, arXiv 2207.07061, where tokens leave a decoder early.
# - O. Press, L. Wolf: *Using the Output Embedding to Improve Language Models*, arXiv 1608.05859, on tied tables.
