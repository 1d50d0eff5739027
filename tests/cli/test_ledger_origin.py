"""Where a number in the ledger comes from: cell, measurements and commands, each looked up here by itself."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from mrl_tutorial.cli import commands, ledger, parser

ROOT = Path(__file__).parents[2]
with (ROOT / "data" / "claims.csv").open(encoding="utf-8", newline="") as file:
    CLAIMS = list(csv.DictReader(file))
RESTING = [(claim["id"], name) for claim in CLAIMS for name in claim["results"].split()]


@pytest.mark.parametrize("id, name", RESTING)
def test_a_measurement_that_a_claim_names_exists_and_its_notebook_reads_it(id, name, capsys):
    text = (ROOT / "data" / "results" / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        command = json.loads(text)["command"]
    else:
        command = re.search(r"^# command: (.+)$", text, re.MULTILINE)[1]
    (row,) = (row for row in ledger.read() if row["id"] == id)
    (source,) = (ROOT / "notebooks" / "source").glob(f"{row['notebook']}_*.py")
    assert f'"{Path(name).stem}"' in source.read_text(encoding="utf-8")
    assert parser.main(["ledger", "--id", id]) == 0
    said = capsys.readouterr().out
    assert f"data/results/{name}" in said and command in said


def test_a_claim_is_told_in_full_with_its_cell(capsys):
    assert parser.main(["ledger", "--id", "M5,R7"]) == 0
    told = capsys.readouterr().out.split("\n\n")
    assert [text[:3] for text in told] == ["M5:", "R7:"]
    for row, text in zip((r for r in ledger.read() if r["id"] in ("M5", "R7")), told, strict=True):
        for part in ("claim", "source", "test", "number", "published", "verdict", "why"):
            assert row[part] in text
        name, line = re.search(r"\((notebooks/source/\S+\.py), line (\d+)\)", text).groups()
        assert f'"claim-{row["id"]}"' in (ROOT / name).read_text(encoding="utf-8").splitlines()[int(line) - 1]
        assert f"--only {row['notebook']}" in text


def test_where_the_repository_is_not_there_the_claim_is_still_told(tmp_path, monkeypatch, capsys):
    """An installed package has the ledger and the claims, but neither notebooks nor measurements."""
    for name in ("ledger.csv", "claims.csv"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).write_bytes((ROOT / "data" / name).read_bytes())

    def data_file(name):
        path = tmp_path / "data" / name
        if not path.exists():
            raise commands.InputError(f"the course's data has no {name!r}")
        return path

    monkeypatch.setattr(ledger, "data_file", data_file)
    assert parser.main(["ledger", "--id", "R7"]) == 0
    said = capsys.readouterr().out
    assert "claim-R7 in notebook 04" in said and "which the repository has" in said
