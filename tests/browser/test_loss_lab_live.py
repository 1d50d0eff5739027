"""The loss lab in Notebook 7 with a kernel: paint, train, compare, and find the run again in a new kernel."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from benchmarks.browser import chromium_page, lab_server, open_notebook, run_cell, write_notebook
from tests.helpers.browser import drawn, headline
from tests.helpers.tiny import WORDS, save_tiny
from tools.chromium import REMEDY, find_chromium

CELL = """
import os
os.environ["MRL_CACHE"] = "cache"
import torch
import mrl_tutorial as mrl

@mrl.term("length")
def length(batch, layers, dims):
    return torch.stack([batch.query_rows(layers)[..., :d].pow(2).mean((1, 2)) for d in dims], 1)

lab = mrl.LossLab(mrl.load_task("data"), mrl.Encoder.load("model"), steps=30)
lab
"""
AGAIN = """
kept = mrl.LossLab(lab.task, lab.encoder)  # as another kernel would find them
print([run.name for run in kept.runs], [one["term"] for one in lab.recipe("mine").terms])
"""


@pytest.fixture
def page(tmp_path):
    if find_chromium() is None:
        pytest.skip(REMEDY)
    if importlib.util.find_spec("notebook") is None:
        pytest.skip('Notebook 7 is not installed: pip install "mrl-tutorial[browser]"')
    save_tiny(tmp_path / "model")
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for split in ("train", "dev", "test"):
        made = [" ".join(rng.choice(WORDS, 5)) for _ in range(150)]
        rows = [f"{text},{' '.join(text.split()[::-1][:4])}" for text in made]
        (tmp_path / "data" / f"{split}.csv").write_text("\n".join(["anchor,positive", *rows]) + "\n")
    write_notebook(tmp_path / "lab.ipynb", CELL, AGAIN)
    with lab_server(tmp_path, app="notebook") as server, chromium_page(1300, 1900) as page:
        page.set_default_timeout(180_000)
        open_notebook(page, server, "lab.ipynb")
        run_cell(page, 0)
        page.wait_for_selector(".mrl .headline")
        yield page


def test_paint_train_compare_and_find_it_again(page):
    assert headline(page).startswith("whitened start: nDCG@10")
    page.get_by_label("start from").select_option(label="full-size")
    own = page.get_by_label("your own term")
    own.fill("lenght")
    own.press("Tab")
    page.locator(".mrl .error", has_text="no term 'lenght' is defined here: there are length").wait_for()
    own.fill("length")
    own.press("Tab")
    page.get_by_label("term length").check()
    page.locator("rect.row").nth(0).click()  # the own term in layer 1
    page.wait_for_timeout(500)  # the kernel has heard of the painting; this model trains in less than that
    page.get_by_role("button", name="Train", exact=True).click()
    page.locator(".mrl .headline", has_text="mine: nDCG@10").wait_for()
    drawn(page)
    assert "against whitened start" in headline(page)
    assert page.locator("figcaption", has_text="Minus “whitened start”").count() == 1
    run_cell(page, 1)
    page.locator(".jp-OutputArea-output", has_text="['whitened start', 'mine'] ['main', 'length']").wait_for()
