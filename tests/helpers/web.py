"""Panels as the browser sees them: their JavaScript views run by node on the tables that Python packed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrl_tutorial.panels.panel import Panel

SCRIPT = Path(__file__).resolve().parents[1] / "panels" / "web" / "shown.mjs"


def shown(panel: Panel, states: Sequence[dict[str, Any]], width: int = 1100) -> list[dict[str, Any]]:
    """For each state: what the panel's `view` gives ("shown"), and the text of its picture ("text").

    A state may be partial: the rest is the panel's own. Skips the test where node is missing.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the panels' JavaScript is tested where it is")
    asked = {
        "view": panel.view,
        "tables": base64.b64encode(panel.tables).decode(),
        "states": [{**panel.state, **state} for state in states],
        "width": width,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(asked, file)
        file.flush()
        done = subprocess.run([node, str(SCRIPT), file.name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def random_states(panel: Panel, n: int, seed: int = 0) -> list[dict[str, Any]]:
    """States of the panel with a random value of every control that has given values."""
    rng = np.random.default_rng(seed)
    given = {name: c["values"] for name, c in panel.controls.items() if c.get("values")}
    return [{name: values[rng.integers(len(values))] for name, values in given.items()} for _ in range(n)]


def fixed(x: float, digits: int) -> str:
    """A number as JavaScript writes it with so many digits: halves are rounded up, with commas between thousands."""
    return f"{Decimal(float(x)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}"
