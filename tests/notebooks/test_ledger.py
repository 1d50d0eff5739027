"""The ledger: what may be recorded, what is collected, and whether every row is backed by an executed cell."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from evidence import ledger_rows
from evidence.ledger_rows import Ledger, Measured

from mrl_tutorial import InputError
from mrl_tutorial.cli import ledger
from mrl_tutorial.evaluation.statistics import Difference
from tools import build_notebooks as build
from tools import ledger_pages

ROOT = Path(__file__).parents[2]
EVIDENCE = [source for source in build.sources(evidence=True) if source.stem.startswith("E")]
BETTER = Measured("accuracy, 4 numbers", ("MRL", 0.912), ("alone", 0.9), "1,797 images", 3, (0.012, 0.01, 0.014))
GOOD = {"verdict": "holds", "sentence": "It does.", "measured": BETTER}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FAST", raising=False)


def test_a_row_is_printed_stored_collected_and_read_back(tmp_path, capsys):
    Ledger("E3").settle("R3", **GOOD)
    Ledger("E1").settle("M1", **{**GOOD, "verdict": "cannot tell here"}, remedy="more digits", results=["a.csv"])
    assert "accuracy, 4 numbers: 0.912 (MRL) against 0.900 (alone)" in capsys.readouterr().out
    path = tmp_path / "ledger.csv"
    assert ledger_rows.collect("E3", path) == 1 and ledger_rows.collect("E1", path) == 1
    first, second = ledger.read(path)
    assert (first["id"], second["id"]) == ("M1", "R3")  # the ledger's order, not that of the runs
    assert first["claim"] == ledger_rows.claims()["M1"][0] and first["seeds"] == "3"
    assert first["difference"] == "+0.012 [+0.010, +0.014]" and first["margin"] == "0.01"
    assert float(first["smallest"]) == round(Difference(*BETTER.found, 0.0).smallest, 3)
    assert (first["remedy"], first["results"], second["remedy"]) == ("more digits", "a.csv", "")


def test_a_new_run_replaces_the_rows_of_its_notebook_only(tmp_path):
    path = tmp_path / "ledger.csv"
    Ledger("E1").settle("M1", **GOOD)
    Ledger("E1").settle("M2", **GOOD)
    ledger_rows.collect("E1", path)
    Ledger("E3").settle("R3", **GOOD)
    ledger_rows.collect("E3", path)
    ledger_rows.forget("E1")
    Ledger("E1").settle("M2", **{**GOOD, "sentence": "New."})
    ledger_rows.collect("E1", path)
    assert [(r["id"], r["sentence"]) for r in ledger.read(path)] == [("M2", "New."), ("R3", GOOD["sentence"])]


def test_fast_records_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FAST", "1")
    Ledger("E1").settle("M1", **{**GOOD, "measured": replace(BETTER, seeds=1)})
    assert "0.912" in capsys.readouterr().out
    assert ledger_rows.collect("E1", tmp_path / "ledger.csv") == 0


@pytest.mark.parametrize(
    "id, change, words",
    [
        ("M99", {}, "no claim"),
        ("M1", {"verdict": "holds only if it rains"}, "give one of"),
        ("M1", {"verdict": "cannot tell here"}, "what would do"),
        ("M1", {"measured": replace(BETTER, seeds=2)}, "of the 3 random seeds"),
    ],
)
def test_what_cannot_be_recorded(id, change, words):
    with pytest.raises(InputError, match=words):
        Ledger("E1").settle(id, **{**GOOD, **change})


def test_page_for_people(tmp_path):
    Ledger("E1").settle("M1", **{**GOOD, "sentence": "a <b>"}, more=["c", "d"])
    Ledger("E3").settle("R8", "wrong by definition", "It falls.", None)
    for notebook in ("E1", "E3"):
        ledger_rows.collect(notebook, tmp_path / "l.csv")
    ledger_pages.write_markdown(tmp_path / "page.md", ledger.read(tmp_path / "l.csv"))
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| ✔ | holds | 1 |" in text and "| ≠ | wrong by definition | 1 |" in text and "| ✘ | refuted | 0 |" in text
    assert text.count("<details") == text.count("</details>") == 2 and text.count("\n## ") == 2
    assert "✔ <b>Holds.</b> a &lt;b&gt;<br>accuracy, 4 numbers: 0.912 (MRL) against 0.900 (alone)</summary>" in text
    assert "≠ <b>Wrong by definition.</b> It falls.</summary>" in text
    assert "- **Difference:** +0.012 [+0.010, +0.014]; margin 0.01, the smallest" in text and "- **More:** c; d" in text
    assert "[E1_mrl](notebooks/evidence/E1_mrl.ipynb#claim-M1)" in text


def committed() -> list[ledger.Row]:
    path = ROOT / "data" / "ledger.csv"
    return list(ledger.read(path)) if path.exists() else []


@pytest.mark.parametrize("row", committed(), ids=lambda r: r["id"])
def test_every_row_comes_from_an_executed_cell(row):
    """The named cell exists, and its output, not a typed word, holds number and verdict."""
    (path,) = (ROOT / "notebooks" / "evidence").glob(f"{row['notebook']}_*.ipynb")
    cells = [c for c in nbformat.read(path, as_version=4).cells if f"claim-{row['id']}" in c.metadata.get("tags", [])]
    assert len(cells) == 1, f"{path.name} has {len(cells)} cells tagged claim-{row['id']}"
    (cell,) = cells
    printed = "".join(o.text for o in cell.outputs if o.output_type == "stream")
    assert f"{row['verdict']}: {row['sentence']}" in printed and row["pair"] in printed
    measured = re.findall(r"\d+\.\d+", row["pair"] + row["difference"])
    typed = [x for x in measured if x in cell.source and x not in row["claim"]]  # what a claim says may be compared
    assert not typed, f"{row['id']}: {typed} stand in the cell's source, so they were typed, not measured"


def test_every_claim_has_its_row_and_every_verdict_what_it_needs():
    rows = {row["id"]: row for row in committed()}
    assert list(rows) == list(ledger_rows.claims())
    for row in rows.values():
        assert (row["verdict"] == "cannot tell here") == bool(row["remedy"])
        assert row["pair"] or row["verdict"] == "cannot tell here"
        assert all((ROOT / "data" / "results" / name).is_file() for name in row["results"].split())
        assert row["sentence"].endswith(".") and len(row["sentence"]) < 200, row["id"]


@pytest.mark.parametrize("source", EVIDENCE, ids=lambda p: p.stem)
def test_evidence_agrees_with_its_source(source):
    assert build.problems(source, build.built(source, ROOT / "notebooks")) == []


def test_the_page_shows_the_ledger_as_it_is():
    text = (ROOT / "LEDGER.md").read_text(encoding="utf-8")
    assert text == ledger_pages.markdown(committed()), "mrl-tutorial ledger --markdown LEDGER.md"
    assert "(LEDGER.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_claims_are_told_once_with_their_source():
    known = ledger_rows.claims()
    assert len({claim for claim, _ in known.values()}) == len(known)
    assert all(source and re.fullmatch(r"[A-Z]\d+", id) for id, (_, source) in known.items())
