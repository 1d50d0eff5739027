"""The web site: what becomes of a notebook, which run is shown, whether a broken link is found, the real lessons."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import nbformat
import pytest

from mrl_tutorial import InputError
from mrl_tutorial.cli import ledger
from tests.helpers import site as small
from tools import build_notebooks as build
from tools.site import __main__ as command
from tools.site import lesson, links, pages, runs, text

ROOT = Path(__file__).parents[2]
BUILT = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.fixture
def site(tmp_path):
    return small.made_site(tmp_path)


def html(site: Path, name: str) -> str:
    return (site / name).read_text(encoding="utf-8")


# -- pages ---------------------------------------------------------------------------------------------------------


def test_a_panel_is_alive_in_a_frame_and_a_picture_without_scripts(site):
    page = html(site, "00_first.html")
    (frame,) = re.findall(r"<iframe[^>]+>", page)
    assert 'src="panels/00_first/000.html"' in frame and 'loading="lazy"' in frame and 'height="700"' in frame
    assert 'class="still"' in page and build.LIVE not in page
    panel = html(site, "panels/00_first/000.html")
    assert "mrlTheme" in panel and panel.count("</body>") == 1 and "standalone(" in panel
    assert frame in html(site, "index.html")  # the first panel opens the course


def test_figures_are_pictures_with_words(site):
    page = html(site, "00_first.html")
    (image,) = re.findall(r'<figure class="picture"><img ([^>]+)/?>', page)
    found = dict(re.findall(r'(\w+)="([^"]*)"', image))
    assert " ".join(found["alt"].split()) == "Fine figure" and (found["width"], found["height"]) == ("30", "20")
    assert (site / found["src"]).read_bytes()[1:4] == b"PNG"
    assert "plotly" not in page.lower()


def test_what_a_reader_of_the_site_cannot_use_is_left_out(site):
    page = html(site, "00_first.html")
    assert "colab" not in page and "Not yet" not in page and "a.org" not in page
    assert 'class="cell exercise"' in page and "<summary>Solution</summary>" in page


def test_formulas_are_mathml_and_links_stay_in_the_site(site):
    page = html(site, "00_first.html")
    assert page.count("<math") == 2 and "<mfrac>" in page and "$" not in re.sub(r"<script.*?</script>", "", page)
    assert '<a href="01_second.html">link</a>' in page and "data/README" not in page and ", one elsewhere" in page


def test_a_drawing_of_a_lesson_comes_along(site):
    assert re.search(r'<img alt="A drawing" src="images/explorer\.webp"/?>', html(site, "00_first.html"))
    assert (site / "images" / "explorer.webp").read_bytes()[8:12] == b"WEBP"
    (site / "images" / "explorer.webp").unlink()
    assert "images/explorer.webp" in "".join(links.broken(site))


def test_headings_have_addresses_of_their_own(site):
    page = html(site, "00_first.html")
    assert [s.id for s in text.sections(page)] == ["00-first", "marmalade", "marmalade-2"]
    assert re.findall(r'<li><a href="(#marmalade[^"]*)">Marmalade</a></li>', page) == ["#marmalade", "#marmalade-2"]


def test_output_in_pieces_is_one_piece_and_long_code_is_folded(site):
    assert 'tabindex="0">one\ntwo\n</pre>' in html(site, "00_first.html")
    page = html(site, "01_second.html")
    assert "<summary>Code, 40 lines</summary>" in page and 'id="claim-M1"' in page and "A rough copy" in page


def test_lessons_stand_in_a_row_with_their_minutes(site):
    first, second = html(site, "00_first.html"), html(site, "01_second.html")
    assert '<a rel="prev" href="index.html">' in first and '<a rel="next" href="01_second.html">' in first
    assert '<a rel="prev" href="00_first.html">' in second and 'rel="next"' not in second
    for page in (first, second, html(site, "index.html"), html(site, "ledger.html")):
        assert "<small>3 min</small>" in page and "<small>optional, 12 min</small>" in page
    with pytest.raises(InputError, match="02_third"):
        pages.lesson("02_third", "", small.README, False)


def test_the_index_holds_headings_and_text_but_no_code(site):
    text = html(site, "search-index.js").partition("=")[2].strip().rstrip(";")
    found = {entry["url"]: entry for entry in json.loads(text)}
    assert "quince" in found["00_first.html#marmalade"]["text"]
    assert found["00_first.html#marmalade-2"]["title"] == "Marmalade" and "ledger.html#found" in found
    assert "x1 = 1" not in text and "mfrac" not in text


# -- links ---------------------------------------------------------------------------------------------------------


def test_a_whole_site_has_no_broken_link(site):
    assert links.broken(site) == []


@pytest.mark.parametrize(
    "name, old, new, says",
    [
        ("index.html", 'href="00_first.html"', 'href="07_none.html"', "no file"),
        ("ledger.html", "#claim-M1", "#claim-M2", "no place"),
        ("index.html", 'href="style.css"', 'href="https://a.org/style.css"', "elsewhere"),
        ("index.html", 'src="course.js"', 'src="//a.org/course.js"', "elsewhere"),
        ("style.css", "body {", 'body { background: url("https://a.org/x.png");', "elsewhere"),
        ("style.css", "body {", "body { background: url(x.png);", "no file"),
        ("search-index.js", "#marmalade-2", "#marmalade-3", "no place"),
        ("panels/00_first/000.html", "<body>", '<body><img src="x.png">', "no file"),
    ],
)
def test_a_broken_link_is_named(site, capsys, name, old, new, says):
    page = html(site, name)
    assert old in page
    (site / name).write_text(page.replace(old, new, 1), encoding="utf-8")
    (line,) = links.broken(site)
    assert says in line and Path(name).name in line
    assert command.main(["--check", str(site)]) == 1 and line in capsys.readouterr().err


def test_a_missing_picture_is_named(site):
    next((site / "pictures").rglob("*.png")).unlink()
    assert len(links.broken(site)) >= 1


# -- the real lessons ----------------------------------------------------------------------------------------------


def test_the_committed_lessons_make_a_site_in_which_every_link_leads_somewhere(tmp_path):
    """With an empty page in place of every panel: the ledger's links into the lessons are checked with it."""
    whole = tmp_path / "site"
    whole.mkdir()
    (tmp_path / "000.html").write_text("<title>x</title></body>")
    proofs = runs.evidence()
    known = pages.leads(pages.DOCUMENTS, [*(p.stem for p in BUILT), *(f"evidence/{run.stem}" for run in proofs)])
    lead = partial(pages.lead, known=known)
    made = []
    for path in BUILT:
        cells = nbformat.read(path, 4).cells
        panels = sum(runs.is_panel(output) for cell in cells for output in cell.get("outputs", ()))
        body = lesson.article(runs.Run(path, (tmp_path / "000.html",) * panels), whole, lead)
        assert body.count("<iframe") == panels and build.LIVE not in body
        assert body.count('class="turn"') == body.count("<summary>Solution</summary>") >= 2
        made.append(pages.lesson(path.stem, body, (ROOT / "README.md").read_text(encoding="utf-8"), False))
    bodies = {name: text.to_html((ROOT / name).read_text(encoding="utf-8"), lead, set()) for name in pages.DOCUMENTS}
    documents = [pages.Page(Path(name).stem.lower(), pages.DOCUMENTS[name], body) for name, body in bodies.items()]
    documents += [pages.evidence(run.stem, lesson.article(run, whole, lead)) for run in proofs]
    pages.write(whole, made, documents)
    assert links.broken(whole) == []
    assert len(re.findall(r'href="E\d_\w+\.html#claim-', bodies["LEDGER.md"])) == len(ledger.read())
