# %% [markdown]
# # 02 · Adaptive classification: stop when you are sure
#
# Some items are easy and some are hard. **You will**
#
# - let a classifier look at 8 numbers of an embedding first, and at more only where it is not sure: a *cascade*;
# - learn its thresholds on held-out data, by the rule of the MRL paper (Kusupati and others, cited at the end) and by two others, and see which of them keep their promise;
# - charge a cascade in two ways, and see why the often quoted "as good as 512 dimensions with 37" speaks of a *mean*, and of no vector at all;
# - tune one by hand, against the best that any cascade could do.
#
# You need notebook 00, and to have met classification and training, validation and test sets. On 2 cores about three minutes, less
# than one when run again (what was trained is kept). Banking77 joins in where the folder `$MRL_DATA` has it. What the paper claims about
# cascades is put to the test in [evidence E1](evidence/E1_mrl.ipynb), M5.

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
import plotly.graph_objects as go
import torch
from evidence.calibration import reliability
from evidence.cascade_runs import banking, by_seed, fivefold, split_of, text_plan, text_runs, trained
from evidence.cascade_search import cheapest_thresholds
from exercises import cascades as check
from plotly.subplots import make_subplots

from mrl_tutorial import Encoder, cell_price, load_task
from mrl_tutorial.classification import cascade
from mrl_tutorial.classification.small_networks import NetworkConfig
from mrl_tutorial.evaluation.statistics import paired
from mrl_tutorial.panels import plots
from mrl_tutorial.panels.cascade_tuner import CascadeTuner

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs
print(
    f"Python {platform.python_version()}, torch {torch.__version__}, plotly {plotly.__version__}, {torch.get_num_threads()} threads"
)

# %% [markdown]
# ## Nested classifiers
# A *Matryoshka* (MRL) network turns an item into a vector whose first $m$ numbers are a usable vector of their own, for several
# **nested sizes** $m$: for our first look 2, 4, 8, 16, 32 and 64. Each size has a linear **classifier** that sees the first $m$
# numbers only, and training adds up the classification errors (cross-entropies) of all of them (notebook 01 builds this up). We train three kinds:
#
# - **MRL**: a separate classifier for every size;
# - **MRL-E** ("efficient"): one classifier for the largest size, whose weights are cut along with the vector. Its score at size 16 is its
#   score at size 8 plus what the next 8 numbers add, so *going on costs only the new numbers*;
# - **full size alone**: the same network trained for its largest size only. This is the large model that we want to match.
#
# Every kind is trained from 3 random **seeds** (first weights and order of the data). Of the training data, a part is *held out*: no network
# is trained on it, and thresholds will be chosen there. Results are reported on a third part, the *test* part.
#
# ## A first look: digits
# 1,797 small pictures of handwritten digits. **5-fold**: the pictures are cut into five parts, each part is tested once by networks that
# were trained on the four others, of which a fifth is held out for the thresholds.

# %%
digits = load_task("digits")
x, y = digits.splits["all"]
runs = {"digits": trained(x, y, fivefold(digits), NetworkConfig(epochs=3 if FAST else 30))}


def accuracies(runs):
    """Mean and spread over seeds and folds of the accuracy at every single size, kind by kind."""
    rows = {}
    for kind, found in runs.items():
        each = np.array([run["test"].accuracy for run in found])
        if kind == "full size alone":
            each[:, :-1] = np.nan  # its smaller classifiers were never trained
        rows[kind] = [f"{m:.3f} ± {s:.3f}" if np.isfinite(m) else "" for m, s in zip(each.mean(0), each.std(0))]
    return pd.DataFrame(rows, index=pd.Index(found[0]["test"].dims, name="size")).T


accuracies(runs["digits"])

# %% [markdown]
# **What to see.** Even two numbers are right about a good part of the digits. The accuracy of the nested sizes levels off early, so to spend all 64
# on every picture is a waste; if only we knew which pictures need them. (± is the spread over seeds and folds.)
#
# ## How sure is sure?
# A classifier gives every class a score; the **softmax** $p_c = e^{s_c} / \sum_k e^{s_k}$ makes probabilities of them. The largest of
# them is the **confidence**. The cascade's rule, with a **threshold** $t_m$ for each size but the last: *if the confidence at size $m$ reaches
# $t_m$, answer; else go on to the next size*. Here are a few pictures on their way.

# %%
example = runs["digits"]["MRL-E"][0]["test"]
order = np.argsort(example.confidence[2])
for i in order[[0, len(order) // 20, len(order) // 5, len(order) // 2, -1]]:
    path = "   ".join(
        f"{d}: {c:.2f} {'✓' if r else '✗'}"
        for d, c, r in zip(example.dims, example.confidence[:, i], example.right[:, i])
    )
    print(f"picture {runs['digits']['MRL-E'][0]['items'][i]:>4}   {path}")
print("size: confidence, and whether the answer is right")

# %% [markdown]
# **What to see.** The pictures are sorted by their confidence at the third size, the least sure first. Easy ones are sure, and right, within a few numbers; hard ones
# waver. And the hardest one shows the risk: a size can be quite sure and wrong.
#
# A confidence is worth something if it means what it says: of all answers given with 70 % confidence, 70 % should be right. This is
# called **calibration**. Put answers of similar confidence together; the mean distance between their confidence and their share of right answers
# is the *expected calibration error* (ECE).


# %%
def calibration(runs, kind, title):
    figure = go.Figure(
        go.Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": plots.INK, "dash": "dot"}, name="calibrated")
    )
    dims = runs[kind][0]["test"].dims
    for color, j in zip(plots.COLORS, (0, len(dims) // 2, len(dims) - 1)):
        confidence, right = (
            np.concatenate([getattr(run["test"], what)[j] for run in runs[kind]]) for what in ("confidence", "right")
        )
        count, mean, share, error = reliability(confidence, right)
        enough = count >= 30
        figure.add_scatter(x=mean[enough], y=share[enough], mode="lines+markers",
                           name=f"{dims[j]} dimensions, ECE {error:.3f}", line={"color": color, "width": 3})  # fmt: skip
    figure.update_layout(**plots.style(title), height=440)
    figure.update_xaxes(title="confidence", range=[0, 1.02])
    figure.update_yaxes(title="share of right answers", range=[0, 1.02], showgrid=True)
    return figure


calibration(runs["digits"], "MRL-E", "Digits, MRL-E: what a confidence is worth")

# %% [markdown]
# **What to see.** A line above the dotted one: this size is *less* sure than it could be; below: it is too sure. Here the smallest size is
# less sure than it could be and the largest one too sure, so the same confidence is not worth the same at all sizes. That is why thresholds are learned, and why each size may need its own.
#
# ## Thresholds, and what they cost
# Three rules. All choose by the held-out part only:
#
# 1. **The paper's rule.** Take each pair of neighboring sizes by itself. An item that reaches the threshold is answered by the smaller size, every other
#    by the larger. Of 101 thresholds from 0 to 1 take the one with the best accuracy, the smallest of equals.
# 2. **One threshold for all sizes**, the cheapest whose accuracy is at least that of the largest size.
# 3. **Search**: thresholds of their own again, the cheapest combination found (one threshold is moved at a time, for many prices of a
#    dimension) whose accuracy is at least that of the largest size.
#
# With $\pi_m$ the share of items that are answered at size $m$, a cascade's cost is written in two ways:
#
# $$\text{last size charged: } \sum_m \pi_m\, m \qquad\qquad \text{every size charged: } \sum_m \pi_m \sum_{k \le m} k$$
#
# The first is the **expected size**. It is what MRL-E reads. Separate classifiers start anew at every size and read what the second sum says.
# Last, the **oracle** knows for each item the smallest size that is right. Nobody can build it; no cascade over these classifiers can beat it.

# %%
RULES = {
    "paper's rule": lambda a, visited: cascade.greedy_thresholds(a),
    "one threshold": lambda a, visited: cheapest_thresholds(a, visited=visited, shared=True),
    "search": lambda a, visited: cheapest_thresholds(a, visited=visited),
}


def cascades(runs):
    """A row for each kind and rule: accuracy, difference to the full size alone with its interval, and both sizes."""
    full = by_seed(runs["full size alone"], [run["test"].right[-1] for run in runs["full size alone"]])
    rows = []
    for kind in ("MRL", "MRL-E"):
        found = runs[kind]
        done = {
            rule: [cascade.run(run["test"], choose(run["held"], kind == "MRL")) for run in found]
            for rule, choose in RULES.items()
        }
        done["oracle"] = [cascade.oracle(run["test"]) for run in found]
        for rule, outcomes in done.items():
            gap = paired(by_seed(found, [o.right for o in outcomes]), full)
            final, visited = ([getattr(o, what) for o in outcomes] for what in ("final", "visited"))
            rows.append({"kind": kind, "rule": rule, "accuracy": np.mean([o.accuracy for o in outcomes]),
                         "difference": gap.mean, "low": gap.low, "high": gap.high,
                         "final": np.mean(final), "final sd": np.std(final), "visited": np.mean(visited), "visited sd": np.std(visited),
                         "shares": np.mean([o.shares for o in outcomes], 0)})  # fmt: skip
    return pd.DataFrame(rows)


def shown(table):
    text = pd.DataFrame({
        "accuracy": table.accuracy.map("{:.3f}".format),
        "against full size alone": [f"{d:+.3f} [{a:+.3f}, {b:+.3f}]" for d, a, b in zip(table.difference, table.low, table.high)],
        "expected size": [f"{m:.1f} ± {s:.1f}" for m, s in zip(table.final, table["final sd"])],
        "every size charged": [f"{m:.1f} ± {s:.1f}" for m, s in zip(table.visited, table["visited sd"])],
    })  # fmt: skip
    return text.set_index(pd.MultiIndex.from_frame(table[["kind", "rule"]]))


results = {"digits": cascades(runs["digits"])}
print("in brackets: 95 % paired bootstrap interval over items and seeds; ± is the spread over seeds and folds")
shown(results["digits"])

# %% [markdown]
# **What to see.** The expected size of the cascades is far below 64, and their accuracy a little below that of 64 dimensions: look where
# the intervals lie. Compare the last two columns: with every size charged the same cascade costs up to about twice as much. And look at the oracle: it is *more* accurate than the largest size, because small sizes
# are sometimes right where large ones are wrong.
#
# ## Text
# Now pydocs, the documentation of Python libraries. Which **module** does a text come from, and, easier, which **package**? The text is encoded once, by
# `all-MiniLM-L6-v2`, a language model that stays as it is (*frozen*). What we train is a linear map of its 384 numbers to a Matryoshka vector of 256, and the classifiers on it, for the sizes 8 to 256.
# Near-duplicate texts fall on the same side of training, held-out (*dev*) and test part. The encoder has seen documentation in its own training.

# %%
task = load_task("pydocs")
if FAST:
    task = task.smaller(500)
encoder = Encoder.load("all-MiniLM-L6-v2")
vectors = encoder.encode_layers(list(task.corpus.values()))[-1]
TEXT = text_plan(FAST)
places = split_of(task)  # rows of the training, dev and test documents
for level in ("module", "package"):
    _, labels = np.unique(task.labels[level], return_inverse=True)
    runs[level] = text_runs(vectors, labels, places, TEXT)
    results[level] = cascades(runs[level])
print(" / ".join(f"{len(p):,} {name}" for p, name in zip(places, ("train", "dev", "test"))), "texts")
display(pd.concat({level: accuracies(runs[level]) for level in ("module", "package")}))
pd.concat({level: shown(results[level]) for level in ("module", "package")})

# %% [markdown]
# **What to see.** Read the column *against full size alone*. The last two rules were told to lose nothing, and on the held-out part they do not
# lose. On the test part they often do: a threshold that was the best of many on a few hundred texts was partly lucky, and *search*, which has five
# numbers to choose, was luckier than *one threshold*. This is overfitting, of five numbers. And where accuracy grows up to the largest size, as for modules,
# there is little to save.
#
# ## Slide
# Tune one yourself. *All sizes* moves every threshold together; below it each size has its own. Try this:
#
# 1. Set all to 0.30 and go up by the arrow keys. Where does the cascade meet the dotted line of the single sizes, and where does it leave it?
# 2. Press *the paper's rule*, then lower the threshold of the first size to 0.2. What does it cost, and what does it save?
#
# The panel shows the *test* part, to play with. If you choose here, you have no test set left.

# %%
tuner = CascadeTuner(
    {f"{kind}, {level}": runs[level][kind][0]["test"] for level in ("package", "module") for kind in ("MRL-E", "MRL")},
    start=0.6,
)
tuner

# %% [markdown]
# **What to see.** The filled circle is your cascade when the last size is charged, the open one when every size is. Only where the filled circle is *above*
# the dotted line does the cascade beat the plainest alternative: one nested size for everyone.
#
# ## Banking77
# 77 kinds of questions to a bank, short and well separated. This part needs the data set in `$MRL_DATA/banking77`.

# %%
bank = banking(encoder, FAST)
if bank:
    runs["banking77"], results["banking77"] = bank, cascades(bank)
    print(accuracies(bank).to_string(), "\n\n", shown(results["banking77"]).to_string())
else:
    print("Banking77 is not on this machine: the rest of the notebook goes on without it.")

# %% [markdown]
# **What to see.** (With the data set.) Accuracy levels off well before the largest size, so the cascades get by with a small part of it. They lose
# less than one point or about one, most of it against the layer that was trained for the full size alone.
#
# ## All of it in one picture


# %%
def picture(kind):
    figure = make_subplots(2, 2, subplot_titles=list(results), horizontal_spacing=0.12, vertical_spacing=0.2)
    for k, (name, table) in enumerate(results.items()):
        found = runs[name][kind]
        dims, single = np.array(found[0]["test"].dims), np.mean([run["test"].accuracy for run in found], 0)
        rows = table[table.kind == kind].set_index("rule")
        place = {"row": k // 2 + 1, "col": k % 2 + 1}
        figure.add_scatter(x=dims, y=single, mode="lines+markers", name="one size for all", line={"color": plots.INK, "dash": "dot"},
                           marker={"symbol": "square", "size": 8}, showlegend=not k, **place)  # fmt: skip
        symbols = {"one threshold": "circle", "paper's rule": "diamond", "search": "x", "oracle": "star"}
        for (rule, symbol), color in zip(symbols.items(), plots.COLORS):
            figure.add_scatter(x=[rows.final[rule]], y=[rows.accuracy[rule]], mode="markers", name=rule,
                               marker={"symbol": symbol, "size": 14, "color": color}, showlegend=not k, **place)  # fmt: skip
        figure.update_xaxes(type="log", tickvals=list(dims), ticktext=[str(d) for d in dims],
                            title="expected size" if k > 1 else None, showgrid=False, **place)  # fmt: skip
        figure.update_yaxes(title="accuracy" if k % 2 == 0 else None, showgrid=True, **place)
    figure.update_layout(**plots.style())
    figure.update_layout(
        height=680, legend={"orientation": "h", "y": -0.12, "x": 0, "yanchor": "top"}, margin={"t": 50, "b": 90}
    )
    return figure


picture("MRL-E")

# %% [markdown]
# **What to see.** A mark to the left of its own dotted line, at the same height, is a cascade that beats a single size. How far to the left
# differs from task to task, and for the three rules it is never far; some marks lie on the line or below it. Where all sizes beyond some point are about as good, a fixed smaller
# size already does most of the saving. The oracle (star) shows how much a better measure of being sure could still gain.
#
# ## How much is luck?
# The paper samples its held-out part 30 times. We do so with the module task: half of the *test* texts choose the thresholds, the other half
# reports, and we compare what was *promised* (accuracy on the half that chose, against the largest size) with what was *kept*.

# %%
source = runs["module"]["MRL-E"][0]["test"]
n = source.right.shape[1]
lines = []
for rule, splits in (("paper's rule", 30), ("one threshold", 30), ("search", 10)):
    gaps, sizes = [], []
    for seed in range(2 if FAST else splits):
        order = np.random.default_rng(seed).permutation(n)
        choose, report = source.take(order[: n // 2]), source.take(order[n // 2 :])
        thresholds = RULES[rule](choose, False)
        gaps.append([cascade.run(half, thresholds).accuracy - half.accuracy[-1] for half in (choose, report)])
        sizes.append(cascade.run(report, thresholds).final)
    (promised, kept), spread = np.mean(gaps, 0), np.std(gaps, 0)[1]
    lines.append({"rule": rule, "splits": len(gaps), "promised": f"{promised:+.3f}", "kept": f"{kept:+.3f} ± {spread:.3f}",
                  "expected size": f"{np.mean(sizes):.0f} ± {np.std(sizes):.0f}"})  # fmt: skip
pd.DataFrame(lines).set_index("rule")

# %% [markdown]
# **What to see.** Every rule keeps less than it promised, and the expected size differs from split to split. A single number like "37" hides both. The paper's
# rule does not even promise to lose nothing: what is best for each pair of neighbors is not best for the way through all of them.
#
# ## What does it save in the end?
# The classifier's work is *coordinates read × classes* multiply-adds. But the vector has to be made first, by the whole encoder, before even its first number is known.

# %%
encode = cell_price(encoder, encoder.n_layers, encoder.width)["encode_flops"]
for name in [n for n in results if n != "digits"]:
    table = results[name].set_index(["kind", "rule"])
    classes, full = runs[name]["MRL"][0]["test"].n_classes, TEXT.width
    tied, separate = (
        classes * table.loc[kind, "one threshold"][charge] for kind, charge in (("MRL-E", "final"), ("MRL", "visited"))
    )
    print(f"{name:<10} {classes:>3} classes: {full} dimensions {full * classes:>7,} multiply-adds; cascade MRL-E {tied:>7,.0f}, MRL {separate:>7,.0f}; "
          f"making the vector: {encode / 1e6:,.0f} million")  # fmt: skip

# %% [markdown]
# **What to see.** For one text with some dozens of classes the saving is tiny: making the vector costs many thousand times more. Separate classifiers that are all
# charged can even cost more than the full size at once. The saving begins to count
# where classes go into the hundred thousands, or where vectors were made long ago and have to be read from a disk or sent over a network.
#
# ## Thirty-seven
# "A 37-dimensional representation is as accurate as one of 512": so the paper is often quoted. Look at the sum once more: the expected size
# $\sum_m \pi_m m$ is a mean over items that read very different sizes.

# %%
for name, table in results.items():
    row = table.set_index(["kind", "rule"]).loc["MRL-E", "one threshold"]
    dims = runs[name]["MRL-E"][0]["test"].dims
    parts = " + ".join(f"{s:.0%} x {d}" for s, d in zip(row.shares, dims))
    print(f"{name:<10} {parts} = {row.final:.0f}")

# %% [markdown]
# **What to see.** No item is ever described by a vector of that many numbers. And a cascade needs the full vector of every item at hand, for the
# items that go all the way.
#
# ## Exercises
# **1 · Expected size** (5 minutes, easy). Write `expected_size(shares, dims)`: $\sum_m \pi_m m$. `shares` has shape (M,), `dims` are the M sizes.


# %%
def expected_size(shares, dims):
    raise NotImplementedError  # (M,), M sizes -> one number


check.expected_size(expected_size)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def expected_size(shares, dims):
#     return float(np.sum(shares * np.array(dims)))
#
#
# check.expected_size(expected_size)
# ```
# </details>
#
# **2 · The decision** (10 minutes, medium). Write `decide(confidence, thresholds)`. `confidence` has shape (M, N): M sizes, N items; `thresholds` has
# shape (M − 1,). Return for each item the index of the size that answers: the first $i$ with confidence$_i \ge t_i$, else the last, M − 1. A loop is fine.


# %%
def decide(confidence, thresholds):
    raise NotImplementedError  # (M, N), (M - 1,) -> (N,)


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
# `argmax` of true and false finds the first true. The last size is always "sure".
# </details>
#
# **3 · Find the error** (10 minutes, medium). A colleague reports what the classifiers read on average, for a tied classifier and for separate ones.
# The numbers are the same. Correct the function.


# %%
def charge(shares, dims, separate):
    cost = np.array(dims, dtype=float)  # (M,), what an item costs that is answered at each size
    return float(shares @ cost)


check.charge(charge)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def charge(shares, dims, separate):
#     cost = np.array(dims, dtype=float)
#     if separate:
#         cost = np.cumsum(cost)
#     return float(shares @ cost)
#
#
# check.charge(charge)
# ```
#
# A separate classifier of 16 cannot use what the one of 8 has computed. The paper's own 37 becomes 62 this way.
# </details>
#
# ## In this notebook we saw
# - a cascade answers easy items with few numbers and hard ones with many; its *expected size* is a mean, not the size of any vector;
# - thresholds are learned, and a rule with much freedom and few held-out items promises more than it keeps;
# - tied classifiers pay for the last size, separate ones for all they pass: up to about twice as much;
# - the plain alternative to compare with is one smaller size for everyone, and the limit is the oracle;
# - the encoder's work is not saved at all.
#
# ## Where to read on
# - A. Kusupati, G. Bhatt, A. Rege and others: *Matryoshka Representation Learning*, arXiv 2205.13147, appendix D.1 (cascades) and J (which items need which size).
# - P. Viola, M. Jones: *Rapid Object Detection using a Boosted Cascade of Simple Features*, CVPR 2001, where cascades became known.
# - C. Guo, G. Pleiss, Y. Sun, K. Weinberger: *On Calibration of Modern Neural Networks*, arXiv 1706.04599.
# - Notebook 06 does for *search* what this one does for classes.
