"""Matryoshka embeddings, hands on: losses, grids and panels for the course in `notebooks/`."""

__version__ = "0.1.0"
