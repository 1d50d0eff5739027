"""Build the course as a web site.

python -m tools.site                       all of it, in site/                    (make site)
python -m tools.site --only 01 --out DIR   some of the notebooks, in another folder
FAST=1 python -m tools.site                notebooks that have to run first run with small budgets
python -m tools.site --check DIR           do all links of a site lead somewhere?
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from mrl_tutorial.errors import InputError
from tools.site import lesson, links, pages
from tools.site.runs import Run, evidence, runs
from tools.site.text import to_html


def make(site: Path, only: list[str] | None = None) -> list[str]:
    """Write the site. Returns what is broken in it, as `links.broken` tells it."""
    if site.exists() and not (site / links.INDEX).exists() and any(site.iterdir()):
        raise InputError(f"{site} is not empty and no site of this course: choose another folder with --out")
    chosen = runs(only)
    site.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=site.parent, prefix=".site-") as made:  # whole, or not at all
        (whole := Path(made) / "site").mkdir()
        _fill(whole, chosen)
        shutil.rmtree(site, ignore_errors=True)
        whole.rename(site)
    return links.broken(site)


def _fill(site: Path, chosen: list[Run]) -> None:
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")
    names = [name for name in pages.DOCUMENTS if (pages.ROOT / name).exists()]
    proofs = evidence()
    known = pages.leads(names, [*(run.stem for run in chosen), *(f"evidence/{run.stem}" for run in proofs)])
    lead = partial(pages.lead, known=known)
    lessons = [pages.lesson(run.stem, lesson.article(run, site, lead), readme, run.fast) for run in chosen]
    documents = [pages.evidence(run.stem, lesson.article(run, site, lead)) for run in proofs]
    for name in names:
        text = (pages.ROOT / name).read_text(encoding="utf-8")
        body = f'<section class="prose">{to_html(text, lead, set())}</section>'
        documents.append(pages.Page(Path(known[name]).stem, pages.DOCUMENTS[name], body))
    pages.write(site, lessons, documents)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 when the site is whole, 1 when a link in it is broken or a notebook failed."""
    p = argparse.ArgumentParser(
        prog="python -m tools.site", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--only", action="append", metavar="NN", help="start of a notebook's name; may be repeated")
    p.add_argument("--out", type=Path, default=pages.ROOT / "site", help="folder to write to (default: site)")
    p.add_argument("--check", type=Path, metavar="DIR", help="build nothing, check the links of the site in DIR")
    args = p.parse_args(argv)
    try:
        found = links.broken(args.check) if args.check else make(args.out, args.only)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    if found:
        print("\n".join(found), file=sys.stderr)
        return 1
    site = args.check or args.out
    files = [path for path in site.rglob("*") if path.is_file()]
    count, size = len(list(site.glob("*.html"))), sum(path.stat().st_size for path in files) / 1e6
    print(f"{count} pages, {len(files)} files, {size:.1f} MB, every link leads somewhere: open {site / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
