"""Harvests pydocs, the course's texts, from the documentation of installed libraries: `python -m tools.harvest`."""
