"""The command line."""

from mrl_tutorial.cli.parser import main

__all__ = ["main"]
