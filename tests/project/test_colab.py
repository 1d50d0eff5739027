"""Colab's versions beside ours: the course must run on them as they are, for Colab's kernel has them loaded already."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import nbformat
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import badges
from tools import build_notebooks as build

ROOT = Path(__file__).resolve().parents[2]
LINES = [x for x in (ROOT / "tests/project/colab.txt").read_text().splitlines() if not x.startswith("#")]
COLAB = {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in map(Requirement, LINES)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WIDGET = "application/vnd.jupyter.widget-view+json"
RUN = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=1200, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


def test_our_ranges_leave_colabs_versions_as_they_are():
    asked = list(map(Requirement, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["panels"]]))
    had = {r.name: COLAB[canonicalize_name(r.name)] for r in asked if canonicalize_name(r.name) in COLAB}
    assert {"numpy", "torch", "pandas", "ipywidgets", "plotly", "anywidget", "transformers"} <= set(had)
    assert [(r, had[r.name]) for r in asked if r.name in had and had[r.name] not in r.specifier] == []


def test_what_colab_installs_is_what_the_notebooks_need_without_jupyterlab():
    extras = PROJECT["optional-dependencies"]
    assert set(extras["notebooks"]) - set(extras["panels"]) == {"jupyterlab>=4.2"}
    assert set(extras["panels"]) < set(extras["notebooks"]) and "[panels,ann]" in badges.CELL


def environment(folder: Path) -> tuple[Path, dict[str, str]]:
    """A fresh environment with Colab's versions, and the environment variables to run it with. PyTorch is ours: lent by
    links, and pinned, so that no other is downloaded."""
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    python, site = folder / "env/bin/python", Path(sysconfig.get_path("purelib"))
    (folder / "lent").mkdir()
    for found in [site / "torch", site / "torchgen", site / "functorch", *site.glob("torch-*.dist-info")]:
        (folder / "lent" / found.name).symlink_to(found)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "env")}))
    (packages / "torch.pth").write_text(f"{folder / 'lent'}\n")
    (folder / "pins.txt").write_text(f"torch=={torch.__version__.split('+')[0]}\n")
    (folder / "colab.txt").write_text("\n".join(x for x in LINES if not x.startswith("torch==")))
    # what the kernel of Colab has imported before the first cell
    (packages / "google/colab").mkdir(parents=True)
    (packages / "google/colab/__init__.py").touch()
    (packages / "google/colab/output.py").write_text("def enable_custom_widget_manager(): print('widgets are on')\n")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "JUPYTER", "MRL_"))}
    env |= {"PIP_CONSTRAINT": str(folder / "pins.txt"), "FAST": "1", "MRL_CACHE": str(folder / "cache")}
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", folder / "colab.txt"], check=True, env=env)
    (packages / "colab.pth").write_text("import google.colab\n")
    return python, env


def published(folder: Path) -> Path:
    """The working tree as a repository that can be cloned."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(lambda name: (ROOT / name).is_file(), names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "as it is"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command], cwd=folder, check=True)
    return folder


@pytest.mark.skipif(os.environ.get("MRL_DOWNLOADS") != "1", reason="downloads 0.6 GB: MRL_DOWNLOADS=1 runs it")
def test_the_first_lesson_runs_on_colabs_versions(tmp_path):
    python, env = environment(tmp_path)
    notebook = build.read(build.sources()[0])
    (setup,) = (cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", []))
    address = f"file://{published(tmp_path / 'origin')}"
    here = badges.CELL.format(address=address).replace("/content/course", str(tmp_path / "course"))
    setup.source = here.split("\n", 1)[1]
    notebook.cells.append(nbformat.v4.new_code_cell("import plotly; print('plotly', plotly.__version__)"))
    lesson = tmp_path / "lesson.ipynb"
    nbformat.write(notebook, lesson)
    done = subprocess.run([python, "-c", RUN, lesson], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [o for cell in nbformat.read(lesson, 4).cells for o in cell.get("outputs", [])]
    text = "".join(o.get("text", "") for o in outputs)
    panels = sum(WIDGET in o.get("data", {}) for o in outputs)
    figures = sum("Plotly.newPlot" in o.get("data", {}).get("text/html", "") for o in outputs)
    print("\n".join(text.splitlines()[:3]), f"{panels} panels, {figures} figures", sep="\n")
    assert "widgets are on" in text and f"plotly {COLAB['plotly']}" in text
    assert panels >= 1 and figures >= 1
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], env=env, check=True, capture_output=True)
    now = {canonicalize_name(x["name"]): x["version"] for x in json.loads(listed.stdout)}
    assert {name: now[name] for name in COLAB if name != "torch"} == {k: v for k, v in COLAB.items() if k != "torch"}
