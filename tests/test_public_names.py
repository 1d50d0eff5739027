"""The package's main names: each is where the top says, type checkers see the same, and importing stays quick."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import mrl_tutorial as mrl


def seen_by_type_checkers() -> dict[str, str]:
    """name -> module, from the imports of the stub."""
    found = {}
    for line in ast.parse(Path(mrl.__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body:
        for name in line.names if isinstance(line, ast.ImportFrom) else ():
            assert name.asname == name.name  # which marks it as public
            found[name.name] = line.module
    return found


@pytest.mark.parametrize("name", sorted(mrl.__all__))
def test_a_name_is_what_its_module_has(name):
    module = seen_by_type_checkers()[name]
    if name == "panels":
        assert mrl.panels is import_module("mrl_tutorial.panels")
    else:
        assert getattr(mrl, name) is getattr(import_module(module), name)
    assert name in dir(mrl)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'encoder_of_everything'"):
        mrl.encoder_of_everything  # noqa: B018 (looking it up is the test)


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, mrl_tutorial; print([m for m in ('torch', 'numpy', 'plotly', 'tqdm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["anywidget", "ipywidgets", "plotly"])
def test_a_panel_without_its_packages_names_the_extra(package):
    code = f"""
import sys
sys.modules[{package!r}] = None  # as if it were not installed
import mrl_tutorial
try:
    mrl_tutorial.GridExplorer
except mrl_tutorial.InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'pip install "mrl-tutorial[notebooks]"' in done.stdout, done.stdout + done.stderr
