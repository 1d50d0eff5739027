# %% [markdown]
# # 02 · The nested loss: six lines that make a doll
#
# Somebody asks NumPy's documentation: "Return the maximum of an array." There are four candidates on the table, and the
# search picks the wrong one. How do you teach a model to know better? And how do you teach it that at *every* size of
# its vector at once?
#
# **You will** write by hand the loss that trains embedding models, extend it to all sizes in six lines, and train with
# it in seconds.
# You need [lesson 01](01_the_doll.ipynb) and some PyTorch. This is a core lesson and takes about 35 minutes.

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
import time
import warnings

import pandas as pd
import torch
import torch.nn.functional as F
from exercises import nested_loss as check
from sentence_transformers import SentenceTransformer

import mrl_tutorial as mrl

FAST = os.environ.get("FAST") == "1"  # a small budget, for a quick look that everything runs
DIMS = (8, 16, 32, 64, 128, 256, 384)

# %% [markdown]
# ## Four queries, four documents
# Here are four functions of NumPy. The first sentence of each docstring is the query, the rest of it is its document.
# MiniLM turns each text into 384 numbers, and the **cosine** says how well two of them agree. Which queries find the
# right document? Look for the largest number in each row.

# %%
task = mrl.load_task("pydocs")
encoder = mrl.Encoder.load("all-MiniLM-L6-v2")
four = ["max", "argmax", "mean", "std"]
queries = [task.queries[f"q:numpy.fromnumeric.{name}"] for name in four]
documents = [task.corpus[f"numpy.fromnumeric.{name}"] for name in four]

q = encoder.encode(queries, convert_to_tensor=True)  # (4, 384), rows of length 1
d = encoder.encode(documents, convert_to_tensor=True)  # (4, 384)
cosines = q @ d.T  # (4, 4)
display(pd.DataFrame({"query": queries, "document": documents}, index=four))
pd.DataFrame(cosines.numpy(), index=four, columns=four).round(2)

# %% [markdown]
# **What to see.** Each query's own document is on the diagonal. The query of `max` prefers the document of `argmax`,
# 0.58 against 0.44. The other three find their own. So training should raise the 0.44 in the first row and lower the
# 0.58. How hard should it push, and where else?
#
# ## A loss by hand
# Read each row as a question with four possible answers. Divide the cosines by a **temperature**, here 0.05, so that
# small differences count. Take exponentials and divide each by the sum of its row, as in any classifier (*softmax*).
# Now every row holds shares that add up to 1. The loss is minus the logarithm of the right share, averaged over the
# rows. This **contrastive loss** is called *InfoNCE*. The other queries' documents are its *in-batch negatives*. They
# cost nothing, because they are encoded anyway.
#
# The next cell also asks PyTorch for the gradient. It says how hard each cosine is pushed.

# %%
cosines.requires_grad_()
shares = torch.exp(cosines / 0.05)
shares = shares / shares.sum(dim=1, keepdim=True)  # (4, 4), each row adds up to 1
loss = -shares.diag().log().mean()
push = -torch.autograd.grad(loss, cosines)[0]

display(pd.DataFrame(shares.detach().numpy(), index=four, columns=four).round(2))
display(pd.DataFrame(push.numpy(), index=four, columns=four).round(2))
print("by hand", loss.item(), " PyTorch", F.cross_entropy(cosines / 0.05, torch.arange(4)).item())

# %% [markdown]
# **What to see.** The first table has the shares, the second the push: plus is "closer", minus is "further away".
# Nearly all of it goes to the one row that is wrong. The row of `std` is right but not quite sure, and gets a little.
# The other two are hardly touched. PyTorch's cross-entropy gives the same loss, with document $i$ as the class of query
# $i$.
#
# **Exercise 1 · The loss by hand** (8 minutes, easy). Write it for any batch of raw vectors: scale the rows to length
# 1, compute the shares as above, and return minus the mean logarithm of their diagonal.


# %%
def info_nce(queries, documents, temperature):
    raise NotImplementedError  # (B, D), (B, D), number -> one number


check.info_nce(info_nce)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def info_nce(queries, documents, temperature):
#     q = F.normalize(queries, dim=1)  # (B, D)
#     d = F.normalize(documents, dim=1)  # (B, D)
#     shares = (q @ d.T / temperature).softmax(dim=1)  # (B, B)
#     return -shares.diag().log().mean()
#
#
# check.info_nce(info_nce)
# ```
#
# `F.cross_entropy(q @ d.T / temperature, torch.arange(len(q)))` does the same and is safer with very small shares.
# </details>
#
# ## Now cut
# Here are the same four pairs, cut to their first 8 numbers.

# %%
with torch.no_grad():
    short = F.normalize(q[:, :8], dim=1) @ F.normalize(d[:, :8], dim=1).T  # (4, 4)
pd.DataFrame(short.numpy(), index=four, columns=four).round(2)

# %% [markdown]
# **What to see.** Now only `std` finds its own document. Nobody ever asked these 8 numbers to tell functions apart. The
# cure is to ask.
#
# **Exercise 2 · The nested loss** (10 minutes, the idea). For every size `d` in `dims`, take the contrastive loss of
# the first `d` numbers, and add all these losses up.


# %%
def nested_loss(queries, documents, dims, temperature):
    raise NotImplementedError  # (B, D), (B, D), sizes, number -> one number


check.nested(nested_loss)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def nested_loss(queries, documents, dims, temperature):
#     total = 0
#     for d in dims:
#         q, p = F.normalize(queries[:, :d], dim=1), F.normalize(documents[:, :d], dim=1)  # (B, d) each
#         total = total + F.cross_entropy(q @ p.T / temperature, torch.arange(len(q)))  # (B, B) -> a number
#     return total
#
#
# check.nested(nested_loss)
# ```
# </details>
#
# ## The six lines
# This is all that Matryoshka training adds: no new layer, no new parameter, only more terms in the loss. The first 8
# numbers take part in all seven losses, the last 128 in only one, so what matters most moves to the front.


# %%
def nested(queries, documents, dims, temperature=0.05):
    labels, total = torch.arange(len(queries)), torch.zeros(())  # document i belongs to query i
    for d in dims:
        q = F.normalize(queries[:, :d], dim=1)  # (B, D) -> (B, d): cut, then length 1
        p = F.normalize(documents[:, :d], dim=1)  # (B, d)
        total = total + F.cross_entropy(q @ p.T / temperature, labels)  # (B, B) -> one number
    return total


a, b = torch.randn(2, 64, 384, generator=torch.Generator().manual_seed(0))
scores = mrl.nested_scores(a, b, DIMS)  # (7, 64, 64): a table of cosines for each size
package = torch.stack([F.cross_entropy(s / 0.05, torch.arange(64)) for s in scores]).sum()
print("six lines", nested(a, b, DIMS).item(), " the course's package", package.item())

# %% [markdown]
# sentence-transformers, the usual library for such training, calls InfoNCE `MultipleNegativesRankingLoss` and wraps it in
# `MatryoshkaLoss`. It expects a model, so we hand it one that simply returns the vectors it is given.


# %%
warnings.filterwarnings("ignore", "Importing from", DeprecationWarning)  # the old place still works
from sentence_transformers import losses


class Given(torch.nn.Module):
    def forward(self, features, **_):
        return {"sentence_embedding": features["given"]}


model = SentenceTransformer(modules=[Given()], device="cpu")
theirs = losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), matryoshka_dims=list(DIMS))
theirs = theirs([{"given": a}, {"given": b}], None)
print("sentence-transformers", theirs.item())
assert torch.allclose(theirs, nested(a, b, DIMS), rtol=1e-5) and torch.allclose(package, theirs, rtol=1e-5)

# %% [markdown]
# ## Train in seconds
# Training a whole transformer takes minutes ([lesson 06](06_your_own_model.ipynb)). We freeze MiniLM and train a
# **head** behind it: one matrix of 384 × 384 numbers, which starts as the identity. The texts are encoded only once,
# which takes about a minute.

# %%
if FAST:
    task = task.smaller(500)
parts = mrl.embed_task(task, encoder, layers=[6])  # test queries and all documents, (1, N, 384) each
train_texts, right_documents = task.pairs("train")
row = {text: i for i, text in enumerate(task.corpus.values())}
train_q = torch.tensor(encoder.encode_layers(train_texts, layers=[6])[0])  # (pairs, 384)
train_d = torch.tensor(parts["documents"][0, [row[text] for text in right_documents]])  # (pairs, 384)
print(train_q.shape, train_d.shape)

# %% [markdown]
# The loop is plain PyTorch. Read it aloud: take 256 pairs, move both sides through the matrix, compute the loss, step.


# %%
def train_head(dims, temperature=0.05, steps=20 if FAST else 200):
    torch.manual_seed(0)
    head = torch.nn.Linear(384, 384, bias=False)
    torch.nn.init.eye_(head.weight)  # begins by changing nothing
    optimizer = torch.optim.Adam(head.parameters(), lr=0.001)
    for _ in range(steps):
        rows = torch.randperm(len(train_q))[:256]
        loss = nested(head(train_q[rows]), head(train_d[rows]), dims, temperature)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.requires_grad_(False)


began = time.perf_counter()
heads = {"MRL": train_head(DIMS), "full size only": train_head([384]), "plain": torch.nn.Identity()}
print(f"two heads trained in {time.perf_counter() - began:.0f} seconds")

# %% [markdown]
# The two heads saw the same pairs in the same order for the same number of steps. Only the list of sizes in the loss
# differs. We search with the *test* queries: no head has seen them, and nothing was chosen by looking at them.
# **nDCG@10** is 1 if the right document comes first, less if it comes later, and 0 beyond place ten.


# %%
def quality(head):
    moved = {part: head(torch.tensor(x)).numpy() for part, x in parts.items()}
    return mrl.evaluate_grid(task, embeddings=moved, dims=DIMS).values[0]  # (7,)


curves = {name: quality(head) for name, head in heads.items()}
mrl.plots.lines(DIMS, curves, title="Same pairs, same steps: the nested loss lifts the short vectors")

# %% [markdown]
# **What to see.** At 16 numbers MRL scores about twice as high as the plain vectors. The head trained at full size
# learned something too, as the right end of its line shows, but up to size 32 it is hardly better than plain. At full
# size MRL gives up next to nothing.
#
# **Try this.** Write `curves["warm"] = quality(train_head(DIMS, temperature=0.5))` and draw the lines again. Which end
# of the curve suffers? Then do the same with `train_head([8])`, and look at size 8.
#
# And our four functions? They were among the training pairs, so take this as an illustration, not a test.

# %%
with torch.no_grad():
    x, y = heads["MRL"](q)[:, :8], heads["MRL"](d)[:, :8]
    short = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
pd.DataFrame(short.numpy(), index=four, columns=four).round(2)

# %% [markdown]
# **What to see.** Before, only `std` found its document with 8 numbers. Now three of the four do, two of them only
# just. Eight numbers cannot hold everything.
#
# ## When the wrong document is right
# So far we treated every other query's document as wrong. Which documents does "Return the maximum of an array" like best?

# %%
near = (F.normalize(train_d, dim=1) @ q[0]).topk(4).indices.tolist()
pd.DataFrame({"query": [train_texts[i] for i in near], "document": [right_documents[i] for i in near]})

# %% [markdown]
# **What to see.** Its own document is not even among the four. Rows 1 and 3 are about the maximum of a DataFrame and of
# a matrix, both acceptable. When one of them is in the same batch, the loss pushes it away all the same. Such a
# document, treated as wrong although it answers the query, is a **false negative**.
#
# **Exercise 3 · Unfair negatives** (10 minutes, open). A wrong document with a high cosine is called a *hard* negative.
# It teaches the most, if it really is wrong. Using only the table of cosines, invent a rule for which entries the loss
# should skip. The check makes up a batch. Its false negatives score within 0.03 of the query's own document, its hard
# negatives about 0.16 below it. Leave out at least three quarters of the false ones. Keep at least three quarters of
# the hard ones, nearly all others, and every query's own document.


# %%
def leave_out(cosines):
    raise NotImplementedError  # (B, B), right ones on the diagonal -> (B, B) booleans, True = leave out


check.unfair(leave_out)

# %% [markdown]
# <details><summary>Solution</summary>
#
# ```python
# def leave_out(cosines):
#     own = cosines.diag()[:, None]  # (B, 1): of each query's own document
#     mask = cosines > own - 0.05
#     return mask & ~torch.eye(len(cosines), dtype=torch.bool)
#
#
# check.unfair(leave_out)
# ```
#
# The rule leaves out what is "nearly as good as the query's own document or better". GISTEmbed (arXiv 2402.16829) uses
# one like it, with a second model as the judge. In the loss, `cosines.masked_fill(mask, -torch.inf)` takes them out.
# </details>
#
# ## In this lesson we saw
# - a batch is a quiz: every query has to pick its own document, and the loss pushes where the pick is wrong or unsure;
# - the nested loss adds up that loss for every size, and each prefix is normalized after the cut;
# - our six lines give the same number as the package and sentence-transformers;
# - one matrix and 200 steps are enough to rearrange frozen vectors so that the first numbers count most.
#
# **What to keep in mind.** A head behind a frozen model is a demonstration. It can only rearrange what MiniLM knows, it
# was trained once, and MiniLM had seen docstrings before. The next lesson asks whether something simpler does as well.
#
# **On your own data.** `task = mrl.load_task("my/folder")` reads a folder in BEIR's format, with queries for training
# and for the test. From "Train in seconds" on, the lesson runs as it is.
#
# ## Where to read on
# - Next: [does it work?](03_does_it_work.ipynb) The words are in [the glossary](../GLOSSARY.md).
# - A. Kusupati et al., *Matryoshka Representation Learning* (arXiv 2205.13147), where the nested loss comes from.
# - A. van den Oord et al., *Contrastive Predictive Coding* (arXiv 1807.03748), where InfoNCE comes from.
# - sentence-transformers on [Matryoshka
#   embeddings](https://sbert.net/examples/sentence_transformer/training/matryoshka/README.html).
