"""Linear heads over prefixes, and their loss."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.term import Batch, Ints, term
from mrl_tutorial.prefixes import check_dims


class NestedClassifier(nn.Module):
    """A linear classifier for each width. `tied=False`: one head a width (MRL); `tied=True`: one head whose columns are
    sliced, with one bias added in full at every width (MRL-E). arXiv 2205.13147, section 3.

    n_layers=1: all layers share the heads; else layer l uses its own, l in 1..n_layers.
    Raises InputError where `dims` do not increase within 1..width, or there are fewer than 2 classes.

    >>> heads = NestedClassifier(width=8, dims=(2, 8), n_classes=3)
    >>> heads(torch.zeros(6, 4, 8), layers=range(1, 7), dims=(2, 8)).shape  # layers, dims, texts, classes
    torch.Size([6, 2, 4, 3])
    """

    def __init__(self, width: int, dims: Ints, n_classes: int, n_layers: int = 1, tied: bool = False) -> None:
        super().__init__()
        self.width, self.dims, self.n_layers, self.tied = width, check_dims(dims, width), n_layers, tied
        if n_classes < 2:
            raise InputError(f"{n_classes} classes: a classifier needs at least 2")
        # the scale of torch.nn.Linear for each head's own width
        sizes = (width,) if tied else self.dims
        self.weight = nn.ParameterList(torch.empty(n_layers, n_classes, d).uniform_(-1, 1) / d**0.5 for d in sizes)
        self.bias = nn.ParameterList(torch.empty(n_layers, n_classes).uniform_(-1, 1) / d**0.5 for d in sizes)

    def forward(self, x: Tensor, layers: Ints, dims: Ints) -> Tensor:
        """Logits of raw (not normalized) prefixes. x (len(layers), B, D) -> (len(layers), len(dims), B, n_classes).

        Raises InputError for a layer or a dimension without a head."""
        dims = check_dims(dims, self.width)
        heads = [0 if self.n_layers == 1 else layer - 1 for layer in layers]
        for head in heads:
            if not 0 <= head < self.n_layers:
                raise InputError(f"no head for layer {head + 1}: this classifier has layers 1 to {self.n_layers}")
        if self.tied:
            weight = self.weight[0][heads]  # (L, C, D)
            blocks = [x[..., a:b] @ weight[..., a:b].mT for a, b in pairwise((0, *dims))]  # M x (L, B, C)
            return torch.stack(blocks, 1).cumsum(1) + self.bias[0][heads][:, None, None]
        logits = []
        for d in dims:
            if d not in self.dims:
                raise InputError(f"no head for dimension {d}: this classifier has {list(self.dims)}")
            j = self.dims.index(d)
            logits.append(torch.baddbmm(self.bias[j][heads][:, None], x[..., :d], self.weight[j][heads].mT))
        return torch.stack(logits, 1)


@term("classification")
def classification(batch: Batch, layers: Ints, dims: Ints) -> Tensor:
    """Cross-entropy of `batch.classifier`'s logits for `batch.queries` against `batch.labels`, mean over the batch.

    Returns (len(layers), len(dims)). Raises InputError where classifier or integer labels are missing. Source: MRL,
    arXiv 2205.13147, equation 1."""
    if batch.classifier is None:
        raise InputError("classification needs heads: give the batch classifier=NestedClassifier(...)")
    if batch.labels is None or batch.labels.is_floating_point():
        raise InputError("classification needs integer class labels, one per query")
    logits = batch.classifier(batch.query_rows(layers), layers, dims)  # (L, M, B, C)
    labels = batch.labels.long().expand(logits.shape[:-1])
    losses = F.cross_entropy(logits.flatten(0, 2), labels.flatten(), reduction="none")
    return losses.view(labels.shape).mean(-1)
