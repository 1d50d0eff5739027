"""`mrl-tutorial prepare`: afterwards nothing that the first notebook asks for is encoded again."""

from __future__ import annotations

import numpy as np
import pytest

import mrl_tutorial
from mrl_tutorial import Encoder, GridExplorer, evaluate_grid, train
from mrl_tutorial.cli import parser
from mrl_tutorial.tasks.types import RetrievalTask
from tests.helpers.tiny import WORDS, save_tiny


def test_prepare_leaves_nothing_to_encode(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    corpus = {f"d{i}": " ".join(rng.choice(WORDS, 7)) for i in range(40)}
    queries = {f"q{i}": " ".join(rng.choice(WORDS, 4)) for i in range(40)}
    splits = {"dev": [f"q{i}" for i in range(9)], "test": ["q9", "q10"], "train": [f"q{i}" for i in range(11, 40)]}
    task = RetrievalTask("pydocs", "here", corpus, queries, {f"q{i}": {f"d{i}": 1} for i in range(40)}, splits)
    monkeypatch.setattr(mrl_tutorial, "load_task", lambda name: task if name == "pydocs" else pytest.fail(name))
    folder = save_tiny(tmp_path / "model", layers=2)
    assert parser.main(["prepare", "--model", str(folder)]) == 0
    assert "are in the cache" in capsys.readouterr().out

    import mrl_tutorial.models.layers as bb

    run, encoded = bb.EarlyExit.__call__, []

    def count(self, ids, mask):
        encoded.append(len(ids))
        return run(self, ids, mask)

    monkeypatch.setattr(bb.EarlyExit, "__call__", count)
    encoder = Encoder.load(folder)
    encoder.encode_layers(["sort graph", "dense row"])
    assert sum(encoded) == 2  # so the counter counts
    encoded.clear()
    evaluate_grid(task, encoder, split="dev"), evaluate_grid(task, encoder, split="test")
    panel = GridExplorer(task, {"plain": encoder}, max_queries=300, dim=8)
    panel.set(dim=7)
    train(encoder, task, "all-cells", heads="per-layer", steps=2, batch_size=4)
    assert sum(encoded) == 0


def test_page_is_one_file_with_every_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    corpus = {f"d{i}": " ".join(rng.choice(WORDS, 7)) for i in range(30)}
    queries = {f"q{i}": " ".join(corpus[f"d{i}"].split()[:4]) for i in range(30)}
    splits = {"dev": list(queries)[:10], "test": list(queries)[10:]}
    task = RetrievalTask("toy", "here", corpus, queries, {f"q{i}": {f"d{i}": 1} for i in range(30)}, splits)
    monkeypatch.setattr(mrl_tutorial, "load_task", lambda name, **_: task)
    one, other = (save_tiny(tmp_path / name, layers=2, seed=i) for i, name in enumerate(("one", "other")))
    out = tmp_path / "explorer.html"
    command = ["page", "--task", "toy", "--model", str(one), "--model", str(other), "--queries", "3", "--out", str(out)]
    assert parser.main(command) == 0
    assert "one, other on toy, 10 dev queries" in capsys.readouterr().out
    assert out.read_text().count("<script") == 1 and "standalone(explorer" in out.read_text()
    assert parser.main([*command[:-1], str(tmp_path)]) == 2
    assert "is a folder: give the name of a file" in capsys.readouterr().err
