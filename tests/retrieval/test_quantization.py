"""Ways to store vectors, measured: against a loop in float64, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
from evidence.stores import Measured, Store, measure_stores, signs

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.evaluation.statistics import pareto
from mrl_tutorial.tasks.types import RetrievalTask

N, Q, D = 60, 25, 24
RNG = np.random.default_rng(0)
DOCUMENTS = RNG.normal(size=(1, N, D)).astype(np.float32)
QUERIES = (DOCUMENTS[:, :Q] + 1.2 * RNG.normal(size=(1, Q, D))).astype(np.float32)
PARTS = {"queries": QUERIES, "documents": DOCUMENTS}
TASK = RetrievalTask(
    "toy", "made up", corpus={f"d{i:02d}": f"text {i}" for i in range(N)}, queries={f"q{i:02d}": "?" for i in range(Q)},
    qrels={f"q{i:02d}": {f"d{i:02d}": 1} for i in range(Q)}, splits={"test": [f"q{i:02d}" for i in range(Q)]},
)  # fmt: skip


def loop(scores: np.ndarray) -> np.ndarray:
    """nDCG@10 of each query, one relevant document (its own row); ties rank in the order of rows."""
    out = []
    for q, row in enumerate(scores):
        rank = 1 + sum(1 for n, s in enumerate(row) if s > row[q] or (s == row[q] and n < q))
        out.append(1 / np.log2(1 + rank) if rank <= 10 else 0)
    return np.array(out)


def unit(x):
    x = x.astype(np.float64)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("dim", [8, 13, 24])
def test_float_int8_and_binary_against_a_loop(dim):
    full, codes, bits = measure_stores(TASK, PARTS, [Store(dim), Store(dim, "int8"), Store(dim, "binary")])
    q, d = QUERIES[0, :, :dim], DOCUMENTS[0, :, :dim]
    np.testing.assert_allclose(full.items, loop(unit(q) @ unit(d).T), atol=1e-6)
    low, reach = unit(d).min(0), np.ptp(unit(d), axis=0)
    steps = np.floor((unit(d) - low) / reach * 255)  # 256 even steps, each stands for its middle
    np.testing.assert_allclose(codes.items, loop(unit(q) @ (low + (steps + 0.5) / 255 * reach).T), atol=1e-6)
    agree = ((q > 0)[:, None] == (d > 0)[None]).sum(-1)
    np.testing.assert_allclose(bits.items, loop(agree), atol=1e-6)
    grid = evaluate_grid(TASK, embeddings=PARTS, dims=[dim])
    np.testing.assert_allclose(full.items, grid.per_item[0, 0], atol=1e-6)


def test_reranking_settles_the_order_of_the_best():
    dim, depth = 16, 20
    (got,) = measure_stores(TASK, PARTS, [Store(dim, "binary", "float32", depth)])
    q, d = QUERIES[0, :, :dim], DOCUMENTS[0, :, :dim]
    agree = ((q > 0)[:, None] == (d > 0)[None]).sum(-1)
    scores = unit(q) @ unit(d).T
    for i in range(Q):
        short = np.lexsort((np.arange(N), -agree[i]))[:depth]
        out = np.setdiff1d(np.arange(N), short)
        scores[i, out] = -2
    np.testing.assert_allclose(got.items, np.where(scores.diagonal() > -2, loop(scores), 0), atol=1e-6)
    everything = measure_stores(TASK, PARTS, [Store(dim, "binary", "float32", N), Store(dim)])
    np.testing.assert_array_equal(everything[0].items, everything[1].items)


def test_what_was_measured_before_is_read_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    stores, steps = [Store(8), Store(13, "binary", "int8")], []
    for _ in range(2):
        found = measure_stores(TASK, PARTS, stores, cache=True, progress=lambda *step: steps.append(step))
        for kept, fresh in zip(found, measure_stores(TASK, PARTS, stores), strict=True):
            assert kept.store == fresh.store
            np.testing.assert_array_equal(kept.items, fresh.items)
    assert len(steps) == 2  # of the first time
    measure_stores(
        TASK, PARTS, [Store(8), Store(13, "binary", "int8", depth=99)], cache=True, progress=lambda *x: steps.append(x)
    )
    assert len(steps) == 4


def test_bytes():
    assert (Store(384).scanned, Store(384).held) == (1536, 1536)
    assert (Store(384, "binary").scanned, Store(20, "binary").scanned) == (48, 3)
    reranked = Store(128, "binary", "int8")
    assert (reranked.scanned, reranked.held) == (16, 144)
    assert str(reranked) == "binary, 128 dims, best 100 by int8"


def test_signs_are_what_bits_stand_for():
    np.testing.assert_array_equal(signs(np.array([[-2.0, 0.0, 3.0]])), [[-1, -1, 1]])
    both = {name: signs(x) for name, x in PARTS.items()}
    q, d = both["queries"][0], both["documents"][0]
    hamming = ((QUERIES[0] > 0)[:, None] != (DOCUMENTS[0] > 0)[None]).sum(-1)
    np.testing.assert_allclose(q @ d.T / D, 1 - 2 * hamming / D, atol=1e-6)


def test_front_and_comparison():
    stores = [Store(d, kind) for d in (8, 24) for kind in ("float32", "binary")]
    found = [Measured(m.store, m.items, dev=m.value) for m in measure_stores(TASK, PARTS, stores)]
    front = [found[i] for i in pareto([m.held for m in found], [m.dev for m in found])]
    assert [m.held for m in front] == sorted({m.held for m in front})
    for m in found:
        assert any(f.held <= m.held and f.dev >= m.dev for f in front)
    difference, low, high = found[2].compare(found[0])
    assert low <= difference <= high
    assert difference == pytest.approx(found[2].value - found[0].value)
    assert found[0].compare(found[0]) == (0, 0, 0)
    with pytest.raises(InputError, match="paired"):
        found[0].compare(Measured(stores[0], np.zeros(3)))


def test_refusals():
    with pytest.raises(InputError, match="float32, int8, binary"):
        Store(8, "int4")
    with pytest.raises(InputError, match="reranked by 'binary'"):
        Store(8, "binary", "binary")
    with pytest.raises(InputError, match="1 or more"):
        Store(0)
    with pytest.raises(InputError, match="cut-off"):
        measure_stores(TASK, PARTS, [Store(8)], metric="map")
    with pytest.raises(InputError, match="dimension 25"):
        measure_stores(TASK, PARTS, [Store(25)])
    with pytest.raises(InputError, match="lack 'documents'"):
        measure_stores(TASK, {"queries": QUERIES}, [Store(8)])
    other = type("Other", (), {"kind": "sts"})()
    with pytest.raises(InputError, match="'sts'"):
        measure_stores(other, PARTS, [Store(8)])
