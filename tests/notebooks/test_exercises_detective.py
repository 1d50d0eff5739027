"""The checks of lesson 09: what they say to a typical wrong answer to each exercise."""

from __future__ import annotations

import numpy as np
import pytest
from exercises import detective


def rows_of(equal, layers, how=np.all):
    return [layer for layer, row in zip(layers, equal, strict=True) if how(row)]


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda a, b, layers, same: None, "return a list"),
        (lambda a, b, layers, same: bool((a == b).any()), "return a list"),
        (lambda a, b, layers, same: [i for i in range(3) if (a == b)[i][~same[i]].all()], "by their names"),
        (lambda a, b, layers, same: rows_of(np.isclose(a, b, atol=0.01), layers), "compared exactly"),
        (lambda a, b, layers, same: rows_of((a == b) & ~same, layers, np.any), "by chance"),
        (lambda a, b, layers, same: rows_of(a == b, layers, np.any), "by chance"),
        (lambda a, b, layers, same: rows_of((a == b) | same, layers), "`all` of nothing is True"),
    ],
)
def test_suspects(wrong, hint):
    verdict = detective.suspects(wrong)
    assert not verdict and hint in str(verdict)


def rows(weights, wanted):
    trained, asked = weights > 0, wanted > 0
    return np.flatnonzero(trained & ~asked), np.flatnonzero(asked & ~trained)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda weights, wanted: 0, "two lists"),
        (lambda weights, wanted: rows(weights, wanted)[::-1], "changed places"),
        (lambda weights, wanted: tuple(x + 1 for x in rows(weights, wanted)), "count from 0"),
        (lambda weights, wanted: (np.flatnonzero(weights != wanted), []), "it is ([0], [5])"),
        (lambda weights, wanted: rows(weights, wanted) if (weights == 0)[-2] else ([1], []), "three times"),
    ],
)
def test_slip(wrong, hint):
    verdict = detective.slip(wrong)
    assert not verdict and hint in str(verdict)


@pytest.mark.parametrize(
    "wrong, hint",
    [
        (lambda: 0.137, "return three things"),
        (lambda: ("R99", 0.1, 0.2), "no row 'R99'"),
        (lambda: ("R8", 0.294, 1.0), "the other order"),
        (lambda: ("R8", 0.9, 0.294), "yours are 0.900 and 0.294"),
    ],
)
def test_a_row_of_the_ledger(wrong, hint):
    verdict = detective.ledger_row(wrong)
    assert not verdict and hint in str(verdict)


def test_a_row_of_the_ledger_that_has_no_numbers_yet(monkeypatch, tmp_path):
    (tmp_path / "ledger.csv").write_text("id,pair\nN1,\n")
    monkeypatch.setattr(detective, "data_file", lambda name: tmp_path / name)
    verdict = detective.ledger_row(lambda: ("N1", 0.1, 0.2))
    assert not verdict and "take another one" in str(verdict)


def test_a_row_of_the_ledger_that_agrees():
    assert detective.ledger_row(lambda: ("R8", 1.0, 1 / (1 + np.log(11))))
