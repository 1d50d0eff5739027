# %% [markdown]
# # 01 · Matryoshka basics: one vector, many sizes
#
# An embedding is a list of numbers that stands for an image or a text. How long should the list be? Matryoshka representation
# learning (MRL) trains *one* vector whose beginnings are embeddings too, as a Russian doll holds smaller dolls. **You will**
#
# - work out what a fixed size costs, and check it with a real index;
# - build the nested loss yourself, and see that the package's is the same;
# - train small networks on digits and compare MRL with every other way to a shorter vector, at every size;
# - repeat it on text, behind a transformer;
# - turn the importance weights of the sizes and watch a network retrain in seconds.
#
# You need notebook 00, and one course in machine learning: classification, cross-entropy, train and test. On a laptop with 2 cores
# it takes about three minutes the first time, and less than one when what it trained is there already. What papers and articles claim
# about MRL is put to the test in [evidence E1](evidence/E1_mrl.ipynb) and [E2](evidence/E2_vendor.ipynb).

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
import platform

import numpy as np
import pandas as pd
import plotly
import torch
import torch.nn.functional as F
from evidence import baseline_report as report
from evidence import baselines_on_vectors as baselines
from exercises import nested_classifiers as check

from mrl_tutorial import (
    Batch,
    Encoder,
    ImportanceWeights,
    NestedClassifier,
    PrefixMap,
    SizeCalculator,
    TruncationTrap,
    files,
    load_task,
)
from mrl_tutorial.classification.labeled_vectors import from_task
from mrl_tutorial.classification.small_networks import NetworkConfig
from mrl_tutorial.losses.classification import classification

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs
SEEDS = (0,) if FAST else (0, 1, 2)
print(
    f"Python {platform.python_version()}, torch {torch.__version__}, plotly {plotly.__version__}, {torch.get_num_threads()} threads"
)

# %% [markdown]
# ## Why a fixed size costs
# A vector of $D$ numbers in `float32` takes $4D$ bytes, and comparing two of them takes $D$ multiply-adds. Both are paid for *every*
# item of a collection: ten million vectors of 768 numbers are 30.72 GB, and an **index** (what a search keeps) adds something of its own
# where it is to be quick. The calculator knows nothing but this arithmetic. Choose a collection, keep fewer dimensions, store them
# in fewer bytes (`float16`: two a number, `int8`: one, binary: one *bit*), and watch memory and search.

# %%
calculator = SizeCalculator(dim=64)
calculator

# %% [markdown]
# **What to see.** Gray is the whole vector, colored what is kept; the axes are logarithmic, so every step to the left divides by the same
# factor. *Shortlist* means: compare the first numbers of all items, then the whole vectors of the few best only; it costs hardly more. The only question is what is lost, and the rest of the notebook answers it. A fixed size forces the choice *before* training; if you want another size later, you have to train, and embed everything, again.
#
# ## The nested loss, in the open
# A classifier's usual **loss** is the cross-entropy: small where the right class gets a high probability. Take a network $F$ that turns
# an input $x$ into $D$ features, and a list of sizes $M$. MRL gives every size $m$ a linear classifier $W^{(m)}$ that sees only the first $m$
# features, its **prefix**, and adds up their losses:
#
# $$\mathcal{L} = \sum_{m \in M} c_m \cdot \text{CE}\big(W^{(m)} F(x)_{1:m},\; y\big), \qquad c_m = 1 \text{ unless said otherwise.}$$
#
# That is all. The network cannot choose which features the small sizes get, so it learns to put what matters most in front. Here it is on
# scikit-learn's digits, images of 8 × 8 pixels, with a network of one hidden layer. The package has the same loss as a *term* that works on
# every layer and size at once; with the same classifiers it must give the same number, which the end of the cell checks:

# %%
digits = from_task(load_task("digits"))  # pixels, centered
train_rows, test_rows = digits.rounds[0]
x, y = torch.from_numpy(digits.x), torch.from_numpy(digits.labels)
DIMS = (2, 4, 8, 16, 32, 64)

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64)
)  # pixels -> 64 features
heads = torch.nn.ModuleList(torch.nn.Linear(m, 10) for m in DIMS)  # a classifier for every size


def nested_cross_entropy(features, labels):
    return sum(F.cross_entropy(head(features[:, :m]), labels) for m, head in zip(DIMS, heads))


optimizer = torch.optim.Adam([*network.parameters(), *heads.parameters()], lr=0.01)
for step in range(60 if FAST else 300):
    batch = torch.from_numpy(np.random.default_rng(step).choice(train_rows, 128))
    loss = nested_cross_entropy(network(x[batch]), y[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with torch.no_grad():
    features = network(x[test_rows])
    for m, head in zip(DIMS, heads):
        right = (head(features[:, :m]).argmax(1) == y[test_rows]).float().mean()
        print(f"first {m:>2} of 64 features: {right:.3f} of {len(test_rows)} test images right")

classifier = NestedClassifier(width=64, dims=DIMS, n_classes=10)
for i, head in enumerate(heads):
    classifier.weight[i].data[0], classifier.bias[i].data[0] = head.weight.data, head.bias.data

with torch.no_grad():
    by_hand = nested_cross_entropy(features, y[test_rows])
    term = classification(Batch(features[None], labels=y[test_rows], classifier=classifier), layers=[1], dims=DIMS)
print("by size:", term.numpy().round(3), " sum:", round(float(term.sum()), 5), " by hand:", round(float(by_hand), 5))
assert torch.allclose(term.sum(), by_hand, atol=1e-5)

# %% [markdown]
# ## The competitors
# How else could one get a shorter vector? MRL and six **baselines**, all with the same network, data, batches and number of steps:
#
# | method | how its $m$ numbers come about |
# |---|---|
# | **MRL** | the first $m$ of one network, trained with the nested loss |
# | **MRL-E** | the same with *one* classifier, whose first $m$ columns serve size $m$ ("tied", E for efficient) |
# | **trained for this size alone** | a network of its own for every $m$: the loss has a single term (the paper's fixed feature, FF) |
# | **plain, prefix** | the first $m$ of the network that was trained at full size only (the paper calls it Rand. FS) |
# | **plain, random coordinates** | $m$ of its coordinates, sampled at random |
# | **plain, PCA** | its features rotated so that the directions of largest variance come first (principal component analysis) |
# | **slimmable** | one network trained jointly at 25, 50, 75 and 100 % of its width, hidden units included |
#
# Each is judged in three ways, always on images that nothing was trained on. **Linear accuracy**: fit a fresh linear classifier (a *linear probe*)
# on the $m$ numbers, and count its right answers. **1-NN accuracy** (nearest neighbor):
# does the nearest training image, by cosine, show the same digit? **mAP@10**: let the ten nearest come as search results; average
# precision is $\frac{1}{10}\sum_{i \le 10} P(i)\,\text{rel}_i$, where $\text{rel}_i$ is 1 if result $i$ has the right label and $P(i)$ is the share of right ones among the first $i$.
#
# One fifth of the images (a **fold**) is held out, five times over, so that every image is tested once; and all of it with three random seeds.
# Networks this small are trained dozens at a time: they are batched into the same matrix products, in which none sees another.

# %%
plan = NetworkConfig(dims=DIMS, width=64, hidden=64, epochs=4 if FAST else 30)
images = baselines.compare_baselines(digits, plan, SEEDS)
with pd.option_context("display.width", 160):
    for metric in ("linear", "1nn", "map@10"):
        display(report.table(DIMS, images, metric))
report.curves(
    DIMS,
    images,
    ["linear", "1nn", "map@10"],
    title=f"Digits: {len(digits.tested):,} images, 5 folds, {len(SEEDS)} seeds",
    low=0.25,
)

# %% [markdown]
# **What to see.** From 16 numbers on, the methods are nearly level: there was room to spare. To the left they part. Three lines lie on one another, and fall
# fastest: plain prefix, random coordinates, and the slimmable network. A plain network has no reason to order its coordinates, so its first are as good as any;
# and the narrowest slimmable network has 16, of which the first are again a plain prefix. PCA brings some order afterwards. MRL follows the networks that were trained
# for each size alone, except at the very smallest size by cosine: two numbers without their length are an angle, and sharing it costs.
# At the right end of linear accuracy PCA of the plain network is even a little ahead of all others. Above the figure the same in numbers, ± one standard deviation over seeds.
#
# ## The same on text, behind a transformer
# Digits are easy and small. So the same loss again where inputs are texts: the documents of pydocs, with the Python module that each
# comes from as its class. MiniLM, a small language model of the transformer kind, turns every document into 384 numbers; it stays as it is, and one
# linear layer from 384 to 128 numbers is trained behind it. `frozen` is MiniLM's own vector, cut without any training.
# The number of rounds over the training documents and the learning rate were chosen on the dev documents; what follows is test.

# %%
corpus = load_task("pydocs")
if FAST:
    corpus = corpus.smaller(500)
encoder = Encoder.load("all-MiniLM-L6-v2")
vectors = encoder.encode_layers(list(corpus.corpus.values()))[-1]  # (documents, 384), last layer
modules = baselines.from_corpus(corpus, vectors, "module")
TEXT_DIMS = (8, 16, 32, 64, 128)
text_plan = NetworkConfig(dims=TEXT_DIMS, width=128, hidden=0, epochs=3 if FAST else 20, lr=0.01)
print(
    f"{len(modules.rounds[0][0]):,} training and {len(modules.tested):,} test documents, {modules.labels.max() + 1} modules"
)

texts = baselines.compare_baselines(modules, text_plan, SEEDS, ("MRL", "MRL-E", "alone", "prefix", "pca"))
texts["frozen"] = baselines.measure(
    modules, torch.from_numpy(modules.x)[None].expand(len(SEEDS), -1, -1), TEXT_DIMS, len(SEEDS)
)
display(
    report.curves(
        TEXT_DIMS,
        texts,
        ["linear", "1nn", "map@10"],
        title=f"pydocs: module of {len(modules.tested):,} documents, {len(SEEDS)} seeds",
    )
)

# %% [markdown]
# **What to see.** MiniLM's own vector, cut without training, is lowest: training for the task helps every method. Of the trained ones a plain prefix is worst, as on the
# digits; PCA repairs nearly all of it, and from 16 numbers on is level with MRL; and MRL stays close to the layers trained for each size
# alone, a little below them. With so many modules, many of which talk about the same things, everything is lower. (The encoder has seen much documentation
# in its own training; the classes are new to it.)
#
# ## Luck, and intervals
# A small difference may be chance. A 95 % **interval** says how far it can be trusted: images and seeds are resampled again and again, with
# replacement, and the difference is computed each time (a *paired bootstrap*). One vector against a model for each size, on the digits, by the
# nearest neighbor; `low` and `high` are the ends of the interval:

# %%
report.gaps(DIMS, images["MRL"]["1nn"], images["alone"]["1nn"]).round(3)

# %% [markdown]
# **What to see.** At two numbers the whole interval lies below 0: sharing them costs. From four on the intervals lie close around 0, so what
# is lost, if anything, is less than a point. That is the rule of the [ledger](../LEDGER.md) too: *better* only where a whole interval lies
# above 0, *not worse* only where it lies above −0.01.
#
# ## Sizes in between
# The loss named six sizes. What about size 23? The next cell measures the 1-NN accuracy at *every* size from 1 to 64.

# %%
every = list(range(1, 65)) if not FAST else sorted({*range(2, 64, 3), *DIMS})
mrl = baselines.networks(digits, plan, np.ones(6), SEEDS)
fixed = baselines.networks(digits, plan, np.eye(6)[-1], SEEDS)
key = files.key("every size", digits.key(), str(plan), SEEDS, every)
walk = files.remembered("small-nets", key, lambda: {
    name: baselines.measure(digits, nets.features(digits.x), every, len(SEEDS), ["1nn"])["1nn"].mean((0, 2))
    for name, nets in (("MRL", mrl), ("prefix", fixed))})  # fmt: skip
alone = {"alone": images["alone"]["1nn"].mean((0, 2))}
report.every_size(every, walk, DIMS, alone, "1nn", "1-NN accuracy at every size")

# %% [markdown]
# **What to see.** The rings are the trained sizes, and the line of MRL does not dip between them. The features that serve size 16 are also part of sizes 17 to 32, so sizes
# between two trained ones lie between them in quality. The squares are the networks trained for one size alone. The plain network's prefix (dotted) needs more numbers for the same accuracy, until both are level.
#
# ## The vectors themselves
# Vectors of several sizes, to look at. **UMAP** draws points in two dimensions so that neighbors stay neighbors; *aligned* UMAP draws several versions of the same points and keeps
# them in place from one to the next. Move the slider: the sizes of the MRL vector, from two numbers to all of them.
# (The network of the first fold; four fifths of these images were in its training, so look at the shape, not at the score.)

# %%
one = mrl.pick([0]).features(digits.x)[0].numpy()
some = np.arange(0, len(one), 10 if FAST else 3)
shown_sizes = (2, 4, 64) if FAST else (2, 4, 8, 16, 64)
prefix_map = PrefixMap(
    one[some], [str(label) for label in digits.labels[some]], dims=shown_sizes, show=list("01345789")
)
display(prefix_map)

# %% [markdown]
# **What to see.** Two numbers, compared by cosine, are an angle, so the points lie along a bent line, pieces of a ring: the digits share it as well as they can. With four the groups
# come apart, and after that little changes. The curve beside the map counts what the eye guesses.
#
# ## The scaling-factor myth, and a real trap
# An article says that the values in a shorter embedding can differ from the longer one's "because of the scaling factor applied to each
# feature dimension". The factors $c_m$ are there, but look where they stand in the formula: before the *losses*. Features are never
# multiplied by them. What does change the numbers is the length: a prefix of a vector of length 1 is shorter than 1. And this is a trap.
#
# The panel shows what the trap costs in a real search, on MiniLM's own vectors of pydocs. Three ways, compared by dot product: cut then normalize (right),
# normalize then cut and forget to normalize again, and not to normalize at all. A fourth line takes the vectors that were normalized too early, but
# compares by distance.

# %%
asked = corpus.judged("dev")[: 60 if FAST else 200]
place = {d: i for i, d in enumerate(corpus.corpus)}
queries = encoder.encode_layers([corpus.queries[q] for q in asked], layers=[encoder.n_layers])[0]
trap = TruncationTrap(
    queries, np.asarray(vectors), [{place[d] for d in corpus.qrels[q]} for q in asked],
    [corpus.queries[q] for q in asked], list(corpus.corpus.values()), dim=16,
)  # fmt: skip
trap

# %% [markdown]
# **What to see.** With all dimensions nothing is cut, and all lines but one meet: without normalizing, long vectors win searches they should not, at every size. Further left the
# vectors that were normalized too early compare unfairly: a document with much of its length in front has an advantage in every search. Distances suffer less from it.
# On the right the lengths that are left after the cut.
#
# ## Importance weights, live
# So the $c_m$ act through training only. What do they do there? Move a slider: five networks, one a fold, are trained again from the
# same start, and all images are tested. The dashed line has all weights at 1. Weight 0 takes a size out of the loss.
# (Only ratios count here: the optimizer, Adam, divides by the size of the gradient.) Try this:
#
# 1. Press **Boost size 2**. What does it buy, what does it cost?
# 2. Press **All 1**, then set the weights of 4, 8, 16 and 32 to 0. Are the sizes in between really needed?

# %%
weights = ImportanceWeights(digits, NetworkConfig(dims=DIMS, width=64, hidden=64, epochs=3 if FAST else 20))
weights.train(c2=4.0)  # as the button does, so that the panel begins with a result
display(weights)

# %% [markdown]
# **What to see.** Left the accuracy of the own classifiers, right the percentage points gained or lost at each size against equal weights; the bars' whiskers are 95 % intervals over images. The one
# large bar is the size that was boosted. One seed is not evidence; E1 repeats it with three, and a weight of 16 buys no more there than 4.
#
# ## Exercises
# **1 · The nested loss** (easy, 10 minutes). With $z^{(m)}_{bk}$ the *logit* of item $b$ for class $k$ at size $m$ (the classifier's score before any softmax), and
# $y_b$ the right class, write
# $\sum_m c_m \cdot \frac{1}{B} \sum_b \big(\log \sum_k e^{z^{(m)}_{bk}} - z^{(m)}_{b,y_b}\big)$ with numpy. `logits`: a list with one array (B, C) for each size; `labels`: (B,) integers; `weights`: one number for each size.


# %%
def nested_loss(logits, labels, weights):
    raise NotImplementedError  # list of (B, C), (B,), list of floats -> one number


check.nested_loss(nested_loss)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def nested_loss(logits, labels, weights):
#     total = 0.0
#     for z, c in zip(logits, weights):
#         z = z - z.max(axis=1, keepdims=True)
#         log_sum = np.log(np.exp(z).sum(axis=1))
#         total += c * np.mean(log_sum - z[np.arange(len(z)), labels])
#     return total
#
#
# check.nested_loss(nested_loss)
# ```
#
# Subtracting the largest logit of a row changes nothing, since it cancels, and keeps the exponential finite.
# </details>
#
# **2 · Average precision** (medium, 10 minutes). Write AP@k as the MRL paper's code has it, $\frac{1}{k} \sum_{i=1}^{k} P(i)\,\text{rel}_i$.
# `hits`: array (k,) of 0 and 1, the nearest result first.


# %%
def average_precision(hits):
    raise NotImplementedError  # (k,) of 0 and 1 -> one number


check.average_precision(average_precision)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def average_precision(hits):
#     hits = np.asarray(hits, dtype=float)
#     precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
#     return float((precision * hits).sum() / len(hits))
#
#
# check.average_precision(average_precision)
# ```
#
# *P@10*, the share of right ones among ten, would ignore their order. The tools of information retrieval divide by the number of relevant items instead of k. Say which one you use.
# </details>
#
# **3 · How many numbers?** (easy, 5 minutes). Count the numbers in the classifiers of MRL (`tied=False`) and of MRL-E (`tied=True`): a
# classifier for $m$ features and $C$ classes has $m \cdot C$ weights and $C$ biases. `dims`: the sizes, increasing.


# %%
def classifier_parameters(dims, classes, tied):
    raise NotImplementedError  # tuple of sizes, number of classes, True or False -> a whole number


check.classifier_parameters(classifier_parameters)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def classifier_parameters(dims, classes, tied):
#     sizes = [dims[-1]] if tied else dims
#     return sum(m * classes + classes for m in sizes)
#
#
# check.classifier_parameters(classifier_parameters)
# ```
#
# $64 + 32 + 16 + 8 + \dots$ is just below $2 \cdot 64$: that is where "about half" comes from.
# </details>
#
# ## In this notebook we saw
# - the nested loss is a sum of ordinary losses on prefixes, and nothing else: no new layer, no scaling of features;
# - on digits one Matryoshka model does as well as a whole row of models trained for each size, except where the size is so small that sharing hurts; on texts it
#   stayed close, mostly a little below;
# - a difference counts where its whole interval lies on one side;
# - a plain model's coordinates have no order, PCA gives them one afterwards, and at larger sizes that is enough;
# - the sizes between the trained ones work, the weights $c_m$ shift quality toward a size, and every prefix has to be normalized *after* the cut.
#
# Mind the limits: digits are small and easy, the text part trains one layer, and three seeds show only coarse differences.
#
# ## Where to read on
# - A. Kusupati and others, *Matryoshka Representation Learning*, NeurIPS 2022, arXiv 2205.13147: the method, and its baselines in appendices C and D.
# - J. Yu and others, *Slimmable Neural Networks*, ICLR 2019, arXiv 1812.08928: one network at several widths.
# - O. Rippel, M. Gelbart, R. Adams, *Learning Ordered Representations with Nested Dropout*, ICML 2014, arXiv 1402.0915: the older idea of ordered coordinates.
# - S. Takeshita and others, arXiv 2508.17744 and 2605.16608: how far plain models can be cut without any of this.
#
# Next: notebook 02 lets every input choose its own size; 03 makes a text embedding Matryoshka.
