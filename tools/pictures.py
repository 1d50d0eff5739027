"""The README's moving picture, notebooks/images/explorer.webp: the grid explorer's page while a hand slides.

python -m tools.pictures      (needs playwright and a Chromium)
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from benchmarks.browser import chromium_page
from mrl_tutorial import Encoder, GridExplorer, load_task
from mrl_tutorial.files import whole_file
from mrl_tutorial.models.heads import pretrained_heads

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURE = Path(__file__).resolve().parents[1] / "notebooks" / "images" / "explorer.webp"
WIDTH = 920
MOVE, STEP, REST = 110, 450, 1400  # milliseconds: a dimension, a layer, a halt
QUERY = "Tokenize a series of lines and group tokens by line."
# drag a slider to one of its places, and wait until the panel has been drawn
SLIDE = """([label, place]) => {
  const slider = document.querySelector(`input[type=range][aria-label="${label}"]`);
  slider.value = place;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
END = """() => Math.ceil(document.querySelector("table").getBoundingClientRect().top)"""  # the list of documents


def story() -> Iterator[tuple[str, int, int]]:
    """(slider, value, milliseconds): the vector is cut from 384 dimensions to 8, grows to 64, and loses its layers."""
    yield "dimension", 384, REST
    yield from (("dimension", dim, MOVE) for dim in _between(384, 8, 30))
    yield "dimension", 8, REST
    yield from (("dimension", dim, MOVE) for dim in _between(8, 64, 14))
    yield "dimension", 64, REST
    for layer in (5, 4, 3, 2, 1, 2, 3, 4, 5, 6):
        yield "layer", layer, STEP if layer > 1 else REST
    yield from (("dimension", dim, MOVE) for dim in _between(64, 384, 10))


def _between(first: int, last: int, steps: int) -> list[int]:
    """Whole numbers on the way from `first` to `last`, evenly spaced in their logarithm, each once.

    >>> _between(8, 64, 3)
    [16, 32]
    """
    found = [round(first * (last / first) ** (i / steps)) for i in range(1, steps)]
    return list(dict.fromkeys(found))


def frames(page: Page) -> tuple[list[Image.Image], list[int]]:
    """Photographs of the page in every state of the `story`, and how long each is shown."""
    pictures, durations = [], []
    clip: Any = {"x": 0, "y": 0, "width": WIDTH, "height": page.evaluate(END)}
    for label, value, milliseconds in story():
        page.evaluate(SLIDE, [label, value - 1])  # both sliders begin at 1
        shot = page.screenshot(clip=clip)
        pictures.append(Image.open(io.BytesIO(shot)).convert("RGB"))
        durations.append(milliseconds)
    return pictures, durations


def main() -> None:
    """Write the picture."""
    task, encoder = load_task("pydocs"), Encoder.load()
    models = {"plain": encoder, "with heads": pretrained_heads(encoder)}
    explorer = GridExplorer(task, models, model="with heads", query=QUERY)
    with tempfile.TemporaryDirectory() as folder, chromium_page(width=WIDTH, height=1400) as page:
        explorer.save_page(Path(folder) / "explorer.html")
        page.goto((Path(folder) / "explorer.html").as_uri())
        page.wait_for_selector("input[type=range]")
        pictures, durations = frames(page)
    options = {"duration": durations, "loop": 0, "lossless": True, "quality": 100, "method": 4, "minimize_size": True}
    with whole_file(PICTURE) as temporary:
        pictures[0].save(temporary, "WEBP", save_all=True, append_images=pictures[1:], **options)
    print(f"{PICTURE.name}: {len(pictures)} frames of {pictures[0].size}, {PICTURE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
