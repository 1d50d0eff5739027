"""Checks of lesson 09: arms that are secretly one model, rows that a code trains by mistake, a number of the ledger."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence

import numpy as np

from exercises.verdict import exercise
from mrl_tutorial.files import data_file

Slip = tuple[Sequence[int], Sequence[int]]


@exercise("a whole row of equal numbers where the models must differ: they look like one model.")
def suspects(function: Callable[[np.ndarray, np.ndarray, Sequence[int], np.ndarray], Sequence[int]]) -> str | None:
    """Exercise "the same model twice": two tables (L, M), their layers (L,), booleans (L, M) where both are one model
    by design -> the layers in which every cell that must differ is equal."""
    layers, dims = (2, 4, 12), 4
    a = np.random.default_rng(0).uniform(0.3, 0.8, (3, dims)).round(3)
    apart, none = a + 0.001, np.zeros((3, dims), bool)
    corner, row = none.copy(), none.copy()
    corner[-1, -1], row[-1] = True, True
    cut, one_cell, by_design, all_same = (apart.copy() for _ in range(4))
    cut[-1], one_cell[1, 2], by_design[-1, -1], all_same[-1] = a[-1], a[1, 2], a[-1, -1], a[-1]
    cases = [
        (apart, none, [], "every cell differs, by 0.001: tables with three digits are compared exactly"),
        (cut, corner, [12], "a whole row is equal, and only its last cell is one model by design"),
        (one_cell, none, [], "a single cell is equal by chance: ask for every cell that must differ"),
        (by_design, corner, [], "the only equal cell is one model by design"),
        (all_same, row, [], "nothing in a row must differ: such a row tells nothing, and `all` of nothing is True"),
    ]
    for b, same_model, want, why in cases:
        got = function(a.copy(), b, layers, same_model)
        if got is None or isinstance(got, str | bool) or not np.iterable(got):
            return "return a list of layers, [] where there is none."
        got = [int(layer) for layer in got]
        if got == [2] and want == [12]:
            return "return the layers by their names in `layers`, not by their row numbers."
        if got != want:
            return f"in one case {why}; the answer is {want}, yours is {got}."
    return None


@exercise("rows that should not be there, and rows that are missing; together they give an off-by-one away.")
def slip(function: Callable[[np.ndarray, np.ndarray], Slip]) -> str | None:
    """Exercise "off by one": weights and wanted weights (rows,) -> (rows trained by mistake, rows forgotten)."""
    for n_layers in (6, 12):
        wanted, found = np.ones(n_layers + 1), np.full(n_layers + 1, 0.2)
        wanted[0], found[-2] = 0, 0
        for weights, want in ((found, ([0], [n_layers - 1])), (3 * wanted, ([], []))):
            got = function(weights.copy(), wanted.copy())
            if not isinstance(got, tuple | list) or len(got) != 2 or not all(map(np.iterable, got)):
                return "return two lists of row numbers: trained by mistake, forgotten."
            told = tuple([int(row) for row in rows] for rows in got)
            if told == want:
                continue
            if told == want[::-1]:
                return "the two lists have changed places: first what is trained by mistake, then what is forgotten."
            if any(np.asarray(rows).dtype == bool for rows in got):
                return "give the numbers of the rows: np.flatnonzero makes them from booleans."
            if told[1] == list(range(1, n_layers + 1)):
                return "a row with a smaller weight than wanted is trained all the same: compare whether, not how much."
            if not want[0]:
                return (
                    "these weights are three times what is wanted, in the right rows: compare whether a row is trained."
                )
            if told == ([1], [n_layers]):
                return "row 0 is the embedding table: give row numbers, which count from 0."
            return f"for weights {weights.tolist()} it is {want}, yours is {told}."
    return None


@exercise("your numbers and the ledger's agree. One row less to take on trust.")
def ledger_row(function: Callable[[], tuple[str, float, float]]) -> str | None:
    """Exercise "check us": () -> (a row's id, its pair of numbers, computed again)."""
    got = function()
    if not isinstance(got, tuple | list) or len(got) != 3:
        return 'return three things: the id of a row, as "R1", and its two numbers.'
    with data_file("ledger.csv").open(encoding="utf-8", newline="") as file:
        pairs = {row["id"]: row["pair"] for row in csv.DictReader(file)}
    name, *numbers = got
    if name not in pairs:
        return f"the ledger has no row {name!r}; there are {', '.join(pairs)}."
    told = [float(x.replace(",", "")) for x in re.findall(r"([\d,.]*\d) \(", pairs[name])]
    if len(told) != 2:
        return f"row {name} has no pair of numbers; take another one."
    if np.allclose(numbers, told[::-1], atol=0.001) and abs(told[0] - told[1]) > 0.001:
        return f"you have the two numbers of {name} in the other order: {pairs[name]}."
    if not np.allclose(numbers, told, atol=0.001):
        mine = " and ".join(f"{x:.3f}" for x in numbers)
        return f"the ledger says {pairs[name]}; yours are {mine}. The same cells, the same seeds? If so, tell us."
    return None
