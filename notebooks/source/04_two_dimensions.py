# %% [markdown]
# # 04 · Two dimensions: layers × widths
#
# Notebooks 01 and 03 made an embedding good at every *width*. Here training pushes on the *layers* as well: one model that can
# be stopped early **and** cut short. **You will**
#
# - learn what a KL divergence is, and why its direction matters;
# - take the published losses apart (2DMSE versions 1 and 2, Starbucks) and see where on the grid each term pushes, and how
#   hard;
# - look at where on the grid each method gains, and why a fair comparison needs enough training;
# - break training on purpose in four ways, and learn to recognize each by its signature;
# - find out, as a detective, where papers, libraries and code disagree.
#
# You need notebook 00 and one course in machine learning: what a loss, a gradient and a softmax are. From notebook 00 we take
# three words. A **cell** $(l, d)$ is the embedding after layer $l$, cut to its first $d$ coordinates. **pydocs** is a search
# task made from the documentation of Python libraries. The **plain** model is the one we start from, before any training of
# ours.
#
# On 2 cores the notebook takes about three minutes, and about one when you run it again. What took longer was trained
# beforehand and comes as files; the text says which cells measure **live** and which read **from file**. What papers claim about
# these methods is put to the test in [evidence E3](evidence/E3_2dmse.ipynb).

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
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import torch
import transformers
from evidence.published_grids import published, published_grid, stacks, sweep_rows
from evidence.tiles import tiles
from exercises import two_dimensions as check
from scipy.stats import spearmanr

from mrl_tutorial import Batch, Encoder, Recipe, TermExplorer, evaluate_grid, get_recipe, load_task, train
from mrl_tutorial.losses.alignment import code_pca, principal_axes
from mrl_tutorial.panels import plots
from mrl_tutorial.recipes.anatomy import dissect, recipe_parts
from mrl_tutorial.recipes.layer_weights import LAYER_WEIGHTS

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs
STEPS, ASKED = (8, 60) if FAST else (60, 300)  # of the live trainings: steps, and queries that they are measured on
print(f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}")

task = load_task("pydocs")
if FAST:
    task = task.smaller(500)
encoder = Encoder.load("all-MiniLM-L6-v2")
LAYERS, DIMS = range(1, 7), encoder.dims
print(task)


def tiled(tables, **options):
    """Tables on our own grid as tiles."""
    return tiles({name: (table, LAYERS, DIMS) for name, table in tables.items()}, **options)


# %% [markdown]
# ## Primer: KL divergence and its direction
# A layer below the last should learn from the last. Two vectors can be compared by their distance; the published losses compare
# two *distributions* instead, made from vectors by a softmax. How far a **student** distribution $q$ is from a **teacher** $p$
# is measured by the **Kullback-Leibler divergence**:
#
# $$\mathrm{KL}(p \,\|\, q) = \sum_i p_i \log \frac{p_i}{q_i} \;\ge 0, \qquad \text{and } 0 \text{ only if } q = p.$$
#
# The outcomes $i$ are weighted by $p$. So in general $\mathrm{KL}(p\,\|\,q) \ne \mathrm{KL}(q\,\|\,p)$, and which of the two we
# minimize decides what the student learns. The teacher below has two peaks: two documents answer the query. The student can
# only have one bump, as a small model may. We try many bumps and keep the best one for each direction.

# %%
x = np.arange(20)
bump = lambda center, width: (lambda e: e / e.sum())(np.exp(-0.5 * ((x - center) / width) ** 2))  # noqa: E731
kl = lambda p, q: float((p * np.log(p / q)).sum())  # noqa: E731

teacher = 0.55 * bump(5, 1.2) + 0.45 * bump(14, 1.2)
students = {(c, s): bump(c, s) + 1e-9 for c in range(20) for s in np.arange(1.0, 8, 0.25)}
covering = students[min(students, key=lambda k: kl(teacher, students[k]))]  # the teacher's peaks are what counts
seeking = students[min(students, key=lambda k: kl(students[k], teacher))]  # the student's own peak is what counts

figure = go.Figure([go.Bar(x=x, y=teacher, name="teacher p", marker_color="#C8C8C8")])
for name, q, color in (
    ("least KL(p ‖ q)", covering, plots.COLORS[0]),
    ("least KL(q ‖ p)", seeking, plots.COLORS[1]),
):
    figure.add_scatter(x=x, y=q, name=name, mode="lines", line={"color": color, "width": 4})
    print(f"{name}: KL(p ‖ q) = {kl(teacher, q):.2f}, KL(q ‖ p) = {kl(q, teacher):.2f}")
figure.update_layout(
    **plots.style("The best student with one bump, by the direction of KL"),
    height=340,
    xaxis_title="outcome",
    yaxis_title="probability",
)

# %% [markdown]
# **What to see.** $\mathrm{KL}(p\,\|\,q)$ (blue) punishes a student that gives *no* probability where the teacher has some: the
# student spreads out and covers both peaks. $\mathrm{KL}(q\,\|\,p)$ (orange) punishes a student for being where the teacher is
# not: it picks one peak and forgets the other. All 2D losses in this notebook use
# $\mathrm{KL}(\text{teacher}\,\|\,\text{student})$, the covering one.
#
# *Quick check:* in torch, `F.kl_div(a, b)` takes the logarithm of one distribution first. Whose?
# <details><summary>Answer</summary>The student's: <code>F.kl_div(log q, p)</code> adds up to KL(p ‖ q). Swapping the two raises
# no error and trains something else.</details>
#
# **Exercise 1 · The direction of KL** (5 minutes). Write `kl_divergence(p, q)` with teacher $p$ and student $q$, both NumPy
# arrays of shape (N,). It returns one number. Where $p_i = 0$ an outcome adds nothing.


# %%
def kl_divergence(p, q):
    raise NotImplementedError  # p, q: (N,) -> one number


check.kl(kl_divergence)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def kl_divergence(p, q):
#     there = p > 0
#     return float((p[there] * np.log(p[there] / q[there])).sum())
#
#
# check.kl(kl_divergence)
# ```
# </details>
#
# ## The loss, taken apart
# All methods of this notebook are sums of four kinds of terms. Each can be asked for in any cell (layer $l$, dimension $d$):
#
# | term | in words |
# |---|---|
# | **contrastive** | a query should be more similar to its own document than to the batch's others (cross-entropy over the batch) |
# | **kl-features** | softmax over a vector's *own coordinates*; the same text's last-layer vector, cut alike, is the teacher |
# | **kl-scores** | softmax over a query's *scores with the documents*; the full model's scores are the teacher |
# | **align** | squared distance plus KL over features to the text's principal components (notebook 05 explains these) |
#
# A teacher is normally **detached**: the gradient stops there, and only the student moves. If it is **attached**, it moves too.
#
# And the recipes, where $L$ is the last layer and $D$ the full width:
#
# - **full-size**: contrastive at $(L, D)$ only. This is ordinary fine-tuning.
# - **separate:l,d**: a model cut to its first $l$ layers, with contrastive at $(l, d)$ only.
# - **MRL**: contrastive at $(L, d)$ for every $d$.
# - **2DMSE version 1** (`2dmse-v1`; two-dimensional Matryoshka sentence embeddings): each step samples one layer $n < L$ and one
#   $d < D$: contrastive at $(L,D), (n,D), (L,d), (n,d)$, and kl-features at $(n,D)$ and $(n,d)$.
# - **2DMSE version 2**, also called **ESE** (`ese`): contrastive and align at *every* layer, at one width $k = 128$; layer
#   $l < L$ weighted by $1/(1+\ln l)$.
# - **Starbucks**: a fixed staircase of cells, (1, 16), (2, 32), (3, 64) and so on up to (6, 384), with contrastive and
#   kl-scores in each.
# - **all cells** (ours): contrastive everywhere, every step.
#
# Now **live**: 64 pairs of pydocs, each a query and its document, as one batch. For each cell of each term we compute the loss
# by itself, and its *gradient*: the direction in which the loss rises fastest if the embeddings move. Training moves them the
# opposite way; the gradient's length says how hard it pushes.
#
# Then come whole recipes. Does a second term push in the same direction as the first, or against it? The
# **agreement** is the cosine between the two gradients: 1 the same way, 0 unrelated, −1 opposed. A dot stands where
# one of the two does not push.

# %%
queries, documents = task.pairs("train")
chosen = np.random.default_rng(0).choice(len(queries), 64, replace=False)
vectors = torch.from_numpy(
    np.array(encoder.encode_layers([queries[i] for i in chosen] + [documents[i] for i in chosen]))
)  # (6, 128, 384)
anatomy = dissect(Batch(vectors[:, :64], vectors[:, 64:]))

print(f"{'':>24}{'loss at':>18}{'length of its gradient at':>32}")
print(f"{'term':>24}{'(3, 128)':>12}{'(6, 128)':>12}{'(3, 128)':>14}{'(6, 128)':>12}")
for t, term in enumerate(anatomy.terms):
    value, push = anatomy.values[t][:, 4], anatomy.cell_gradients(term)[:, 4]
    print(f"{term:>24}{value[2]:>12.3f}{value[5]:>12.3f}{push[2]:>14.4f}{push[5]:>12.4f}")

everywhere = np.ones((6, 7))
pushes = {
    term: np.log10(np.maximum(anatomy.gradient({term: everywhere}), 1e-4))
    for term in ("contrastive", "kl-scores", "kl-features", "align")
}
tiled(
    pushes,
    bar="log10 of gradient",
    title="Each term alone, in all cells: where it pushes (−1 is a tenth)",
    limits=(-4, 1.3),
).show()

names = ["mrl", "2dmse-v1", "ese", "starbucks"]
pushed = {}
for name in names:
    parts = recipe_parts(get_recipe(name, 6, 384), anatomy)
    pushed[name] = np.log10(np.maximum(anatomy.gradient(parts), 1e-4))
    lengths = {term: float(np.sqrt((anatomy.gradient({term: grid}) ** 2).sum())) for term, grid in parts.items()}
    print(f"{name:>10}: " + ", ".join(f"{term} {length:.3f}" for term, length in lengths.items()), end="")
    if len(parts) == 2:
        (one, a), (other, b) = parts.items()
        agree = anatomy.agreement({one: a}, {other: b})
        print("; agreement by layer " + " ".join("  . " if np.isnan(v) else f"{v:+.2f}" for v in agree), end="")
    print()
tiled(pushed, bar="log10 of gradient", title="Whole recipes: where they push", limits=(-4, 1.3))

# %% [markdown]
# **What to see.** First, *each term alone*. A column here is the block of coordinates that a dimension adds: 1 to 8,
# 9 to 16, and so on. Each step of 1 on the color bar is a factor of ten. The first coordinates are pushed hardest,
# because they are part of *every* prefix. Darkest means no push at all: in kl-features the last layer is the teacher
# and rests; in kl-scores the teacher is the full model, and the last block of coordinates of the last layer belongs
# to no student.
#
# Two of the four terms hardly push. In the printed cell (3, 128), kl-features is several hundred times shorter than the
# contrastive term, and align more than a hundred times, on the same batch and with the same weight. For kl-features the reason
# is that a softmax over many *small* coordinates is nearly flat for teacher and student alike, so there is little to learn
# from. The *scores* are divided by 0.05 before their softmax. This number is the **temperature**: the smaller it is, the
# sharper the softmax. A term that hardly pushes cannot help much, whatever it is called.
#
# Then the *whole recipes*. MRL touches the last layer only. Version 1 touches everything; the figure shows its
# average over all samples, and a single step reaches only one layer below the last. Version 2 stops at 128 coordinates:
# nobody trains the rest. Starbucks is a staircase. Its two terms agree to a large part, probably because the full
# model's scores are already nearly right: imitating them and telling right from wrong is then almost the same lesson.
# The second terms of both versions of 2DMSE are nearly unrelated to their first one, and far too short to matter.
#
# ## Slide
# The panel holds the same batch. Choose a **recipe**, change how strongly each term counts, weigh the **layers** differently,
# and pick a cell to read out. Try this:
#
# 1. 2dmse-v1: take *contrastive* down to × 0. What is left of the gradient? Then raise *kl-features* to × 100.
# 2. Set kl-features to × 0 and *kl-features, attached* to × 100. Which layer is now pushed that was not before?
# 3. all-cells with layer weights *log*, $1/(1+\ln l)$, then *linear*, $l/L$. Which layers gain?

# %%
explorer = TermExplorer(anatomy)
display(explorer)

# %% [markdown]
# **What to see.** On the left are the weights of the recipe, in the middle what they make of the loss, and on the right where
# the gradient lands, in each layer and block of coordinates. The frame is the cell that the table below reads out. The
# panel opens on version 1. It adds up six terms a step, so the weights sum to 6. A cell below the last layer and short
# of full width is sampled with probability 1/5 × 1/6 = 1/30; its contrastive term and its kl-features make 2/30 = .067.
#
# **Exercise 2 · One step of 2DMSE** (15 minutes). Write `one_step(layer, dim, n_layers, dims)`: the weight grids of one step of
# version 1 that drew `layer` and `dim`. Return `{"main": grid, "kl-features": grid}`; "main" is the contrastive term. Each grid
# has shape (n_layers, len(dims)): the first row is layer 1, and the columns follow `dims`, which ends with the full width. The
# recipe stands in the list above: a weight is 1 where it has a term, and 0 elsewhere.


# %%
def one_step(layer, dim, n_layers, dims):
    raise NotImplementedError  # -> {"main": (n_layers, len(dims)), "kl-features": (n_layers, len(dims))}


check.v1_step(one_step)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def one_step(layer, dim, n_layers, dims):
#     main, kl = np.zeros((n_layers, len(dims))), np.zeros((n_layers, len(dims)))
#     for d in (list(dims).index(dim), len(dims) - 1):
#         main[layer - 1, d] = main[-1, d] = 1
#         kl[layer - 1, d] = 1
#     return {"main": main, "kl-features": kl}
#
#
# check.v1_step(one_step)
# ```
#
# Layer 1 is row 0. Take care: a public code base counts the embedding table as row 0, as we shall see.
# </details>
#
# ## How much each layer counts
#
# A recipe may weigh the layers below the last; the last always counts 1. Version 2 takes the *logarithmic* weight
# $w_l = 1/(1+\ln l)$. Others are *uniform* (1), *inverse* ($1/l$), *linear* ($l/L$) and *exponential* ($2^{l-L}$). One paper says
# of the logarithmic weight that it lets higher layers contribute more. Before you run the cell: does it?

# %%
weights = {name: LAYER_WEIGHTS[name](12) for name in ("uniform", "log", "inverse", "linear", "exponential")}
figure = go.Figure([go.Scatter(x=np.arange(1, 13), y=w, name=name, mode="lines+markers", line={"width": 3, "color": c})
                    for (name, w), c in zip(weights.items(), plots.COLORS)])  # fmt: skip
figure.update_layout(
    **plots.style("Layer weights for a model of 12 layers"), height=360, xaxis_title="layer", yaxis_title="weight"
)
figure

# %% [markdown]
# **What to see.** Log and inverse fall from the first layer to the last but one; linear and exponential rise. Only the
# last layer, which counts 1 in any case, stands out. The sentence has it backwards.
#
# And what does a training step in two dimensions cost? Hardly more than a plain one: all layers come out of the forward pass that
# the last one needs anyway, all widths share one product of scores, and the loss itself is a tiny share of the step. (E3
# measures it.) Only separate models are expensive, as each needs a training of its own.
#
# ## Where the gains land
# Claims about layers need **full** training, in which the whole model learns, and that takes long on 2 cores. So this part reads
# **from file**: five recipes, the same 50 batches of 64 pairs in the same order for each, three seeds, test queries of pydocs,
# scored by nDCG@10 as in notebook 00. The first lines of the file hold the command that made it.
#
# A word of warning first. **Fifty steps are a look, not a result.** A model counts as trained when more steps no longer help it on
# dev queries, and these would still gain. What can be seen is *where* each recipe pushes quality, not which is best in the end. A
# comparison also needs its controls: the plain model, and the plain model with every layer *whitened* (the explorer of notebook 00
# has it), which lifts the early layers without any training.

# %%
rows, header = sweep_rows("pydocs-full")
print("\n".join(f"{key}: {header[key]}" for key in ("command", "steps", "batch size", "lr", "precision", "versions")))
here = stacks(rows, "pydocs")
shown = [n for n in ("plain", "full-size", "mrl", "2dmse-v1", "ese", "starbucks") if n in here]
for layer, dim in ((6, 384), (6, 32), (3, 384), (3, 128), (1, 16)):
    print(f"({layer}, {dim:>3})  " + "   ".join(f"{n} {here[n].at(layer, dim).mean():.3f}" for n in shown))
tiled({n: here[n].mean for n in shown}, bar="nDCG@10", title="pydocs, test, after 50 steps (mean over seeds)")

# %% [markdown]
# **What to see.** Plain, full-size and MRL are good in the top row only: what nobody asks of a layer, it does not give. Each 2D
# recipe lifts the rows below. Version 2 (ese) is best at the 128 coordinates that it trains: in layers 1 to 4 that column beats
# even the wider ones. Starbucks lifts layers 4 and 5 most. The price stands in the top right cell: full-size training is best
# there, and every recipe that shares its steps among several cells ends below it.
#
# The hardest rival of all of them is not in the picture: a model cut to $l$ layers and trained for the one cell $(l, d)$. If you need
# one size only, that is what you would do.
#
# ## Switches, and one of them worth knowing
# "2D Matryoshka Training for Information Retrieval" (S. Wang and others, arXiv 2411.17299) starts from a base recipe (every layer at
# 128 dimensions with the log weight, and the full model) and adds one switch at a time: **full-dim** trains each layer at full width
# as well, **+dims** at more widths than 128, and **fixed document** always takes documents from the last layer, and only the query
# from a lower one. **From file** again, 30 steps, each against the base in the same seed.

# %%
switches = stacks(sweep_rows("pydocs-switches-all")[0], "pydocs")
base = "retrieval-2dmse"
moved = {
    n.removeprefix(base + "+"): switches[n].minus(switches[base]).mean for n in switches if n.startswith(base + "+")
}
tiled(moved, bar="difference", title="Each switch minus the base recipe, pydocs nDCG@10", difference=True)

# %% [markdown]
# **What to see.** *full-dim* helps at 256 and 384 dimensions; *+dims* helps a little at the short widths and costs
# something from 64 on. The largest effect is the *fixed document*: at 256 and 384 dimensions an early query finds far more among
# documents of the last layer, and at short widths far less. Documents are encoded once, long before anybody asks, so a full-depth
# document costs a query nothing: this is the way to use early layers in a search. ([Evidence E5](evidence/E5_controls.ipynb), W2, has it
# without any training, with intervals.)
#
# ## Break it on purpose
# Four ways to spoil training, **live**, each with its signature, beside a healthy run. We use shared heads, so that each run is
# short (a preview, not evidence about layers):
#
# - **one width**: only 32 dimensions are trained;
# - **one layer**: layer 1 counts ten thousand times as much as each of the others;
# - **not converging**: a sharp kl-features (temperature 0.02) with a huge weight, the teacher attached, and a large learning
#   rate. Teacher and student chase each other;
# - **overfitting**: 64 training pairs, many steps, a large learning rate.

# %%
few = replace(task, splits={**task.splits, "train": task.splits["train"][:64]})
main = np.ones((6, 7))
width_only, layer_only, students = np.zeros((6, 7)), np.full((6, 7), 0.01), main.copy()
width_only[:, 2], layer_only[0], students[-1] = 1, 100, 0
sharp = {"kl-features": {"temperature": 0.02, "detach": False}}
runs = {
    "healthy": (task, Recipe("healthy", {"main": main}), {}),
    "one width": (task, Recipe("one width", {"main": width_only}), {}),
    "one layer": (task, Recipe("one layer", {"main": layer_only}), {}),
    "not converging": (
        task,
        Recipe("not converging", {"main": main, "kl-features": 1000 * students}, options=sharp),
        {"lr": 0.03},
    ),
    "overfitting": (few, Recipe("overfitting", {"main": main}), {"lr": 0.01, "steps": 3 * STEPS}),
}
before = evaluate_grid(task, encoder, split="dev", max_queries=ASKED, cache=True).values
history, on_train, on_dev = {}, {}, {}
for name, (data, recipe, options) in runs.items():
    result = train(encoder, data, recipe, heads="shared", **{"steps": STEPS, "batch_size": 64, **options})
    history[name] = np.array(result.history)
    on_dev[name] = evaluate_grid(data, result.encoder, split="dev", max_queries=ASKED, cache=True).values
    on_train[name] = evaluate_grid(data, result.encoder, split="train", max_queries=min(ASKED, 100), cache=True).values
    fell = history[name][-len(history[name]) // 4 :].mean() / history[name][: len(history[name]) // 4].mean()
    print(
        f"{name:<15} loss, last quarter / first {fell:5.2f};  mean nDCG@10 on train {on_train[name].mean():.3f}, "
        f"on dev {on_dev[name].mean():.3f}, on dev before {before.mean():.3f}"
    )

figure = go.Figure(
    [
        go.Scatter(y=h / h[0], x=np.linspace(0, 1, len(h)), name=n, mode="lines", line={"width": 3, "color": c})
        for (n, h), c in zip(history.items(), plots.COLORS)
    ]
)
figure.update_layout(
    **plots.style("Training loss, first step = 1"),
    height=330,
    xaxis_title="share of the training",
    yaxis_title="loss (log)",
    yaxis_type="log",
)
figure.show()
tiled(
    {n: g - before for n, g in on_dev.items()},
    bar="difference",
    title="Dev quality minus the plain model's",
    difference=True,
    columns=5,
)

# %% [markdown]
# **What to see.** Look first at the loss: only one run does not fall. Then compare the quality on train with that on dev, in
# the printed lines: only in one run are they far apart. Then look at *where* the gain lies: in a column (one width) or in a row
# (one layer). Neighbors profit too, because prefixes are nested and the layers share their head.
#
# **Exercise 3 · Recognize the signature** (15 minutes). Write `diagnose(history, train, dev, before)`: the loss of each step,
# shape (S,), and the quality on train, on dev, and on dev before training, shape (L, M) each. Return `"not converging"`,
# `"overfitting"`, `"one width"`, `"one layer"` or `"healthy"`. The check brings five made-up runs, whose signatures are clearer
# than the live ones: no neighbor profits there. The thresholds are yours to choose.


# %%
def diagnose(history, train, dev, before):
    raise NotImplementedError  # (S,), (L, M), (L, M), (L, M) -> one of the five names


check.diagnose(diagnose)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def diagnose(history, train, dev, before):
#     quarter = len(history) // 4
#     if history[-quarter:].mean() >= history[:quarter].mean():
#         return "not converging"
#     if train.mean() - dev.mean() > 0.2:
#         return "overfitting"
#     gain = dev - before
#     for name, means in (("one width", gain.mean(0)), ("one layer", gain.mean(1))):
#         first, second = sorted(means)[-1], sorted(means)[-2]
#         if first > 0.05 and first > 3 * second:
#             return name
#     return "healthy"
#
#
# check.diagnose(diagnose)
# ```
#
# The order matters: a run that does not converge has no quality worth comparing. Try it on the live runs above, too: neighbors
# profit there, so a factor of 3 may be too strict. Which factor would you take, and which run would it then mistake?
# </details>
#
# ## The published grids, beside ours
# "2D Matryoshka Training for Information Retrieval" (S. Wang, S. Zhuang, B. Koopman, G. Zuccon, arXiv 2411.17299) measured 6 of
# the 12 layers of BERT × 8 widths. Its retrieval numbers are **read off a figure**. Its names: *MSE* is MRL, *BERT* the model
# trained at full size and cut afterwards, *BERT-S* the separately trained models. Ours: MiniLM, 6 layers, pydocs. Models, tasks
# and measures differ: compare the *patterns*. The two rows of a figure share one color scale.
#
# The table at the end is from the Starbucks paper (arXiv 2410.13230). Its six sizes, from Demi to Trenta, are the cells
# (2, 32), (4, 64), (6, 128), (8, 256), (10, 512) and (12, 768) of BERT. *SRL* is its loss, *SMAE* an extra pre-training before
# it. **STS** (semantic textual similarity) asks how alike two sentences are, and is scored by Spearman's rank correlation with the
# grades that people gave; **STS-B** is one such set.

# %%
read_off = {f"published: {m}": published_grid("reproduction_retrieval", m) for m in ("MSE", "2DMSE", "BERT-S")}
mine = {f"ours: {n}": (here[n].mean, LAYERS, DIMS) for n in ("mrl", "ese", "2dmse-v1") if n in here}
tiles(
    read_off | mine,
    bar="MRR@10, nDCG@10",
    title="MS MARCO (read off a figure; MSE means MRL) and pydocs",
    columns=3,
    limits=(0, 0.6),
).show()
printed = {f"published: {m}": published_grid("reproduction_sts", m, version="V1") for m in ("MSE", "2DMSE", "BERT-S")}
mine = {
    f"ours: {n}": (g.mean, LAYERS, DIMS)
    for n, g in stacks(sweep_rows("sts-full")[0], "stsbenchmark").items()
    if n in ("mrl", "2dmse-v1", "ese")
}
tiles(
    printed | mine,
    bar="Spearman",
    title="Seven STS sets (published, version 1) and STS-B",
    columns=3,
    limits=(0.2, 0.9),
).show()
brew = published("starbucks")
brew = brew[(brew.table == "A1") & (brew.metric == "MARCO dev")].pivot_table(
    index="method", columns="size", values="value", sort=False
)
print("Starbucks, MS MARCO dev MRR@10 (arXiv 2410.13230)\n", brew.round(3).to_string())

# %% [markdown]
# **What to see.** The published 2DMSE has a cliff left of 128 dimensions. It trained 128 and 768 only, and compared raw dot
# products of vectors that were not normalized. Separate models have no cliff: they fall smoothly. The STS grids are smoother
# everywhere: similarity of sentences survives cutting better than search does, in theirs and in ours.
#
# In the table, 2DMSE is below the separate models in all six sizes. The Starbucks loss (BERT-SRL) is about even with them. It
# passes them in all sizes only with the extra pre-training, which the separate models did not get.
#
# ## A detective story
# Paper, library and code of these methods are three different things. Every clue can be checked; the cell below does
# it for all five.
#
# **Clue 1: separate models that were not.** In the study's STS tables a separately trained model stands for each
# layer *and* width. At the last layer, a model trained for 8 dimensions and the full model cut to 8 should differ. Do
# they?
#
# **Clue 2: a mislabeled measure.** The README of the study's code calls its STS numbers "Pearson"; the code collects
# Spearman. On real pairs the two are not the same number.
#
# **Clue 3: off by one.** The public code of version 2 loops over rows 0 to $L-2$ of a list whose row 0 is the
# *embedding table*, the input of layer 1.
#
# **Clue 4: a PCA that is none.** PCA takes the texts' covariance. The "PCA" of that code is a randomised
# decomposition of $\mathrm{softmax}(X^\top X/\sqrt{D})$, where $X$ holds the texts' vectors.
#
# **Clue 5: a teacher that learns.** Older versions of two libraries forgot to detach the teacher.
#
# The course contains each of the last three as it ran, so that we can look:

# %%
for name, version in (("reproduction_sts", "V1"), ("reproduction_sts", "V2"), ("reproduction_retrieval", None)):
    options = {"version": version} if version else {}
    a, b = (published_grid(name, m, **options)[0] for m in ("BERT", "BERT-S"))
    same = (a == b).sum(1)
    print(
        f"{name} {version or '(figure)':<9} cells where BERT and BERT-S are equal, by layer 2 … 12: "
        f"{same} of {a.shape[1]}"
    )
v1, v2 = (published_grid("reproduction_sts", "BERT", version=v)[0] for v in ("V1", "V2"))
print(
    f"the very same plain BERT in versions 1 and 2: equal in {(v1 == v2).sum()} of {v1.size} cells, "
    f"up to {np.abs(v1 - v2).max():.2f} apart (one averages the tokens, the other takes the first)"
)
try:
    graded = load_task("stsbenchmark")
    first, second, grades = graded.splits["test"]
    x, y = (encoder.encode_layers(list(t)[: 2 * ASKED])[:, :, :32] for t in (first, second))  # (6, N, 32)
    cosine = (x * y).sum(-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(y, axis=-1)
    for layer in (2, 6):
        pearson = np.corrcoef(cosine[layer - 1], grades[: 2 * ASKED])[0, 1]
        spearman = spearmanr(cosine[layer - 1], grades[: 2 * ASKED]).statistic
        print(f"STS-B, layer {layer}, 32 dimensions: Pearson {pearson:.3f}, Spearman {spearman:.3f}")
except Exception as error:  # the task is not part of the course
    print(f"STS-B is not on this machine ({type(error).__name__}): set MRL_DATA to a folder that has it")

code, paper = get_recipe("ese-code", 6, 384), get_recipe("ese", 6, 384)
print("\nweight at 128 dimensions, layer by layer")
print("  code, layers", list(code.layers), np.round(np.asarray(code.weights["main"])[:, 4], 3))
print("  paper, layers", list(paper.layers), np.round(np.asarray(paper.weights["main"])[:, 4], 3))

texts = vectors[-1]  # (128, 384)
centered = texts - texts.mean(0)
true = centered @ principal_axes(texts, 32)


def explained(target):
    """Share of the texts' variance that a linear map can bring back from the target."""
    target = target - target.mean(0)
    back = target @ torch.linalg.lstsq(target, centered, driver="gelsd").solution
    return float(1 - (centered - back).square().sum() / centered.square().sum())


torch.manual_seed(0)
sampled = [code_pca(texts, 32) for _ in range(2)]
print(
    f"\nfrom 32 numbers, variance explained: PCA {explained(true):.0%}, the code's {explained(sampled[0]):.0%}, "
    f"plain first 32 coordinates {explained(texts[:, :32]):.0%}"
)
apart, entry = float((sampled[0] - sampled[1]).abs().max()), float(sampled[0].abs().max())
print(f"the code's target, computed twice from one batch: largest difference {apart:.3f}, largest entry {entry:.3f}\n")

below = np.ones((6, 7))
below[-1] = 0
for term in ("kl-features", "kl-features, attached"):
    print(
        f"{term:<24} gradient on the teacher (layer 6) {np.linalg.norm(anatomy.gradient({term: below})[-1]):.4f}, "
        f"on layer 3 {np.linalg.norm(anatomy.gradient({term: below})[2]):.4f}"
    )

# %% [markdown]
# **What to see.** *Clues 1 and 2:* in the STS tables all cells of layer 12 agree to the last digit, in both versions:
# those "separate" models were trained at full width and cut afterwards. They are separate in *depth* only. In the
# retrieval figure only one cell of layer 12 is equal; that must be so for the full width, where both are the same
# model. Even the plain BERT differs between versions 1 and 2, as each version makes one vector of the tokens in its
# own way. And Pearson and Spearman are indeed two numbers.
#
# *Clues 3 to 5:* below the last layer, the code gives the largest weight to row 0, the embedding table, which hardly
# anyone uses as an embedding, and weight 0 to layer 5. The paper's formula begins at layer 1. The code's target may
# hold nearly as much of the variance as PCA does, but it is another target at each call: a student chases a moving
# goal (notebook 05 goes on from here). And an attached teacher is pushed harder than the student at layer 3, because
# the students of all layers pull at it: the good layer is drawn toward the poor ones. None of these raises an error;
# each shows only when somebody looks at where the gradient goes. That is what the anatomy is for.
#
# ## In this notebook we saw
# - KL has a direction: with the teacher first, the student must cover all that the teacher does;
# - a loss on the grid is a sum of few terms, and *where* and *how hard* each pushes can be measured before any training;
# - KL over features, at the published weight, hardly pushes; KL over scores pushes nearly the same way as the contrastive term;
# - early layers become usable when training asks for it, and the last layer pays a part of the price;
# - comparisons need enough training, equal budget, several seeds, and the hardest rivals: whitening and separate models;
# - a spoilt training shows its kind in the loss, in train against dev, and in where the gain lies;
# - papers, libraries and code differ in ways that no error message tells.
#
# ## Where to read on
# - X. Li, Z. Li, J. Li, H. Xie, Q. Li, *2D Matryoshka Sentence Embeddings* (version 1) and *ESE: Espresso Sentence Embeddings*
#   (version 2), arXiv 2402.14776
# - S. Wang, S. Zhuang, B. Koopman, G. Zuccon, *2D Matryoshka Training for Information Retrieval*, arXiv 2411.17299
# - S. Zhuang, S. Wang, F. Zheng, B. Koopman, G. Zuccon, *Starbucks: Improved Training for 2D Matryoshka Embeddings*,
#   arXiv 2410.13230
# - A. Kusupati et al., *Matryoshka Representation Learning*, arXiv 2205.13147
