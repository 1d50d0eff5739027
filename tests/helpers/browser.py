"""A panel's page in Chromium without a network, and what every page must keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.browser import chromium_page
from mrl_tutorial.panels.panel import Panel
from tools.chromium import REMEDY, find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

# there after `make test-web`
AXE = Path(__file__).resolve().parents[1] / "panels" / "web" / "node_modules" / "axe-core" / "axe.min.js"
LOOK = """() => {
  const root = document.querySelector('.mrl');
  const words = (e) => e.textContent.trim() || e.outerHTML;
  const all = [...root.querySelectorAll('text, td, th, p, .name, button')].filter((e) => e.textContent.trim());
  const small = all.filter((e) => parseFloat(getComputedStyle(e).fontSize) < 14);
  const right = root.getBoundingClientRect().right + 1;
  const out = [...root.querySelectorAll('svg text, svg, table, button, input')];
  const beyond = out.filter((e) => e.getBoundingClientRect().right > right);
  const wide = root.scrollWidth > root.clientWidth;
  return {texts: all.length, small: small.map(words), out: beyond.map(words), wide};
}"""


@contextlib.contextmanager
def opened(panel: Panel, folder: Path, width: int = 900) -> Iterator[Page]:
    """The panel's saved page, drawn, with the network off; an error in its console fails the test at the end."""
    if find_chromium() is None:
        pytest.skip(REMEDY)
    panel.save_page(folder / "panel.html")
    with chromium_page(width=width, height=1200) as page:
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.context.set_offline(True)
        page.set_default_timeout(10_000)
        page.goto((folder / "panel.html").as_uri())
        page.wait_for_selector(".mrl .headline")
        yield page
        assert errors == []


def slide(page: Page, label: str, key: str = "ArrowRight") -> None:
    """A real key press on the slider with that label, drawn when this returns."""
    page.get_by_role("slider", name=label, exact=True).focus()
    page.keyboard.press(key)
    drawn(page)


def drawn(page: Page) -> None:
    """Wait for the next picture."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def headline(page: Page) -> str:
    """The sentence that says the finding."""
    return page.locator(".mrl .headline").inner_text()


def check_look(page: Page) -> None:
    """No text below 14 px, nothing beyond the panel's edge, and no barrier that axe-core calls serious."""
    found = page.evaluate(LOOK)
    assert found["texts"] > 10
    assert found["small"] == [] and found["out"] == [] and not found["wide"]
    assert barriers(page) == []


def barriers(page: Page) -> list[tuple[str, str]]:
    """What keeps somebody out: (rule, first element) of axe-core's serious and critical findings; none without it."""
    if not AXE.exists():
        return []
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")]
