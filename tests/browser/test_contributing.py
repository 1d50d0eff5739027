"""The panel that CONTRIBUTING shows is whole: its Python and JavaScript, as printed there, make a page that slides."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np

from benchmarks.browser import chromium_page
from mrl_tutorial.panels import panel as shared
from mrl_tutorial.panels import script

TEXT = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_panel_of_the_guide_works(tmp_path, monkeypatch):
    (python,) = re.findall(r'```python\n("""panels/doubling.py.*?)```', TEXT, re.S)
    (view,) = re.findall(r"```js\n(/\*\* web/doubling.js.*?)```", TEXT, re.S)
    assert len((python + view).splitlines()) <= 45
    shutil.copytree(script.WEB, tmp_path / "web")
    (tmp_path / "web" / "doubling.js").write_text(view, encoding="utf-8")
    monkeypatch.setattr(script, "WEB", tmp_path / "web")
    names = {"np": np, "Panel": shared.Panel, "slider": shared.slider}
    exec(compile(python, "CONTRIBUTING.md", "exec"), names)
    panel = names["Doubling"]([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], [8, 16, 32], dim=16)
    panel.save_page(tmp_path / "page.html")
    with chromium_page(900, 700) as page:
        page.goto((tmp_path / "page.html").as_uri())
        page.locator('.headline:text-is("16 dimensions of layer 2: 0.500")').wait_for()
        page.get_by_role("slider", name="dimension").press("ArrowRight")
        page.locator('.headline:text-is("32 dimensions of layer 2: 0.600")').wait_for()
