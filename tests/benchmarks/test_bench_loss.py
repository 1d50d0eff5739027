"""The loss benchmark runs, its ways agree, and its json is written."""

from __future__ import annotations


def test_bench_loss_runs_and_all_ways_agree(tmp_path, capsys):
    from benchmarks import loss
    from mrl_tutorial.grid import default_dims

    path = tmp_path / "loss.json"
    result = loss.run(json=str(path), quick=True)
    assert result["largest_relative_difference"] < 1e-5 and result["dims"] == list(default_dims(64))
    assert result["times_less_memory"]["min"] > 1
    printed = capsys.readouterr().out
    assert "plain form" in printed and "loop over cells" in printed and "coordinate axis" in printed
    assert path.read_text().startswith("{")
