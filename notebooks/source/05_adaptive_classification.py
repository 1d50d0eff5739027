# %% [markdown]
# # 05 · Adaptive classification: stop when you are sure
#
# Below are two pictures of handwritten digits. One you will read at a glance. The other may leave you unsure. A
# classifier spends the same work on both. Does it have to?
#
# In this lesson a classifier first reads two numbers of a picture's vector, and more only if it is not sure. You will
# build such a *cascade*, compare it with the simplest alternative, and watch a rule that looked perfect break its
# promise.
#
# You need lesson [02](02_the_nested_loss.ipynb). It takes about 30 minutes and is optional.

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
import torch.nn.functional as F
from evidence.cascade_runs import against_own_full_size, all_runs
from evidence.cascade_search import cheapest_thresholds
from exercises import cascades as check

import mrl_tutorial as mrl
from mrl_tutorial.classification import cascade

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs

# %%
x, y = (torch.tensor(part) for part in mrl.load_task("digits").splits["all"])
x = x.float()  # (1797, 64): 8 x 8 pixels, from 0 to 1
easy, hard = 1342, 1603
figure = px.imshow(x[[easy, hard]].reshape(2, 8, 8), facet_col=0, color_continuous_scale="gray_r")
figure.update_layout(**mrl.plots.style("Which digits are these?"), coloraxis_showscale=False, height=340)
figure.update_annotations(text="").update_xaxes(visible=False).update_yaxes(visible=False)

# %% [markdown]
# **What to see.** The left one is a zero. The right one was meant as a 3. Did you say 7?
#
# ## A classifier that can be read early
# We train a small network with the nested loss, so that it can answer from its first 2, 4, 8, 16, 32 or 64 features. It
# has one linear classifier, and a shorter prefix uses only the classifier's first columns (the *tied* form, MRL-E). So
# the step from 2 features to 4 costs only the two new ones. We keep 497 of the 1,797 pictures for the test, our two
# among them.

# %%
sizes = (2, 4, 8, 16, 32, 64)
train, test = torch.randperm(1797, generator=torch.Generator().manual_seed(0)).split([1300, 497])
torch.manual_seed(0)
body = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64))
head = torch.nn.Linear(64, 10)


def logits(x):
    z = body(x)
    return torch.stack([z[:, :m] @ head.weight[:, :m].T + head.bias for m in sizes])  # (sizes, pictures, 10)


optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=0.01)
for _ in range(100 if FAST else 400):
    rows = train[torch.randint(len(train), (128,))]
    loss = torch.stack([F.cross_entropy(z, y[rows]) for z in logits(x[rows])]).sum()  # the nested loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% [markdown]
# The network gives each class a score, its *logit*. The **softmax** turns these into probabilities, $p_c = e^{z_c} /
# \sum_k e^{z_k}$. The largest of them is the **confidence**. If picture $i$ is answered at size $m_i$, the mean of all
# $m_i$ is called the **expected size**.
#
# **Exercise 1 · How sure, how large** (5 minutes, easy). Write the confidence and the expected size with numpy. For
# each picture, `stop` says at which place in `sizes` it was answered (0 is the first).


# %%
def confidence(logits):
    raise NotImplementedError  # (..., classes) -> (...)


def expected_size(stop, sizes):
    raise NotImplementedError  # (N,) places in the list, the list -> one number


check.confidence_and_size(confidence, expected_size)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def confidence(logits):
#     powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
#     return (powers / powers.sum(axis=-1, keepdims=True)).max(axis=-1)
#
#
# def expected_size(stop, sizes):
#     return np.array(sizes)[stop].mean()
#
#
# check.confidence_and_size(confidence, expected_size)
# ```
#
# We subtract the largest logit so that no exponential overflows.
# </details>
#
# How sure is our network of the two pictures?

# %%
with torch.no_grad():
    probability = logits(x).softmax(-1)  # (sizes, all pictures, 10)
sure, answer = probability.max(-1)
pd.DataFrame(
    {
        ("easy", "answer"): answer[:, easy],
        ("easy", "confidence"): sure[:, easy].numpy().round(2),
        ("hard", "answer"): answer[:, hard],
        ("hard", "confidence"): sure[:, hard].numpy().round(2),
    },
    index=pd.Index(sizes, name="size"),
)

# %% [markdown]
# **What to see.** Two numbers settle the zero. The hard picture is called a 9, then a 3, then a 7, and no size is 90 %
# sure. More numbers are not always better: the 3 was right.
#
# ## Stop when you are sure
# A cascade has one rule: *if the confidence reaches the threshold, answer. If not, go on to the next size*. The last
# size answers the rest.
#
# **Exercise 2 · The cascade** (10 minutes, the idea). `confidence` has shape (M, N), for M sizes and N pictures.
# `thresholds` has one number for each size but the last. For each picture return the place of the size that answers it.
# A loop is fine.


# %%
def decide(confidence, thresholds):
    raise NotImplementedError  # (M, N), (M - 1,) -> (N,) whole numbers


check.decide(decide)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def decide(confidence, thresholds):
#     sure = confidence[:-1] >= np.array(thresholds)[:, None]
#     last = np.ones((1, confidence.shape[1]), dtype=bool)
#     return np.concatenate([sure, last]).argmax(axis=0)
#
#
# check.decide(decide)
# ```
#
# `argmax` finds the first true, and the last size is always sure.
# </details>
#
# The package has the same cascade. We try thresholds from 0 to 1, the same one at all sizes. The cost can be counted in
# two ways. A tied classifier reads each number once, so only the **last size** counts. Separate classifiers start again
# at every size, so **all sizes** on the way are charged. We compare with one size for all pictures, and with an
# *oracle*, which knows the smallest right size of each picture. Nobody can build it, and no cascade can beat it.

# %%
tested = cascade.answers(probability[:, test].numpy(), y[test].numpy(), sizes)
runs = [cascade.run(tested, [t] * 5) for t in np.linspace(0, 1.01, 102)]  # 1.01 is never reached
accuracy, oracle = [run.accuracy for run in runs], cascade.oracle(tested)
numbers = 2.0 ** np.linspace(1, 6, 51)  # read on average, from 2 to 64
curves = {
    "one size for all": tested.accuracy,
    "cascade": (numbers, np.interp(numbers, [run.final for run in runs], accuracy)),
    "cascade, all sizes charged": (numbers, np.interp(numbers, [run.visited for run in runs], accuracy)),
    "oracle": ([oracle.final], [oracle.accuracy]),
}
level = tested.accuracy[4]  # of 32 numbers
enough = min(run.final for run in runs if run.accuracy >= level)
title = f"Digits: a cascade that reads {enough:.0f} numbers on average is as accurate as 32 for all"
axes = {"x_title": "numbers read of a picture, on average", "y_title": "accuracy", "y_range": (0.84, 1)}
figure = mrl.plots.lines(sizes, curves, title=title, **axes)
heights = (0.957, 0.951, 0.925, oracle.accuracy)
mrl.plots.place_names(figure, dict(zip(curves, zip((16, 2.5, 4, 2.6), heights))))  # where the lines are apart
look = {"mode": "markers", "marker": {"size": 12, "color": "black"}}
figure.add_scatter(x=np.log2([enough, 32]), y=[level] * 2, **look)

# %% [markdown]
# **What to see.** The black dots are equally accurate, but the left one's threshold was chosen on these pictures. If
# all sizes are charged, the advantage shrinks, and around four numbers the cascade is behind. The oracle is above every
# single size, because some pictures, like our 3, are read right only at a small size.

# %%
mrl.CascadeTuner(tested, start=0.9)

# %% [markdown]
# **Try this.** Set all thresholds to 0, then raise them together. When does the filled circle rise above the dotted
# line of the single sizes? Then set all to 0.90 and lower only the one of size 2. What do you save, and what does it
# cost? (The button *the paper's rule* looks at two neighboring sizes at a time, and takes the lowest threshold at which
# the pair is most accurate.) These are the *test* pictures: expect less on new ones.
#
# ## A promise, kept or broken
# A fair threshold is chosen on held-out items: the cheapest one that loses nothing there against the full size. That is
# a promise, and the test shows whether it holds. The next cell tries it with three seeds: on digits, and on documents
# of pydocs, sorted into 89 *modules* or 15 *packages*. There, a linear layer behind MiniLM gives vectors of 8 to 256
# numbers. Banking77 (customer questions of 77 kinds) is added if it is in your folder `$MRL_DATA`.

# %%
tasks, rows = all_runs(FAST), {}  # trained once, then read from the cache
for name, found in tasks.items():
    dims, tied = found["MRL-E"][0]["test"].dims, found["MRL-E"]
    gap, size, shares = against_own_full_size(tied)  # one threshold, chosen on held-out items
    single = np.mean([run["test"].accuracy for run in tied], axis=0)
    rows[name] = {
        "full size": dims[-1],
        "expected size": size.mean().round(),
        "all sizes charged": (shares @ np.cumsum(dims)).round(),
        "one size as good": dims[np.argmax(single >= single[-1] + gap.mean)],
        "accuracy against full [95 %]": str(gap),
    }
pd.DataFrame(rows).T

# %% [markdown]
# **What to see.** On digits and on Banking77 the cascade reads a tenth to a fifth of the numbers, but loses a few
# tenths of a point. On modules it saves little, and with all sizes charged it costs more than the full size.
#
# The column *one size as good* names the smallest single size that is as accurate as the cascade. For packages it is
# cheaper, 64 numbers against about 70:

# %%
parts = [run["test"] for run in tasks["package"]["MRL-E"]]  # one for each seed
curves = [cascade.shared_curve(part, np.linspace(0, 1.01, 102)) for part in parts]
read = np.mean([[run.final for run in curve] for curve in curves], axis=0)
accuracy = np.mean([[run.accuracy for run in curve] for curve in curves], axis=0)
numbers = 2.0 ** np.linspace(3, 8, 51)  # from 8 to 256
single = np.mean([part.accuracy for part in parts], axis=0)
lines = {"one size for all": single, "cascade": (numbers, np.interp(numbers, read, accuracy))}
axes = {"x_title": "numbers read of a document, on average", "y_title": "accuracy", "y_range": (0.55, 0.72)}
title = "On packages, one size of 64 for all does no worse than the cascade"
figure = mrl.plots.lines(parts[0].dims, lines, title=title, **axes)
mrl.plots.place_names(figure, {"one size for all": (34, 0.693), "cascade": (60, 0.658)})

# %% [markdown]
# **What to see.** The cascade is never above the other line. Here 256 numbers do no better than 64, so going on to 256
# gains nothing. Try the simple alternative first.
#
# Would it help to give every size its own threshold? For modules we take a few documents, search for the cheapest five
# thresholds that lose nothing on them, and see what these lose on the *other* ones.

# %%
source, draws = tasks["module"]["MRL-E"][0]["test"], 2 if FAST else 10


def gaps(n, seed):
    """Accuracy minus the full size's: five thresholds where they were chosen, then five and one on the others."""
    order = np.random.default_rng(seed).permutation(source.right.shape[1])
    chosen, others = source.take(order[:n]), source.take(order[n:])
    free, shared = cheapest_thresholds(chosen), cheapest_thresholds(chosen, shared=True)
    tries = ((chosen, free), (others, free), (others, shared))
    return [cascade.run(items, thresholds).accuracy - items.accuracy[-1] for items, thresholds in tries]


counts = (50, 100, 200, 400, 800) if not FAST else (10, 20, 40)
means = 100 * np.array([np.mean([gaps(n, seed) for seed in range(draws)], axis=0) for n in counts])
names = ("five thresholds, where chosen", "five thresholds, on other documents", "one threshold, on other documents")
title = "Thresholds chosen on few documents lose accuracy on others: five lose more than a single one"
axes = {"x_title": "documents used to choose the thresholds", "y_title": "points against full size", "y_range": (-8, 3)}
figure = mrl.plots.lines(counts, dict(zip(names, means.T)), title=title, **axes)
for note, line, i, height in zip(figure.layout.annotations, figure.data, (3, 3, 1), (2.2, -3, -1.1)):
    note.update(x=line.x[0 if height > 0 else 2], y=height, font_color=mrl.plots.COLORS[i])
    line.update(line_color=mrl.plots.COLORS[i])  # one threshold is the cascade of the figures above
promise = {"annotation_text": "the promise: lose nothing", "annotation_position": "bottom left"}
figure.add_hline(y=0, line={"dash": "dot", "width": 2}, **promise).update_layout(margin_r=20)

# %% [markdown]
# **What to see.** The five thresholds keep their promise only where they were chosen. On other documents they lose,
# most of all if they were chosen on few: even five numbers can overfit. A single threshold breaks its promise too, but
# from 200 documents on it loses about half a point at most.
#
# ## Thirty-seven
# "37 dimensions are as good as 512" is how the MRL paper is often quoted. Its cascade reaches 76.3 % on ImageNet with
# about 37 numbers, as much as a network trained for 512. But 37 is a mean: some pictures are answered with 8 numbers,
# others with many more, and none with 37. With all sizes charged, the paper itself counts 62.
#
# **Exercise 3 · A rule of your own** (10 minutes, open). Write a rule that chooses the M − 1 thresholds. From held-out
# digits it gets two arrays of shape (M, N): how sure each size is of each picture, and whether it is right. On test
# digits it may lose at most one point of accuracy against all 64 numbers, and read at most 16 on average. How low can
# you go?


# %%
def rule(confidence, right):
    raise NotImplementedError  # (M, N), (M, N) of true and false -> (M - 1,) thresholds


check.rule(rule)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def rule(confidence, right):
#     full = right[-1].mean()
#     for t in np.linspace(0.5, 1, 51):
#         sure = confidence >= t
#         sure[-1] = True
#         stop = sure.argmax(axis=0)
#         if right[stop, np.arange(len(stop))].mean() >= full:
#             break
#     return np.full(len(right) - 1, t)
#
#
# check.rule(rule)
# ```
#
# One threshold for all sizes, the lowest that loses nothing on the held-out pictures.
# </details>
#
# ## What to keep in mind
# Digits are easy. A cascade saves work in the *classifier* only. The encoder makes the whole vector first, and for a
# text that is thousands of times more work. The saving matters with many classes, or when stored vectors come from a
# disk or over a network. The [ledger](../LEDGER.md) has the verdicts on the paper's claims (M5, Z4).
#
# ## In this lesson we saw
# - A cascade answers easy items with few numbers and goes on only where it is not sure.
# - Its expected size is a mean. No item has a vector of that size.
# - Tied classifiers pay for the last size only, separate ones for every size on the way.
# - One small size for everyone is sometimes better than a cascade.
# - Thresholds are learned too, so they can overfit. Check them on a test set.
#
# **On your own data.** Train a classifier on each prefix of your vectors, put the class probabilities into one array
# (sizes, items, classes), and look at `mrl.CascadeTuner(cascade.answers(probabilities, labels, sizes))`.
#
# ## Where to read on
# - A. Kusupati and others, *Matryoshka Representation Learning*, arXiv 2205.13147, appendix D.1.
# - P. Viola, M. Jones, *Rapid Object Detection using a Boosted Cascade of Simple Features*, CVPR 2001.
# - C. Guo and others, *On Calibration of Modern Neural Networks*, arXiv 1706.04599: what a confidence is worth.
# - [The glossary](../GLOSSARY.md) explains the words. Next: [making your own model Matryoshka](06_your_own_model.ipynb).
