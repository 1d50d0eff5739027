"""Costs: exact figures worked out by hand or published, and a count of a real block's matrix products."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval import costs
from mrl_tutorial.retrieval.stages import funnel, reranking


def test_bytes():
    assert costs.bytes_per_vector(384) == 1536
    assert [costs.bytes_per_vector(100, t) for t in ("float16", "bfloat16", "int8", "uint8", "binary")] == [
        200, 200, 100, 100, 13,
    ]  # fmt: skip
    assert costs.corpus_gb(10_000_000, 384) == 15.36
    assert costs.corpus_gb(10_000_000, 64, "int8") == 0.64


def test_minilm_per_token():
    weights = 4 * 384 * 384 + 2 * 384 * 1536  # of one block's six matrices
    assert 6 * weights == 10_616_832
    assert costs.encode_flops(6, 384, 1536, 1) == 10_616_832 + 6 * 2 * 384
    assert costs.encode_flops(6, 384, 1536, 100) == 100 * 10_616_832 + 6 * 2 * 100 * 100 * 384
    assert costs.encode_flops(2, 384, 1536, 100) * 3 == costs.encode_flops(6, 384, 1536, 100)


@pytest.mark.parametrize("tokens", [3, 17])
def test_encoding_is_half_of_what_torch_counts(tokens):
    """torch counts a multiply-add as 2."""
    config = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80,
        attn_implementation="eager",
    )  # fmt: skip
    model = BertModel(config, add_pooling_layer=False).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.ones(1, tokens, dtype=torch.long))
    assert counter.get_total_flops() == 2 * costs.encode_flops(3, 32, 80, tokens)


def test_published_search_costs():
    """Matryoshka paper, section 4.3 and appendix: ImageNet-1K has 1,281,167 vectors, ImageNet-4K about 4.2 million."""
    full = costs.search_flops(1_281_167, 2048)
    assert full == 2_623_830_016
    adaptive = costs.adaptive_flops(1_281_167, 16, 200, 2048)
    assert adaptive == 20_908_272
    assert full / adaptive == pytest.approx(125.49, abs=0.005)
    larger = costs.search_flops(4_200_000, 2048) / costs.adaptive_flops(4_200_000, 64, 200, 2048)
    assert larger == pytest.approx(31.95, abs=0.005)
    later = reranking(funnel([16, 32, 64, 128, 256, 2048], [200, 100, 50, 25, 10]), 1_281_167)[0]
    six_stages = costs.search_flops(1_281_167, 16) + later
    assert six_stages == 20_544_752
    assert full / six_stages == pytest.approx(127.71, abs=0.005)


def test_adaptive_retrieval_by_the_papers_formula():
    assert costs.adaptive_flops(1_281_167, 16, 200, 2048) == 1_281_167 * 16 + 200 * 2048 == 20_908_272
    assert 4_200_000 * 2048 / costs.adaptive_flops(4_200_000, 64, 200, 2048) == pytest.approx(31.95, abs=0.005)


def test_gb_of_a_billion_vectors_by_type():
    found = {dtype: costs.corpus_gb(1_000_000_000, 384, dtype) for dtype in ("float32", "float16", "int8", "binary")}
    assert found == {"float32": 1536.0, "float16": 768.0, "int8": 384.0, "binary": 48.0}


def test_cell_price_and_its_shares():
    price = costs.cell_price(costs.MINILM, 2, 96, n_documents=1_000_000, tokens=64)
    assert price == {
        "bytes": 384, "corpus_gb": 0.384, "encode_flops": costs.encode_flops(2, 384, 1536, 64),
        "search_flops": 96_000_000, "bytes_share": 0.25, "encode_share": pytest.approx(1 / 3), "search_share": 0.25,
    }  # fmt: skip
    full = costs.cell_price(costs.MINILM, 6, 384)
    assert full["bytes_share"] == full["encode_share"] == full["search_share"] == 1
    assert costs.cell_price(costs.MINILM, 6, 384, dtype="int8")["bytes_share"] == 0.25
    encoder = SimpleNamespace(n_layers=6, width=384, intermediate=1536)
    assert costs.cell_price(encoder, 2, 96, 1_000_000, 64) == price


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: costs.bytes_per_vector(8, "float8"), "float8.*choose"),
        (lambda: costs.bytes_per_vector(0), "dim 0"),
        (lambda: costs.encode_flops(6, 384, 1536, 0), "tokens 0"),
        (lambda: costs.cell_price(costs.MINILM, 7, 8), r"\(7, 8\)"),
        (lambda: costs.cell_price(costs.MINILM, 1, 385), r"\(1, 385\)"),
        (lambda: costs.adaptive_flops(10, 8, 20, 32), "shortlist of 20"),
    ],
)
def test_impossible_sizes_are_named(call, words):
    with pytest.raises(InputError, match=words):
        call()
