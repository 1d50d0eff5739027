"""Loss terms, one file per kind. Each is a function `term(batch, layers, dims, **options) -> (len(layers), len(dims))`:
the loss of every cell of the grid, differentiable. Your own has the same signature.

To add one to the package, write the function in one of these files under the decorator `term`: it is in `TERMS` then,
under the name that you gave, and recipes can weigh it.
"""

from mrl_tutorial.losses import classification, contrastive, distillation
from mrl_tutorial.losses.classification import NestedClassifier
from mrl_tutorial.losses.term import Batch, Term, term

__all__ = ["TERMS", "Batch", "NestedClassifier", "Term", "term"]

#: name -> term, as the files declare them
TERMS: dict[str, Term] = {
    function.term_name: function
    for module in (contrastive, classification, distillation)
    for function in vars(module).values()
    if hasattr(function, "term_name")
}
