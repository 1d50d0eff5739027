"""Matryoshka embeddings, hands on: losses, grids and panels for the course in `notebooks/`.

The main names are here at the top; each is loaded on first use, so that importing the package (and the command line's
help) stays quick.

>>> import mrl_tutorial as mrl
>>> mrl.default_dims(64)
(8, 16, 32, 64)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:  # the same names for type checkers and editors; tests/test_public_names.py compares the two lists
    from mrl_tutorial import panels as panels
    from mrl_tutorial.errors import InputError as InputError
    from mrl_tutorial.evaluation.embeddings import embed_task as embed_task
    from mrl_tutorial.evaluation.quality import evaluate_grid as evaluate_grid
    from mrl_tutorial.evaluation.reduction import Reduction as Reduction
    from mrl_tutorial.grid import Grid as Grid
    from mrl_tutorial.grid import default_dims as default_dims
    from mrl_tutorial.losses import TERMS as TERMS
    from mrl_tutorial.losses import Batch as Batch
    from mrl_tutorial.losses import NestedClassifier as NestedClassifier
    from mrl_tutorial.losses import term as term
    from mrl_tutorial.models.encoder import Encoder as Encoder
    from mrl_tutorial.models.export import export as export
    from mrl_tutorial.panels.cascade_tuner import CascadeTuner as CascadeTuner
    from mrl_tutorial.panels.explorer import GridExplorer as GridExplorer
    from mrl_tutorial.panels.funnel_designer import FunnelDesigner as FunnelDesigner
    from mrl_tutorial.panels.importance_weights import ImportanceWeights as ImportanceWeights
    from mrl_tutorial.panels.prefix_map import PrefixMap as PrefixMap
    from mrl_tutorial.panels.size_calculator import SizeCalculator as SizeCalculator
    from mrl_tutorial.panels.spectrum_explorer import SpectrumExplorer as SpectrumExplorer
    from mrl_tutorial.panels.term_explorer import TermExplorer as TermExplorer
    from mrl_tutorial.panels.truncation_trap import TruncationTrap as TruncationTrap
    from mrl_tutorial.prefixes import nested_scores as nested_scores
    from mrl_tutorial.prefixes import normalize as normalize
    from mrl_tutorial.prefixes import prefix as prefix
    from mrl_tutorial.recipes.recipe import Recipe as Recipe
    from mrl_tutorial.recipes.registry import RECIPES as RECIPES
    from mrl_tutorial.recipes.registry import get_recipe as get_recipe
    from mrl_tutorial.retrieval.costs import cell_price as cell_price
    from mrl_tutorial.retrieval.measure import embed_splits as embed_splits
    from mrl_tutorial.retrieval.measure import measure_path as measure_path
    from mrl_tutorial.retrieval.milvus import MilvusStore as MilvusStore
    from mrl_tutorial.retrieval.planner import plan_retrieval as plan_retrieval
    from mrl_tutorial.retrieval.retriever import Retriever as Retriever
    from mrl_tutorial.retrieval.retriever import exact_search as exact_search
    from mrl_tutorial.retrieval.stages import Stage as Stage
    from mrl_tutorial.retrieval.stages import funnel as funnel
    from mrl_tutorial.retrieval.stages import shortlist as shortlist
    from mrl_tutorial.tasks.load import load_task as load_task
    from mrl_tutorial.training.loop import train as train

_NAMES = {  # module -> the names that it gives
    "errors": ("InputError",),
    "grid": ("Grid", "default_dims"),
    "prefixes": ("nested_scores", "normalize", "prefix"),
    "losses": ("TERMS", "Batch", "NestedClassifier", "term"),
    "recipes.recipe": ("Recipe",),
    "recipes.registry": ("RECIPES", "get_recipe"),
    "models.encoder": ("Encoder",),
    "models.export": ("export",),
    "tasks.load": ("load_task",),
    "evaluation.embeddings": ("embed_task",),
    "evaluation.quality": ("evaluate_grid",),
    "evaluation.reduction": ("Reduction",),
    "training.loop": ("train",),
    "retrieval.costs": ("cell_price",),
    "retrieval.milvus": ("MilvusStore",),
    "retrieval.measure": ("embed_splits", "measure_path"),
    "retrieval.planner": ("plan_retrieval",),
    "retrieval.retriever": ("Retriever", "exact_search"),
    "retrieval.stages": ("Stage", "funnel", "shortlist"),
    "panels.cascade_tuner": ("CascadeTuner",),
    "panels.explorer": ("GridExplorer",),
    "panels.funnel_designer": ("FunnelDesigner",),
    "panels.importance_weights": ("ImportanceWeights",),
    "panels.prefix_map": ("PrefixMap",),
    "panels.size_calculator": ("SizeCalculator",),
    "panels.spectrum_explorer": ("SpectrumExplorer",),
    "panels.term_explorer": ("TermExplorer",),
    "panels.truncation_trap": ("TruncationTrap",),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted([*_HOME, "panels"])


def __getattr__(name: str) -> Any:
    if name == "panels":
        return import_module(".panels", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("anywidget", "ipywidgets", "plotly"):
            raise
        from mrl_tutorial.errors import InputError

        raise InputError(f'{name} needs {package}: pip install "mrl-tutorial[notebooks]"') from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
