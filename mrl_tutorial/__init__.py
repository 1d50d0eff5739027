"""Matryoshka embeddings, hands on: losses, grids and panels for the course in `notebooks/`.

The main names are here at the top, as `__init__.pyi` lists them; each is loaded on first use, so that importing the
package (and the command line's help) stays quick.

>>> import mrl_tutorial as mrl
>>> mrl.default_dims(64)
(8, 16, 32, 64)
"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.2.0"

_LISTED = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
_HOME = {name.name: line.module or "" for line in _LISTED if isinstance(line, ast.ImportFrom) for name in line.names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = import_module(_HOME[name])
        value = getattr(home, name) if hasattr(home, name) else import_module(f"{_HOME[name]}.{name}")
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
