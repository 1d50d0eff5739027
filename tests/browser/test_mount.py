"""The frame of every panel, on a model whose messages the test sends: nothing that a reader does is lost or undone."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from benchmarks.browser import chromium_page
from mrl_tutorial.panels.packing import pack
from mrl_tutorial.panels.script import modules, stylesheet
from tests.helpers.browser import drawn
from tools.chromium import REMEDY, find_chromium

# what anywidget hands to a view; `change` is a message from the kernel
MODEL = """
class Model {
  constructor(values) { Object.assign(this, { values, calls: {}, sent: [], saved: [] }); }
  get(name) { return this.values[name]; }
  set(name, value) { this.change({ [name]: value }); }
  save_changes() { this.saved.push(this.values.state); }
  send(message) { this.sent.push(message); }
  on(name, call) { (this.calls[name] ??= new Set()).add(call); }
  off(name, call) { this.calls[name].delete(call); }
  change(values) {
    Object.assign(this.values, values);
    for (const name in values) this.calls[`change:${name}`]?.forEach((call) => call());
  }
}
"""
VIEW = """
const toy = {
  view: (state, data) => {
    window.data = data;
    if (!(state.model in data.quality)) throw new Error(`no table of ${state.model}`);
    return { headline: `${state.model} ${state.layer} ${state.query}`, ...state };
  },
  missing: (state, data) => window.toyMissing?.(state)
    ?? (data.known.includes(state.query) ? null : { ask: "query", text: state.query }),
  draw: (shown, act, width) => [
    h("p", {}, h("button", { type: "button", onclick: () => act({ layer: 1 }) }, "First")),
    h("div", {}, curves({
      name: "curve", xs: [1, 2, 4], range: [0, 1], at: [1, 2, 4][shown.layer - 1], width: 600, height: 300,
      lines: [{ name: "a", color: "red", values: [0, 0.5, 1] }, { name: "b", color: "blue", values: [NaN, 0.5, 1] }],
      yLabel: "y",
      drag: (x) => act({ layer: x < 1.5 ? 1 : x < 3 ? 2 : 3 }),
    })),
    shown.layer > 1 && h("p", {}, "more text"),
    table([{ title: "words" }], [{ cells: ["this row is marked"], marked: true }]),
  ].filter(Boolean),
};
"""
START = """
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const open = (state, tables) => {
  window.model = new Model({ state, tables: bytes(tables), more: {}, status: {} });
  window.close = widget(toy).render({ model, el: document.getElementById("panel") });
};
Object.assign(window, { open, bytes });
"""


def tables(models=("plain",), **more) -> str:
    """Tables with these models, as text."""
    controls = [
        [
            {"kind": "switch", "name": "model", "label": "model", "values": list(models)},
            {"kind": "slider", "name": "layer", "label": "layer", "values": [1, 2, 3]},
        ],
        [
            {"kind": "menu", "name": "query", "label": "example", "values": ["one", "two", "three"], "free": True},
            {"kind": "text", "name": "query", "label": "query"},
            {"kind": "number", "name": "seconds", "label": "seconds", "min": 1, "max": 600},
            {"kind": "button", "name": "", "label": "Train", "ask": {"ask": "train"}},
        ],
    ]
    quality = dict.fromkeys(models, np.ones(3, "f4"))
    data = {"controls": controls, "quality": quality, "code": "layer = {layer}", "known": ["one", "two", "three"]}
    return base64.b64encode(pack(data | more)).decode()


@pytest.fixture(scope="module")
def browser():
    if find_chromium() is None:
        pytest.skip(REMEDY)
    with chromium_page(900, 1200) as page:
        page.set_default_timeout(5000)
        yield page


@pytest.fixture
def page(browser):
    """The toy panel, drawn; an error in the page fails the test."""
    errors: list[str] = []
    browser.goto("about:blank")
    browser.on("pageerror", lambda error: errors.append(str(error)))
    script = modules("explorer") + MODEL + VIEW + START
    browser.set_content(f"<style>{stylesheet()}</style><div id='panel'></div><script type='module'>{script}</script>")
    browser.wait_for_function("() => window.open && window.bytes")
    browser.evaluate("(t) => window.open({ model: 'plain', layer: 2, query: 'one', seconds: 10 }, t)", tables())
    browser.wait_for_selector(".mrl .headline")
    yield browser
    assert errors == []


def headline(page) -> str:
    drawn(page)
    return page.locator(".headline").inner_text()


def tell(page, **values) -> None:
    """A message from the kernel; tables and more are texts."""
    page.evaluate(
        """(values) => {
             if (values.tables) values.tables = bytes(values.tables);
             for (const name in values.more ?? {}) values.more[name] = bytes(values.more[name]);
             model.change(values);
           }""",
        values,
    )
    drawn(page)


def test_a_text_being_typed_survives_what_the_kernel_says(page):
    page.locator("label.text input").fill("")
    page.locator("label.text input").press_sequentially("half a que")
    tell(page, status={"share": 0.5, "label": "training"})
    tell(page, state={"model": "plain", "layer": 3, "query": "one", "seconds": 10})
    assert headline(page) == "plain 3 one"
    assert page.locator("label.text input").input_value() == "half a que"
    page.locator("label.text input").press("Enter")
    assert headline(page) == "plain 3 half a que"
    page.locator("label.menu select").select_option("three")
    assert headline(page) == "plain 3 three" and page.locator("label.text input").input_value() == "three"


def test_focus_an_open_text_and_a_drag_survive_a_status(page):
    page.locator("summary").click()
    page.get_by_role("button", name="First").focus()
    tell(page, status={"share": 0.5, "label": "training"})
    assert page.evaluate("() => document.activeElement.textContent") == "First"
    assert page.evaluate("() => document.querySelector('details').open")
    page.get_by_role("slider", name="layer").press("Home")
    drawn(page)
    assert page.evaluate("() => document.querySelector('details').open")
    box = page.locator(".surface").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    assert headline(page) == "plain 2 one"
    tell(page, status={})
    page.mouse.move(box["x"] + box["width"] + 40, box["y"] + 400)  # beyond the chart, and still held
    assert headline(page) == "plain 3 one"
    page.mouse.up()


def test_a_menu_shows_what_is_chosen(page):
    text, menu = page.locator("label.text input"), page.locator("label.menu select")
    chosen = "(e) => e.selectedOptions[0]?.textContent"
    text.fill("own words")
    text.press("Enter")
    drawn(page)
    assert menu.evaluate(chosen) == "your own"
    menu.select_option("one")
    assert headline(page) == "plain 2 one" and menu.evaluate(chosen) == "one"


def test_newer_tables_win_and_none_arrive_after_the_end(page):
    rng = np.random.default_rng(0)
    big = tables(noise=rng.integers(0, 255, 12_000_000).astype("u1"))  # takes long to unpack
    page.evaluate("(t) => { window.big = bytes(t); }", big)
    page.evaluate("(t) => { model.change({ tables: big }); model.change({ tables: bytes(t) }); }", tables(note="new"))
    page.wait_for_function("() => window.data.note === 'new'")
    page.wait_for_timeout(600)
    assert page.evaluate("() => window.data.note") == "new"
    page.evaluate("() => { model.change({ tables: new DataView(big.buffer) }); window.close(); }")
    page.wait_for_timeout(600)
    assert page.evaluate("() => document.getElementById('panel').children.length") == 0


def test_a_state_waits_for_the_tables_that_came_with_it(page):
    tell(page, more={"b": tables(("plain", "b"))}, state={"model": "b", "layer": 1, "query": "one", "seconds": 10})
    page.wait_for_function("() => document.querySelector('.headline').textContent === 'b 1 one'")
    tell(page, state={"model": "nobody", "layer": 1, "query": "one", "seconds": 10})
    assert headline(page) == "b 1 one"


def test_what_the_kernel_sets_while_the_reader_slides_is_kept_but_not_over_the_reader_s(page):
    page.get_by_role("slider", name="layer").press("End")
    tell(page, state={"model": "plain", "layer": 1, "query": "two", "seconds": 10})
    assert headline(page) == "plain 3 two"
    page.wait_for_function("() => model.saved.length")
    assert page.evaluate("() => model.saved")[-1] == {"model": "plain", "layer": 3, "query": "two", "seconds": 10}
    tell(page, state={"model": "plain", "layer": 1, "query": "one", "seconds": 10})
    assert headline(page) == "plain 1 one"


def test_tables_are_unpacked_once(page):
    page.evaluate("() => { window.before = data.quality.plain; }")
    tell(page, more={"q": base64.b64encode(pack({"note": "more"})).decode()})
    page.wait_for_function("() => data.note === 'more'")
    assert page.evaluate("() => window.before === data.quality.plain")


@pytest.mark.parametrize("typed, want", [("", 1), ("0", 1), ("100000", 600), ("2.5", 2.5)])
def test_a_number_stays_within_its_limits(page, typed, want):
    field = page.locator("label.number input")
    for _ in range(2):  # the second time the state has the value already
        field.fill(typed)
        field.press("Enter")
        field.blur()
        drawn(page)
        assert float(field.input_value()) == want
    page.get_by_role("button", name="Train").click()
    assert page.evaluate("() => model.sent.at(-1).state.seconds") == want


def test_the_kernel_hears_of_a_choice_from_a_menu(page):
    """The button of the mouse comes up in the menu's own window, of which the page hears nothing."""
    page.evaluate(
        """() => {
             const menu = document.querySelector('select');
             menu.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }));
             menu.value = '1';
             menu.dispatchEvent(new Event('change', { bubbles: true }));
           }"""
    )
    page.wait_for_function("() => model.saved.length && model.saved.at(-1).query === 'two'", timeout=1500)
    assert page.evaluate("() => document.querySelector('select').value") == "1"


def test_a_message_goes_with_the_question_that_it_answers(page):
    text, alert = page.locator("label.text input"), page.locator("[role=alert]")
    text.fill("nonsense")
    text.press("Enter")
    drawn(page)
    assert page.evaluate("() => model.sent.at(-1)") == {"ask": "query", "text": "nonsense"}
    tell(page, status={"error": "this query is nonsense"})
    assert alert.count() == 1
    page.get_by_role("slider", name="layer").press("End")
    drawn(page)
    assert alert.count() == 1
    page.locator("label.menu select").select_option("two")
    drawn(page)
    assert alert.count() == 0


def test_a_marked_row_can_be_pointed_at(page):
    row = page.locator("tr.marked td")
    assert row.evaluate(
        """(e) => {
             const box = e.getBoundingClientRect();
             return e.contains(document.elementFromPoint(box.left + 9, box.top + 9));
           }"""
    )


def test_a_drag_asks_nothing_until_the_hand_lets_go(page):
    tell(page, more={"q": base64.b64encode(pack({"known": []})).decode()})  # now every query must be asked for
    page.wait_for_function("() => data.known.length === 0 && model.sent.length === 1")
    box = page.get_by_role("slider", name="layer").bounding_box()
    page.evaluate("() => { window.toyMissing = (state) => ({ ask: 'layer', layer: state.layer }); }")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for place in (4, box["width"] - 4, box["width"] / 2, 4):
        page.mouse.move(box["x"] + place, box["y"] + box["height"] / 2)
        drawn(page)
    assert headline(page) == "plain 1 one" and page.evaluate("() => model.sent.length") == 1
    page.mouse.up()
    page.wait_for_function("() => model.sent.length === 2")
    assert page.evaluate("() => model.sent.at(-1)") == {"ask": "layer", "layer": 1}


def test_a_window_that_is_left_with_a_key_down_has_let_go(page):
    page.get_by_role("slider", name="layer").focus()
    page.keyboard.down("ArrowLeft")  # and it comes up in another window
    drawn(page)
    shown = int(headline(page).split()[1])
    page.evaluate("() => { window.toyMissing = (state) => ({ ask: 'layer', layer: state.layer }); }")
    drawn(page)
    assert page.evaluate("() => model.sent") == []  # the key may move on
    page.evaluate("() => dispatchEvent(new Event('blur'))")
    page.wait_for_function("() => model.sent.length")
    assert page.evaluate("() => model.sent") == [{"ask": "layer", "layer": shown}]


def test_tables_that_cannot_be_read_are_said(page):
    page.evaluate("() => { window.DecompressionStream = undefined; model.change({ tables: bytes(btoa('x')) }); }")
    page.wait_for_selector("[role=alert]")
    assert "too old for the panels" in page.locator("[role=alert]").inner_text()
