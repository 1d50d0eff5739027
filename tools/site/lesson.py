"""One notebook as the text of a page: its panels alive, its figures as pictures, its exercises marked."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
from pathlib import Path

import nbformat
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert import HTMLExporter
from PIL import Image

from tools import build_notebooks as build
from tools.site.runs import Run, is_panel
from tools.site.text import Lead, to_html

LOOK = Path(__file__).parent / "look"
FIGURE = "application/vnd.plotly.v1+json"
LONG = 30  # lines; longer code is folded, and so are the imports at the top
DRAWING = re.compile(r'src="(images/[^"]+)"')
TITLE = re.compile(r"<title>(.*?)</title>", re.S)
# The page of a panel follows the theme of the page that it stands in
FOLLOW = """<script>
addEventListener("message", ({ source, data }) => {
  if (source !== parent || !["light", "dark"].includes(data?.mrlTheme)) return;
  document.documentElement.dataset.theme = document.body.style.colorScheme = data.mrlTheme;
});
if (parent !== self) parent.postMessage({ mrlReady: true }, "*");
</script></body>"""


class Exporter(HTMLExporter):
    """nbconvert's exporter with the template of this site and its reading of markdown."""

    def __init__(self, lead: Lead) -> None:
        super().__init__(template_name="course", extra_template_basedirs=[str(LOOK)])
        self.lead = lead
        self.ids: set[str] = set()

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """The filter of that name."""
        return to_html(source, self.lead, self.ids)


def article(run: Run, site: Path, lead: Lead) -> str:
    """The html of a notebook; its pictures and the pages of its panels are copied into the folder `site`."""
    notebook = nbformat.read(run.notebook, 4)
    notebook.cells = [c for c in notebook.cells if "setup" not in c.metadata.get("tags", ())]  # that is for Colab
    panels = iter(run.pages)
    for place, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
        exercise = cell.source.strip().split("\n")[-1].startswith("check.")
        claims = [tag for tag in cell.metadata.get("tags", ()) if tag.startswith("claim-")]
        lines = cell.source.count("\n") + 1
        cell.metadata["site"] = {
            "exercise": exercise,
            "claims": claims,
            "folded": lines if lines > LONG or place == 0 else 0,
        }
        if exercise:
            cell.outputs = []  # only that nothing has been solved yet
        cell.outputs = joined(cell.outputs)
        for number, output in enumerate(cell.outputs):
            name = f"{run.stem}/{cell.id}-{number}"
            if is_panel(output):
                output.data = {"text/html": panel(next(panels), name, output.data.get("image/png"), site)}
            elif picture := output.get("data", {}).get("image/png"):
                output.data = {"text/html": figure(picture, name, words(output), site)}
    body, _ = Exporter(lead).from_notebook_node(notebook)
    for drawing in set(DRAWING.findall(body)):
        target = site / drawing
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(build.HERE / drawing, target)
    return str(body)


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The outputs with what was printed in pieces in one piece: a kernel sends it as it comes."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        if kept and output.output_type == kept[-1].output_type == "stream" and output.name == kept[-1].name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def panel(page: Path, name: str, picture: str | None, site: Path) -> str:
    """A frame with a live panel, as high as the panel says; its picture on paper and where scripts do not run."""
    text = page.read_text(encoding="utf-8")
    found = TITLE.search(text)
    title = html.escape(html.unescape(found[1])) if found else "panel"
    address = f"panels/{Path(name).parent}/{page.name}"
    target = site / address
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text.replace("</body>", FOLLOW), encoding="utf-8")
    still, height = "", 640
    if picture:
        still = _picture(picture, name, f"a picture of the panel {title}", site, "still")
        height = Image.open(io.BytesIO(base64.b64decode(picture))).height
    return (
        '<figure class="panel"><figcaption><b>Live panel</b> Move its controls: it answers here, in your browser. What '
        f'needs Python, such as training, works in the notebook. <a href="{address}" target="_blank">Open it alone</a>'
        "</figcaption>"
        f'<iframe src="{address}" title="Live panel: {title}" loading="lazy" height="{height}"></iframe>{still}'
        "</figure>"
    )


def figure(picture: str, name: str, alt: str, site: Path) -> str:
    """A static picture."""
    return f'<figure class="picture">{_picture(picture, name, alt, site)}</figure>'


def words(output: nbformat.NotebookNode) -> str:
    """What a picture shows, in a few words: the title of the figure."""
    title = output.data.get(FIGURE, {}).get("layout", {}).get("title", {}).get("text", "")
    return re.sub(r"<[^>]+>", " ", title) or "figure"


def _picture(picture: str, name: str, alt: str, site: Path, style: str = "") -> str:
    """An image whose file is written to the site."""
    target = site / "pictures" / f"{name}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(base64.b64decode(picture))
    with Image.open(target) as image:
        width, height = image.size
    kind = f' class="{style}"' if style else ""
    size = f'width="{width}" height="{height}"'
    return f'<img src="pictures/{name}.png" alt="{html.escape(alt)}" {size} loading="lazy"{kind}>'
