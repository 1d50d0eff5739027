"""The checks of the lesson on a model of one's own: right answers pass, typical mistakes are told what is wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
from exercises import own_model

PAIRS = [(f"where do I find item number {i}?", f"It lies in drawer {i % 7} of cupboard {i}.") for i in range(40)]


def test_percent_kept():
    def right(values):
        return [100 * v / values[-1] for v in values]

    assert own_model.percent_kept(right)
    for word, function in {
        "multiply by 100": lambda v: np.array(v) / v[-1],
        "what is lost": lambda v: 100 - 100 * np.array(v) / v[-1],
        "best value": lambda v: 100 * np.array(v) / max(v),
        "the first": lambda v: 100 * np.array(v) / v[0],
        "4 percentages": lambda v: 100,
    }.items():
        said = own_model.percent_kept(function)
        assert not said and word in str(said), (word, said)


def test_choose_width():
    def right(mean, low, budget):
        chosen = None
        for d in sorted(low, reverse=True):
            if low[d] < -budget:
                break
            chosen = d
        return chosen

    assert own_model.choose_width(right)
    for word, function in {
        "lower bound": lambda mean, low, budget: min(d for d in mean if mean[d] >= -budget),
        "luck": lambda mean, low, budget: min((d for d in low if low[d] >= -budget), default=None),
        "use the argument": lambda mean, low, budget: right(mean, low, 0.01),
        "None": lambda mean, low, budget: right(mean, low, budget) or max(low),
        "128": lambda mean, low, budget: max(low),
    }.items():
        said = own_model.choose_width(function)
        assert not said and word in str(said), (word, said)


def test_my_pairs(tmp_path):
    file = tmp_path / "my.csv"
    pd.DataFrame(PAIRS, columns=["query", "document"]).to_csv(file, index=False)
    assert own_model.my_pairs(lambda: file)
    assert own_model.my_pairs(lambda: list(PAIRS))
    for word, given in {
        "return the path": None,
        "no task or path": "there-is-no-such-file.csv",
        "too few": PAIRS[:5],
        "twice": PAIRS + PAIRS[:1],
        "word for word": [(query, f"{query} {document}") for query, document in PAIRS],
        "answers 40 of 40": [(query, "It lies somewhere.") for query, _ in PAIRS],
        "classification": [{"text": query, "label": str(i % 2)} for i, (query, _) in enumerate(PAIRS)],
    }.items():
        said = own_model.my_pairs(lambda given=given: given)
        assert not said and word in str(said), (word, said)
