"""Widgets: each a thin class that wires controls to the functions below it."""

from mrl_tutorial.panels.explorer import GridExplorer

__all__ = ["GridExplorer"]
