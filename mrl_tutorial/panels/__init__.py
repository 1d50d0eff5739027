"""Widgets: each a thin class that wires controls to the functions below it."""

from .explorer import GridExplorer

__all__ = ["GridExplorer"]
