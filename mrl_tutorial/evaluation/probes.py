"""How well classes can be told from prefixes: few-shot logistic regression (MTEB), 1-NN."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import cross_validated, task_labels
from mrl_tutorial.evaluation.ranks import score_blocks
from mrl_tutorial.topk import unit

if TYPE_CHECKING:
    from mrl_tutorial.evaluation.measures import GridConfig


def few_shot(
    task: Any, keep: np.ndarray, names: Sequence[str], dims: Sequence[int], config: GridConfig
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """How a classification task is measured on the items `keep` of a split: a function of one layer's vectors that
    gives for each name ("accuracy", "1nn") the share of right answers to each item, (len(dims), len(keep)).

    MTEB's protocol: random samples of the training split. A cross-validated task: its folds, each tested by a model of
    all the others (on dev: one model of all of train). Raises InputError where nothing can be fitted.
    """
    if config.samples_per_label < 1 or config.n_experiments < 1:
        counts = f"samples_per_label {config.samples_per_label}, n_experiments {config.n_experiments}"
        raise InputError(f"{counts}: give 1 or more of each")
    labels = test_labels = task_labels(task, config.split)
    part, samples = "test", None  # where the training rows are; those of each experiment, None: all of them, once
    if cross_validated(task, config.split):
        place = np.full(len(labels), -1)
        place[keep] = np.arange(len(keep))
        folds = [(train, test[place[test] >= 0]) for train, test in task.fold_indices(config.seed)]
        # rows of the training part, rows tested, which of the items to measure these are
        rounds = [(train, test, place[test]) for train, test in folds if len(test)]
    else:
        part, labels = "train", np.asarray(task.splits["train"][1])
        if len(np.unique(labels)) < 2:
            raise InputError(f"the training split of {task.name!r} has a single class: nothing can be told apart")
        if not task.folds:
            samples = few_shot_rows(labels, config.samples_per_label, config.n_experiments, config.seed)
        rounds = [(np.arange(len(labels)), keep, np.arange(len(keep)))]

    def measure(here: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tables = {name: np.zeros((len(dims), len(keep)), dtype=np.float32) for name in names}
        for train, test, items in rounds:
            x, y, asked, right = here[part][train], labels[train], here["test"][test], test_labels[test]
            if "1nn" in names:  # ties: the first
                for rows, m, scores in score_blocks(asked, x, dims, cosine=bool(config.cosine)):
                    tables["1nn"][m, items[rows]] = y[scores.argmax(1).numpy()] == right[rows]
            for m, d in enumerate(dims if "accuracy" in names else ()):
                # cut, then normalized, because the regression's penalty (C = 1) sees the scale
                found = logistic_answers(unit(x[:, :d]), y, unit(asked[:, :d]), samples or [np.arange(len(y))])
                tables["accuracy"][m, items] = np.mean(found == right, axis=0, dtype=np.float32)
        return tables

    return measure


def few_shot_rows(labels: np.ndarray, samples_per_label: int, n_experiments: int, seed: int) -> list[np.ndarray]:
    """The training rows of every experiment, at most `samples_per_label` of each label, as MTEB samples them: the order
    is shuffled anew before each experiment, starting from the one before, and the first of each label are taken."""
    rng = np.random.default_rng(seed)
    order, samples = np.arange(len(labels)), []
    for _ in range(n_experiments):
        rng.shuffle(order)
        taken = [order[labels[order] == label][:samples_per_label] for label in np.unique(labels)]
        samples.append(np.sort(np.concatenate(taken)))
    return samples


def logistic_answers(x: np.ndarray, y: np.ndarray, asked: np.ndarray, samples: Sequence[np.ndarray]) -> np.ndarray:
    """What each item of `asked` (n, d) is taken for by a regression on each of `samples`, rows of x (N, d) with labels
    y: (len(samples), n)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations are the protocol
        return np.stack([LogisticRegression(max_iter=100).fit(x[rows], y[rows]).predict(asked) for rows in samples])
