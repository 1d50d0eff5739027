"""A tiny random BERT with a real tokenizer, made in a second: models without downloads."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

VOCABULARY = (
    "a an the matrix vector norm inverse solve eigenvalue sparse dense graph node edge path sort merge frame row column"
)
WORDS = VOCABULARY.split()
SENTENCES = [
    "the norm of a vector",
    "solve the sparse matrix",
    "sort a frame by column",
    "merge the row",
    "a path in a graph",
    "an edge joins the node",
    "the inverse of a dense matrix",
    "the eigenvalue of the matrix",
    "a node",
    "sort the path by norm of edge row",
]


def save_tiny(folder: Path, family: str = "bert", *, layers: int = 3, width: int = 32, seed: int = 0) -> Path:
    """Write a random encoder of `family` (bert, roberta, mpnet) with a word-level tokenizer to `folder`."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if family != "bert":  # those families number positions from the padding id on, which must be 1
        special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(special + WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(t, special.index(t)) for t in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config_type, model_type = {
        "bert": (BertConfig, BertModel),
        "roberta": (RobertaConfig, RobertaModel),
        "mpnet": (MPNetConfig, MPNetModel),
    }[family]
    config = config_type(
        vocab_size=len(special) + len(WORDS),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        pad_token_id=special.index("[PAD]"),
        initializer_range=0.3,
    )
    model_type(config).save_pretrained(folder)
    return folder
