"""Checks of lesson 02: InfoNCE, the nested loss, and wrong documents that are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from exercises.mistakes import recognize
from exercises.verdict import exercise

TEMPERATURE = 0.2
DIMS = (2, 3, 6)


def _pairs(rows: int = 5, width: int = 6) -> tuple[Tensor, Tensor]:
    """Queries and documents of very different lengths, (rows, width) each."""
    draw = torch.Generator().manual_seed(3)
    both = torch.randn(2, rows, width, generator=draw) * (1 + 2 * torch.rand(2, rows, 1, generator=draw))
    return both[0], both[1]


def _loss(scores: Tensor) -> float:
    """Mean cross-entropy of row i choosing column i."""
    return float(F.cross_entropy(scores, torch.arange(len(scores))))


def _number(result: Any) -> float | None:
    """The result as one number; None where it is none."""
    if isinstance(result, Tensor):
        return float(result.detach()) if result.numel() == 1 else None
    return float(result) if np.ndim(result) == 0 and result is not None else None


@exercise("minus the logarithm of the right document's share, averaged over the queries.")
def info_nce(function: Callable[[Tensor, Tensor, float], Any]) -> str | None:
    """Exercise "the loss by hand": queries (B, d), documents (B, d), temperature -> one number."""
    q, d = _pairs()
    got = _number(function(q.clone(), d.clone(), TEMPERATURE))
    if got is None:
        return "the result must be one number: take the mean over the queries at the end."
    cosines = F.normalize(q, dim=1) @ F.normalize(d, dim=1).T
    right = _loss(cosines / TEMPERATURE)
    if abs(got - right) < 1e-4:
        if abs(float(function(q.clone(), d.clone(), 1.0)) - _loss(cosines)) < 1e-4:
            return None
        return "it is right for temperature 0.2 but not for 1: divide by the argument."
    mistakes = {
        "bring every row to length 1 first, so that the products are cosines.": _loss(q @ d.T / TEMPERATURE),
        "divide the cosines by the temperature before the exponential.": _loss(cosines),
        "a small temperature makes differences larger: divide by it, do not multiply.": _loss(cosines * TEMPERATURE),
        "that is the other way round: a query chooses among documents, so each *row* of shares adds up to 1.": (
            _loss(cosines.T / TEMPERATURE)
        ),
        "the sign is missing: a loss is *minus* the logarithm of the right document's share.": -right,
        "take the mean over the queries, not the sum.": len(q) * right,
    }
    return recognize(got, mistakes) or (
        f"for the check's 5 pairs the loss is {right:.4f}, yours says {got:.4f}: cosines, divided by the temperature, "
        "softmax over each row, then minus the mean logarithm of the diagonal."
    )


@exercise("the same loss once for every size, each prefix brought to length 1 by itself, all added up.")
def nested(function: Callable[[Tensor, Tensor, Sequence[int], float], Any]) -> str | None:
    """Exercise "the nested loss": queries (B, D), documents (B, D), dims, temperature -> one number."""
    q, d = _pairs()
    q, d = q.requires_grad_(), d.requires_grad_()
    result = function(q, d, DIMS, TEMPERATURE)
    got = _number(result)
    if got is None:
        return "the result must be one number: add up the losses of all sizes."

    def at(size: int, start: int = 0, early: bool = False, temperature: float = TEMPERATURE) -> float:
        x, y = (F.normalize(z, dim=1) if early else z for z in (q.detach(), d.detach()))
        x, y = x[:, start:size], y[:, start:size]
        x, y = (x, y) if early else (F.normalize(x, dim=1), F.normalize(y, dim=1))
        return _loss(x @ y.T / temperature)

    right = sum(at(size) for size in DIMS)
    mistakes = {
        "normalize after the cut: a prefix of a vector of length 1 is shorter than 1.": sum(
            at(size, early=True) for size in DIMS
        ),
        "bring every prefix to length 1: without it, long vectors win.": sum(
            _loss(q.detach()[:, :size] @ d.detach()[:, :size].T / TEMPERATURE) for size in DIMS
        ),
        "those are blocks, not prefixes: every size starts at the first number.": sum(
            at(size, start) for start, size in zip((0, *DIMS), DIMS, strict=False)
        ),
        "that is the loss of the largest size alone: add up the losses of all sizes in dims.": at(DIMS[-1]),
        "that is the loss of the first size alone: is `return` inside the loop?": at(DIMS[0]),
        "add the losses up; you took their mean.": right / len(DIMS),
        "divide the cosines by the temperature.": sum(at(size, temperature=1.0) for size in DIMS),
    }
    if abs(got - right) > 1e-4:
        return recognize(got, mistakes) or (
            f"for the check's 5 pairs and the sizes {DIMS} the loss is {right:.4f}, yours says {got:.4f}: "
            "for each d cut both sides, normalize, cross-entropy; then add up."
        )
    if not isinstance(result, Tensor) or not result.requires_grad:
        return "the number is right, but nothing can be learned from it: stay in torch, without .item() or .detach()."
    return None


@exercise("you dropped nearly all of the right answers that were counted as wrong, and kept the hard negatives.")
def unfair(function: Callable[[Tensor], Any]) -> str | None:
    """Exercise "unfair negatives": cosines (B, B), right ones on the diagonal -> (B, B) booleans, True = leave out."""
    cosines, planted, hard = _batch_with_twins()
    mask = torch.as_tensor(function(cosines.clone()))
    if tuple(mask.shape) != tuple(cosines.shape) or mask.dtype != torch.bool:
        return f"return {tuple(cosines.shape)} booleans, such as those of `cosines > …`."
    if mask.diagonal().any():
        return "you leave out right pairs, too: the diagonal must stay False, or there is nothing to pull together."
    found = float(mask[planted].float().mean())
    kept_hard = 1 - float(mask[hard].float().mean())
    rest = ~(planted | hard | torch.eye(len(cosines), dtype=torch.bool))
    lost = float(mask[rest].float().mean())
    if found < 0.75:
        return (
            f"you leave out {found:.0%} of the documents that answer as well as the query's own: aim at 75 % or "
            "more. Compare each row with its own diagonal, and allow a small margin."
        )
    if lost > 0.05:
        return f"you leave out {lost:.0%} of the ordinary negatives, which are what a query learns from."
    if mask.any(dim=1).all():
        return "your rule leaves out something in every row, but half of the queries have no false negative at all."
    if kept_hard < 0.75:
        return (
            f"you keep only {kept_hard:.0%} of the hard negatives, which teach most. A cosine of 0.6 is high for one "
            "query and low for another: compare with the query's own document."
        )
    return None


def _batch_with_twins(size: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines (B, B), and where the documents are that answer as well as the query's own, and the hard negatives."""
    draw = torch.Generator().manual_seed(7)
    cosines = 0.1 + 0.08 * torch.randn(size, size, generator=draw)
    own = 0.35 + 0.5 * torch.rand(size, generator=draw)
    cosines[torch.arange(size), torch.arange(size)] = own
    twins, hard = torch.zeros(2, size, size, dtype=torch.bool)
    for i in range(0, size, 2):
        j, k = (i + 5) % size, (i + 11) % size
        cosines[i, j] = own[i] + 0.06 * float(torch.rand((), generator=draw)) - 0.03
        twins[i, j] = True
        if own[i] > 0.6:
            cosines[i, k] = own[i] - 0.16
            hard[i, k] = True
    return cosines, twins, hard
