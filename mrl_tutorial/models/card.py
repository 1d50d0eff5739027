"""An encoder in words: in one line, and as the model card of an exported cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrl_tutorial.grid import Grid

if TYPE_CHECKING:
    from mrl_tutorial.models.encoder import Encoder


def described(encoder: Encoder) -> str:
    """An encoder in one line: what `repr` gives."""
    said = [f"{encoder.heads.kind} heads"] if encoder.heads else []
    said += ["dot product"] if encoder.similarity == "dot" else []
    prompts = ", ".join(f"{name} {text!r}" for name, text in encoder.prompts.items())
    said += [f"prompts: {prompts}"] if prompts else []
    rest = "".join(f", {part}" for part in said)
    return f"Encoder({encoder.name}: {encoder.n_layers} layers x {encoder.width}, {encoder.pooling} pooling{rest})"


def model_card(encoder: Encoder, name: str, layer: int, dim: int, grid: Grid | None = None) -> str:
    """README.md of a folder that `export` writes. grid: measured before, with or without this cell."""
    unit = "" if encoder.similarity == "dot" else ", normalized to unit length"
    head = f" and its {encoder.heads.kind} head" if encoder.heads else ""
    said = {"query": "encode_query", "document": "encode_document"}
    method = "encode_query" if "query" in encoder.prompts else "encode"
    parts = [
        f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [sentence-transformers, sentence-similarity, feature-extraction]
---

# {name}

Layer {layer} of {encoder.n_layers}, {dim} of {encoder.width} dimensions of {encoder.name}: the first {layer} blocks,
{encoder.pooling} pooling{head}, cut to {dim} coordinates{unit}. Texts are cut to
{encoder.max_length} tokens. The license and the training data of the original model apply here too.

```python
from sentence_transformers import SentenceTransformer

vectors = SentenceTransformer("{name}").{method}(["solve a linear system"])  # (1, {dim})
```
"""
    ]
    if encoder.prompts:
        lines = [f"- {side}: {text!r}, by `{said.get(side, 'encode')}`" for side, text in encoder.prompts.items()]
        parts.append("It puts a prompt before each text:\n\n" + "\n".join(lines) + "\n")
    parts.append(
        """\
Shorter vectors: `SentenceTransformer(..., truncate_dim=d)` cuts after the normalization, so its vectors are not of
unit length. Compare them by cosine, or normalize them again: `encode(texts, normalize_embeddings=True)`.
"""
    )
    if grid is not None:
        title = f"## Measured: {grid.metric} on {grid.task} ({grid.split})"
        if layer in grid.layers and dim in grid.dims:
            title += f"\n\nThis cell: {grid.at(layer, dim):.4f}."
        parts.append(f"{title}\n\n```\n{grid.as_text()}\n```\n")
    return "\n".join([*parts, "Written by mrl-tutorial.\n"])
