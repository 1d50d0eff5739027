"""The lesson's plain FAISS and plain pymilvus, run as they stand there, against the course's own two stages."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import Stage, shortlist
from mrl_tutorial.retrieval.timing import found_share
from mrl_tutorial.topk import unit

LESSON = Path(__file__).parents[2] / "notebooks" / "source" / "11_adaptive_retrieval.py"
RNG = np.random.default_rng(3)
N, D = 1000, 96
DOCUMENTS = (RNG.standard_normal((N, D)) * np.linspace(2, 0.2, D)).astype(np.float32)
QUERIES = (DOCUMENTS[:30] + 0.5 * RNG.standard_normal((30, D))).astype(np.float32)


def run(tag):
    """What the cell of that tag leaves behind."""
    cell = re.search(rf'^# %% tags=\["{tag}"\]\n(.*?)^# %%', LESSON.read_text(encoding="utf-8"), re.M | re.S).group(1)
    names = {"documents": DOCUMENTS, "queries": QUERIES, "width": D, "np": np, "unit": unit,
             "truth": Retriever(DOCUMENTS, [Stage(D)]).search(QUERIES, 10).rows,
             "found_share": found_share, "tempfile": tempfile}  # fmt: skip
    exec(compile(cell, tag, "exec"), names)
    return names


def test_plain_faiss(capsys):
    pytest.importorskip("faiss")
    expected = Retriever(DOCUMENTS, shortlist(64, D, 100)).search(QUERIES, 10).rows
    assert found_share(run("plain-faiss")["plain_rows"], expected) > 0.98
    assert "of what exact search finds" in capsys.readouterr().out


def test_plain_milvus(tmp_path, monkeypatch):
    pytest.importorskip("milvus_lite")
    monkeypatch.setattr(tempfile, "mkdtemp", lambda: str(tmp_path))
    expected = Retriever(DOCUMENTS, shortlist(64, D, 100)).search(QUERIES[0], 10).rows
    assert len(set(run("plain-milvus")["best_rows"]) & set(expected.tolist())) >= 9
