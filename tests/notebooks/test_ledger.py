"""The ledger: what may be recorded, what is collected, and whether every row is backed by an executed cell."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from evidence import ledger_rows
from evidence.ledger_rows import Ledger

from mrl_tutorial import InputError
from mrl_tutorial.cli import ledger

ROOT = Path(__file__).parents[2]
GOOD = {"number": "0.912 ± 0.004", "test": "1,797 images", "seeds": 3, "verdict": "holds", "why": "because"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FAST", raising=False)


def test_a_row_is_printed_stored_collected_and_read_back(tmp_path, capsys):
    Ledger("04").settle("R3", **GOOD)
    Ledger("01").settle("M1", **{**GOOD, "verdict": "holds only if the size was trained"})
    assert "0.912 ± 0.004" in capsys.readouterr().out
    path = tmp_path / "ledger.csv"
    assert ledger_rows.collect("04", path) == 1 and ledger_rows.collect("01", path) == 1
    rows = ledger.read(path)
    assert [r["id"] for r in rows] == ["M1", "R3"]  # the ledger's order, not that of the runs
    assert rows[0]["claim"] == ledger_rows.claims()["M1"][0] and rows[0]["seeds"] == 3 and rows[0]["cell"] == "claim-M1"


def test_a_new_run_replaces_the_rows_of_its_notebook_only(tmp_path):
    path = tmp_path / "ledger.csv"
    Ledger("01").settle("M1", **GOOD)
    Ledger("01").settle("M2", **GOOD)
    ledger_rows.collect("01", path)
    Ledger("04").settle("R3", **GOOD)
    ledger_rows.collect("04", path)
    ledger_rows.forget("01")
    Ledger("01").settle("M2", **{**GOOD, "number": "new"})
    ledger_rows.collect("01", path)
    assert [(r["id"], r["number"]) for r in ledger.read(path)] == [("M2", "new"), ("R3", GOOD["number"])]


def test_fast_records_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FAST", "1")
    Ledger("01").settle("M1", **{**GOOD, "seeds": 1})
    assert "0.912" in capsys.readouterr().out
    assert ledger_rows.collect("01", tmp_path / "ledger.csv") == 0


@pytest.mark.parametrize(
    "id, change, words",
    [
        ("M99", {}, "no claim"),
        ("M1", {"verdict": "true"}, "give one of"),
        ("M1", {"verdict": "holds only"}, "give one"),
        ("M1", {"seeds": 2}, "at least 3"),
    ],
)
def test_what_cannot_be_recorded(id, change, words):
    with pytest.raises(InputError, match=words):
        Ledger("01").settle(id, **{**GOOD, **change})


def test_a_file_that_is_no_ledger(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    for path, words in [(tmp_path / "x.csv", "no ledger"), (tmp_path / "none.csv", "cannot be read")]:
        with pytest.raises(InputError, match=words):
            ledger.read(path)


def test_page_for_people(tmp_path):
    Ledger("01").settle("M1", **{**GOOD, "number": "a 0.1; b (0.2; 0.3); c <d>"})
    Ledger("04").settle("R3", **{**GOOD, "verdict": "does not hold here"})
    for notebook in ("01", "04"):
        ledger_rows.collect(notebook, tmp_path / "l.csv")
    ledger.write_markdown(tmp_path / "page.md", ledger.read(tmp_path / "l.csv"))
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "Of 2 claims, ✔ 1 held, ◐ 0 held under a condition, and ✘ 1 did not hold here." in text
    assert text.count("<details") == text.count("</details>") == 2 and text.count("\n## ") == 2
    assert "\n  - a 0.1\n  - b (0.2; 0.3)\n  - c &lt;d&gt;\n" in text
    assert "](notebooks/01_mrl_basics.ipynb#claim-M1)" in text


def committed() -> list[ledger.Row]:
    path = ROOT / "data" / "ledger.csv"
    return list(ledger.read(path)) if path.exists() else []


@pytest.mark.parametrize("row", committed(), ids=lambda r: r["id"])
def test_every_row_comes_from_an_executed_cell(row):
    """The named cell exists, and its output, not a typed word, holds number and verdict."""
    (path,) = (ROOT / "notebooks").glob(f"{row['notebook']}_*.ipynb")
    cells = [c for c in nbformat.read(path, as_version=4).cells if row["cell"] in c.metadata.get("tags", [])]
    assert len(cells) == 1, f"{path.name} has {len(cells)} cells tagged {row['cell']}"
    (cell,) = cells
    printed = "".join(o.text for o in cell.outputs if o.output_type == "stream")
    assert row["number"] in printed and row["verdict"] in printed
    measured = re.findall(r"\d+\.\d+", row["number"])
    typed = [x for x in measured if x in cell.source and x not in row["claim"]]  # what a claim says may be compared
    assert not typed, f"{row['id']}: {typed} stand in the cell's source, so they were typed, not measured"


def test_the_page_shows_the_ledger_as_it_is():
    text = (ROOT / "LEDGER.md").read_text(encoding="utf-8")
    assert text == ledger.markdown(committed()), "mrl-tutorial ledger --markdown LEDGER.md"
    assert "(LEDGER.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_claims_are_told_once_with_their_source():
    known = ledger_rows.claims()
    assert len({claim for claim, _ in known.values()}) == len(known)
    assert all(source and re.fullmatch(r"[A-Z]\d+", id) for id, (_, source) in known.items())
