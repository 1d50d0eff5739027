"""What all panels share: packing, the state, the one script that the browser gets, and the page without a kernel."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.packing import WHOLE, pack, unpack
from mrl_tutorial.panels.panel import Panel, button, field, menu, slider, switch
from mrl_tutorial.panels.script import WEB, modules, page, widget_module

SHARED = {"tree", "tables", "words", "plots", "panel"}
VIEWS = sorted(path.stem for path in WEB.glob("*.js") if path.stem not in SHARED)
DECLARED = re.compile(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)", re.M)
MAX_SCRIPT = 150_000


class Small(Panel):
    """A panel over the explorer's view; only its Python side is used here."""

    view = "explorer"

    def __init__(self, **state):
        controls = [
            [slider("layer", "layer", range(1, 4)), switch("model", "model", ["a", "b"])],
            [menu("query", "example", ["one"], free=True), field("text", "query"), button("Go", ask="go")],
            [field("number", "seconds", min=1, max=600)],
        ]
        first = {"layer": 1, "model": "a", "query": "one", "seconds": 10}
        super().__init__(controls, {**first, **state}, table=np.eye(2, dtype="f4"))
        self.went = []

    def on_go(self, state):
        if state["layer"] == 3:
            raise InputError("layer 3 cannot go: take 2")
        self.went.append(state)


@pytest.mark.parametrize("kind", [*WHOLE, "f4", "f8"])
def test_arrays_come_back_as_they_were(kind):
    table = np.arange(12).reshape(3, 4).astype(kind)
    back = unpack(pack({"deep": [{"table": table}, "words é", 1.5, None, True]}))["deep"]
    assert back[1:] == ["words é", 1.5, None, True]
    assert back[0]["table"].dtype == np.dtype(kind if kind in ("f4", "f8") else "u1")
    assert np.array_equal(back[0]["table"], table)


def test_packing_keeps_nan_in_arrays_empty_arrays_and_numpy_numbers():
    back = unpack(pack({"a": np.array([np.nan, 1], "f4"), "b": np.zeros((0, 3), "u2"), "c": np.float64(2), "d": (1,)}))
    assert np.isnan(back["a"][0]) and back["b"].shape == (0, 3) and back["c"] == 2 and back["d"] == [1]


def test_packing_refuses_what_the_browser_cannot_read():
    with pytest.raises(TypeError, match="complex128 cannot be packed"):
        pack(np.zeros(2, complex))
    with pytest.raises(TypeError, match="numbers from -1 to 3000000000 cannot be packed"):
        pack(np.array([-1, 3 * 10**9]))
    with pytest.raises(ValueError, match="JSON"):
        pack({"value": float("nan")})


@pytest.mark.parametrize(
    "numbers, kind",
    [([0, 255], "u1"), ([0, 256], "u2"), ([0, 65536], "u4"), ([-1, 255], "i2"), ([-40000, 0], "i4"), ([True], "u1")],
)
def test_whole_numbers_take_the_smallest_kind(numbers, kind):
    found = unpack(pack(np.array(numbers)))
    assert found.dtype == np.dtype(kind) and found.tolist() == numbers


def test_state_is_checked_before_it_is_set():
    panel = Small(layer=2)
    panel.set(model="b", query="a query of one's own")
    assert panel.state == {"layer": 2, "model": "b", "query": "a query of one's own", "seconds": 10}
    for changes, words in (
        ({"layer": 4}, "layer cannot be 4: choose from 1, 2, 3"),
        ({"size": 1}, "no control 'size'"),
    ):
        with pytest.raises(InputError, match=words):
            panel.set(**changes)
    with pytest.raises(InputError, match="model cannot be 'c'"):
        Small(model="c")
    assert panel.state["layer"] == 2


def test_numbers_of_numpy_become_those_of_the_control():
    panel = Small(layer=np.int64(2))
    panel.set(layer=np.float32(3), query=np.str_("own"), seconds=np.float64(2.5))
    assert json.dumps(panel.state) == '{"layer": 3, "model": "a", "query": "own", "seconds": 2.5}'
    assert '"layer": 3' in panel.page()
    assert slider("d", "d", np.array([8, 16]))["values"] == [8, 16]
    assert type(slider("d", "d", np.array([8, 16]))["values"][0]) is int


@pytest.mark.parametrize("wrong", [0, 601, float("nan"), "10"])
def test_a_number_beyond_its_limits_is_refused(wrong):
    with pytest.raises(InputError, match=r"seconds cannot be .*: give a number from 1 to 600"):
        Small().set(seconds=wrong)


def test_publishing_is_one_message(monkeypatch):
    """Between two of them the browser would hold a state that the tables lack."""
    panel, sent = Small(), []
    panel.more = {"late": pack({"table": 1})}
    monkeypatch.setattr(panel, "send_state", lambda key: sent.append({key} if isinstance(key, str) else set(key)))
    monkeypatch.setattr(type(panel), "comm", type("Comm", (), {"kernel": True})(), raising=False)
    panel.publish(other=[1])
    assert sent == [{"more", "tables"}]


def test_a_message_is_answered_and_a_wrong_one_becomes_words():
    panel = Small()
    panel._receive({"ask": "go", "state": {"layer": 1}})
    panel._receive({"ask": "go", "state": {"layer": 3}})
    panel._receive({"ask": "fly"})
    assert panel.went == [{"layer": 1}] and panel.status == {"error": "layer 3 cannot go: take 2"}


def test_publishing_replaces_tables_and_forgets_what_came_in_between():
    panel = Small()
    panel.more = {"late": pack({"table": 1})}
    panel.publish(other=[1, 2])
    assert (
        panel.more == {} and unpack(panel.tables)["other"] == [1, 2] and unpack(panel.tables)["table"].shape == (2, 2)
    )


@pytest.mark.parametrize("view", VIEWS)
def test_the_script_is_one_module_whose_names_are_used_once(view):
    script = widget_module(view)
    assert not re.search(r"^import ", script, re.M) and script.count("\nexport ") == 1
    names = DECLARED.findall(script)
    assert sorted(names) == sorted(set(names)), f"declared twice: {[n for n in set(names) if names.count(n) > 1]}"
    assert view in names and len(script) < MAX_SCRIPT


def test_a_view_carries_only_what_it_imports():
    assert "function heatmap" in modules("explorer")
    assert modules("explorer").count("function unpack") == 1


def test_a_page_loads_nothing_and_holds_the_state(tmp_path):
    panel = Small(query="</script><b>bold</b>")
    panel.save_page(tmp_path / "page.html", title="<Grid>")
    text = (tmp_path / "page.html").read_text()
    assert "&lt;Grid&gt;" in text and "</script><b>" not in text and text.count("</script>") == 1
    addresses = set(re.findall(r"https?://[\w./]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, which nobody fetches
    assert not re.search(r"""(src|href)=["']""", text)
    assert page("explorer", panel.tables, panel.state, "t") == page("explorer", panel.tables, panel.state, "t")


def test_notebooks_can_be_photographed(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_PANEL_PAGES", str(tmp_path))
    Small()._repr_mimebundle_()
    Small(layer=3)._repr_mimebundle_()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000.html", "001.html"]
