# %% [markdown]
# # 05 · What PCA and truncation really do
#
# Vectors can be made shorter without any training: keep the first coordinates, keep some at random, or rotate the space first and
# keep the directions of greatest variance, which is what PCA does. **You will**
#
# - learn what PCA keeps and what it throws away, and why *variance* is not *retrieval*;
# - look at the spectrum of every layer, and count how many directions it really uses;
# - compare PCA, prefix and random coordinates on a plain and on Matryoshka models, at every width;
# - test the "PCA" inside a published method's code against the real one;
# - fit PCA on few texts, and on texts of another kind;
# - store vectors in a byte or in a bit a coordinate, on top of cutting them, and see what a byte buys.
#
# You need notebook 00 (layers, dimensions, prefixes, nDCG@10) and matrix products. About four minutes on 2 cores the first time, most
# of it fine-tuning one model; under a minute after that.

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
import plotly
import plotly.graph_objects as go
import torch
from evidence import reduction_figures as pictures
from evidence.reduction_measures import cka, code_basis, participation_ratio, svd, variance_kept
from evidence.stores import Measured, Store, measure_stores, signs
from exercises import reduction as check

from mrl_tutorial import Encoder, InputError, embed_task, evaluate_grid, files, load_task, train
from mrl_tutorial.evaluation.reduction import Reduction, effective_rank, pca, plain, random_dims, spectrum
from mrl_tutorial.evaluation.statistics import compare, pareto
from mrl_tutorial.panels import plots
from mrl_tutorial.panels.spectrum_explorer import SpectrumExplorer

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs
SEEDS = 3
print(
    f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}, plotly {plotly.__version__}"
)

# %% [markdown]
# ## The vectors
# The task is pydocs again: given the first sentence of a docstring, find the rest of it. Everything below is measured on the *test*
# queries; the one choice that we make by looking at results is made on the *dev* queries. We encode all texts once, with all layers.
#
# Three words for later. The **mean vector** is the average of all document vectors. **Centering** subtracts it from every vector. The
# **variance** of a coordinate says how much it differs between texts; the variance of all vectors is the sum over coordinates.

# %%
task = load_task("pydocs")
if FAST:
    task = task.smaller(500)
encoder = Encoder.load("all-MiniLM-L6-v2")
DIMS, WIDTH, LAST = encoder.dims, encoder.width, encoder.n_layers


def embed(model):
    """The task's queries and documents of both splits, each (L, N, D)."""
    return {split: embed_task(task, model, split) for split in ("dev", "test")}


def last_layer(embedded, split="test"):
    return {part: x[-1:] for part, x in embedded[split].items()}  # (1, N, D)


vectors = {"plain": embed(encoder)}
base = last_layer(vectors["plain"])
documents = base["documents"][0]  # (N, D)
print(f"{len(task.judged('test')):,} test queries, {len(documents):,} documents of {WIDTH} coordinates")
share = np.linalg.norm(documents.mean(0)) ** 2 / (documents**2).sum(1).mean()
print(f"mean length {np.linalg.norm(documents, axis=1).mean():.2f}, length of the mean vector "
      f"{np.linalg.norm(documents.mean(0)):.2f}: {share:.0%} of the squared length")  # fmt: skip

# %% [markdown]
# ## What PCA is, and what it throws away
# **Principal component analysis** looks for the direction along which the centered vectors vary most, then for the direction of most
# variance at right angles to the first, and so on. These directions are the **components**. Keeping the first $k$ of these directions keeps more variance than any other $k$
# directions could: it is the best you can do if the vectors are to be *restored* as well as possible.
#
# A search does not restore vectors. It asks which document is nearest. Below are made-up "documents" in two dimensions: five topics
# that lie far apart from left to right, and in each topic a "yes" and a "no" document, a small step up or down. Each query asks for
# one of the ten.

# %%
rng = np.random.default_rng(0)
topics = np.repeat(np.linspace(-4, 4, 5), 2)  # (10,)
spots = np.stack([topics, np.tile([0.5, -0.5], 5)], 1)  # ten documents, (10, 2)
asked = np.repeat(np.arange(10), 30)
queries = spots[asked] + rng.normal(size=(300, 2)) * [0.6, 0.15]

directions = pca(queries).basis  # (2, 2), a direction a column
shares = pca(queries).explained
for name, d in [("first component", directions[:, :1]), ("second component", directions[:, 1:]), ("both", directions)]:
    nearest = np.linalg.norm((queries @ d)[:, None] - (spots @ d)[None], axis=-1).argmin(1)
    print(f"{name:>17}: {shares[: d.shape[1]].sum() if name != 'second component' else shares[1]:>4.0%} of the variance, "
          f"right topic {np.mean(nearest // 2 == asked // 2):.0%}, right document {np.mean(nearest == asked):.0%}")  # fmt: skip

figure = go.Figure(layout={**plots.style("Ten documents and what is asked of them"), "height": 340})
for half, name in enumerate(("asks for yes", "asks for no")):
    rows = asked % 2 == half
    figure.add_scatter(x=queries[rows, 0].round(2), y=queries[rows, 1].round(2), mode="markers", name=name,
                       marker={"color": plots.COLORS[half], "size": 6, "opacity": 0.6})  # fmt: skip
figure.add_scatter(
    x=spots[:, 0],
    y=spots[:, 1],
    mode="markers",
    name="documents",
    marker={"color": plots.INK, "size": 12, "symbol": "x"},
)
figure.update_yaxes(range=[-1.6, 1.6], title="second component")
figure.update_xaxes(title="first component")
figure

# %% [markdown]
# **What to see.** The first component holds nearly all the variance, and it finds the topic. But no query can tell "yes" from
# "no" along it: projected on the horizontal axis, each pair of documents falls on one point. The small second component decides which
# document is right. PCA throws away what varies *little*, not what matters little. How much these two have in common on real
# embeddings is a question for measurement.
#
# ## Spectrum and effective rank, layer by layer
# The variances along the principal components, largest first, are the **spectrum**. Divided by their sum they are shares $p_1, p_2,
# \ldots$ How many directions do the vectors really use? If all variance lay in $r$ equal shares, the answer would be $r$. Two ways to
# count when shares are not equal:
#
# $$\text{effective rank} = \exp\Big(-\sum_i p_i \ln p_i\Big), \qquad \text{participation ratio} = 1 \Big/ \sum_i p_i^2 .$$
#
# Both give $r$ for $r$ equal shares and 1 for a line; the second one is harder on small shares.

# %%
layers = vectors["plain"]["test"]["documents"]  # (L, N, D)
variances = spectrum(layers)  # (L, D)
ranks, counts = effective_rank(layers), participation_ratio(layers)
print(
    f"{'layer':>5} {'effective rank':>15} {'participation':>14} {'largest share':>14} {'components for 90 %':>20} {'mean vector':>12}"
)
for i in range(LAST):
    p = variances[i] / variances[i].sum()
    mean = np.linalg.norm(layers[i].mean(0)) ** 2 / (layers[i] ** 2).sum(1).mean()
    print(
        f"{i + 1:>5} {ranks[i]:>15.0f} {counts[i]:>14.0f} {p[0]:>14.1%} {np.searchsorted(p.cumsum(), 0.9) + 1:>20} {mean:>12.0%}"
    )
print(f"mean vector: its share of the squared length; of {WIDTH} directions")
pictures.spectra(
    {f"layer {i + 1}": variances[i] for i in range(LAST)}, title="Share of variance in the first components, by layer"
)

# %% [markdown]
# **What to see.** Up to layer 5 the curves lie close together: a few directions hold much of the variance, and the mean vector is most
# of every vector, so that any two texts look alike (the literature calls this *anisotropy*). The last layer is different: the model's own
# *contrastive* training, which pulls texts that belong together toward each other and pushes all others apart, has spread its variance over many more directions and shrunk the mean. A flat spectrum is bad news for PCA, which has
# little to choose from where all directions are equally important.
#
# ## PCA, prefix and random coordinates on the plain model
# Now the question that matters: which $k$ numbers find documents? Three ways to keep $k$ of 384:
#
# - **prefix**: the first $k$ coordinates. In a plain model their order means nothing;
# - **random coordinates**: $k$ sampled without replacement, the same for all texts (three samples);
# - **PCA**: the first $k$ principal components, fitted on the *documents*: no query and no judgment is used.
#
# A `Reduction` brings the vectors into an order in which the first $k$ columns are the reduction to $k$. So one evaluation with all
# prefixes measures all widths.


# %%
def quality(found: Reduction, parts):
    """nDCG@10 at all widths after a reduction, on the test queries; keeps each query's value."""
    return evaluate_grid(task, embeddings=found.apply_to(parts), split="test", dims=DIMS, cache=True)


def three_ways(parts):
    return {
        "PCA": [quality(pca(parts["documents"]), parts)],
        "prefix": [quality(plain(WIDTH), parts)],
        "random coordinates": [quality(random_dims(WIDTH, seed), parts) for seed in range(SEEDS)],
    }


def table(rows, width=34):
    print(" " * width + "".join(f"{d:>7}" for d in DIMS))
    for name, values in rows.items():
        print(f"{name:<{width}}" + "".join(f"{v:>7.3f}" for v in values))


def mean(grids):
    return np.mean([grid.values[0] for grid in grids], axis=0)


measured = {"plain": three_ways(base)}
table({way: mean(grids) for way, grids in measured["plain"].items()})
kept = pca(documents).explained.cumsum()
in_prefix = documents.var(0).cumsum() / documents.var(0).sum()
table({"variance kept by PCA": kept[np.array(DIMS) - 1], "variance kept by the prefix": in_prefix[np.array(DIMS) - 1]})
for dim in DIMS[2:6]:
    difference, low, high = compare(measured["plain"]["PCA"][0], measured["plain"]["prefix"][0], 1, dim)
    print(f"PCA - prefix at {dim:>3} dimensions: {difference:+.3f} [{low:+.3f}, {high:+.3f}]")
print("in brackets: 95 % paired bootstrap interval over the test queries")
by_way = {way: mean(grids) for way, grids in measured["plain"].items()}
pictures.ways({"plain all-MiniLM-L6-v2": by_way}, DIMS, title="Three ways to keep k numbers, no training")

# %% [markdown]
# **What to see.** At 64 dimensions PCA keeps several times the variance that the prefix keeps, and the retrieval is nearly the same.
# Even coordinates sampled at random are hardly worse. That is the toy picture at full size: variance is not retrieval. Where PCA does
# gain, in the middle widths, the gain is small. The order of a plain model's coordinates is arbitrary, so "prefix" and "random" are
# the same thing by another name, and they behave so. (The model's training data included documentation of code: it is no stranger
# to these texts.)
#
# ## The same on Matryoshka models
# **Matryoshka representation learning** (MRL, notebook 01) adds up the training loss of several prefixes, so the first coordinates learn
# to do the work alone: their order gets a meaning. Two such models, both trained with the package's ready-made recipe `mrl` (recipes: notebook 00):
#
# - **heads**: one matrix behind the frozen model, trained in seconds; three random seeds;
# - **full**: the whole model fine-tuned for 150 steps of 16 pairs. This takes a minute or two: we train *one* seed here, or load it when you run
#   the notebook again. One seed shows a picture and settles nothing; notebook 03 compares full training over three seeds.

# %%
heads = [train(encoder, task, "mrl", what="heads", seed=s, steps=10 if FAST else 150).encoder for s in range(SEEDS)]
budget = {"steps": 2, "batch_size": 16} if FAST else {"steps": 150, "batch_size": 16}  # small batches: 2 GB are enough
full = train(encoder, task, "mrl", what="full", seed=0, **budget).encoder

vectors["full"] = embed(full)
of_heads = [
    {split: {part: x[-1:].copy() for part, x in parts.items()} for split, parts in embed(model).items()}
    for model in heads
]
by_seed = [three_ways(embedded["test"]) for embedded in of_heads]
measured["heads"] = {way: [grid for one in by_seed for grid in one[way]] for way in by_seed[0]}
measured["full"] = three_ways(last_layer(vectors["full"]))

for model, ways in measured.items():
    print(
        {"plain": "plain", "heads": f"MRL heads, mean of {SEEDS} seeds", "full": "MRL, fully trained, one seed"}[model]
    )
    table({f"  {way}": mean(grids) for way, grids in ways.items()})
spread = np.std([one["PCA"][0].values[0] - one["prefix"][0].values[0] for one in by_seed], axis=0, ddof=1)
print(f"standard deviation of PCA - prefix over the {SEEDS} seeds of the heads: at most {spread.max():.3f}")
titles = {"plain": "plain", "heads": "MRL heads", "full": "MRL, full (one seed)"}
pictures.ways({titles[m]: {way: mean(g) for way, g in ways.items()} for m, ways in measured.items()}, DIMS)

# %% [markdown]
# **What to see.** With heads, the prefix leaves random coordinates behind at small widths: now the order means something. And yet PCA
# of the *trained* vectors is about level with the prefix at the smallest widths and better in the middle: it collects what MRL left in
# later coordinates. After full training all the curves are higher than the plain model's, but prefix and random are much closer to each other than one
# would expect of a Matryoshka model: in so few steps training improves *all* coordinates, more than it sorts them. There PCA even falls a little behind both at most widths; the next section finds out why. "Trained with
# MRL" and "ordered" are two things, and random coordinates are the control that tells them apart.
#
# ## Centering and renormalizing
# Two details change what PCA does to a search. **Centering**: textbook PCA subtracts the mean. A cosine after that compares other
# vectors than before; leave the mean on, and rotating the space changes no cosine at full width. (**SVD**, the singular value decomposition,
# writes a matrix as $U S V^{\top}$: $U$ and $V$ have columns of length 1 at right angles to each other, and $S$ is diagonal and holds the *singular values*, the
# largest first. The columns of $V$ are directions; for centered vectors they are those of PCA. SVD without centering is a third variant: its directions are the best for
# the vectors as they are, mean included.) **Renormalizing**: a cut vector has another length
# than before, and documents that lose more become shorter. A cosine divides by the length *after* cutting. Taking dot products
# of vectors that were normalized before cutting is something else. `cosine=False` shows what.


# %%
def not_renormalized(found, parts):
    unit = {part: x / np.linalg.norm(x, axis=-1, keepdims=True) for part, x in parts.items()}
    return evaluate_grid(task, embeddings=found.apply_to(unit), split="test", dims=DIMS, cosine=False, cache=True)


variants = {}
for name, parts in [("plain", base), ("MRL, full (one seed)", last_layer(vectors["full"]))]:
    x = parts["documents"]
    unit = x / np.linalg.norm(x, axis=-1, keepdims=True)
    cut = {
        "prefix": quality(plain(WIDTH), parts),
        "PCA": quality(pca(x), parts),
        "PCA, mean kept": quality(pca(x, center=False), parts),
        "SVD": quality(svd(x), parts),
        "prefix, dot, cut unit vectors": not_renormalized(plain(WIDTH), parts),
        "PCA mean kept, dot, cut unit vectors": not_renormalized(pca(unit, center=False), parts),
    }
    print(name)
    table({f"  {variant}": grid.values[0] for variant, grid in cut.items()}, 40)
    for dim in (8, 64, WIDTH):
        difference, low, high = compare(cut["PCA, mean kept"], cut["PCA"], 1, dim)
        print(f"  keeping the mean - taking it off, {dim:>3} dimensions: {difference:+.3f} [{low:+.3f}, {high:+.3f}]")
    variants[name] = {variant: grid.values[0] for variant, grid in cut.items()}
drawn = {name: {way: v for way, v in one.items() if way in pictures.LOOKS} for name, one in variants.items()}
pictures.ways(drawn, DIMS, title="The mean, kept or taken off")

# %% [markdown]
# **What to see.** At full width "PCA, mean kept" is exactly the prefix's number: a rotation changes nothing. Taking the mean off hardly
# matters for the plain model, whose mean vector is short; for the fine-tuned one it clearly costs at small widths, and a little even at full width (look at the intervals).
# Compare both on your own model: neither is always right. Not renormalizing (in the table only) costs much at small widths, for the prefix as for PCA, where
# the lengths of the cut vectors differ most. (The rescaling of dimensions that some articles speak of does not exist: renormalizing is all that
# happens to a prefix.)
#
# ## How many texts does PCA need?
# PCA is fitted. With $n$ texts there are at most $n - 1$ directions with any variance, and the late ones are noise. We fit on 50 texts up
# to all documents (three random samples each), and always test on the same queries and documents.

# %%
sizes = [50, 100, 400] if FAST else [50, 100, 200, 500, 1000, 2000]
fitted = {}
for n in sizes:
    subsets = [documents[np.random.default_rng(seed).choice(len(documents), n, replace=False)] for seed in range(SEEDS)]
    fitted[f"PCA of {n} texts"] = [quality(pca(x), base) for x in subsets]
fitted[f"PCA of all {len(documents):,}"] = measured["plain"]["PCA"]
fitted["prefix"] = measured["plain"]["prefix"]
table({name: mean(grids) for name, grids in fitted.items()})
spread = max(np.std([g.values[0] for g in grids], axis=0, ddof=1).max() for grids in fitted.values() if len(grids) > 1)
print(f"standard deviation over the {SEEDS} samples of texts: at most {spread:.3f}")
figure = plots.curves(
    DIMS, {name: mean(fitted[name]) for name in list(fitted)[:: 2 if not FAST else 1]}, title="PCA fitted on few texts"
)
figure

# %% [markdown]
# **What to see.** A curve goes flat where its directions end: 50 texts give 49 directions, and beyond those nothing can be added. At middle widths such a basis
# is even worse than simply keeping the prefix (its row is in the table above the figure). A few times as many texts as dimensions are enough; from there on more texts change little.
#
# ## ... and on texts of another kind?
# The basis is usually fitted once, on whatever texts are at hand. All samples here have the same size, so that only the *kind* of text
# differs: documents of one library alone, and, where `$MRL_DATA` holds them, sentence pairs of STS-B and abstracts on aerodynamics
# (Cranfield). The rows of those two need that folder.

# %%
packages = np.array(task.labels["package"])
names, counts_of = np.unique(packages, return_counts=True)
largest = names[counts_of.argmax()]
n = min(int(counts_of.max()), 400)


def subsets_of(x):
    return [x[np.random.default_rng(seed).choice(len(x), n, replace=False)] for seed in range(SEEDS)]


samples = {"all libraries": subsets_of(documents), f"only {largest}": subsets_of(documents[packages == largest])}
for other in ("stsbenchmark", "cranfield"):
    try:
        held = load_task(other)
    except InputError:
        print(f"{other} is not on this machine: set MRL_DATA to a folder that holds it")
        continue
    texts = list(held.corpus.values()) if held.kind == "retrieval" else list(held.splits["train"][0])
    chosen = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:n]]
    samples[other] = [encoder.encode_layers(chosen, layers=[LAST])[0]]

elsewhere = {f"PCA of {n} texts, {name}": [quality(pca(x), base) for x in subsets] for name, subsets in samples.items()}
elsewhere["prefix"] = measured["plain"]["prefix"]
table({name: mean(grids) for name, grids in elsewhere.items()}, 40)
for name, subsets in samples.items():
    x = np.concatenate([pca(y, center=False).apply(documents) for y in subsets[:1]])[:, :64]
    print(
        f"64 directions from {name:<14} keep {x.var(0).sum() / documents.var(0).sum():.0%} of the documents' variance"
    )

# %% [markdown]
# **What to see.** Directions fitted on other texts keep less of these documents' variance, and on texts of another kind much less. One library alone gives worse retrieval
# too. But general sentences (and abstracts), which keep the least variance, do *not* find less from 32 dimensions on: once more,
# variance is not retrieval. Only the smallest widths suffer. Try your basis on your own queries before you trust its variance.
#
# ## Which "PCA" is in the code?
# ESE, the second version of 2D Matryoshka training (notebook 04), pulls each prefix toward "PCA" of the full vector. Its public code
# (AnglE 0.6.1) computes, for a batch of vectors $X$ with a text a row,
#
# $$A = \text{softmax}\big(X^{\top} X / \sqrt{D}\big), \qquad A \approx U S V^{\top}, \qquad \text{target} = X\, U_k S_k .$$
#
# PCA would be: center $X$, and take the eigenvectors of $X^{\top} X$ as it is (the directions that this matrix only stretches; they are the columns of $V$ in the SVD of $X$). The softmax turns each row of that matrix into shares, and
# the columns are multiplied by the singular values $S$, which PCA does not do at all. What does each of the two change? We give all of them the same
# batch: training queries and their documents, as in training. Then we use each as a reduction for all texts: PCA; the code's $X U_k
# S_k$; the same with all vectors made five times as long, which changes nothing for PCA; and the code's *directions* alone, $X U_k$. Four measurements:
#
# - **variance kept**: how much of the documents' variance a linear map can restore from the $k$ columns, whatever their scale;
# - **first column**: its share of the variance of all $k$ columns;
# - **CKA**, *centered kernel alignment*: 1 if the reduced vectors have the same pattern of similarities as the full ones, 0 if none of it;
# - nDCG@10.

# %%
K = 128
train_parts = embed_task(task, encoder, "train")
pool, partner = train_parts["queries"][-1], {d: i for i, d in enumerate(task.corpus)}
own = np.array([partner[next(iter(task.qrels[q]))] for q in task.judged("train")])
del train_parts

batches = [16, 64] if FAST else [64, 512, 2048]
found: dict[str, list[dict[str, np.ndarray]]] = {}


def judge(name, reduction):
    """The four measurements of a reduction's first K columns; remembered for the next run."""

    def measure():
        y = reduction.apply(documents)[:, :K]
        variances = y.var(0)
        grid = evaluate_grid(task, embeddings=reduction.apply_to(base), dims=[K])
        return {
            "variance": variance_kept(documents, y),
            "first": variances[0] / variances.sum(),
            "cka": cka(documents, y),
            "ndcg": grid.at(1, K),
        }

    key = files.key("judge", *base.values(), task.qrels, task.splits, K, reduction.basis, reduction.mean)
    found.setdefault(name, []).append(files.remembered("reductions", key, measure))


for pairs in batches:
    for seed in range(3):
        rows = np.random.default_rng(seed).choice(len(pool), pairs, replace=False)
        batch = np.concatenate([pool[rows], documents[own[rows]]])  # (2 pairs, D): queries and their documents
        code = code_basis(batch)
        directions = Reduction(
            "directions", WIDTH, code.explained, basis=code.basis / np.linalg.norm(code.basis, axis=0)
        )
        longer = code_basis(5 * batch)
        ways = {"PCA": pca(batch), "the code's": code, "the code's, x 5": longer, "its directions": directions}
        for way, reduction in ways.items():
            judge(f"{way}, {2 * pairs} texts", reduction)
judge(f"prefix, {K}", plain(WIDTH))

print(
    f"{'at ' + str(K) + ' columns':<26}{'variance kept':>16}{'first column':>16}{'CKA':>16}{'nDCG@10':>16}   "
    "mean ± standard deviation over batches"
)
for name, rows in found.items():
    line = [[row[what] for row in rows] for what in ("variance", "first", "cka", "ndcg")]
    print(f"{name:<26}" + "".join(f"{np.mean(v):>8.3f} ± {np.std(v, ddof=1) if len(v) > 1 else 0:.3f}" for v in line))

# %% [markdown]
# **What to see.** At a usual batch size (64 pairs, the rows "128 texts") the code's columns find next to nothing, where PCA of the *same* batch comes close to the
# prefix of the same size and keeps nearly the full vectors' pattern of similarities (CKA). The reason is not the one we expected: the *directions* are about as good as PCA's. What breaks the result is $S$. One
# singular value is close to 1 and the others are close to 0 (before the softmax, all entries are close together, so each of its rows is nearly
# constant), and so the first column drowns all others. And the result depends on the size of the batch and on the length of the vectors: $X^{\top} X$ is a sum over texts, not
# a mean, so more texts, or longer vectors, mean a sharper softmax (the row "x 5" is far better, from the same batch); in the limit each row's share falls on one coordinate, $A$ approaches a
# permutation, and "PCA" picks coordinates. As a *target* in a loss this does less harm than as a reduction, since other terms train
# the same prefix. [Evidence E3](evidence/E3_2dmse.ipynb), R10, has the verdict.
#
# ## Fewer bits
# A vector can shrink in a second way: fewer bits a number. **int8** stores each coordinate as one of 255 steps, a byte in place of four.
# **Binary** keeps its sign only, one bit. Two binary vectors are compared by counting equal bits, which processors do very fast but which
# orders documents coarsely. Two remedies:
#
# - **rescoring**: the bits choose a shortlist (here the best 100), and int8 copies of those few settle its order. Every query reads all
#   the bits, but only 100 of the copies: *scanned* bytes stay small, *held* bytes do not;
# - **a float query**: only the documents are bits, the query keeps its floats. No more bytes, but no bit counting either.
#
# Do the two ways to shrink *stack*? We measure every type at every width, on the heads model (three seeds, values of each query averaged),
# and draw the same numbers against *bytes held*. The gray steps are the **Pareto front**: no other point has both fewer bytes and a better
# quality. It was chosen on the dev queries, the quality shown is that of the test queries.

# %%
KINDS = {
    "float32": ("float32", None),
    "int8": ("int8", None),
    "binary": ("binary", None),
    "binary, rescored by int8": ("binary", "int8"),
}
stores = [Store(d, kind, rescore) for kind, rescore in KINDS.values() for d in DIMS]


def all_stores(splits):
    """Every store's measure of each query, and of bits with a float query: way -> one Measured a width."""
    items = {}
    for split, parts in splits.items():
        bits = {"queries": parts["queries"], "documents": signs(parts["documents"])}
        asymmetric = evaluate_grid(task, embeddings=bits, split=split, dims=DIMS, cache=True).per_item[0]
        items[split] = [m.items for m in measure_stores(task, parts, stores, split=split, cache=True)] + list(
            asymmetric
        )
    return items


runs = [all_stores(embedded) for embedded in of_heads]
mean_items = {split: np.mean([run[split] for run in runs], axis=0) for split in ("dev", "test")}
every = stores + [Store(d, "binary") for d in DIMS]
options = [
    Measured(s, test, dev=float(dev.mean())) for s, test, dev in zip(every, mean_items["test"], mean_items["dev"])
]
M = len(DIMS)
by_kind = {name: options[i * M : (i + 1) * M] for i, name in enumerate([*KINDS, "binary, float query"])}
table({name: [m.value for m in row] for name, row in by_kind.items()})
print(f"heads: nDCG@10 on test, mean of {SEEDS} seeds; dimensions across")

best = pareto([m.held for m in options], [m.dev for m in options])
front = [m for m in (options[i] for i in best) if m.held >= 4]
points = {name: [(m.held, m.value, str(m.store.dim)) for m in row if m.held >= 4] for name, row in by_kind.items()}
name_of = {id(m): name for name, row in by_kind.items() for m in row}
for m in front:
    print(f"{m.held:>5} bytes held, {m.scanned:>5} scanned: {m.value:.3f}  {name_of[id(m)]}, {m.store.dim} dimensions")
pictures.front(
    points,
    [(m.held, m.value) for m in front],
    title="Quality against bytes held (labels: dimensions)",
    x="bytes held a vector (log scale)",
)

# %% [markdown]
# **What to see.** In the table int8 costs next to nothing at every width. Bits alone lose much, the more the fewer there are, and rescoring gives most of it back,
# and with many bits nearly all: a shortlist can only be settled if the right document is on it.
# In the figure float32 is on the front at its very end only,
# where the whole float vector gains about a thousandth over int8: floats cost four times as much for nearly the same quality.
# At small budgets the
# front belongs to *bits of many coordinates*, not to bytes of few: with a given number of bytes, a coarse look at all directions beats
# an exact look at some. So first take away bits, then dimensions.
#
# ## Slide
# The panel holds every layer of two models. On the left is the spectrum, in the middle how much variance PCA and the prefix keep, and on
# the right what retrieval makes of it (dev queries). Drag along a chart, or click a slider and use the arrow keys:
#
# 1. On layer 6, find a dimension at which PCA keeps five times the prefix's variance and finds hardly more.
# 2. Go down to layer 5. The variance is in fewer directions. Is PCA better there?
# 3. Switch to the trained model. What happened to the effective rank of the last layer, and to the gap between prefix and random?

# %%
explorer = SpectrumExplorer(
    task,
    {"plain": vectors["plain"]["dev"], "MRL, full (one seed)": vectors["full"]["dev"]},
    max_queries=60 if FAST else 300,
)
display(explorer)

# %% [markdown]
# **What to see.** The vertical line marks the same number of dimensions in all three plots. In the middle plot the ways lie far apart, in the
# right one close together: that distance is the difference between restoring vectors and finding documents.
#
# ## Exercises
# **1 · PCA by SVD** (5 minutes). The singular value decomposition of a matrix, `u, s, vh = np.linalg.svd(a, full_matrices=False)`, gives
# directions at right angles to each other as the rows of `vh`, those of the largest squares first. Write PCA in three lines:
#
# $$Z = X - \bar{x}, \qquad Z = U S V^{\top}, \qquad \text{PCA}_k(X) = Z V_k .$$


# %%
def pca_by_svd(x, k):
    raise NotImplementedError  # x: (N, D) -> (N, k)


check.pca_by_svd(pca_by_svd)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def pca_by_svd(x, k):
#     centered = x - x.mean(0)
#     u, s, vh = np.linalg.svd(centered, full_matrices=False)
#     return centered @ vh[:k].T
#
#
# check.pca_by_svd(pca_by_svd)
# ```
#
# `u[:, :k] * s[:k]` is the same matrix.
# </details>
#
# **2 · Center or not?** (10 minutes). A search wants to compare centered vectors. Which mean belongs to a query? Write
# `center(queries, documents)`: take one mean off both sides and bring every vector to length 1. A query must get the same vector
# whether it comes alone or with others.


# %%
def center(queries, documents):
    raise NotImplementedError  # (Q, D), (N, D) -> (Q, D), (N, D)


check.center(center)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def center(queries, documents):
#     mean = documents.mean(0)
#     sides = [x - mean for x in (queries, documents)]
#     return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in sides)
#
#
# check.center(center)
# ```
#
# The mean is part of the index: store it with the basis.
# </details>
#
# **3 · Bits, then floats** (15 minutes). Write `search(query, documents, depth, k)`: count for every document the coordinates whose sign
# agrees with the query's (above 0 or not), keep the `depth` best (equal counts in the order of rows), sort these by cosine, and return the row
# numbers of the `k` best.


# %%
def search(query, documents, depth, k):
    raise NotImplementedError  # query: (D,), documents: (N, D) -> (k,) row numbers


check.binary_search(search)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def search(query, documents, depth, k):
#     agree = ((documents > 0) == (query > 0)).sum(1)
#     short = np.argsort(-agree, kind="stable")[:depth]
#     cosine = documents[short] @ query / np.linalg.norm(documents[short], axis=1)
#     return short[np.argsort(-cosine)[:k]]
#
#
# check.binary_search(search)
# ```
#
# The query's own length is the same for all documents, so it can be left out.
# </details>
#
# **4 · Which of these is PCA?** (20 minutes). A colleague hands you vectors and five outputs, each with 8 columns: one is PCA's, the others
# claim to be. Write `which(x, candidates)` that finds it without running PCA yourself. Use what principal components must have: mean 0,
# no correlation between columns ($\text{cov}_{ij} = 0$ for $i \neq j$), and falling variances.


# %%
def which(x, candidates):
    raise NotImplementedError  # x: (N, D), candidates: five (N, 8) -> the number of PCA's, from 0


check.which_is_pca(which)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def which(x, candidates):
#     for number, y in enumerate(candidates):
#         cov = np.cov(y.T)
#         variances = np.diag(cov)
#         centered = np.abs(y.mean(0)).max() < 1e-3
#         uncorrelated = np.abs(cov - np.diag(variances)).max() < 1e-3 * variances.max()
#         falling = variances[0] > 1.01 * variances[-1] and (np.diff(variances) <= 1e-6).all()
#         if centered and uncorrelated and falling:
#             return number
#
#
# check.which_is_pca(which)
# ```
#
# Among the others were SVD without centering, random coordinates, whitened components (all scaled to the same variance) and the public code's "PCA". Try your function
# on `code_basis(x).apply(x)`.
# </details>
#
# ## In this notebook we saw
# - PCA keeps the most variance, and variance is not retrieval: on a plain model it gains little over a prefix that keeps a fraction of it;
# - contrastive training has spread the last layer's variance over many directions, and there is little for PCA to choose from;
# - on Matryoshka vectors PCA still finds something to collect, and random coordinates tell how much of the gain is *order*;
# - PCA wants some times as many texts as dimensions; which texts, and whether to keep the mean, is decided by measuring;
# - the "PCA" in the public code of ESE is not PCA;
# - at a fixed number of bytes, take bits away first, dimensions second ([evidence E5](evidence/E5_controls.ipynb), C2, has the intervals).
#
# ## Where to read on
# - S. Takeshita et al., *To MRL or not to MRL* (arXiv 2605.16608), and *Randomly Removing 50% of Dimensions in Text Embeddings has Minimal Impact on Retrieval and Classification Tasks* (arXiv 2508.17744)
# - S. Wang et al., *2D Matryoshka Training for Information Retrieval* (arXiv 2411.17299), and X. Li et al., *2D Matryoshka Sentence Embeddings* (arXiv 2402.14776), whose second version is ESE
# - S. Kornblith et al., *Similarity of Neural Network Representations Revisited* (arXiv 1905.00414): CKA
# - K. Ethayarajh, *How Contextual are Contextualized Word Representations?* (arXiv 1909.00512): anisotropy by layer
# - O. Roy and M. Vetterli, *The effective rank* (EUSIPCO 2007)
