"""Where a Chromium is: for static pictures of figures, the browser tests and the slider benchmark."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

REMEDY = (
    "no Chromium found: install one ('apt-get install chromium', or '.venv/bin/playwright install chromium'), "
    "or name yours with CHROMIUM=/path/to/chromium"
)


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome: `$CHROMIUM`, else on the search path, else the one playwright has downloaded.

    None where there is none (`REMEDY` says how to get one)."""
    chosen = os.environ.get("CHROMIUM")
    if chosen:
        return shutil.which(chosen)
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"):
        path = shutil.which(name)
        if path:
            return path
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            path = playwright.chromium.executable_path
        return path if Path(path).exists() else None
    except Exception:  # not installed, no driver for this system, already in an event loop: none from here
        return None


if __name__ == "__main__":
    found = find_chromium()
    print(found or REMEDY, file=sys.stdout if found else sys.stderr)
    sys.exit(0 if found else 1)
