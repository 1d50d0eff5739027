"""`mrl-tutorial panel`: every panel becomes one file that opens without a kernel."""

from __future__ import annotations

import numpy as np
import pytest

import mrl_tutorial as mrl
from mrl_tutorial.cli import panels, parser
from mrl_tutorial.panels import prefix_map
from mrl_tutorial.tasks.types import RetrievalTask
from tests.helpers.tiny import WORDS, save_tiny


@pytest.fixture
def written(tmp_path, monkeypatch, capsys):
    """Writes a panel of a small task and a tiny model; returns its page and what was said."""
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    corpus = {f"d{i}": " ".join(rng.choice(WORDS, 7)) for i in range(80)}
    queries = {f"q{i}": " ".join(corpus[f"d{i}"].split()[:4]) for i in range(80)}
    splits = {"train": list(queries)[:60], "dev": list(queries)[60:70], "test": list(queries)[70:]}
    task = RetrievalTask("toy", "here", corpus, queries, {f"q{i}": {f"d{i}": 1} for i in range(80)}, splits)
    monkeypatch.setattr(mrl, "load_task", {"toy": task, "digits": mrl.load_task("digits")}.__getitem__)
    model = save_tiny(tmp_path / "model", layers=2)

    def write(name: str) -> tuple[str, str]:
        out = tmp_path / "panel.html"
        assert parser.main(["panel", name, "--task", "toy", "--model", str(model), "--out", str(out)]) == 0
        return out.read_text(encoding="utf-8"), capsys.readouterr().out

    return write


@pytest.mark.parametrize("name", [*panels.TEXTS, *panels.DIGITS])
def test_a_panel_is_one_file(written, monkeypatch, name):
    def first_two(prefixes):  # UMAP takes a while
        return np.stack([x[:, :2] for x in prefixes])

    monkeypatch.setattr(prefix_map, "compute_places", first_two)
    page, said = written(name)
    title = (panels.TEXTS | panels.DIGITS)[name][0]
    assert page.count("<script") == 1 and f"standalone({name}, " in page and f"<title>{title}" in page
    assert "opens by double click" in said and 'src="http' not in page
    assert name != "weights" or '"c2": 4' in page  # it begins with a result of other weights


def test_an_unknown_panel_and_a_wrong_place_are_said_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parser.main(["panel", "trpa", "--out", "x.html"])
    assert "did you mean trap" in capsys.readouterr().err
    assert parser.main(["panel", "size", "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "file, command, says",
    [
        ("pairs.csv", "panel trap", "a 'pairs' task cannot be shown here: give a task of kind retrieval"),
        ("pairs.csv", "panel spectrum", "a 'pairs' task has no documents to search"),
        ("graded.csv", "panel trap", "a 'sts' task cannot be shown here"),
        ("graded.csv", "panel terms", "a 'sts' task cannot be shown here: give a task of kind retrieval or pairs"),
        *(("vectors.npy", f"panel {name}", "vectors, no texts: there is nothing to encode") for name in panels.TEXTS),
        ("vectors.npy", "page", "vectors, no texts: there is nothing to encode"),
        ("pairs.csv", "page --model elsewhere/model", "have one name: rename a folder"),
        ("vectors.npy", "lab --recipes mrl", "vectors, no texts: there is nothing to encode"),
        ("vectors.npy", "sweep --recipes mrl --what heads", "vectors, no texts: there is nothing to encode"),
    ],
)
def test_a_task_that_cannot_be_shown_or_trained_on_is_said_in_one_line(
    tmp_path, monkeypatch, capsys, file, command, says
):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 5)) for _ in range(80)]
    lines = {"pairs.csv": ["anchor,positive", *(f"{x},{x[:9]}" for x in texts)]}
    lines["graded.csv"] = ["sentence1,sentence2,score", *(f"{x},{x[:9]},{i % 5}" for i, x in enumerate(texts))]
    for name, rows in lines.items():
        (tmp_path / name).write_text("\n".join(rows) + "\n")
    np.save(tmp_path / "vectors.npy", rng.normal(size=(80, 16)).astype(np.float32))
    model = save_tiny(tmp_path / "model", layers=2)
    given = ["--task", str(tmp_path / file), "--model", str(model)]
    out = [] if command.startswith("lab") else ["--out", str(tmp_path / "out")]
    capsys.readouterr()
    assert parser.main([*command.split(), *given, *out]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and says in said and not (tmp_path / "out").exists()
