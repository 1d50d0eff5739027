"""Where a number in the ledger comes from: cell, measurements and commands, each looked up here by itself."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from mrl_tutorial.cli import commands, ledger, parser

ROOT = Path(__file__).parents[2]
with (ROOT / "data" / "ledger.csv").open(encoding="utf-8", newline="") as file:
    RESTING = [(row["id"], name) for row in csv.DictReader(file) for name in row["results"].split()]


@pytest.mark.parametrize("id, name", RESTING)
def test_a_measurement_that_a_claim_names_exists_and_its_notebook_reads_it(id, name, capsys):
    text = (ROOT / "data" / "results" / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        command = json.loads(text)["command"]
    else:
        command = re.search(r"^# command: (.+)$", text, re.MULTILINE)[1]
    (row,) = (row for row in ledger.read() if row["id"] == id)
    (source,) = (ROOT / "notebooks" / "evidence" / "source").glob(f"{row['notebook']}_*.py")
    assert f'"{name}"' in source.read_text(encoding="utf-8")
    assert parser.main(["ledger", "--id", id]) == 0
    said = capsys.readouterr().out
    assert f"data/results/{name}" in said and command in said


def test_a_claim_is_told_in_full_with_its_cell(capsys):
    assert parser.main(["ledger", "--id", "M5,R7"]) == 0
    told = capsys.readouterr().out.split("\n\n")
    assert [text[:3] for text in told] == ["M5:", "R7:"]
    for row, text in zip((r for r in ledger.read() if r["id"] in ("M5", "R7")), told, strict=True):
        for part in ("claim", "source", "test", "pair", "difference", "smallest", "published", "verdict", "sentence"):
            assert row[part] in text
        stem = re.search(rf"claim-{row['id']} in notebooks/evidence/(\w+)\.ipynb", text)[1]
        source = ROOT / "notebooks" / "evidence" / "source" / f"{stem}.py"
        assert f'"claim-{row["id"]}"' in source.read_text(encoding="utf-8")
        assert f"--only {row['notebook']}" in text


def test_where_the_repository_is_not_there_the_claim_is_still_told(tmp_path, monkeypatch, capsys):
    """An installed package has the ledger, but neither notebooks nor measurements."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ledger.csv").write_bytes((ROOT / "data" / "ledger.csv").read_bytes())

    def data_file(name):
        path = tmp_path / "data" / name
        if not path.exists():
            raise commands.InputError(f"the course's data has no {name!r}")
        return path

    monkeypatch.setattr(ledger, "data_file", data_file)
    assert parser.main(["ledger", "--id", "R7"]) == 0
    said = capsys.readouterr().out
    assert "claim-R7 in notebook E3" in said and "which the repository has" in said
