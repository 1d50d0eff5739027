# %% [markdown]
# # E4 · The evidence on low-cost Matryoshka embeddings
#
# M. Boruń, P. Wojciechowski and P. Zalewski (*Low-cost Matryoshka Embeddings for NLP*, 2024) ask three questions, L1 to
# L3; no results of theirs are known to us, so these are questions and not reported results. [Lesson
# 06](../06_your_own_model.ipynb) trains the models. The models on STS-B, and MRL on pydocs, were trained until their
# learning curves were flat ([E3](E3_2dmse.ipynb) shows them). Those of `baselines.csv` had 50 steps of 64 pairs of
# pydocs, too few to settle a question; they show what can be measured. It takes half a minute.
#
# **How a verdict is drawn.** By one rule, `mrl_tutorial.evaluation.statistics.verdict`: *better* and *not worse* need a
# whole interval on one side, and a model that was not trained until its learning curve was flat settles nothing.

# %%
import sys

sys.path.insert(0, "..")  # the folder of the lessons, where `evidence` lies

import os
import re
import time

import numpy as np
from evidence.curve_figures import SHARE, side_by_side
from evidence.learning_curves import gap, trained, trained_enough
from evidence.ledger_rows import Ledger, Measured
from evidence.published_grids import sweep_rows, table
from evidence.widths import kept

from mrl_tutorial import Encoder, load_task, train
from mrl_tutorial.evaluation.statistics import Difference, paired, together, verdict

FAST = os.environ.get("FAST") == "1"
ledger = Ledger("E4")
baselines, pairs = table("baselines"), table("baselines_paired")
for name in ("command", "training", "processor"):
    print(f"{name:<10} {baselines.attrs.get(name, '')}")
steps = int(re.search(r"(\d+) steps", baselines.attrs["training"])[1])
REMEDY = f"training until the dev curves are flat, at the best of three learning rates: {baselines.attrs['command']} with 1,500 steps in place of {steps}"
print("these settle no question: they kept no learning curve")
long = trained(("sts-trained",), "stsbenchmark", "spearman")  # these do: recipe -> (seeds, layers, dims, pairs)
print("trained until their curves were flat, on STS-B:", ", ".join(long), trained_enough("sts-trained"))


def difference(a, b):
    """a - b on pydocs by dimension, both cut to a prefix."""
    rows = pairs[
        (pairs.a == a)
        & (pairs.b == b)
        & (pairs.task == "pydocs")
        & (pairs.reduction_a == "prefix")
        & (pairs.reduction_b == "prefix")
    ]
    return {int(r.dim): Difference(*(r[k] for k in ("mean", "low", "high", "spread"))) for _, r in rows.iterrows()}


# %% [markdown]
# ## Is converting a finished model enough? (L1)
# **L1**: is fine-tuning an existing embedding model into a Matryoshka one enough? At one budget: *fixed* trains the
# full width only, *mrl* all widths from the start, *fixed then mrl* half and half. Asked for: mrl better than fixed at
# 64 dimensions and below, not worse at full width; the converted model not worse than mrl. All start from a finished
# model, which has seen documentation before; a bare language model would need the hub.

# %% tags=["claim-L1"]
gain, convert = difference("mrl", "fixed"), difference("fixed then mrl", "mrl")
encoder = Encoder.load("all-MiniLM-L6-v2")
on_sts = {
    w: gap(long["mrl"], long["full-size"], np.outer(np.arange(1, 7) == 6, np.array(encoder.dims) == w))
    for w in encoder.dims
}
parts = [verdict(d) for w, d in on_sts.items() if w <= 64] + [verdict(on_sts[384], not_worse=True), "cannot tell here"]
for w, d in on_sts.items():
    print(f"{w:>4} dimensions   STS-B, to flat curves, mrl - full-size {d}")
for w in gain:
    print(f"{w:>4} dimensions   mrl - fixed {gain[w]}   fixed then mrl - mrl {convert.get(w, '')}")
ledger.settle(
    "L1", together(parts),
    "On sentence similarity, fine-tuning with the nested loss helps at 8 to 32 numbers and costs nothing at full width. For search we have no rival that was trained long enough to compare.",
    Measured("Spearman at 8 of 384 numbers", *((name, float(long[name][:, -1, 0].mean())) for name in ("mrl", "full-size")), "STS-B test, 1,379 pairs", 3, on_sts[8]),
    more=[f"STS-B, {w} dimensions, mrl - full-size: {d}" for w, d in on_sts.items()]
    + [f"pydocs after 50 steps, {w} dimensions, mrl - fixed: {gain[w]}" for w in (8, 64, 384)] + [f"{w} dimensions, fixed then mrl - mrl: {convert[w]}" for w in (8, 64, 384)],
    remedy=REMEDY, results=["sts-trained.csv", "baselines.csv", "baselines_paired.csv"],
)  # fmt: skip

# %% [markdown]
# ## What does shrinking cost? (L2)
# **L2**: is the price of shrinking small, for classification and retrieval? *Small* means that a third of the numbers
# keeps 95 %. One model was trained on pydocs, the one for similarity on STS-B. Classification follows MTEB's protocol
# (logistic regression on 8 texts a class, ten draws).

# %% tags=["claim-L2"]
WHERE = {
    "search": "pydocs",
    "search in abstracts": "cranfield",
    "77 intents": "banking77",
    "similarity": "stsbenchmark",
}
METRIC = dict(zip(WHERE, ("ndcg@10", "ndcg@10", "accuracy", "spearman")))
last = {label: trained(("pydocs-trained",), where, METRIC[label]) for label, where in WHERE.items()}
last["similarity"] = {name: long[name] for name in ("plain", "mrl")}  # trained on STS-B
last = {label: {name: x[:, -1] for name, x in found.items()} for label, found in last.items()}  # (seeds, dims, items)
curves = {
    title: {label: kept(last[label][name].mean((0, 2))) for label in WHERE}
    for title, name in (("plain model", "plain"), ("mrl, to a flat curve", "mrl"))
}
third = encoder.dims.index(128)
price = {label: paired(x["mrl"][:, third], 0.95 * x["mrl"][:, -1]) for label, x in last.items()}
shares = {label: float(curves["mrl, to a flat curve"][label][third]) for label in WHERE}
rows = baselines.query("baseline == 'mrl' and task == 'pydocs:package' and reduction == 'prefix'").groupby("dim").value
libraries = rows.mean()[128] / rows.mean()[384]
for label in WHERE:
    print(f"{label:<20} keeps {shares[label]:.1%} at 128 of 384 dimensions; less 95 %: {price[label]}")
ledger.settle(
    "L2", together(verdict(d) for d in price.values()),
    f"A third of the numbers keeps {shares['similarity']:.1%} in similarity and {shares['77 intents']:.1%} in sorting into 77 intents, but only {shares['search']:.1%} in search, and {shares['search in abstracts']:.1%} in abstracts it was not trained on.",
    Measured("nDCG@10 of mrl, search", ("128 of 384 numbers", float(last["search"]["mrl"][:, third].mean())), ("95 % of full width", 0.95 * float(last["search"]["mrl"][:, -1].mean())),
             "pydocs test, 1,265 queries", 3, price["search"], None),
    more=[f"{label}: {shares[label]:.1%} kept at 128, less 95 %: {price[label]}" for label in WHERE] + [f"15 libraries, after 50 steps: {libraries:.1%} kept at 128"],
    remedy="more seeds, or more items to test on", results=["pydocs-trained.csv", "sts-trained.csv", "baselines.csv"],
)  # fmt: skip
side_by_side(
    encoder.dims, curves, y=SHARE, title="A third of the numbers keeps 99 % of similarity, and about 94 % of search"
)

# %% [markdown]
# ## Is it cheap? (L3)
# **L3**: can it be done cheaply? *Cheaply* means under 15 minutes of one core and 4 GB, without a graphics card. What
# decides is the number of steps until the learning curve is flat. **Live**: a few steps on this machine.

# %% tags=["claim-L3"]
cost = baselines[baselines.cpu_seconds.notna()].drop_duplicates(["baseline", "seed"])
minutes, peak = cost.cpu_seconds / 60, cost.peak_gb.max()
task = load_task("pydocs")
began, few = time.perf_counter(), 2 if FAST else 8
train(encoder, task.smaller(500), "mrl", what="full", steps=few, batch_size=16, seed=0)
print(
    f"live: {(time.perf_counter() - began) / few:.2f} s a step of 16 pairs; stored: {minutes.mean():.1f} minutes for {steps} steps of 64, peak {peak:.2f} GB"
)
minutes_of = {
    task: sweep_rows(name)[0].query("recipe == 'mrl'").drop_duplicates(["split", "lr", "seed"]).seconds / 60
    for task, name in (("similarity", "sts-trained"), ("search", "pydocs-trained"))
}
flat = trained_enough("sts-trained", "mrl") and trained_enough("pydocs-trained", "mrl")
whole = {task: x.max() for task, x in minutes_of.items()}
ledger.settle(
    "L3", together("cannot tell here" if not flat else "holds" if x < 15 else "refuted" for x in whole.values()),
    f"The curve is flat after {whole['similarity']:.0f} minutes of one core at most for similarity, and {whole['search']:.0f} for search; trying three learning rates takes three times as long.",
    Measured("minutes of one core until the curve is flat", ("160 steps of 32 pairs of pydocs", f"{whole['search']:.1f}"), ("called cheap", "15"), f"{sum(map(len, minutes_of.values()))} trainings of all weights", 3),
    more=[f"STS-B: {whole['similarity']:.1f} minutes", f"peak memory {peak:.2f} GB, in steps of 64 pairs", "a model of 6 layers and 22 million weights"],
    remedy="curves that are flat", results=["sts-trained.csv", "pydocs-trained.csv", "baselines.csv"],
)  # fmt: skip

# %% [markdown]
# ## All of them

# %%
ledger.table()
