"""Pictures for the notebooks: photographs of live panels, and PNG files at less than half their size."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image

from mrl_tutorial.panels.panel import PAGE
from tools.chromium import find_chromium

PICTURE_WIDTH = 1000


def photographs(folder: Path) -> dict[str, str]:
    """A picture (base64 PNG) of every panel's page in `folder`, by the words that stand for it in an output."""
    pages = sorted(folder.glob("*.html"))
    found: dict[str, str] = {}
    if not pages or not (browser := find_chromium()):
        return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        view = chromium.new_page(viewport={"width": PICTURE_WIDTH, "height": 800})
        for page in pages:
            view.goto(page.as_uri())
            view.wait_for_selector(".mrl .headline", timeout=30_000)
            found[PAGE + page.stem] = base64.b64encode(view.locator(".mrl").screenshot()).decode()
        chromium.close()
    return found


def smaller(picture: str) -> str:
    """A base64 PNG with a palette of 256 colors in place of all of them: a figure looks the same at less than half the
    size. Returned as it came where that gains nothing."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as full:
        few = full.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    out = io.BytesIO()
    few.save(out, "png", optimize=True)
    text = base64.b64encode(out.getvalue()).decode()
    return text if len(text) < len(picture) else picture
