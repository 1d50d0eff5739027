# %% [markdown]
# # 05 · Adaptive classification: stop when you are sure
#
# Two pictures of handwritten digits are coming. One of them you will read in no time. Over the other you will frown, look again, and still
# not be sure. A classifier spends exactly the same work on both. Does it have to?
#
# In this lesson a classifier reads two numbers of a picture's vector first, and more only where it is not sure. You will
#
# - build such a *cascade*, and see what it reads on average;
# - compare it with the plainest alternative, one small size for everyone;
# - watch a rule that looked perfect break its promise.
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
easy, hard = 1342, 1279
figure = px.imshow(x[[easy, hard]].reshape(2, 8, 8), facet_col=0, color_continuous_scale="gray_r")
figure.update_layout(title="Which digits are these?", coloraxis_showscale=False, height=340)
figure.update_annotations(text="").update_xaxes(visible=False).update_yaxes(visible=False)

# %% [markdown]
# **What to see.** A zero, on the left. The picture on the right was meant as an 8. Most people say 1.
#
# ## A classifier that can be read early
# We train a small network with the nested loss, so that the first 2, 4, 8, 16, 32 or 64 of its features are enough for an answer. It has one
# linear classifier, and a shorter prefix simply uses the first columns of it (the *tied* form, MRL-E). So going on from 2 features to 4
# costs only the two new ones. Of the 1,797 pictures, 400 are *held out* for choosing a threshold later, and 497 are for the test.

# %%
sizes = (2, 4, 8, 16, 32, 64)
train, held, test = torch.randperm(1797, generator=torch.Generator().manual_seed(0)).split([900, 400, 497])
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
# The network gives each class a score, its *logit*. The **softmax** makes probabilities of them, $p_c = e^{z_c} / \sum_k e^{z_k}$. The
# largest probability is the **confidence**. If picture $i$ is answered at size $m_i$, the mean of all $m_i$ is called the **expected size**.
#
# **Exercise 1 · How sure, how large** (5 minutes, easy). Write both with numpy. `stop` holds, for each picture, the place of its size in the
# list `sizes`, so 0 stands for size 2.


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
# Subtracting the largest logit changes nothing, and keeps the exponential from overflowing.
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
# **What to see.** TODO
#
# ## Stop when you are sure
# The rule of a cascade: *if the confidence at this size reaches the threshold, answer; else go on to the next size*. The last size answers
# whatever is left.
#
# **Exercise 2 · The cascade** (10 minutes, the idea). `confidence` has shape (M, N), for M sizes and N pictures. `thresholds` has one number
# for each size but the last. Return for each picture the place of the size that answers it. A loop is fine.


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
# `argmax` of true and false finds the first true, and the last size is always sure.
# </details>
#
# The package has the same cascade. We send the test pictures through it with every threshold from 0 to 1, the same one at all sizes. What it
# costs can be charged in two ways. Tied classifiers read each number once, so only the **last size** counts. Separate
# classifiers start anew at every size, so **all sizes visited** add up. Two things to compare it with: *one size*
# for everyone, and an *oracle* that knows the smallest right size of each picture. Nobody can build the oracle. It is the ceiling.

# %%
tested = cascade.answers(probability[:, test].numpy(), y[test].numpy(), sizes)
runs = [cascade.run(tested, [t] * 5) for t in np.linspace(0, 1, 101)]
accuracy = [run.accuracy for run in runs]
oracle = cascade.oracle(tested)
mrl.plots.lines(
    sizes,
    {
        "one size": tested.accuracy,
        "cascade": ([run.final for run in runs], accuracy),
        "all sizes charged": ([run.visited for run in runs], accuracy),
        "oracle": ([oracle.final], [oracle.accuracy]),
    },
    title="A cascade needs fewer numbers than one size for everyone",
    x_title="numbers read of a picture, on average",
    y_title="accuracy",
    y_range=(0.84, 1),
)

# %% [markdown]
# **What to see.** TODO

# %%
mrl.CascadeTuner(tested, start=0.9)

# %% [markdown]
# **Try this.**
#
# 1. Set all thresholds to 0, then raise them together. Where does the filled circle leave the dotted line of the single sizes?
# 2. Bring them to 0.90, then lower only that of size 2. What does it save, and what does it cost?
# 3. Can you beat the blue curve, on which all thresholds are equal?
#
# You are playing with the *test* pictures, so whatever you find is too good to be true. That is the next section.
#
# ## A promise, kept or broken
# A fair threshold is chosen on held-out items, for instance as the cheapest that loses nothing there against the full size. Then the test shows whether
# it was right. The next cell does so for 1,797 digits (five folds) and for documents of pydocs, each with three seeds. Which of 15
# *packages* is a document from, or which of 89 *modules*? A linear layer behind MiniLM was trained with the nested loss for 8 to 256 numbers. Banking77,
# with its 77 kinds of customer questions, joins in if you have it in `$MRL_DATA`.

# %%
tasks = all_runs(FAST)  # trained once, then read from the cache
rows = {}
for name, found in tasks.items():
    gap, size, shares = against_own_full_size(found["MRL-E"])
    rows[name] = {
        "full size": found["MRL-E"][0]["test"].dims[-1],
        "expected size": size.mean().round(1),
        "accuracy against its own full size [95 %]": str(gap),
    }
pd.DataFrame(rows).T

# %% [markdown]
# **What to see.** TODO
#
# One small size for everyone is the plainest alternative. On the packages it wins:

# %%
parts = [run["test"] for run in tasks["package"]["MRL-E"]]  # one for each seed
curves = [cascade.shared_curve(part) for part in parts]
mrl.plots.lines(
    parts[0].dims,
    {
        "one size": np.mean([part.accuracy for part in parts], 0),
        "cascade": (
            np.mean([[o.final for o in c] for c in curves], 0),
            np.mean([[o.accuracy for o in c] for c in curves], 0),
        ),
    },
    title="On packages one size of 64 does better than the cascade",
    x_title="numbers read of a document, on average",
    y_title="accuracy",
    y_range=(0.55, 0.75),
)

# %% [markdown]
# **What to see.** TODO
#
# Would more freedom help, a threshold of its own for every size? Take modules, let a *search* find the five best thresholds on a few items, and look
# at what they promise there and what they keep on all others.

# %%
source, draws = tasks["module"]["MRL-E"][0]["test"], 2 if FAST else 10


def gaps(n, seed):
    """Accuracy minus the full size's: search where it chose, search elsewhere, one threshold elsewhere."""
    order = np.random.default_rng(seed).permutation(source.right.shape[1])
    chosen, others = source.take(order[:n]), source.take(order[n:])
    free, shared = cheapest_thresholds(chosen), cheapest_thresholds(chosen, shared=True)
    tries = ((chosen, free), (others, free), (others, shared))
    return [cascade.run(items, thresholds).accuracy - items.accuracy[-1] for items, thresholds in tries]


counts = (50, 100, 200, 400, 800) if not FAST else (10, 20, 40)
means = 100 * np.array([np.mean([gaps(n, seed) for seed in range(draws)], axis=0) for n in counts])
mrl.plots.lines(
    counts,
    dict(zip(("five, promised", "five, kept", "one, kept"), means.T)),
    title="Five thresholds keep less than they promised",
    x_title="documents that chose the thresholds",
    y_title="points of accuracy against the full size",
    y_range=(-8, 6),
)

# %% [markdown]
# **What to see.** TODO
#
# ## Thirty-seven
# "37 dimensions are as good as 512": so the MRL paper is often quoted. It reports 76.3 % on ImageNet at about 37, as much as a network with 512 numbers. But 37 is an expected size.
# Some pictures are read at 8 numbers, some at all 2,048, and the mean is about 37. No picture has a vector of 37 numbers,
# and every picture needs its full vector at hand, in case it is a hard one. If all sizes visited are charged, the paper itself counts 62.
#
# **Exercise 3 · A rule of your own** (10 minutes, open). Turn held-out confidences and right answers, both (M, N), into M − 1 thresholds. The check
# tries your rule on test digits, in five folds. It may lose one point of accuracy against all 64 numbers, and read 16 numbers or fewer. How low can you go?


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
# One threshold for all sizes, the lowest that loses nothing on the held-out pictures. Other ideas: demand a share of right answers at each size, or look at the gap
# between the two largest probabilities.
# </details>
#
# ## What to keep in mind
# Digits are small and easy. The five folds share training pictures, so their spread says less than five independent data sets would. And
# a cascade saves work in the *classifier* only: the encoder has to make the whole vector first, which for a text costs many thousand
# times more than 15 or 89 classes do. The saving counts where there are very many classes, or where stored vectors are read from a disk or sent over a network.
# What became of the paper's claims is in the [ledger](../LEDGER.md), M5 and Z4.
#
# ## In this lesson we saw
# - A cascade answers easy items with few numbers and goes on only where it is not sure.
# - Its expected size is a mean. No item has a vector of that size.
# - Tied classifiers pay for the last size, separate ones for all they visit.
# - Compare a cascade with its own full size, and with one small size for everyone. The second is sometimes better.
# - Thresholds are learned, so they can overfit: the more of them and the fewer items, the more a promise is worth checking.
#
# **On your own data.** Train a classifier on each prefix of your vectors, put the class probabilities into one array (sizes, items, classes),
# and look at `mrl.CascadeTuner(cascade.answers(probabilities, labels, sizes))`.
#
# ## Where to read on
# - A. Kusupati and others, *Matryoshka Representation Learning*, arXiv 2205.13147, appendix D.1 (cascades) and J (which pictures need which size).
# - P. Viola, M. Jones, *Rapid Object Detection using a Boosted Cascade of Simple Features*, CVPR 2001, where cascades became known.
# - C. Guo and others, *On Calibration of Modern Neural Networks*, arXiv 1706.04599: what a confidence is worth.
# - Words are explained in [the glossary](../GLOSSARY.md). Next: [making your own model Matryoshka](06_your_own_model.ipynb).
