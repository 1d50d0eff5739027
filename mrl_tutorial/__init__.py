"""Matryoshka embeddings, hands on: losses, grids and panels for the course in `notebooks/`.

The main names are loaded on first use, so that importing the package (and the command line's help) stays quick.
"""

from __future__ import annotations

__version__ = "0.1.0"

_HOME = {
    "InputError": "errors",
    "Grid": "grid",
    "default_dims": "grid",
    "Batch": "losses",
    "TERMS": "losses",
    "NestedClassifier": "losses",
    "RECIPES": "recipes.registry",
    "Recipe": "recipes.recipe",
    "get_recipe": "recipes.registry",
    "load_task": "tasks.load",
    "Encoder": "models.encoder",
    "evaluate_grid": "evaluation.quality",
    "embed_task": "evaluation.embeddings",
    "train": "training.loop",
    "cell_price": "retrieval.costs",
    "Retriever": "retrieval.retriever",
    "Stage": "retrieval.stages",
    "exact_search": "retrieval.retriever",
    "funnel": "retrieval.stages",
    "shortlist": "retrieval.stages",
    "plan_retrieval": "retrieval.planner",
    "embed_splits": "retrieval.planner",
    "measure_path": "retrieval.planner",
    "FunnelDesigner": "panels.funnel_designer",
    "MilvusStore": "retrieval.milvus",
    "GridExplorer": "panels.explorer",
    "SpectrumExplorer": "panels.spectrum_explorer",
    "Reduction": "evaluation.reduction",
    "CascadeTuner": "panels.cascade_tuner",
    "ImportanceWeights": "panels.importance_weights",
    "PrefixMap": "panels.prefix_map",
    "TruncationTrap": "panels.truncation_trap",
    "TermExplorer": "panels.term_explorer",
    "SizeCalculator": "panels.size_calculator",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
