"""Pictures of the grid explorer as a reader sees it, before and after training: notebooks/images/*.png.

python -m tools.pictures      (needs playwright and a Chromium; runs notebook 00 in JupyterLab)
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.browser import chromium_page, lab_server, open_and_run, write_notebook
from mrl_tutorial.files import whole_file

IMAGES = Path(__file__).resolve().parents[1] / "notebooks" / "images"
CELL = """
from mrl_tutorial import Encoder, GridExplorer, load_task
from mrl_tutorial.models.pretrained_heads import pretrained_heads
task, encoder = load_task("pydocs"), Encoder.load()
explorer = GridExplorer(task, {"plain": encoder, "with heads": pretrained_heads(encoder)}, layer=3, dim=128)
hits = {q: explorer.model.rank("with heads", q, 3, 128).relevant[0][0] for q in explorer.model.examples(40)}
lost = {q: explorer.model.rank("plain", q, 3, 128).relevant[0][0] for q in hits}
explorer.query.value = max(hits, key=lambda q: (hits[q] == 1, lost[q]))
explorer
"""


def main() -> None:
    """Write explorer-plain.png and explorer.png."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_notebook(Path(folder) / "explorer.ipynb", CELL)
        with lab_server(folder) as lab, chromium_page(width=1500, height=1700) as page:
            open_and_run(page, lab, "explorer.ipynb")
            page.wait_for_selector(".mrl-explorer .annotation-text", state="attached", timeout=900_000)
            page.wait_for_timeout(6000)  # plotly fits the figure to the panel
            for name, model in (("explorer-plain", "plain"), ("explorer", "with heads")):
                page.locator(f'.mrl-explorer button:text-is("{model}")').click()
                page.wait_for_timeout(1500)
                with whole_file(IMAGES / f"{name}.png") as temporary:
                    page.locator(".mrl-explorer").screenshot(path=str(temporary))


if __name__ == "__main__":
    main()
