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
    "RECIPES": "recipes",
    "Recipe": "recipes",
    "get_recipe": "recipes",
    "load_task": "tasks",
    "Encoder": "encoder",
    "evaluate_grid": "evaluation",
    "embed_task": "evaluation",
    "train": "training",
    "cell_price": "costs",
    "Retriever": "retrieval",
    "Stage": "stages",
    "exact_search": "retrieval",
    "funnel": "stages",
    "shortlist": "stages",
    "plan_retrieval": "planning",
    "embed_splits": "planning",
    "measure_path": "planning",
    "FunnelDesigner": "panels.funnel",
    "MilvusStore": "milvus",
    "GridExplorer": "panels.explorer",
    "SpectrumExplorer": "panels.spectrum",
    "Reduction": "reduction",
    "CascadeTuner": "panels.cascade_tuner",
    "ImportanceWeights": "panels.importance",
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
