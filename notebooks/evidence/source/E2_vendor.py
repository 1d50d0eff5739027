# %% [markdown]
# # E2 · The evidence on a vendor's article
#
# "Matryoshka Representation Learning Explained: The Method Behind OpenAI's Efficient Text Embeddings" (Zilliz) and a blog summary of the
# same paper explain the method to practitioners. Of their claims Z1 to Z7, three contradict a formula, as arithmetic
# shows. Data and models are those of [E1](E1_mrl.ipynb), in Z5 also of [E3](E3_2dmse.ipynb); after it, this takes about a minute.
#
# **How a verdict is drawn.** By one rule, `mrl_tutorial.evaluation.statistics.verdict`. *Better* holds where the 95 % interval of the
# difference lies above 0 and its mean is at least 0.005. *Not worse* holds where the interval lies above −0.01. A claim
# is refuted where the whole interval lies below that bound; otherwise we cannot tell. What contradicts a definition
# needs no statistics.

# %%
import sys

sys.path.insert(0, "..")  # the folder of the lessons, where `evidence` lies

import os
import tempfile

import numpy as np
import pandas as pd
import torch.nn.functional as F
from evidence import baselines_on_vectors as baselines
from evidence.baseline_report import discordant
from evidence.cascade_runs import against_own_full_size, all_runs
from evidence.labeled_sets import compared
from evidence.learning_curves import trained
from evidence.ledger_rows import Ledger, Measured

from mrl_tutorial import load_task
from mrl_tutorial.evaluation.statistics import paired, together, verdict

try:
    import faiss
except ImportError:
    faiss = None

FAST = os.environ.get("FAST") == "1"
SEEDS = (0,) if FAST else (0, 1, 2)
ledger = Ledger("E2")
sets = compared(SEEDS, FAST)
digits = sets["digits"]
ON = ", ".join(f"{len(s.data.tested):,} {name} items" for name, s in sets.items())
print(ON)

# %% [markdown]
# ## Bytes (Z1)
# **Z1**: 10 million float32 vectors need 30.72 GB at 768 dimensions, and about 41 GB at 1024. First the arithmetic, 4 bytes a number, then indexes
# that FAISS writes to disk: a flat one is just the vectors, HNSW adds the links of a graph.

# %% tags=["claim-Z1"]
rows, chance = (2_000 if FAST else 20_000), np.random.default_rng(0)
gigabytes = {dim: 10_000_000 * 4 * dim / 1e9 for dim in (768, 1024)}
on_disk = {}
for dim, gb in gigabytes.items():
    print(f"{dim:>5} dimensions: {gb:.2f} GB for 10 million vectors, by arithmetic")
    for kind, n in (("flat", rows), ("HNSW, 32 links", rows // 10)) if faiss else ():
        index = faiss.IndexFlatL2(dim) if kind == "flat" else faiss.IndexHNSWFlat(dim, 32)
        index.add(chance.standard_normal((n, dim), dtype=np.float32))
        with tempfile.TemporaryDirectory() as folder:
            faiss.write_index(index, f"{folder}/index")
            on_disk[kind, dim] = os.path.getsize(f"{folder}/index") / n
        print(f"      {kind:<15}{on_disk[kind, dim]:>9,.1f} bytes a vector on disk: {on_disk[kind, dim] / 100:.2f} GB")
right = abs(gigabytes[768] - 30.72) < 0.01 and abs(gigabytes[1024] - 41) < 0.5
ledger.settle(
    "Z1", "holds" if right else "refuted", "The bare vectors take exactly that; an index that is quick to search takes its graph on top.",
    Measured("GB of 10 million vectors", ("768 dimensions", f"{gigabytes[768]:.2f}"), ("1024 dimensions", f"{gigabytes[1024]:.2f}"), f"arithmetic, and FAISS indexes of {rows:,} vectors"),
    more=[f"{kind}, {dim} dimensions: {size:,.1f} bytes a vector" for (kind, dim), size in on_disk.items()],
)  # fmt: skip

# %% [markdown]
# ## Coarse first, details later? (Z2)
# **Z2**: early coordinates hold coarse information, later ones details. The networks were trained on fine labels: which digit, which module. Coarse
# is whether a digit has a closed loop (0, 6, 8, 9), and which package a module belongs to. A linear probe reads one block of coordinates; *detail* is how
# often it names the right member of the right group. Asked for, on each set: the first block better in coarse, the last block not worse in detail.

# %% tags=["claim-Z2"]
corpus = load_task("pydocs")
if FAST:
    corpus = corpus.smaller(500)
package_of = dict(zip(corpus.labels["module"], corpus.labels["package"]))
package = np.unique([package_of[m] for m in sorted(set(corpus.labels["module"]))], return_inverse=True)[1]
loop = np.isin(np.arange(10), (0, 6, 8, 9)).astype(int)


def known(data, nets, groups, blocks):
    """coarse and detail of each block: (S, blocks, items)."""
    out = {"coarse": [], "detail": []}
    for r, (tr, te) in enumerate(data.rounds):
        z = nets.features(data.x)[r :: len(data.rounds)]
        part = baselines.coarse_and_detail(z[:, tr], data.labels[tr], z[:, te], data.labels[te], groups, blocks)
        for what, values in part.items():
            out[what].append(values)
    return {what: np.concatenate(values, axis=2) for what, values in out.items()}


parts, gaps, means = [], {}, {}
for name, groups, blocks in (("digits", loop, [(0, 8), (56, 64)]), ("pydocs", package, [(0, 16), (112, 128)])):
    s = sets[name]
    nets = baselines.networks(s.data, s.plan, np.ones(len(s.plan.dims)), SEEDS)
    for what, values in known(s.data, nets, groups, blocks).items():
        there = ~np.isnan(values[0, 0])
        first, last = values[:, 0][:, there], values[:, 1][:, there]
        gap = paired(first, last) if what == "coarse" else paired(last, first)
        gaps[name, what], means[name, what] = gap, (float(first.mean()), float(last.mean()))
        parts.append(verdict(gap, not_worse=what == "detail"))
        print(f"{name:<7} {what:<7} first block {first.mean():.3f}, last block {last.mean():.3f}: {parts[-1]}")
ledger.settle(
    "Z2", together(parts),
    "On texts the first coordinates hold more of the coarse, and of the detail too, than the last ones; on digits the two are close.",
    Measured("right module within the right package, pydocs", ("last 16 coordinates", means["pydocs", "detail"][1]), ("first 16", means["pydocs", "detail"][0]), ON, len(SEEDS), gaps["pydocs", "detail"]),
    more=[f"{name}, {what}: first block {means[name, what][0]:.3f}, last block {means[name, what][1]:.3f}, {d}" for (name, what), d in gaps.items()],
    remedy="more test items",
)  # fmt: skip

# %% [markdown]
# ## Scaling factors (Z3): arithmetic
# **Z3**: a shorter embedding's values can differ from the longer one's through the scaling factors. But the factors $c_m$ multiply *losses*:
# $\sum_m c_m\,\mathrm{CE}(W^{(m)} F(x)_{1:m}, y)$. They never touch the features, so the first 8 of 64 numbers are
# exactly the embedding of 8. The networks here were trained with weights as uneven as 16 to 1.

# %% tags=["claim-Z3"]
uneven = baselines.networks(digits.data, digits.plan, [16, 1, 1, 1, 1, 1], SEEDS)
long, cut = uneven.features(digits.data.x), uneven.features(digits.data.x, 8)
apart = float((long[..., :8] - cut).abs().max())
assert apart == 0
lengths = F.normalize(long, dim=-1)[..., :8].norm(dim=-1)
print(
    f"largest difference {apart}; normalized first and then cut, lengths {lengths.min():.2f} to {lengths.max():.2f}: one factor for a whole vector"
)
ledger.settle(
    "Z3", "wrong by definition", "The factors weigh losses in training, never features: a shorter embedding is the beginning of the longer one, number by number.",
    Measured("largest difference between the first 8 of 64 numbers and the embedding of 8", ("weights 16, 1, 1, 1, 1, 1", f"{apart:.1f}"), ("by definition", "0"), "the formula, and all digits"),
    more=[f"what does change is the length: normalized before the cut, prefixes are {lengths.min():.2f} to {lengths.max():.2f} long; normalize after it"],
)  # fmt: skip

# %% [markdown]
# ## Thirty-seven dimensions (Z4): arithmetic
# **Z4**: a 37-dimensional representation is as accurate as one of 512. There is no such representation: 37 is the *mean* over items of the sizes at which
# a cascade stops. Each of its summands is one of the nested sizes. The same sum for a cascade of our own:

# %% tags=["claim-Z4"]
runs = all_runs(FAST)
name = "banking77" if "banking77" in runs else "digits"
gap, final, shares = against_own_full_size(runs[name]["MRL-E"])
sizes = np.array(runs[name]["MRL-E"][0]["test"].dims)
expected = float(shares @ sizes)
print(f"{name}: " + " + ".join(f"{s:.0%} x {d}" for s, d in zip(shares, sizes)) + f" = {expected:.1f}")
assert abs(expected - final.mean()) < 0.1  # the mean over items is that sum
beyond = float(shares[sizes > expected].sum())
ledger.settle(
    "Z4", "wrong by definition", "The 37 is the mean size of a cascade that reads 8 to 2,048 numbers of each item; no vector of 37 numbers exists, let alone one as good as 512.",
    Measured(f"numbers, {name}", ("expected size of a cascade", f"{expected:.0f}"), ("read of the hardest items", f"{sizes[-1]}"), "the formula of the expected size"),
    published="expected size about 37 at 76.3 % (MRL, appendix D.1), 62 if every size is charged",
    more=[f"{beyond:.0%} of the items needed more than the expected size; what a cascade gives is M5"],
)  # fmt: skip

# %% [markdown]
# ## Any architecture (Z5)
# **Z5**: MRL does not depend on the architecture. We train the same loss on a network on pixels, all of it, and on a layer
# behind a frozen transformer. It promises a useful beginning: better than a plain prefix at the smallest size. A third
# architecture is the whole transformer, trained on sentence similarity until its curve was flat ([E3](E3_2dmse.ipynb)).

# %% tags=["claim-Z5"]
gaps = {name: s.gap("1nn", s.plan.dims[0], "MRL", "prefix") for name, s in sets.items()}
for name, d in gaps.items():
    print(f"{name:<10} {sets[name].plan.dims[0]} numbers, MRL minus a plain prefix: {d}")
kinds = {
    "a network on pixels": [gaps["digits"]],
    "a layer behind a transformer": [d for n, d in gaps.items() if n != "digits"],
}
whole = trained(["sts-trained"], "stsbenchmark", "spearman")  # recipe -> (seeds, layers, dims, pairs)
gaps["STS-B, whole transformer"] = paired(*(whole[name][:, -1, 0] for name in ("mrl", "full-size")))
kinds["a whole transformer"] = [gaps["STS-B, whole transformer"]]
print(f"STS-B, 8 numbers of the last layer, MRL minus a plain prefix: {gaps['STS-B, whole transformer']}")
drawn = [together([verdict(d) for d in found]) for found in kinds.values()]
ledger.settle(
    "Z5", together(drawn),
    "The loss orders the coordinates of a network on pixels, of a layer behind a frozen transformer, and of a transformer that is trained whole.",
    Measured("1-NN accuracy at the smallest size, digits", ("MRL", digits.mean("MRL", "1nn", 2)), ("plain prefix", digits.mean("prefix", "1nn", 2)), ON, len(SEEDS), gaps["digits"]),
    more=[f"{name}, {sets[name].plan.dims[0] if name in sets else 8} numbers: {d}" for name, d in gaps.items()],
    results=["sts-trained.csv"],
)  # fmt: skip

# %% [markdown]
# ## Better than fixed features at every size (Z6)
# **Z6**: retrieval with MRL beats fixed-feature retrieval at every size. Fixed features means a network of its own for each size.

# %% tags=["claim-Z6"]
z6 = {(n, m): sets[n].gap("map@10", m, "MRL", "alone") for n in ("digits", "pydocs") for m in sets[n].plan.dims}
drawn = {key: verdict(d) for key, d in z6.items()}
display(
    pd.DataFrame(
        [(n, m, str(d), drawn[n, m]) for (n, m), d in z6.items()], columns=["set", "size", "MRL minus alone", "verdict"]
    )
)
worst = min(z6, key=lambda key: z6[key].mean)
ledger.settle(
    "Z6", together(drawn.values()),
    "MRL never beats a model trained for one size, and at the smallest size it loses. Its point is one model instead of many.",
    Measured(f"mAP@10, {worst[0]}, {worst[1]} numbers", ("MRL", sets[worst[0]].mean("MRL", "map@10", worst[1])), (f"trained for {worst[1]} alone", sets[worst[0]].mean("alone", "map@10", worst[1])), ON, len(SEEDS), z6[worst]),
    published="ImageNet, mAP@10 read off the paper's figure 7: MRL above fixed features at every size",
    more=[f"{n}, {m} numbers: {d}" for (n, m), d in z6.items()], remedy="more test items",
)  # fmt: skip

# %% [markdown]
# ## What mAP@k counts (Z7): arithmetic
# **Z7**: mAP@k counts how many of the k nearest share the label. That is P@k. Two lists with as many hits, one early
# and one late, have the same P@10 but not the same AP@10.

# %% tags=["claim-Z7"]
found = {}
for hits in ([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]):
    h = np.array(hits)
    found[tuple(hits)] = h.mean(), float((h * h.cumsum() / np.arange(1, 11)).sum() / 10)
    print(hits, "P@10 = {:.2f}, AP@10 = {:.3f}".format(*found[tuple(hits)]))
(p, early), (q, late) = found.values()
assert p == q and early > 3 * late
ways = {name: sets[name].outcomes for name in ("digits", "pydocs")}
other = pd.concat([discordant(sets[n].plan.dims, ways[n], "map@10", "p@10").assign(set=n) for n in ways])
ledger.settle(
    "Z7", "wrong by definition", "The sentence describes P@k; AP@k also asks whether the right ones come first, so equal counts get different values.",
    Measured("AP@10 of three hits among ten, at the same P@10", ("hits first", early), ("hits last", late), "the formula"),
    more=[f"on digits and pydocs they order {len(other)} pairs of methods differently, {int(other.significant.sum()) if len(other) else 0} of them beyond their intervals"],
)  # fmt: skip

# %% [markdown]
# ## All of them

# %%
ledger.table()
