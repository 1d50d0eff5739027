"""Tiny random encoders with a real tokenizer, made in a second: models without downloads."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

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


#: family: (configuration, network, settings of its own)
RELATIVE = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
FAMILIES: dict[str, tuple[str, str, dict]] = {
    "bert": ("BertConfig", "BertModel", {}),
    "albert": ("AlbertConfig", "AlbertModel", {"embedding_size": 16}),
    "roberta": ("RobertaConfig", "RobertaModel", {}),
    "xlm-roberta": ("XLMRobertaConfig", "XLMRobertaModel", {}),
    "mpnet": ("MPNetConfig", "MPNetModel", {}),
    "distilbert": ("DistilBertConfig", "DistilBertModel", {}),
    "deberta": ("DebertaConfig", "DebertaModel", RELATIVE),
    "deberta-v2": ("DebertaV2Config", "DebertaV2Model", {
        **RELATIVE, "position_buckets": 16, "position_biased_input": False, "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
    }),
    "modernbert": ("ModernBertConfig", "ModernBertModel", {}),
    "nomic-bert": ("NomicBertConfig", "NomicBertModel", {}),
    "t5": ("T5Config", "T5EncoderModel", {"d_kv": 8, "initializer_factor": 3.0}),
    "gemma3": ("Gemma3TextConfig", "Gemma3TextModel", {
        "num_key_value_heads": 2, "head_dim": 8, "use_bidirectional_attention": True, "sliding_window": 8,
    }),
    "qwen3": ("Qwen3Config", "Qwen3Model", {"num_key_value_heads": 2, "head_dim": 8}),
}  # fmt: skip


def save_tiny(folder: Path, family: str = "bert", *, layers: int = 3, width: int = 32, seed: int = 0) -> Path:
    """Write a random encoder of a family of `FAMILIES` with a word-level tokenizer to `folder`."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if family in (
        "roberta",
        "xlm-roberta",
        "mpnet",
    ):  # those families number positions from the padding id on, which must be 1
        special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(special + WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(t, special.index(t)) for t in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config, network, own = FAMILIES[family]
    ids = {f"{name.lower()[1:-1]}_token_id": special.index(name) for name in ("[PAD]", "[CLS]", "[SEP]")}
    sizes = {"num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": 4, "vocab_size": len(WORDS) + 5}
    if family == "t5":
        sizes = {
            "num_layers": layers,
            "d_model": width,
            "num_heads": 4,
            "d_ff": 2 * width,
            "vocab_size": len(WORDS) + 5,
        }
    elif family == "distilbert":
        sizes = {"n_layers": layers, "dim": width, "n_heads": 4, "hidden_dim": 2 * width, "vocab_size": len(WORDS) + 5}
        sizes |= {"max_position_embeddings": 64, "initializer_range": 0.3}
    else:
        sizes |= {"intermediate_size": 2 * width, "max_position_embeddings": 64, "initializer_range": 0.3}
    ids |= {"bos_token_id": ids["cls_token_id"], "eos_token_id": ids["sep_token_id"]}
    settings = getattr(transformers, config)(**sizes, **ids, **own)
    getattr(transformers, network)(settings).save_pretrained(folder)
    return folder
