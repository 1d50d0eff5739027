# %% [markdown]
# # 03 · Making a text embedding Matryoshka
#
# You have an embedding model that works, and its vectors are too long for your index. **You will**
#
# - build the loss that trains such models, *InfoNCE with in-batch negatives*, by hand on four pairs, and then use the
#   package's;
# - turn an existing model into a Matryoshka one in three ways at the same training budget;
# - read *penalty curves*: what a shorter vector costs in search, in classification and in similarity of sentences;
# - see how Matryoshka training compares with simply cutting a plain model, and with PCA;
# - save the result, load it again, and use it from sentence-transformers.
#
# You need notebook 00 (what a prefix, nDCG@10 and a recipe are). About four minutes on 2 cores the first time, less
# than one the second.

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
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from evidence.curve_figures import SHARE, difference_lines, side_by_side
from evidence.published_grids import table
from evidence.widths import kept, smallest_width
from exercises import text_embeddings as check

from mrl_tutorial import Batch, Encoder, InputError, embed_task, evaluate_grid, load_task, train
from mrl_tutorial.evaluation.reduction import pca, random_dims
from mrl_tutorial.evaluation.statistics import Difference, paired
from mrl_tutorial.losses.contrastive import contrastive
from mrl_tutorial.models.export import export
from mrl_tutorial.panels import plots

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs
print(f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}")
print(f"{torch.get_num_threads()} threads")

# %% [markdown]
# ## Primer: two texts, two vectors, one number
# A **bi-encoder** reads the query and the document *separately*: the same network turns each into a vector, and the
# cosine of the two says how well they fit. So all documents can be encoded once, long before anybody asks. Our task is
# the one of notebook 00: the first sentence of a docstring is the query, the rest of the docstring its document.
#
# ## In-batch negatives, by hand
# We know which document belongs to which query. What is a *wrong* document for a query? The cheap and clever answer:
# the documents of the **other** queries in the same batch. They are already encoded, so they cost nothing. Four pairs
# give a table of 4 × 4 cosines $s_{ij}$, the right ones on the diagonal. The loss asks every row to pick its diagonal,
# like a classifier with four classes:
#
# $$\ell = -\frac1B \sum_i \log \frac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ij}/\tau}}.$$
#
# The **temperature** $\tau$ (0.05 here) makes small differences between cosines count. This loss is known as *InfoNCE*.
#
# The next cell loads the task and the model, prints four pairs, and then computes their cosines, the shares
# $e^{s_{ij}/\tau} / \sum_j e^{s_{ij}/\tau}$ and the loss.

# %%
task = load_task("pydocs")
if FAST:
    task = task.smaller(500)
encoder = Encoder.load("all-MiniLM-L6-v2")
print(task)
print(encoder)

queries, documents = task.pairs("train")
four = slice(40, 44)  # neighbors in the corpus, so that they are about similar things
for query, document in zip(queries[four], documents[four]):
    print(f"\nquery     {query[:100]}\ndocument  {' '.join(document.split())[:100]} …")

q = encoder.encode(queries[four])  # (4, 384), rows of length 1
d = encoder.encode(documents[four])  # (4, 384)
cosines = q @ d.T  # (4, 4)
shares = np.exp(cosines / 0.05)
shares /= shares.sum(axis=1, keepdims=True)  # each row sums to 1
by_hand = -np.log(np.diag(shares)).mean()

names = [f"document {j}" for j in range(1, 5)]
print("\ncosines:")
print(pd.DataFrame(cosines, [f"query {i}" for i in range(1, 5)], names).round(2).to_string())
print("\nshare of each document, per query:")
print(pd.DataFrame(shares, [f"query {i}" for i in range(1, 5)], names).round(3).to_string())
print(f"\nthe loss by hand: {by_hand:.6f}")

batch = Batch(
    torch.from_numpy(q)[None], torch.from_numpy(d)[None], layers=[6], temperature=0.05
)  # (layers, pairs, dimensions)
packaged = float(contrastive(batch, layers=[6], dims=[384])[0, 0])
print(f"the package's contrastive loss: {packaged:.6f}")
assert abs(packaged - by_hand) < 1e-4

# %% [markdown]
# **What to see.** Each row of shares adds up to 1, like the probabilities of a classifier. Where a row leaves much of its
# share beside the diagonal, the query also likes a neighbor's document: these are neighbors in one library, and their
# texts are alike. The package, which computes the same for any layers and dimensions at once, agrees.
#
# The number of wrong documents is the batch size minus one. The next cell first tries the same model, not trained
# further yet, on larger and larger batches.
#
# ## A prefix, and a loss on every prefix
# A **prefix** of a vector is its first $d$ numbers; nothing is computed anew. The Matryoshka loss is the same InfoNCE
# once for every prefix size, each prefix brought to length 1 by itself, all added up. One forward pass, many losses:
# the second half of the next cell computes them for 64 pairs.

# %%
some = 64 if FAST else 256
more_q, more_d = (torch.from_numpy(encoder.encode(texts[:some]))[None] for texts in (queries, documents))
for size in (4, 16, 64, 256)[: 3 if FAST else 4]:
    parts = [Batch(more_q[:, i : i + size], more_d[:, i : i + size], layers=[6]) for i in range(0, some, size)]
    loss = np.mean([float(contrastive(part, [6], [384])) for part in parts])
    print(f"batches of {size:>3}: loss {loss:.3f}")

dims = encoder.dims
batch = Batch(more_q[:, :64], more_d[:, :64], layers=[6])  # 64 pairs
by_prefix = contrastive(batch, [6], dims)[0]  # (7,)
print("\nd        " + "".join(f"{d:>8}" for d in dims))
print("InfoNCE  " + "".join(f"{x:>8.3f}" for x in by_prefix.tolist()))
print(f"the recipe full-size minimizes the last number; the recipe mrl the sum, {float(by_prefix.sum()):.3f}")

# %% [markdown]
# **What to see.** First the batches: the larger the batch, the larger the loss. Then the prefixes, of the first
# 64 pairs, which are harder than the average: from 256 numbers down, the shorter the prefix, the larger the loss. In a
# plain model nobody asked the first numbers to carry the meaning. The recipe `mrl` asks.
#
# **Quick check.** Why does the loss grow with the batch, though model and pairs are the same?
#
# - **a** more pairs have to be right at once
# - **b** every query is told apart from more wrong documents
# - **c** the temperature acts more strongly

# %%
answer = "?"

check.quiz_batch(answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# answer = "b"
#
# check.quiz_batch(answer)
# ```
# </details>
#
# **Quick check.** Your index holds the first 64 numbers of every document. A query comes in. What do you do with its
# vector?
#
# - **a** average its 384 numbers down to 64
# - **b** keep all 384, the more the better
# - **c** keep its first 64, and bring them to length 1

# %%
answer = "?"

check.quiz_prefix(answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# answer = "c"
#
# check.quiz_prefix(answer)
# ```
# </details>
#
# ## Three ways at the same budget
# We start from `all-MiniLM-L6-v2`, a finished model, and have 50 steps of 64 pairs to spend. All the weights of the
# network are trained (*full fine-tuning*; only the table of token embeddings stays).
#
# | baseline | steps 1 to 25 | steps 26 to 50 | the question |
# |---|---|---|---|
# | **fixed** | full-size | full-size | what does the task itself bring, without Matryoshka? |
# | **mrl** | mrl | mrl | Matryoshka from the first step |
# | **fixed then mrl** | full-size | mrl | is it enough to convert a model that was trained as usual? |
#
# The baselines were trained ahead of time with several seeds, by the command that the next cell prints, and every
# number of this kind below is **loaded** from `data/results/baselines.csv`; the next cell lists what it holds
# ("separate 32" and "separate 128" come further down; 77 dimensions are a fifth of 384). Titles and
# tables say "loaded" or "live", which is what runs here and now.
#
# **Fifty steps are few.** More would still help every baseline, so what follows shows how to compare, and which way the nested loss
# pulls; it does not say which way is best in the end ([evidence E4](evidence/E4_low_cost.ipynb) says what would).
#
# Below the figure, the cell puts bounds on the differences: the test queries are resampled again and again with
# replacement (a *bootstrap*), and the brackets hold 95 % of what comes out.

# %%
baselines, pairs = table("baselines"), table("baselines_paired")
for name in ("command", "training", "versions", "threads", "processor"):
    print(f"{name:<10} {baselines.attrs.get(name, '')}")
SEEDS = {name: len(set(rows.seed)) for name, rows in baselines.groupby("baseline", sort=False)}
print("seeds     ", ", ".join(f"{name} {n}" for name, n in SEEDS.items()))


def loaded(name, where="pydocs", reduction="prefix"):
    """Mean over seeds by dimension, a Series; empty where the file has none."""
    rows = baselines[(baselines.baseline == name) & (baselines.task == where) & (baselines.reduction == reduction)]
    return rows.groupby("dim").value.mean()


def difference(a, b, where="pydocs", how_a="prefix", how_b="prefix"):
    """a - b by dimension: {dimension: Difference}, seeds averaged, bounds over the test items."""
    rows = pairs[
        (pairs.a == a)
        & (pairs.b == b)
        & (pairs.task == where)
        & (pairs.reduction_a == how_a)
        & (pairs.reduction_b == how_b)
    ]
    return {int(r.dim): Difference(r["mean"], r.low, r.high, r.spread) for _, r in rows.iterrows()}


DIMS = sorted(loaded("plain").index)
three = {name: loaded(name) for name in ("plain", "fixed", "mrl", "fixed then mrl") if len(loaded(name))}
display(
    plots.curves(
        DIMS,
        {name: v.to_numpy() for name, v in three.items()},
        title="Three ways at equal budget (loaded; pydocs, test queries)",
    )
)

for a, b in [("mrl", "fixed"), ("fixed then mrl", "mrl"), ("fixed", "plain")]:
    print(f"{a} minus {b}")
    for d, x in difference(a, b).items():
        said = "better" if x.better else "worse" if x.high < 0 else "no clear difference"
        print(f"   {d:>3} dimensions: {x}  spread over seeds {x.spread:.3f}  {said}")

# %% [markdown]
# **What to see.** Look at the right end first: is the baseline that had only the full width to train ahead? It did not
# have to share its steps with short prefixes. Then go left and look where the lines cross. Last, the bounds: a difference
# counts as better or worse only where its brackets lie on one side of 0.
#
# ## Live: heads, and a short full training
# Full fine-tuning moves every weight. The cheap alternative trains only a **head**: one 384 × 384 matrix behind the
# frozen network. The texts are encoded once, after that a step costs milliseconds. We train two recipes with three
# seeds each, here and now.
#
# The next cell trains them, and ends with a short training of *all* weights, live: small batches, so that it stays
# within the memory of a small machine.

# %%
plain_parts = embed_task(task, encoder, "test", layers=[6])  # {"queries", "documents"}: (1, N, 384)
steps = 20 if FAST else 150
began, live = time.perf_counter(), {}
for recipe in ("full-size", "mrl"):
    for seed in range(3):
        live[recipe, seed] = train(encoder, task, recipe, what="heads", steps=steps, batch_size=64, seed=seed)
print(
    f"6 heads of {steps} steps: {sum(r.seconds for r in live.values()):.0f} s of training, "
    f"{time.perf_counter() - began:.0f} s with encoding"
)


def measure(model, parts=plain_parts, widths=tuple(DIMS)):
    """nDCG@10 of every test query at every width, from the last layer's plain embeddings: a Grid."""
    parts = parts if model is None else {part: model.heads.apply_to(x, [6]) for part, x in parts.items()}
    return evaluate_grid(task, embeddings=parts, split="test", layers=[1], dims=widths)


plain = measure(None)
heads = {key: measure(result.encoder) for key, result in live.items()}
headed = {
    recipe: np.stack([heads[recipe, seed].per_item[0] for seed in range(3)]) for recipe in ("full-size", "mrl")
}  # (3, M, queries)
print(
    f"\n{'dims':>5} {'plain':>7} {'head, full-size':>16} {'head, mrl':>10} {'all weights, mrl (loaded)':>27}"
    "   head mrl - plain"
)
for j, d in enumerate(DIMS):
    x = paired(headed["mrl"][:, j], plain.per_item[0, j])
    both = f"{headed['full-size'][:, j].mean():>16.3f} {headed['mrl'][:, j].mean():>10.3f}"
    print(f"{d:>5} {plain.values[0, j]:>7.3f} {both} {loaded('mrl').get(d, np.nan):>27.3f}   {x}")

few = 3 if FAST else 40
short = train(encoder, task, "mrl", what="full", steps=few, batch_size=16, seed=0)
print(f"\nall weights, live: {few} steps of 16 pairs in {short.seconds:.0f} s, {short.seconds / few:.2f} s a step; "
      f"loss {np.mean(short.history[:5]):.2f} at the start, {np.mean(short.history[-5:]):.2f} at the end")  # fmt: skip
some_queries = 60 if FAST else 300
small_task = task if FAST else task.smaller(2000)
before, after = (
    evaluate_grid(small_task, model, layers=[6], max_queries=some_queries) for model in (encoder, short.encoder)
)
for d in dims:
    print(f"{d:>5} dimensions: {before.at(6, d):.3f} -> {after.at(6, d):.3f}")
print(f"on {some_queries} queries and {len(small_task.corpus):,} documents; one seed: a look, not evidence")

# %% [markdown]
# **What to see.** Heads trained with `full-size` say nothing about short prefixes: nobody pushed on them. Heads trained
# with `mrl` move information to the front. How much of what full fine-tuning wins at short widths they win is in the
# table; they do it in seconds and with one matrix to store. The last lines: a few small steps of all weights, too, lift the
# short widths most. (With FAST=1 the task is cut down, and the loaded column
# does not compare.)
#
# ## Penalty curves
# How much of its quality does a model keep at a shorter width? The **penalty curve** divides by the model's own full
# width. We look at three kinds of use: *search* (pydocs), *classification* (which library does a docstring belong to;
# which of 77 things does a bank's customer want), and *sentence similarity* (STS-B: does the cosine order pairs as
# people do).
#
# Classification follows the protocol of MTEB: 8 labeled texts a class, a logistic regression on the frozen vectors (at
# most 100 iterations), all test texts classified; ten samples of the labeled texts, averaged. Each prefix is brought to
# length 1 first, because the regression's penalty sees the scale.
#
# The next cell draws the curves, loaded, and prints the numbers behind them. Then comes the classification again,
# **live**, on the vectors that this notebook has already computed (the documents of the search task, now with their
# library as the label), and STS-B where its files are on this machine (`$MRL_DATA`).

# %%
TITLES = {
    "pydocs": "search (pydocs)",
    "pydocs:package": "15 libraries",
    "banking77": "77 intents (Banking77)",
    "stsbenchmark": "similarity (STS-B)",
}
have = {where: title for where, title in TITLES.items() if len(loaded("plain", where)) and len(loaded("mrl", where))}
panels = {
    title: {name: kept(loaded(baseline, where).to_numpy()) for where, name in have.items()}
    for title, baseline in [("plain model, cut", "plain"), ("all weights trained with mrl, cut", "mrl")]
}
display(side_by_side(DIMS, panels, y=SHARE, title="What is kept when the vector is cut (loaded)"))

print(f"{'':<30}" + "".join(f"{d:>7}" for d in DIMS))
for baseline in ("plain", "mrl"):
    for where, name in have.items():
        print(f"{baseline:<6}{name:<24}" + "".join(f"{v:>7.3f}" for v in loaded(baseline, where).to_numpy()))


def classify(model, level="package", widths=(8, 32, 64, 128, 384)):
    """Accuracy under MTEB's protocol from the vectors at hand; pydocs' documents with labels of a level."""
    labeled = load_task(f"pydocs:{level}")
    row = {text: i for i, text in enumerate(task.corpus.values())}
    splits = {}
    for split in ("train", "test"):
        texts, labels = labeled.splits[split]
        keep = [i for i, text in enumerate(texts) if text in row]
        splits[split] = ([texts[i] for i in keep], labels[keep])
    smaller = type(labeled)(labeled.name, labeled.origin, splits, labeled.classes)
    raw = plain_parts["documents"] if model is None else model.heads.apply_to(plain_parts["documents"], [6])
    parts = {split: raw[:, [row[text] for text in texts]] for split, (texts, _) in splits.items()}
    return evaluate_grid(
        smaller, embeddings=parts, split="test", layers=[1], dims=widths, n_experiments=2 if FAST else 10
    )


print("\nclassification, live:")
for name, model in [("plain", None), ("head, mrl, seed 0", live["mrl", 0].encoder)]:
    grid = classify(model)
    print(
        f"{name:<18} "
        + "  ".join(f"{d} dims {v:.3f} ({k:.0%})" for d, v, k in zip(grid.dims, grid.values[0], kept(grid.values[0])))
    )

try:
    sts = load_task("stsbenchmark")
    for name, model in [("plain", encoder), ("head, mrl, seed 0", live["mrl", 0].encoder)]:
        grid = evaluate_grid(sts, model, layers=[6], dims=(8, 32, 64, 128, 384))
        print(
            f"{name:<18} " + "  ".join(f"{d} dims {v:.3f}" for d, v in zip(grid.dims, grid.values[0])),
            " (STS-B, Spearman)",
        )
except InputError:
    print("STS-B is not on this machine: set MRL_DATA to a folder that has it")

# %% [markdown]
# **What to see.** The lines lie far apart. Ordering pairs of sentences by similarity survives very short prefixes;
# finding one document among thousands does not; and the two classifications need not agree with each other. So a
# price measured on one kind of task says little about another. And beware: a curve can also look better because the
# model is *worse at full width*: in the table, mrl keeps a larger share than plain on Banking77 at 16 and 32
# dimensions, and yet its accuracy is lower there.
#
# **Quick check.** Model A keeps 98 % at 64 dimensions, model B 93 %. What follows?
#
# - **a** nothing yet: B may still be the better model at 64 dimensions
# - **b** A is the better model at 64 dimensions
# - **c** A is faster

# %%
answer = "?"

check.quiz_penalty(answer)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# answer = "a"
#
# check.quiz_penalty(answer)
# ```
# </details>
#
# ## The smallest width under a budget
# What is the smallest width at which search costs at most 0.01, 0.03 or 0.1 of nDCG@10, against the model's own full width? Take the
# lower 95 % bound of the difference, not its mean, and let every wider width pass as well. You will write that rule yourself in exercise 3.

# %%
j_full = DIMS.index(384)
for name, items in [("plain", plain.per_item[:1]), ("head, mrl", headed["mrl"])]:
    costs = {d: paired(items[:, j], items[:, j_full]) for j, d in enumerate(DIMS)}
    for budget in (0.01, 0.03, 0.1):
        width = smallest_width(costs, budget)
        print(f"{name:<10} at most {budget:.2f} nDCG@10 less than its own full width: {width} dimensions")

# %% [markdown]
# ## Do we need Matryoshka training at all?
# A fair comparison has more than one baseline. Without any special training we can also make a vector shorter by
#
# - **random-k**: keep $k$ random coordinates, the same for every text. If that is as good as the prefix, the order
#   means nothing;
# - **PCA-k**: *principal component analysis* finds the directions in which the training texts' vectors differ most;
#   keep the first $k$ (notebook 05 looks into it);
# - a **bespoke** model (the baselines "separate 32" and "separate 128"), trained for exactly one width: the strongest
#   rival where one width is enough for ever.
#
# And PCA can be put on top of a Matryoshka model. The next cell compares prefix, random-k and PCA-k,
# first live, on the plain model; then it draws the differences between the trained baselines, loaded.

# %%
train_vectors = encoder.encode_layers([*queries, *documents], layers=[6])[0] if FAST else None
if train_vectors is None:  # the corpus holds the training documents too: no text is encoded twice
    row = {text: i for i, text in enumerate(task.corpus.values())}
    train_vectors = plain_parts["documents"][0][[row[text] for text in documents]]
train_vectors = train_vectors / np.linalg.norm(train_vectors, axis=1, keepdims=True)
unit = {part: x / np.linalg.norm(x, axis=-1, keepdims=True) for part, x in plain_parts.items()}

ways = {"prefix": plain}
for name, reduction in [("random-k", random_dims(384, 0)), ("PCA-k", pca(train_vectors))]:
    ways[name] = evaluate_grid(task, embeddings=reduction.apply_to(unit), split="test", layers=[1], dims=DIMS)
print("plain model, live: " + "".join(f"{d:>8}" for d in DIMS))
for name, grid in ways.items():
    print(f"{name:<19}" + "".join(f"{v:>8.3f}" for v in grid.values[0]))

lines = {
    "mrl - fixed, prefix": difference("mrl", "fixed"),
    "mrl - fixed, PCA-k": difference("mrl", "fixed", how_b="pca"),
    "PCA on mrl - mrl": difference("mrl", "mrl", how_a="pca"),
}
for width in (32, 128):
    found = difference(f"separate {width}", "mrl")
    if found:
        lines[f"bespoke {width} - mrl"] = found
difference_lines(
    {k: v for k, v in lines.items() if v},
    dim=77,
    title="Who gains, at which width (loaded; pydocs, test; dotted: 80 % cut off)",
)

# %% [markdown]
# **What to see.** Compare the three rows of the table. In a plain model no coordinate is special, so random ones should
# do as well as the first ones. And PCA need not gain much: it keeps the directions along which texts *differ* most,
# which need not be those that help a search.
#
# In the figure: above the gray band the first-named is better, below it worse; inside, the difference is too small to
# care about. Right of the dotted line at most 80 % of the vector is cut off.
#
# "To MRL or not to MRL" (S. Takeshita and others, arXiv 2605.16608) asked this of six encoders: plain models cut by up to 80 % keep up,
# and MRL pays beyond. Where do the lines cross here?
#
# ## What did it cost?
# The budget of every baseline above is 50 steps of 64 pairs. A clock on the wall also counts
# what other programs on the machine took, so we read the *processor time* of a process that does nothing but train: on
# one core with nothing else to do, that is the time it takes.

# %%
cost = baselines[
    baselines.baseline.isin(["fixed", "mrl", "fixed then mrl", "separate 32", "separate 128"])
].drop_duplicates(["baseline", "seed"])
cost = cost.reindex(columns=["baseline", "seed", "seconds", "cpu_seconds", "peak_gb"])
print(cost.to_string(index=False))
processor, peak = cost.cpu_seconds.dropna() / 60, cost.peak_gb.dropna()
head_seconds = np.mean([r.seconds for r in live.values()])
print(f"\n{processor.mean():.1f} minutes of one core on average, peak memory {peak.max():.2f} GB")
print(f"live, in this notebook: {short.seconds / few:.2f} s a step of 16 pairs; a head {head_seconds:.1f} s")

# %% [markdown]
# **What to see.** A couple of minutes and three gigabytes for 50 steps of all weights, on one core. How many steps it takes until nothing is
# gained any more decides what it really costs; a head costs seconds.
#
# ## Save, load again, and use it elsewhere
# `Encoder.save` writes everything, heads too; `Encoder.load` gives back exactly the same vectors. For use *without*
# this course there is `export` (on the command line `mrl-tutorial export`): a plain sentence-transformers folder, the
# head stored as one of its layers. There, `truncate_dim` cuts. But it cuts *after* the stored normalization, so ask for
# `normalize_embeddings=True`, or the lengths are no longer 1.

# %%
model = live["mrl", 0].encoder
texts = [task.queries[q] for q in task.judged("test")[:20]]
with tempfile.TemporaryDirectory() as folder:
    model.save(Path(folder) / "saved")
    again = Encoder.load(Path(folder) / "saved")
    same = np.array_equal(again.encode(texts, precision="fp32"), model.encode(texts, precision="fp32"))
    print("saved and loaded: the same vectors, bit for bit:", same)

    export(model, Path(folder) / "exported")
    from sentence_transformers import SentenceTransformer

    other = SentenceTransformer(str(Path(folder) / "exported"), truncate_dim=64, device="cpu")
    theirs = other.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    ours = model.encode(texts, dim=64, precision="fp32")
    print(
        f"sentence-transformers, truncate_dim=64: {theirs.shape}, largest difference {np.abs(theirs - ours).max():.1e}"
    )
    assert np.abs(theirs - ours).max() < 1e-5

    uneven = other.encode(texts, show_progress_bar=False)
    lengths = np.linalg.norm(uneven, axis=1)
    print(f"without normalize_embeddings the lengths lie between {lengths.min():.2f} and {lengths.max():.2f}")

# %% [markdown]
# ## Exercises
# **1 · The loss by hand** (10 minutes). Write `info_nce(queries, documents, temperature)` for raw vectors of shape (B,
# d), row $i$ of the documents being right for query $i$: bring all rows to length 1, then
# $\ell = -\frac1B \sum_i \log \big( e^{s_{ii}/\tau} / \sum_j e^{s_{ij}/\tau} \big)$.


# %%
def info_nce(queries, documents, temperature):
    raise NotImplementedError  # (B, d), (B, d) -> one number


check.info_nce(info_nce)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def info_nce(queries, documents, temperature):
#     q = queries / np.linalg.norm(queries, axis=1, keepdims=True)
#     d = documents / np.linalg.norm(documents, axis=1, keepdims=True)
#     scores = q @ d.T / temperature
#     return np.mean(np.log(np.exp(scores).sum(axis=1)) - np.diag(scores))
#
#
# check.info_nce(info_nce)
# ```
#
# $-\log(e^{a}/b) = \log b - a$: no need to form the shares. With a small temperature subtract the largest score of a
# row before the exponential, or it may overflow.
# </details>
#
# **2 · False negatives** (10 minutes). In-batch negatives assume that the other queries' documents are wrong. Often one
# is right: then the loss pushes a good answer away. `right` is a list with the *set* of right documents of each pair in
# the batch. Return all $(i, j)$, $i \ne j$, for which query $i$ and pair $j$ share a right document.


# %%
def false_negatives(right):
    raise NotImplementedError  # [{"a"}, {"b", "c"}, {"c"}] -> [(1, 2), (2, 1)]


check.false_negatives(false_negatives)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def false_negatives(right):
#     found = []
#     for i, mine in enumerate(right):
#         for j, yours in enumerate(right):
#             if i != j and mine & yours:
#                 found.append((i, j))
#     return found
#
#
# check.false_negatives(false_negatives)
# ```
#
# `&` of two sets is what they share; an empty set counts as false. The course's training never puts the same text twice
# in a batch, but it cannot know of two *different* documents that both answer.
# </details>
#
# **3 · The smallest width under a quality budget** (15 minutes). `quality[d]` is the measured quality, `low[d]` the
# lower 95 % bound of (quality at d − quality at full width). Return the smallest width such that it, **and every wider
# one**, costs at most `margin`: the bound is at least `-margin`. If even the widest fails, return `None`.


# %%
def choose_width(quality, low, margin):
    raise NotImplementedError  # {d: number}, {d: number}, number -> d or None


check.choose_width(choose_width)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def choose_width(quality, low, margin):
#     chosen = None
#     for d in sorted(quality, reverse=True):
#         if low[d] < -margin:
#             break
#         chosen = d
#     return chosen
#
#
# check.choose_width(choose_width)
# ```
#
# The bound, not the mean: with few queries the mean may look fine by luck. `smallest_width` in `notebooks/evidence/widths.py` does
# the same; the cell on the smallest width asked it of the live heads.
# </details>
#
# ## In this notebook we saw
# - in-batch negatives make a classifier out of a batch: every query picks its own document among all of them;
# - the Matryoshka loss is that loss once for every prefix; it can be added to a finished model, by a head in seconds or
#   in all weights in minutes;
# - what a shorter vector costs depends on the task: to keep 95 %, search and the 15 libraries ask for more numbers
#   than the 77 intents or similarity do;
# - prefixes of a plain model are, from 16 numbers on, no better than random coordinates, and PCA changes little:
#   training decides what comes first;
# - the result leaves the course as a plain sentence-transformers folder.
#
# Keep in mind: the starting model was trained on a billion pairs, documentation of code among them, so pydocs is not
# new to it.
#
# ## Where to read on
# - M. Boruń, P. Wojciechowski, P. Zalewski, *Low-cost Matryoshka Embeddings for NLP* (2024): the questions L1 to L3 of evidence E4.
# - S. Takeshita et al., *To MRL or not to MRL* (arXiv 2605.16608): the controlled comparison behind C1.
# - A. Kusupati et al., *Matryoshka Representation Learning* (arXiv 2205.13147): where it began; appendix C has the
#   contrastive form.
# - A. van den Oord, Y. Li, O. Vinyals, *Representation Learning with Contrastive Predictive Coding* (arXiv 1807.03748):
#   InfoNCE.
# - N. Reimers, I. Gurevych, *Sentence-BERT* (arXiv 1908.10084): bi-encoders. N. Muennighoff et al., *MTEB* (arXiv
#   2210.07316): the classification protocol.
