"""Markdown as html that loads nothing, and what is found in html again: sections, for the headings and the search."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

TAG = re.compile(r"<[^>]+>")
HEADINGS = ("h1", "h2", "h3")
UNREAD = ("pre", "script", "style", "table", "math", "figure", "button")  # what the search does not look into
Lead = Callable[[str], str | None]


@dataclass
class Section:
    """A heading, and the text up to the next one."""

    level: int
    id: str
    title: str
    text: str = ""


class Renderer(IPythonRenderer):
    """Formulas as MathML, headings that can be linked to, and links that stay in the site.

    lead: gives a link's address in the site, or None where the site has no such page: then its words stand alone.
    """

    def __init__(self, lead: Lead, taken: set[str]) -> None:
        super().__init__(escape=False)
        self.lead, self.taken = lead, taken

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        """A heading with an address of its own."""
        words = html.unescape(TAG.sub("", text)).lower()
        base = re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "section"
        name = next(x for n in range(1, 1000) if (x := base if n == 1 else f"{base}-{n}") not in self.taken)
        self.taken.add(name)
        anchor = f'<a class="anchor" href="#{name}" aria-label="link to this section">#</a>' if level > 1 else ""
        return f'<h{level} id="{name}">{text}{anchor}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """A link, or its words alone."""
        address = self.lead(url)
        return text if address is None else str(super().link(text, address, title))

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """A drawing of a lesson; of any other picture what it says: badges would be fetched from another host."""
        words = html.escape(html.unescape(text))
        return f'<img src="{url}" alt="{words}">' if url.startswith("images/") else words

    def inline_math(self, body: str) -> str:
        """A formula in a line."""
        return str(convert(body))

    def block_math(self, body: str) -> str:
        """A formula in a line of its own."""
        return f'<div class="formula">{convert(body, display="block")}</div>'

    def latex_environment(self, name: str, body: str) -> str:
        """A LaTeX environment."""
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")


def to_html(markdown: str, lead: Lead, taken: set[str]) -> str:
    """Html of a text. taken: the names of headings on the page so far; those of this text are added.

    >>> to_html("## A *b*", lambda url: url, set()).split("<a")[0]
    '<h2 id="a-b">A <em>b</em>'
    """
    return str(MarkdownWithMath(renderer=Renderer(lead, taken)).render(markdown))


def sections(page: str) -> list[Section]:
    """The sections of a page, in order. What stands above the first heading is left out."""
    reader = _Sections()
    reader.feed(page)
    for section in reader.found:
        section.title, section.text = " ".join(section.title.split()), " ".join(section.text.split())
    return reader.found


@dataclass
class _Sections(HTMLParser):
    found: list[Section] = field(default_factory=list)
    heading: bool = False
    unread: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag in HEADINGS and known.get("id"):
            self.found.append(Section(int(tag[1]), known["id"] or "", ""))
            self.heading = True
        self.unread += tag in UNREAD or known.get("class") == "anchor"

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self.heading and self.unread:
            self.unread -= 1
        if tag in HEADINGS:
            self.heading = False
        elif tag in UNREAD and self.unread:
            self.unread -= 1

    def handle_data(self, data: str) -> None:
        if not self.found or self.unread:
            return
        if self.heading:
            self.found[-1].title += data
        else:
            self.found[-1].text += data + " "
