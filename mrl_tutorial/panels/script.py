"""The browser's side as one text: the modules of `web/` that a panel needs, and a page that works without a kernel."""

from __future__ import annotations

import base64
import html
import json
import re
from functools import cache
from pathlib import Path

WEB = Path(__file__).parent / "web"
IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z]+\.js)";\n', re.M)
PAGE = """<!doctype html>
<html lang="en" data-theme="auto">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}
body {{ margin: 0; background: Canvas; color-scheme: light dark; }} .mrl {{ max-width: 1500px; margin: auto; }}
</style></head>
<body><main><div id="panel"><noscript>This page needs JavaScript.</noscript></div></main>
<script type="module">{script}
document.getElementById("panel").replaceChildren();
standalone({view}, "{tables}", {state}, document.getElementById("panel"));
// inside of another page: tell it how tall this one is
const tell = ([entry]) => parent.postMessage({{ mrlHeight: Math.ceil(entry.contentRect.height) }}, "*");
new ResizeObserver(tell).observe(document.body);
</script></body></html>
"""


@cache
def modules(name: str) -> str:
    """The module `web/<name>.js` and all that it imports, as one module without imports, so that nothing is fetched.

    Names are those of the files, so no two modules may give the same one: tests/panels/test_panel.py sees to that.
    """
    found: dict[str, str] = {}

    def add(file: str) -> None:
        text = (WEB / file).read_text(encoding="utf-8")
        for needed in IMPORT.findall(text):
            if needed not in found:
                add(needed)
        found[file] = re.sub(r"^export ", "", IMPORT.sub("", text), flags=re.M)

    add("panel.js")
    add(f"{name}.js")
    return "\n".join(found.values())


def widget_module(name: str) -> str:
    """What anywidget loads for the view `name`."""
    return f"{modules(name)}\nexport default widget({name});\n"


def stylesheet() -> str:
    """The style of every panel."""
    return (WEB / "panel.css").read_text(encoding="utf-8")


def page(name: str, tables: bytes, state: dict[str, object], title: str) -> str:
    """A panel as one html file that loads nothing and needs no kernel."""
    safe = {"state": json.dumps(state).replace("<", "\\u003c"), "tables": base64.b64encode(tables).decode()}
    script = modules(name).replace("</script", "<\\/script")
    return PAGE.format(title=html.escape(title), css=stylesheet(), script=script, view=name, **safe)
