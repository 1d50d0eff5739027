"""How a loss term declares itself: its name, and what it needs of a batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor

#: term(batch, layers, dims, **options) -> (len(layers), len(dims)), the loss of every cell, differentiable
Term = Callable[..., Tensor]
SomeTerm = TypeVar("SomeTerm", bound=Term)


def term(
    name: str, *, needs_documents: bool = False, needs_last_layer: bool | Callable[[Mapping[str, Any]], bool] = False
) -> Callable[[SomeTerm], SomeTerm]:
    """Declare a function to be the loss term `name`; returns the same function with three attributes added.

    needs_documents: whether it compares queries with documents, which a classification task does not have.
    needs_last_layer: whether it looks at the model's last layer even for cells of lower layers, as a teacher, or a
    function of the term's options that says so; training stops the forward pass early where nothing does. A function
    without this decorator can be a term too: it is then taken to need the last layer, and no documents.

    >>> @term("length", needs_last_layer=False)
    ... def length(batch, layers, dims, power=2):
    ...     return torch.stack([batch.query_rows(layers)[..., :d].pow(power).mean((1, 2)) for d in dims], 1)
    >>> term_name(length), needs_last_layer(length), options_of(length)
    ('length', False, {'power': 2})
    """

    def declare(function: SomeTerm) -> SomeTerm:
        vars(function).update(term_name=name, needs_documents=needs_documents, needs_last_layer=needs_last_layer)
        return function

    return declare


def term_name(key: str | Term) -> str:
    """The name that a term is reported under: itself, the declared one, or its function's."""
    if isinstance(key, str):
        return key
    return getattr(key, "term_name", getattr(key, "__name__", type(key).__name__))


def needs_last_layer(function: Term, options: Mapping[str, Any] | None = None) -> bool:
    """Whether a term with these options looks at the model's last layer even for cells of lower layers."""
    declared = getattr(function, "needs_last_layer", True)
    return declared({**options_of(function), **(options or {})}) if callable(declared) else declared


def options_of(function: Term) -> dict[str, Any]:
    """A term's keyword options and their defaults: everything after batch, layers and dims."""
    parameters = list(inspect.signature(function).parameters.values())[3:]
    return {parameter.name: parameter.default for parameter in parameters}
