"""From vectors to ranks: blocks, repeated documents, threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl_tutorial.evaluation import metrics


def test_the_number_of_threads_is_left_as_it_was():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), metrics.one_thread():
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == before


def test_blocks_cover_every_query_and_dimension_with_exact_ties_of_repeats(monkeypatch):
    rng = np.random.default_rng(0)
    queries, documents = rng.normal(size=(23, 6)).astype(np.float32), rng.normal(size=(31, 6)).astype(np.float32)
    documents[[9, 30]] = documents[2]
    for block in (1, 100, 10**6):
        monkeypatch.setattr(metrics, "BLOCK", block)
        seen = np.zeros((23, 6))
        for rows, m, scores in metrics.score_blocks(queries, documents, range(1, 7), cosine=True):
            seen[rows, m] += 1
            q, x = queries[rows, : m + 1].astype(np.float64), documents[:, : m + 1].astype(np.float64)
            expected = q @ x.T / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(x, axis=1)
            np.testing.assert_allclose(scores.numpy(), expected, atol=2e-6)
            assert torch.equal(scores[:, 9], scores[:, 2]) and torch.equal(scores[:, 30], scores[:, 2])
        assert (seen == 1).all()
