"""The labeled sets on which Matryoshka networks meet every other way to a shorter vector, as in lesson 03."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evidence import baselines_on_vectors as baselines
from mrl_tutorial import Encoder, load_task
from mrl_tutorial.classification.labeled_vectors import LabeledVectors, from_task, scaled
from mrl_tutorial.classification.small_networks import NetworkConfig
from mrl_tutorial.evaluation.statistics import Difference, paired

DIMS, TEXT_DIMS = (2, 4, 8, 16, 32, 64), (8, 16, 32, 64, 128)
NAMES = {"1nn": "1-NN accuracy", "linear": "linear accuracy", "head": "accuracy", "map@10": "mAP@10", "p@10": "P@10"}


@dataclass(frozen=True)
class Compared:
    """One set, and what each way measured on it: way -> measure -> (S, M, tested items)."""

    name: str
    data: LabeledVectors
    plan: NetworkConfig
    outcomes: dict[str, dict[str, np.ndarray]]

    def of(self, way: str, metric: str, size: int) -> np.ndarray:
        """(S, tested items)."""
        return self.outcomes[way][metric][:, self.plan.dims.index(size)]

    def gap(self, metric: str, size: int, way: str, rival: str) -> Difference:
        """way - rival at one size, with bounds over items and seeds."""
        return paired(self.of(way, metric, size), self.of(rival, metric, size))

    def mean(self, way: str, metric: str, size: int) -> float:
        """Mean over seeds and items."""
        return float(self.of(way, metric, size).mean())


def compared(seeds: Sequence[int], fast: bool = False) -> dict[str, Compared]:
    """Digits and pydocs' modules, and Banking77 where `$MRL_DATA` has it. fast: small budgets. What has
    been trained once is read from the cache."""
    digits = from_task(load_task("digits"))
    plan = NetworkConfig(dims=DIMS, width=64, hidden=64, epochs=4 if fast else 30)
    sets = {"digits": Compared("digits", digits, plan, baselines.compare_baselines(digits, plan, seeds))}
    corpus, encoder = load_task("pydocs"), Encoder.load("all-MiniLM-L6-v2")
    corpus = corpus.smaller(500) if fast else corpus
    vectors = encoder.encode_layers(list(corpus.corpus.values()))[-1]
    modules = baselines.from_corpus(corpus, vectors, "module")
    plan = NetworkConfig(dims=TEXT_DIMS, width=128, hidden=0, epochs=3 if fast else 20, lr=0.01)
    ways = ("MRL", "MRL-E", "alone", "prefix", "pca")
    sets["pydocs"] = Compared("pydocs", modules, plan, baselines.compare_baselines(modules, plan, seeds, ways))
    if not fast and (bank := held("banking77")) is not None:
        parts = {s: encoder.encode_layers(bank.splits[s][0], layers=[encoder.n_layers])[0] for s in ("train", "test")}
        labels, n = np.concatenate([bank.splits[s][1] for s in parts]), len(parts["train"])
        rounds = [(np.arange(n), np.arange(n, len(labels)))]
        intents = scaled(bank.name, np.concatenate([parts["train"], parts["test"]]), labels, rounds)
        plan = NetworkConfig(dims=TEXT_DIMS, width=128, hidden=0, epochs=8, lr=0.01)
        found = baselines.compare_baselines(intents, plan, seeds, ("MRL", "alone", "prefix"), metrics=["1nn"])
        sets["banking77"] = Compared("banking77", intents, plan, found)
    return sets


def held(name: str) -> Any:
    """A task of `$MRL_DATA`, None where it is not there."""
    folder = os.environ.get("MRL_DATA")
    return load_task(name) if folder and os.path.isdir(os.path.join(folder, name)) else None
