"""Checks of lesson 13: perplexity, the nested loss of a tied table, and a rule of one's own for when to stop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exercises.mistakes import recognize
from exercises.verdict import exercise

DIMS = (4, 8, 16)
Loss = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[int, ...]], float]


@exercise("e to the mean loss: among that many equally likely words the model seems to choose.")
def perplexity(function: Callable[[np.ndarray], float]) -> str | None:
    """Exercise "perplexity": losses in nats (N,) to one number."""
    losses = np.log([2.0, 8.0, 4.0])
    got = function(losses.copy())
    if got is None or np.ndim(got) != 0:
        return f"the result must be one number, yours has shape {np.shape(got)}: take the mean first."
    mistakes = {
        "that is the mean loss; perplexity is e to this power.": losses.mean(),
        "you averaged after the exponential: take the mean of the losses first, then e to it.": np.exp(losses).mean(),
        "the losses are in nats, so the base is e, not 2.": 2 ** losses.mean(),
        "the sign: a loss is already minus the logarithm of a probability.": np.exp(-losses.mean()),
        "take the mean of the losses, not their sum.": np.exp(losses.sum()),
    }
    if hint := recognize(got, mistakes):
        return hint
    return None if np.isclose(got, 4) else f"losses log 2, log 8 and log 4 make a perplexity of 4, yours says {got:g}."


@exercise("one state, one table, read at several widths, and the losses added up: that is a Matryoshka language model.")
def nested_loss(function: Loss) -> str | None:
    """Exercise "the nested loss": states (N, D), table (V, D), bias (V,), targets (N,), widths to the sum of the
    cross-entropies, each the mean over N."""
    rng = np.random.default_rng(0)
    states, table, bias = rng.normal(size=(6, 16)), rng.normal(size=(5, 16)), rng.normal(size=5)
    targets = np.array([0, 4, 2, 2, 1, 3])

    def loss(logits: np.ndarray) -> np.ndarray:
        return np.log(np.exp(logits).sum(1)) - logits[np.arange(6), targets]  # (N,)

    each = np.array([loss(states[:, :m] @ table[:, :m].T + bias) for m in DIMS])
    got = function(states.copy(), table.copy(), bias.copy(), targets.copy(), DIMS)
    if got is None or np.ndim(got) != 0:
        return f"the result must be one number, yours has shape {np.shape(got)}: mean over tokens, sum over widths."
    mistakes = {
        "only one width is counted: is the return inside of the loop?": each[0].mean(),
        "only the last width is counted: add to the total, do not replace it.": each[-1].mean(),
        "you took the mean over the widths; add them up.": each.mean(),
        "within one width take the mean over the tokens; the sum is over the widths only.": each.sum(),
        "the bias is missing: every width adds the whole bias.": sum(
            loss(states[:, :m] @ table[:, :m].T).mean() for m in DIMS
        ),
        "you cut rows of the table: a row is a token. Cut its columns, table[:, :m].": np.inf,
    }
    if hint := recognize(got, mistakes):
        return hint
    want = each.mean(1).sum()
    return None if np.isclose(got, want) else f"for the made-up numbers the loss is {want:.4f}, yours is {got:.4f}."


def made_up_tokens(n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (widths, n, 20 tokens) and the tokens that come, (n,), drawn from the widest one's probabilities.
    Half of the tokens are easy: all widths know the same. At the others small widths know little."""
    rng = np.random.default_rng(0)
    best = np.exp(rng.normal(size=(n, 20)) * rng.choice([1.0, 3.0], size=(n, 1)))
    best /= best.sum(-1, keepdims=True)
    known = np.where(rng.random(n) < 0.5, 1.0, np.array([[0.1], [0.6], [1.0]]))[..., None]  # (widths, n, 1)
    targets = (best.cumsum(-1) < rng.random((n, 1))).sum(-1).clip(max=19)
    return known * best + (1 - known) / 20, targets


@exercise("your rule beats every mixture of fixed widths: it spends coordinates where they help.")
def stop(function: Callable[[np.ndarray], np.ndarray]) -> str | None:
    """Exercise "when to stop": probabilities (M, N, V) at M widths to the index of the width that answers, (N,)."""
    p, targets = made_up_tokens()
    n, last = len(targets), len(DIMS) - 1
    found = function(p.copy())
    if np.shape(found) != (n,):
        return f"{n} tokens need {n} indices, the result has shape {np.shape(found)}."
    index = np.asarray(found).astype(int)
    if (index != np.asarray(found)).any() or index.min() < 0 or index.max() > last:
        return f"an index must be a whole number from 0 to {last}."
    for i in range(50):
        cut = p[:, i : i + 1].copy()
        cut[index[i] + 1 :] = np.where(np.arange(p.shape[2]) == 0, 0.981, 0.001)  # what it may not have looked at
        if np.asarray(function(cut)).tolist() != [index[i]]:
            return (
                "a rule sees one token at a time, and no width beyond the one that answers. "
                "(Where no width is sure, the last one must answer: argmax of nothing but False is 0.)"
            )
    loss = -np.log(p[:, np.arange(n), targets])  # (M, N)
    size, ours = np.array(DIMS)[index].mean(), loss[index, np.arange(n)].mean()
    fixed = float(np.interp(size, DIMS, loss.mean(1)))
    said = f"{size:.1f} coordinates on average give a perplexity of {np.exp(ours):.2f}"
    if len(set(index.tolist())) == 1:
        return f"your rule always stops at the same width ({said}): let it depend on the probabilities."
    if ours >= fixed - 1e-3:
        return f"{said}; tossing a coin between two fixed widths gives {np.exp(fixed):.2f}. When is a small width sure?"
    return None
