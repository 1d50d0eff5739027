"""Whether everything that a page of the site names is there: pages, places within pages, pictures, scripts, styles."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"src", "poster", "data", "srcset"}  # a browser fetches these by itself; a reader clicks on a href
CSS_URL = re.compile(r"""url\(\s*["']?(?!data:|#)([^"')]+)|@import\s+["']([^"']+)""")
INDEX = "search-index.js"


@dataclass
class Page(HTMLParser):
    """The names in a page that can be linked to, and what the page refers to: (attribute, address, whether it is
    fetched)."""

    ids: set[str] = field(default_factory=set)
    references: list[tuple[str, str, bool]] = field(default_factory=list)
    styles: str = ""
    tag: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tag = tag
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif value is not None and name in LOADS | {"href"}:
                self.references.append((name, value, name in LOADS or tag == "link"))
            elif name == "style" and value:
                self.styles += value

    def handle_data(self, data: str) -> None:
        if self.tag == "style":
            self.styles += data


def broken(site: Path) -> list[str]:
    """What is wrong in the site, a line each: an address within it that leads nowhere, or something that a page would
    fetch from another host. Links to other hosts that a reader may follow are left alone."""
    pages = {path.resolve(): _read(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for attribute, address, fetched in page.references:
            if trouble := _trouble(path, address, fetched, pages):
                found.append(f"{name}: {attribute}={address!r} {trouble}")
        for address in _in_style(page.styles):
            if trouble := _trouble(path, address, True, pages):
                found.append(f"{name}: style {address!r} {trouble}")
    for style in sorted(site.rglob("*.css")):
        for address in _in_style(style.read_text(encoding="utf-8")):
            if trouble := _trouble(style.resolve(), address, True, pages):
                found.append(f"{style.name}: {address!r} {trouble}")
    index = site / INDEX
    if not index.exists():
        return [*found, f"{INDEX} is missing"]
    entries = json.loads(index.read_text(encoding="utf-8").partition("=")[2].rstrip().rstrip(";"))
    for entry in entries:
        if trouble := _trouble(index.resolve(), entry["url"], False, pages):
            found.append(f"{INDEX}: {entry['url']!r} {trouble}")
    return found


def _read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _in_style(text: str) -> list[str]:
    return [first or second for first, second in CSS_URL.findall(text)]


def _trouble(base: Path, address: str, fetched: bool, pages: dict[Path, Page]) -> str:
    parts = urlsplit(address)
    if parts.scheme == "data":
        return ""
    if parts.scheme or parts.netloc:
        return "is fetched from elsewhere" if fetched else ""
    target = (base.parent / unquote(parts.path)).resolve() if parts.path else base
    if not target.is_file():
        return "leads to no file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
        return "leads to no place on that page"
    return ""
