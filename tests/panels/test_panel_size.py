"""The size calculator: what the browser computes and writes, against arithmetic in Python, in every state."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels import script
from mrl_tutorial.panels.packing import unpack
from mrl_tutorial.panels.size_calculator import PRESETS, SizeCalculator
from mrl_tutorial.retrieval.costs import GB, MACHINES, TYPES, Size, corpus_gb
from tests.helpers.web import random_states, shown

KEYS = ("n", "width", "dim", "dtype", "links", "depth")


@pytest.fixture
def panel():
    return SizeCalculator()


def possible(panel, n: int, seed: int) -> list[dict]:
    """Random states that the panel can be in."""
    found = [{**panel.state, **state} for state in random_states(panel, n, seed)]
    for state in found:
        state["dim"], state["depth"] = min(state["dim"], state["width"]), min(state["depth"], state["n"])
    return found


def fitting(gb: float) -> list[str]:
    """The machines whose memory holds `gb`, smallest first."""
    return [name for name, room in MACHINES.items() if gb <= room]


def words(gb: float) -> str:
    """GB as a size to read."""
    for size, unit in ((1.0, "GB"), (1e-3, "MB"), (1e-6, "kB")):
        if gb >= size:
            number = gb / size
            return f"{number:,.0f} {unit}" if number >= 1000 else f"{number:.4g} {unit}"
    return f"{gb * GB:.0f} B"


def check(state: dict, one: dict) -> None:
    size, got, text = Size(*(state[key] for key in KEYS)), one["shown"], one["text"]
    want = (size.vectors_gb, size.links_gb, size.total_gb, size.full_gb, size.total_gb / size.full_gb)
    assert (got["vectorsGb"], got["linksGb"], got["totalGb"], got["fullGb"], got["share"]) == want
    exact, cut = size.n * size.width, size.n * size.dim
    assert (got["exact"], got["cut"], got["shortlist"]) == (exact, cut, cut + size.depth * size.width)
    assert got["fits"] == fitting(size.total_gb) and got["month"] == size.month(state["price"])
    for bar, kind in zip(got["memory"], TYPES, strict=True):
        full, cut = (corpus_gb(size.n, dim, kind) + size.links_gb for dim in (size.width, size.dim))
        assert (bar["type"], bar["full"], bar["cut"]) == (kind, full, cut)
        assert f"{kind}{words(full)}{words(cut)}" in text
    head = got["headline"]
    assert f" in {size.dtype}: {words(size.total_gb)}" in head
    assert (f"instead of {words(size.full_gb)}" in head) == (size.total_gb != size.full_gb)
    fits = fitting(size.total_gb)
    assert (f"a {fits[0]} ({MACHINES[fits[0]]}\xa0GB) is enough" if fits else "more than a server holds") in head
    listed = ", ".join(f"{name} ({MACHINES[name]}\xa0GB)" for name in fits) or "none of the three machines"
    parts = f"{words(size.vectors_gb)} of vectors + {words(size.links_gb)} of links"
    assert listed in text and (parts in text) == bool(size.links)
    assert f"{state['queries']:,} queries a second" in text
    assert ("full vectors, which have to be stored too" in text) == (size.dim < size.width)
    money = f"{size.month(state['price']):,.2f}" if state["price"] else "fill in a price"
    assert money in text


def test_the_browser_computes_and_writes_what_python_does(panel):
    states = possible(panel, 500, 0)
    for state, price in zip(states, np.random.default_rng(0).integers(0, 3, 500), strict=True):
        state["price"] = float(price)
    for state, one in zip(states, shown(panel, states), strict=True):
        check(state, one)


def test_sizes_off_the_sliders_steps_are_added_to_them():
    panel = SizeCalculator(n=28_433, width=385, dim=37, dtype="binary", links=12, depth=33, queries=7, price=2.0)
    assert panel.size == Size(28_433, 385, 37, "binary", 12, 33)
    states = possible(panel, 60, 1)
    for state, one in zip(states, shown(panel, states), strict=True):
        check(state, one)


@pytest.mark.parametrize("gb, shown", [(30.72, "30.72 GB"), (0.0768, "76.8 MB"), (1e-5, "10 kB"), (1e-8, "10 B"),
                                       (4096, "4,096 GB"), (1, "1 GB")])  # fmt: skip
def test_the_words_that_are_expected(gb, shown):
    assert words(gb) == shown


def test_an_impossible_state_is_adjusted():
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    states = [
        [{"n": 10**4, "width": 64, "dim": 768, "depth": 200, "price": 1.5}, {"dim": 64, "depth": 200, "price": 1.5}],
        [{"n": 150, "width": 64, "dim": 8, "depth": 200, "price": -3}, {"dim": 8, "depth": 100, "price": 0}],
        [{"n": 10**4, "width": 8, "dim": 8, "depth": 10, "price": None}, {"dim": 8, "depth": 10, "price": 0}],
    ]
    path = Path(script.WEB) / "size.js"
    data = json.dumps({"depths": SizeCalculator().controls["depth"]["values"]})
    code = f"""import {{ size }} from {json.dumps(path.as_uri())};
const data = {data};
const states = {json.dumps([given for given, _ in states])};
console.log(JSON.stringify(states.map((s) => size.adjust(s, {{}}, data))));"""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code], capture_output=True, text=True, check=True
    ).stdout
    for (given, want), found in zip(states, json.loads(done), strict=True):
        assert found == {**given, **want}


def test_presets_are_buttons_and_possible(panel):
    buttons = [c for row in unpack(panel.tables)["controls"] for c in row if c["kind"] == "button"]
    assert [b["label"] for b in buttons] == list(PRESETS)
    for one in buttons:
        panel.set(**one["set"])
    panel.set(**buttons[1]["set"])
    assert panel.size == Size(10_000_000, 1024, 1024, depth=200) and panel.size.total_gb == 40.96


def test_the_constants_are_those_of_the_arithmetic(panel):
    tables = unpack(panel.tables)
    assert tables["machines"] == MACHINES and tables["gb"] == GB and tables["types"] == list(TYPES)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"width": 384, "dim": 768}, "cannot keep"),
        ({"n": 100, "depth": 200}, "shortlist of 200"),
        ({"links": 1}, "M = 1 makes no graph"),
        ({"dtype": "float8"}, "float8"),
        ({"price": -1.0}, "price of -1"),
    ],
)
def test_a_wrong_start_and_a_wrong_move_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SizeCalculator(**options)


def test_python_cannot_move_to_an_impossible_state(panel):
    with pytest.raises(InputError, match="cannot keep 768 of 64"):
        panel.set(width=64)
    with pytest.raises(InputError, match="price cannot be -2"):
        panel.set(price=-2.0)
    with pytest.raises(InputError, match="dim cannot be 65"):
        panel.set(dim=65)
    panel.set(width=64, dim=64, price=3.0)
    assert panel.size.width == 64
